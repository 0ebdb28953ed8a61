"""Random lives of TLS connections: what must hold of them holds, and both ways of passing data leave the same trace."""

import json
import os

COUNT = 400


def test_lives(run_program):
    def lives(way):
        """Those of one way of passing data, a dictionary each."""
        printed = run_program({**os.environ, "FASTLOOP_TLS": way}, "tls_lives.py", 1, COUNT)
        return [json.loads(line) for line in printed.splitlines()]

    direct, python = lives(""), lives("python")
    assert len(direct) == len(python) == COUNT
    broken = {seed: life["broken"] for seed, life in enumerate(direct, 1) if life["broken"]}
    assert broken == {}
    for one, other in zip(direct, python, strict=True):
        assert one == other

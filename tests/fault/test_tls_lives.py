"""Random lives of TLS connections: what must hold of them holds, and both ways of passing data leave the same trace."""

import json
import os
import subprocess
import sys
from pathlib import Path

LIVES = Path(__file__).with_name("tls_lives.py")
COUNT = 400


def lives(way):
    """Those of one way of passing data, a dictionary each."""
    result = subprocess.run(
        [sys.executable, LIVES, "1", str(COUNT)],
        env={**os.environ, "FASTLOOP_TLS": way},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert (result.stderr, result.returncode) == ("", 0)
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_lives():
    direct, python = lives(""), lives("python")
    assert len(direct) == len(python) == COUNT
    broken = {seed: life["broken"] for seed, life in enumerate(direct, 1) if life["broken"]}
    assert broken == {}
    for one, other in zip(direct, python, strict=True):
        assert one == other

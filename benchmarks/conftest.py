"""Fixtures of the benchmarks: each runs on every loop that is there, and measures whole batches of operations."""

import gc

import event_loops
import pytest

ROUNDS = 7


@pytest.fixture(params=event_loops.NAMES)
def loop_name(request):
    return request.param


@pytest.fixture
def new_event_loop(loop_name):
    return event_loops.factory(loop_name)


@pytest.fixture
def loop(new_event_loop):
    loop = new_event_loop()
    yield loop
    loop.close()


@pytest.fixture
def measure(benchmark):
    """measure(operations, target, prepare=None): time `target`, which makes that many operations.

    What `prepare` returns is given to `target`, and its time is left out. The time of one operation is
    stored with the results of pytest-benchmark as "ns_per_operation".
    """

    def run(operations, target, prepare=None):
        def setup():
            prepared = () if prepare is None else (prepare(),)
            gc.collect()
            return prepared, {}

        benchmark.pedantic(target, setup=setup, rounds=ROUNDS, warmup_rounds=1)
        benchmark.extra_info["operations"] = operations
        if benchmark.enabled:
            benchmark.extra_info["ns_per_operation"] = benchmark.stats.stats.min / operations * 1e9

    return run


@pytest.fixture
def measure_coroutine(measure, loop):
    """measure_coroutine(operations, coroutine_function): the same for a coroutine, run to its end on `loop`."""

    def run(operations, coroutine_function, prepare=None):
        def target(*prepared):
            loop.run_until_complete(coroutine_function(*prepared))

        def prepare_on_loop():
            return loop.run_until_complete(prepare())

        measure(operations, target, prepare=prepare and prepare_on_loop)

    return run

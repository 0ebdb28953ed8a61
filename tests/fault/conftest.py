"""Whatever goes wrong in a test of this folder, no descriptor is left behind."""

import gc

import net
import pytest


@pytest.fixture(autouse=True)
def descriptors_come_back():
    before = net.open_fds()
    yield
    if net.open_fds() != before:
        gc.collect()
    assert net.open_fds() <= before

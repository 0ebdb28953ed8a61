"""System calls that transfer less than asked, or fail for no reason, under TLS: the stream stays whole."""

import pytest
from faults import FAULTS, check_traffic


@pytest.mark.parametrize("fault", FAULTS)
def test_traffic_with_faults(run_script, environment, shim, tmp_path, fault):
    check_traffic(run_script, shim, fault, tmp_path / "faults", "over_tls", 4, environment=environment)

"""Imported by every interpreter that a suite starts, so that all of them make the loop under test."""

import json
import os

if "PEERS_ORDERS" in os.environ:
    import force

    _orders = json.loads(os.environ["PEERS_ORDERS"])
    force.install(_orders["loop"], _orders["ledger"])

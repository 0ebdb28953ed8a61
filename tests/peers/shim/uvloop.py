"""Stands in for the package uvloop under uvloop's own tests: its public names, giving the loop under test."""

import asyncio

import force

__version__ = "0.23.0"

Loop = force.under_test.Loop
new_event_loop = force.under_test.new_loop
EventLoopPolicy = getattr(force.under_test.module, "EventLoopPolicy", None) or asyncio.DefaultEventLoopPolicy


def install():
    asyncio.set_event_loop_policy(EventLoopPolicy())


def run(main, *, debug=None, loop_factory=new_event_loop):
    with asyncio.Runner(debug=debug, loop_factory=loop_factory) as runner:
        return runner.run(main)

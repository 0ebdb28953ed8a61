"""Gives the classes of test.test_asyncio the loop, Task and Future under test.

CPython's suites are written once per implementation (C and Python) and per selector. Here they are written
once per pair of Task and Future in which at least one is under test, and for the loop under test alone. The
classes added are named after what they run, for example Task_PyFuture_Tests, and ..._OnLoop where the loop is
the one under test instead of asyncio's scripted TestLoop.
"""

import asyncio
import unittest
from asyncio import futures, tasks

from force import Counted

SCRIPTED_CLOCK = "the test scripts the clock of asyncio's TestLoop"


class Adapter:
    def __init__(self, module, under_test):
        self.module = module
        self.under_test = under_test
        self.utils = getattr(module, "test_utils", None)

    def run(self):
        """Call adapt_<module>, if there is one."""
        name = self.module.__name__.rpartition(".")[2]
        getattr(self, "adapt_" + name, lambda: None)()

    def adapt_test_tasks(self):
        self.drop(lambda name: name.endswith(("_Tests", "_SubclassTests")) and name != "CTask_Future_Tests")
        Task, Future = self.under_test.Task, self.under_test.Future
        pairs = {
            "Task_Future": (Task, Future),
            "Task_CFuture": (Task, futures._CFuture),
            "Task_PyFuture": (Task, futures._PyFuture),
            "CTask_Future": (tasks._CTask, Future),
            "PyTask_Future": (tasks._PyTask, Future),
        }
        asyncio_pairs = {
            "CTask_CFuture": (tasks._CTask, futures._CFuture),
            "PyTask_PyFuture": (tasks._PyTask, futures._PyFuture),
        }
        for name, pair in pairs.items():
            self._add_task_tests(f"{name}_Tests", *pair)
        for name, pair in (pairs | asyncio_pairs).items():
            self._add_task_tests(f"{name}_OnLoop", *pair, **self.on_loop())
        self._add_task_subclass_tests("Task_Future_Subclass_Tests")
        self._add_task_subclass_tests("Task_Future_Subclass_OnLoop", **self.on_loop())
        current_loop = self.add("CurrentLoopTests", self.module.BaseCurrentLoopTests)
        current_loop.current_task = staticmethod(asyncio.current_task)
        current_loop.new_task = lambda case, coro: Task(coro, loop=case.loop)

    def _add_task_tests(self, name, task, future, **more):
        all_tasks, current_task = asyncio.all_tasks, asyncio.current_task
        if task is tasks._PyTask:
            all_tasks = getattr(tasks, "_py_all_tasks", all_tasks)
            current_task = getattr(tasks, "_py_current_task", current_task)
        both_ours = task is self.under_test.Task and future is self.under_test.Future
        bases = [self.module.BaseTaskTests, *([self.module.SetMethodsTest] if both_ours else [])]
        cls = self.add(name, *bases, **more)
        cls.Task, cls.Future = self.counted(task), self.counted(future)
        cls.all_tasks, cls.current_task = staticmethod(all_tasks), staticmethod(current_task)
        return cls

    def _add_task_subclass_tests(self, name, **more):
        cls = self._add_task_tests(name, self.under_test.Task, self.under_test.Future, **more)
        self.module.add_subclass_tests(cls)
        cls.Task, cls.Future = self.counted(cls.Task), self.counted(cls.Future)

    def adapt_test_futures(self):
        self.drop(lambda name: name.startswith(("C", "Py")) and name.endswith("Tests"))
        Future = self.under_test.Future
        SubFuture = type("SubFuture", (Future,), {})
        for cls in (Future, SubFuture):
            self._add_future_tests(cls.__name__, cls, "Tests")
            self._add_future_tests(cls.__name__, cls, "OnLoop", **self.on_loop())
        for name, cls in (("CFuture", futures._CFuture), ("PyFuture", futures._PyFuture)):
            self._add_future_tests(name, cls, "OnLoop", **self.on_loop())
        inheritance = self.add("FutureInheritance_Tests", self.module.BaseFutureInheritanceTests)
        inheritance.cls = self.counted(Future)
        inheritance._get_future_cls = lambda case: case.cls

    def _add_future_tests(self, name, cls, onto, **more):
        counted = self.counted(cls)
        self.add(f"{name}_{onto}", self.module.BaseFutureTests, cls=counted, **more)
        callbacks = self.add(f"{name}DoneCallback_{onto}", self.module.BaseFutureDoneCallbackTests, **more)
        callbacks.cls = counted
        callbacks._new_future = lambda case: case.cls(loop=case.loop)

    def adapt_test_futures2(self):
        """On 3.11 its `cls` makes futures, later tasks."""
        makes_tasks = issubclass(self.module.CFutureTests.cls, tasks._CTask)
        cls = self.counted(self.under_test.Task if makes_tasks else self.under_test.Future)
        self.add("Future_Tests", self.module.FutureTests, base=unittest.IsolatedAsyncioTestCase, cls=cls)

    def adapt_test_eager_task_factory(self):
        Task = self.counted(self.under_test.Task)
        self.add("TaskEagerTaskFactoryLoopTests", self.module.EagerTaskFactoryLoopTests, Task=Task)
        self.add("TaskNonEagerTests", self.module.BaseNonEagerTaskFactoryTests, Task=Task)
        self.add("TaskEagerTests", self.module.BaseEagerTaskFactoryTests, Task=Task)

    def adapt_test_free_threading(self):
        """The original has classes that put asyncio's Python functions in the place of those in C, which know
        of no task but asyncio's own in Python, and all of its classes make Python's or C's tasks."""
        self.drop(lambda name: "PyFree" in name)
        Task = self.counted(self.under_test.Task)
        original = self.module.TestFreeThreading
        for name, eagerly in (("TaskFreeThreading", {}), ("TaskEagerFreeThreading", {"eager_start": True})):

            def factory(case, loop, coro, eagerly=eagerly, **kwargs):
                return case.Task(coro, loop=loop, **(eagerly | kwargs))

            self.add(name, original, base=unittest.TestCase, Task=Task, factory=factory)

    def adapt_test_events(self):
        self.drop(lambda name: name in ("PollEventLoopTests", "SelectEventLoopTests"))

    adapt_test_sock_lowlevel = adapt_test_sendfile = adapt_test_events

    def adapt_test_subprocess(self):
        """The original has a class for each of asyncio's child watchers, which only asyncio's own loops use."""
        threaded, pidfd = self.module.SubprocessThreadedWatcherTests, self.module.SubprocessPidfdWatcherTests
        stopped_child = "test_stopped_child_does_not_block_event_loop"  # from 3.14 on, in the one class alone
        if hasattr(threaded, stopped_child):
            setattr(pidfd, stopped_child, getattr(threaded, stopped_child))
        for name in [name for name in vars(self.module) if name.endswith("WatcherTests")]:
            if name != "SubprocessPidfdWatcherTests":
                setattr(self.module, name, type(name, (), {}))  # tests ask whether they are in one of these

    def adapt_test_pep492(self):
        """The original makes a BaseEventLoop with a mock for a selector."""

        def set_up(case):
            super(self.module.BaseTest, case).setUp()
            case.loop = self.under_test.new_loop()
            case.set_event_loop(case.loop)

        self.module.BaseTest.setUp = set_up

    def adapt_test_runners(self):
        """The original makes a BaseEventLoop with a mock for a selector, which notes shutdown_asyncgens."""

        class RunnerLoop(self.under_test.Loop):
            shutdown_ag_run = False

            async def shutdown_asyncgens(self):
                self.shutdown_ag_run = True

        def new_loop(case):
            self.under_test.count()
            return RunnerLoop()

        self.module.BaseTest.new_loop = new_loop

    def drop(self, unwanted):
        for name in filter(unwanted, list(vars(self.module))):
            delattr(self.module, name)

    def add(self, name, *mixins, base=None, **attributes):
        cls = type(name, (*mixins, base or self.utils.TestCase), attributes)
        cls.__module__ = self.module.__name__
        setattr(self.module, name, cls)
        return cls

    def counted(self, cls):
        """`cls` as a class attribute, each look at which counts, if it is under test."""
        under_test = issubclass(cls, (self.under_test.Task, self.under_test.Future))
        return Counted(self.under_test, cls) if under_test else cls

    def on_loop(self):
        """Attributes of the ..._OnLoop classes, in place of those that make asyncio's TestLoop."""

        def new_test_loop(case, gen=None):
            if gen is not None:
                case.skipTest(SCRIPTED_CLOCK)
            loop = self.under_test.new_loop()
            case.set_event_loop(loop)
            return loop

        return {"new_test_loop": new_test_loop}

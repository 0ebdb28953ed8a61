"""Gives the classes of test.test_asyncio the loop, Task and Future under test.

CPython's suites are written once per implementation (C and Python) and per selector. Here they are written
once per pair of Task and Future in which at least one is ours, and for the loop under test alone. The classes
added are named after what they run, for example Task_PyFuture_Tests, and ..._OnLoop where the loop is the one
under test instead of asyncio's scripted TestLoop.
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
        self._close_without_private_names()
        adapt = getattr(self, "adapt_" + self.module.__name__.rpartition(".")[2], None)
        if adapt:
            adapt()

    def _close_without_private_names(self):
        """The original reads loop._default_executor, which only asyncio's own loops have."""
        if self.utils is None:
            return
        original = self.utils.TestCase.close_loop

        def close_loop(loop):
            if isinstance(loop, self.under_test.Loop):
                loop.close()
            else:
                original(loop)

        self.utils.TestCase.close_loop = staticmethod(close_loop)

    def drop(self, *names):
        for name in names:
            self.module.__dict__.pop(name, None)

    def add(self, name, *bases, **namespace):
        namespace["__module__"] = self.module.__name__
        cls = type(name, bases, namespace)
        setattr(self.module, name, cls)
        return cls

    def counted(self, value):
        mine = (self.under_test.Task, self.under_test.Future)
        return Counted(self.under_test, value) if issubclass(value, mine) else value

    def new_scriptless_loop(self, case, gen=None):
        """Replaces TestCase.new_test_loop in the ..._OnLoop classes."""
        if gen is not None:
            case.skipTest(SCRIPTED_CLOCK)
        loop = self.under_test.new_loop()
        case.set_event_loop(loop)
        return loop

    def on_loop(self):
        return {"new_test_loop": lambda case, gen=None: self.new_scriptless_loop(case, gen)}

    # One method per module that needs it.

    def adapt_test_tasks(self):
        self.drop(
            *[
                name
                for name in vars(self.module)
                if name.endswith(("_Tests", "_SubclassTests")) and name != "CTask_Future_Tests"
            ]
        )
        Task, Future = self.under_test.Task, self.under_test.Future
        pairs = {
            "Task_Future": (Task, Future),
            "Task_CFuture": (Task, futures._CFuture),
            "Task_PyFuture": (Task, futures._PyFuture),
            "CTask_Future": (tasks._CTask, Future),
            "PyTask_Future": (tasks._PyTask, Future),
        }
        for name, pair in pairs.items():
            self._task_tests(name, *pair)
        self._task_subclass_tests("Task_Future_Subclass", Task, Future)
        pairs["CTask_CFuture"] = (tasks._CTask, futures._CFuture)
        pairs["PyTask_PyFuture"] = (tasks._PyTask, futures._PyFuture)
        for name, pair in pairs.items():
            self._task_tests(name, *pair, onto="OnLoop", **self.on_loop())
        self._task_subclass_tests("Task_Future_Subclass", Task, Future, onto="OnLoop", **self.on_loop())
        self.add(
            "CurrentLoopTests",
            self.module.BaseCurrentLoopTests,
            self.utils.TestCase,
            current_task=staticmethod(asyncio.current_task),
            new_task=lambda case, coro: Task(coro, loop=case.loop),
        )

    def _task_tests(self, name, task, future, onto="Tests", **more):
        all_tasks, current_task = asyncio.all_tasks, asyncio.current_task
        if task is tasks._PyTask:
            all_tasks = getattr(tasks, "_py_all_tasks", all_tasks)
            current_task = getattr(tasks, "_py_current_task", current_task)
        bases = [self.module.BaseTaskTests, self.utils.TestCase]
        if (task, future) == (self.under_test.Task, self.under_test.Future):
            bases.insert(1, self.module.SetMethodsTest)
        return self.add(
            f"{name}_{onto}",
            *bases,
            Task=self.counted(task),
            Future=self.counted(future),
            all_tasks=staticmethod(all_tasks),
            current_task=staticmethod(current_task),
            **more,
        )

    def _task_subclass_tests(self, name, task, future, **more):
        cls = self._task_tests(name, task, future, **more)
        self.module.add_subclass_tests(cls)
        cls.Task, cls.Future = self.counted(cls.Task), self.counted(cls.Future)

    def adapt_test_futures(self):
        module, case = self.module, self.utils.TestCase
        Future = self.under_test.Future
        Sub = type("SubFuture", (Future,), {})
        self.drop(*[name for name in vars(module) if name.startswith(("C", "Py")) and name.endswith("Tests")])
        for name, cls in (("Future", Future), ("SubFuture", Sub)):

            def new_future(case, cls=cls):
                self.under_test.count()
                return cls(loop=case.loop)

            for onto, more in (("Tests", {}), ("OnLoop", self.on_loop())):
                self.add(f"{name}_{onto}", module.BaseFutureTests, case, cls=self.counted(cls), **more)
                self.add(
                    f"{name}DoneCallback_{onto}",
                    module.BaseFutureDoneCallbackTests,
                    case,
                    _new_future=new_future,
                    **more,
                )
        self.add("CFuture_OnLoop", module.BaseFutureTests, case, cls=futures._CFuture, **self.on_loop())
        self.add("PyFuture_OnLoop", module.BaseFutureTests, case, cls=futures._PyFuture, **self.on_loop())

        def get_future_cls(case):
            self.under_test.count()
            return Future

        self.add(
            "FutureInheritance_Tests", module.BaseFutureInheritanceTests, case, _get_future_cls=get_future_cls
        )

    def adapt_test_futures2(self):
        """Until 3.11 its cls makes futures, later tasks; both make loops of the right kind already."""
        makes_tasks = issubclass(self.module.CFutureTests.cls, tasks._CTask)
        cls = self.under_test.Task if makes_tasks else self.under_test.Future
        self.add(
            "FutureTests_", self.module.FutureTests, unittest.IsolatedAsyncioTestCase, cls=self.counted(cls)
        )

    def adapt_test_eager_task_factory(self):
        module, case, Task = self.module, self.utils.TestCase, self.counted(self.under_test.Task)
        self.add("TaskEagerTaskFactoryLoopTests", module.EagerTaskFactoryLoopTests, case, Task=Task)
        self.add("TaskNonEagerTests", module.BaseNonEagerTaskFactoryTests, case, Task=Task)
        self.add("TaskEagerTests", module.BaseEagerTaskFactoryTests, case, Task=Task)

    def adapt_test_events(self):
        self.drop("PollEventLoopTests", "SelectEventLoopTests")

    def adapt_test_sock_lowlevel(self):
        self.drop("PollEventLoopTests", "SelectEventLoopTests")

    def adapt_test_pep492(self):
        """The original makes a BaseEventLoop with a mock for a selector."""

        def set_up(case):
            super(self.module.BaseTest, case).setUp()
            case.loop = self.under_test.new_loop()
            case.set_event_loop(case.loop)

        self.module.BaseTest.setUp = set_up

    def adapt_test_runners(self):
        """The original makes a BaseEventLoop with a mock for a selector, and notes that shutdown_asyncgens ran."""

        class RunnerLoop(self.under_test.Loop):
            shutdown_ag_run = False

            async def shutdown_asyncgens(self):
                self.shutdown_ag_run = True

        def new_loop(case):
            self.under_test.count()
            return RunnerLoop()

        self.module.BaseTest.new_loop = new_loop

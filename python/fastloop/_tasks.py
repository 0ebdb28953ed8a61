"""How asyncio comes to know the tasks of fastloop: all_tasks(), and the __class__ of subclasses."""

from __future__ import annotations

from . import _fastloop
from ._compat import find_task_set

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing takes longer to import than the whole package
    from collections.abc import Iterator
    from typing import Any


def list_tasks() -> None:
    """Make asyncio.all_tasks() see the tasks of fastloop without registering each of them.

    If asyncio keeps its tasks elsewhere than expected, they go on being registered one by one.
    """
    task_set = find_task_set()
    if task_set is None:
        return
    kind: Any = type(task_set)

    class TaskSet(kind):  # type: ignore[misc]
        """asyncio's set of tasks; iteration goes on to the tasks that fastloop lists itself."""

        def __iter__(self) -> Iterator[Any]:
            yield from kind.__iter__(self)
            yield from _fastloop._native_tasks()

    task_set.__class__ = TaskSet
    _fastloop._tasks_are_listed()


class _FaceType(type):
    """The type of faces.  A face is shown as the __class__ of an instance of a Python subclass of
    fastloop.Future or fastloop.Task: it is a subclass of asyncio's class, so that isinstance() finds
    that, and in everything else it stands for the real class."""

    def __getattribute__(cls, name: str) -> Any:
        if name in ("__mro__", "__bases__", "_real"):
            return super().__getattribute__(name)
        return getattr(cls._real, name)

    def __setattr__(cls, name: str, value: Any) -> None:
        setattr(cls._real, name, value)

    def __delattr__(cls, name: str) -> None:
        delattr(cls._real, name)

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        return cls._real(*args, **kwargs)

    def __eq__(cls, other: object) -> bool:
        return other is cls._real or super().__eq__(other) is True

    def __hash__(cls) -> int:
        return hash(cls._real)

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, cls._real)

    def __subclasscheck__(cls, subclass: type) -> bool:
        return issubclass(subclass, cls._real)

    def __repr__(cls) -> str:
        return repr(cls._real)


def face_of(real: type, asyncio_class: type) -> type:
    """Return the face of `real`, a subclass of fastloop.Future or fastloop.Task, which keeps it."""
    face = real.__dict__.get("_fastloop_face")
    if face is None:
        face = _FaceType(real.__name__, (asyncio_class,), {"_real": real})
        type.__setattr__(real, "_fastloop_face", face)
    return face


def introduce() -> None:
    """Set up both, once, when the package is imported."""
    list_tasks()
    _fastloop._set_face_of(face_of)

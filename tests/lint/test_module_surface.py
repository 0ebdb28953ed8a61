"""What the built module shows: one exported symbol, and documentation for whatever Python can call."""

import inspect
import subprocess
import types

import pytest
from fastloop import _fastloop

NOT_INSTANTIABLE = 1 << 7  # Py_TPFLAGS_DISALLOW_INSTANTIATION
CALLABLES = (
    types.BuiltinFunctionType,
    types.MethodDescriptorType,
    types.ClassMethodDescriptorType,
    staticmethod,
)
ATTRIBUTES = (types.GetSetDescriptorType, types.MemberDescriptorType)


def public_members(owner) -> dict[str, object]:
    return {name: value for name, value in vars(owner).items() if not name.startswith("_")}


PUBLIC_TYPES = {name: value for name, value in public_members(_fastloop).items() if isinstance(value, type)}
OWNERS = {"_fastloop": _fastloop, **PUBLIC_TYPES}


def members_of_kind(kinds) -> dict[str, object]:
    return {
        f"{owner_name}.{name}": getattr(owner, name)
        for owner_name, owner in OWNERS.items()
        for name, value in public_members(owner).items()
        if isinstance(value, kinds)
    }


CALLABLE = members_of_kind(CALLABLES) | {
    name: value for name, value in PUBLIC_TYPES.items() if not value.__flags__ & NOT_INSTANTIABLE
}
DOCUMENTED = CALLABLE | PUBLIC_TYPES | members_of_kind(ATTRIBUTES)


def test_only_the_init_function_is_exported():
    listing = subprocess.run(
        ["nm", "--dynamic", "--defined-only", "--format=just-symbols", _fastloop.__file__],
        capture_output=True,
        text=True,
        check=True,
    )
    assert listing.stdout.split() == ["PyInit__fastloop"]


def test_the_module_has_types_and_each_has_methods():
    assert PUBLIC_TYPES
    for value in PUBLIC_TYPES.values():
        assert any(callable(member) for name, member in vars(value).items() if not name.startswith("__"))


@pytest.mark.parametrize("name", sorted(DOCUMENTED))
def test_it_has_a_docstring(name):
    assert (DOCUMENTED[name].__doc__ or "").strip()


@pytest.mark.parametrize("name", sorted(CALLABLE))
def test_it_has_a_signature(name):
    inspect.signature(CALLABLE[name])

"""Lets a package be imported without the libraries that it needs.

An engine's argument parser is built by code that imports torch, transformers and a hundred others, and uses next to
nothing of them. Whatever is not the package itself, the standard library or one of a few real libraries is replaced by
a module whose every attribute is a class that can be called, subclassed, subscripted, compared and used as a
decorator.
"""

from __future__ import annotations

import abc
import importlib.abc
import importlib.machinery
import importlib.metadata
import re
import sys
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any

REAL = {"annotated_types", "packaging", "pydantic", "pydantic_core", "typing_extensions", "typing_inspection", "yaml"}
# Packages probe for these and then take the machine for a TPU, an NPU or a part of a Ray cluster.
ABSENT = {
    *("amdsmi", "habana_frameworks", "intel_extension_for_pytorch", "libtpu", "neuronx_distributed_inference", "ray"),
    *("torch_mlu", "torch_musa", "torch_npu", "torch_xla", "torchada", "tpu_inference", "transformers_neuronx"),
}
ABSENT_ATTRIBUTES = {"hpu", "mlu", "musa", "npu", "xpu"}  # the same question, asked of torch
VERSION = "99.0"


class Anything(abc.ABCMeta):
    """The class of stand-ins. A stand-in is a class, so that it can be a base class, too."""

    def __getattr__(cls, name: str) -> Any:
        if name == "__version__":
            return VERSION
        if (name.startswith("__") and name.endswith("__")) or not is_stand_in(cls):
            raise AttributeError(name)
        made = stand_in(name)
        setattr(cls, name, made)
        return made

    def __call__(cls, *arguments: Any, **options: Any) -> Any:  # noqa: D102
        if not is_stand_in(cls):
            return super().__call__(*arguments, **options)  # of a class of the package, derived from a stand-in
        decorated = (types.FunctionType, classmethod, staticmethod, property, type)
        if len(arguments) == 1 and not options and isinstance(arguments[0], decorated):
            return arguments[0]
        return stand_in(cls.__name__)

    def __eq__(cls, other: object) -> bool:
        return cls is other or (is_stand_in(cls) and is_stand_in(other) and cls.__name__ == other.__name__)  # type: ignore[attr-defined]

    __hash__ = type.__hash__

    def __iter__(cls) -> Iterator[Any]:
        return iter(())

    def __len__(cls) -> int:
        return 0

    def __int__(cls) -> int:
        return 0

    __index__ = __int__

    def __getitem__(cls, key: Any) -> Any:
        return cls

    def __setitem__(cls, key: Any, value: Any) -> None:
        return None

    def __contains__(cls, item: Any) -> bool:
        return False

    def __enter__(cls) -> Any:
        return cls

    def __exit__(cls, *problem: object) -> None:
        return None

    def register(cls, *arguments: Any, **_: Any) -> Any:
        """Registries of other libraries have a method of this name, and so has every abstract class."""
        return arguments[0] if arguments else None


def _give_arithmetic() -> None:
    """A stand-in in a sum leaves the other side as it is, and is neither smaller nor larger than anything."""
    for name in ("add", "sub", "mul", "floordiv", "truediv", "mod", "pow"):
        setattr(Anything, f"__{name}__", lambda cls, _other: cls)
        setattr(Anything, f"__r{name}__", lambda _cls, other: other)
    for name, answer in (("lt", False), ("gt", False), ("le", True), ("ge", True)):
        setattr(Anything, f"__{name}__", lambda _cls, _other, answer=answer: answer)
    for name in ("neg", "pos"):
        setattr(Anything, f"__{name}__", lambda cls: cls)


_give_arithmetic()


def is_stand_in(value: object) -> bool:
    """Whether this stands in for something of another library."""
    return isinstance(value, Anything) and value.__dict__.get("_stands_in", False)


def _of_any_type(_cls: type, *_: object) -> Any:
    from pydantic_core import core_schema  # noqa: PLC0415  the one that the package finds

    return core_schema.any_schema()


def stand_in(name: str) -> Any:
    """A new stand-in."""

    def initialise(_self: object, *_: object, **__: object) -> None:
        return None

    members = {
        "_stands_in": True,
        "__init__": initialise,
        "__init_subclass__": classmethod(lambda _cls, **_options: None),
        "__get_pydantic_core_schema__": classmethod(_of_any_type),
    }
    return Anything(name, (), members)


class _Module(types.ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name == "__version__":
            return VERSION
        if name.startswith("__") or name in ABSENT_ATTRIBUTES:
            raise AttributeError(name)
        made = stand_in(name)
        setattr(self, name, made)
        return made


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Makes a module wherever `wanted` says so, with the attributes that are given for its name."""

    def __init__(self, wanted: Callable[[str], bool], attributes: Mapping[str, Mapping[str, Any]]) -> None:
        self._wanted = wanted
        self._attributes = attributes

    def find_spec(self, name: str, _path: object, _target: object = None) -> importlib.machinery.ModuleSpec | None:
        return importlib.machinery.ModuleSpec(name, self, is_package=True) if self._wanted(name) else None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        made = _Module(spec.name)
        made.__path__ = []
        vars(made).update(self._attributes.get(spec.name, {}))
        return made

    def exec_module(self, module: types.ModuleType) -> None:  # noqa: ARG002
        return None


def install(folder: str, package: str, replaced: Mapping[str, Mapping[str, Any]]) -> None:
    """From now on, import a package from a folder and replace what it needs.

    Args:
        folder: Holds the package.
        package: The one that is really imported.
        replaced: Attributes that stand-ins must have, by the names of modules. A module of the package itself that is
            named here is replaced, too, with all that is in it.
    """
    real = REAL | {package} | set(sys.stdlib_module_names)

    def foreign(name: str) -> bool:
        top = name.partition(".")[0]
        inside = any(name == module or name.startswith(f"{module}.") for module in replaced)
        return inside or (top not in real and top not in ABSENT)

    def compiled(name: str) -> bool:
        return name.startswith(f"{package}.") and name.rpartition(".")[2].startswith("_")

    sys.path.insert(0, folder)
    sys.modules["regex"] = re  # close enough for the patterns that parsers use
    sys.meta_path.insert(0, _Finder(foreign, replaced))
    sys.meta_path.append(_Finder(compiled, {}))
    real_version = importlib.metadata.version

    def version(name: str) -> str:
        try:
            return real_version(name)
        except importlib.metadata.PackageNotFoundError:
            return VERSION

    importlib.metadata.version = version  # type: ignore[assignment]

"""Every role's argument specification says the same as the class in boxwright.model.variables."""

from __future__ import annotations

import types
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pytest
import yaml
from pydantic import BaseModel, SecretStr
from pydantic_core import PydanticUndefined

from boxwright.model.base import Frozen
from boxwright.model.variables import PASSING_ROLE_VARIABLES, ROLE_VARIABLES, SHARED_ROLE_VARIABLES, revealed

ALL_ROLES = (*ROLE_VARIABLES, *SHARED_ROLE_VARIABLES, *PASSING_ROLE_VARIABLES)
ROLES = Path(__file__).parents[3] / "roles"
SCALARS = {str: "str", int: "int", bool: "bool", float: "float", SecretStr: "str"}


def core(annotation: Any) -> Any:
    """The type without its constraints and its `| None`."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return core(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        (kept,) = (member for member in get_args(annotation) if member is not type(None))
        return core(kept)
    return annotation


def argument(annotation: Any) -> dict[str, Any]:
    """What an argument specification says of a value of this type."""
    annotation = core(annotation)
    origin = get_origin(annotation)
    if origin is Literal:
        return {"type": "str", "choices": list(get_args(annotation))}
    if origin is tuple:
        item = argument(get_args(annotation)[0])
        elements = {"type": "list", "elements": item.pop("type")}
        return elements | item
    if origin is dict:
        return {"type": "dict"}
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return {"type": "dict", "options": options(annotation)}
    return {"type": SCALARS[annotation]}


def options(model: type[BaseModel], prefix: str = "") -> dict[str, Any]:
    """The `options` of an argument specification for the fields of a model."""
    return {f"{prefix}{name}": option(field) for name, field in model.model_fields.items()}


def option(field: Any) -> dict[str, Any]:
    """One of the `options`."""
    said = argument(field.annotation)
    if type(None) in get_args(field.annotation):
        return said | {"default": None}  # the model always says it; who uses a role alone may leave it out
    if field.is_required():
        return said | {"required": True}
    assert field.default is not PydanticUndefined, "a default factory cannot be written into a specification"
    return said | {"default": revealed(field.default)}


def undescribed(specification: dict[str, Any]) -> dict[str, Any]:
    """The specification without its prose, which has no counterpart in the model."""
    return {
        name: {
            key: undescribed(value) if key == "options" else value
            for key, value in said.items()
            if key != "description" and (key, value) != ("default", None)
        }
        for name, said in specification.items()
    }


def load(role: str, file: str) -> Any:
    return yaml.safe_load((ROLES / role / file).read_text(encoding="utf-8"))


def test_every_role_has_a_class() -> None:
    assert {folder.name for folder in ROLES.iterdir()} == {model.unit for model in ALL_ROLES}  # type: ignore[attr-defined]


@pytest.mark.parametrize("model", ALL_ROLES, ids=lambda model: model.unit)
class TestRole:
    def test_specification_equals_the_model(self, model: type[Frozen]) -> None:
        role = model.unit  # type: ignore[attr-defined]
        said = load(role, "meta/argument_specs.yml")["argument_specs"]["main"]["options"]
        assert undescribed(said) == undescribed(options(model, f"{role}_"))

    def test_every_argument_is_described(self, model: type[Frozen]) -> None:
        role = model.unit  # type: ignore[attr-defined]

        def bare(specification: dict[str, Any]) -> list[str]:
            names = [name for name, said in specification.items() if not said.get("description")]
            return names + [name for said in specification.values() for name in bare(said.get("options", {}))]

        assert not bare(load(role, "meta/argument_specs.yml")["argument_specs"]["main"]["options"])

    def test_defaults_equal_the_model(self, model: type[Frozen]) -> None:
        role = model.unit  # type: ignore[attr-defined]
        wanted = {name: said["default"] for name, said in options(model, f"{role}_").items() if "default" in said}
        assert load(role, "defaults/main.yml") == wanted

    def test_templates_are_the_shared_ones(self, model: type[Frozen]) -> None:
        role = model.unit  # type: ignore[attr-defined]
        own, shared = ROLES / role / "templates", ROLES.parent / "templates" / role
        assert own.resolve() == shared or not (own.exists() or shared.exists())

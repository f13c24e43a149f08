"""Finds profiles, sites, models and accelerators under `inventories/`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import yaml  # type: ignore[import-untyped]
from pydantic import ValidationError

from boxwright.errors import BadInputError, did_you_mean
from boxwright.model.accelerators import AcceleratorCatalogue
from boxwright.model.catalogue import ModelCatalogue
from boxwright.model.composition import load_composed, place_of
from boxwright.model.engine_settings import EngineTable
from boxwright.model.fleet import Fleet
from boxwright.model.hosts_file import with_hosts
from boxwright.model.loading import Schema, load, read_layer, validated
from boxwright.model.profile import Profile
from boxwright.model.site import Site
from boxwright.places import ROOT

INVENTORIES = ROOT / "inventories"
_FAST_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def profile_names(inventories: Path = INVENTORIES) -> list[str]:
    """Names of the profiles that are there."""
    return sorted(path.stem for path in (inventories / "profiles").glob("*.yml"))


def site_names(inventories: Path = INVENTORIES) -> list[str]:
    """Names of the sites that are there."""
    return sorted(path.parent.name for path in (inventories / "sites").glob("*/site.yml"))


def load_profile(name: str, inventories: Path = INVENTORIES) -> Profile:
    """Load a profile by its name, or by a path that ends in `.yml`.

    Raises:
        BadInputError: There is no such profile, or its file is wrong.
    """
    path = _profile_path(name, inventories)
    if not path.is_file():
        raise _unknown("profile", name, profile_names(inventories))
    profile = load_composed(path, Profile, inventories / "parts")
    _named_like_its_file(profile.name, path.stem, path)
    return profile


def place_in_profile(name: str, keys: Sequence[str], inventories: Path = INVENTORIES) -> str:
    """`file:line:column` of a key of a profile, in its own file or in the part that says it.

    Raises:
        BadInputError: There is no such profile, or it is not YAML.
    """
    return place_of(_profile_path(name, inventories), keys, inventories / "parts")


def _profile_path(name: str, inventories: Path) -> Path:
    return Path(name) if name.endswith(".yml") else inventories / "profiles" / f"{name}.yml"


def load_site(name: str, inventories: Path = INVENTORIES) -> Site:
    """Load a site by its name, or by a path that ends in `.yml`.

    Raises:
        BadInputError: There is no such site, or its file is wrong.
    """
    path = Path(name) if name.endswith(".yml") else inventories / "sites" / name / "site.yml"
    if not path.is_file():
        raise _unknown("site", name, site_names(inventories))
    document, layers = with_hosts(read_layer(path))
    site = validated(document, Site, layers)
    if not name.endswith(".yml"):
        _named_like_its_file(site.name, path.parent.name, path)
    return site


def load_models(inventories: Path = INVENTORIES, further: Sequence[Path] = ()) -> ModelCatalogue:
    """Load the model catalogue: every file of `inventories/models`, and a site's own.

    Args:
        inventories: The folder of inventories.
        further: Files of models and of pinned digests, such as `./invoke models.pin` prints.

    Raises:
        BadInputError: A file is wrong, two name one model, or a pin is for none.
    """
    ours = sorted((inventories / "models").glob("*.yml"))
    parts = [(path, _load_quickly(path, ModelCatalogue)) for path in ours]
    parts += [(path, load(path, ModelCatalogue)) for path in further]
    try:
        catalogue = ModelCatalogue(models=tuple(model for _, part in parts for model in part.models))
    except ValidationError as error:
        raise BadInputError(_problem(error), where=" and ".join(str(path) for path, _ in parts)) from None
    for path, part in parts:
        try:
            catalogue = catalogue.with_pins(part.pins)
        except ValueError as error:
            problem = _problem(error) if isinstance(error, ValidationError) else str(error)
            raise BadInputError(problem, where=str(path)) from None
    return catalogue


def load_accelerators(inventories: Path = INVENTORIES) -> AcceleratorCatalogue:
    """Load the accelerator catalogue."""
    return _load_quickly(inventories / "accelerators.yml", AcceleratorCatalogue)


def engine_names(inventories: Path = INVENTORIES) -> list[str]:
    """Names of the engines whose settings are known."""
    return sorted(path.stem for path in (inventories / "engines").glob("*.yml"))


def load_engine(name: str, inventories: Path = INVENTORIES) -> EngineTable:
    """Load the settings of an engine.

    Raises:
        BadInputError: There is no such table, or its file is wrong.
    """
    path = inventories / "engines" / f"{name}.yml"
    if not path.is_file():
        raise _unknown("table of engine settings", name, engine_names(inventories))
    table = _engine_table(path, path.stat().st_mtime_ns)
    _named_like_its_file(table.engine, path.stem, path)
    return table


@lru_cache(maxsize=16)
def _engine_table(path: Path, _changed: int) -> EngineTable:
    return _load_quickly(path, EngineTable)


def _load_quickly(path: Path, schema: type[Schema]) -> Schema:
    """Read a large file of ours. A reader that knows the place of every key takes long; only a mistake needs it."""
    try:
        return schema.model_validate(yaml.load(path.read_bytes(), Loader=_FAST_LOADER))  # noqa: S506  a safe one
    except (OSError, ValueError, yaml.YAMLError):  # ValueError: also of pydantic, and of what is not UTF-8
        return load(path, schema)


def make_fleet(profile: Profile, site: Site, catalogue: ModelCatalogue, accelerators: AcceleratorCatalogue) -> Fleet:
    """Join a profile and a site.

    Raises:
        BadInputError: The two do not go together, or the profile names an unknown model.
    """
    try:
        return Fleet(profile=profile, site=site, catalogue=catalogue, accelerators=accelerators)
    except ValidationError as error:
        raise BadInputError(_problem(error), where=f"profile {profile.name}, site {site.name}") from None


def _problem(error: ValidationError) -> str:
    return error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")


def _unknown(kind: str, name: str, known: list[str]) -> BadInputError:
    hint = f"There are: {', '.join(known)}." if known else f"There is no {kind} yet."
    return BadInputError(f"no {kind} '{name}'.{did_you_mean(name, known)}", hint=hint)


def _named_like_its_file(name: str, expected: str, path: Path) -> None:
    if name != expected:
        raise BadInputError(
            f"name: '{name}' stands in a file called '{expected}'",
            where=f"{path}:1",
            hint="Make the two equal.",
        )

"""The commented examples are the documentation of the files, so they must load and name every key."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from ruamel.yaml import YAML

from boxwright.errors import BadInputError
from boxwright.model.catalogues import load_profile, load_site, profile_names, site_names
from boxwright.model.examples import TOPICS, example
from boxwright.model.loading import _schema_in, load
from boxwright.model.profile import Profile
from boxwright.model.site import Site
from boxwright.places import ROOT

SCHEMAS: dict[str, type[BaseModel]] = {"profile": Profile, "site": Site}
SLICE = ("mig_slice", "mig_slice.card", "mig_slice.profile")
# Alternatives, to addresses, to mirrors and to whole cards, that are shown as comments.
TWIN = {"twin", "twin.distribution", "twin.kind"}
BUNDLE = {"bundle", *(f"bundle.{key}" for key in ("url", "suite", "key", "key_fingerprint", "vendors", "registries"))}
COMMENTED_OUT = {"hosts_file"} | TWIN | BUNDLE | {f"stack.{of}{key}" for of in ("", "further.") for key in SLICE}


def keys_of(schema: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in schema.model_fields.items():
        yield prefix + name
        inner = _schema_in(field.annotation)
        if inner is not None:
            yield from keys_of(inner, f"{prefix}{name}.")


def keys_in(document: Any, prefix: str = "") -> Iterator[str]:
    for item in document if isinstance(document, list) else [document]:
        if isinstance(item, dict):
            for name, value in item.items():
                yield prefix + name
                yield from keys_in(value, f"{prefix}{name}.")


@pytest.mark.parametrize("topic", TOPICS)
def test_the_example_loads(topic: str) -> None:
    load(ROOT / "docs" / "examples" / f"{topic}.yml", SCHEMAS[topic])


@pytest.mark.parametrize("topic", TOPICS)
def test_the_example_names_every_key(topic: str) -> None:
    shown = set(keys_in(YAML(typ="safe").load(example(topic))))
    # A service beside the main one has the main one's keys, which are shown there.
    shown |= {key.replace("stack.", "stack.further.", 1) for key in shown if key.startswith("stack.")}
    assert set(keys_of(SCHEMAS[topic])) - shown - COMMENTED_OUT == set()


def test_the_profile_example_shows_the_defaults() -> None:
    path = ROOT / "docs" / "examples" / "profile.yml"
    shown = load(path, Profile)
    for section in ("base", "kernel", "firewall", "gateway", "monitoring", "reboot"):
        assert getattr(shown, section) == Profile.model_fields[section].default, section
    for name, field in Profile.model_fields.items():
        if field.default is None:
            assert getattr(shown, name) == type(getattr(shown, name))(), name


def test_unknown_topic() -> None:
    with pytest.raises(BadInputError, match=r"Did you mean 'site'\?"):
        example("sites")


def test_every_profile_and_site_loads() -> None:
    assert [load_profile(name).name for name in profile_names()] == profile_names()
    assert [load_site(name).name for name in site_names()] == site_names()


def test_files_of_the_repository_have_no_tabs() -> None:
    for path in Path(ROOT, "inventories").rglob("*.yml"):
        assert "\t" not in path.read_text(encoding="utf-8"), path

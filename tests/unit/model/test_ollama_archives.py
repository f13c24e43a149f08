"""Which archive of Ollama a box is given, and what is refused before anything is fetched."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from boxwright.model.catalogues import (
    load_accelerators,
    load_engine,
    load_models,
    load_profile,
    make_fleet,
)
from boxwright.model.fleet import Fleet
from boxwright.model.ollama import DEFAULT_RELEASE, OllamaArtefact, archive_of, pinned_releases
from boxwright.model.site import Artefacts, Host, Mirrors, Site, TwinSettings
from boxwright.model.stack import Stack

OWN = OllamaArtefact(version="0.33.0", path="~/ollama-linux-amd64.tgz", sha256="ab" * 32)
MIRROR = "https://mirror.example/ollama/"


def fleet(profile: str = "2x4090", version: str | None = None, **site: Any) -> Fleet:
    read = load_profile(profile)
    read = read.model_copy(update={"stack": read.stack.model_copy(update={"engine_version": version})})
    hosts = (Host(name="box-1", address="192.0.2.7"),)
    return make_fleet(read, Site(name="s", hosts=hosts, **site), load_models(), load_accelerators())


def test_a_published_archive_comes_from_the_mirror() -> None:
    archive = archive_of("0.33.0", (), MIRROR)
    assert archive
    assert archive.urls == ("https://mirror.example/ollama/v0.33.0/ollama-linux-amd64.tar.zst",)
    assert (archive.kind, archive.path) == ("tar.zst", None)


def test_the_sites_own_goes_first_and_older_ones_are_packed_otherwise() -> None:
    archive = archive_of("0.33.0", (OWN,), MIRROR)
    assert archive
    assert (archive.path, archive.kind, archive.urls, archive.sha256) == (OWN.path, "tgz", (), "ab" * 32)


def test_nobody_knows_of_another_release() -> None:
    assert archive_of("0.33.1", (OWN,), MIRROR) is None
    assert fleet(version="0.33.1").without_stack == (
        "no digest of Ollama 0.33.1 is known: name its archive under artefacts.ollama"
    )
    other = OllamaArtefact(version="0.33.1", url="https://mirror.example/o.tar.zst", sha256="cd" * 32)
    assert fleet(version="0.33.1", artefacts=Artefacts(ollama=(other,))).without_stack == ""


def test_a_box_with_cards_serves_and_its_twin_does_not() -> None:
    assert fleet().without_stack == ""
    assert fleet(twin=TwinSettings()).without_stack.startswith("the cards of a twin are simulated")


def test_ollama_for_other_cards_is_not_installed() -> None:
    profile = load_profile("8xmi300x")
    stack = Stack(model="deepseek-r1-distill-qwen-7b", engine="ollama")
    made = make_fleet(
        profile.model_copy(update={"stack": stack}),
        Site(name="s", hosts=(Host(name="box-1", address="192.0.2.7"),)),
        load_models(),
        load_accelerators(),
    )
    assert "are an archive of their own" in made.without_stack


def test_the_default_release_is_the_tables_and_can_be_had() -> None:
    assert load_engine("ollama").default_version == DEFAULT_RELEASE
    assert DEFAULT_RELEASE in pinned_releases()


def test_the_mirror_is_the_sites() -> None:
    archive = fleet(mirrors=Mirrors(ollama_releases=MIRROR)).ollama_archive
    assert archive
    assert archive.urls[0].startswith(f"{MIRROR}v0.33.0/")


@pytest.mark.parametrize("places", [{}, {"path": "/a.tgz", "url": "https://b.example/a.tgz"}, {"path": "/a.zip"}])
def test_an_archive_is_at_one_place_and_of_a_known_kind(places: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        OllamaArtefact(version="0.33.0", sha256="ab" * 32, **places)


def test_two_archives_of_one_release_are_refused() -> None:
    with pytest.raises(ValidationError, match="ollama: two archives of one version"):
        Artefacts(ollama=(OWN, OWN))


def test_two_services_have_one_release() -> None:
    further = {"name": "e", "model": "bge-m3", "engine": "ollama", "engine_port": 8001, "engine_version": "0.32.7"}
    with pytest.raises(ValidationError, match="two services of ollama name two"):
        Stack(model="smollm2", engine="ollama", engine_version="0.33.0", further=(further,))


def test_the_model_is_listed_with_its_tag() -> None:
    assert fleet().served_name == "deepseek-r1-distill-qwen-7b:latest"
    assert fleet("lab").served_name == "smollm2-135m-instruct"

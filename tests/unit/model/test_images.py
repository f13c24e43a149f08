"""Images are pulled from where the site says: their registry is another, what they are is the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from boxwright.model.images import rewritten
from boxwright.model.site import Host, Site

DIGEST = "sha256:" + "0123456789abcdef" * 4
PLACES = {"ghcr.io": "mirror.example:5000/ghcr", "docker.io": "hub.example", "localhost": "mirror.example"}


@pytest.mark.parametrize(
    ("image", "pulled"),
    [
        ("ghcr.io/org/name:v1.2", "mirror.example:5000/ghcr/org/name:v1.2"),
        ("ghcr.io/name", "mirror.example:5000/ghcr/name"),
        (f"ghcr.io/org/name@{DIGEST}", f"mirror.example:5000/ghcr/org/name@{DIGEST}"),
        (f"ghcr.io/org/name:v1@{DIGEST}", f"mirror.example:5000/ghcr/org/name:v1@{DIGEST}"),
        ("ghcr.io:443/org/name", "ghcr.io:443/org/name"),  # another registry, as far as names go
        ("quay.io/org/name:v1", "quay.io/org/name:v1"),
        ("debian", "hub.example/library/debian"),
        ("debian:12-slim", "hub.example/library/debian:12-slim"),
        ("org/name", "hub.example/org/name"),
        ("docker.io/debian", "hub.example/library/debian"),
        ("index.docker.io/org/name", "hub.example/org/name"),
        ("localhost/name", "mirror.example/name"),
        ("ghcr/org/name", "hub.example/ghcr/org/name"),  # no dot: somebody's name at Docker Hub
    ],
)
def test_what_is_pulled(image: str, pulled: str) -> None:
    assert rewritten(image, PLACES) == pulled


@pytest.mark.parametrize(
    "image",
    [
        "",
        "ghcr.io/",
        "/name",
        "ghcr.io/Name",
        "ghcr.io/a b",
        "https://ghcr.io/a",
        "a:b:c",
        "a@sha256:1",
        "a;b",
        "-a",
        "a//b",
    ],
)
def test_what_is_no_name_is_refused(image: str) -> None:
    with pytest.raises(ValueError, match="is not the name of an image"):
        rewritten(image, PLACES)


PART = st.from_regex(r"[a-z0-9]{1,8}(-[a-z0-9]{1,4})?", fullmatch=True)
REGISTRY = st.from_regex(r"[a-z]{1,8}\.[a-z]{2,3}(:[1-9][0-9]{1,3})?", fullmatch=True)


@given(REGISTRY, st.lists(PART, min_size=1, max_size=3), st.sampled_from(["", ":v1", f"@{DIGEST}"]), REGISTRY, PART)
def test_only_the_registry_changes(registry: str, path: list[str], suffix: str, other: str, folder: str) -> None:
    rest = "/".join(path) + suffix
    assert rewritten(f"{registry}/{rest}", {registry: f"{other}/{folder}"}) == f"{other}/{folder}/{rest}"
    assert rewritten(f"{registry}/{rest}", {}) == f"{registry}/{rest}"


@pytest.mark.parametrize(
    ("rewrites", "message"),
    [
        ({"ghcr": "mirror.example"}, "not a registry as names of images have it"),
        ({"https://ghcr.io": "mirror.example"}, "not a registry as names of images have it"),
        ({"ghcr.io/org": "mirror.example"}, "not a registry as names of images have it"),
        ({"index.docker.io": "mirror.example"}, "Docker Hub is called docker.io"),
        ({"ghcr.io": "mirror"}, "not a place of images"),
        ({"ghcr.io": "https://mirror.example"}, "not a place of images"),
        ({"ghcr.io": "mirror.example/ghcr:v1"}, "not a place of images"),
        ({"ghcr.io": "mirror.example/ghcr/"}, "not a place of images"),
    ],
)
def test_sites_that_rewrite_nonsense_are_refused(rewrites: dict[str, str], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Site(name="s", hosts=(Host(name="box-1", address="192.0.2.7"),), registry_rewrites=rewrites)


def test_a_site_names_its_images() -> None:
    hosts = (Host(name="box-1", address="192.0.2.7"),)
    assert Site(name="s", hosts=hosts).image("ghcr.io/org/name:v1") == "ghcr.io/org/name:v1"
    assert Site(name="s", hosts=hosts, registry_rewrites=PLACES).image("debian") == "hub.example/library/debian"

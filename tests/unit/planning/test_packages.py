"""What the distribution has to give an engine: a compiler where it compiles as it starts, and nothing where not."""

from __future__ import annotations

import pytest

from boxwright.model.catalogues import load_accelerators, load_models, load_profile, make_fleet
from boxwright.model.site import Host, Site
from boxwright.planning.packages import packages

COMPILERS = {"gcc", "g++", "libc6-dev"}


def of(name: str) -> set[str]:
    profile = load_profile(name)
    hosts = tuple(Host(name=f"box-{n}", address=f"192.0.2.{n}") for n in range(1, profile.nodes + 1))
    fleet = make_fleet(profile, Site(name="s", hosts=hosts), load_models(), load_accelerators())
    found = packages(fleet)
    assert len(set(found)) == len(found)
    assert set(profile.base.packages) <= set(found)
    return set(found) - set(profile.base.packages)


@pytest.mark.parametrize("name", ["4x4090", "2x8xh20", "1x4090-kt"])
def test_engines_that_compile_kernels_as_they_start_get_a_compiler(name: str) -> None:
    assert of(name) >= COMPILERS


@pytest.mark.parametrize("name", ["lab", "lab-vllm-pair", "1x4090-gguf"])
def test_others_get_none(name: str) -> None:
    assert not of(name) & COMPILERS

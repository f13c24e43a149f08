"""What the deploys of a profile's engines are given, on every host of a site, whether or not the stage would be run.

No digests of large weights are pinned, so that on a profile with cards the stage of the engine is left out for now:
what an engine would be told is worked out here all the same.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

from golden.template_rendering import artefacts_for
from pydantic import SecretStr

from boxwright.model.catalogues import (
    load_accelerators,
    load_engine,
    load_models,
    load_profile,
    make_fleet,
    profile_names,
)
from boxwright.model.compatibility import check_stack
from boxwright.model.fleet import Fleet
from boxwright.model.site import EngineImage, Host, Mirrors, Site
from boxwright.model.variables import Variables, named
from boxwright.planning.engine_variables import vllm_variables
from boxwright.planning.ktransformers_variables import ktransformers_variables
from boxwright.planning.llama_cpp_variables import llama_cpp_variables
from boxwright.planning.ollama_variables import ollama_variables
from boxwright.planning.site_images import with_images
from boxwright.planning.sized_stack import size_stack
from boxwright.planning.vllm_container_variables import vllm_container_variables
from boxwright.vault import SECRET_NAMES, HostSecrets

IMAGES = (
    EngineImage(engine="vllm_ascend", version="0.23.0", image=f"quay.io/ascend/vllm-ascend@sha256:{'a' * 64}"),
    EngineImage(engine="vllm_rocm", version="0.23.0", image=f"rocm/vllm@sha256:{'b' * 64}"),
)
SECRETS = HostSecrets(**{name: SecretStr(f"the-{name}-of-the-golden-test") for name in SECRET_NAMES})
MIRRORS = Mirrors(
    debian="http://mirror.example/debian",
    debian_security="http://mirror.example/security",
    python_index="https://mirror.example/simple",
    builds="/var/cache/boxwright/builds",
    check_valid_until=True,
)
# What a profile may ask for and none of the house does: changes to its stack, by what is added to the profile's name.
CHANGES: dict[str, dict[str, Any]] = {
    "-ray": {"executor": "ray"},
    # As docs/deploys/vllm.md has it.
    "-lora": {
        "engine_settings": {
            "enable-lora": True,
            "lora-modules": ["contracts=/srv/adapters/contracts", "letters=/srv/adapters/letters"],
            "max-loras": 2,
            "max-lora-rank": 32,
        }
    },
}
VARIANTS = ("2x8xh20-ray", "2xa100-lora")


class Given(NamedTuple):
    """What one deploy is given on one host."""

    host: str
    deploy: str
    data: dict[str, Any]


def names() -> list[str]:
    """Every profile whose stack has an engine, and the variants of some."""
    return [name for name in (*profile_names(), *VARIANTS) if given(name)]


@cache
def sized_fleet(name: str) -> Fleet:
    """A profile or a variant of one, sized, on a site with as many hosts as it has nodes, and with every image."""
    end = next((end for end in CHANGES if name.endswith(end)), "")
    profile, change = load_profile(name.removesuffix(end)), CHANGES.get(end, {})
    stack = type(profile.stack).model_validate(profile.stack.model_dump(exclude_unset=True) | change)
    hosts = tuple(Host(name=f"box-{number}", address=f"192.0.2.{6 + number}") for number in range(1, profile.nodes + 1))
    artefacts = artefacts_for(profile).model_copy(update={"images": IMAGES})
    site = Site(name="golden", hosts=hosts, artefacts=artefacts)
    profile = with_images(profile.model_copy(update={"stack": stack}), site)
    models, accelerators = load_models(), load_accelerators()
    check_stack(profile, load_engine, accelerators, models)
    return make_fleet(size_stack(profile, models, accelerators, str)[0], site, models, accelerators)


@cache
def given(name: str) -> tuple[Given, ...]:
    """What the deploys of the engines are given, host by host."""
    fleet = sized_fleet(name)
    found = []
    for host in fleet.hosts:
        units: tuple[Variables | None, ...] = (
            llama_cpp_variables(fleet, SECRETS, MIRRORS),
            vllm_variables(fleet, host, SECRETS, MIRRORS),
            ollama_variables(fleet),
            ktransformers_variables(fleet, SECRETS, MIRRORS),
            *vllm_container_variables(fleet, SECRETS),
        )
        found += [Given(host.name, one.unit, named(one)) for one in units if one]
    return tuple(found)

"""Every profile projected onto what the engines are given, held against a file that a person has read.

After a change that is meant: `BOXWRIGHT_GOLDEN=write ./invoke test --fast --only golden`, then read the diff.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from stack_projection import MIRRORS, SECRETS
from template_rendering import artefacts_for

from boxwright.engines.ansible.inventory import host_inventory
from boxwright.model.catalogues import load_accelerators, load_models, load_profile, make_fleet, profile_names
from boxwright.model.site import Host, Site
from boxwright.model.variables import named
from boxwright.planning.engine_variables import vllm_variables
from boxwright.planning.ktransformers_variables import ktransformers_variables
from boxwright.planning.llama_cpp_variables import llama_cpp_variables
from boxwright.planning.sized_stack import size_stack
from boxwright.planning.stages import stages_of
from boxwright.planning.variables import deploy_variables, role_variables
from boxwright.provisioning.acceptance import verify_job
from boxwright.provisioning.target import Target
from boxwright.transport.ssh import Endpoint

HERE = Path(__file__).parent


def verified(target: Target, host: Host) -> dict[str, Any]:
    """What the acceptance suite is told of a host. The profile and the secrets stand there as they are."""
    (told,) = verify_job(target, {host.name}).hosts
    values = told.model_dump(mode="json", exclude={"profile", "secrets"})
    assert told.profile == target.fleet.profile
    assert told.secrets == target.secrets[host.name]
    return values | {"allowed_ports": list(told.allowed_ports), "gateway_name": told.gateway_name}


def hosts_of_profiles() -> list[tuple[str, int]]:
    """Each profile with the number of each of its hosts, the one that leads first."""
    return [(name, number) for name in profile_names() for number in range(1, load_profile(name).nodes + 1)]


def projected(profile_name: str, number: int) -> dict[str, Any]:
    profile, sized = size_stack(load_profile(profile_name), load_models(), load_accelerators(), str)
    hosts = tuple(Host(name=f"box-{number}", address=f"192.0.2.{6 + number}") for number in range(1, profile.nodes + 1))
    site = Site(name="golden", hosts=hosts, artefacts=artefacts_for(profile))
    fleet = make_fleet(profile, site, load_models(), load_accelerators())
    host = fleet.hosts[number - 1]
    stages = stages_of(fleet)
    endpoint = Endpoint.of(fleet.site, host)
    roles = [stage.name for stage in stages if stage.engine == "ansible"]
    inventory = host_inventory(endpoint, role_variables(fleet, host, SECRETS, (), None), roles)
    given = inventory["all"]["hosts"][host.name]
    del given["ansible_ssh_common_args"]  # holds paths of the machine that runs this
    if given.get("gateway_about_pages"):  # long, and read by tests of their own
        given["gateway_about_pages"] = dict.fromkeys(given["gateway_about_pages"], "a page")
    deploys = {
        key: value for unit in deploy_variables(fleet, host, SECRETS, MIRRORS) for key, value in named(unit).items()
    }
    target = Target(fleet, {one.name: SECRETS for one in hosts}, MIRRORS, certificates=(), chain=None)
    # What a GPU profile's engine would be told is read here, though no digests of its weights are pinned yet.
    engine, llama_cpp = vllm_variables(fleet, host, SECRETS, MIRRORS), llama_cpp_variables(fleet, SECRETS, MIRRORS)
    kt = ktransformers_variables(fleet, SECRETS, MIRRORS)
    return {
        **({"ktransformers": named(kt)} if kt else {}),
        **({"llama_cpp": named(llama_cpp)} if llama_cpp and fleet.without_stack else {}),
        "sizing": [one.model_dump() for one in sized],
        "vllm": named(engine) if engine else None,
        "stages": [stage.name for stage in stages],
        "ansible": inventory,
        "pyinfra": deploys,
        "testinfra": verified(target, host),
    }


@pytest.mark.parametrize(("profile_name", "number"), hosts_of_profiles())
def test_projections_are_as_read(profile_name: str, number: int) -> None:
    path = HERE / (f"{profile_name}.json" if number == 1 else f"{profile_name}.box-{number}.json")
    text = json.dumps(projected(profile_name, number), indent=2, sort_keys=True) + "\n"
    if os.environ.get("BOXWRIGHT_GOLDEN") == "write":
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")

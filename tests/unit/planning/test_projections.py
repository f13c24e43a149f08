"""A fleet projected onto engines: pure, complete, and with secrets only where an engine needs them."""

from __future__ import annotations

import bcrypt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from boxwright.engines.ansible.inventory import host_inventory
from boxwright.errors import BadInputError
from boxwright.model.catalogues import load_accelerators, load_models, load_profile, make_fleet
from boxwright.model.deploy_variables import DEPLOY_VARIABLES
from boxwright.model.fleet import Fleet
from boxwright.model.site import Host, Mirrors, Networks, Site
from boxwright.model.variables import ROLE_VARIABLES, FirewallVariables, named
from boxwright.planning.stages import PLATFORM, WORKLOAD, stages_of
from boxwright.planning.variables import deploy_variables, password_hash, public_url, role_variables
from boxwright.transport.ssh import Endpoint
from boxwright.vault import HostSecrets

MIRRORS = Mirrors(
    debian="http://mirror.example/debian",
    debian_security="http://mirror.example/security",
    python_index="https://mirror.example/simple",
    builds="/shelf",
)
SECRETS = HostSecrets(
    api_password=SecretStr("api-password"),
    api_key=SecretStr("sk-api"),
    engine_key=SecretStr("engine-key"),
    webui_admin_password=SecretStr("admin-password"),
    webui_secret_key=SecretStr("session-key"),
)


def fleet(**site: object) -> Fleet:
    hosts = (Host(name="box-1", address="192.0.2.7"),)
    return make_fleet(load_profile("lab"), Site(name="s", hosts=hosts, **site), load_models(), load_accelerators())


def test_every_stage_has_variables_and_every_variable_a_stage() -> None:
    assert [stage.name for stage in PLATFORM] == [unit.unit for unit in ROLE_VARIABLES]
    assert [stage.name for stage in WORKLOAD] == [unit.unit for unit in DEPLOY_VARIABLES]


def test_only_narrows_and_refuses_what_is_not_there() -> None:
    assert [stage.name for stage in stages_of(fleet(), ("gateway",))] == ["gateway"]
    with pytest.raises(BadInputError, match=r"Did you mean 'gateway'\?"):
        stages_of(fleet(), ("gatway",))


def test_the_inventory_of_a_host() -> None:
    made = fleet()
    host = made.hosts[0]
    endpoint = Endpoint.of(made.site, host)
    variables = role_variables(made, host, SECRETS, (), None)
    inventory = host_inventory(endpoint, variables, ["base", "gateway"])
    values = inventory["all"]["hosts"]["box-1"]
    assert values["ansible_host"] == "192.0.2.7"
    assert "StrictHostKeyChecking=yes" in values["ansible_ssh_common_args"]
    assert values["platform_roles"] == ["base", "gateway"]
    assert values["gateway_engine_key"] == "engine-key"
    assert values["gateway_server_names"] == ["192.0.2.7", "box-1"]
    assert "api-password" not in str(inventory)  # the box gets a hash, not the password
    assert inventory == host_inventory(endpoint, role_variables(made, host, SECRETS, (), None), ["base", "gateway"])


def test_ssh_answers_management_and_the_gateway_clients() -> None:
    made = fleet(networks=Networks(management=("10.0.0.0/8",), clients=("192.0.2.0/24", "2001:db8::/32")))
    variables = role_variables(made, made.hosts[0], SECRETS, (), None)
    firewall = next(unit for unit in variables if isinstance(unit, FirewallVariables))
    assert {service.name: service.sources for service in firewall.services} == {
        "ssh": ("10.0.0.0/8",),
        "gateway": ("192.0.2.0/24", "2001:db8::/32"),
    }


def test_deploys_are_named_and_agree_with_the_gateway() -> None:
    made = fleet()
    deploys = {
        key: value
        for unit in deploy_variables(made, made.hosts[0], SECRETS, MIRRORS)
        for key, value in named(unit).items()
    }
    roles = {
        key: value
        for unit in role_variables(made, made.hosts[0], SECRETS, (), None)
        for key, value in named(unit).items()
    }
    (service,) = deploys["llama_cpp_services"]
    assert roles["gateway_engine_url"] == f"http://127.0.0.1:{service['port']}"
    assert roles["gateway_chat_page_url"] == f"http://127.0.0.1:{deploys['open_webui_port']}"
    assert deploys["llama_cpp_api_key"] == roles["gateway_engine_key"]
    assert deploys["open_webui_connections"] == [
        {"url": f"{roles['gateway_engine_url']}/v1", "api_key": roles["gateway_engine_key"]}
    ]
    assert service["model_path"].startswith(deploys["models_builds"][0]["directory"] + "/")
    assert public_url(made, made.hosts[0]) == "https://192.0.2.7"


@settings(max_examples=10, deadline=None)
@given(st.text(min_size=1, max_size=40))
def test_password_hashes_hold_and_do_not_change(password: str) -> None:
    made = password_hash(SecretStr(password))
    assert made == password_hash(SecretStr(password))
    assert bcrypt.checkpw(password.encode()[:72], made.get_secret_value().encode())

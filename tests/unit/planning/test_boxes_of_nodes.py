"""Boxes of several machines: clients speak to the head, and the others send them there."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from boxwright.model.catalogues import load_accelerators, load_models, load_profile, make_fleet
from boxwright.model.deploy_variables import VllmVariables
from boxwright.model.fleet import Fleet
from boxwright.model.site import Host, Mirrors, Networks, Site
from boxwright.model.variables import FirewallVariables, GatewayVariables, MonitoringVariables, Variables
from boxwright.planning.addresses import public_url, server_names
from boxwright.planning.engine_variables import vllm_variables
from boxwright.planning.stages import WORKLOAD, stages_for
from boxwright.planning.variables import role_variables
from boxwright.vault import SECRET_NAMES, HostSecrets

SECRETS = HostSecrets(**{name: SecretStr(f"the-{name}-of-the-test") for name in SECRET_NAMES})


@pytest.fixture
def fleet() -> Fleet:
    """Two boxes of two machines."""
    hosts = tuple(
        Host(name=f"node-{number}", address=f"192.0.2.{number}", compute_address=f"198.51.100.{number}")
        for number in range(1, 5)
    )
    site = Site(name="s", hosts=hosts, server_name="llm.example", networks=Networks(clients=("10.0.0.0/8",)))
    return make_fleet(load_profile("2x8xh20"), site, load_models(), load_accelerators())


def given(fleet: Fleet, place: int) -> tuple[GatewayVariables, MonitoringVariables, FirewallVariables]:
    found: dict[type[Variables], Variables] = {
        type(one): one for one in role_variables(fleet, fleet.hosts[place], SECRETS, (), None)
    }
    gateway, monitoring = found[GatewayVariables], found[MonitoringVariables]
    firewall = found[FirewallVariables]
    assert isinstance(gateway, GatewayVariables)
    assert isinstance(monitoring, MonitoringVariables)
    assert isinstance(firewall, FirewallVariables)
    return gateway, monitoring, firewall


def test_the_first_of_each_box_leads(fleet: Fleet) -> None:
    assert [fleet.leads(host) for host in fleet.hosts] == [True, False, True, False]
    assert [fleet.head_of(host).name for host in fleet.hosts] == ["node-1", "node-1", "node-3", "node-3"]


def test_a_node_sends_clients_to_its_own_head_and_does_not_take_the_sites_name(fleet: Fleet) -> None:
    gateway, monitoring, firewall = given(fleet, 1)
    assert gateway.head_url == public_url(fleet, fleet.hosts[0])
    assert gateway.monitored_by == "198.51.100.1"
    assert gateway.about_pages is None
    assert server_names(fleet, fleet.hosts[1]) == ("192.0.2.2", "node-2", "198.51.100.2")
    assert monitoring.engine_metrics_url is None
    assert monitoring.nodes == {}
    (rule,) = (one for one in firewall.services if one.name == "head of the box")
    assert (rule.ports, rule.sources) == ((80,), ("198.51.100.1/32",))


def test_the_head_serves_and_watches_the_others(fleet: Fleet) -> None:
    gateway, monitoring, firewall = given(fleet, 2)
    assert (gateway.head_url, gateway.monitored_by) == (None, None)
    assert monitoring.nodes == {"node-4": "198.51.100.4"}
    assert monitoring.engine_metrics_url
    assert "head of the box" not in {one.name for one in firewall.services}


def test_the_chat_page_stands_on_heads_alone(fleet: Fleet) -> None:
    went = [[stage.name for stage in stages_for(fleet, host, WORKLOAD)] for host in fleet.hosts[:2]]
    assert "open_webui" in went[0]
    assert went[1] == [name for name in went[0] if name != "open_webui"]


def vllm_of(fleet: Fleet, place: int) -> VllmVariables:
    mirrors = Mirrors(debian="http://mirror.example/debian", python_index="http://mirror.example/simple")
    found = vllm_variables(fleet, fleet.hosts[place], SECRETS, mirrors)
    assert found
    return found


def test_each_node_is_told_its_own_address_and_the_heads(fleet: Fleet) -> None:
    (head,), (other,) = (vllm_of(fleet, place).services for place in (2, 3))
    assert (head.node_address, head.head_address, head.peers) == ("198.51.100.3", "198.51.100.3", ("198.51.100.4",))
    assert (other.node_address, other.head_address, other.peers) == ("198.51.100.4", "198.51.100.3", ("198.51.100.3",))
    assert (head.answers, other.answers) == (True, False)
    assert other.environment["VLLM_HOST_IP"] == "198.51.100.4"


def test_by_ray_every_node_has_ray_and_the_head_alone_has_vllm(fleet: Fleet) -> None:
    stack = fleet.profile.stack.model_copy(update={"executor": "ray"})
    by_ray = fleet.model_copy(update={"profile": fleet.profile.model_copy(update={"stack": stack})})
    head, other = vllm_of(by_ray, 0), vllm_of(by_ray, 1)
    assert [len(one.services) for one in (head, other)] == [1, 0]
    assert head.ray
    assert other.ray
    assert (head.ray.leads, other.ray.leads) == (True, False)
    assert (other.ray.address, other.ray.head_address, other.ray.peers) == (
        "198.51.100.2",
        "198.51.100.1",
        ("198.51.100.1",),
    )
    assert other.ray.environment["VLLM_HOST_IP"] == "198.51.100.2"
    assert vllm_of(fleet, 0).ray is None

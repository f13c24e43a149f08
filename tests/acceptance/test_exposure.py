"""Only ssh and the gateway can be reached from another machine."""

from __future__ import annotations

import pytest
from testinfra.host import Host

from boxwright.verification.exposure import (
    DHCP_CLIENT_PORTS,
    NOTORIOUS_PORTS,
    Addresses,
    Listener,
    accepts,
    addresses_of,
    answering_ports,
    forgotten_service,
    of_units,
    parse_listeners,
)
from boxwright.verification.forwards import forwards
from boxwright.verification.job import VerifyHost
from boxwright.verification.plugin import Evidence
from boxwright.verification.remote import source
from boxwright.verification.ssh import BoxShell

MOST_TRIED = 16  # ports of one range


@pytest.fixture(scope="module")
def listeners(host: Host) -> list[Listener]:
    found = parse_listeners(host.check_output("ss --no-header --listening --numeric --processes --tcp --udp"))
    assert found, "ss listed no socket at all, not even ssh's"
    return found


@pytest.fixture(scope="module")
def addresses(shell: BoxShell) -> Addresses:
    return addresses_of(shell)


@pytest.mark.check(
    id="exposure.sockets",
    title="Every service but ssh and the gateway listens on the loopback alone",
    severity="critical",
    remedy="Find the program in the evidence, bind it to 127.0.0.1, and provision again.",
)
def test_sockets_are_on_the_loopback(
    listeners: list[Listener], target: VerifyHost, shell: BoxShell, evidence: Evidence
) -> None:
    allowed = {("tcp", port) for port in target.allowed_ports} | {("udp", port) for port in DHCP_CLIENT_PORTS}
    exposed = [each for each in listeners if not each.is_loopback and (each.protocol, each.port) not in allowed]
    # The engine's processes on the nodes of a box find each other at ports that the kernel hands out; that nobody else
    # reaches them is the firewall's work, and exposure.ports tries each of them.
    between = of_units(shell, exposed, target.node_units) if exposed and target.node_units else []
    strange = [each for each in exposed if each not in between]
    assert not strange, ", ".join(map(str, strange))
    inside = sum(each.is_loopback for each in listeners)
    joining = f" ({len(between)} of the engine, between the nodes of the box)" if between else ""
    evidence(f"{inside} sockets on the loopback, {len(listeners) - inside} outside it{joining}, all of them planned")


@pytest.mark.check(
    id="exposure.ports",
    title="From another machine, ssh and the gateway answer and nothing else does",
    severity="critical",
    remedy="See to the firewall (systemctl status boxwright-firewall), and stop what listens there.",
)
def test_only_planned_ports_answer(
    listeners: list[Listener], addresses: Addresses, target: VerifyHost, evidence: Evidence
) -> None:
    candidates = {each.port for each in listeners if each.protocol == "tcp"}
    candidates |= {*NOTORIOUS_PORTS, *target.allowed_ports}
    answering = {address: answering_ports(address, candidates) for address in addresses.reached}
    surplus = {
        address: strange
        for address, ports in answering.items()
        if (strange := sorted(set(ports) - set(target.allowed_ports)))
    }
    told = "; ".join(f"{', '.join(map(str, ports))} at {address}" for address, ports in surplus.items())
    assert not surplus, f"answer from outside: {told}"
    known = answering[target.address]
    silent = sorted(set(target.allowed_ports) - set(known))
    assert not silent, f"should answer from outside and do not: {', '.join(map(str, silent))}"
    evidence(f"of {len(candidates)} TCP ports tried from here, {', '.join(map(str, known))} answer, at {addresses}")


@pytest.mark.check(
    id="exposure.forwards",
    title="No container and no address translation hands on a port that the profile does not name",
    severity="critical",
    remedy="Publish it on the loopback (-p 127.0.0.1:PORT:…), or name it in container_runtime.reachable_ports.",
)
def test_only_planned_ports_are_handed_on(
    target: VerifyHost, shell: BoxShell, addresses: Addresses, evidence: Evidence
) -> None:
    told = shell.python(source("forward_facts"), None)
    runtime = target.container_runtime
    planned = {*target.allowed_ports, *(runtime.reachable_ports if runtime else ())}
    found = forwards(told)
    strange = [one for one in found if not one.first or not planned.issuperset(one.ports)]
    tried = {port for one in strange if one.first for port in list(one.ports)[:MOST_TRIED] if port not in planned}
    answering = {port for address in addresses.reached for port in answering_ports(address, tried)}
    reached = f"; of these {', '.join(map(str, sorted(answering)))} answer from here" if answering else ""
    assert not strange, f"{', '.join(map(str, strange))}{reached}"
    rules = f"{len(told['nft'])} entries of nftables, {len(told['iptables'])} of iptables"
    evidence(f"{', '.join(map(str, found)) or 'nothing is handed on'}; {len(told['containers'])} containers, {rules}")


@pytest.mark.check(
    id="exposure.firewall",
    title="The firewall keeps a service that nobody planned from other machines",
    severity="critical",
    remedy="Provision again: the role firewall loads a table that drops what is not listed.",
)
def test_the_firewall_drops_what_nobody_planned(addresses: Addresses, shell: BoxShell, evidence: Evidence) -> None:
    with forgotten_service(shell) as port:
        answered = [address for address in addresses.reached if accepts(address, port)]
    assert not answered, f"a service on port {port} of all addresses was reached from outside at {', '.join(answered)}"
    evidence(f"a service put on port {port} of all addresses for this check was not reached from here at {addresses}")

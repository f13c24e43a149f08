"""Where a host's gateway is found, and what stands behind it. Pure."""

from __future__ import annotations

from boxwright.model.base import bracketed
from boxwright.model.fleet import Fleet
from boxwright.model.site import Host
from boxwright.model.stack import Service


def server_names(fleet: Fleet, host: Host) -> tuple[str, ...]:
    """Names and addresses by which clients reach this host's gateway, the public one first.

    The site's name is that of the boxes, so that another node of one does not take it. By its compute address the head
    asks a node how it fares.
    """
    own = (host.address, host.name)
    names = (public_name(fleet, host), *own) if fleet.leads(host) else (*own, host.compute_address)
    return tuple(dict.fromkeys(name for name in names if name))


def public_name(fleet: Fleet, host: Host) -> str | None:
    """The DNS name of a host's gateway; None where clients use its address."""
    return host.server_name or fleet.site.server_name


def public_url(fleet: Fleet, host: Host) -> str:
    """Where a browser finds this host."""
    return f"https://{bracketed(server_names(fleet, host)[0])}"


def head_url(fleet: Fleet, host: Host) -> str | None:
    """Where a node sends clients; None of a host that they are right at."""
    return None if fleet.leads(host) else public_url(fleet, fleet.head_of(host))


def between_nodes(host: Host) -> str:
    """Where the other nodes of its box reach a host."""
    return host.compute_address or host.address or host.name


def authority_url(fleet: Fleet, host: Host) -> str:
    """Where clients find the certificate of the box's own authority; empty where it has a given certificate."""
    name = server_names(fleet, host)[0]
    return "" if fleet.site.certificate else f"http://{bracketed(name)}/boxwright-ca.crt"


def engine_url(service: Service) -> str:
    """Where a service's engine listens on the box."""
    return f"http://127.0.0.1:{service.engine_port}"


def chat_page_url(fleet: Fleet) -> str | None:
    """Where the chat page listens on the box."""
    stack = fleet.profile.stack
    return None if stack.chat_page == "none" else f"http://127.0.0.1:{stack.chat_page_port}"

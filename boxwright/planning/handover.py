"""Projects a fleet onto what is told of a box to those who use it, and onto the page that tells it. Pure."""

from __future__ import annotations

from boxwright.handover.facts import BoxFacts, Offer
from boxwright.handover.page import pages
from boxwright.model.fleet import Fleet
from boxwright.model.site import Host
from boxwright.model.stack import FurtherService, Service
from boxwright.model.weights import weights_of
from boxwright.planning.addresses import authority_url, chat_page_url, public_name, public_url


def box_facts(fleet: Fleet, host: Host) -> BoxFacts:
    """What is told of the box that this host is, or leads."""
    profile, site, url = fleet.profile, fleet.site, public_url(fleet, host)
    show = f"./invoke secrets.show --site {site.name} --host {host.name} --name"
    return BoxFacts(
        host=host.name,
        profile=profile.name,
        chat_url=url if chat_page_url(fleet) else "",
        chat_user=site.admin_email,
        offers=tuple(_offer(fleet, service, url) for service in profile.stack.services),
        api_user=site.api_user,
        secret_commands={
            "chat": f"{show} webui_admin_password",
            "api": f"{show} api_password",
            "key": f"{show} api_key",
        },
        address=(host.address or "") if public_name(fleet, host) else "",
        authority_url=authority_url(fleet, host),
        requests_per_minute=profile.gateway.api_requests_per_minute,
        requests_at_once=profile.gateway.api_concurrent_requests,
    )


def about_pages(fleet: Fleet, host: Host) -> dict[str, str] | None:
    """The page about the box, by language; None where nothing serves, and on nodes that send clients to the head."""
    return None if fleet.without_stack or not fleet.leads(host) else pages(box_facts(fleet, host))


def _offer(fleet: Fleet, service: Service, url: str) -> Offer:
    model = weights_of(service, fleet.catalogue).model
    name = service.name if isinstance(service, FurtherService) else ""
    return Offer(
        name=name,
        api_url=f"{url}/services/{name}/v1" if name else f"{url}/v1",
        model=model.id,
        title=model.title,
        purpose=model.purpose,
        thinks=model.reasoning_parser is not None,
        temperature=model.sampling.temperature,
        top_p=model.sampling.top_p,
        context_tokens=service.context_tokens,
        at_once=service.requests_at_once,
    )

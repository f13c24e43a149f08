"""Projects a fleet onto the deploy of the chat page. Pure."""

from __future__ import annotations

from pydantic import SecretStr

from boxwright.errors import BadInputError
from boxwright.model.catalogues import load_engine
from boxwright.model.chat_page_check import version_of
from boxwright.model.deploy_variables import OpenWebuiConnection, OpenWebuiVariables
from boxwright.model.engine_settings import environment
from boxwright.model.fleet import Fleet
from boxwright.model.site import Mirrors
from boxwright.model.stack import Service
from boxwright.model.weights import embedding_service
from boxwright.serving.open_webui import chat_services, engine_address, page_settings
from boxwright.vault import HostSecrets


def open_webui_variables(
    fleet: Fleet, public_url: str, secrets: HostSecrets, mirrors: Mirrors
) -> OpenWebuiVariables | None:
    """What the deploy is given; None where the profile wants no chat page.

    Args:
        fleet: What is wanted.
        public_url: Where people open the page.
        secrets: Of the host.
        mirrors: Resolved: no field empty.
    """
    profile = fleet.profile
    stack, table = profile.stack, load_engine("open_webui")
    if stack.chat_page == "none":
        return None
    assert mirrors.python_index  # noqa: S101  resolved by the caller
    assert mirrors.debian  # noqa: S101  resolved by the caller
    version = version_of(profile, table)
    embedding = embedding_service(stack, fleet.catalogue)
    return OpenWebuiVariables(
        flavour=stack.open_webui_flavour,
        version=version,
        port=stack.chat_page_port,
        connections=tuple(
            OpenWebuiConnection(url=engine_address(one), api_key=_key(one, secrets))
            for one in chat_services(stack, fleet.catalogue)
        ),
        embedding_key=_key(embedding, secrets) if embedding else None,
        settings=environment(table, version, page_settings(profile, table, fleet.catalogue)),
        public_url=public_url,
        secret_key=secrets.webui_secret_key,
        admin_email=fleet.site.admin_email,
        admin_password=secrets.webui_admin_password,
        engine_units=tuple(one.unit for one in stack.services),
        backups=stack.open_webui_backups,
        python_index=mirrors.python_index,
        wheels=mirrors.wheels or (),
        debian_mirror=mirrors.debian,
        debian_keyring=fleet.site.debian_keyring,
        debian_check_valid_until=mirrors.check_valid_until is not False,
        proxy=fleet.site.proxy,
    )


def check_page_wheels(fleet: Fleet, mirrors: Mirrors) -> None:
    """Refuse the full chat page where nothing is said of where its build of torch for processors comes from.

    Raises:
        BadInputError: Neither the site nor pip's own settings name a page or a folder of wheels.
    """
    stack = fleet.profile.stack
    if stack.chat_page == "none" or stack.open_webui_flavour != "full" or mirrors.wheels or fleet.without_stack:
        return
    raise BadInputError(
        "the full Open WebUI needs torch built for processors, which a Python index seldom has",
        where=f"profile {fleet.profile.name}, site {fleet.site.name}",
        hint="Name a page or a folder with that wheel under mirrors.wheels of the site, or as pip's find-links; or set "
        "stack.open_webui_flavour: slim.",
    )


def _key(service: Service, secrets: HostSecrets) -> SecretStr | None:
    """What an engine asks for; one that asks for no key is guarded by the box's own rules."""
    return secrets.engine_key if service.knows_keys else None

"""What hubs and registries are to be told by whoever fetches from them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from boxwright import vault
from boxwright.factory.lock import Artefact
from boxwright.factory.registry import Registries
from boxwright.model.site import Site


def headers(site: Site, artefacts: Sequence[Artefact]) -> dict[str, dict[str, str]]:
    """Headers by origin, for these artefacts of a site.

    Raises:
        BoxwrightError: A registry does not answer.
    """
    return _of_hubs(site) | _of_registries(site, artefacts)


def _of_hubs(site: Site) -> dict[str, dict[str, str]]:
    """Credentials of hubs, by origin."""
    tokens = {name: value.get_secret_value() for name, value in vault.hub_tokens(site).items()}
    found = {}
    if token := tokens.get("huggingface_token"):
        found[_origin(site.mirrors.huggingface)] = {"Authorization": f"Bearer {token}"}
    if token := tokens.get("modelscope_token"):
        found[_origin(site.mirrors.modelscope)] = {"Cookie": f"m_session_id={token}"}
    return found


def _of_registries(site: Site, artefacts: Sequence[Artefact]) -> dict[str, dict[str, str]]:
    with Registries(site) as registries:
        return registries.headers(one for one in artefacts if one.kind == "image")


def _origin(url: str) -> str:
    match = re.match(r"https?://[^/]+", url)
    return match[0] if match else url

"""What hubs and registries are to be told by whoever fetches from them."""

from __future__ import annotations

from collections.abc import Sequence

from boxwright import vault
from boxwright.factory.lock import Artefact
from boxwright.factory.registry import Registries
from boxwright.model.site import Site
from boxwright.weights.credentials import hub_headers


def headers(site: Site, artefacts: Sequence[Artefact]) -> dict[str, dict[str, str]]:
    """Headers by address of a hub or registry, for these artefacts of a site.

    Raises:
        BoxwrightError: A registry does not answer.
    """
    return _of_hubs(site) | _of_registries(site, artefacts)


def _of_hubs(site: Site) -> dict[str, dict[str, str]]:
    """Credentials of hubs, by their addresses."""
    tokens = {name: value.get_secret_value() for name, value in vault.hub_tokens(site).items()}
    return hub_headers(
        huggingface=site.mirrors.huggingface,
        huggingface_token=tokens.get("huggingface_token"),
        modelscope=site.mirrors.modelscope,
        modelscope_token=tokens.get("modelscope_token"),
    )


def _of_registries(site: Site, artefacts: Sequence[Artefact]) -> dict[str, dict[str, str]]:
    with Registries(site) as registries:
        return registries.headers(one for one in artefacts if one.kind == "image")

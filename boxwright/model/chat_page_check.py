"""Whether Open WebUI takes what a profile tells it, before anything is installed."""

from __future__ import annotations

import re
from collections.abc import Callable

from boxwright.errors import BadInputError
from boxwright.model.catalogue import ModelCatalogue
from boxwright.model.engine_settings import EngineTable
from boxwright.model.profile import Profile
from boxwright.model.weights import embedding_service, page_weights

# Of a profile, which lies in git and which others read, a secret is no part.
_SECRET = re.compile(r"_(KEY|SECRET|PASSWORD|TOKEN)$")


def check_chat_page(
    profile: Profile, table: EngineTable, models: ModelCatalogue, place: Callable[[str, str], str]
) -> None:
    """Hold what the profile says of the chat page against the release's settings and the catalogue of models.

    Args:
        profile: What is wanted.
        table: The settings of Open WebUI's releases.
        models: What models there are.
        place: Where in the profile's files a key of the stack stands, and in it a setting.

    Raises:
        BadInputError: Open WebUI would not take a setting, or could not search documents by the model that is named.
    """
    stack = profile.stack
    if stack.chat_page == "none":
        return
    version = version_of(profile, table)
    if version not in table.versions:
        raise BadInputError(
            f"open_webui_version: no locked list of packages is known for Open WebUI {version}",
            where=place("open_webui_version", ""),
            hint=f"There are: {', '.join(table.versions)}.",
        )
    _check_settings(profile, table, version, place)
    try:
        weights = page_weights(stack, models)
    except ValueError as error:
        raise BadInputError(f"open_webui_embedding: {error}", where=place("open_webui_embedding", "")) from None
    if weights and not weights.build.pinned:
        raise BadInputError(
            f"open_webui_embedding: no digests of {weights.name} are pinned",
            where=place("open_webui_embedding", ""),
            hint="Pin them by ./invoke models.pin, or write open_webui_embedding: none.",
        )
    service = embedding_service(stack, models)
    model = models.find(stack.embedding) if stack.embedding else None
    if service and model and model.purpose != "embedding":
        raise BadInputError(
            f"open_webui_embedding: {model.id} answers, and makes no vectors of documents",
            where=place("open_webui_embedding", ""),
            hint=f"Take one of {', '.join(one.id for one in models.models if one.purpose == 'embedding')}.",
        )


def version_of(profile: Profile, table: EngineTable) -> str:
    """The release of Open WebUI that a profile installs."""
    return profile.stack.open_webui_version or table.default_version


def _check_settings(profile: Profile, table: EngineTable, version: str, place: Callable[[str, str], str]) -> None:
    settings = profile.stack.open_webui_settings
    problems = table.check(version, settings)
    if problems:
        first, *others = problems
        also = [f"Also wrong: {other.message}" for other in others]
        raise BadInputError(
            f"open_webui_settings: {first.message}",
            where=place("open_webui_settings", first.setting),
            hint="\n".join(part for part in (first.hint, *also) if part),
        )
    for name, value in settings.items():
        if _SECRET.search(table.canonical(name)) and isinstance(value, str) and value:
            raise BadInputError(
                f"open_webui_settings: '{name}' is a secret, and a profile holds none",
                where=place("open_webui_settings", name),
                hint="Leave it out: Boxwright has no place for it yet.",
            )

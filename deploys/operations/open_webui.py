"""How the chat page is closed, and operations that let a release of it run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pyinfra import host
from pyinfra.api import QuoteString, StringCommand, operation
from pyinfra.api.command import PyinfraCommand

from deploys.facts.chat_page import ReleaseOnBox
from deploys.operations.files import PROGRAMS

SWITCH = f"{PROGRAMS}/switch-open-webui.d"
_BESIDES_STARTING_S = 900  # saving the database and bringing it back

# What holds for every page, unless `settings` say otherwise.
STANDING = {
    "ENABLE_OPENAI_API": "true",
    "ENABLE_OLLAMA_API": "false",
    "BYPASS_MODEL_ACCESS_CONTROL": "true",
    "AIOHTTP_CLIENT_TIMEOUT": "3600",  # a long answer of a large model takes minutes before its first word
    # Files decide, not the database: what is changed on the page itself ends with the process.
    "ENABLE_PERSISTENT_CONFIG": "False",
    "ENABLE_OAUTH_PERSISTENT_CONFIG": "False",
    # Who may enter
    "ENABLE_SIGNUP": "false",
    "DEFAULT_USER_ROLE": "pending",
    "ENABLE_API_KEYS": "true",
    "WEBUI_SESSION_COOKIE_SECURE": "true",
    "WEBUI_AUTH_COOKIE_SECURE": "true",
    "WEBUI_SESSION_COOKIE_SAME_SITE": "lax",
    "WEBUI_AUTH_COOKIE_SAME_SITE": "lax",
    "JWT_EXPIRES_IN": "7d",
    # Nothing runs code, and nothing calls the outside
    "ENABLE_PLUGINS": "false",
    "ENABLE_CODE_EXECUTION": "false",
    "ENABLE_CODE_INTERPRETER": "false",
    "ENABLE_DIRECT_CONNECTIONS": "false",
    "ENABLE_DIRECT_INTEGRATIONS": "false",
    "ENABLE_PIP_INSTALL_FRONTMATTER_REQUIREMENTS": "false",
    "ENABLE_WEB_SEARCH": "false",
    "ENABLE_IMAGE_GENERATION": "false",
    "ENABLE_COMMUNITY_SHARING": "false",
    "ENABLE_EVALUATION_ARENA_MODELS": "false",
    "ENABLE_VERSION_UPDATE_CHECK": "false",
    "OFFLINE_MODE": "true",
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "true",
    "SCARF_NO_ANALYTICS": "true",
    "ANONYMIZED_TELEMETRY": "false",
    # Documents go to the model whole, unless something makes vectors of them
    "BYPASS_EMBEDDING_AND_RETRIEVAL": "true",
    "RAG_EMBEDDING_ENGINE": "openai",
    "RAG_EMBEDDING_MODEL_AUTO_UPDATE": "false",
    "RAG_EMBEDDING_MODEL_TRUST_REMOTE_CODE": "false",
}


def page_environment(
    *,
    state: str,
    flavour: str,
    public_url: str,
    admin_email: str,
    engine_urls: Sequence[str],
    settings: Mapping[str, str],
) -> dict[str, str]:
    """The variables of the page, without its secrets.

    Args:
        state: The folder of its data.
        flavour: `slim` or `full`.
        public_url: The only origin that is let in.
        admin_email: Of the first administrator.
        engine_urls: Of the engines that people chat with.
        settings: Further ones, before those that stand above.
    """
    return {
        **STANDING,
        **settings,
        "DATA_DIR": state,
        "STATIC_DIR": f"{state}/static",
        "HOME": state,
        "USE_SLIM_DOCKER": "true" if flavour == "slim" else "false",
        "WEBUI_URL": public_url,
        "CORS_ALLOW_ORIGIN": public_url,
        "OPENAI_API_BASE_URLS": ";".join(engine_urls),
        "BOXWRIGHT_ADMIN_EMAIL": admin_email,
    }


@operation()
def switched_release(request: dict[str, Any], path: str) -> Iterator[PyinfraCommand]:
    """Have the page run from a release's environment; the former one's database is saved before.

    What does not come up ends the run, and the former release comes back with its database.

    Args:
        request: What switch-open-webui is asked for.
        path: Where that stands on the box.
    """
    now = host.get_fact(ReleaseOnBox, destination=request["destination"], backups=request["backups"])
    if now.version == request["version"] and not now.cut_off:
        host.noop(f"{request['version']} is the one that runs")
        return
    # Twice, as what served before is brought up in the same way.
    patience = 2 * request["patience_s"] + _BESIDES_STARTING_S
    yield StringCommand("python3 -I -B", SWITCH, QuoteString(path), _timeout=patience)

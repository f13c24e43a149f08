"""What Open WebUI is told for a stack, by its own names. Pure; how the page is closed stands with its deploy."""

from __future__ import annotations

from boxwright.model.catalogue import ModelCatalogue
from boxwright.model.chat_page import SideRequests, SignUp
from boxwright.model.engine_settings import EngineTable
from boxwright.model.profile import Profile
from boxwright.model.setting import Value
from boxwright.model.stack import Service, Stack
from boxwright.model.weights import embedding_service, page_weights, weights_of

_SIGN_UP: dict[SignUp, tuple[bool, str]] = {
    "closed": (False, "pending"),
    "pending": (True, "pending"),
    "open": (True, "user"),
}
# After the first answer of a chat the page asks for a title, tags and further questions, and before a question about
# documents for what to look for. Where an engine takes few requests at once, people would wait for those.
_REQUESTS_TO_SPARE = 8
_AT_ONCE = 32  # pieces of a document that become vectors together


def page_settings(profile: Profile, table: EngineTable, catalogue: ModelCatalogue) -> dict[str, Value]:
    """The settings that follow from a profile, with the profile's own ones on top, by the table's spelling."""
    stack = profile.stack
    offered, role = _SIGN_UP[stack.open_webui_sign_up]
    settings: dict[str, Value] = {"ENABLE_SIGNUP": offered, "DEFAULT_USER_ROLE": role}
    own = {table.canonical(name): value for name, value in stack.open_webui_settings.items()}
    return settings | _side_requests(side_requests(profile)) | _documents(stack, catalogue) | own


def side_requests(profile: Profile) -> SideRequests:
    """What the page asks of the engine by itself: all of it where there are cards and requests to spare."""
    stack = profile.stack
    quick = bool(profile.cards_of(stack)) and stack.requests_at_once >= _REQUESTS_TO_SPARE
    return stack.open_webui_side_requests or ("all" if quick else "none")


def chat_services(stack: Stack, catalogue: ModelCatalogue) -> tuple[Service, ...]:
    """The services that people can chat with: all but those that make vectors, the main one first."""
    return tuple(one for one in stack.services if weights_of(one, catalogue).model.purpose != "embedding")


def engine_address(service: Service) -> str:
    """Where a service takes requests as OpenAI's API has them, on the box itself."""
    return f"http://127.0.0.1:{service.engine_port}/v1"


def _side_requests(chosen: SideRequests) -> dict[str, Value]:
    return {
        "ENABLE_TITLE_GENERATION": chosen != "none",
        "ENABLE_TAGS_GENERATION": chosen == "all",
        "ENABLE_FOLLOW_UP_GENERATION": chosen == "all",
        "ENABLE_RETRIEVAL_QUERY_GENERATION": chosen == "all",
        "ENABLE_SEARCH_QUERY_GENERATION": chosen == "all",
    }


def _documents(stack: Stack, catalogue: ModelCatalogue) -> dict[str, Value]:
    service = embedding_service(stack, catalogue)
    weights = page_weights(stack, catalogue)
    if service is None and weights is None:
        # The model is then given documents whole. An engine without a model of vectors is named, as the default of the
        # page is a service on the internet.
        return {
            "BYPASS_EMBEDDING_AND_RETRIEVAL": True,
            "RAG_EMBEDDING_ENGINE": "openai",
            "RAG_OPENAI_API_BASE_URL": engine_address(stack),
        }
    told: dict[str, Value] = {"BYPASS_EMBEDDING_AND_RETRIEVAL": False, "RAG_EMBEDDING_BATCH_SIZE": _AT_ONCE}
    if weights:
        return told | {"RAG_EMBEDDING_ENGINE": "", "RAG_EMBEDDING_MODEL": weights.folder(stack.models_directory)}
    assert service is not None  # noqa: S101  one of the two is there
    return told | {
        "RAG_EMBEDDING_ENGINE": "openai",
        "RAG_EMBEDDING_MODEL": weights_of(service, catalogue).model.id,
        "RAG_OPENAI_API_BASE_URL": engine_address(service),
    }

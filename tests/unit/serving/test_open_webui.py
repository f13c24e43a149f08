"""What Open WebUI is told follows from the profile."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import SecretStr

from boxwright.errors import BadInputError
from boxwright.model.catalogues import load_accelerators, load_engine, load_models, load_profile, make_fleet
from boxwright.model.engine_settings import environment
from boxwright.model.fleet import Fleet
from boxwright.model.profile import Profile
from boxwright.model.site import Host, Mirrors, Site
from boxwright.planning.open_webui_variables import check_page_wheels, open_webui_variables
from boxwright.serving.open_webui import page_settings
from boxwright.vault import SECRET_NAMES, HostSecrets

MODELS, TABLE = load_models(), load_engine("open_webui")
SECRETS = HostSecrets(**{name: SecretStr(name) for name in SECRET_NAMES})
MIRRORS = Mirrors(debian="http://mirror.example/debian", python_index="https://mirror.example/simple")
VECTORS = {"name": "vectors", "model": "bge-m3", "engine": "ollama", "engine_port": 8001, "context_tokens": 512}
SECOND = {"name": "second", "model": "smollm2", "engine": "llama_cpp", "engine_port": 8002, "context_tokens": 512}


def changed(name: str, **stack: Any) -> Profile:
    profile = load_profile(name)
    return Profile.model_validate(profile.model_dump() | {"stack": profile.stack.model_dump() | stack})


def told(profile: Profile) -> dict[str, str]:
    return environment(TABLE, TABLE.default_version, page_settings(profile, TABLE, MODELS))


def fleet(profile: Profile) -> Fleet:
    site = Site(name="s", hosts=(Host(name="box-1", address="192.0.2.7"),))
    return make_fleet(profile, site, MODELS, load_accelerators())


@pytest.mark.parametrize(
    ("policy", "offered", "role"),
    [("closed", "false", "pending"), ("pending", "true", "pending"), ("open", "true", "user")],
)
def test_who_may_sign_up(policy: str, offered: str, role: str) -> None:
    made = told(changed("lab", open_webui_sign_up=policy))
    assert (made["ENABLE_SIGNUP"], made["DEFAULT_USER_ROLE"]) == (offered, role)


@pytest.mark.parametrize(
    ("name", "chosen", "title", "tags"),
    [
        ("lab", None, "false", "false"),  # two requests at once, on the processor
        ("2x4090", None, "true", "true"),
        ("1x4090-kt", None, "false", "false"),
        ("lab", "titles", "true", "false"),
        ("2x4090", "none", "false", "false"),
    ],
)
def test_the_page_asks_by_itself_where_nobody_waits_for_it(
    name: str, chosen: str | None, title: str, tags: str
) -> None:
    made = told(changed(name, open_webui_side_requests=chosen))
    assert (made["ENABLE_TITLE_GENERATION"], made["ENABLE_TAGS_GENERATION"]) == (title, tags)
    assert made["ENABLE_FOLLOW_UP_GENERATION"] == made["ENABLE_RETRIEVAL_QUERY_GENERATION"] == tags


def test_the_profiles_own_settings_go_before_in_any_spelling() -> None:
    made = told(changed("lab", open_webui_settings={"enable_title_generation": True, "CHUNK_SIZE": 500}))
    assert (made["ENABLE_TITLE_GENERATION"], made["CHUNK_SIZE"]) == ("true", "500")


def test_the_full_page_searches_documents_by_weights_of_the_catalogue() -> None:
    profile = changed("lab", open_webui_flavour="full")
    made = told(profile)
    assert (made["RAG_EMBEDDING_ENGINE"], made["BYPASS_EMBEDDING_AND_RETRIEVAL"]) == ("", "false")
    assert made["RAG_EMBEDDING_MODEL"] == "/srv/models/all-minilm-l6-v2/fp32"
    assert [one.name for one in fleet(profile).all_weights][1:] == ["all-minilm-l6-v2/fp32"]


def test_a_service_beside_the_main_one_searches_documents() -> None:
    profile = changed("lab", open_webui_flavour="full", open_webui_embedding="bge-m3", further=[VECTORS, SECOND])
    made = open_webui_variables(fleet(profile), "https://box", SECRETS, MIRRORS)
    assert made
    assert made.settings["RAG_EMBEDDING_ENGINE"] == "openai"
    assert made.settings["RAG_OPENAI_API_BASE_URL"] == "http://127.0.0.1:8001/v1"
    assert made.settings["RAG_EMBEDDING_MODEL"] == "bge-m3"
    assert [one.url for one in made.connections] == ["http://127.0.0.1:8000/v1", "http://127.0.0.1:8002/v1"]
    assert all(one.api_key == SECRETS.engine_key for one in made.connections)
    assert made.embedding_key is None  # of Ollama
    assert made.engine_units == ("llama-server", "ollama-vectors", "llama-server-second")
    assert "all-minilm-l6-v2/fp32" not in [one.name for one in fleet(profile).all_weights]


def test_without_vectors_documents_go_to_the_model_whole_and_nothing_outside_is_named() -> None:
    made = told(changed("2x4090", open_webui_embedding="none"))
    assert made["BYPASS_EMBEDDING_AND_RETRIEVAL"] == "true"
    assert made["RAG_OPENAI_API_BASE_URL"].startswith("http://127.0.0.1:")


def test_no_chat_page_no_deploy() -> None:
    assert open_webui_variables(fleet(changed("lab", chat_page="none")), "https://box", SECRETS, MIRRORS) is None


def test_the_full_page_wants_to_know_where_its_torch_comes_from() -> None:
    full = fleet(changed("lab", open_webui_flavour="full"))
    with pytest.raises(BadInputError, match=r"mirrors\.wheels"):
        check_page_wheels(full, MIRRORS)
    check_page_wheels(full, MIRRORS.model_copy(update={"wheels": ("/wheels",)}))
    check_page_wheels(fleet(load_profile("lab")), MIRRORS)

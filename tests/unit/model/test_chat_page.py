"""What a profile says of the chat page is held against Open WebUI's own settings, with the place of a mistake."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from boxwright.errors import BadInputError
from boxwright.model.catalogues import (
    INVENTORIES,
    load_engine,
    load_models,
    load_profile,
    place_in_profile,
    profile_names,
)
from boxwright.model.chat_page_check import check_chat_page

MODELS, TABLE = load_models(), load_engine("open_webui")


def profile_with(folder: Path, lines: str, further: str = "") -> str:
    """A copy of the profile `lab` with more lines in its stack."""
    text = (INVENTORIES / "profiles" / "lab.yml").read_text()
    text = re.sub(r"  open_webui_flavour: .*\n", "", text).replace("name: lab\n", "name: page\n")
    path = folder / "page.yml"
    path.write_text(f"{text.rstrip()}\n{lines}\n{further}")
    return str(path)


def checked(name: str) -> None:
    check_chat_page(
        load_profile(name), TABLE, MODELS, lambda *keys: place_in_profile(name, ("stack", *filter(None, keys)))
    )


@pytest.mark.parametrize("name", profile_names())
def test_every_profile_has_a_chat_page_that_works(name: str) -> None:
    checked(name)


def test_lab_profiles_are_slim_and_boxes_are_full() -> None:
    flavours = {name: load_profile(name).stack.open_webui_flavour for name in profile_names()}
    assert {name for name, flavour in flavours.items() if flavour == "slim"} == {
        name for name in profile_names() if name.startswith("lab") and name != "lab-full"
    }


@pytest.mark.parametrize(
    ("settings", "message", "hint"),
    [
        ("ENABLE_RAG_WEB_SEARCH: true", "'ENABLE_RAG_WEB_SEARCH' is gone", "Write ENABLE_WEB_SEARCH."),
        ("DEFALT_LOCALE: de-DE", "has no setting 'DEFALT_LOCALE'. Did you mean 'DEFAULT_LOCALE'?", ""),
        ("ENABLE_SIGNUP: true", "'ENABLE_SIGNUP' is set by Boxwright itself", "Set stack.open_webui_sign_up."),
        ("ENABLE_PERSISTENT_CONFIG: true", "is set by Boxwright itself", "Files decide"),
        ("ENABLE_TITLE_GENERATION: often", "'ENABLE_TITLE_GENERATION' takes true or false", ""),
        ("TAVILY_API_KEY: abc", "'TAVILY_API_KEY' is a secret", "Leave it out"),
    ],
)
def test_a_wrong_setting_is_refused_at_its_line(tmp_path: Path, settings: str, message: str, hint: str) -> None:
    name = profile_with(tmp_path, f"  open_webui_settings:\n    DEFAULT_LOCALE: de-DE\n    {settings}")
    with pytest.raises(BadInputError) as refused:
        checked(name)
    assert message in refused.value.message
    assert hint in refused.value.hint
    line = Path(name).read_text().splitlines().index(f"    {settings}") + 1
    assert refused.value.where == f"{name}:{line}:5"


def test_a_setting_of_a_later_release_is_refused(tmp_path: Path) -> None:
    name = profile_with(tmp_path, "  open_webui_version: 0.12.0\n  open_webui_settings:\n    ENABLE_APPS: true")
    with pytest.raises(BadInputError, match=r"0\.12\.0 does not have 'ENABLE_APPS' yet: 0\.12\.4 is the first"):
        checked(name)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("  open_webui_version: 0.11.4", "no locked list of packages is known for Open WebUI 0.11.4"),
        ("  open_webui_embedding: all-minilm-l6", "Did you mean 'all-minilm-l6-v2'?"),
        ("  open_webui_embedding: smollm2", "smollm2-135m-instruct answers, and makes no vectors"),
        ("  open_webui_embedding: bge-m3", "bge-m3 has no such build: serve it under further"),
    ],
)
def test_a_page_that_could_not_be_had_is_refused(tmp_path: Path, lines: str, message: str) -> None:
    name = profile_with(tmp_path, lines)
    with pytest.raises(BadInputError, match=re.escape(message)) as refused:
        checked(name)
    assert refused.value.where.startswith(f"{name}:{len(Path(name).read_text().splitlines())}:")


def test_the_slim_page_searches_no_documents(tmp_path: Path) -> None:
    name = profile_with(tmp_path, "  open_webui_flavour: slim\n  open_webui_embedding: all-minilm-l6-v2")
    with pytest.raises(BadInputError, match="slim Open WebUI has no store of vectors"):
        load_profile(name)

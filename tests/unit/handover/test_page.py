"""The page about a box: whole in every language, closed to the world, and with requests that can be pasted."""

from __future__ import annotations

import ast
import base64
import hashlib
import json
import re
import shlex
from dataclasses import replace

import pytest
import segno

from boxwright.handover.advice import advice_for, of_the_model
from boxwright.handover.facts import BoxFacts, Offer
from boxwright.handover.page import LANGUAGES, pages
from boxwright.handover.requests import curl_models, curl_request, python_request
from boxwright.places import ROOT

ODD = """it's "a" model <b>&amp; {{ 7 * 7 }} {% raw %} $HOME"""
CHAT = Offer(api_url="https://192.0.2.7/v1", model="r1", thinks=True, temperature=0.6, top_p=0.95, context_tokens=8192)
VECTORS = Offer(name="vectors", api_url="https://192.0.2.7/services/vectors/v1", model="v", purpose="embedding")
BOX = BoxFacts(
    host="box-1",
    profile="8x4090",
    chat_url="https://192.0.2.7",
    chat_user="admin@box.internal",
    offers=(CHAT, VECTORS),
    api_user="api",
    secret_commands={name: f"./invoke secrets.show --name {name}" for name in ("chat", "api", "key")},
    authority_url="http://192.0.2.7/boxwright-ca.crt",
)


def test_every_language_has_every_sentence() -> None:
    texts = [(ROOT / f"templates/handover/words.{language}.yml").read_text() for language in LANGUAGES]
    names = [re.findall(r"^(\w+):", text, re.MULTILINE) for text in texts]
    assert names[0] == names[1]
    fields = [sorted(re.findall(r"\{\w+\}", text)) for text in texts]
    assert fields[0] == fields[1]


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_page_is_whole_and_fetches_nothing(language: str) -> None:
    page = pages(BOX)[language]
    assert page.startswith("<!DOCTYPE html>")
    assert not re.search(r"<(script|img|link|iframe|form|object|base)\b|\bsrc=|@import|url\(|style=|\bon\w+=", page)
    (style,) = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"content=\"default-src 'none'; style-src 'sha256-{digest}'" in page.replace("&#39;", "'")
    (other,) = set(LANGUAGES) - {language}
    assert f'href="{other}.html"' in page


def test_the_codes_lead_to_the_certificate_and_to_the_chat_page() -> None:
    drawn = re.findall(r' d="(M3 [^"]+)"', pages(BOX)["en"])
    wanted = [segno.make(url, error="m", micro=False) for url in (BOX.authority_url, BOX.chat_url)]
    assert drawn == [re.findall(r' d="([^"]+)"', code.svg_inline(omitsize=True, border=3))[0] for code in wanted]


def test_what_is_put_in_stays_text() -> None:
    page = pages(replace(BOX, host=ODD, offers=(replace(CHAT, title=ODD, model=ODD),)))["en"]
    assert "<b>" not in page
    assert not re.search(r"\{\{|\{%|\{#", page), "Ansible would read this as its own"
    assert "&lt;b&gt;" in page


def test_a_fingerprint_stands_only_where_it_was_given() -> None:
    assert "AB:CD" in pages(BOX, "AB:CD")["en"]
    assert "copy of this page that your operator has" in pages(BOX)["en"]
    given = pages(replace(BOX, authority_url=""))["en"]
    assert "openssl" not in given
    assert "--cacert" not in given


@pytest.mark.parametrize("purpose", ["chat", "completion", "embedding"])
def test_requests_carry_odd_names_and_no_key(purpose: str) -> None:
    offer = replace(CHAT, model=ODD, purpose=purpose)
    command = curl_request(BOX, offer)
    words = shlex.split(command.partition("|")[2])
    assert json.loads(words[words.index("--data") + 1])["model"] == ODD
    assert "Authorization" not in command.partition("|")[2], "others on the machine see a command's arguments"
    program = ast.parse(python_request(BOX, offer))
    models = [
        node.value.value
        for node in ast.walk(program)
        if isinstance(node, ast.keyword) and node.arg == "model" and isinstance(node.value, ast.Constant)
    ]
    assert models == [ODD]
    assert curl_models(BOX, VECTORS).endswith("https://192.0.2.7/services/vectors/v1/models")


def test_temperatures_are_the_models_own() -> None:
    assert [of_the_model(value) for value in (0.0, 1.0, 1.3, 1.5)] == [0.0, 0.3, 0.6, 0.8]
    (thinking,) = advice_for(CHAT)
    assert (thinking.task, thinking.temperature, thinking.top_p) == ("every", 0.6, 0.95)
    assert [one.temperature for one in advice_for(replace(CHAT, thinks=False))] == [0.0, 0.3, 0.6, 0.8]
    assert advice_for(VECTORS) == ()

"""The page about a box: one self-contained HTML file a language, which opens without a network and prints well."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

import segno
from markupsafe import Markup

from boxwright.handover.advice import advice_for
from boxwright.handover.facts import BoxFacts, Offer
from boxwright.handover.requests import (
    ASK_FOR_KEY,
    AUTHORITY_FILE,
    chatbox_provider,
    curl_models,
    curl_request,
    python_request,
)
from boxwright.page_templates import page_templates
from boxwright.translation import LANGUAGES, words

_TEMPLATES = Path(__file__).resolve().parents[2] / "templates" / "handover"
# What Jinja would take for its own in whoever carries the page on, such as Ansible.
_BRACES = {"{{": "{&#123;", "{%": "&#123;%", "{#": "&#123;#"}


def pages(box: BoxFacts, fingerprint: str = "") -> dict[str, str]:
    """The page in every language, by the language's name in HTML.

    Args:
        box: What is told.
        fingerprint: SHA-256 of the certificate of the box's own authority, by which a reader compares it. It belongs
            into a file that comes by another way than from the box itself: there a forger would put his own.
    """
    return {language: _page(language, box, fingerprint) for language in LANGUAGES}


def _page(language: str, box: BoxFacts, fingerprint: str) -> str:
    sentences = _words(language)
    style = Markup((_TEMPLATES / "page.css").read_text(encoding="utf-8").strip())  # noqa: S704  a file of ours
    text = (
        page_templates("handover")
        .get_template("page.html.j2")
        .render(
            language=language,
            others={name: _words(name)["language"] for name in LANGUAGES if name != language},
            words=sentences,
            box=box,
            codes=_codes(box, sentences),
            style=style,
            policy=f"default-src 'none'; style-src 'sha256-{_digest(style)}'; base-uri 'none'; form-action 'none'",
            fingerprint=fingerprint,
            ask_for_key=ASK_FOR_KEY,
            authority_file=AUTHORITY_FILE,
            offers=[_shown(box, offer) for offer in box.offers],
        )
    )
    for braces, harmless in _BRACES.items():
        text = text.replace(braces, harmless)
    return text


def _shown(box: BoxFacts, offer: Offer) -> dict[str, Any]:
    """A service with all that the page says of it."""
    return {
        "facts": offer,
        "host": offer.api_url.removesuffix("/v1"),
        "curl_models": curl_models(box, offer),
        "curl_request": curl_request(box, offer),
        "python_request": python_request(box, offer),
        "chatbox": chatbox_provider(box, offer) if offer.purpose == "chat" else "",
        "advice": advice_for(offer),
    }


def _codes(box: BoxFacts, sentences: dict[str, str]) -> list[tuple[str, str, Markup]]:
    """What a telephone is shown: what it leads to, the address, and the code as a drawing."""
    places = [
        (sentences["code_certificate"], box.authority_url),
        (sentences["code_chat"], box.chat_url),
        (sentences["code_api"], "" if box.chat_url else box.api_url),
    ]
    return [(label, url, _drawing(url)) for label, url in places if url]


def _drawing(text: str) -> Markup:
    code = segno.make(text, error="m", micro=False)
    drawn = code.svg_inline(omitsize=True, border=3, dark="#000", light="#fff", svgclass="code", lineclass=None)
    return Markup(drawn)  # noqa: S704  segno's own drawing; the text is in its squares alone


def _digest(style: str) -> str:
    return base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()


def _words(language: str) -> dict[str, str]:
    return words(_TEMPLATES, language)

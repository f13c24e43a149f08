"""A certificate as one HTML file: it opens without a network, prints well, and carries what was signed."""

from __future__ import annotations

import base64
import hashlib
import re
import textwrap

from markupsafe import Markup

from boxwright.page_templates import page_templates
from boxwright.reports.certificate import from_json
from boxwright.reports.plot import HEIGHT, LEGEND, WIDTH, plot
from boxwright.reports.view import TEMPLATES, View, breach, figure
from boxwright.signing import NAMESPACE
from boxwright.translation import LANGUAGES, words


def page(signed: bytes, signature: str, language: str) -> str:
    """The page.

    Args:
        signed: The certificate's JSON, byte for byte.
        signature: The text of its `.sig` file.
        language: One of `translation.LANGUAGES`.
    """
    view = View(from_json(signed), language)
    style = Markup((TEMPLATES / "page.css").read_text(encoding="utf-8").strip())  # noqa: S704  a file of ours
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return (
        page_templates("certificate")
        .get_template("page.html.j2")
        .render(
            view=view,
            certificate=view.certificate,
            words=view.words,
            term=view.term,
            language=language,
            others={name: words(TEMPLATES, name)["language"] for name in LANGUAGES if name != language},
            style=style,
            policy=f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'",
            namespace=NAMESPACE,
            sha256=hashlib.sha256(signed).hexdigest(),
            signed=textwrap.fill(base64.b64encode(signed).decode(), 100),
            signature=signature,
            plot=plot,
            breach=breach,
            figure=figure,
            legend=LEGEND,
            field=(f"{WIDTH:g}", f"{HEIGHT:g}"),
        )
    )


def carried(text: str) -> tuple[bytes, str, str] | None:
    """What a page carries: the signed JSON, its signature, and the page's language; None when it is no such page."""
    head = re.search(r'<html lang="([a-z]+)', text)
    parts = [
        re.search(rf'<template id="{name}">\n(.*?)</template>', text, re.DOTALL) for name in ("signed", "signature")
    ]
    if not head or head[1] not in LANGUAGES or not parts[0] or not parts[1]:
        return None
    try:
        return base64.b64decode("".join(parts[0][1].split()), validate=True), parts[1][1], head[1]
    except ValueError:
        return None

"""The answer of `fit` as a page."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from boxwright.model.catalogues import load_accelerators, load_models
from boxwright.sizing.choice import machine_meant
from boxwright.sizing.fit import Wish, fits
from boxwright.sizing.page import Page

MODELS = load_models()


def page(name: str = "deepseek-r1-distill-llama-70b", title: str = "a box") -> str:
    machine = machine_meant("8x4090", "", 1, "", load_accelerators())
    model = MODELS.find(name)
    assert model
    return Page(title, tuple(fits(model, machine, Wish())), machine, "a verdict", "an explanation").html()


def test_bars_add_up_to_the_card() -> None:
    drawings = re.findall(r"<svg viewBox=\"0 0 600.*?</svg>", page(), flags=re.DOTALL)
    assert drawings
    for drawing in drawings:
        bars = ElementTree.fromstring(drawing).findall("rect")  # noqa: S314  our own page
        assert [bar.get("class") for bar in bars] == ["weights", "cache", "overhead", "free"]
        assert abs(sum(float(bar.get("width", "")) for bar in bars) - 600) < 1


def test_it_opens_without_a_network() -> None:
    assert not re.search(r"(src|href)=|url\(|@import|<script", page())


def test_names_are_escaped() -> None:
    assert "<b>" not in page(title="<b>a box")
    assert "&lt;b&gt;a box" in page(title="<b>a box")


def test_what_does_not_fit_has_no_bar() -> None:
    text = page("deepseek-r1")
    assert "does not fit" in text
    assert text.count('viewBox="0 0 600') < text.count("<tr")

"""Every template of a role, rendered for every profile, held against files that a person has read.

After a change that is meant: `BOXWRIGHT_GOLDEN=write ./invoke test --fast --only golden`, then read the diff. That the
tools themselves can read what is rendered is proven on twins: tests/lab/test_lab_rendered.py.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from template_rendering import DEBIAN, rendered, role_templates, text_on

HERE = Path(__file__).parent / "rendered"


def told(template: str) -> str:
    return "".join(f"======== {' '.join(profiles)}\n{text}\n" for text, profiles in sorted(rendered(template).items()))


@pytest.mark.parametrize("template", role_templates())
def test_templates_are_as_read(template: str) -> None:
    path = HERE / f"{template.removesuffix('.j2')}.txt"
    text = told(template)
    if os.environ.get("BOXWRIGHT_GOLDEN") == "write":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


def test_no_file_is_left_of_a_template_that_is_gone() -> None:
    kept = {str(path.relative_to(HERE)).removesuffix(".txt") + ".j2" for path in HERE.rglob("*.txt")}
    assert kept == set(role_templates())


def test_no_alert_says_for_ever_that_a_site_has_no_time_server() -> None:
    alert = "ClockNotSynchronised"
    assert alert in text_on(DEBIAN, "monitoring/alerts.yml.j2", "monitoring", "lab")
    assert alert not in text_on(DEBIAN, "monitoring/alerts.yml.j2", "monitoring", "lab", monitoring_time_server=False)

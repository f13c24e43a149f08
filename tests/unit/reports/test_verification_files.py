"""A verification as JUnit and as a page: whole, offline, the worst first, and refused before anything is contacted."""

from __future__ import annotations

import base64
import hashlib
import os
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from made_certificates import check
from verb_command import boxwright

from boxwright.errors import BadInputError, Exit
from boxwright.reports.verification import Outputs, Verification, page
from boxwright.verification.check import Check, CheckOutcome, Severity


def found(*hosts: tuple[Check, ...], twin: bool = True) -> Verification:
    return Verification(
        profile="lab",
        summary="a small model",
        site="lab",
        checked_at="2026-11-01T10:00:00Z",
        checked_by="ada@bench",
        twin=twin,
        hosts={f"box-{number}": checks for number, checks in enumerate(hosts, 1)},
    )


GOOD = (check("services.active"), check("clock.synchronised", CheckOutcome.UNPROVEN, "a twin has no clock of its own"))
BAD = (
    check("services.active"),
    check("zz.minor", CheckOutcome.FAIL, "the <b>small</b> thing").model_copy(update={"severity": Severity.MINOR}),
    check("aa.waived", CheckOutcome.WAIVED, "waived by Ada: later (found)"),
    check("engine.weights", CheckOutcome.FAIL, "another file").model_copy(update={"severity": Severity.CRITICAL}),
)


def test_the_page_is_whole_and_fetches_nothing() -> None:
    text = page(found(GOOD, BAD))
    assert text.startswith("<!DOCTYPE html>")
    assert not re.search(r"<(script|img|link|iframe|form|object|base)\b|\bsrc=|@import|url\(|style=|\bon\w+=", text)
    (style,) = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in text.replace("&#39;", "'")
    assert "<b>small</b>" not in text
    assert "the &lt;b&gt;small&lt;/b&gt; thing" in text


def test_every_host_is_on_the_page_with_its_counts_and_the_worst_first() -> None:
    text = page(found(GOOD, BAD))
    assert ">Failed<" in text
    rows = re.findall(r'<tr><th scope="row"><a href="#(.+?)">.*?</th><td>(\d)</td><td>(\d)</td><td>(\d)</td>', text)
    assert rows == [("box-1", "0", "0", "1"), ("box-2", "2", "1", "0")]
    _, _, second = text.partition('<section id="box-2"')
    assert re.findall(r'<span class="id">(.+?) · (\w+)</span>', second) == [
        ("engine.weights", "critical"),
        ("zz.minor", "minor"),
        ("aa.waived", "major"),
        ("services.active", "major"),
    ]
    assert second.count("What to do: Mend ") == 3
    assert "SIMULATED" in text
    assert "SIMULATED" not in page(found(GOOD, twin=False))


@pytest.mark.parametrize(
    ("hosts", "verdict"),
    [((GOOD,), "passed"), ((GOOD, BAD), "failed"), ((BAD[:1] + BAD[2:3],), "passed_with_waivers"), (((),), "failed")],
)
def test_the_verdict_is_that_of_the_worst_host(hosts: tuple[tuple[Check, ...], ...], verdict: str) -> None:
    assert found(*hosts).verdict == verdict
    assert f'class="verdict {verdict}"' in page(found(*hosts))


def test_junit_has_a_suite_a_host(tmp_path: Path) -> None:
    (path,) = Outputs.chosen(junit=str(tmp_path / "checks.xml")).write(found(GOOD, BAD)).values()
    root = ElementTree.parse(path).getroot()  # noqa: S314  our own
    assert (root.get("tests"), root.get("failures"), root.get("skipped")) == ("6", "2", "2")
    first, second = root
    assert [first.get("hostname"), second.get("hostname")] == ["box-1", "box-2"]
    assert (first.get("tests"), first.get("failures"), first.get("timestamp")) == ("2", "0", "2026-11-01T10:00:00")
    (failure,) = (case[0] for case in second.iter("testcase") if case.get("name", "").startswith("engine.weights"))
    assert (failure.tag, failure.get("message")) == ("failure", "another file")
    assert failure.text == "another file\ncritical. Mend engine.weights."


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "v.html"
    path.write_text("what was there")
    Outputs.chosen(html=str(path)).write(found(GOOD))
    assert path.read_text().endswith("</html>\n")
    assert os.listdir(tmp_path) == ["v.html"]  # noqa: PTH208  no draft is left


def test_a_place_that_is_gone_by_then_is_said(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    outputs = Outputs.chosen(html=str(tmp_path / "there" / "v.html"))
    (tmp_path / "there").rmdir()
    with pytest.raises(BadInputError, match="cannot write"):
        outputs.write(found(GOOD))


@pytest.mark.parametrize(
    ("option", "place", "said"),
    [
        ("--junit", "{here}", "--junit names a folder"),
        ("--html", "{here}/nowhere/v.html", "--html: there is no folder {here}/nowhere"),
        ("--junit", "{here}/file/v.xml", "--junit: there is no folder {here}/file"),
    ],
)
def test_a_place_that_nothing_can_be_written_to_is_refused_first(
    tmp_path: Path, own_places: Path, option: str, place: str, said: str
) -> None:
    (tmp_path / "file").write_text("")
    site = tmp_path / "site.yml"
    site.write_text("name: s\nhosts: [{name: box-1, address: 192.0.2.1}]\n")
    ran = boxwright("verify", "--profile", "lab", "--site", str(site), option, place.format(here=tmp_path))
    assert ran.code == Exit.BAD_INPUT
    assert said.format(here=tmp_path) in ran.told.replace("\n", "")
    assert not own_places.exists() or not list(own_places.rglob("*"))


def test_one_file_for_both_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="name the same file"):
        Outputs.chosen(junit=str(tmp_path / "x"), html=str(tmp_path / "x"))

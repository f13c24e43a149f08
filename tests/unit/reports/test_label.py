"""Labels: what stands on a box names its certificate, and nothing that a machine says becomes markup or a path."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
import segno
from made_certificates import certificate, check, machine

from boxwright.detection.machine import System
from boxwright.reports.certificate import to_json
from boxwright.reports.label import Label, folder_name, label_page

KEY = "SHA256:" + "k" * 43
LABEL = Label(certificate(check("services.active")), "192.0.2.1", (KEY,))


def test_it_says_whose_it_is_and_names_the_file() -> None:
    page = label_page([LABEL])
    digest = hashlib.sha256(to_json(LABEL.certificate)).hexdigest()
    for told in ("box-1", "SN-0042", "192.0.2.1", KEY, digest, LABEL.certificate.signing_key, "passed 2026-11-01"):
        assert told in page
    wanted = segno.make(f"sha256:{digest}", error="m", micro=False)
    assert (
        wanted.svg_inline(omitsize=True, border=2, dark="#000", light="#fff", svgclass="code", lineclass=None) in page
    )
    assert "http" not in page.replace("http-equiv", "").replace("http://www.w3.org/2000/svg", "")


def test_a_failed_box_and_one_without_a_number() -> None:
    page = label_page([replace(LABEL, certificate=certificate(machine=machine()), host_key=())])
    assert "FAILED" in page
    assert "none known" in page
    assert "not pinned" in page


def test_a_sheet_has_every_box() -> None:
    assert label_page([LABEL, replace(LABEL, address="192.0.2.2")]).count("<section") == 2


def test_what_a_machine_says_is_no_markup() -> None:
    told = certificate(check("a.b"), machine=machine(system=System(serial="<script>alert(1)</script>")))
    assert "<script" not in label_page([replace(LABEL, certificate=told)])


@pytest.mark.parametrize(
    ("serial", "name"),
    [("SN-0042", "SN-0042"), ("../../etc", "etc"), ("A 1/2\n", "A-1-2"), ("..", ""), ("", ""), ("序列", "")],
)
def test_a_number_as_a_folder(serial: str, name: str) -> None:
    assert folder_name(serial) == name


def test_it_bears_the_number_of_the_site_before_that_of_the_firmware() -> None:
    page = label_page([replace(LABEL, certificate=certificate(check("a.b"), serial="SN-1"))])
    assert "<strong>SN-1</strong>" in page
    assert "SN-0042" not in page

"""The PDF as a reader shows it: what stands on page one, and that every page is drawn."""

from __future__ import annotations

import base64
import re
import shutil
import subprocess
import zlib
from pathlib import Path

import pytest
from made_certificates import certificate, check, everything, machine

from boxwright.reports.certificate import Certificate, to_json
from boxwright.reports.pdf import pdf
from boxwright.translation import LANGUAGES

GHOSTSCRIPT = shutil.which("gs")


def first_page(data: bytes) -> str:
    """The text that is drawn on page one in a font that every reader has, in the order in which it is drawn.

    Read from the file itself: the first page's stream, unpacked, and of it the texts that are shown.
    """
    objects = {int(number): body for number, body in re.findall(rb"(\d+) 0 obj\s(.*?)endobj", data, re.DOTALL)}
    (kids,) = (body for body in objects.values() if b"/Type /Pages" in body)
    found = re.search(rb"/Kids \[ (\d+) 0 R", kids)
    assert found
    page = re.search(rb"/Contents (\d+) 0 R", objects[int(found[1])])
    assert page
    head, _, rest = objects[int(page[1])].partition(b"stream")
    assert b"/ASCII85Decode /FlateDecode" in head
    packed = rest.strip().removesuffix(b"endstream").strip()
    drawn = zlib.decompress(base64.a85decode(packed.removesuffix(b"~>"))).decode("latin-1")
    shown = re.findall(r"\(((?:[^()\\]|\\.)*)\) Tj", drawn)
    return " ".join(" ".join(shown).replace("\\(", "(").replace("\\)", ")").split())


def english(told: Certificate) -> str:
    return first_page(pdf(to_json(told), "en"))


def test_a_failed_box_is_failed_on_page_one_with_what_failed_and_what_to_do() -> None:
    text = english(everything())
    assert "Failed At least one promise does not hold" in text
    for said in ("engine.stream", "Mend engine.stream.", "bench.throughput", "9 tok/s", "Look at the power limit."):
        assert said in text, said
    good = english(certificate(check("services.active")))
    assert "Passed Every check that could be made here holds" in good
    assert "Failed" not in good
    assert "What does not hold" not in good


def test_page_one_says_the_number_of_the_box_and_that_nobody_burned_it_in() -> None:
    assert "Serial number SN-1 " in english(certificate(check("a.b"), machine=machine(), serial="SN-1"))
    assert "the site says SN-1, the firmware SN-0042" in english(certificate(check("a.b"), serial="SN-1"))
    cold = english(certificate(check("a.b"), ran=()))
    assert "burnin.ran" in cold
    assert "it was not run: ./invoke burnin" in cold


@pytest.mark.skipif(not GHOSTSCRIPT, reason="needs ghostscript (gs), which draws the pages as a reader would")
@pytest.mark.parametrize("language", LANGUAGES)
def test_every_page_is_drawn_and_none_is_blank(tmp_path: Path, language: str) -> None:
    assert GHOSTSCRIPT
    path = tmp_path / "certificate.pdf"
    path.write_bytes(pdf(to_json(everything()), language))
    drawing = [GHOSTSCRIPT, "-q", "-dSAFER", "-dBATCH", "-dNOPAUSE", "-sDEVICE=pgmraw", "-r30"]
    done = subprocess.run(
        [*drawing, f"-sOutputFile={tmp_path}/%02d.pgm", str(path)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    pages = sorted(tmp_path.glob("*.pgm"))
    assert len(pages) == len(re.findall(rb"/Type /Page\b(?!s)", path.read_bytes())) > 3
    for page in pages:
        grey = page.read_bytes().split(b"255\n", 1)[1]
        assert sum(one < 200 for one in grey) > len(grey) / 200, f"{page.name} is next to blank"

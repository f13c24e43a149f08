"""What people and programs read of a certificate: pages, PDFs, JUnit; and that nobody can change them unseen."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from made_certificates import BUNDLE, certificate, check, everything, machine
from verb_command import boxwright

from boxwright.errors import BadInputError, Exit
from boxwright.places import ROOT
from boxwright.provisioning.acceptance import EXAMINED, PROMISES
from boxwright.reports import fonts
from boxwright.reports.certificate import Certificate, EvidenceFile, to_json
from boxwright.reports.certify import RAN
from boxwright.reports.examination import examine
from boxwright.reports.files import write_files
from boxwright.reports.junit import junit
from boxwright.reports.page import page
from boxwright.reports.pdf import pdf
from boxwright.signing import ForgedError, SigningKey
from boxwright.translation import LANGUAGES, table
from boxwright.verification import ACCEPTANCE_SUITE
from boxwright.verification.check import CheckOutcome

TEMPLATES = ROOT / "templates/certificate"


@pytest.fixture
def key(tmp_path: Path) -> SigningKey:
    return SigningKey.kept_in(tmp_path / "signing")


@pytest.fixture
def files(tmp_path: Path, key: SigningKey) -> dict[str, Path]:
    return write_files(tmp_path / "box-1", everything(key), key)


def test_every_language_has_every_sentence() -> None:
    texts = [(TEMPLATES / f"words.{language}.yml").read_text() for language in LANGUAGES]
    names = [re.findall(r'^"?(\w+)"?:', text, re.MULTILINE) for text in texts]
    assert names[0] == names[1]
    fields = [sorted(re.findall(r"\{\w+\}", text)) for text in texts]
    assert fields[0] == fields[1]


def test_every_promise_is_told_in_chinese_and_none_that_nobody_makes() -> None:
    suite = "\n".join(path.read_text() for path in ACCEPTANCE_SUITE.glob("test_*.py"))
    promises = {*re.findall(r'^    title="(.+)",$', suite, re.MULTILINE), *PROMISES.values(), EXAMINED, *RAN.values()}
    terms = table(TEMPLATES / "terms.zh.yml")
    assert promises - set(terms) == set()
    sentences = {text for text in terms if text.count(" ") > 2 and not text.startswith(("it ", "the box has none"))}
    assert sentences - promises == set()


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_page_is_whole_and_fetches_nothing(files: dict[str, Path], language: str) -> None:
    text = files[f"html ({language})"].read_text()
    assert text.startswith("<!DOCTYPE html>")
    assert not re.search(r"<(script|img|link|iframe|form|object|base)\b|\bsrc=|@import|url\(|style=|\bon\w+=", text)
    (style,) = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in text.replace("&#39;", "'")
    assert "<b>9</b>" not in text
    assert "clumps of &lt;b&gt;9&lt;/b&gt; &amp; more" in text
    (svg,) = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    drawn = ElementTree.fromstring(svg)  # noqa: S314  our own; well-formed
    (line,) = (one for one in drawn if one.get("class") == "measured" and one.tag == "polyline")
    assert len(line.attrib["points"].split()) == 4
    for said in (
        "SN-0042",
        "the new riser comes on Monday",
        "b1, SIMULATED",
        "sha256:0000",
        "没有 nvidia-smi",
        "a-bench",
    ):
        assert said in text, said


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_bundle_that_the_box_was_made_from_is_named(files: dict[str, Path], language: str) -> None:
    told = f"8x4090-debian-12, {BUNDLE.signed_at}, lock sha256:{BUNDLE.lock}, {BUNDLE.signing_key}"
    assert told in files[f"html ({language})"].read_text()


def test_a_failure_stands_on_the_first_page_with_what_to_do(files: dict[str, Path]) -> None:
    text = files["html (en)"].read_text()
    first = text[: text.index('<section class="page">')]
    assert ">Failed<" in first
    for said in ("engine.stream", "Mend engine.stream.", "bench.throughput", "9 tok/s", "Look at the power limit."):
        assert said in first, said
    good = page_of(certificate(check("services.active")))
    assert "What does not hold" not in good
    assert ">Passed<" in good


def test_the_number_of_the_site_stands_on_the_first_page_beside_another_of_the_firmware() -> None:
    for told, said in (
        (certificate(check("a.b"), machine=machine(), serial="SN-1"), "<td>SN-1</td>"),
        (certificate(check("a.b"), serial="SN-1"), "the site says SN-1, the firmware SN-0042"),
    ):
        text = page_of(told)
        assert said in text[: text.index('<section class="page">')]
    assert "Numbers differ" not in page_of(certificate(check("a.b"), machine=machine(), serial="SN-1"))


def page_of(told: Certificate) -> str:
    return page(to_json(told), "none\n", "en")


@pytest.mark.parametrize("kind", ["json", "html (en)", "html (zh)"])
def test_what_was_signed_is_valid_by_its_key_alone(
    files: dict[str, Path], key: SigningKey, tmp_path: Path, kind: str
) -> None:
    assert examine(files[kind]).key == key.public
    assert examine(files[kind], key.public.fingerprint).certificate == everything(key)
    assert examine(files[kind], str(tmp_path / "signing/ed25519.pub")).key == key.public
    other = SigningKey.kept_in(tmp_path / "other")
    with pytest.raises(ForgedError, match="another key"):
        examine(files[kind], other.public.fingerprint)


@pytest.mark.parametrize("kind", ["json", "signature", "html (en)", "html (zh)"])
def test_one_byte_that_differs_is_seen_wherever_it_is(files: dict[str, Path], kind: str) -> None:
    path, looked_at = files[kind], files["json"] if kind == "signature" else files[kind]
    data = path.read_bytes()
    for place in {*range(0, len(data), max(1, len(data) // 60)), len(data) - 1}:
        path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        with pytest.raises((ForgedError, BadInputError)):
            examine(looked_at)
    path.write_bytes(data)
    examine(looked_at)


def test_a_certificate_that_another_key_signs_anew_names_the_wrong_key(files: dict[str, Path], tmp_path: Path) -> None:
    forger = SigningKey.kept_in(tmp_path / "forger")
    files["signature"].write_text(forger.sign(files["json"].read_bytes()))
    with pytest.raises(ForgedError, match="signed it"):
        examine(files["json"])


def test_a_certificate_of_a_twin_that_was_really_provisioned_stays_valid_and_can_be_drawn() -> None:
    path = Path(__file__).with_name("fixtures") / "lab-1.json"
    examined = examine(path, "SHA256:7mzDzHC9fyLyYbg3E59J11prxYCdm/DCDPujMhVpxMQ")
    told = examined.certificate
    assert (told.host, told.verdict, told.twin, len(told.checks)) == ("lab-1", "passed", True, 58)
    for language, said in (("en", "SIMULATED: nothing below"), ("zh", "所有服务都在运行")):
        text = page(path.read_bytes(), path.with_name("lab-1.json.sig").read_text(), language)
        assert said in text
        assert text.count('class="badge pass"') == 59  # one of them in the counts
        assert pdf(path.read_bytes(), language).startswith(b"%PDF-")


def test_pdfs_have_pages_and_are_the_same_each_time(files: dict[str, Path], key: SigningKey, tmp_path: Path) -> None:
    again = write_files(tmp_path / "again", everything(key), key)
    for language in LANGUAGES:
        data = files[f"pdf ({language})"].read_bytes()
        assert data.startswith(b"%PDF-")
        assert len(re.findall(rb"/Type /Page\b", data)) >= 5
        assert again[f"pdf ({language})"].read_bytes() == data
    with pytest.raises(BadInputError, match="for reading"):
        examine(files["pdf (en)"])


def test_without_a_chinese_font_here_a_pdf_names_one_that_readers_bring(
    files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    signed = files["json"].read_bytes()
    monkeypatch.setattr(fonts, "_FILES", ())
    fonts.chinese_font.cache_clear()
    try:
        data = pdf(signed, "zh")
    finally:
        fonts.chinese_font.cache_clear()
    assert b"/STSong-Light" in data
    assert b"/FontFile2" not in data


def test_junit_counts_what_ci_servers_count() -> None:
    told = everything()
    root = ElementTree.fromstring(junit(told))  # noqa: S314  our own
    (suite,) = root
    assert {name: suite.get(name) for name in ("tests", "failures", "skipped", "errors", "hostname")} == {
        "tests": "9", "failures": "2", "skipped": "2", "errors": "0", "hostname": "box-1",
    }  # fmt: skip
    failed = {case.attrib["name"].split(":")[0]: case.find("failure") for case in suite.iter("testcase")}
    assert {name for name, failure in failed.items() if failure is not None} == {"engine.stream", "bench.throughput"}
    odd = certificate(check("a.b", CheckOutcome.FAIL, "\x1b[31mred\x00"))
    ElementTree.fromstring(junit(odd))  # noqa: S314  our own


def test_the_verb_says_valid_and_by_whom(files: dict[str, Path], key: SigningKey) -> None:
    ran = boxwright("report.check", str(files["json"]))
    assert ran.code == Exit.OK, ran.told
    for said in ("VALID", "SN-0042", "failed", key.public.fingerprint, "compare the key's fingerprint"):
        assert said in ran.told, said
    (line,) = boxwright("report.check", str(files["html (zh)"]), "--signer", key.public.fingerprint, "--json").kind(
        "certificate"
    )
    assert (line["valid"], line["signer_known"], line["verdict"]) == (True, True, "failed")


def test_the_verb_says_both_numbers_where_they_differ(tmp_path: Path, key: SigningKey) -> None:
    signed = certificate(check("a.b"), serial="SN-1", signing_key=key.public.fingerprint)
    ran = boxwright("report.check", str(write_files(tmp_path / "box-1", signed, key)["json"]))
    assert ran.code == Exit.OK, ran.told
    for said in ("serial SN-1", "serial by the firmware SN-0042", "changed places"):
        assert said in ran.told, said


def test_the_verb_says_invalid_of_a_changed_file_and_ends_with_1(files: dict[str, Path]) -> None:
    files["json"].write_bytes(files["json"].read_bytes().replace(b"SN-0042", b"SN-0043"))
    ran = boxwright("report.check", str(files["json"]))
    assert ran.code == Exit.ERROR
    assert "INVALID: the signature is not of this file" in ran.told
    missing = boxwright("report.check", str(files["json"].with_name("none.json")))
    assert missing.code == Exit.BAD_INPUT
    assert "cannot read it" in missing.told


def test_evidence_that_goes_with_a_certificate_is_held_to_it(tmp_path: Path, key: SigningKey) -> None:
    evidence = {"sbom.cdx.json": b"{}", "receipt.json": b"[]"}
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in evidence.items()}
    named = tuple(EvidenceFile(name=name, sha256=digest) for name, digest in sorted(digests.items()))
    signed = everything(key).model_copy(update={"evidence": named})
    written = write_files(tmp_path / "box-1", signed, key, evidence)
    assert set(digests.values()) <= set(re.findall(r"[0-9a-f]{64}", written["html (zh)"].read_text()))
    assert examine(written["json"]).held == ("receipt.json", "sbom.cdx.json")
    assert examine(written["html (en)"]).held == ("receipt.json", "sbom.cdx.json")
    bill = tmp_path / "box-1/sbom.cdx.json"
    bill.write_bytes(b"[}")
    with pytest.raises(ForgedError, match=r"sbom\.cdx\.json, beside it, is not the file"):
        examine(written["json"])
    bill.unlink()
    told = boxwright("report.check", str(written["json"]))
    assert told.code == 0
    assert "not compared: sbom.cdx.json" in told.told
    assert "evidence receipt.json" in told.told

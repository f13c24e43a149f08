"""A box that nobody can look at is certified, too: as failed."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from boxwright.console import Console
from boxwright.errors import Exit
from boxwright.provisioning.certifying import report
from boxwright.provisioning.target import Choice
from boxwright.reports.examination import examine

SITE = "name: s\nhosts: [{name: box-1, address: 192.0.2.1, serial: SN 42/a}]\n"


def test_a_box_that_does_not_answer_has_failed(
    stand_in: Callable[[str, str], None], own_places: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))  # of the vault's password
    stand_in("ssh", "echo 'ssh: connect to host 192.0.2.1 port 22: No route to host' >&2; exit 255")
    site, told = tmp_path / "site.yml", io.StringIO()
    site.write_text(SITE)
    code = report(Console(json=True, stdout=told), Choice("lab", str(site)), str(tmp_path / "to"))
    assert code is Exit.VERIFY_FAILED
    (line,) = (one for one in map(json.loads, told.getvalue().splitlines()) if one["type"] == "certificate")
    certificate = examine(Path(line["files"]["json"]), line["signing_key"]).certificate
    assert (certificate.verdict, certificate.serials, certificate.receipt) == ("failed", (), None)
    assert (certificate.serial, line["serial"]) == ("SN 42/a", "SN 42/a")
    failed = {check.id: check for check in certificate.checks}
    assert failed["contract.examined"].evidence == "no answer over ssh"
    assert len(failed) > 1
    assert {check.outcome for check in failed.values()} == {"fail"}
    assert {gap.what for gap in certificate.unproven} >= {"machine"}
    assert {"bench.ran", "burnin.ran"} <= set(failed)
    assert (own_places / "signing/ed25519").stat().st_mode & 0o777 == 0o600
    assert "certificates was made" in told.getvalue()
    by_serial = tmp_path / "to/by-serial/SN-42-a"
    assert by_serial.readlink() == Path("../box-1")
    assert "SN 42/a" in (by_serial / "label.html").read_text()
    assert (tmp_path / "to/labels.html").read_text().count("<section") == 1

    # The number was a mistyped one: where it led, nobody shall find the certificate of another.
    site.write_text(SITE.replace("SN 42/a", "SN-43"))
    report(Console(json=True, stdout=io.StringIO()), Choice("lab", str(site)), str(tmp_path / "to"))
    assert [link.name for link in (tmp_path / "to/by-serial").iterdir()] == ["SN-43"]

"""The program that installs wheels notes which archives it took: they are gone afterwards."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

from boxwright.model.catalogues import ROOT

PROGRAM = runpy.run_path(str(ROOT / "templates/python_environment/install_python_environment.py"))


def test_archives_are_noted_by_digest_and_no_address_of_an_index_stays(tmp_path: Path) -> None:
    def installed(name: str, version: str, digit: str) -> dict[str, object]:
        """As pip 23.0.1 of Debian 12 reports it."""
        url = f"https://ada:secret@index.example/{name}-{version}-py3-none-any.whl"
        hashes = {"sha256": digit * 64}
        return {
            "download_info": {"url": url, "archive_info": {"hash": f"sha256={digit * 64}", "hashes": hashes}},
            "is_direct": False,
            "requested": True,
            "metadata": {"metadata_version": "2.1", "name": name, "version": version},
        }

    report, note = tmp_path / ".report.json", tmp_path / "WHEELS"
    told = [installed("packageurl-python", "0.17.6", "b"), installed("idna", "3.20", "a")]
    report.write_text(json.dumps({"version": "1", "pip_version": "23.0.1", "install": told}))
    PROGRAM["_note_archives"](report, note)
    assert note.read_text() == f"idna==3.20 {'a' * 64}\npackageurl-python==0.17.6 {'b' * 64}\n"
    assert [path.name for path in tmp_path.iterdir()] == ["WHEELS"]

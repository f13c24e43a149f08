"""The files of a certificate: signed JSON, pages, PDFs, JUnit."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from boxwright.reports.certificate import Certificate, to_json
from boxwright.reports.junit import junit
from boxwright.reports.page import page
from boxwright.reports.pdf import pdf
from boxwright.signing import SigningKey
from boxwright.translation import LANGUAGES
from boxwright.whole_files import write_whole


def write_files(
    folder: Path, certificate: Certificate, key: SigningKey, evidence: Mapping[str, bytes] = MappingProxyType({})
) -> dict[str, Path]:
    """Sign a certificate and write all of its files, each whole or not at all.

    Args:
        folder: Where.
        certificate: What is certified.
        key: Signs it.
        evidence: Files that go with it, by name.

    Returns:
        Their paths, by what they are: `json`, `signature`, `junit`, `html` and `pdf` with a language each, and
        `evidence` with a name each.
    """
    signed = to_json(certificate)
    signature = key.sign(signed)
    contents = {
        "json": ("certificate.json", signed),
        "signature": ("certificate.json.sig", signature.encode()),
        "junit": ("certificate.junit.xml", junit(certificate).encode()),
    }
    for language in LANGUAGES:
        drawn = page(signed, signature, language).encode()
        contents[f"html ({language})"] = (f"certificate.{language}.html", drawn)
        contents[f"pdf ({language})"] = (f"certificate.{language}.pdf", pdf(signed, language))
    contents |= {f"evidence ({name.partition('.')[0]})": (name, data) for name, data in evidence.items()}
    return {kind: write_whole(folder / name, data) for kind, (name, data) in contents.items()}

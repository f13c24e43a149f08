"""The files of a certificate: signed JSON, pages, PDFs, JUnit."""

from __future__ import annotations

import os
from pathlib import Path

from boxwright.reports.certificate import Certificate, to_json
from boxwright.reports.junit import junit
from boxwright.reports.page import page
from boxwright.reports.pdf import pdf
from boxwright.signing import SigningKey
from boxwright.translation import LANGUAGES


def write_files(folder: Path, certificate: Certificate, key: SigningKey) -> dict[str, Path]:
    """Sign a certificate and write all of its files, each whole or not at all.

    Returns:
        Their paths, by what they are: `json`, `signature`, `junit`, and `html` and `pdf` with a language each.
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
    folder.mkdir(parents=True, exist_ok=True)
    return {kind: _write(folder / name, data) for kind, (name, data) in contents.items()}


def _write(path: Path, data: bytes) -> Path:
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_bytes(data)
    draft.replace(path)
    return path

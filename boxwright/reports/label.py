"""Labels to print and stick on boxes: whose each is, how to know it again, and a code that names its certificate."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

import segno
from markupsafe import Markup

from boxwright.page_templates import page_templates
from boxwright.reports.certificate import Certificate, to_json


@dataclass(frozen=True)
class Label:
    """What stands on one box.

    Attributes:
        certificate: Of this box.
        address: Where it is found.
        host_key: Fingerprints of its pinned ssh host keys, as `ssh-keygen -l` writes them.
    """

    certificate: Certificate
    address: str
    host_key: tuple[str, ...]

    @property
    def serial(self) -> str:
        """The number on its case; empty where nobody knows one."""
        return self.certificate.serial

    @property
    def sha256(self) -> str:
        """Of the file certificate.json, byte for byte: `sha256sum certificate.json` must say the same."""
        return hashlib.sha256(to_json(self.certificate)).hexdigest()

    @property
    def code(self) -> Markup:
        """The digest as a QR code."""
        drawn = segno.make(f"sha256:{self.sha256}", error="m", micro=False).svg_inline(
            omitsize=True, border=2, dark="#000", light="#fff", svgclass="code", lineclass=None
        )
        return Markup(drawn)  # noqa: S704  segno's own drawing; the text is in its squares alone


def folder_name(serial: str) -> str:
    """A serial number as the name of a folder, whatever stands in it."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", serial).strip(".-")


def label_page(labels: Sequence[Label]) -> str:
    """A page of labels, eight on a sheet of A4. It opens without a network."""
    return page_templates("label").get_template("page.html.j2").render(labels=labels)

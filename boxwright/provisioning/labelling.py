"""What `report` leaves beside certificates for whoever packs the boxes: labels, and a folder for each serial number."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from boxwright.model.site import Host
from boxwright.provisioning.target import Target
from boxwright.reports.certificate import Certificate
from boxwright.reports.label import Label, folder_name, label_page
from boxwright.transport.host_keys import pinned
from boxwright.transport.pins import Pins
from boxwright.whole_files import write_whole

BY_SERIAL = "by-serial"


def label_of(target: Target, host: Host, certificate: Certificate) -> Label:
    """The label of a box."""
    endpoint = target.endpoint(host)
    pins = Pins(endpoint.known_hosts or Path("~/.ssh/known_hosts").expanduser())
    keys = pinned(pins, endpoint.address, endpoint.port)
    return Label(
        certificate=certificate,
        address=endpoint.address,
        host_key=tuple(key.fingerprint for key in keys),
    )


def write_label(folder: Path, label: Label) -> Path:
    """Write the label into the folder of its host, and let its serial number lead there, too, and no other number."""
    name = label.certificate.host
    for old in (folder / BY_SERIAL).glob("*"):  # of before the site's number of the host was mended
        if old.is_symlink() and old.readlink() == Path("..") / name:
            old.unlink()
    if serial := folder_name(label.serial):
        link = folder / BY_SERIAL / serial
        link.parent.mkdir(exist_ok=True)
        draft = link.with_name(f".{serial}.{os.getpid()}")
        draft.unlink(missing_ok=True)
        draft.symlink_to(Path("..") / name)
        draft.replace(link)
    return write_whole(folder / name / "label.html", label_page([label]).encode())


def write_sheet(folder: Path, labels: Sequence[Label]) -> Path:
    """Write the labels of all boxes that were certified together."""
    return write_whole(folder / "labels.html", label_page(labels).encode())

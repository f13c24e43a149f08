"""What tells that a box is still the same: it differs with all that a bill is read from, and with nothing else."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from boxwright.factory.evidence import remote_fingerprint, remote_inventory
from boxwright.factory.evidence.collect import Fingerprint
from boxwright.factory.evidence.names import BILL, PROVENANCE, RECEIPT

WHEEL = "opt/open-webui/slim-1/lib/python3.11/site-packages/a-1.dist-info"


@pytest.fixture
def box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stand_in: Callable[[str, str], None]) -> Path:
    """A box with something of each kind, below a folder."""
    stand_in("docker", f"cat {tmp_path}/images")
    contents = {
        "images": '{"Repository": "a", "Tag": "1", "Digest": "sha256:1", "ID": "sha256:2", "CreatedSince": "1 day"}\n',
        "etc/receipt.json": "{}",
        f"etc/{BILL}": "bill",
        "os-release": "ID=debian",
        "status": "Package: nginx",
        "lists/mirror_dists_bookworm_InRelease": "signed",
        f"{WHEEL}/METADATA": "Name: a",
        f"{WHEEL}/RECORD": "a.py",
        "opt/open-webui/slim-1/WHEELS": "a==1",
        "opt/llama-cpp/b1/MANIFEST": "libc6=1",
        "models/smollm2/q4/a.gguf": "weights",
        "modules/6.1/updates/dkms/nvidia.ko": "module",
    }
    for name, text in contents.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "opt/open-webui/current").symlink_to("slim-1")
    places = {
        "PROGRAMS": "opt", "RECORDS": "etc", "TWIN": "twin", "RELEASE": "os-release", "DPKG": "status",
        "APT_LISTS": "lists", "MODULES": "modules",
    }  # fmt: skip
    for constant, name in places.items():
        monkeypatch.setattr(remote_fingerprint, constant, tmp_path / name)
    return tmp_path


def fingerprint(box: Path) -> Fingerprint:
    return Fingerprint.model_validate(remote_fingerprint.main(box / "models"))


def append(name: str) -> Callable[[Path], None]:
    def do(box: Path) -> None:
        before = (box / name).stat()
        (box / name).write_text((box / name).read_text() + "!")
        os.utime(box / name, ns=(before.st_atime_ns, before.st_mtime_ns))  # nothing hides behind an old date

    return do


def relink(box: Path) -> None:
    (box / "opt/open-webui/current").unlink()
    (box / "opt/open-webui/current").symlink_to("slim-2")


@pytest.mark.parametrize(
    "change",
    [
        append("status"),
        append("os-release"),
        append("etc/receipt.json"),
        append("lists/mirror_dists_bookworm_InRelease"),
        append(f"{WHEEL}/METADATA"),
        append(f"{WHEEL}/RECORD"),
        append("opt/open-webui/slim-1/WHEELS"),
        append("opt/llama-cpp/b1/MANIFEST"),
        append("models/smollm2/q4/a.gguf"),
        append("modules/6.1/updates/dkms/nvidia.ko"),
        lambda box: (box / "models/smollm2/q4/.a.gguf.verified").write_text("7 1 a"),
        lambda box: (box / "opt/llama-cpp/b1/SIMULATED").touch(),
        lambda box: (box / "opt/open-webui/slim-2").mkdir(),
        lambda box: (box / "images").write_text((box / "images").read_text().replace("sha256:1", "sha256:3")),
        lambda box: (box / "twin").touch(),
        relink,
    ],
)
def test_it_is_another_one_as_soon_as_the_box_is(box: Path, change: Callable[[Path], object]) -> None:
    before = fingerprint(box)
    assert fingerprint(box) == before
    change(box)
    assert fingerprint(box).state != before.state


@pytest.mark.parametrize(
    "change",
    [
        append(f"etc/{BILL}"),
        lambda box: (box / "opt/open-webui/slim-1/lib/python3.11/site-packages/a.pyc").touch(),
        lambda box: (box / "images").write_text((box / "images").read_text().replace("1 day", "2 days")),
        lambda box: (box / "opt/open-webui/.lock").touch(),
    ],
)
def test_what_no_bill_is_read_from_does_not_count(box: Path, change: Callable[[Path], object]) -> None:
    before = fingerprint(box)
    change(box)
    assert fingerprint(box).state == before.state


def test_the_evidence_itself_is_told_by_its_files(box: Path) -> None:
    before = fingerprint(box)
    assert (set(before.files), before.files[PROVENANCE]) == ({BILL, PROVENANCE, RECEIPT}, "")
    append(f"etc/{BILL}")(box)
    assert fingerprint(box).files[BILL] != before.files[BILL]


def test_it_looks_where_the_inventory_looks() -> None:
    for constant in ("PROGRAMS", "TWIN", "OUT_OF_TREE"):
        assert getattr(remote_fingerprint, constant) == getattr(remote_inventory, constant)
    assert remote_fingerprint.RECORDS / RECEIPT == remote_inventory.RECEIPT
    assert remote_fingerprint.FILES == (RECEIPT, BILL, PROVENANCE)


def test_a_bare_python_answers(tmp_path: Path, stand_in: Callable[[str, str], None]) -> None:
    """This machine stands in for the box."""
    stand_in("docker", "exit 1")
    argv = [sys.executable, "-I", "-S", "-c", inspect.getsource(remote_fingerprint), str(tmp_path)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60)
    assert len(Fingerprint.model_validate_json(done.stdout).state) == 64

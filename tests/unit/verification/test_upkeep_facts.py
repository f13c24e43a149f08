"""What a box tells of file systems, disks and its journal, and when that is a breach."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path
from typing import Any

import pytest

from boxwright.verification.disks import breaches, telling, trouble
from boxwright.verification.remote import upkeep_facts

WELL = {"passed": True, "critical_warning": 0, "media_errors": 0, "pending_sectors": 0, "uncorrectable_sectors": 0}


def place(**more: Any) -> dict[str, Any]:
    right = {"path": "/srv", "type": "ext4", "read_only": False, "inodes": 1000, "free_inodes": 900}
    return right | {"bytes": 10**12, "free": 5 * 10**11} | more


@pytest.mark.parametrize(
    ("more", "borrowed", "said"),
    [
        ({}, False, ""),
        ({"free": 10**11 - 1}, False, "/srv has 100000 MB left, 10 % of it"),
        ({"free": 10**11 - 1}, True, ""),
        ({"free": 10**8}, True, "/srv has 100 MB left, 0 % of it"),
        ({"bytes": 8 << 20, "free": 0}, False, "/srv has 0 MB left, 0 % of it"),
        ({"free_inodes": 49}, False, "/srv has 49 inodes left"),
        ({"inodes": 0, "free_inodes": 0}, False, ""),  # btrfs has none
        ({"read_only": True}, False, "/srv is read-only"),
    ],
)
def test_a_file_system_needs_room_and_inodes_and_must_take_writes(
    more: dict[str, Any], borrowed: bool, said: str
) -> None:
    assert trouble(place(**more), 10, borrowed=borrowed) == said


def test_this_machines_file_systems_are_found_each_once() -> None:
    found = upkeep_facts.room(["/nowhere"])
    assert "/" in {one["path"] for one in found}
    assert len({one["device"] for one in found}) == len(found)
    assert all(0 <= one["free"] <= one["bytes"] for one in found)


def test_an_nvme_disk_tells_of_its_health_without_a_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = bytearray(512)
    page[5], page[160:162] = 7, (300).to_bytes(2, "little")
    told = upkeep_facts.nvme_health(bytes(page))
    assert (told["passed"], told["media_errors"], told["used_percent"]) == (True, 300, 7)
    assert breaches({}, {"/dev/nvme0": told}) == ["/dev/nvme0: media errors 300"]
    page[0] = 0b100  # the reliability is degraded
    assert "says that it fails" in breaches({}, {"/dev/nvme0": upkeep_facts.nvme_health(bytes(page))})[0]

    monkeypatch.setattr(upkeep_facts, "NVME", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))  # without smartctl
    assert upkeep_facts.smart() is None
    asked = bytearray()

    def ioctl(_: object, request: int, command: bytes) -> None:
        asked.extend(command)
        assert request >> 16 & 0x3FFF == len(command) == 72  # the size that the kernel's own header says

    monkeypatch.setattr(fcntl, "ioctl", ioctl)
    upkeep_facts.nvme_log(os.devnull)
    opcode, namespace, length, wanted = asked[0], asked[4:8], asked[36:40], asked[40:44]
    assert (opcode, bytes(namespace), int.from_bytes(length, "little")) == (2, b"\xff" * 4, 512)
    assert int.from_bytes(wanted, "little") == 127 << 16 | 2  # 128 words of page 2


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({}, []),
        ({"passed": False}, ["/dev/sda: says that it fails"]),
        ({"media_errors": 3}, ["/dev/sda: media errors 3"]),
        ({"pending_sectors": 8, "passed": False}, ["/dev/sda: pending sectors 8, says that it fails"]),
        ({"passed": None}, []),
    ],
)
def test_a_disk_that_loses_data_is_a_breach(told: dict[str, Any], said: list[str]) -> None:
    assert breaches({}, {"/dev/sda": WELL | told}) == said


def test_a_file_system_that_counted_errors_is_a_breach() -> None:
    assert breaches({"sda1": 0, "nvme0n1p2": 2}, {}) == ["nvme0n1p2 has counted 2 errors"]


def test_a_disk_that_tells_nothing_proves_nothing() -> None:
    assert telling({"/dev/vda": WELL | {"passed": None}, "/dev/sda": WELL}) == ["/dev/sda"]


def program(folder: Path, name: str, *answers: str) -> None:
    """A program in the way of a real one that prints an answer by its number of arguments."""
    cases = "".join(answers)
    path = folder / name
    path.write_text(f"#!/bin/sh\ncase $# in\n{cases}esac\n")
    path.chmod(0o755)


def test_what_smartctl_says_is_read_whatever_its_exit_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answers are made up after smartctl's manual: no machine of the tests has a disk that fails."""
    scan = {"devices": [{"name": "/dev/sda", "type": "sat"}]}
    report = {
        "smart_status": {"passed": False},
        "ata_smart_attributes": {"table": [{"id": 197, "raw": {"value": 8}}, {"id": 9, "raw": {"value": 7}}]},
    }
    program(tmp_path, "smartctl", f"2) echo '{json.dumps(scan)}';;\n", f"6) echo '{json.dumps(report)}'; exit 24;;\n")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    told = upkeep_facts.smart()
    assert told is not None
    assert breaches({}, told) == ["/dev/sda: pending sectors 8, says that it fails"]


def test_without_smartctl_nothing_is_known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert upkeep_facts.smart() is None


def test_entries_of_the_journal_are_read_with_who_wrote_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [
        {"__REALTIME_TIMESTAMP": "1795935179913166", "SYSLOG_IDENTIFIER": "payroll", "MESSAGE": "no room"},
        {"__REALTIME_TIMESTAMP": "1795935179913167", "_COMM": "odd", "MESSAGE": [104, 105, 255]},
        {"__REALTIME_TIMESTAMP": "1795935179913168", "UNIT": "x.service", "_COMM": "systemd", "MESSAGE": None},
    ]
    text = "\n".join(map(json.dumps, lines))
    (tmp_path / "lines").write_text(text)
    program(tmp_path, "journalctl", f"*) cat {tmp_path}/lines;;\n")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    found = upkeep_facts.journal()
    assert [(one["who"], one["unit"], one["message"]) for one in found] == [
        ("payroll", "", "no room"),
        ("odd", "", "hi\ufffd"),
        ("systemd", "x.service", ""),
    ]

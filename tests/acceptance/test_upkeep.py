"""Clock, disks and journal: a box that was right goes wrong here first."""

from __future__ import annotations

import time

import pytest

from boxwright.verification import clock, disks, journal
from boxwright.verification.check import UnprovenError
from boxwright.verification.facts import Facts
from boxwright.verification.job import VerifyHost
from boxwright.verification.plugin import Evidence
from boxwright.verification.remote import source
from boxwright.verification.ssh import BoxShell

LOG_DAYS = 7
SYNCHRONISES_IN_S = 20

_CLOCK = "import json, sys, time; json.dump(time.time(), sys.stdout)"


@pytest.fixture(scope="module")
def facts(shell: BoxShell, target: VerifyHost) -> Facts:
    asked = {
        "folders": [*target.profile.folders.values(), target.profile.stack.models_directory],
        "since": f"-{LOG_DAYS}d",
        "whole": not target.twin,
        "own_clock": not target.shares_kernel,
        "patience_s": SYNCHRONISES_IN_S,
    }
    return Facts(shell.python(source("upkeep_facts"), asked))


@pytest.mark.check(
    id="clock.right",
    title="The clock agrees with this machine's",
    severity="major",
    remedy="timedatectl on both machines: which one is wrong? Then name a time server in the site (ntp_servers).",
    needs="time_server",
)
def test_clock(shell: BoxShell, evidence: Evidence) -> None:
    offset, round_trip = compared(shell)
    assert abs(offset) <= clock.MOST_OFFSET_S, f"it is {clock.told(offset)} this machine's clock"
    evidence(f"no difference that can be told over a round trip of {round_trip:.1f} s")


@pytest.mark.check(
    id="clock.synchronised",
    title="The clock follows a time server",
    severity="major",
    remedy="Name time servers that the box can reach in the site (ntp_servers), or say that the site has none "
    "(without_time_server); then provision again.",
    needs="time_server",
)
def test_clock_is_synchronised(facts: Facts, target: VerifyHost, evidence: Evidence) -> None:
    if target.twin:
        raise UnprovenError("a twin has the controller's clock")
    told = facts.told("time")
    assert told["running"], "no service sets the clock"
    assert told["synchronised"], f"{', '.join(told['running'])} runs and has not reached a server"
    evidence(f"kept by {', '.join(told['running'])}")


@pytest.mark.check(
    id="clock.alone",
    title="Without a time server, the clock is within a minute of this machine's, and the hardware clock with it",
    severity="major",
    remedy="On the box, by a clock that is right: timedatectl set-ntp false; "
    "timedatectl set-time 'YYYY-MM-DD hh:mm:ss'; timedatectl set-ntp true. That sets both clocks.",
    needs="without_time_server",
)
def test_clock_that_nobody_sets(shell: BoxShell, facts: Facts, target: VerifyHost, evidence: Evidence) -> None:
    if target.shares_kernel:
        raise UnprovenError("a twin has the controller's clock")
    offset, round_trip = compared(shell)
    assert abs(offset) <= clock.MOST_FREE_OFFSET_S, f"it is {clock.told(offset)} this machine's clock"
    read = facts.told("hardware_clock")
    trouble = clock.hardware_trouble(read["hardware"], read["system"])
    assert not trouble, trouble
    found = f"it is {clock.told(offset)} this machine's" if offset else "no difference can be told"
    evidence(f"{found}, over a round trip of {round_trip:.1f} s; nothing corrects it between two verifications")


def compared(shell: BoxShell) -> tuple[float, float]:
    """How far the box's clock is ahead of this machine's at the least, and the round trip, in seconds."""
    before = time.time()
    there = shell.python(_CLOCK, None)
    after = time.time()
    return clock.offset(before, there, after), after - before


@pytest.mark.check(
    id="disks.room",
    title="Every file system has room left and takes writes",
    severity="major",
    remedy="On the box: du -xh --max-depth=2 MOUNT; models, logs and images are the large things. If read-only: dmesg.",
)
def test_room(facts: Facts, target: VerifyHost, evidence: Evidence) -> None:
    percent = target.profile.monitoring.disk_free_alert_percent
    places = facts.told("room")
    assert places, "no file system was found"
    of_controller = {one["path"]: target.twin and one["type"] == "overlay" for one in places}
    told = [disks.trouble(one, percent, borrowed=of_controller[one["path"]]) for one in places]
    wrong = list(filter(None, told))
    assert not wrong, ", ".join(wrong)
    evidence(", ".join(f"{one['path']} {disks.free_percent(one):.0f} % free" for one in places))


@pytest.mark.check(
    id="disks.health",
    title="No disk says that it fails, and no file system has counted errors",
    severity="critical",
    remedy="Save what is on the disk, then on the box: smartctl -a DEVICE; journalctl -k; exchange the disk.",
)
def test_health(facts: Facts, target: VerifyHost, evidence: Evidence) -> None:
    if target.twin:
        raise UnprovenError("a twin's disk is the controller's")
    counters, told = facts.told("counters"), facts.told("smart")
    wrong = disks.breaches(counters, told or {})
    assert not wrong, "; ".join(wrong)
    telling = disks.telling(told or {})
    if not telling:
        why = "smartctl is not installed, and no disk is an NVMe one" if told is None else "no disk tells of its health"
        raise UnprovenError(f"{why}; {len(counters)} file systems have counted no errors")
    evidence(f"{', '.join(telling)} say that they are well; {len(counters)} file systems have counted no errors")


@pytest.mark.check(
    id="logs.errors",
    title="No program has written an error to the journal since the box booted, in the last week",
    severity="minor",
    remedy="On the box: journalctl -b -p err. When it is mended: journalctl --rotate --vacuum-time=1s, or wait a week.",
)
def test_errors_in_the_journal(facts: Facts, evidence: Evidence) -> None:
    entries = facts.told("errors")
    assert facts.told("boot_entries"), "the journal has no entry of this boot"
    found = [entry for entry in journal.errors(entries) if entry["who"] != "kernel"]
    assert not found, journal.summary(found)
    evidence(f"{len(entries)} entries of priority err, each of a kind that docs/checks.md explains")


@pytest.mark.check(
    id="logs.kernel",
    title="The kernel has told of no part that fails, of no memory that ran out, and of no fault of its own",
    severity="major",
    remedy="On the box: journalctl -k -b tells what came before it. A disk, card or module that fails is for exchange.",
)
def test_faults_in_the_kernel_log(facts: Facts, target: VerifyHost, evidence: Evidence) -> None:
    if target.twin:
        raise UnprovenError("a twin runs the controller's kernel, and does not see what it says")
    entries = facts.told("kernel")
    assert entries, "the journal has no word of the kernel"
    found = journal.faults(entries)
    about = ", ".join(sorted({what for _, what in found}))
    assert not found, f"{about}: {journal.summary([entry for entry, _ in found])}"
    evidence(f"{len(entries)} messages since the box booted, none of a fault")

"""The role storage on twins with real block devices: sparse files behind loop devices of the controller."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from disk_bench import DISKS, IDS, STRANGERS, Disks, attach, fill, name_disks, spec
from role_bench import Bench, Run, role_bench

from boxwright.errors import UnreachableError
from boxwright.lab import RunningTwin

# Tests of profiles take the role through a first and a second run every time; its variants and faults are for the
# weekly run.
pytestmark = [pytest.mark.lab, pytest.mark.on_demand, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def disks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Disks]:
    with ExitStack() as stack:
        yield attach(stack, tmp_path_factory.mktemp("disks"), ["bookworm", "trixie"])


@pytest.fixture(scope="module")
def bench(disks: Disks, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("storage")
    specs = [spec("bookworm", "debian-12", disks), spec("trixie", "debian-13", disks)]
    with role_bench("storage", specs, folder, packages=True) as bench:
        name_disks(bench, disks)
        bench.variables |= wanted("data") | {"erase": [], "off_system_disk": ["/srv/data/models"]}
        yield bench


def wanted(*names: str, **paths: str) -> dict[str, Any]:
    """The role's variable for these disks, at /srv/NAME or where `paths` says."""
    places = {name: f"/srv/{name}" for name in names} | paths
    return {
        "file_systems": [
            {"name": name, "device": f"{IDS}{name}", "mount_point": place} for name, place in places.items()
        ]
    }


def mounted(bench: Bench, name: str) -> list[list[str]]:
    """Type, label and options of what is mounted at /srv/NAME of each twin."""
    return [
        text.split() for text in bench.everywhere(f"findmnt --noheadings -o FSTYPE,LABEL,OPTIONS -M /srv/{name}; true")
    ]


def reboot(bench: Bench, *twins: RunningTwin) -> None:
    """Reboot twins, and wait until they are up again."""
    read = "cat /proc/sys/kernel/random/boot_id"
    before = [bench.on(twin, read) for twin in twins]
    for twin in twins:
        bench.on(twin, "systemd-run --quiet --on-active=1 systemctl reboot")
    deadline = time.monotonic() + 90
    for twin, boot in zip(twins, before, strict=True):
        now = boot
        while now == boot:
            assert time.monotonic() < deadline, f"{twin.name} did not come back"
            time.sleep(0.5)
            with suppress(UnreachableError):
                now = bench.on(twin, read)
        bench.on(twin, "systemctl is-system-running --wait >/dev/null; true")


def test_a_dry_run_on_blank_disks_tells_what_it_would_make(bench: Bench, disks: Disks) -> None:
    before = disks.checksums(*DISKS)
    told = bench.run("--check", "--diff").well()
    assert f"would make ext4 on {IDS}data (67.1 MB); mount {IDS}data at /srv/data" in told.output
    assert told.changed >= 2
    assert disks.checksums(*DISKS) == before
    assert bench.everywhere("ls -d /srv/data /etc/systemd/system/srv-* 2>/dev/null; true") == ["", ""]


def test_a_blank_disk_is_formatted_and_mounted(bench: Bench) -> None:
    first = bench.run().well()
    assert "not provable in a container: that no disk is the one of the system" in first.output
    for kind, label, options in mounted(bench, "data"):
        assert (kind, label) == ("ext4", "BOXWRIGHT-data")
        assert "noatime" in options.split(",")
    assert bench.everywhere("stat -c '%a %U %G' /srv/data") == ["755 root root\n"] * 2
    bench.everywhere("echo kept > /srv/data/witness")
    bench.run("--check").well(changed=0)
    # A confirmation that is left over changes nothing, and is told.
    left = bench.run(erase=[f"{IDS}data"]).well(changed=0)
    assert f"{IDS}data is formatted: take it out of erase_disks in the site" in left.output
    assert bench.everywhere("cat /srv/data/witness") == ["kept\n"] * 2


def test_the_file_system_comes_back_with_the_machine_and_its_loss_does_not_stop_the_boot(
    bench: Bench, disks: Disks
) -> None:
    poor, rich = bench.twins
    bench.on(poor, "sed -i '/ data$/d' /etc/lab-disks")
    reboot(bench, poor, rich)
    assert bench.on(rich, "cat /srv/data/witness") == "kept\n"
    assert "srv-data.mount" in bench.on(poor, "systemctl list-units --failed --plain --no-legend")
    assert bench.on(poor, "systemctl is-active multi-user.target").strip() == "active"
    bench.on(poor, f"echo '{Path(disks[poor.name, 'data'].node).name} data' >> /etc/lab-disks; sleep 2")
    bench.run().well(changed=1)
    assert bench.everywhere("cat /srv/data/witness") == ["kept\n"] * 2


def test_drift_and_runs_that_died_are_made_good(bench: Bench) -> None:
    """One twin is as a run leaves it that dies after mkfs; the other has its unit, disabled and unmounted."""
    bench.everywhere("cp /etc/systemd/system/srv-data.mount /root; systemctl --quiet disable --now srv-data.mount")
    bench.on(bench.twins[0], "rm /etc/systemd/system/srv-data.mount; systemctl daemon-reload; rmdir /srv/data")
    shown = bench.run("--check").well(changed=3)  # the unit and twice the mount
    assert f"would mount {IDS}data at /srv/data" in shown.output
    bench.run().well(changed=3)
    assert bench.everywhere("cat /srv/data/witness; systemctl is-enabled srv-data.mount") == ["kept\nenabled\n"] * 2
    assert bench.everywhere("diff /root/srv-data.mount /etc/systemd/system/srv-data.mount") == ["", ""]
    bench.run().well(changed=0)


def test_xfs(bench: Bench) -> None:
    """Its label is shorter; the tools come with the first need."""
    bench.run(file_system="xfs", **wanted("big")).well()
    assert [found[:2] for found in mounted(bench, "big")] == [["xfs", "BOXWRIGHT-bi"]] * 2
    assert bench.everywhere("stat -c '%a %U %G' /srv/big") == ["755 root root\n"] * 2
    bench.run(file_system="xfs", **wanted("big")).well(changed=0)
    # The profile changes the type: what is there is no blank disk, though the label is ours.
    bench.run(**wanted("big")).refused("xfs labelled 'BOXWRIGHT-bi', mounted at /srv/big")
    bench.everywhere("systemctl --quiet disable --now srv-big.mount")


HELD = {
    "old": "67.1 MB) is not blank: ext4 labelled 'old-data'. Nothing was changed.",
    "table": "67.1 MB) is not blank: a dos partition table, partition /dev/loop",
    "volume": "67.1 MB) is not blank: LVM2_member. Nothing was changed.",
    "bytes": "67.1 MB) is not blank: bytes of no known kind in its first or last MiB. Nothing was changed.",
}


@pytest.fixture(scope="module")
def strangers(bench: Bench, disks: Disks) -> list[str]:
    fill(bench, disks)
    return disks.checksums(*STRANGERS)


def refused_for_each(run: Run) -> None:
    for name, words in HELD.items():
        run.refused(words)
        run.refused(f"`erase_disks: [{IDS}{name}]`")


def test_disks_that_hold_data_are_refused_and_untouched(bench: Bench, disks: Disks, strangers: list[str]) -> None:
    refused_for_each(bench.run("--check", **wanted(*STRANGERS)))
    # A confirmation counts for the very path that it names.
    nearly = [f"{IDS}data", *(disk.node for disk in disks.named(*STRANGERS)), *(f"{IDS}{one}x" for one in STRANGERS)]
    refused_for_each(bench.run(erase=nearly, **wanted("data", *STRANGERS)))
    assert disks.checksums(*STRANGERS) == strangers
    assert bench.everywhere("cat /srv/data/witness") == ["kept\n"] * 2


def test_a_confirmed_disk_in_use_is_refused_and_untouched(bench: Bench, disks: Disks, strangers: list[str]) -> None:
    """One twin has it mounted; at the other it is mounted where the twin does not see it."""
    seen, unseen = bench.twins
    bench.on(seen, f"mount -o ro,noload {IDS}old /mnt")
    node = disks[unseen.name, "old"].node
    hidden = subprocess.Popen(
        ["unshare", "--mount", "sh", "-c", f"mount -o ro,noload {node} /mnt && echo there && exec sleep 300"],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert hidden.stdout
        assert hidden.stdout.readline() == "there\n"
        ended = bench.run(erase=[f"{IDS}old"], **wanted("old"))
    finally:
        hidden.kill()
        hidden.communicate()
        bench.on(seen, "umount /mnt")
    ended.refused("may be erased, but is in use: mounted at /mnt. Unmount it first")
    ended.refused("may be erased, but is in use: something that does not show here: another namespace, or a pool")
    assert disks.checksums(*STRANGERS) == strangers


def test_the_disk_of_the_system_is_refused_though_confirmed(bench: Bench, disks: Disks, strangers: list[str]) -> None:
    bench.everywhere(f"mkdir -p /boot; mount -o ro,noload {IDS}old /boot")
    ended = bench.run(erase=[f"{IDS}old"], **wanted("old"))
    bench.everywhere("umount /boot")
    ended.refused("lies on a disk of the system (loop")
    ended.refused(f"{IDS}data (67.1 MB, holds ext4 labelled 'BOXWRIGHT-data', mounted at /srv/data)")
    ended.refused(f"{IDS}old (67.1 MB, the disk of the system)")
    assert disks.checksums(*STRANGERS) == strangers


@pytest.fixture
def machines(bench: Bench, strangers: list[str]) -> Iterator[None]:
    """Twins that take themselves for machines, because systemd-detect-virt is made to say so."""
    bench.everywhere("mv /usr/bin/systemd-detect-virt /root; ln -s /bin/false /usr/bin/systemd-detect-virt")
    yield
    bench.everywhere("mv /root/systemd-detect-virt /usr/bin/systemd-detect-virt; umount --quiet /boot; true")


def test_a_machine_must_know_its_system_disk_and_keep_it_free(bench: Bench, machines: None) -> None:
    folders = ["/srv/models", "/srv/data/docker"]
    bench.run(erase=[f"{IDS}big"], **wanted("big")).refused("no disk could be found that the root file system lies on")
    bench.everywhere(f"mount -o ro,noload {IDS}old /boot")  # from here on the system's disk is known
    astray = bench.run(off_system_disk=folders)
    astray.refused("/srv/models would lie on the file system of the root, and fill it.")
    astray.refused("`hosts: - disks: {data: /dev/disk/by-id/…}`. Disks of this machine: /dev/disk/by-id/ata-LAB_big")
    planned = wanted("data", big="/srv/models")
    told = bench.run("--check", erase=[f"{IDS}big"], off_system_disk=folders, **planned).well()
    assert f"would erase {IDS}big, which holds xfs labelled 'BOXWRIGHT-bi'; make ext4 on {IDS}big" in told.output
    bench.run(erase=[f"{IDS}big"], off_system_disk=folders, **planned).well()
    assert bench.everywhere("findmnt --raw --noheadings -o FSTYPE,LABEL /srv/models") == ["ext4 BOXWRIGHT-big\n"] * 2


def test_what_cannot_be_is_refused(bench: Bench, strangers: list[str]) -> None:
    gone = bench.run(**wanted("data", "gone", "file"))
    gone.refused(f"{IDS}gone is not there. Disks of this machine: {IDS}big (336 MB, holds ext4 labelled")
    gone.refused("Name the one for 'gone' in the site: `hosts: - disks: {gone: /dev/disk/by-id/…}`.")
    gone.refused(f"{IDS}file is no block device.")
    bench.everywhere(f"ln -s ata-LAB_data {IDS}alias")
    bench.run(**wanted("data", "alias")).refused("Two of these are the same disk")
    bench.run(**wanted(data="/srv/elsewhere")).refused("is not at /srv/elsewhere: mounted at /srv/data. Unmount it")
    for place in ("/srv/../etc", "/srv/data"):
        plain = bench.run(**wanted("data", big=place))
        plain.refused(
            f"Mount points are folders below the root, written plainly, and each is there once: /srv/data, {place}."
        )
    uuids = bench.everywhere(f"blkid -p -s UUID -o value {IDS}old")
    by_uuid = {"name": "old", "device": f"/dev/disk/by-uuid/{uuids[0].strip()}", "mount_point": "/srv/old"}
    bench.run("--limit", bench.twins[0].name, erase=[by_uuid["device"]], file_systems=[by_uuid]).refused(
        "is the name of a file system, and would be gone once the disk is formatted"
    )


def test_a_mount_point_that_is_not_free_is_refused(bench: Bench) -> None:
    bench.everywhere("umount /srv/data")
    try:
        bench.everywhere("touch /srv/data/a /srv/data/b /srv/data/c; mkdir /srv/data/d /srv/data/e")
        full = bench.run()
        bench.everywhere("rm -r /srv/data/*; mount -t tmpfs none /srv/data")
        taken = bench.run()
        bench.everywhere("umount /srv/data; ln -s data /srv/link")
        link = bench.run(**wanted(data="/srv/link"))
    finally:
        bench.run().well(changed=2)
    full.refused(f"/srv/data is not empty, and mounting {IDS}data there would hide a, b, c and 2 more. Move that away")
    taken.refused("/srv/data is taken by none: unmount or remove that")
    link.refused("/srv/link is a symbolic link to /srv/data: unmount or remove that")


def test_a_confirmation_erases_whatever_is_there(bench: Bench, disks: Disks, strangers: list[str]) -> None:
    confirmed = {"erase": [f"{IDS}{name}" for name in STRANGERS]} | wanted("data", *STRANGERS)
    bench.run(**confirmed).well()
    for name in STRANGERS:
        assert [found[:2] for found in mounted(bench, name)] == [["ext4", f"BOXWRIGHT-{name}"]] * 2
        assert bench.everywhere(f"ls /srv/{name}") == ["lost+found\n"] * 2
    assert not any(list(Path("/sys/class/block").glob(f"{Path(disk.node).name}p*")) for disk in disks.named("table"))
    assert bench.everywhere("cat /srv/data/witness") == ["kept\n"] * 2
    bench.run(**confirmed).well(changed=0)

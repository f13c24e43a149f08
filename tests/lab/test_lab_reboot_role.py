"""The role reboot on twins that really reboot."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from lab_command import Boxwright
from role_bench import Bench, role_bench

from boxwright.errors import Exit
from boxwright.lab import TwinSpec
from boxwright.model.hardware import Cpu, Hardware
from boxwright.transport.ssh import Endpoint, check

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]

HARDWARE = Hardware(cpu=Cpu(cores_per_socket=2), memory_gib=4, disk_gib=4)
BOOT = "cat /proc/sys/kernel/random/boot_id"
DUE = "mkdir -p /run/boxwright/reboot-due; echo 'the kernel runs without iommu=pt' > /run/boxwright/reboot-due/kernel"


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    specs = [TwinSpec("bookworm", "debian-12", HARDWARE), TwinSpec("trixie", "debian-13", HARDWARE)]
    with role_bench("reboot", specs, tmp_path_factory.mktemp("reboot")) as bench:
        yield bench


def test_without_a_reason_nothing_happens(bench: Bench) -> None:
    before = bench.everywhere(BOOT)
    bench.run().well(changed=0)
    assert bench.everywhere(BOOT) == before


def test_a_reboot_that_may_not_be_is_told(bench: Bench) -> None:
    before = bench.everywhere(BOOT)
    bench.everywhere(DUE)
    told = bench.run(when="never").well(changed=0)
    assert "kernel: the kernel runs without iommu=pt" in told.output
    assert bench.run("--check").well().changed == 2  # one for each machine
    assert bench.everywhere(BOOT) == before


def test_the_machine_reboots_once_and_the_run_goes_on(bench: Bench) -> None:
    before = bench.everywhere(BOOT)
    bench.everywhere(DUE)
    bench.run().well()
    after = bench.everywhere(BOOT)
    assert all(now != then for now, then in zip(after, before, strict=True))
    bench.run().well(changed=0)
    assert bench.everywhere(BOOT) == after


def test_a_reason_that_a_reboot_did_not_remove_is_an_error(bench: Bench) -> None:
    before = bench.everywhere(BOOT)
    bench.everywhere(DUE)
    bench.run().refused("rebooted before for the same reason, and it still stands: kernel: the kernel runs without")
    assert bench.everywhere(BOOT) == before


@pytest.mark.parametrize("twin_site", [("test-rebooting", "debian-12")], indirect=True, ids=["12"])
def test_a_run_goes_on_after_the_reboot_and_still_holds_its_lock(boxwright: Boxwright, twin_site: str) -> None:
    assert boxwright("lab.up", "--site", twin_site).code == Exit.OK
    (twin,) = boxwright("lab.status", "--site", twin_site).kind("twin")
    lab = Path(boxwright.environment["BOXWRIGHT_STATE"], "lab", "test-rebooting")
    endpoint = Endpoint(twin["name"], twin["address"], 22, "root", lab / "id_ed25519", lab / "known_hosts", 5)
    check(endpoint, DUE)
    words = ("--profile", "lab", "--site", twin_site, "--yes")
    before = check(endpoint, BOOT)
    first = boxwright.start("provision", *words, "--stages", "base,reboot,gateway", "--json")
    assert first.stdout
    rebooted = False
    for line in first.stdout:
        rebooted = rebooted or '"Verify that the machine has rebooted"' in line
        if rebooted and '"gateway"' in line:
            break
    refused = boxwright("provision", *words, "--stages", "base")
    assert refused.code == Exit.LOCKED, refused.text[-2000:]
    out, _ = first.communicate(timeout=300)
    assert first.returncode == Exit.OK, out[-3000:]
    assert check(endpoint, BOOT) != before
    assert check(endpoint, "systemctl is-active nginx").strip() == "active"

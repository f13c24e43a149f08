"""Which words of a journal are errors, and which faults of a machine they tell of."""

from __future__ import annotations

import pytest

from boxwright.verification.journal import FAULTS, HARMLESS, errors, faults, summary


def entry(who: str, message: str) -> dict[str, object]:
    return {"at": 0.0, "unit": "", "who": who, "message": message}


@pytest.mark.parametrize(
    ("who", "message"),
    [  # the first two are of freshly provisioned twins
        ("sshd", "error: kex_exchange_identification: Connection closed by remote host"),
        ("sshd-session", "pam_env(sshd:session): Unable to open env file: /etc/default/locale"),
        ("sshd", "error: maximum authentication attempts exceeded for invalid user admin from 10.0.0.9 port 4 ssh2"),
        ("systemd-ssh-generator", "Failed to query local AF_VSOCK CID: Cannot assign requested address"),
        ("(sd-exec-", "/usr/lib/systemd/system-generators/systemd-ssh-generator failed with exit status 1."),
        ("systemd", "Failed to start llama-server.service - llama.cpp server."),
    ],
)
def test_what_a_healthy_box_writes_is_no_error(who: str, message: str) -> None:
    assert errors([entry(who, message)]) == []


@pytest.mark.parametrize(
    ("who", "message"),
    [
        ("payroll", "cannot reach the database"),
        ("payroll", "kex_exchange_identification: Connection closed"),
        ("(sd-exec-", "/usr/lib/systemd/system-generators/systemd-fstab-generator failed with exit status 1."),
        ("systemd", "Caught <SEGV>, dumped core as pid 12."),
        ("sshd", "fatal: no hostkeys available -- exiting."),
    ],
)
def test_other_errors_are(who: str, message: str) -> None:
    assert errors([entry(who, message)]) == [entry(who, message)]


@pytest.mark.parametrize(
    ("message", "about"),
    [
        ("blk_update_request: I/O error, dev sda, sector 2048 op 0x0:(READ)", "a disk"),
        ("nvme nvme0: I/O 128 QID 4 timeout, aborting", "a disk"),
        ("EXT4-fs error (device nvme0n1p2): ext4_lookup:1855: inode #2: comm ls: deleted inode", "a file system"),
        ("mce: [Hardware Error]: Machine check events logged", "a processor"),
        ("EDAC MC0: 1 UE memory read error on CPU_SrcID#0", "memory"),
        ("pcieport 0000:00:01.0: AER: Uncorrectable (Fatal) error message received", "a PCIe link"),
        ("NVRM: Xid (PCI:0000:41:00): 79, pid=0, GPU has fallen off the bus.", "an accelerator card"),
        ("Out of memory: Killed process 4242 (llama-server) total-vm:1kB", "memory ran out"),
        ("INFO: task kworker/3:1:99 blocked for more than 120 seconds.", "a stuck task"),
        ("BUG: unable to handle page fault for address: ffff", "the kernel itself"),
    ],
)
def test_the_kernel_tells_of_what_fails(message: str, about: str) -> None:
    ((found, what),) = faults([entry("kernel", message)])
    assert (found["message"], what) == (message, about)


@pytest.mark.parametrize(
    "message",
    [
        "nvme nvme0: 8/0/0 default/read/poll queues",
        "EDAC MC: Ver: 3.0.0",
        "NVRM: loading NVIDIA UNIX Open Kernel Module for x86_64  580.95.05",
        "EXT4-fs (nvme0n1p2): mounted filesystem with ordered data mode",
        "mce: CPU0: Thermal monitoring enabled (TM1)",
        "AER: Corrected error message received from 0000:40:01.1",
        "boxwright drop: IN=eth0 OUT= SRC=10.0.0.9",
    ],
)
def test_a_good_boot_has_no_fault(message: str) -> None:
    assert faults([entry("kernel", message)]) == []


def test_every_kind_has_a_reason() -> None:
    assert all(kind.reason for kind in (*HARMLESS, *FAULTS))


def test_alike_errors_are_told_once() -> None:
    many = [entry("a", "no room"), entry("b", "x"), entry("a", "no room")]
    assert summary(many) == "a: no room (x2); b: x"
    assert summary(many, most=1).endswith("; and 1 more")

"""What in a box's journal is an error that a person must see. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Entry = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of entry: who writes it and what it says, as regular expressions, and why it is taken as it is."""

    who: str
    says: str
    reason: str

    def fits(self, entry: Entry) -> bool:
        """Whether an entry is of this kind."""
        return bool(re.fullmatch(self.who, entry["who"]) and re.search(self.says, entry["message"]))


_SSHD = r"sshd(-session|-auth)?"
# Written as errors, and none of a box that is as it should be.
HARMLESS = (
    Kind(_SSHD, r"kex_exchange_identification|kex_protocol_error|banner exchange", "somebody tried the port and went"),
    Kind(_SSHD, r"maximum authentication attempts|PAM: (Authentication failure|User not known)|Received disconnect",
         "somebody was refused, as he should be"),
    Kind(_SSHD, r"Connection (closed|reset)|Broken pipe|beginning MaxStartups throttling|Timeout before authentication",
         "a client went away"),
    Kind(r".*", r"^pam_env\(.*\): Unable to open env file: /etc/default/locale", "minimal systems have no locale file"),
    Kind(r"systemd", r"^Failed to start |^Failed to listen on ", "services.failed tells of units that have failed"),
    Kind(r"systemd-coredump", r"^Process .* dumped core", "services.steady tells of services that fell over"),
    Kind(r"systemd-ssh-generator", r"^Failed to query local AF_VSOCK CID: ",
         "a virtual machine of systemd 257 whose host gives it no such address"),
    Kind(r"\(sd-exec-.*", r"/systemd-ssh-generator failed with exit status 1\.$", "what failed there, it says itself"),
    Kind(r"sudo", r"a password is required|incorrect password|command not allowed", "somebody was refused"),
)  # fmt: skip

# What the kernel says of parts that fail, of memory that ran out, and of its own faults, at whatever priority.
FAULTS = (
    Kind("kernel", r"I/O error|critical (medium|target) error|failed command: |Buffer I/O error", "a disk"),
    Kind("kernel", r"EXT4-fs error|XFS .*(corruption|metadata I/O error)|BTRFS (error|critical)|Remounting filesystem",
         "a file system"),
    Kind("kernel", r"nvme\d+.*(timeout|resetting controller|Device not ready|Removing after probe failure)", "a disk"),
    Kind("kernel", r"\[Hardware Error\]|Machine check events logged|mce: .*CPU.*Machine Check", "a processor"),
    Kind("kernel", r"EDAC .*\bUE\b|Uncorrected (memory )?error|memory failure: ", "memory"),
    Kind("kernel", r"AER: .*(Uncorrect|Fatal)|PCIe Bus Error: severity=Uncorrect", "a PCIe link"),
    Kind("kernel", r"NVRM: (Xid|.*fallen off the bus)", "an accelerator card"),
    Kind("kernel", r"Out of memory: Killed process|oom-kill:", "memory ran out"),
    Kind("kernel", r"blocked for more than \d+ seconds|soft lockup|hard LOCKUP|rcu.*detected stalls", "a stuck task"),
    Kind("kernel", r"\bBUG: |\bOops: |general protection fault|kernel panic|Call Trace after ", "the kernel itself"),
    Kind("kernel", r"temperature above threshold, cpu clock throttled", "heat"),
)  # fmt: skip


def errors(entries: Sequence[Entry]) -> list[Entry]:
    """The entries that nobody has explained."""
    return [entry for entry in entries if not any(kind.fits(entry) for kind in HARMLESS)]


def faults(entries: Sequence[Entry]) -> list[tuple[Entry, str]]:
    """What the kernel tells of something that fails, each with what it is about."""
    found = []
    for entry in entries:
        about = next((kind.reason for kind in FAULTS if kind.fits(entry)), "")
        if about:
            found.append((entry, about))
    return found


def summary(entries: Sequence[Entry], *, most: int = 4) -> str:
    """The entries in few words: alike ones once, with their number."""
    words = Counter(f"{_source(entry)}: {' '.join(entry['message'].split())[:140]}" for entry in entries)
    shown = [f"{text} (x{count})" if count > 1 else text for text, count in words.most_common(most)]
    return "; ".join(shown) + (f"; and {len(words) - most} more" if len(words) > most else "")


def _source(entry: Entry) -> str:
    return entry["who"] or entry["unit"] or "somebody"

"""The programs that load a box: their command lines, and what they say of themselves. Pure."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from boxwright.errors import BoxwrightError
from boxwright.model.catalogue import GIB

MIB = 1 << 20
_MEMORY_LEFT = 0.1  # of what is available, to everybody else; a GiB at least
_LEAST_MEMORY = 128 * MIB
_DISK_LEFT = 0.05  # of a file system, likewise
_LEAST_FILE, _LARGEST_FILE = 256 * MIB, 16 * GIB
_FILE_PER_SECOND = 20 * MIB  # so that a disk of former days comes through once in its time, too


@dataclass(frozen=True)
class Ended:
    """How a program on the box ended.

    Attributes:
        code: Its exit code; negative where a signal ended it.
        out: The end of what it said.
        late: Whether it was ended, as its time was over.
        seconds: How long it ran.
    """

    code: int
    out: str
    late: bool
    seconds: float


@dataclass(frozen=True)
class Worked:
    """What `stress-ng` tells of its work.

    Attributes:
        failures: What it found wrong, one sentence each.
        per_second: Its own units of work a second; None where it tells none.
    """

    failures: tuple[str, ...]
    per_second: float | None


def cpu(seconds: int) -> list[str]:
    """Every method that stress-ng has for processors, on all of them, whose results it verifies."""
    return [*_stress_ng(seconds), "--cpu", "0", "--cpu-method", "all"]


def memory(seconds: int, processors: int, size: int) -> list[str]:
    """Every pattern that stress-ng has for memory, written and read back, by every processor on its part."""
    workers = max(1, min(processors, size // (64 * MIB)))
    return [*_stress_ng(seconds), "--vm", str(workers), "--vm-bytes", str(size), "--vm-method", "all", "--vm-keep"]


def _stress_ng(seconds: int) -> list[str]:
    return ["stress-ng", "--verify", "--metrics-brief", "--temp-path", ".", "--timeout", f"{seconds}s"]


def memory_size(available: int, host: str) -> int:
    """How much memory is taken of so much.

    Raises:
        BoxwrightError: There is too little.
    """
    size = available - max(GIB, int(available * _MEMORY_LEFT))
    if size < _LEAST_MEMORY:
        raise BoxwrightError(
            f"{available / GIB:.1f} GiB of memory are available, and a burn-in leaves 1 GiB to what serves",
            where=host,
            hint="Stop what serves for the time of the burn-in, or leave memory out: --only.",
        )
    return size


def file_size(free: int, total: int, seconds: int, where: str) -> int:
    """How large a file is written to a disk.

    Raises:
        BoxwrightError: There is no room for one.
    """
    size = min(_LARGEST_FILE, max(_LEAST_FILE, seconds * _FILE_PER_SECOND), free - max(GIB, int(total * _DISK_LEFT)))
    if size < _LEAST_FILE:
        raise BoxwrightError(
            f"{free / GIB:.1f} GiB of {total / GIB:.1f} are free, which is too little for a file that is written to",
            where=where,
            hint="./invoke models.clean removes models that are not served; or leave disk out: --only.",
        )
    return size // MIB * MIB


def disk(file: str, size: int, seed: int, *, direct: bool) -> list[str]:
    """Write a file whole with what changes from run to run, read it back, and hold it against its checksums."""
    return [
        "fio", "--name=burn-in", f"--filename={file}", "--allow_file_create=0", f"--size={size}", "--bs=1M",
        "--rw=write", "--ioengine=libaio", "--iodepth=8", f"--direct={int(direct)}", f"--randseed={seed}",
        "--verify=crc32c", "--do_verify=1", "--verify_fatal=0", "--continue_on_error=verify",
        "--verify_state_save=0", "--end_fsync=1", "--output-format=json",
    ]  # fmt: skip


@dataclass(frozen=True)
class Pass:
    """One time that a disk's file was written and read back.

    Attributes:
        failure: What went wrong; empty where every byte came back.
        written, read: MB/s; None where it did not come so far.
    """

    failure: str
    written: float | None = None
    read: float | None = None


def disk_pass(ended: Ended) -> Pass:
    """What `fio` tells of a pass."""
    said = ended.out
    try:
        job = json.loads(said[said.index("{") : said.rindex("}") + 1])["jobs"][0]
        errors = int(job["error"]) or int(job.get("total_err", 0))
        rates = [job[way]["bw_bytes"] / 1e6 if job[way]["io_bytes"] else None for way in ("write", "read")]
    except (ValueError, KeyError, IndexError, TypeError):
        return Pass(f"fio ended with code {ended.code} and told nothing: {last_words(said)}")
    if ended.late:
        return Pass("it was not through within four times its time", *rates)
    if ended.code or errors:
        return Pass(f"fio ended with code {ended.code}, error {errors}: {last_words(said[: said.index('{')])}", *rates)
    return Pass("", *rates)


def worked(ended: Ended, kind: str) -> Worked:
    """What `stress-ng` tells; `kind` is its stressor, `cpu` or `vm`."""
    failures = [line.split(": fail:", 1)[1].strip() for line in ended.out.splitlines() if ": fail:" in line]
    if ended.late:
        failures.append("it did not end at the end of its time")
    elif ended.code and not failures:
        failures.append(f"stress-ng ended with code {ended.code}: {last_words(ended.out)}")
    row = re.search(rf"\] {kind} +\d+ +[\d.]+ +[\d.]+ +[\d.]+ +([\d.]+)", ended.out)
    if not row and not failures:
        failures.append(f"stress-ng told nothing of its work: {last_words(ended.out)}")
    return Worked(tuple(failures), float(row[1]) if row else None)


def serving(address: str) -> list[str]:
    """An iperf3 that answers on the address between nodes alone."""
    return ["iperf3", "--server", "--bind", address]


def sending(address: str, seconds: int, *, back: bool) -> list[str]:
    """An iperf3 that sends to a node, or has it send back, over four streams."""
    way = ["--reverse"] if back else []
    return ["iperf3", "--client", address, "--time", str(seconds), "--parallel", "4", "--json", *way]


def sent(ended: Ended) -> tuple[float | None, str]:
    """Gbit/s that arrived by `iperf3`, or None and why there are none."""
    try:
        data = json.loads(ended.out[ended.out.index("{") :])
        if "error" in data:
            return None, str(data["error"])
        return data["end"]["sum_received"]["bits_per_second"] / 1e9, ""
    except (ValueError, KeyError, TypeError):
        return None, f"iperf3 ended with code {ended.code}: {last_words(ended.out)}"


def last_words(text: str) -> str:
    """The last line that a program said."""
    return (text.strip().rpartition("\n")[2] or "it said nothing")[:200]

"""The process behind a running twin: mounts its disk, serves its kernel view, runs it, boots it on reboot.

    python -m boxwright.lab.supervisor ORDER.json

It lives in the twin's network namespace, in the twin's control group, and in a mount namespace of its own:
nothing that it mounts is seen on the controller, or outlives it.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from boxwright.lab import fuse
from boxwright.lab.cgroups import joining, own_groups
from boxwright.lab.kernel_view import KernelView

_REBOOT = 133  # the exit status with which nspawn says that the guest asked for a reboot
_FOR_CONTAINERS = ("--bind=/dev/fuse", "--system-call-filter=add_key keyctl bpf")
GUEST_VENDORS = "/srv/simulated-vendors"
GUEST_VIEWS = "/run/boxwright-twin"


@dataclass(frozen=True)
class Order:
    """What to run. Written by the lab, read by the supervisor."""

    machine: str
    hostname: str
    root: str  # where the disk is mounted
    layers: tuple[str, ...]  # read-only layers of the disk, the topmost first
    disk: str  # folder of what the twin writes
    disk_mib: int | None  # size of a disk in memory, instead of the folder on the controller's disk
    containers: str | None  # folder for the data of containers in the twin; none: it cannot run any
    vendors: str | None  # folder of the simulated vendors
    devices: tuple[str, ...]  # block devices of the controller that are the twin's
    views: str  # where the views are mounted
    view_files: str  # the generated ones, as `dump_files` writes them

    def dump(self) -> str:
        """As JSON."""
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def load(cls, text: str) -> Order:
        """From JSON."""
        values = json.loads(text)
        return cls(**{**values, "layers": tuple(values["layers"]), "devices": tuple(values["devices"])})


def dump_files(files: Mapping[str, bytes]) -> str:
    """Several files as one JSON text."""
    return json.dumps({path: content.decode("latin-1") for path, content in files.items()})


def load_files(text: str) -> dict[str, bytes]:
    """What `dump_files` wrote."""
    return {path: content.encode("latin-1") for path, content in json.loads(text).items()}


def nspawn_command(order: Order) -> list[str]:
    """The command that boots the twin once. Its first program places the views, then becomes systemd."""
    containers = [] if order.containers is None else [f"--bind={order.containers}:/srv/docker", *_FOR_CONTAINERS]
    return [
        *("systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--link-journal=no"),
        *(f"--machine={order.machine}", f"--hostname={order.hostname}", f"--directory={order.root}"),
        *("--resolv-conf=off", "--timezone=off", "--console=pipe", "--kill-signal=SIGRTMIN+3"),
        f"--network-namespace-path=/proc/{os.getpid()}/ns/net",
        "--capability=CAP_NET_ADMIN,CAP_NET_RAW",
        f"--bind-ro={order.views}:{GUEST_VIEWS}",
        f"--bind={order.views}/kernel:{GUEST_VIEWS}/kernel",
        *containers,
        *([] if order.vendors is None else [f"--bind-ro={order.vendors}:{GUEST_VENDORS}"]),
        *(f"--bind={device}" for device in order.devices),
        *("--", "/bin/sh", f"{GUEST_VIEWS}/init"),
    ]


def main(order_file: str) -> int:
    """Run a twin until it powers off or the lab ends it."""
    os.umask(0o022)
    order = Order.load(Path(order_file).read_text())
    machine_groups = _split_groups()
    _mount_disk(order)
    _mount_views(order)
    view = KernelView()
    descriptor = fuse.mount(Path(order.views) / "kernel")
    threading.Thread(target=fuse.Server(descriptor, view).serve, daemon=True).start()
    status = _REBOOT
    while status == _REBOOT:
        view.forget()
        _say("power on")
        status = _boot(nspawn_command(order), machine_groups)
    _say(f"power off, status {status}")
    return status


def _say(text: str) -> None:
    print(f"[boxwright {time.strftime('%FT%T')}] {text}", flush=True)  # noqa: T201 (the twin's console log)


def _split_groups() -> list[Path]:
    """Move into a leaf of the own control group, and make a second one for nspawn.

    A group that hands controllers to the groups below it may hold no process itself, and nspawn hands them
    down.
    """
    machine = []
    for group in own_groups():
        for leaf in ("supervisor", "machine"):
            (group / leaf).mkdir(exist_ok=True)
        (group / "supervisor" / "cgroup.procs").write_text(str(os.getpid()))
        machine.append(group / "machine")
    return machine


def _mount_disk(order: Order) -> None:
    disk, root = Path(order.disk), Path(order.root)
    if order.disk_mib is not None:
        options = f"size={order.disk_mib}m,mode=0755"
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "boxwright-disk", disk], check=True)
    upper, work = disk / "upper", disk / "work"
    if work.exists():
        shutil.rmtree(work)  # overlayfs refuses what another mount left in it
    for folder in (upper, work):
        folder.mkdir(exist_ok=True)
    upper.chmod(0o755)
    options = f"lowerdir={':'.join(order.layers)},upperdir={upper},workdir={work}"
    subprocess.run(["mount", "-t", "overlay", "-o", options, "boxwright-root", root], check=True)


def _mount_views(order: Order) -> None:
    """Lay out the generated views in memory, with places for the kernel view and for what the twin moves aside."""
    views = Path(order.views)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=0755", "boxwright-views", views], check=True)
    for folder in ("pci", "kernel", "original"):
        (views / folder).mkdir()
    for path, content in load_files(Path(order.view_files).read_text()).items():
        (views / path).parent.mkdir(parents=True, exist_ok=True)
        (views / path).write_bytes(content)


def _boot(command: list[str], groups: list[Path]) -> int:
    """Run nspawn once, passing on a request to end."""
    environment = {
        "PATH": os.environ["PATH"],
        "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1",
        "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "network",
    }
    guest = subprocess.Popen(joining(groups, command), stdin=subprocess.DEVNULL, env=environment)

    def end(_signal: int, _frame: object) -> None:
        for _ in range(2):  # once asks the guest to power off, twice cuts the power
            with suppress(ProcessLookupError):
                guest.send_signal(signal.SIGTERM)
            time.sleep(0.05)

    signal.signal(signal.SIGTERM, end)
    return guest.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))

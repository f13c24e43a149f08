"""Making a container twin: its own files, the views of its hardware, and the order to its supervisor."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType

import boxwright
from boxwright.lab import hardware_view, rootfs
from boxwright.lab.commands import remove_tree, run
from boxwright.lab.network import LabNetwork
from boxwright.lab.places import TwinPlaces
from boxwright.lab.record import record_of
from boxwright.lab.spec import TwinSpec
from boxwright.lab.supervisor import GUEST_VIEWS, Order, dump_files
from boxwright.model.hardware import Hardware
from boxwright.model.site import Mirrors

_PROPAGATED = Path("/run/systemd/nspawn/propagate")

# The guest's first program. It fails loudly: a twin with the controller's hardware would be a false witness.
_INIT = f"""\
#!/bin/sh
set -eu
views={GUEST_VIEWS}
over() {{ if [ -e "$2" ]; then mount --bind "$views/$1" "$2"; fi; }}
over pci /sys/bus/pci/devices
over node /sys/devices/system/node
over cpu /sys/devices/system/cpu
over cpuinfo /proc/cpuinfo
over meminfo /proc/meminfo
if [ ! -e /sys/firmware ]; then # nspawn's /sys has a few folders of the real one only
  mount -o remount,rw /sys
  mkdir /sys/firmware
  mount -o remount,ro /sys
fi
over firmware /sys/firmware
over kernel/thp /sys/kernel/mm/transparent_hugepage
mount --rbind /proc/sys "$views/original"
mount --make-rprivate "$views/original"
over kernel/vm /proc/sys/vm
over kernel/fs /proc/sys/fs
over kernel/kernel /proc/sys/kernel
for own in hostname domainname random; do
  mount --rbind "$views/original/kernel/$own" "/proc/sys/kernel/$own"
done
umount --recursive "$views/original"
exec /lib/systemd/systemd
"""

_NOTICE = """\
This host is a twin: a throw-away container that stands in for a machine of its profile.
Real: systemd, sshd, apt, nftables, the file system, the processor's instructions.
Simulated, as views generated from the profile:
  PCI devices            /sys/bus/pci/devices (no device answers; there is no GPU)
  NUMA nodes             /sys/devices/system/node
  processors             /sys/devices/system/cpu, /proc/cpuinfo (the true number: taskset -p 1)
  memory                 /proc/meminfo (does not move), memory modules in /sys/firmware/dmi/tables
Simulated, as this twin's own copy; the controller's kernel keeps its values:
  kernel settings        /proc/sys/vm, /proc/sys/fs, /proc/sys/kernel
  transparent huge pages /sys/kernel/mm/transparent_hugepage
Simulated, where the profile has cards:
  vendors' packages      /srv/simulated-vendors (empty shells under the vendors' names; they drive nothing)
"""

# The lab gives a twin its address from outside; networkd, which an image of a machine runs, would take it away.
_NETWORK = "[Match]\nName=eth0\n\n[Link]\nUnmanaged=yes\n"

BOOT_S = 60.0  # for the first twin of a command


def base_of(spec: TwinSpec, mirrors: Mirrors, progress: Callable[[str], None]) -> Path:
    """What the twin starts from: the root filesystem under its disk."""
    return spec.root or rootfs.ensure(spec.distribution, mirrors, progress)


def make(
    places: TwinPlaces,
    spec: TwinSpec,
    network: LabNetwork,
    octet: int,
    *,
    base: Path,
    vendors: Path,
    public_key: str,
) -> None:
    """Write everything of a new twin below its folder; the record comes last and atomically."""
    if places.root.exists():
        remove_tree(places.root)
    for folder in (places.root, places.seed, places.disk, places.containers, places.mount, places.views):
        folder.mkdir(parents=True)
    places.root.chmod(0o700)
    further = {"etc/systemd/network/10-twin.network": _NETWORK}
    write_seed(places.seed, spec.name, public_key, _NOTICE, further)
    _write_views(places, spec.hardware)
    order = Order(
        machine=_machine_name(network, octet),
        hostname=spec.name,
        root=str(places.mount),
        layers=(str(places.seed), str(base)),
        disk=str(places.disk),
        disk_mib=spec.disk_mib,
        containers=str(places.containers) if spec.containers else None,
        vendors=str(vendors) if spec.vendors else None,
        devices=tuple(str(device) for device in spec.devices),
        views=str(places.views),
        view_files=str(places.view_files),
    )
    order_path(places).write_text(order.dump())
    record_of(spec, octet, base=str(base)).write(places)


def attach(network: LabNetwork, octet: int) -> None:
    """Connect the twin to the lab's network."""
    network.attach(octet)


def detach(network: LabNetwork, octet: int) -> None:
    """Disconnect it, and remove what nspawn leaves on the controller where /run is not a memory file system."""
    network.detach(octet)
    with suppress(FileNotFoundError):
        (_PROPAGATED / _machine_name(network, octet)).rmdir()


def _machine_name(network: LabNetwork, octet: int) -> str:
    """The name by which nspawn knows a twin; not its host name, which twins of two labs may share."""
    return f"boxwright-{network.octet}-{octet}"


def order_path(places: TwinPlaces) -> Path:
    """The order that the supervisor reads."""
    return places.root / "order.json"


def make_key(path: Path, comment: str) -> None:
    """Make a pair of ssh keys without a passphrase; the public one goes beside it as `.pub`."""
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path)])


def host_key(places: TwinPlaces) -> str:
    """The public host key, as `known_hosts` has it."""
    algorithm, key, *_ = (places.seed / "etc/ssh/ssh_host_ed25519_key.pub").read_text().split()
    return f"{algorithm} {key}"


def supervisor_command(places: TwinPlaces, network: LabNetwork, octet: int) -> list[str]:
    """The command of a twin's supervisor, in the twin's network namespace and a mount namespace of its own.

    Mounts of the controller still propagate into it (slave), so that no copy holds up `ip netns delete`.
    """
    return [
        *("nsenter", f"--net=/run/netns/{network.twin_namespace(octet)}"),
        *("unshare", "--mount", "--propagation", "slave"),
        *(sys.executable, "-P", "-S", "-m", "boxwright.lab.supervisor", str(order_path(places))),
    ]


def supervisor_environment() -> dict[str, str]:
    """What the supervisor needs of the environment, and nothing of the caller's secrets."""
    package = Path(boxwright.__file__).parent.parent
    return {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "PYTHONPATH": str(package)}


def write_seed(
    seed: Path, name: str, public_key: str, notice: str, further: Mapping[str, str] = MappingProxyType({})
) -> None:
    """Write the files that make a twin itself: names, keys, what it says of itself, and further ones by their paths."""
    files = {
        **further,
        "etc/hostname": f"{name}\n",
        "etc/hosts": f"127.0.0.1\tlocalhost\n127.0.1.1\t{name}\n::1\tlocalhost ip6-localhost ip6-loopback\n",
        "etc/machine-id": f"{uuid.uuid4().hex}\n",  # never empty: systemd would take it for a first boot
        "etc/boxwright-twin": notice,
        "root/.ssh/authorized_keys": public_key,
    }
    for path, text in files.items():
        _write(seed / path, text.encode())
    (seed / "etc/ssh").mkdir()
    key = seed / "etc/ssh/ssh_host_ed25519_key"
    make_key(key, name)
    for folder in (seed, *(path for path in seed.rglob("*") if path.is_dir())):
        folder.chmod(0o755)
    for private in (seed / "root", seed / "root/.ssh"):
        private.chmod(0o700)


def _write_views(places: TwinPlaces, hardware: Hardware) -> None:
    """All views in one file: a big machine has thousands of small ones, which the supervisor keeps in memory."""
    files = hardware_view.all_views(hardware, Path("/proc/cpuinfo").read_text(), Path("/proc/meminfo").read_text())
    files["init"] = _INIT.encode()
    places.view_files.write_text(dump_files(files))


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(0o644)

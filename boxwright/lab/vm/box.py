"""The box for Vagrant: the disk of VM twins for libvirt, with this controller's key in it.

A box usually lets everybody in with a key that is known to all. This one is made for one controller: its key and the
pinned key of its hosts lie in the state directory, so that a site can name both before a machine first boots.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from boxwright.lab import prerequisites, rootfs
from boxwright.lab.commands import locked, remove_tree, run
from boxwright.lab.machine import make_key
from boxwright.lab.places import vagrant
from boxwright.lab.vm.image import DISK_GIB, make_disk
from boxwright.mirrors import resolve_debian
from boxwright.model.site import Distribution, Mirrors, Site

USER = "vagrant"
# Every machine of a box has the same id until its first boot, and would be given the same address by it.
_ANY_PORT = "[Match]\nName=eth0\n\n[Network]\nDHCP=yes\n\n[DHCPv4]\nClientIdentifier=mac\n"
# Until Vagrant gives each its own name, sudo finds the machine by this one, or writes an error to the journal.
_HOSTS = "127.0.0.1\tlocalhost\n127.0.1.1\tbox\n::1\tlocalhost ip6-localhost ip6-loopback\n"
_VAGRANTFILE = """\
Vagrant.configure("2") do |config|
  config.vm.provider :libvirt do |libvirt|
    libvirt.kernel = File.join(__dir__, "vmlinuz")
    libvirt.initrd = File.join(__dir__, "initrd")
    libvirt.cmd_line = "root=/dev/vda rw console=ttyS0 net.ifnames=0 panic=-1 mitigations=off"
  end
end
"""


def name_of(distribution: Distribution) -> str:
    """The name that Vagrant knows the box by."""
    return f"boxwright-{distribution}"


def build(site: Site, distribution: Distribution, progress: Callable[[str], None]) -> Path:
    """Make the box of a distribution, and the keys by which the hosts of a site are entered.

    Returns:
        The box, a file for `vagrant box add`.

    Raises:
        LabError: It cannot be built here.
    """
    prerequisites.ensure(progress, vms=True)
    tree = rootfs.ensure(distribution, resolve_debian(Mirrors()), progress, kernel=True)
    folder = vagrant()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    box = folder / f"{name_of(distribution)}.box"
    draft = folder / f"{name_of(distribution)}.unfinished"
    with locked(folder / ".lock", progress) as lock:
        _make_keys(folder, site)
        if draft.exists():
            remove_tree(draft)
        progress(f"Making the box of {distribution} (about a minute)")
        make_disk(tree, _files(folder), draft, "box.img", users=[USER], lock=lock)
        metadata = {"provider": "libvirt", "format": "qcow2", "virtual_size": DISK_GIB}
        (draft / "metadata.json").write_text(json.dumps(metadata))
        (draft / "Vagrantfile").write_text(_VAGRANTFILE)
        packed = draft.with_suffix(".draft")
        parts = ["metadata.json", "Vagrantfile", "box.img", "vmlinuz", "initrd"]
        run(["tar", "--create", "--gzip", f"--file={packed}", f"--directory={draft}", *parts], timeout=600)
        packed.replace(box)
        remove_tree(draft)
    return box


def _make_keys(folder: Path, site: Site) -> None:
    """Make what is missing of the two keys, and pin the one of the hosts under their addresses."""
    for name in ("id_ed25519", "host_ed25519"):
        if not (folder / f"{name}.pub").exists():
            (folder / name).unlink(missing_ok=True)
            make_key(folder / name, "vagrant")
    algorithm, key, *_ = (folder / "host_ed25519.pub").read_text().split()
    addresses = [host.address for host in site.hosts if host.address]
    (folder / "known_hosts").write_text("".join(f"{address} {algorithm} {key}\n" for address in addresses))


def _files(folder: Path) -> dict[str, tuple[str, int]]:
    ours = {name: (folder / name).read_text() for name in ("id_ed25519.pub", "host_ed25519", "host_ed25519.pub")}
    return {
        "etc/machine-id": ("", 0o444),
        "etc/hostname": ("box\n", 0o644),
        "etc/hosts": (_HOSTS, 0o644),
        "etc/ssh/ssh_host_ed25519_key": (ours["host_ed25519"], 0o600),
        "etc/ssh/ssh_host_ed25519_key.pub": (ours["host_ed25519.pub"], 0o644),
        "etc/sudoers.d/vagrant": (f"{USER} ALL=(ALL) NOPASSWD: ALL\n", 0o440),
        "etc/systemd/network/90-any.network": (_ANY_PORT, 0o644),
        f"home/{USER}/.ssh/authorized_keys": (ours["id_ed25519.pub"], 0o600),
    }

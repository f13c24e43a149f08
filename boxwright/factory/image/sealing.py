"""What belongs to one box, or to nobody but the build, and so goes before a tree becomes an image.

Files of settings that hold a secret, an address or a name of the box go as a whole: the box is provisioned anew after
it was enrolled, which writes them again. Services that cannot do without them are switched off until then: an image
offers ssh, and nothing else.
"""

from __future__ import annotations

import fnmatch
import shutil
from collections.abc import Iterator
from pathlib import Path

# Patterns below the root. Of `/*`, the folder stays.
IDENTITY = (  # of a machine, or of who was here
    "etc/ssh/ssh_host_*",
    "etc/hostname",
    "etc/boxwright-twin",
    "etc/.pwd.lock",
    "etc/resolv.conf.*",
    "var/lib/dbus/machine-id",
    "var/lib/systemd/random-seed",
    "var/lib/systemd/credential.secret",
    "var/lib/systemd/timesync/*",
    "var/lib/systemd/timers/*",
    "var/lib/systemd/linger/*",
    "var/lib/systemd/rfkill/*",
    "var/lib/systemd/coredump/*",
    "var/lib/systemd/network/*",
    "var/lib/private/systemd/*",
    "var/lib/dhcp/*",
    "var/lib/dhcpcd/*",
    "var/lib/NetworkManager/*",
    "root/.*_history",
    "root/.ansible",
    "root/.cache",
    "root/.config",
    "root/.local",
    "root/.ssh",
    "root/.viminfo",
    "root/.lesshst",
    "home/*/.*_history",
)
TRACES = (  # of how the tree came to be
    "boot/*.old",
    "etc/*-",  # passwd-, shadow- and the like: the states before
    "etc/.updated",
    "var/.updated",
    "etc/dpkg/dpkg.cfg.d/*mmdebstrap*",
    "etc/apt/apt.conf.d/*mmdebstrap*",
    "var/backups/*",
    "var/cache/apt/archives/*.deb",
    "var/cache/apt/archives/lock",
    "var/cache/apt/*.bin",
    "var/cache/debconf/*-old",
    "var/cache/fontconfig/*",
    "var/cache/ldconfig/aux-cache",
    "var/cache/man/*",
    "var/lib/apt/lists/*_*",
    "var/lib/apt/lists/lock",
    "var/lib/apt/daily_lock",
    "var/lib/apt/periodic/*",
    "var/lib/dpkg/*-old",
    "var/lib/dpkg/lock*",
    "var/lib/dpkg/triggers/Lock",
    "var/lib/dpkg/updates/*",
    "var/lib/unattended-upgrades/*",
    "var/lib/ucf/*.[0-9]",
    "run/*",
    "tmp/*",
    "tmp/.*",
    "var/tmp/*",
)
OF_THE_BOX = (  # what provisioning writes for one box, or for the bundle that this one came out of
    "etc/apt/boxwright-bundle.d",
    "etc/apt/apt.conf.d/85boxwright-bundle",
    "usr/share/keyrings/boxwright-bundle.asc",
    "etc/apt/apt.conf.d/80boxwright-proxy",
    "etc/profile.d/boxwright-proxy.sh",
    "usr/local/share/ca-certificates/boxwright-*.crt",
    "etc/boxwright/receipt.json",
    "etc/boxwright/*.cdx.json",
    "etc/boxwright/*.intoto.jsonl",
    "etc/boxwright/pki",
    "etc/nginx/boxwright*",
    "etc/nginx/conf.d/boxwright.conf",
    "usr/local/sbin/boxwright-gateway",  # knows the names and addresses that the certificate is for
    "usr/local/share/boxwright/about",
    "etc/prometheus/boxwright-engine.key",
    "var/lib/prometheus/metrics2/*",
    "var/lib/prometheus/node-exporter/*",
    "etc/llama-server*",
    "etc/vllm*",
    "etc/systemd/system/llama-server*.service",  # they follow from the processors of the box
    "etc/systemd/system/vllm*.service",
    "etc/open-webui",
    "opt/boxwright/open-webui/*/etc/environment",
    "var/lib/open-webui",
    "var/lib/boxwright/[!f]*",  # all but firewall.sha256, which goes with the rules
    "var/lib/private/*",
)
ANYWHERE = (".fetch.lock",)  # beside models, wherever these are: the number of the process that fetched
LOGS = "var/log"
# They need what is in OF_THE_BOX; provisioning switches them on.
SWITCHED_OFF = (
    "nginx.service",
    "boxwright-certificate.timer",
    "prometheus.service",
    "llama-server*.service",
    "vllm*.service",
    "open-webui*.service",
)


def seal(tree: Path) -> list[str]:
    """Remove what no image may hold.

    Returns:
        What went, by path below the root.
    """
    going = [path for pattern in (*IDENTITY, *TRACES, *OF_THE_BOX) for path in found(tree, pattern)]
    going += [path for path in sorted((tree / LOGS).rglob("*")) if not path.is_dir() or path.is_symlink()]
    going += [path for unit in SWITCHED_OFF for path in found(tree, f"etc/systemd/system/*.wants/{unit}")]
    going += [path for name in ANYWHERE for path in sorted(tree.rglob(name)) if path.is_file()]
    for path in going:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    _remove_journals(tree)
    return sorted({str(path.relative_to(tree)) for path in going})


def found(tree: Path, pattern: str) -> Iterator[Path]:
    """What a pattern means in a tree, in order. Links are found wherever they lead, and never followed."""
    head, _, rest = pattern.partition("/")
    for name in sorted(fnmatch.filter((one.name for one in tree.iterdir()), head)):
        path = tree / name
        if not rest:
            yield path
        elif path.is_dir() and not path.is_symlink():
            yield from found(path, rest)


def _remove_journals(tree: Path) -> None:
    """Folders of journals are named by the machine's id."""
    for folder in found(tree, f"{LOGS}/journal/*"):
        shutil.rmtree(folder)

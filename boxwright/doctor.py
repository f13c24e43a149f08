"""Can this machine run Boxwright, and its lab? Looks and never changes anything."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from boxwright import mirrors, places
from boxwright.console import Console
from boxwright.errors import BoxwrightError, Exit
from boxwright.factory.image.tools import PACKAGES as IMAGE_PACKAGES
from boxwright.lab.prerequisites import missing_packages
from boxwright.model.site import Mirrors

LAB_DISK_GIB = 6  # a root filesystem, its cache and one provisioned twin, with room
LAB_MEMORY_GIB = 2  # measured for one lab twin with model and chat page: under 1 GiB


@dataclass(frozen=True)
class Finding:
    """One thing looked at. `needed` is what cannot be done without it."""

    what: str
    ok: bool
    found: str
    needed: str
    remedy: str = ""


def examine() -> list[Finding]:
    """Look at everything that Boxwright leans on."""
    return [*_controller(), *_lab()]


def show(console: Console, findings: list[Finding]) -> Exit:
    """Show what was found, and say what to do. One missing thing that every run needs makes it fail."""
    rows = [
        ("ok" if one.ok else "missing", one.what, one.found, one.needed, "" if one.ok else one.remedy)
        for one in findings
    ]
    console.table("Doctor", ["Result", "What", "Found", "Needed for", "Remedy"], rows, kind="finding")
    broken = [one for one in findings if not one.ok and one.needed == "every run"]
    return Exit.ERROR if broken else Exit.OK


def _controller() -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    yield Finding("Python", sys.version_info >= (3, 11), version, "every run", "Install Python 3.11 or newer.")
    ssh = shutil.which("ssh")
    yield Finding("OpenSSH client", bool(ssh), ssh or "", "every run", "apt-get install openssh-client")
    state = places.state()
    private = not state.stat().st_mode & 0o077
    yield Finding(
        "state directory", private and os.access(state, os.W_OK), str(state), "every run", f"chmod 700 {state}"
    )
    try:
        found = mirrors.resolve(Mirrors())
        told = f"Debian {found.debian}, Python {found.python_index}"
        yield Finding("package mirrors", True, told, "every run")
    except BoxwrightError as error:
        yield Finding("package mirrors", False, error.message, "every run", error.hint)


def _lab() -> Iterator[Finding]:
    root = os.geteuid() == 0
    yield Finding("root", root, "yes" if root else "no", "the lab", "Run it as root.")
    debian = Path("/etc/debian_version").exists()
    yield Finding("Debian tools", debian, "apt" if debian else "no apt", "the lab")
    missing = missing_packages()
    yield Finding(
        "lab packages",
        not missing,
        "all there" if not missing else f"without {', '.join(missing)}",
        "the lab",
        "lab.up installs them, as root.",
    )
    further = [one for one in missing_packages(further=IMAGE_PACKAGES) if one not in missing]
    yield Finding(
        "image packages",
        not further,
        "all there" if not further else f"without {', '.join(further)}",
        "images",
        "image.build installs them, as root.",
    )
    free = shutil.disk_usage(places.state()).free / 2**30
    yield Finding("free disk", free >= LAB_DISK_GIB, f"{free:.0f} GiB", "the lab", f"The lab needs {LAB_DISK_GIB} GiB.")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES") / 2**30
    enough = memory >= LAB_MEMORY_GIB
    yield Finding("free memory", enough, f"{memory:.1f} GiB", "the lab", "End other programs.")

"""A simulated vendor repository: tiny signed packages under a vendor's names and versions, for the real apt.

What is installed from it is an empty shell that says SIMULATED; it drives no card. The signing key is made anew with
every build and exists on this machine alone, so nothing else would ever trust it.
"""

from __future__ import annotations

import gzip
import hashlib
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from boxwright import places
from boxwright.lab.commands import run

KEY = "simulated.asc"
LABEL = "SIMULATED vendor"
_MAINTAINER = "Boxwright lab <nobody@boxwright.invalid>"
_UNIT = """\
[Unit]
Description=SIMULATED {name}
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/true
[Install]
WantedBy=multi-user.target
"""


@dataclass(frozen=True)
class Package:
    """One package. `relations` are control fields such as Depends; `unit` is a service that does nothing.

    `programs` are small shell scripts by their path, for a tool that a role asks, and `files` what it has besides.
    `configured` is a shell command that its installation ends with, `removing` one that its removal begins with.
    """

    name: str
    version: str
    relations: dict[str, str] = field(default_factory=dict)
    unit: str = ""
    programs: dict[str, str] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    configured: str = ""
    removing: str = ""
    architecture: str = "amd64"

    def control(self) -> str:
        """The text of its control file."""
        relations = "".join(f"{name}: {value}\n" for name, value in sorted(self.relations.items()))
        return (
            f"Package: {self.name}\nVersion: {self.version}\nArchitecture: {self.architecture}\n"
            f"Maintainer: {_MAINTAINER}\n{relations}Description: SIMULATED {self.name}\n"
        )


def build(folder: Path, packages: Iterable[Package], *, key_expires: str = "0", label: str = LABEL) -> str:
    """Make a flat repository in an empty folder and return the fingerprint of its key.

    Args:
        folder: Where; the files of the repository lie in it directly, and its key as `simulated.asc`.
        packages: What it offers.
        key_expires: When its key does, as gpg writes it: `0` never, `seconds=1`, `2y`.
        label: What it is called, where a pin goes by that.

    Raises:
        LabError: dpkg-deb or gpg is missing or failed.
    """
    index = "\n".join(_packed(folder, package) for package in packages)
    (folder / "Packages").write_text(index)
    (folder / "Packages.gz").write_bytes(gzip.compress(index.encode(), mtime=0))
    files = [folder / "Packages", folder / "Packages.gz"]
    sums = "".join(f" {_sha256(path)} {path.stat().st_size} {path.name}\n" for path in files)
    (folder / "Release").write_text(
        f"Origin: SIMULATED vendor\nLabel: {label}\nArchitectures: amd64\nDate: {_now()}\nSHA256:\n{sums}"
    )
    return _sign(folder, key_expires)


def _packed(folder: Path, package: Package) -> str:
    """Build a package and return its stanza of the index."""
    file_name = f"{package.name}_{package.version}_{package.architecture}.deb"
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        root.chmod(0o755)
        (root / "DEBIAN").mkdir()
        (root / "DEBIAN/control").write_text(package.control())
        notice = root / "usr/share/doc" / package.name / "SIMULATED"
        notice.parent.mkdir(parents=True)
        notice.write_text("This package is simulated. It holds no driver.\n")
        for place, text in package.programs.items():
            program = root / place.lstrip("/")
            program.parent.mkdir(parents=True, exist_ok=True)
            program.write_text(text)
            program.chmod(0o755)
        for place, content in package.files.items():
            target = root / place.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        for name, command in (("postinst", package.configured), ("prerm", package.removing)):
            if command:
                (root / "DEBIAN" / name).write_text(f"#!/bin/sh\nset -e\n{command}\n")
                (root / "DEBIAN" / name).chmod(0o755)
        if package.unit:
            unit = root / "usr/lib/systemd/system" / f"{package.unit}.service"
            unit.parent.mkdir(parents=True, exist_ok=True)
            unit.write_text(_UNIT.format(name=package.unit))
        run(["dpkg-deb", "--root-owner-group", "--build", scratch, str(folder / file_name)])
    path = folder / file_name
    return f"{package.control()}Filename: ./{file_name}\nSize: {path.stat().st_size}\nSHA256: {_sha256(path)}\n"


def _sign(folder: Path, key_expires: str) -> str:
    home = Path(tempfile.mkdtemp(prefix="gpg-", dir=places.sockets()))
    gpg = ["gpg", "--homedir", str(home), "--batch", "--quiet", "--no-tty"]
    try:
        run([*gpg, "--passphrase", "", "--quick-generate-key", "SIMULATED vendor", "ed25519", "sign", key_expires])
        listed = run([*gpg, "--list-keys", "--with-colons"])
        fingerprint = next(line.split(":")[9] for line in listed.splitlines() if line.startswith("fpr:"))
        run([*gpg, "--armor", "--output", str(folder / KEY), "--export"])
        run([*gpg, "--clearsign", "--output", str(folder / "InRelease"), str(folder / "Release")])
        return fingerprint
    finally:
        run(["gpgconf", "--homedir", str(home), "--kill", "all"])
        shutil.rmtree(home, ignore_errors=True)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _now() -> str:
    return run(["date", "--utc", "--rfc-email"]).strip().replace("+0000", "UTC")

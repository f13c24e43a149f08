"""Lists of a bundle's Debian packages, signed by a key that is made for them and thrown away.

Boxes trust that key for the bundle alone. The key and its signatures are dated years back, and so are the lists: the
clock of a box in a room without internet may be.
"""

from __future__ import annotations

import gzip
import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from boxwright import places
from boxwright.errors import BoxwrightError
from boxwright.factory.bundle import Bundle
from boxwright.factory.lock import Artefact, Lock
from boxwright.factory.needs import PLATFORM
from boxwright.model.debian_packages import BUNDLE_KEY, SYSTEM, UNPACKED
from boxwright.model.site import VENDORS
from boxwright.whole_files import write_whole

_DATED = ("20240101T000000!", "Mon, 01 Jan 2024 00:00:00 UTC")
_READ_AT_ONCE = 4


def write_lists(bundle: Bundle, lock: Lock) -> None:
    """Write and sign the lists of a lock's packages; those that were there are replaced.

    Raises:
        BoxwrightError: dpkg-deb or gpg is missing, or does not take a file.
    """
    packages = lock.of("debian")
    with ThreadPoolExecutor(_READ_AT_ONCE) as pool:
        made = list(pool.map(lambda one: _stanza(bundle, one), packages))
    stanzas = {one.sha256: stanza for one, stanza in zip(packages, made, strict=True)}
    draft = bundle.folder / "apt" / f".{lock.name}"
    shutil.rmtree(draft, ignore_errors=True)
    for suite, members in suites(packages).items():
        _write_suite(draft / "dists" / suite, suite, "\n".join(stanzas[one.sha256] for one in members))
    _sign(draft)
    final = bundle.lists(lock.name)
    shutil.rmtree(final, ignore_errors=True)
    draft.rename(final)


def suites(packages: Iterable[Artefact]) -> Mapping[str, list[Artefact]]:
    """Which packages a box finds in which suite.

    What the box itself installs is in a suite of its own, and what it takes from a vendor's repository in one with that
    one's name; so is the operating system of an image. What is unpacked beside a box's system is where the deploys look
    for it: all of it in the first of its suites, and nothing in the others.
    """
    packages = list(packages)
    found: dict[str, list[Artefact]] = {PLATFORM: []}
    for one in packages:
        if PLATFORM in one.used_by:
            suite = one.archive if one.archive in VENDORS else PLATFORM
            found.setdefault(suite, []).append(one)
    if system := [one for one in packages if SYSTEM in one.used_by]:
        found[SYSTEM] = system
    for unpacked in UNPACKED:
        for suite in unpacked.suites:
            found.setdefault(suite, [])
        own = found[unpacked.suites[0]]
        own += [one for one in packages if unpacked.name in one.used_by and one not in own]
    return found


def _stanza(bundle: Bundle, one: Artefact) -> str:
    control = _run(["dpkg-deb", "--field", str(bundle.artefact(one.sha256))]).strip()
    return f"{control}\nFilename: pool/{one.sha256}/{one.file}\nSize: {one.size}\nSHA256: {one.sha256}\n"


def _write_suite(folder: Path, suite: str, index: str) -> None:
    place = "main/binary-amd64"
    files = {f"{place}/Packages": index.encode(), f"{place}/Packages.gz": gzip.compress(index.encode(), mtime=0)}
    sums = "".join(f" {hashlib.sha256(data).hexdigest()} {len(data)} {name}\n" for name, data in files.items())
    for name, data in files.items():
        write_whole(folder / name, data)
    release = (
        f"Origin: Boxwright bundle\nLabel: Boxwright bundle\nSuite: {suite}\nCodename: {suite}\n"
        f"Architectures: amd64\nComponents: main\nDate: {_DATED[1]}\nSHA256:\n{sums}"
    )
    write_whole(folder / "Release", release.encode())


def _sign(folder: Path) -> None:
    # Its agent takes its sockets away while the folder goes.
    with tempfile.TemporaryDirectory(prefix="gpg-", dir=places.sockets(), ignore_cleanup_errors=True) as home:
        gpg = ["gpg", "--homedir", home, "--batch", "--quiet", "--no-tty", "--faked-system-time", _DATED[0]]
        try:
            _run([*gpg, "--passphrase", "", "--quick-generate-key", "Boxwright bundle", "ed25519", "sign", "0"])
            _run([*gpg, "--armor", "--output", str(folder / BUNDLE_KEY), "--export"])
            for release in sorted(folder.glob("dists/*/Release")):
                _run([*gpg, "--clearsign", "--output", str(release.with_name("InRelease")), str(release)])
                release.unlink()
        finally:
            with suppress(BoxwrightError):  # the agent ends with its folder, too, if somewhat later
                _run(["gpgconf", "--homedir", home, "--kill", "all"])


def _run(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise BoxwrightError(
            f"a bundle's lists of Debian packages need {command[0]}, which this machine lacks",
            hint="Fetch on a Debian or Ubuntu controller with gpg. Bundles are served from any.",
        ) from None
    if done.returncode:
        raise BoxwrightError(f"{command[0]} failed on a bundle's packages", output=done.stdout + done.stderr)
    return done.stdout

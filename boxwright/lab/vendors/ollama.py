"""Archives of Ollama, SIMULATED: a small program in the place of Ollama's, with a real llama-server beside it.

Ollama itself is in none of the package registries that a lab has. Where somebody has a genuine archive, it takes the
place of these: see `docs/deploys/ollama.md`.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from boxwright import places
from boxwright.errors import LabError
from boxwright.lab.commands import locked, remove_tree, run
from boxwright.mirrors import resolve_debian
from boxwright.model.debian_packages import DEBIAN_KEYRING
from boxwright.model.ollama import OllamaArtefact
from boxwright.model.site import Mirrors
from boxwright.places import ROOT

GENUINE_OLLAMA = "BOXWRIGHT_OLLAMA_TARBALL"  # of the environment: an archive for twins
_PROGRAM = Path(__file__).with_name("simulated_ollama.py")
_SERVER = Path(__file__).with_name("simulated_ollama_server.py")
_UNPACKER = ROOT / "templates/debian_root/install_debian_root.py"
_LIBRARIES = "usr/lib/x86_64-linux-gnu"
# Debian's llama-server among libraries of its own, and started where it finds its kernels for this processor.
_LAUNCHER = f"""\
#!/bin/sh
root=$(dirname "$(readlink -f "$0")")/debian
libraries=$root/{_LIBRARIES}
cd "$libraries/ggml/backends0" || exit 1
exec "$libraries/ld-linux-x86-64.so.2" --library-path "$libraries:$libraries/llama" "$root/usr/bin/llama-server" "$@"
"""


def archive_for_twins(version: str, progress: Callable[[str], None], mirrors: Mirrors) -> OllamaArtefact:
    """What twins are given as Ollama: a genuine archive where somebody names one, else a simulated one.

    `BOXWRIGHT_OLLAMA_TARBALL` names the archive. It has to be of the release that the profile wants; the box says so if
    it is not.

    Raises:
        LabError: There is no such archive, or none could be made.
    """
    genuine = os.environ.get(GENUINE_OLLAMA)
    if not genuine:
        return simulated_ollama(version, progress, mirrors=mirrors)
    path = Path(genuine).expanduser().absolute()
    if not path.is_file():
        raise LabError(
            f"there is no archive of Ollama at {path}", hint="Unset BOXWRIGHT_OLLAMA_TARBALL, or correct it."
        )
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return OllamaArtefact(version=version, path=str(path), sha256=digest, bytes=path.stat().st_size)


def simulated_ollama(
    version: str,
    progress: Callable[[str], None],
    *,
    mirrors: Mirrors | None = None,
    kind: str = "tar.zst",
    serve: str = "stays",
    on_cards: float = 0.0,
) -> OllamaArtefact:
    """An archive that takes the name of a release, as a site says it. It is made once.

    Args:
        version: Whose name it takes.
        progress: Told what takes long.
        mirrors: Where Debian's llama-server comes from; None: from where this machine has its packages.
        kind: `tar.zst`, or `tgz` as older releases were packed.
        serve: `stays`, or `ends` for a server that ends at once.
        on_cards: The share of a loaded model that it says to be on cards.

    Raises:
        LabError: A tool is missing, or Debian's packages cannot be had.
    """
    llama = debian_llama_cpp("llama.cpp-tools", "llama-server", progress, mirrors or Mirrors())
    told = {"version": version, "serve": serve, "on_cards": on_cards}
    mark = hashlib.sha256(
        _PROGRAM.read_bytes() + _SERVER.read_bytes() + _LAUNCHER.encode() + json.dumps([told, llama.name]).encode()
    )
    archive = _cache() / f"simulated-{version}-{mark.hexdigest()[:16]}.{kind}"
    with locked(archive.with_name(f".{archive.name}.lock"), progress):
        if not archive.exists():
            progress(f"Making a SIMULATED archive of Ollama {version}")
            _pack(archive, llama, told, kind)
    with archive.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return OllamaArtefact(version=version, path=str(archive), sha256=digest, bytes=archive.stat().st_size)


def _cache() -> Path:
    folder = places.cache().absolute() / "ollama"
    folder.mkdir(exist_ok=True)
    return folder


def debian_llama_cpp(package: str, program: str, progress: Callable[[str], None], mirrors: Mirrors) -> Path:
    """The root of a program of llama.cpp as Debian builds it, with all that it needs; fetched once.

    Args:
        package: Of Debian.
        program: In its `usr/bin`.
        progress: Told that it takes a while.
        mirrors: Where Debian's packages come from.

    Raises:
        LabError: It cannot be had.
    """
    folder = _cache() / package
    with locked(_cache() / f".{package}.lock", progress):
        if not (folder / "current/MANIFEST").exists():
            progress(f"Fetching Debian's {program}")
            found = resolve_debian(mirrors)
            request = {
                "destination": str(folder),
                "mirror": found.debian,
                "keyring": DEBIAN_KEYRING,
                "check_valid_until": found.check_valid_until is not False,
                "suites": ["forky", "sid"],
                "packages": [package],
                "with_dependencies": True,
                "provided": ["debconf", "wget"],
                "version_of": package,
                "check": [f"usr/bin/{program}", "--version"],
                "chroot": True,
                "proxy": None,
            }
            path = _cache() / f"{package}.json"
            path.write_text(json.dumps(request))
            run([sys.executable, str(_UNPACKER), str(path)], timeout=600)
    return (folder / "current").resolve()


def _pack(archive: Path, llama: Path, told: dict[str, object], kind: str) -> None:
    draft = archive.with_suffix(".draft")
    if draft.exists():
        remove_tree(draft)
    library = draft / "lib/ollama"
    library.mkdir(parents=True)
    (draft / "bin").mkdir()
    shutil.copyfile(_PROGRAM, draft / "bin/ollama")
    shutil.copyfile(_SERVER, library / _SERVER.name)
    (library / "llama-server").write_text(_LAUNCHER)
    for program in (draft / "bin/ollama", library / "llama-server"):
        program.chmod(0o755)
    (library / "SIMULATED.json").write_text(json.dumps(told) + "\n")
    (draft / "SIMULATED").write_text("This is no Ollama. Boxwright's lab made it to be installed in its place.\n")
    shutil.copytree(llama / _LIBRARIES, library / "debian" / _LIBRARIES, symlinks=True)
    (library / "debian/usr/bin").mkdir()
    shutil.copy(llama / "usr/bin/llama-server", library / "debian/usr/bin/llama-server")
    whole = archive.with_name(f".{archive.name}.new")
    compressor = "zstd -3 -T0" if kind == "tar.zst" else "gzip -1"
    packing = ["tar", "--create", f"--use-compress-program={compressor}", f"--file={whole}", f"--directory={draft}"]
    run([*packing, "--owner=0", "--group=0", "--numeric-owner", "--sort=name", "--mtime=@0", "."], timeout=300)
    whole.rename(archive)
    remove_tree(draft)

"""Fills a bundle: by the same program that fetches models on boxes, here, and for every kind of file."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from boxwright.errors import BadInputError, BoxwrightError
from boxwright.factory.bundle import Bundle, digest_of
from boxwright.factory.lock import Artefact, Lock
from boxwright.factory.origins import Origin
from boxwright.factory.reading import reading
from boxwright.places import ROOT

Headers = Mapping[str, Mapping[str, str]]  # by address of a hub or registry; they go by standard input
_PROGRAM = ROOT / "templates/models/fetch_model"
_OUTPUT_LINES = 20


class _UnauthorizedError(BoxwrightError):
    """Who has it wants a token, or another one than it was shown."""


def begin(folder: Path) -> Bundle:
    """A bundle to be filled, in a folder that is one or is empty.

    Raises:
        BadInputError: Something else is there.
    """
    bundle = Bundle(folder)
    if folder.exists() and not folder.is_dir():
        raise BadInputError("--bundle: this is no folder", where=str(folder))
    marks = [folder / name for name in ("bundle.json", "sha256", "locks")]
    if folder.is_dir() and any(folder.iterdir()) and not any(mark.exists() for mark in marks):
        raise BadInputError(
            "--bundle: there is something else in this folder", where=str(folder), hint="Name an empty or a new folder."
        )
    folder.mkdir(parents=True, exist_ok=True)
    return bundle


def missing(bundle: Bundle, lock: Lock, near: Sequence[Bundle], progress: Callable[[str], None]) -> list[Artefact]:
    """What a bundle lacks of a lock. Damaged files are removed, and what a bundle nearby has is linked.

    Args:
        bundle: To be filled.
        lock: With what.
        near: Other bundles of this machine.
        progress: Told what was found, and how far the reading of what is there is.
    """
    lacking: list[Artefact] = []
    told, done, total = reading(progress), 0, sum(one.size for one in lock.artefacts)
    for one in lock.artefacts:
        told(done, total)
        done += one.size
        path = bundle.artefact(one.sha256)
        if path.exists():
            how = bundle.wrong(one)
            if not how:
                continue
            progress(f"{one.title}: {how}; it is fetched again")
            path.unlink()
        if not any(_linked(other, one, path) for other in near):
            lacking.append(one)
    return lacking


def _linked(other: Bundle, one: Artefact, path: Path) -> bool:
    if other.wrong(one):
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(other.artefact(one.sha256), path)
    except OSError:  # another file system, or one without links
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            shutil.copyfile(other.artefact(one.sha256), draft)
            if digest_of(draft) != one.sha256:
                return False
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)  # a full disk is not filled by what nobody looks for
    return True


def fetch(
    bundle: Bundle,
    wanted: Sequence[Origin],
    *,
    folders: Sequence[str],
    python_index: str,
    headers: Callable[[], Headers],
    progress: Callable[[str], None],
) -> None:
    """Fetch artefacts: several at once, resumed after a cut, verified as they arrive, moved into place whole.

    Args:
        bundle: Where to.
        wanted: What, and where it is.
        folders: Of this machine, looked in first.
        python_index: For files that lie in wheels.
        headers: Gives the credentials; asked for them again where a registry's token has run out on the way.
        progress: Told how far it is, every few seconds.

    Raises:
        BoxwrightError: Something cannot be had; it says which. What has arrived is kept.
    """
    ways = urllib.request.getproxies()
    request: dict[str, Any] = {
        "folders": list(folders),
        "python_index": python_index,
        "proxy": ways.get("https") or ways.get("http"),
        "no_proxy": [one for one in ways.get("no", "").split(",") if one],
    }
    arrived = _arrived(bundle, wanted)
    try:
        while left := [one for one in wanted if not bundle.artefact(one.artefact.sha256).exists()]:
            request["builds"] = [{"directory": str(bundle.folder), "files": [_entry(bundle, one) for one in left]}]
            try:
                _run_fetcher(bundle, request, left, headers(), progress)
            except _UnauthorizedError:
                before, arrived = arrived, _arrived(bundle, wanted)
                if arrived == before:  # so it is not for its age that the token is not taken
                    raise
    finally:
        for note in (bundle.folder / "sha256").rglob(".*.verified"):
            note.unlink(missing_ok=True)  # kept on boxes; a bundle is read whole before it is trusted


def _arrived(bundle: Bundle, wanted: Sequence[Origin]) -> int:
    """Bytes that are there, whole files and parts."""
    wholes = [bundle.artefact(one.artefact.sha256) for one in wanted]
    parts = [path.with_name(f"{path.name}.part") for path in wholes]
    return sum(path.stat().st_size for path in (*wholes, *parts) if path.exists())


def _entry(bundle: Bundle, one: Origin) -> dict[str, Any]:
    artefact = one.artefact
    return {
        "name": str(bundle.artefact(artefact.sha256).relative_to(bundle.folder)),
        "path": one.near,
        "bytes": artefact.size,
        "sha256": artefact.sha256,
        "urls": list(one.urls),
        "python_packages": list(one.python_packages),
    }


def _run_fetcher(
    bundle: Bundle,
    request: dict[str, Any],
    wanted: Sequence[Origin],
    headers: Headers,
    progress: Callable[[str], None],
) -> None:
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(request, file)
        file.flush()
        process = subprocess.Popen(
            [sys.executable, "-I", "-B", str(_PROGRAM), file.name, str(bundle.folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,  # Ctrl-C is ours to pass on
        )
        said: list[str] = []
        try:
            assert process.stdin and process.stdout  # noqa: S101,PT018  they are pipes
            process.stdin.write(json.dumps(headers))
            process.stdin.close()
            for line in process.stdout:
                if line.startswith("progress: hashes "):
                    continue  # hundreds of small files, which another fetcher brought while this one waited for it
                if line.startswith("progress: "):
                    progress(line.removeprefix("progress: ").strip())
                else:
                    said.append(line.rstrip())
            code = process.wait()
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)  # what has arrived is kept, and checked by the next run
                process.wait()
        if code:
            raise _failure(said, wanted)


def _failure(said: list[str], wanted: Sequence[Origin]) -> BoxwrightError:
    """What went wrong, by the names of the artefacts and not by their addresses alone."""
    told = "\n".join(said[-_OUTPUT_LINES:])
    named = [one.artefact for one in wanted if any(url in told for url in one.urls)]
    gone = bool(re.search(r"answers (404|410) |No such file or directory", told))
    titles = ", ".join(one.title for one in named)
    if re.search(r"answers 401 ", told):
        return _UnauthorizedError(
            f"not given to everybody: {titles or 'an artefact'}",
            hint="Name a mirror that gives it in the site, or a token of the hub in its secrets.",
            output=told,
        )
    if full := re.search(r"(?m)^fetch-model: (.*(?:Free some space|No space left|quota exceeded).*)$", told):
        return BoxwrightError(
            f"no room for it: {full[1]}",
            hint="Free some space, or name a folder on a larger disk. What arrived is kept: the same command goes on.",
        )
    if shut := re.search(r"(?m)^fetch-model: \[Errno \d+\] (Read-only file system|Permission denied).*$", told):
        return BoxwrightError(
            f"the bundle cannot be written to: {shut[1].lower()}", hint="Name a folder that can be, or mount it so."
        )
    if gone and named:
        return BoxwrightError(
            f"withdrawn: {titles}",
            where="the site's mirrors",
            hint="Lock anew (./invoke bundle.lock), or fetch from a bundle that has it: --near DIR.",
            output=told,
        )
    return BoxwrightError(
        f"cannot be fetched: {titles or 'an artefact'}",
        hint="Run the same command again: it goes on from here.",
        output=told,
    )

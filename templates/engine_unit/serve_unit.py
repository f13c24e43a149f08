#!/usr/bin/env python3
"""Let a unit serve from its present files; if it does not, put back what was proven to serve before.

Usage: serve-unit [--restart] < REQUEST
       serve-unit rivals|keep < REQUEST
       serve-unit end|back|remove UNIT
       serve-unit known

REQUEST is JSON: `unit` (with .service), `serves` (the model's name), `url` (answers 2xx when it is ready; null for a
unit without a door of its own), `question` (null, or `url`, `body` and `key` of a request that the model must answer),
`written` (the files that it is made of) and `patience_s` (how long its start may take). Where there are some, it has
`residency` (what card-residency is asked of the cards that its model lies on), `speed` (a question, and `least`: tokens
per second of one answer), `guards` (units that run with this one), `traces` (files that it leaves, and that go with
it) and `box` (of one of several nodes: whether it `leads`, and a digest of the `settings` of all of them).

A node that does not lead waits until its head is proven to serve by the same settings, and goes back when the head
does: what it knows of its head it has from run-node, which the head tells. So either all nodes keep what is new, or
none, whoever ordered it is still there or not.

The unit is restarted where --restart says so, and where it does not run. When it is ready, has answered, lies on its
cards, and was as fast as it has to be, copies of its files become what is proven: FOLDER/UNIT/files, beside the
request. When it does not, the copies of before are put back and served again, and the program ends with 1. Another unit
that was proven behind the same door - another engine - gives way before the start, comes back when that fails, and is
removed when it succeeds. Nothing else on the machine is touched. The folder is root's alone: among the files are keys.

The other orders are for programs that prove units in a way of their own, and share their doors: `known` names the units
that are proven, `rivals` those behind the request's door, `keep` makes its files what is proven, `end` lets a unit give
way, `back` lets it serve again and says how that went, `remove` takes it away with its files.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import urlsplit

PROVEN = Path("/var/lib/boxwright/proven")
NODES = Path("/var/lib/boxwright-nodes")  # what heads are proven to serve, for run-node to read
RUN = Path("/run")
CARD_RESIDENCY = Path(__file__).with_name("card-residency")
CRASHES = 3  # restarts by systemd after which nobody waits any longer
LEAST_FOR_AN_ANSWER_S = 60
MEASURED = 3  # answers at most: the first ones of an engine that has just started may be slow, and the best one counts
FEW_TOKENS = 8  # an answer of fewer says nothing about speed
LOG_LINES = 20
HEAD_S = 3600  # how much longer than a start a node waits for its head, which may have to be set up first
HEAD_FIRST_S = 5  # a node that has failed lets its head tell why: whoever ends first ends the run on both
WORD_S = 20  # between words of a node that waits: whether anybody hears them tells whether the run is still there


class FailedError(Exception):
    """It does not serve; the message says why, and the log what the unit said last."""

    def __init__(self, message: str, log: str = "") -> None:
        super().__init__(message)
        self.log = log


class Proof:
    """What was proven to serve as a unit last: its request, and copies of its files."""

    def __init__(self, unit: str) -> None:
        self.folder = PROVEN / unit
        self.copies = self.folder / "files"

    def request(self) -> dict[str, Any] | None:
        """What was asked for then; None where nothing is proven."""
        try:
            told = json.loads((self.folder / "request.json").read_text())
        except (OSError, ValueError):
            return None
        return told if isinstance(told, dict) else None

    def fits(self, request: dict[str, Any]) -> bool:
        """Whether this very request, with the files as they are now, is what was proven."""
        return self.request() == request and all(_equal(self._copy(path), Path(path)) for path in request["written"])

    def keep(self, request: dict[str, Any]) -> None:
        """Make the present files what is proven, as a whole or not at all."""
        draft, old = (self.folder.with_name(f".{self.folder.name}.{end}") for end in ("new", "old"))
        for leftover in (draft, old):
            shutil.rmtree(leftover, ignore_errors=True)
        draft.mkdir(mode=0o700)
        for path in request["written"]:
            copy = draft / "files" / path.lstrip("/")
            copy.parent.mkdir(parents=True, exist_ok=True)
            _copied(Path(path), copy)
        (draft / "request.json").write_text(json.dumps(request, indent=1, sort_keys=True) + "\n")
        if self.folder.exists():
            self.folder.replace(old)
        draft.replace(self.folder)
        shutil.rmtree(old, ignore_errors=True)
        if leads(request):
            _published(NODES / self.folder.name / "proven", f"{request['box']['settings']}\n")

    def put_back(self, request: dict[str, Any]) -> None:
        """Make the files what they were when they were proven."""
        for path in request["written"]:
            place, copy = Path(path), self._copy(path)
            if copy.exists() and not _equal(copy, place):
                place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                draft = place.with_name(f".{place.name}.back")
                _copied(copy, draft)
                draft.replace(place)

    def forget(self) -> None:
        """Nothing is proven of this unit any more."""
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.rmtree(NODES / self.folder.name, ignore_errors=True)

    def _copy(self, path: str) -> Path:
        return self.copies / path.lstrip("/")


def _equal(one: Path, other: Path) -> bool:
    try:
        return one.read_bytes() == other.read_bytes()
    except OSError:
        return False


def _copied(source: Path, destination: Path) -> None:
    """A copy with mode and owner, that nobody else can read on the way."""
    status = source.stat()
    destination.unlink(missing_ok=True)
    with open(os.open(destination, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:  # noqa: PTH123
        file.write(source.read_bytes())
        os.fchown(file.fileno(), status.st_uid, status.st_gid)
        os.fchmod(file.fileno(), status.st_mode & 0o7777)
        os.fsync(file.fileno())


def leads(request: dict[str, Any]) -> bool:
    """Whether it is the head of several nodes."""
    return bool(request.get("box") and request["box"]["leads"])


def follows(request: dict[str, Any]) -> bool:
    """Whether it is another node than the head of several."""
    return bool(request.get("box") and not request["box"]["leads"])


def _published(path: Path, text: str) -> None:
    """Write what run-node, which is not root, may read."""
    for folder in (NODES, path.parent):
        folder.mkdir(exist_ok=True)
        folder.chmod(0o755)
    draft = path.with_name(f".{path.name}.new")
    draft.write_text(text)
    draft.chmod(0o644)
    draft.replace(path)


@contextlib.contextmanager
def _trying(request: dict[str, Any]) -> Iterator[None]:
    """While a head is tried, its other nodes are not told that it serves; a lock, as that ends with the program."""
    if not leads(request):
        yield
        return
    path = NODES / request["unit"] / "trying"
    if not path.exists():
        _published(path, "")
    with path.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def serve(request: dict[str, Any], *, restart: bool) -> None:
    """Let the request's unit serve.

    Raises:
        FailedError: It does not; the message says what serves now.
    """
    with _trying(request):
        _serve(request, restart=restart)


def _serve(request: dict[str, Any], *, restart: bool) -> None:
    own, rivals = Proof(request["unit"]), _rivals(request)
    before = (rivals[0] if rivals else own).request()
    changed = not own.fits(request)
    for rival in rivals:
        _ended(rival.request() or {"unit": rival.folder.name})
    try:
        bring_up(request, restart=restart or bool(rivals))
    except FailedError as failure:
        complain(failure)
        end = _gone_back(request, before) if changed or rivals else _nothing_else(request)
        if follows(request):
            time.sleep(HEAD_FIRST_S)
        raise FailedError(end) from None
    for rival in rivals:
        _removed(rival)
    if changed:
        own.keep(request)


def _rivals(request: dict[str, Any]) -> list[Proof]:
    """Other units that were proven behind the same door."""
    if request["url"] is None:
        return []
    return [
        proof
        for proof in _all_proofs()
        if proof.folder.name != request["unit"] and _door((proof.request() or {}).get("url")) == _door(request["url"])
    ]


def _all_proofs() -> list[Proof]:
    folders = sorted(PROVEN.iterdir()) if PROVEN.is_dir() else []
    return [Proof(folder.name) for folder in folders if folder.is_dir() and not folder.name.startswith(".")]


def _door(url: str | None) -> str:
    """Address and port that a unit listens at; empty for one that has none."""
    return urlsplit(url or "").netloc


def bring_up(request: dict[str, Any], *, restart: bool) -> None:
    """Start a unit from its files, and wait until it is ready and has answered.

    Raises:
        FailedError: It is not ready, or does not answer.
    """
    unit, end = request["unit"], time.monotonic() + request["patience_s"]
    systemctl("daemon-reload")
    for guard in request.get("guards", ()):
        systemctl("enable", "--quiet", guard)
        systemctl("reload-or-restart", guard)
    systemctl("enable", "--quiet", unit)
    systemctl("reset-failed", unit, check=False)  # what crashed before is not what is started now
    if restart or shown(unit, "ActiveState") != "active":
        systemctl("restart", unit, patience_s=request["patience_s"])
    if follows(request):
        _until_its_head_serves(request)
        return
    while not is_ready(request):
        crashed = int(shown(unit, "NRestarts") or 0) >= CRASHES
        if crashed or time.monotonic() > end:
            why = "ends as soon as it is started" if crashed else f"was not ready within {request['patience_s']} s"
            raise FailedError(f"{unit} {why}", journal(unit))
        time.sleep(0.5)
    question, speed = request["question"], request.get("speed")
    try:
        if question:
            ask(question["url"], question["body"], _key(question), max(LEAST_FOR_AN_ANSWER_S, end - time.monotonic()))
        rate = measured(speed) if speed else None
    except (OSError, ValueError) as error:
        raise FailedError(f"{unit} is ready, and its model does not answer: {error}", journal(unit)) from None
    if request.get("residency"):
        _on_its_cards(unit, request["residency"])
    if speed and rate is not None:
        if rate < speed["least"]:
            wanted = f"the profile asks for {speed['least']:g} (least_tokens_per_s)"
            raise FailedError(f"{unit} gives {rate:.1f} tokens/s at best, and {wanted}", journal(unit))
        say(f"{unit}: {request['serves']}, {rate:.1f} tokens/s")


def _until_its_head_serves(request: dict[str, Any]) -> None:
    """Wait until the head of the box is proven to serve by the same settings.

    Raises:
        FailedError: It went back to other ones, or does not come, or this node keeps ending.
    """
    unit, patience_s = request["unit"], request["patience_s"]
    begun = time.monotonic()
    end, word, joined, heard = begun + patience_s + HEAD_S, begun + WORD_S, False, True
    while (known := known_of_head(unit)) != "serves" or shown(unit, "ActiveState") != "active":
        now = time.monotonic()
        joined = joined or known == "joined"
        if joined and known == "other":
            raise FailedError(f"{unit}: the head of the box has gone back to what served before", journal(unit))
        if int(shown(unit, "NRestarts") or 0) >= CRASHES:
            raise FailedError(f"{unit} ends as soon as it is started", journal(unit))
        if heard and now > word:
            word, heard = now + WORD_S, say(f"{unit} waits for the head of the box: {known}")
            if not heard:  # the run has ended; a head that is at it goes on, and this node with it
                on_its_own = joined and Proof(unit).request() is not None
                end = min(end, now + (patience_s if on_its_own else 0))
        if now > end:
            raise FailedError(f"{unit}: the head of the box did not serve within {now - begun:.0f} s", journal(unit))
        time.sleep(0.5)


def known_of_head(unit: str) -> str:
    """What a node knows of its head, by run-node; it is the engine's own user who writes that."""
    place = RUN / unit.removesuffix(".service") / "head"
    try:
        with open(os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:  # noqa: PTH123
            said = file.read(20)
    except OSError:
        return "waiting"
    return next((word for word in ("other", "joined", "serves") if said == word.encode()), "waiting")


def _on_its_cards(unit: str, told: dict[str, Any]) -> None:
    """Say where the model lies.

    Raises:
        FailedError: It does not lie on the cards that it belongs on.
    """
    asking = [sys.executable, "-I", "-B", str(CARD_RESIDENCY)]
    done = subprocess.run(asking, input=json.dumps([told]), capture_output=True, text=True, check=False, timeout=600)
    if done.returncode:
        raise FailedError(f"{unit}: nobody can tell where its model lies: {done.stderr.strip()}")
    (found,) = json.loads(done.stdout)
    if found["wrong"]:
        raise FailedError(found["wrong"], journal(unit))
    say(found["unproven"] or found["seen"])


def _key(question: dict[str, Any]) -> dict[str, str]:
    return {"Authorization": f"Bearer {question['key']}"} if question["key"] else {}


def measured(speed: dict[str, Any]) -> float:
    """Tokens per second of one answer, its prompt included: the best of some, or the first that is fast enough.

    Raises:
        OSError: It is not answered, or not well, or takes twice as long as it may.
        ValueError: The answer does not tell of how many tokens it is, or they are too few to tell a speed.
    """
    least, most = speed["least"], speed["body"]["max_tokens"]
    patience_s, best = max(LEAST_FOR_AN_ANSWER_S, 2 * most / least), 0.0
    for _ in range(MEASURED):
        begun = time.monotonic()
        try:
            answer = ask(speed["url"], speed["body"], _key(speed), patience_s)
        except TimeoutError:
            raise OSError(
                f"not {most} tokens within {patience_s:.0f} s, at least {least:g} tokens/s are asked for"
            ) from None
        seconds = time.monotonic() - begun
        try:
            tokens = int(json.loads(answer)["usage"]["completion_tokens"])
        except (KeyError, TypeError):
            raise ValueError("it does not tell of how many tokens its answer is") from None
        if tokens < FEW_TOKENS:
            raise ValueError(f"an answer of {tokens} tokens is too short to tell its speed")
        best = max(best, tokens / max(seconds, 1e-9))
        if best >= least:
            break
    return best


def is_ready(request: dict[str, Any]) -> bool:
    """Whether the unit runs and its door, if it has one, is open."""
    if shown(request["unit"], "ActiveState") != "active":
        return False
    if request["url"] is None:
        return True
    try:
        ask(request["url"], None, {}, 5)
    except OSError:
        return False
    return True


def ask(url: str, body: Any, headers: dict[str, str], timeout: float) -> bytes:
    """Ask on the machine itself; proxies are for the outside.

    Raises:
        OSError: It is not answered, or not well.
    """
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"} | headers
    request = urllib.request.Request(url, data, headers)  # noqa: S310 - loopback, by our own deploys
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=timeout) as answer:
            return bytes(answer.read())
    except urllib.error.HTTPError as error:
        told = error.read(500).decode(errors="replace")
        raise OSError(f"{error.code} {told or error.reason}") from None


def _nothing_else(request: dict[str, Any]) -> str:
    return f"This is what served {request['serves']} before: there is nothing else to go back to."


def _gone_back(request: dict[str, Any], before: dict[str, Any] | None) -> str:
    """Let what was proven serve again; say how that went."""
    if before is None:
        return "Nothing was proven to serve here before, so there is nothing to go back to."
    if before["unit"] != request["unit"]:
        _ended(request)
        _removed_files(request)
    return _served_again(before)


def _served_again(before: dict[str, Any]) -> str:
    """Let a unit serve from the files that were proven; say how that went."""
    Proof(before["unit"]).put_back(before)
    try:
        bring_up(before, restart=True)
    except FailedError as failure:
        complain(failure)
        return f"{before['unit']} with {before['serves']} was put back, and does not serve either."
    return f"{before['unit']} serves {before['serves']} again, with the files that it had."


def _ended(told: dict[str, Any]) -> None:
    systemctl("disable", "--now", "--quiet", told["unit"], *told.get("guards", ()), check=False)
    # One that was killed with requests in flight counts as failed.
    systemctl("reset-failed", told["unit"], check=False)


def _removed(rival: Proof) -> None:
    """The files of a unit that gave way: it would start beside its successor, and listen nowhere."""
    told = rival.request() or {}
    _removed_files(told)
    rival.forget()
    say(f"{rival.folder.name} served {told.get('serves')} before, and was removed")


def _removed_files(told: dict[str, Any]) -> None:
    for path in map(Path, (*told.get("written", ()), *told.get("traces", ()))):
        path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # of a folder that is not empty: units have neighbours
            path.parent.rmdir()
    systemctl("daemon-reload")


def systemctl(*words: str, check: bool = True, patience_s: int = 300) -> None:
    """Order something of systemd. What is slow goes on; whoever waits for it says when that is too long.

    Raises:
        FailedError: It refuses.
    """
    try:
        done = subprocess.run(["systemctl", *words], capture_output=True, text=True, check=False, timeout=patience_s)
    except subprocess.TimeoutExpired:
        return
    if check and done.returncode:
        raise FailedError(f"systemctl {' '.join(words)} failed: {done.stderr.strip()}")


def shown(unit: str, name: str) -> str:
    """A property of a unit."""
    asking = ["systemctl", "show", unit, f"--property={name}", "--value"]
    return subprocess.run(asking, capture_output=True, text=True, check=False, timeout=60).stdout.strip()


def journal(unit: str) -> str:
    """The last that a unit said."""
    asking = ["journalctl", f"--unit={unit}", f"--lines={LOG_LINES}", "--no-pager", "--output=cat"]
    return subprocess.run(asking, capture_output=True, text=True, check=False, timeout=60).stdout.strip()


def say(text: str, where: TextIO | None = None) -> bool:
    """Tell whoever ran it; False where nobody is there any more, which is no reason to leave a box half changed."""
    try:
        print(text, file=where or sys.stdout, flush=True)
    except OSError:
        return False
    return True


def complain(failure: FailedError | OSError) -> None:
    """Tell what went wrong, the log first: of long output the end is shown."""
    log = getattr(failure, "log", "")
    say("\n".join([*([log] if log else []), f"serve-unit: {failure}"]), sys.stderr)


def _known(unit: str) -> dict[str, Any]:
    """What was asked for when a unit was proven.

    Raises:
        FailedError: It never was.
    """
    told = Proof(unit).request()
    if told is None:
        raise FailedError(f"nothing is proven of {unit}")
    return told


def obey(order: str, unit: str) -> None:
    """Do what another program orders, which proves units in a way of its own.

    Raises:
        FailedError: It cannot be done.
    """
    if order == "known":
        for proof in _all_proofs():
            say(proof.folder.name)
    elif order == "rivals":
        for rival in _rivals(json.load(sys.stdin)):
            say(rival.folder.name)
    elif order == "keep":
        request = json.load(sys.stdin)
        Proof(request["unit"]).keep(request)
    elif order == "end":
        _ended(_known(unit))
    elif order == "back":
        say(_served_again(_known(unit)))
    elif order == "remove":
        _removed(Proof(unit))
    else:
        raise FailedError(f"there is no order {order}")


def main(arguments: Sequence[str]) -> int:
    """Do what was ordered; one at a time."""
    os.umask(0o077)
    PROVEN.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (PROVEN / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            if arguments and arguments[0] != "--restart":
                obey(arguments[0], "".join(arguments[1:2]))
            else:
                serve(json.load(sys.stdin), restart="--restart" in arguments)
        except (FailedError, OSError) as error:
            complain(error)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

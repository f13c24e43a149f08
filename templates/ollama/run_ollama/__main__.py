"""Let a version of Ollama serve, with the model in place; if it does not, put back what served before.

Usage: run-ollama activate REQUEST
       run-ollama load UNIT PORT NAME PURPOSE SECONDS
       run-ollama measure UNIT PORT PLACEMENT FILE

REQUEST is a JSON file: `destination` (the folder of versions), `version` (one of them), `release` (as Ollama calls
itself), `user`, `doors` (the command of serve-unit, which keeps whose door is whose) and `instances`, each with `unit`,
`guard` (of its rules), `port`, `store`, `record`, `modelfile`, `names`, `weights`, `purpose`, `placement`,
`numa_placement` (what memory-placement is asked of the NUMA nodes that it lies on, or null), `least_tokens_per_s`,
`patience_s`, `measure` (of its timer), `measured` (what that writes), `written` (its files), `digest` (of them),
`files` (what it reads when it starts) and `proof` (what serve-unit is told of it).

`activate` points `current` at the version, starts every instance that does not run what the files say, registers its
model, loads it, looks where it lies and how fast it answers. When all of that is right, the files are kept as what is
proven; when something is not, the files and the version that were proven last come back. Another engine behind the same
door gives way meanwhile; it goes when all is right, and comes back when something is not. `load` is what units do after
their start. `measure` writes for Prometheus whether an instance answers, and where its model lies.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from doors import Doors
from instance import FailedError, Instance, lies_right, systemctl
from store import Store

COMPLETE = ".complete"


class Box:
    """The versions on this machine, which of them serves, and what was proven to serve last."""

    def __init__(self, request: dict[str, Any]) -> None:
        self.request = request
        self.destination = Path(request["destination"])
        self.link = self.destination / "current"
        self.proof = self.destination / "proven.json"
        self.doors = Doors(request["doors"])

    def activate(self) -> None:
        """Let the requested version serve.

        Raises:
            FailedError: It does not; the message says what serves now.
        """
        proven = self._proven()
        instances = [*self.request["instances"], *proven.get("request", {}).get("instances", ())]
        own = {f"{told['unit']}.service" for told in instances}
        rivals = self.doors.rivals([told["proof"] for told in self.request["instances"]], own)
        for unit in rivals:
            self.doors.end(unit)
        try:
            self._bring_up(self.request)
        except FailedError as failure:
            complain(str(failure))
            own_end = self._put_back(proven, rivals)
            raise FailedError(" ".join([*own_end, *(self.doors.back(unit) for unit in rivals)])) from None
        kept = proven.get("request", {}).get("version")
        previous = kept if kept != self.request["version"] else proven.get("previous")
        for unit in rivals:
            say(self.doors.remove(unit))
        self._end_others(proven)
        self._prove(previous)
        self._remove_versions({self.request["version"], previous})

    def _bring_up(self, request: dict[str, Any]) -> None:
        version = self.destination / request["version"]
        if not (version / COMPLETE).exists():
            raise FailedError(f"{version} is not there")
        self._switch(request["version"])
        systemctl("daemon-reload")
        instances = [Instance(told) for told in request["instances"]]
        stores = [Store(told, str(self.link / "bin/ollama"), request["user"]) for told in request["instances"]]
        for one, store in zip(instances, stores, strict=True):
            store.make_folders()
            # Not `enable --now`: rules that have changed are to be read again.
            timer = f"{one.told['measure']}.timer"
            systemctl("enable", "--quiet", f"{one.told['guard']}.service", one.unit, timer)
            systemctl("reload-or-restart", f"{one.told['guard']}.service")
            systemctl("start", timer)
            one.start()
        for one, store in zip(instances, stores, strict=True):
            one.wait_for(request["release"])
            registered = store.register()
            one.load()
            where = one.judge()
            say(f"{one.unit}: Ollama {request['release']}, {one.name} {registered}; {where}; {one.speed()}")

    def _switch(self, version: str) -> None:
        if self.link.is_symlink() and self.link.readlink() == Path(version):
            return
        draft = self.destination / ".current.new"
        draft.unlink(missing_ok=True)
        draft.symlink_to(version)
        draft.replace(self.link)

    def _proven(self) -> dict[str, Any]:
        """What was proven last, but for instances whose doors other engines took since."""
        try:
            proven = json.loads(self.proof.read_text())
            instances = proven["request"]["instances"]
        except (OSError, ValueError, KeyError, TypeError):
            return {}
        known = self.doors.known()
        there = [told for told in instances if "proof" not in told or f"{told['unit']}.service" in known]
        if not there:
            return {}
        gone = {path for told in instances if told not in there for path in told["written"]}
        files = {path: text for path, text in proven["files"].items() if path not in gone}
        return proven | {"request": proven["request"] | {"instances": there}, "files": files}

    def _files(self, request: dict[str, Any]) -> dict[str, str]:
        """What the instances are made of, besides the version: units, settings, rules and Modelfiles."""
        paths = [Path(path) for told in request["instances"] for path in told["written"]]
        return {str(path): path.read_text() for path in paths if path.is_file()}

    def _prove(self, previous: str | None) -> None:
        for told in self.request["instances"]:
            self.doors.keep(told["proof"])
        proof = {"request": self.request, "files": self._files(self.request), "previous": previous}
        text = json.dumps(proof, indent=1, sort_keys=True) + "\n"
        if not self.proof.exists() or self.proof.read_text() != text:
            draft = self.proof.with_suffix(".new")
            draft.write_text(text)
            draft.replace(self.proof)

    def _put_back(self, proven: dict[str, Any], rivals: list[str]) -> list[str]:
        """Let what was proven serve again; say how that went. Nothing is said of what other engines have to say."""
        mine = {told["unit"] for told in proven.get("request", {}).get("instances", ())}
        strangers = [told for told in self.request["instances"] if told["unit"] not in mine]
        if rivals:  # they want the doors back
            for told in strangers:
                end(told)
        if not proven:
            return [] if rivals else ["Nothing served here before, so there is nothing to go back to."]
        return [self._bring_back(proven, strangers)]

    def _bring_back(self, proven: dict[str, Any], strangers: list[dict[str, Any]]) -> str:
        if proven["request"] == self.request and proven["files"] == self._files(self.request):
            return "This is what served before: there is nothing else to go back to."
        for name, text in proven["files"].items():
            path = Path(name)
            if not path.exists() or path.read_text() != text:
                path.parent.mkdir(parents=True, exist_ok=True)
                draft = path.with_name(f"{path.name}.back")
                draft.write_text(text)
                draft.replace(path)
        for told in strangers:
            end(told)
        release = proven["request"]["release"]
        try:
            self._bring_up(proven["request"])
        except FailedError as failure:
            return f"Ollama {release}, which served before, was put back, and does not serve either: {failure}"
        return f"Ollama {release} serves again, with the settings that it had."

    def _end_others(self, proven: dict[str, Any]) -> None:
        """End instances that served before and are not wanted any more; their models stay."""
        wanted = {told["unit"] for told in self.request["instances"]}
        for told in proven.get("request", {}).get("instances", ()):
            if told["unit"] not in wanted:
                end(told)
                self.doors.forget(f"{told['unit']}.service")
                say(f"{told['unit']}.service is not wanted any more, and was ended")

    def _remove_versions(self, kept: set[str | None]) -> None:
        for folder in self.destination.iterdir():
            if folder.is_dir() and not folder.is_symlink() and folder.name not in kept:
                shutil.rmtree(folder, ignore_errors=True)


def end(told: dict[str, Any]) -> None:
    """End an instance, and remove what it was made of; its model stays."""
    units = [f"{told['unit']}.service", f"{told['guard']}.service", f"{told['measure']}.timer"]
    systemctl("disable", "--now", "--quiet", *units, check=False)
    Path(told["measured"]).unlink(missing_ok=True)
    for path in map(Path, told["written"]):
        path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # of a folder that is not empty
            if told["unit"] in path.parent.name:
                path.parent.rmdir()
    systemctl("daemon-reload")


def say(text: str) -> None:
    """Tell whoever ran it."""
    print(text, flush=True)  # noqa: T201 - a program of its own on the box


def complain(text: str) -> None:
    """Tell what went wrong, before it is known what becomes of it."""
    print(f"run-ollama: {text}", file=sys.stderr, flush=True)  # noqa: T201


def activate(path: str) -> None:
    """Do what the request file says; one at a time."""
    request = json.loads(Path(path).read_text())
    with (Path(request["destination"]) / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        Box(request).activate()


def load(unit: str, port: str, name: str, purpose: str, seconds: str) -> None:
    """Load a model into a server that has just been started. One that it does not know is left for later."""
    told = {"unit": unit, "names": [name], "port": int(port), "purpose": purpose, "patience_s": int(seconds)}
    instance = Instance(told)
    instance.answering()
    if instance.knows():
        instance.load()


def measure(unit: str, port: str, placement: str, path: str) -> None:
    """Write for Prometheus's node exporter what an instance says of itself: a whole file, or none."""
    instance = Instance({"unit": unit, "names": [""], "port": int(port)})
    try:
        loaded = instance.ask("/api/ps")["models"]
    except (OSError, KeyError):
        loaded = None
    lines = ["# TYPE boxwright_engine_up gauge", f'boxwright_engine_up{{unit="{unit}"}} {int(loaded is not None)}']
    rows = [(one["name"], int(one["size"]), int(one["size_vram"])) for one in loaded or ()]
    for name, value in (
        ("model_bytes", lambda total, _: total),
        ("model_cards_bytes", lambda _, on_cards: on_cards),
        ("model_misplaced", lambda total, on_cards: int(not lies_right(placement, total, on_cards))),
    ):
        lines.append(f"# TYPE boxwright_{name} gauge")
        lines += [f'boxwright_{name}{{unit="{unit}",model="{model}"}} {value(*sizes)}' for model, *sizes in rows]
    draft = Path(f"{path}.new")
    draft.write_text("\n".join(lines) + "\n")
    draft.replace(path)


def main(arguments: list[str]) -> int:
    """Do one of the two."""
    os.umask(0o022)
    orders = {"activate": activate, "load": load, "measure": measure}
    try:
        orders[arguments[0]](*arguments[1:])
    except (FailedError, OSError, subprocess.TimeoutExpired) as error:
        complain(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

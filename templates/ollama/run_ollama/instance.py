"""One instance of Ollama on this machine: its unit, its API, and where its model lies."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

MEMORY_PLACEMENT = Path(__file__).resolve().parent.with_name("memory-placement")
ANSWERS_WITHIN_S = 120  # the server itself; the model comes after it
CRASHES = 3  # restarts by systemd after which nobody waits any longer
PROMPT = "Count from one to thirty in words."
TOKENS = 48
MEASURED = 3  # answers at most: the first ones after a start may be slow, and the best one counts
SHARE_SEEN = 0.5  # of the weights, the least that nvidia-smi must see on the cards


class FailedError(Exception):
    """It does not serve as it should; the message says how."""


class Instance:
    """An instance, as the request describes it."""

    def __init__(self, told: dict[str, Any]) -> None:
        self.told = told
        self.unit = f"{told['unit']}.service"
        self.name: str = told["names"][0]
        self.port: int = told["port"]

    def ask(self, path: str, body: dict[str, Any] | None = None, timeout: float = 10) -> Any:
        """Ask the server; proxies are for the outside.

        Raises:
            OSError: It does not answer, or not well.
        """
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}", data, {"Content-Type": "application/json"}
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=timeout) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            with contextlib.suppress(ValueError, AttributeError):
                raise OSError(f"{error.code}: {json.load(error)['error']}") from None
            raise OSError(f"{error.code} {error.reason}") from None
        except ValueError as error:
            raise OSError(f"what it answers is no JSON: {error}") from None

    def start(self) -> None:
        """Have the process run what the files say. One that does already is left alone."""
        # One that systemd restarts in vain may be current since a moment: its crashes before are not those of now.
        systemctl("reset-failed", self.unit, check=False)
        if not self._is_current():
            systemctl("restart", "--no-block", self.unit)

    def _is_current(self) -> bool:
        shown = properties(self.unit, "ActiveState", "InactiveExitTimestamp")
        if shown["ActiveState"] not in ("active", "activating"):
            return False
        started = datetime.datetime.strptime(shown["InactiveExitTimestamp"], "%a %Y-%m-%d %H:%M:%S.%f UTC")
        begun = started.replace(tzinfo=datetime.UTC).timestamp()
        changed = [os.lstat(path).st_ctime for path in self.told["files"] if os.path.lexists(path)]
        return max(changed, default=0.0) <= begun

    def answering(self) -> str:
        """Wait until the server answers; return which release it is.

        Raises:
            FailedError: It does not.
        """
        end = time.monotonic() + ANSWERS_WITHIN_S
        while True:
            try:
                return str(self.ask("/api/version")["version"])
            except (OSError, KeyError) as error:
                crashed = self._crashed()
                if crashed or time.monotonic() > end:
                    why = "ends as soon as it is started" if crashed else f"does not answer: {error}"
                    raise FailedError(f"{self.unit} {why}\n{journal(self.unit)}") from None
            time.sleep(0.3)

    def _crashed(self) -> bool:
        """Whether there is nobody to wait for. What a unit runs after its start is told which process was started."""
        if started := os.environ.get("MAINPID"):
            return not Path("/proc", started).exists()
        return int(properties(self.unit, "NRestarts")["NRestarts"] or 0) >= CRASHES

    def wait_for(self, release: str) -> None:
        """Wait until the server answers, and is of this release.

        Raises:
            FailedError: It does not, or is of another.
        """
        version = self.answering()
        if version != release:
            raise FailedError(f"{self.unit} is Ollama {version}, not {release}: is another server on port {self.port}?")

    def knows(self) -> bool:
        """Whether the model is registered there."""
        return any(one["name"] in (self.name, f"{self.name}:latest") for one in self.ask("/api/tags")["models"])

    def load(self) -> None:
        """Have the model in place.

        Raises:
            FailedError: The server does not load it.
        """
        try:
            if self.told["purpose"] == "embedding":
                self.ask("/api/embed", {"model": self.name, "input": "a word"}, self.told["patience_s"])
            else:
                self.ask("/api/generate", {"model": self.name, "stream": False}, self.told["patience_s"])
        except OSError as error:
            raise FailedError(f"{self.unit} does not load {self.name}: {error}\n{journal(self.unit)}") from None

    def judge(self) -> str:
        """Say where the model lies, if that is where it belongs.

        Raises:
            FailedError: It lies elsewhere, or is not loaded at all.
        """
        try:
            loaded = {one["name"]: one for one in self.ask("/api/ps")["models"]}
        except (OSError, KeyError) as error:
            raise FailedError(f"{self.unit} does not tell what is loaded: {error}") from None
        found = loaded.get(f"{self.name}:latest") or loaded.get(self.name)
        if found is None:
            raise FailedError(f"{self.unit} has not loaded {self.name}, but {', '.join(loaded) or 'nothing'}")
        total, on_cards = int(found["size"]), int(found["size_vram"])
        where = f"{on_cards / 1e9:.2f} of {total / 1e9:.2f} GB of {self.name} on cards"
        wanted = self.told["placement"]
        if not lies_right(wanted, total, on_cards) or total <= 0:
            share = {"cards": "all", "memory": "none", "both": "a part"}[wanted]
            raise FailedError(f"{self.unit} has {where}; {share} of it belongs there\n{journal(self.unit)}")
        if wanted == "cards":
            self._seen_on_cards()
        return f"{where}{self._on_its_nodes()}"

    def _on_its_nodes(self) -> str:
        """Say on which NUMA nodes its memory lies, where the profile names some; they are there when it is loaded."""
        wanted = self.told.get("numa_placement")
        if not wanted:
            return ""
        asking = [sys.executable, "-I", "-B", str(MEMORY_PLACEMENT)]
        done = subprocess.run(
            asking, input=json.dumps([wanted]), capture_output=True, text=True, check=False, timeout=600
        )
        if done.returncode:
            raise FailedError(f"{self.unit}: nobody can tell where its memory lies: {done.stderr.strip()}")
        (found,) = json.loads(done.stdout)
        if found["wrong"]:
            raise FailedError(f"{found['wrong']}\n{journal(self.unit)}")
        return f"; {found['unproven'] or found['seen']}"

    def _seen_on_cards(self) -> None:
        """Hold what Ollama says against the driver: of a model whose log it could not read, it says what is hoped."""
        asking = ["nvidia-smi", "--query-compute-apps=pid,used_gpu_memory", "--format=csv,noheader,nounits"]
        try:
            told = subprocess.run(asking, capture_output=True, text=True, check=True, timeout=60).stdout
        except (OSError, subprocess.SubprocessError) as error:
            raise FailedError(f"the driver does not tell what is on the cards: {error}") from None
        mine = 0
        for line in told.splitlines():
            pid, _, mib = (part.strip() for part in line.partition(","))
            if pid.isdigit() and mib.isdigit() and self._owns(pid):
                mine += int(mib) << 20
        weights = sum(file["bytes"] for file in self.told["weights"])
        if mine < SHARE_SEEN * weights:
            raise FailedError(
                f"{self.unit} says that {self.name} is on cards, and its processes have {mine / 1e9:.2f} GB there; "
                f"the weights are {weights / 1e9:.2f} GB"
            )

    def _owns(self, pid: str) -> bool:
        with contextlib.suppress(OSError):
            return f"/{self.unit}" in Path("/proc", pid, "cgroup").read_text()
        return False

    def speed(self) -> str:
        """Have it answer, and say how fast; embeddings have no such speed.

        Raises:
            FailedError: It does not answer, or more slowly than the profile allows.
        """
        if self.told["purpose"] == "embedding":
            return "answers"
        least, best = self.told["least_tokens_per_s"] or 0, 0.0
        for _ in range(MEASURED):
            best = max(best, self._rate())
            if best > 0 and best >= least:
                return f"{best:.1f} tokens/s"
        raise FailedError(f"{self.unit} gives {best:.1f} tokens/s at best; the profile asks for {least or 'some'}")

    def _rate(self) -> float:
        """Tokens per second of one answer."""
        body = {"model": self.name, "prompt": PROMPT, "stream": False}
        options = {"num_predict": TOKENS, "temperature": 0}
        try:
            answer = self.ask("/api/generate", body | {"options": options}, self.told["patience_s"])
            return int(answer["eval_count"]) / max(int(answer["eval_duration"]) / 1e9, 1e-9)
        except (OSError, KeyError) as error:
            raise FailedError(f"{self.unit} does not answer: {error}\n{journal(self.unit)}") from None


def lies_right(placement: str, total: int, on_cards: int) -> bool:
    """Whether so many of a model's bytes belong on cards."""
    return {"cards": on_cards == total, "memory": on_cards == 0, "both": 0 < on_cards < total}[placement]


def systemctl(*words: str, check: bool = True) -> None:
    """Order something of systemd.

    Raises:
        FailedError: It refuses.
    """
    done = subprocess.run(["systemctl", *words], capture_output=True, text=True, check=False, timeout=300)
    if check and done.returncode:
        raise FailedError(f"systemctl {' '.join(words)} failed: {done.stderr.strip()}")


def properties(unit: str, *names: str) -> dict[str, str]:
    """What systemd says of a unit."""
    asking = ["systemctl", "show", unit, "--timestamp=us+utc", f"--property={','.join(names)}"]
    told = subprocess.run(asking, capture_output=True, text=True, check=False, timeout=60).stdout
    return dict.fromkeys(names, "") | dict(line.split("=", 1) for line in told.splitlines() if "=" in line)


def journal(unit: str) -> str:
    """The last that a unit said."""
    asking = ["journalctl", f"--unit={unit}", "--lines=20", "--no-pager", "--output=cat"]
    return subprocess.run(asking, capture_output=True, text=True, check=False, timeout=60).stdout.strip()

"""Ollama's own form of the model: registered from the verified weights, which are linked and not copied."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import pwd
import shutil
import subprocess
from pathlib import Path
from typing import Any

from instance import FailedError

SPARE = 512 << 20  # bytes that the rest of the system keeps to itself
MODEL_LAYER = "application/vnd.ollama.image.model"


class Store:
    """The folder of one instance, and the record of what was registered there."""

    def __init__(self, told: dict[str, Any], program: str, user: str) -> None:
        self.told = told
        self.folder = Path(told["store"])
        self.program = program
        self.user = pwd.getpwnam(user)

    def register(self) -> str:
        """Have the model known under all its names, and under no name that an earlier run gave it.

        Raises:
            FailedError: The weights are not the verified ones, or Ollama does not take them.
        """
        before = self._recorded()
        if before.get("mark") == self._mark() and before.get("manifests") == self._manifests():
            return "was registered"
        linked = self._link_weights()
        self._require_space(linked)
        first, *others = self.told["names"]
        self._ollama("create", first, "-f", self.told["modelfile"])
        self._hold_against_weights(first)
        for other in others:
            self._ollama("cp", first, other)
        for stale in sorted({*before.get("manifests", {})} - {*self.told["names"]}):
            self._ollama("rm", stale)
        manifests = self._manifests()
        missing = [name for name in self.told["names"] if name not in manifests]
        if missing:
            raise FailedError(f"Ollama did not register {', '.join(missing)} in {self.folder}")
        self._record({"mark": self._mark(), "manifests": manifests})
        return "registered, the weights linked" if linked else "registered, the weights copied"

    def _mark(self) -> str:
        """Says what was asked for; a record with another one is of something else."""
        asked = [Path(self.told["modelfile"]).read_text(), self.told["weights"], self.told["names"]]
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()

    def manifest(self, name: str) -> Path:
        """Where Ollama says what a model is made of."""
        return self.folder / "manifests/registry.ollama.ai/library" / name / "latest"

    def _manifests(self) -> dict[str, str]:
        """The digest of each name's manifest, which is the model's digest for Ollama, too."""
        there = {name: self.manifest(name) for name in self.told["names"]}
        return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in there.items() if path.exists()}

    def _recorded(self) -> dict[str, Any]:
        try:
            record = json.loads(Path(self.told["record"]).read_text())
        except (OSError, ValueError):
            return {}
        return record if isinstance(record, dict) else {}

    def _record(self, record: dict[str, Any]) -> None:
        path = Path(self.told["record"])
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        draft = path.with_suffix(".new")
        draft.write_text(json.dumps(record, sort_keys=True) + "\n")
        draft.replace(path)

    def make_folders(self) -> None:
        """Have its folder, which the unit wants to see before it starts."""
        self.folder.parent.mkdir(mode=0o755, exist_ok=True)
        for folder in (self.folder, self.folder / "blobs"):
            folder.mkdir(mode=0o750, exist_ok=True)
            os.chown(folder, self.user.pw_uid, self.user.pw_gid)

    def _link_weights(self) -> bool:
        """Give Ollama the weights under the name by which it would store them: it finds them there, and copies nothing.

        They stay root's, whom Ollama cannot overwrite. On another disk than the store they cannot be linked.
        """
        for file in self.told["weights"]:
            source = Path(file["path"])
            if _verified(source) != file["sha256"]:
                raise FailedError(f"{source} is not as it was verified: run the stage models again")
            blob = self.folder / "blobs" / f"sha256-{file['sha256']}"
            if blob.exists() and blob.samefile(source):
                continue
            draft = blob.with_name(".link")
            draft.unlink(missing_ok=True)
            try:
                draft.hardlink_to(source)
            except OSError as error:
                if error.errno in (errno.EXDEV, errno.EPERM, errno.EMLINK):
                    return False
                raise
            draft.replace(blob)
        return True

    def _require_space(self, linked: bool) -> None:
        """Shards are put together into one new file by many releases, and what is not linked is copied."""
        files = self.told["weights"]
        needed = 0 if linked and len(files) == 1 else sum(file["bytes"] for file in files)
        free = shutil.disk_usage(self.folder).free
        if needed and free < needed + SPARE:
            raise FailedError(
                f"{self.folder} has {free / 1e9:.1f} GB free; to register the model needs {needed / 1e9:.1f} and "
                f"{SPARE / 1e9:.1f} to spare, for Ollama writes its files anew"
            )

    def _ollama(self, *words: str) -> None:
        user = self.user.pw_name
        running = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "--no-new-privs"]
        environment = {
            "HOME": f"/var/lib/{self.told['unit']}",
            "OLLAMA_HOST": f"127.0.0.1:{self.told['port']}",
            "PATH": "/usr/bin:/bin",
            "TERM": "dumb",
        }
        timeout = 600 + sum(file["bytes"] for file in self.told["weights"]) // 100_000_000
        done = subprocess.run(
            [*running, self.program, *words],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
        )
        if done.returncode:
            tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-5:])
            raise FailedError(f"ollama {' '.join(words[:2])} failed: {tail}")

    def _hold_against_weights(self, name: str) -> None:
        """A single file is stored as it is. Shards may have been put together, which gives them another digest."""
        files = self.told["weights"]
        if len(files) != 1:
            return
        try:
            layers = json.loads(self.manifest(name).read_text())["layers"]
        except (OSError, ValueError, KeyError) as error:
            raise FailedError(f"Ollama does not say what {name} is made of: {error}") from None
        digests = [one["digest"] for one in layers if one["mediaType"] == MODEL_LAYER]
        if digests != [f"sha256:{files[0]['sha256']}"]:
            raise FailedError(f"Ollama made {name} of {', '.join(digests) or 'nothing'}, not of {files[0]['path']}")


def _verified(path: Path) -> str:
    """The digest that the fetcher noted of a file, if the note still fits it; empty otherwise."""
    try:
        size, changed, sha256 = path.with_name(f".{path.name}.verified").read_text().split()
        status = path.stat()
    except (OSError, ValueError):
        return ""
    return sha256 if (int(size), int(changed)) == (status.st_size, status.st_mtime_ns) else ""

#!/usr/bin/python3
"""Look whether an installed KTransformers computes on this machine, before anything is served by it.

Usage: examine-ktransformers REQUEST

REQUEST is a JSON file: `environment` (the folder of its Python environment), `flavour` (`cuda`, or `cpu` for the
kernels of the processor alone), `kernels` (which of kt-kernel's extensions to load, or null), `methods` (ways of
computing experts), `trials` (the folder of trial.py), `user` (who runs what was installed) and `report` (the file that
tells what was found).

`kt doctor` always ends well, so its table is read: a row in error counts, and with `cuda` its row on cards. Then a
small layer of experts is computed by each method and held against torch. Each step is told as a line `progress: …`;
what is wrong ends the program with 1.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

TRIED = ("AMXINT4", "AMXINT8", "BF16", "FP8", "LLAMAFILE")  # of the others nobody has made weights for a trial
# It looks for transformers and sglang, which KTransformers brings under names of its own. What is installed is pinned.
_MISTAKEN = "Required packages"
_PATIENCE_S = 300


class UnfitError(Exception):
    """It does not compute here; the message says why."""


def examine(request: dict[str, Any]) -> dict[str, Any]:
    """Find out all of it.

    Raises:
        UnfitError: Something that serving needs is missing or wrong.
    """
    with tempfile.TemporaryDirectory(prefix="boxwright-kt-") as folder:
        shutil.chown(folder, request["user"], request["user"])
        runner = Runner(Path(request["environment"]), request["user"], Path(folder), request["kernels"])
        print("progress: kt doctor", flush=True)  # noqa: T201
        doctor = rows_of(runner.run("kt", "doctor", "--verbose").stdout)
        check_doctor(doctor, request["flavour"])
        if request["flavour"] == "cuda":
            check_kernels_for_cards(Path(request["environment"]))
            if not (shutil.which("cc") or shutil.which("gcc")):
                raise UnfitError("the server compiles kernels when it starts, and there is no C compiler: install gcc")
        trials = []
        for method in request["methods"]:
            print(f"progress: {method} against torch", flush=True)  # noqa: T201
            trials.append(trial(runner, Path(request["trials"]), method))
    return {
        "environment": Path(request["environment"]).name,
        "kernels": request["kernels"],
        "methods": request["methods"],
        "processor": processor(),
        "doctor": doctor,
        "trials": trials,
    }


class Runner:
    """Runs programs of the environment as the service's user, in a folder that goes away."""

    def __init__(self, environment: Path, user: str, folder: Path, kernels: str | None) -> None:
        self._bin, self._user, self._folder = environment / "bin", user, folder
        self._kernels = {"KT_KERNEL_CPU_VARIANT": kernels} if kernels else {}

    def run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one to its end."""
        home = str(self._folder)
        variables = {
            **{"PATH": f"{self._bin}:/usr/bin:/bin", "HOME": home, "TMPDIR": home, "HF_HUB_OFFLINE": "1"},
            **{"COLUMNS": "500", "TERM": "dumb", "NO_COLOR": "1", "LC_ALL": "C.UTF-8", "KT_LANG": "en"},
        }
        return subprocess.run(
            [str(self._bin / program), *arguments],
            env=variables | self._kernels,
            cwd=home,
            user=self._user,
            group=self._user,
            extra_groups=[],
            capture_output=True,
            text=True,
            check=False,
            timeout=_PATIENCE_S,
        )


def rows_of(output: str) -> list[dict[str, str]]:
    """The rows of the table that `kt doctor` prints."""
    rows = []
    for line in output.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("│").split("│")]
        if line.lstrip().startswith("│") and len(cells) == 4:  # check, status, value, notes
            rows.append(dict(zip(("check", "status", "value", "notes"), cells, strict=True)))
    if not any(row["check"] == "kt-kernel" for row in rows):
        raise UnfitError("kt doctor printed no table that can be read")
    return rows


def check_doctor(rows: list[dict[str, str]], flavour: str) -> None:
    """Whether anything in the table keeps the server from running."""
    bad = [row for row in rows if row["status"] == "Error" and row["check"] != _MISTAKEN]
    bad += [row for row in rows if flavour == "cuda" and row["check"] == "GPU detection" and row["status"] != "OK"]
    if bad:
        told = "; ".join(f"{row['check']}: {row['value']}" for row in bad)
        raise UnfitError(f"kt doctor found what keeps it from running: {told}")


def check_kernels_for_cards(environment: Path) -> None:
    """Whether all wheels that carry a piece of the kernels for cards are there."""
    (packages,) = (environment / "lib").glob("python3*/site-packages")
    found = importlib.util.spec_from_file_location("pieces", packages / "sgl_kernel/_payload_manifest.py")
    assert found  # noqa: S101  the file's name ends in .py
    assert found.loader  # noqa: S101
    manifest = importlib.util.module_from_spec(found)
    found.loader.exec_module(manifest)
    missing = [name for name in manifest.PAYLOAD_MODULES if not (packages / name / "payload.part").is_file()]
    if missing:
        raise UnfitError(f"the kernels for cards are not whole: {', '.join(missing)} is not installed")


def trial(runner: Runner, trials: Path, method: str) -> dict[str, Any]:
    """What came of a small layer by this method."""
    if method not in TRIED:
        return {"method": method, "note": "no trial is known: only the flags of the processor were looked at"}
    done = runner.run("python", "-B", str(trials / "trial.py"), method)
    if done.returncode == -signal.SIGILL:
        raise UnfitError(f"{method} ended with an illegal instruction: the processor lacks what /proc/cpuinfo shows")
    if done.returncode:
        last = " ".join((done.stderr.strip().splitlines() or ["no word"])[-1:])
        raise UnfitError(f"{method} could not be computed: {last}")
    answer: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    if not answer["error"] <= answer["let_pass"]:  # as a comparison with what is no number fails, too
        raise UnfitError(f"{method} computes wrongly here: off by {answer['error']:.0%} from what torch makes of it")
    return answer


def processor() -> str:
    """What tells this processor from another, or from itself under another kernel."""
    flags = next(line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("flags"))
    return hashlib.sha256(flags.encode()).hexdigest()


def main(arguments: list[str]) -> int:
    """Examine, and write the report."""
    os.umask(0o022)
    request = json.loads(Path(arguments[0]).read_text())
    try:
        report = examine(request)
    except (UnfitError, OSError, subprocess.TimeoutExpired) as error:
        print(f"examine-ktransformers: {error}", file=sys.stderr)  # noqa: T201
        return 1
    path = Path(request["report"])
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.new")
    draft.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n")
    draft.replace(path)
    for row in report["doctor"]:
        print(f"{row['check']}: {row['status']}, {row['value']}")  # noqa: T201
    for one in report["trials"]:
        print(" ".join(f"{key}={value}" for key, value in one.items() if value != ""))  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

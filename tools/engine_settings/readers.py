"""How the settings of each engine are read. `ollama` and `tensorrt_llm` have none: their tables are kept by hand."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from boxwright.model.engine_settings import Release
from tools.engine_settings import artefacts, capabilities, help_text, spans, variables

Rows = list[dict[str, Any]]


def read(engine: str, releases: Iterable[Release], cache: Path, progress: Callable[[str], None]) -> dict[str, Rows]:
    """The rows of an engine's table by section, read anew.

    Args:
        engine: One of those that have a reader.
        releases: Which releases, oldest first.
        cache: Where files are kept.
        progress: Told what takes long.

    Raises:
        ArtefactError: A file cannot be had, or is another one, or the engine's parser cannot be built.
    """
    rows, needs, on_amd = {}, {}, {}
    for release in releases:
        progress(f"{engine} {release.version}")
        rows[release.version] = READERS[engine](release, cache)
        if engine == "vllm":
            folder = artefacts.wheel("vllm", release, cache)
            needs[release.version] = capabilities.vllm(folder)
            on_amd[release.version] = capabilities.vllm_on_amd(folder)
    return {"settings": spans.join(rows), "capabilities": spans.join(needs), "on_amd": spans.join(on_amd)}


def refused(engine: str, folder: Path, commands: Iterable[Sequence[str]]) -> list[list[str]]:
    """The command lines that the parser of `vllm` or of `sglang`, unpacked in a folder, does not take."""
    told: list[list[str]] = _ask_parser(engine, folder, "refuse", text=json.dumps([list(words) for words in commands]))
    return told


def _parsed(engine: str, folder: Path) -> Rows:
    """The rows of an engine's own parser."""
    rows: Rows = _ask_parser(engine, folder)
    return rows


def _ask_parser(engine: str, folder: Path, *judge: str, text: str = "") -> Any:
    """What the program with an engine's parser says; a process of its own, as it imports the engine."""
    command = [sys.executable, "-m", "tools.engine_settings.parsers", engine, str(folder), *judge]
    done = subprocess.run(command, cwd=artefacts.ROOT, input=text.encode(), capture_output=True, check=False)
    if done.returncode:
        tail = done.stderr.decode(errors="replace").strip().splitlines()[-10:]
        raise artefacts.ArtefactError(f"the parser of {folder.name} cannot be built:\n" + "\n".join(tail))
    return json.loads(done.stdout)


def _vllm(release: Release, cache: Path) -> Rows:
    folder = artefacts.wheel("vllm", release, cache)
    rows = [*_parsed("vllm", folder), *variables.vllm(folder)]
    executor = folder / "vllm" / "model_executor"
    _restrict(rows, "--load-format", executor / "model_loader" / "__init__.py", "LoadFormats")
    _restrict(rows, "--quantization", executor / "layers" / "quantization" / "__init__.py", "QuantizationMethods")
    return rows


def _sglang_kt(release: Release, cache: Path) -> Rows:
    """SGLang's parser and variables, and the variables of the kernels that each of its releases pins."""
    folder = artefacts.wheel("sglang-kt", release, cache)
    kernels = artefacts.wheel("kt-kernel", release, cache)
    rows = [*_parsed("sglang", folder), *variables.sglang(folder)]
    _restrict(rows, "--kt-method", kernels / "kt_kernel" / "experts.py", "INFERENCE_METHODS")
    names = {row["name"] for row in rows}
    return [*rows, *(row for row in variables.kt_kernel(kernels) if row["name"] not in names)]


def _restrict(rows: Rows, name: str, path: Path, assigned: str) -> None:
    """Give a flag that the parser lets through as text the words that are taken later on."""
    row = next(row for row in rows if row["name"] == name)
    if row["type"] == "text":
        row.update(type="choice", choices=variables.words(path, assigned))


def _llama_cpp(release: Release, cache: Path) -> Rows:
    return help_text.rows(artefacts.llama_server_help(release, cache))


def _open_webui(release: Release, cache: Path) -> Rows:
    return variables.open_webui(artefacts.wheel("open-webui", release, cache))


READERS: dict[str, Callable[[Release, Path], Rows]] = {
    "vllm": _vllm,
    "sglang_kt": _sglang_kt,
    "llama_cpp": _llama_cpp,
    "open_webui": _open_webui,
}

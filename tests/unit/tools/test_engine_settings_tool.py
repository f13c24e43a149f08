"""The maker of the engine tables reads what parsers, sources and help texts say, and keeps what is written by hand."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from boxwright.model.engine_settings import EngineTable, Release
from boxwright.model.loading import load
from boxwright.places import ROOT
from tools.engine_settings import artefacts, capabilities, files, help_text, spans, variables

HELP = """\
----- common params -----

-h,    --help, --usage                  print usage and exit
-t,    --threads N                      number of threads (default: <num_cpus>)
                                        (env: TOY_THREADS)
-ngl,  --gpu-layers, --n-gpu-layers N   layers in VRAM, either an exact number,
                                        'auto', or 'all' (default: auto)
--temp N                                temperature (default: 0.80)
--rope-scale N                          expands context by a factor of N
-fa,   --flash-attn [on|off|auto]       flash attention (default: 'auto')
-kvo,  --kv-offload, -nkvo, --no-kv-offload
                                        offload the cache (default: enabled)
                                        (env: TOY_KV)
--cache-type TYPE                       data type
                                        allowed values: f16, q8_0
                                        (default: f16)
--load-mode MODE                        loading (default: mmap)
                                        - mmap: map it
                                        - mmap+mlock: map it and keep it
--range START END                       a range of layers
--name NAME                             a name
--draft, --draft-n N                    the argument has been removed. use --spec-n
"""

ENVIRONMENT = """
import os
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    TOY_LEVEL: int = 1
environment_variables = {
    "TOY_HOST": lambda: os.getenv("TOY_HOST", ""),
    "TOY_V1": lambda: bool(int(os.getenv("TOY_V1", "1"))),
    "TOY_HUB": lambda: os.environ.get("TOY_HUB", "False").lower() == "true",
    "TOY_EITHER": lambda: os.environ.get("TOY_EITHER", "0").lower() in ("true", "1"),
    "TOY_SECONDS": lambda: int(os.getenv("TOY_SECONDS", "60")),
    "TOY_SHARE": lambda: float(os.getenv("TOY_SHARE", "0.5")),
    "TOY_MODE": env_with_choices("TOY_MODE", "fast", ["fast", "exact"]),
    "TOY_LIST": lambda: os.getenv("TOY_LIST", "a,b").split(","),
    "TOY_LEVEL": lambda: level(),
}
"""

PACKAGE = """
import argparse
import torch
from torch.nn import Module
from toy import _kernels
from toy.heavy import unused

@torch.inference_mode()
def run(): ...

class Layer(Module):
    size = torch.iinfo(torch.int8).max * 2

class FlexibleArgumentParser(argparse.ArgumentParser): ...

class ServerArgs:
    @staticmethod
    def add_cli_args(parser):
        parser.add_argument("--model-path", "--model", type=str, required=True)
        parser.add_argument("--tp-size", "-tp", type=int, default=1)
        parser.add_argument("--share", type=float, default=0.9)
        parser.add_argument("--fast", action=argparse.BooleanOptionalAction, default=False)
        parser.add_argument("--once", action="store_true")
        parser.add_argument("--dtype", choices=["half", "auto"], default="auto")
        parser.add_argument("--sizes", type=int, nargs="+")
        parser.add_argument("--key", action="append")
        parser.add_argument("--extra", type=__import__("json").loads, default={})
"""


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def by_name(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in rows}


def test_a_help_text_is_read_flag_by_flag() -> None:
    rows = by_name(help_text.rows(HELP))
    assert rows["--threads"] == {"name": "--threads", "aliases": ["-t"], "type": "integer"}
    assert rows["TOY_THREADS"] == {"name": "TOY_THREADS", "type": "integer"}
    assert rows["--gpu-layers"]["aliases"] == ["-ngl", "--n-gpu-layers"]
    assert (rows["--gpu-layers"]["also"], rows["--gpu-layers"]["default"]) == (["auto", "all"], "auto")
    assert (rows["--temp"]["type"], rows["--rope-scale"]["type"]) == ("number", "number")
    assert rows["--flash-attn"]["choices"] == ["on", "off", "auto"]
    assert rows["--kv-offload"] == {
        **{"name": "--kv-offload", "aliases": ["-kvo"], "opposite": "--no-kv-offload"},
        **{"type": "boolean", "default": "true"},
    }
    assert rows["TOY_KV"]["type"] == "boolean"
    assert rows["--cache-type"]["choices"] == ["f16", "q8_0"]
    assert rows["--load-mode"]["choices"] == ["mmap", "mmap+mlock"]
    assert rows["--range"]["type"] == "list"
    assert rows["--name"]["type"] == "text"
    assert not {"--help", "--draft", "--draft-n"} & set(rows)


def test_variables_are_read_with_what_the_source_makes_of_them(tmp_path: Path) -> None:
    (tmp_path / "vllm").mkdir()
    (tmp_path / "vllm" / "envs.py").write_text(ENVIRONMENT)
    rows = by_name(variables.vllm(tmp_path))
    assert {name: row["type"] for name, row in rows.items()} == {
        **{"TOY_HOST": "text", "TOY_V1": "boolean", "TOY_HUB": "boolean", "TOY_EITHER": "boolean"},
        **{"TOY_SECONDS": "integer", "TOY_SHARE": "number", "TOY_MODE": "choice", "TOY_LIST": "text"},
        "TOY_LEVEL": "integer",
    }
    assert rows["TOY_HUB"]["truth"] == ["true", "false"]
    assert "truth" not in rows["TOY_V1"]
    assert "truth" not in rows["TOY_EITHER"]
    assert (rows["TOY_V1"]["default"], rows["TOY_HUB"]["default"]) == ("true", "false")
    assert rows["TOY_MODE"]["choices"] == ["fast", "exact"]


def test_words_of_a_literal_are_found_and_their_absence_is_told(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text('Formats = Literal["b", "a"]\n')
    assert variables.words(module, "Formats") == ["a", "b"]
    with pytest.raises(ValueError, match="has no Other any more"):
        variables.words(module, "Other")


def test_kinds_of_weights_for_amds_cards_are_read(tmp_path: Path) -> None:
    folder = tmp_path / "vllm" / "platforms"
    folder.mkdir(parents=True)
    words = 'class RocmPlatform:\n    supported_quantization: list[str] = ["fp8", "awq"]\n    if NEW:\n'
    (folder / "rocm.py").write_text(words + '        supported_quantization += ["mxfp4"]\n')
    assert capabilities.vllm_on_amd(tmp_path) == [{"name": "awq"}, {"name": "fp8"}, {"name": "mxfp4"}]
    (folder / "rocm.py").write_text("class RocmPlatform:\n    pass\n")
    with pytest.raises(ValueError, match="has no supported_quantization any more"):
        capabilities.vllm_on_amd(tmp_path)


def test_a_parser_is_built_without_the_libraries_of_its_package(tmp_path: Path) -> None:
    """A package that wants torch and compiled modules, in a process that has neither."""
    package = tmp_path / "sglang" / "srt"
    package.mkdir(parents=True)
    for folder in (tmp_path / "sglang", package):
        (folder / "__init__.py").write_text("")
    text = PACKAGE.replace("from toy import _kernels", "from sglang import _kernels")
    (package / "server_args.py").write_text(text.replace("from toy.heavy", "from a_library.heavy"))
    command = [sys.executable, "-m", "tools.engine_settings.parsers", "sglang", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = by_name(json.loads(done.stdout))
    assert rows["--model-path"] == {"name": "--model-path", "aliases": ["--model"], "type": "text"}
    assert rows["--tp-size"] == {"name": "--tp-size", "aliases": ["-tp"], "type": "integer", "default": "1"}
    assert (rows["--share"]["type"], rows["--extra"]["type"]) == ("number", "json")
    assert (rows["--fast"]["opposite"], "opposite" in rows["--once"]) == ("--no-fast", False)
    assert rows["--dtype"]["choices"] == ["auto", "half"]
    assert (rows["--sizes"]["form"], rows["--sizes"]["items"], rows["--key"]["form"]) == ("words", "integer", "repeat")


def test_releases_are_joined_to_spans() -> None:
    whole, text = {"name": "--a", "type": "integer"}, {"name": "--a", "type": "text"}
    read = {
        "1.0": [{**whole, "default": "1"}, {"name": "--old", "type": "text", "aliases": []}],
        "2.0": [{**whole, "default": "2"}, {"name": "NEW", "type": "text"}],
        "3.0": [text, {"name": "NEW", "type": "text"}],
    }
    assert spans.join(read) == [
        {"name": "--a", "type": "integer", "default": "2", "until": "2.0"},
        {"name": "--a", "type": "text", "since": "3.0"},
        {"name": "--old", "type": "text", "until": "1.0"},
        {"name": "NEW", "type": "text", "since": "2.0"},
    ]


HEAD = """\
# by hand
engine: toy
default_version: 1.0.0
source: "this test"
releases: [{version: 1.0.0}]
facts:
  --a: {reserved: "kept"}  # a remark
"""


def test_what_is_kept_by_hand_stays_and_what_is_written_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "toy.yml"
    path.write_text(f"{HEAD}\nsettings:\n  - {{name: --gone, type: text}}\n")
    rows = [
        {"name": "--a", "type": "text", "default": "on", "aliases": ["-a"]},
        {"name": "--b", "type": "choice", "choices": ["no", "1.5", "a: b", 'quo"te', "#x", "-"]},
        {"name": "--c", "type": "integer", "suffixes": True, "default": "0x10"},
    ]
    assert files.write(path, {"settings": rows, "capabilities": []}) is True
    assert path.read_text().startswith(HEAD)
    table = load(path, EngineTable)
    assert table.settings[0].default == "on"
    assert table.settings[1].choices == ("no", "1.5", "a: b", 'quo"te', "#x", "-")
    assert (table.settings[2].suffixes, table.settings[2].default) == (True, "0x10")
    found = table.find("-a", "1.0.0")
    assert found is not None
    assert found.reserved == "kept"
    assert files.write(path, {"settings": rows, "capabilities": []}) is False
    assert [release.version for release in files.releases(path)] == ["1.0.0"]


def test_a_file_without_a_place_for_rows_is_refused() -> None:
    with pytest.raises(ValueError, match="no line begins with 'settings:'"):
        files.text("engine: toy\n", {})


def wheel(folder: Path, name: str) -> str:
    """A wheel of one file; its digest."""
    import hashlib
    import zipfile

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("toy/__init__.py", "print('x')\n")
        archive.writestr("toy/large.so", "binary")
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_of_a_wheel_only_python_files_are_unpacked_and_only_once(cache: Path) -> None:
    digest = wheel(cache, "toy_engine-1.0-py3-none-any.whl")
    release = Release.model_validate({"version": "1.0", "wheels": {"toy-engine": digest}})
    folder = artefacts.wheel("toy-engine", release, cache)
    assert sorted(path.name for path in folder.rglob("*.*")) == ["__init__.py"]
    assert not (cache / "toy_engine-1.0-py3-none-any.whl").exists()
    assert artefacts.wheel("toy-engine", release, cache) == folder


def test_a_wheel_with_another_digest_is_refused(cache: Path) -> None:
    digest = wheel(cache, "toy_engine-1.0-py3-none-any.whl")
    release = Release.model_validate({"version": "1.0", "wheels": {"toy-engine": "0" * 64}})
    with pytest.raises(artefacts.ArtefactError, match=f"has the digest {digest}, and the table says 000"):
        artefacts.wheel("toy-engine", release, cache)


def test_the_command_names_the_engines_that_it_can_read() -> None:
    command = [sys.executable, "-m", "tools.engine_settings", "olama"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "no reader of 'olama'; there are: vllm, sglang_kt, llama_cpp, open_webui" in textwrap.fill(done.stderr, 500)

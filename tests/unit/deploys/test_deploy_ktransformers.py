"""What lets KTransformers in: facts, the reading of `kt doctor`, checks of weights. And the launcher of its server."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from boxwright.model.ktransformers import Box
from deploys.facts.ktransformers import Converted, ConvertedWeights, Examined, Machine

PROGRAMS = Path(__file__).parents[3] / "templates/ktransformers"


def answer(command: str) -> list[str]:
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)
    assert not done.stderr
    return done.stdout.splitlines()


def examine() -> ModuleType:
    found = importlib.util.spec_from_file_location("examine_ktransformers", PROGRAMS / "examine.py")
    assert found
    assert found.loader
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


EXAMINE = examine()

# Printed by `kt doctor --verbose` of kt-kernel 0.7.2 on a machine without a card.
DOCTOR = """
KTransformers Environment Diagnostics

┏━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━┳━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━┓
┃ Check                ┃ Status   ┃ Value                          ┃ Notes                                    ┃
┡━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━╇━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━┩
│ Python version       │ OK       │ 3.11.2                         │                                          │
│ CUDA availability    │ OK       │ 13.0                           │                                          │
│ GPU detection        │ Warning  │ No GPU detected                │ GPU recommended for best performance     │
│ kt-kernel            │ OK       │ v0.7.2 (AVX512_BF16)           │ AVX512 variant loaded - good performance │
│ Required packages    │ Error    │ 2/4 installed                  │                                          │
│   └─ transformers    │ ✗        │ Not installed                  │                                          │
└──────────────────────┴──────────┴────────────────────────────────┴──────────────────────────────────────────┘

⚠ Some issues were found. Please review the warnings/errors above.
"""


def test_the_machine_is_read_as_it_is() -> None:
    box = Machine().process(answer(Machine.command))
    assert box.kernel == os.uname().release
    assert box.memory_bytes == os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert "fpu" in box.flags


def test_a_machine_that_shows_no_flags_has_none() -> None:
    assert Machine().process(["MemTotal:  1024 kB", "6.1.0"]) == Box(frozenset(), 1 << 20, "6.1.0")


def test_an_examination_counts_on_the_processor_that_it_was_made_on(tmp_path: Path) -> None:
    report, fact = tmp_path / "report.json", Examined()
    assert fact.process(answer(fact.command(str(report)))) is None
    told = {"environment": "cpu-1", "kernels": None, "methods": ["FP8"], "processor": EXAMINE.processor()}
    report.write_text(json.dumps(told, indent=1) + "\n")
    assert fact.process(answer(fact.command(str(report)))) == ("cpu-1", None, ("FP8",))
    report.write_text(json.dumps(told | {"processor": "another"}))
    assert fact.process(answer(fact.command(str(report)))) is None
    report.write_text("{")
    assert fact.process(answer(fact.command(str(report)))) is None


def test_converted_weights_count_until_a_file_changes(tmp_path: Path) -> None:
    fact = Converted()

    def found() -> ConvertedWeights | None:
        return fact.process(answer(fact.command(str(tmp_path))))

    assert fact.process(answer(fact.command(str(tmp_path / "none")))) is None
    files = []
    for name in ("layer-00003.safetensors", "layer-00004.safetensors"):
        path = tmp_path / name
        path.write_bytes(name.encode())
        digest, state = hashlib.sha256(name.encode()).hexdigest(), path.stat()
        (tmp_path / f".{name}.verified").write_text(f"{state.st_size} {state.st_mtime_ns} {digest}\n")
        files.append({"name": name, "bytes": state.st_size, "sha256": digest})
    assert found() is None  # no manifest: the conversion has not come to its end
    manifest = {"method": "AMXINT4", "pools": 2, "files": files}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest, indent=1))
    assert found() == ConvertedWeights("AMXINT4", 2, ())
    (tmp_path / "layer-00004.safetensors").write_bytes(b"LAYER-00004.safetensors")
    assert found() == ConvertedWeights("AMXINT4", 2, ("layer-00004.safetensors",))
    (tmp_path / "layer-00003.safetensors").unlink()
    assert found() == ConvertedWeights("AMXINT4", 2, ("layer-00003.safetensors", "layer-00004.safetensors"))


def test_the_table_of_kt_doctor_is_read() -> None:
    rows = {row["check"]: row for row in EXAMINE.rows_of(DOCTOR)}
    assert len(rows) == 6
    assert rows["kt-kernel"] == {
        "check": "kt-kernel",
        "status": "OK",
        "value": "v0.7.2 (AVX512_BF16)",
        "notes": "AVX512 variant loaded - good performance",
    }


@pytest.mark.parametrize(
    "output", ["", "Traceback (most recent call last):\n", DOCTOR.replace("kt-kernel ", "other     ")]
)
def test_a_kt_doctor_that_says_nothing_is_no_good_sign(output: str) -> None:
    with pytest.raises(EXAMINE.UnfitError, match="no table that can be read"):
        EXAMINE.rows_of(output)


def test_a_toolkit_is_no_card() -> None:
    EXAMINE.check_doctor(EXAMINE.rows_of(DOCTOR), "cpu")
    with pytest.raises(EXAMINE.UnfitError, match=r"GPU detection: No GPU detected$"):
        EXAMINE.check_doctor(EXAMINE.rows_of(DOCTOR), "cuda")


def test_an_error_of_kt_doctor_counts_but_for_its_mistaken_one() -> None:
    broken = DOCTOR.replace("│ kt-kernel            │ OK       │ v0.7.2", "│ kt-kernel            │ Error    │ v0.7.2")
    with pytest.raises(EXAMINE.UnfitError, match=r"kt-kernel: v0\.7\.2"):
        EXAMINE.check_doctor(EXAMINE.rows_of(broken), "cpu")


def test_kernels_for_cards_are_looked_for_in_every_wheel_that_has_a_piece(tmp_path: Path) -> None:
    packages = tmp_path / "lib/python3.11/site-packages"
    for name in ("sgl_kernel", "one_piece", "other_piece"):
        (packages / name).mkdir(parents=True)
    (packages / "sgl_kernel/_payload_manifest.py").write_text("PAYLOAD_MODULES = ('one_piece', 'other_piece')\n")
    (packages / "one_piece/payload.part").touch()
    with pytest.raises(EXAMINE.UnfitError, match="other_piece is not installed"):
        EXAMINE.check_kernels_for_cards(tmp_path)
    (packages / "other_piece/payload.part").touch()
    EXAMINE.check_kernels_for_cards(tmp_path)


# Stands in for the server, which needs a card: it logs what it was told, and hands it to a process of its own, as the
# real one does.
STAND_IN_SERVER = """
import dataclasses, multiprocessing, os, sys

@dataclasses.dataclass
class ServerArgs:
    words: list
    api_key: str | None = None

def child(told, pipe):
    pipe.send((told.api_key == "k-1234567890", f"Bearer {told.api_key}", repr(told)))

def run_server(told):
    print(f"{told=}")
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    process = multiprocessing.get_context("spawn").Process(target=child, args=(told, theirs))
    process.start()
    print(ours.recv())
    process.join()
    print(open("/proc/self/cmdline").read(), open("/proc/self/environ").read())
"""


def test_the_launcher_hands_the_key_over_and_no_log_has_it(tmp_path: Path) -> None:
    package, credentials = tmp_path / "sglang", tmp_path / "credentials"
    (package / "srt").mkdir(parents=True)
    credentials.mkdir()
    for init in (package / "__init__.py", package / "srt/__init__.py"):
        init.touch()
    (package / "launch_server.py").write_text(STAND_IN_SERVER)
    (package / "srt/server_args.py").write_text(
        "from sglang.launch_server import ServerArgs\n\ndef prepare_server_args(words):\n    return ServerArgs(words)\n"
    )
    (package / "srt/utils.py").write_text("def kill_process_tree(*args, **kwargs):\n    print('ended')\n")
    (credentials / "api-key").write_text("k-1234567890\n")
    (credentials / "arguments.json").write_text('["--port=8000"]')
    done = subprocess.run(
        [sys.executable, PROGRAMS / "launch_server.py"],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(tmp_path), "CREDENTIALS_DIRECTORY": str(credentials)},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    told, in_child, of_the_process, ended = done.stdout.splitlines()
    assert told == "told=ServerArgs(words=['--port=8000'], api_key='[REDACTED]')"
    assert in_child.startswith("(True, 'Bearer k-1234567890', ")
    assert "api_key='[REDACTED]'" in in_child
    assert "k-1234567890" not in of_the_process
    assert ended == "ended"

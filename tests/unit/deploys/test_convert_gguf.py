"""The program that makes safetensors of a GGUF file, where it has nothing to make them of."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = Path(__file__).parents[3] / "templates/models/convert_gguf.py"


def test_weights_that_were_never_verified_are_refused_with_the_remedy(tmp_path: Path) -> None:
    source = tmp_path / "m.gguf"
    source.write_bytes(b"GGUF")
    command = [sys.executable, "-I", "-B", PROGRAM, source, tmp_path / "made", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == (f"convert-gguf: {source} is not there, or was never verified: run the stage models first\n")
    assert list(tmp_path.iterdir()) == [source]

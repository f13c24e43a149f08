"""What a conversion of experts makes of what an earlier run left. The conversion itself is seen on twins."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

PROGRAM = Path(__file__).parents[3] / "templates/ktransformers/experts/convert.py"
BEGUN = {"method": "AMXINT4", "pools": 2, "source": "/srv/models/m", "config_sha256": "0"}


@pytest.fixture
def convert(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The program, without the libraries that compute."""
    torch = ModuleType("torch")
    torch.Tensor = object  # type: ignore[attr-defined]
    safetensors, of_torch = ModuleType("safetensors"), ModuleType("safetensors.torch")
    safetensors.safe_open = of_torch.save_file = None  # type: ignore[attr-defined]
    for module in (torch, safetensors, of_torch):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    spec = importlib.util.spec_from_file_location("convert_experts", PROGRAM)
    assert spec
    assert spec.loader
    loaded = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "convert_experts", loaded)  # dataclasses look themselves up there
    spec.loader.exec_module(loaded)
    return loaded


@pytest.mark.parametrize(
    ("note", "goes_on"),
    [(json.dumps(BEGUN) + "\n", True), (json.dumps(BEGUN | {"pools": 1}) + "\n", False), ("", False)],
    ids=["the same", "for another machine", "emptied by a power cut"],
)
def test_it_goes_on_only_with_what_was_made_of_the_same(
    convert: ModuleType, tmp_path: Path, note: str, goes_on: bool
) -> None:
    (tmp_path / ".begun").write_text(note)
    layer = tmp_path / "layer-003.safetensors"
    layer.touch()
    convert._begin(tmp_path, BEGUN)
    assert layer.exists() == goes_on
    assert json.loads((tmp_path / ".begun").read_text()) == BEGUN

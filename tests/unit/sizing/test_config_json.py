"""Models by their `config.json`: the shapes of the catalogue come back, and what cannot be used is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from boxwright.errors import BadInputError
from boxwright.model.catalogue import Model
from boxwright.model.catalogues import load_models
from boxwright.sizing.choice import models_meant
from boxwright.sizing.config_json import model_of

MODELS = load_models()
LLAMA = {
    "model_type": "llama",
    "num_hidden_layers": 80,
    "hidden_size": 8192,
    "intermediate_size": 28672,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
    "max_position_embeddings": 131072,
    "torch_dtype": "bfloat16",
}
DEEPSEEK = {
    "model_type": "deepseek_v3",
    "num_hidden_layers": 61,
    "hidden_size": 7168,
    "intermediate_size": 18432,
    "num_attention_heads": 128,
    "num_key_value_heads": 128,
    "vocab_size": 129280,
    "kv_lora_rank": 512,
    "q_lora_rank": 1536,
    "qk_rope_head_dim": 64,
    "qk_nope_head_dim": 128,
    "v_head_dim": 128,
    "n_routed_experts": 256,
    "num_experts_per_tok": 8,
    "n_shared_experts": 1,
    "moe_intermediate_size": 2048,
    "first_k_dense_replace": 3,
    "torch_dtype": "bfloat16",
    "quantization_config": {"quant_method": "fp8"},
}


def written(folder: Path, config: dict[str, Any]) -> Path:
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def known(name: str) -> Model:
    model = MODELS.find(name)
    assert model
    return model


@pytest.mark.parametrize(
    ("config", "name"), [(LLAMA, "deepseek-r1-distill-llama-70b"), (DEEPSEEK, "deepseek-r1")], ids=["llama", "deepseek"]
)
def test_the_shape_is_that_of_the_catalogue(config: dict[str, Any], name: str, tmp_path: Path) -> None:
    found, wanted = model_of(written(tmp_path, config)), known(name)
    assert found.architecture.model_copy(update={"source": ""}) == wanted.architecture.model_copy(update={"source": ""})
    assert found.parameters == pytest.approx(wanted.parameters, rel=1e-3)


def test_files_beside_it_tell_the_size(tmp_path: Path) -> None:
    assert model_of(written(tmp_path, LLAMA)).builds[0].bytes == pytest.approx(141e9, rel=0.01)
    (tmp_path / "model-1.safetensors").write_bytes(b"0" * 1000)
    (model,) = models_meant(f"{tmp_path}/", MODELS)
    assert model.builds[0].bytes == 1000


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (LLAMA | {"num_hidden_layers": 0}, "num_hidden_layers: Input should be greater than 0"),
        ({"model_type": "llama"}, "num_hidden_layers: Field required"),
        (LLAMA | {"num_key_value_heads": 7}, "cannot share 7 pairs"),
        (LLAMA | {"torch_dtype": "int3"}, "torch_dtype: 'int3' is none of"),
        (LLAMA | {"quantization_config": {"quant_method": "awq"}}, "quantized by awq"),
    ],
)
def test_what_cannot_be_used_is_told(config: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=message):
        model_of(written(tmp_path, config))


def test_no_file_and_no_json_are_told(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="No such file"):
        model_of(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(BadInputError, match="no JSON"):
        model_of(tmp_path)

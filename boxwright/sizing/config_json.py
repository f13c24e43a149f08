"""A model that stands in no catalogue: its shape and size by the `config.json` beside its weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from boxwright.errors import BadInputError
from boxwright.model.architecture import Architecture, Experts, HeadAttention, LatentAttention
from boxwright.model.catalogue import Build, Model
from boxwright.sizing.names import identifier
from boxwright.sizing.shape import shape_of

NativeDtype = Literal["bfloat16", "float16", "float32", "float8_e4m3"]
_WEIGHT_BYTES: dict[NativeDtype, int] = {"bfloat16": 2, "float16": 2, "float32": 4, "float8_e4m3": 1}
_QUANTIZATION: dict[NativeDtype, str] = {
    "bfloat16": "BF16",
    "float16": "FP16",
    "float32": "FP32",
    "float8_e4m3": "FP8",
}


class _Config(BaseModel):
    """What of a `config.json` tells the shape, by the names that Transformers gives it."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    model_type: str
    num_hidden_layers: int = Field(gt=0)
    hidden_size: int = Field(gt=0)
    intermediate_size: int = Field(gt=0)
    num_attention_heads: int = Field(gt=0)
    num_key_value_heads: int | None = None
    head_dim: int | None = None
    vocab_size: int = Field(gt=0)
    max_position_embeddings: int = Field(default=4096, gt=0)
    tie_word_embeddings: bool = False
    torch_dtype: str = "bfloat16"
    dtype: str | None = None  # what newer releases call it
    quantization_config: dict[str, Any] | None = None
    # Latent attention.
    kv_lora_rank: int | None = None
    q_lora_rank: int | None = None
    qk_rope_head_dim: int = 0
    qk_nope_head_dim: int = 0
    v_head_dim: int = 0
    # A mixture of experts, by DeepSeek's and by Qwen's names.
    n_routed_experts: int | None = None
    num_experts: int | None = None
    num_local_experts: int | None = None
    num_experts_per_tok: int = 0
    n_shared_experts: int | None = None
    moe_intermediate_size: int | None = None
    first_k_dense_replace: int = 0


def model_of(path: Path) -> Model:
    """The model of a folder with a `config.json`, or of such a file.

    Its weights are counted from its matrices, in the precision that it was published in, or, where safetensors lie
    beside it, are as large as these.

    Raises:
        BadInputError: It cannot be read, or does not say what is needed.
    """
    file = path / "config.json" if path.is_dir() else path
    try:
        config = _Config.model_validate(json.loads(file.read_text(encoding="utf-8")))
    except OSError as error:
        raise BadInputError(
            f"{file}: {error.strerror}", hint="--model takes a model's id, or a folder with a config.json."
        ) from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "it"
        raise BadInputError(f"{file}: {where}: {first['msg']}") from None
    except ValueError as error:
        raise BadInputError(f"{file}: no JSON: {error}") from None
    architecture = _architecture(config, file)
    shards = sorted(file.parent.glob("*.safetensors"))
    size = sum(shard.stat().st_size for shard in shards)
    counted = shape_of(architecture).parameters
    return Model(
        id=identifier(file.resolve().parent.name),
        title=str(file.resolve().parent.name),
        license="not known",
        parameters=counted,
        context_length=config.max_position_embeddings,
        architecture=architecture,
        builds=(
            Build(
                name="local",
                format="safetensors",
                quantization=_QUANTIZATION[architecture.native_dtype],
                bytes=size or counted * _WEIGHT_BYTES[architecture.native_dtype],
                source=f"the files beside {file}" if size else f"counted from {file}",
            ),
        ),
    )


def _architecture(config: _Config, file: Path) -> Architecture:
    try:
        return Architecture(
            kind=config.model_type,
            layers=config.num_hidden_layers,
            hidden_size=config.hidden_size,
            feed_forward_size=config.intermediate_size,
            attention=_attention(config),
            experts=_experts(config),
            vocabulary=config.vocab_size,
            tied_embeddings=config.tie_word_embeddings,
            native_dtype=_dtype(config, file),
            source=str(file),
        )
    except ValidationError as error:
        raise BadInputError(f"{file}: {error.errors()[0]['msg']}") from None


def _attention(config: _Config) -> HeadAttention | LatentAttention:
    heads = config.num_attention_heads
    if config.kv_lora_rank:
        return LatentAttention(
            kind="mla",
            heads=heads,
            kv_rank=config.kv_lora_rank,
            q_rank=config.q_lora_rank or config.hidden_size,
            rope_head_dim=config.qk_rope_head_dim,
            nope_head_dim=config.qk_nope_head_dim,
            value_head_dim=config.v_head_dim,
        )
    kv_heads = config.num_key_value_heads or heads
    return HeadAttention(
        kind="mha" if kv_heads == heads else "gqa",
        heads=heads,
        kv_heads=kv_heads,
        head_dim=config.head_dim or config.hidden_size // heads,
    )


def _experts(config: _Config) -> Experts | None:
    count = config.n_routed_experts or config.num_experts or config.num_local_experts
    if not count:
        return None
    return Experts(
        count=count,
        active=config.num_experts_per_tok,
        shared=config.n_shared_experts or 0,
        feed_forward_size=config.moe_intermediate_size or config.intermediate_size,
        dense_layers=config.first_k_dense_replace,
    )


def _dtype(config: _Config, file: Path) -> NativeDtype:
    if config.quantization_config:
        method = str(config.quantization_config.get("quant_method"))
        if method != "fp8":
            raise BadInputError(f"{file}: quantized by {method}, whose sizes are not known here")
        return "float8_e4m3"
    said = config.dtype or config.torch_dtype
    for known in _WEIGHT_BYTES:
        if said == known:
            return known
    raise BadInputError(f"{file}: torch_dtype: '{said}' is none of {', '.join(_WEIGHT_BYTES)}")

"""What a model is made of: the figures that tell how much memory its weights and its cache take."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from boxwright.model.base import Frozen

Count = Annotated[int, Field(gt=0)]


class HeadAttention(Frozen):
    """Attention that keeps keys and values by head: multi-head, or grouped, where several heads share a pair."""

    kind: Literal["mha", "gqa"]
    heads: Count  # of queries
    kv_heads: Count  # of keys and values
    head_dim: Count  # elements of each

    @model_validator(mode="after")
    def _heads_share_evenly(self) -> HeadAttention:
        if self.heads % self.kv_heads:
            raise ValueError(f"{self.heads} heads cannot share {self.kv_heads} pairs of keys and values evenly")
        if (self.kind == "mha") != (self.heads == self.kv_heads):
            raise ValueError("mha has keys and values for each head, gqa has fewer of them")
        return self

    @property
    def cached_per_layer(self) -> int:
        """Numbers that a layer keeps for each token."""
        return 2 * self.kv_heads * self.head_dim


class LatentAttention(Frozen):
    """Multi-head latent attention (MLA): keys and values are kept as one compressed vector for all heads."""

    kind: Literal["mla"]
    heads: Count
    kv_rank: Count  # elements of the compressed vector (kv_lora_rank)
    q_rank: Count  # of the compressed query (q_lora_rank)
    rope_head_dim: Count  # elements of the key that carry the position, kept beside it (qk_rope_head_dim)
    nope_head_dim: Count  # elements of a head's key without position (qk_nope_head_dim)
    value_head_dim: Count  # elements of a head's value (v_head_dim)

    @property
    def cached_per_layer(self) -> int:
        """Numbers that a layer keeps for each token. An engine keeps them on each card that shares a layer."""
        return self.kv_rank + self.rope_head_dim


class Experts(Frozen):
    """A mixture of experts: of many small feed-forward parts, each token passes a few."""

    count: Count  # in each layer that has them
    active: Count  # that a token is sent to
    shared: Annotated[int, Field(ge=0)] = 0  # that every token passes besides
    feed_forward_size: Count  # of each (moe_intermediate_size)
    dense_layers: Annotated[int, Field(ge=0)] = 0  # the first layers, which have none


class Architecture(Frozen):
    """The shape of a model, by the names of its `config.json` where there is one."""

    kind: str  # model_type: llama, qwen2, deepseek_v3, …
    layers: Count  # num_hidden_layers
    hidden_size: Count
    feed_forward_size: Count  # intermediate_size, of layers without experts
    attention: Annotated[HeadAttention | LatentAttention, Field(discriminator="kind")]
    experts: Experts | None = None  # None: every layer is dense
    vocabulary: Count  # rows of the embedding, padding included
    tied_embeddings: bool = False  # the output layer is the embedding
    native_dtype: Literal["bfloat16", "float16", "float32", "float8_e4m3"]  # that the weights were published in
    source: str  # where these figures were read

    @property
    def cached_per_token(self) -> int:
        """Numbers that the whole model keeps in its cache for each token of context."""
        return self.layers * self.attention.cached_per_layer

"""How many weights a model has, and in which of its parts: counted from its matrices."""

from __future__ import annotations

from dataclasses import dataclass

from boxwright.model.architecture import Architecture, HeadAttention


@dataclass(frozen=True)
class Shape:
    """Weights of a model by its parts.

    Attributes:
        resident: Of each layer, what every token is multiplied with.
        experts: Of each layer, all routed experts; 0 where it has none.
        routed: Of each layer, those of the experts that one token is sent to.
        table: Of one table of words; the embedding is one, and the output another where it is not the same.
        tables: Of all tables.
    """

    resident: tuple[int, ...]
    experts: tuple[int, ...]
    routed: tuple[int, ...]
    table: int
    tables: int

    @property
    def parameters(self) -> int:
        """All weights."""
        return sum(self.resident) + sum(self.experts) + self.tables

    @property
    def active(self) -> int:
        """Weights that one token is multiplied with. The embedding is looked up, and not multiplied."""
        return sum(self.resident) + sum(self.routed) + self.table


def shape_of(architecture: Architecture) -> Shape:
    """Count the weights of a model."""
    hidden, experts, layers = architecture.hidden_size, architecture.experts, architecture.layers
    attention = _attention(architecture)
    dense = attention + 3 * hidden * architecture.feed_forward_size
    table = architecture.vocabulary * hidden
    tables = table if architecture.tied_embeddings else 2 * table
    if experts is None:
        return Shape((dense,) * layers, (0,) * layers, (0,) * layers, table, tables)
    one = 3 * hidden * experts.feed_forward_size
    shared = attention + one * experts.shared + hidden * experts.count  # and the weights that choose among experts
    first, behind = experts.dense_layers, layers - experts.dense_layers
    return Shape(
        resident=(dense,) * first + (shared,) * behind,
        experts=(0,) * first + (one * experts.count,) * behind,
        routed=(0,) * first + (one * experts.active,) * behind,
        table=table,
        tables=tables,
    )


def _attention(architecture: Architecture) -> int:
    """Weights of one layer's attention."""
    hidden, attention = architecture.hidden_size, architecture.attention
    if isinstance(attention, HeadAttention):
        return 2 * hidden * attention.head_dim * (attention.heads + attention.kv_heads)
    key = attention.nope_head_dim + attention.rope_head_dim
    queries = attention.q_rank * (hidden + attention.heads * key)
    kept = hidden * (attention.kv_rank + attention.rope_head_dim)
    unfolded = attention.kv_rank * attention.heads * (attention.nope_head_dim + attention.value_head_dim)
    return queries + kept + unfolded + attention.heads * attention.value_head_dim * hidden

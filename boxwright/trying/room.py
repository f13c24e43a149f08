"""Where on a box a model is tried without disturbing what serves there. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from boxwright.errors import BoxwrightError
from boxwright.model.catalogue import GIB
from boxwright.model.weights import Weights
from boxwright.trying.box import Box, Card

On = Literal["auto", "cards", "cpu"]

# torch, transformers and Gradio themselves: with the weights of the lab's small model 0.94 GB were taken.
_PROGRAM_BYTES = 800_000_000
_WORK_SHARE = 1.25  # weights in bfloat16, and what computing with them takes for one short request
_GGUF_SHARE = 3.0  # a GGUF is unquantized in 32 bits before it is in 16
_SPARE_BYTES = GIB // 2  # what is left to everybody else
_CARD_BYTES = 2 * GIB  # of each card: CUDA's own, and the cache
_UNUSED_BYTES = GIB // 2  # a card with more in use has somebody on it: the driver itself takes some hundred MB
_PACKAGES_BYTES = {"cpu": 2 * GIB, "cuda": 9 * GIB}

# Architectures whose GGUF transformers 5.19 reads: integrations/ggml.py, GGUF_CONFIG_MAPPING.
_READS_GGUF_OF = frozenset({"llama", "mistral", "qwen2", "qwen3", "qwen3_moe", "gemma2", "gemma3", "phi3"})
_UNQUANTIZED = frozenset({"BF16", "FP16", "FP32"})


@dataclass(frozen=True)
class Room:
    """Where a model is computed, and how much it may take."""

    cards: tuple[int, ...]  # none: the processor
    threads: int
    memory_bytes: int  # of main memory: more, and the trial ends alone

    @property
    def flavour(self) -> Literal["cuda", "cpu"]:
        """Which list of packages it needs."""
        return "cuda" if self.cards else "cpu"


def check_weights(weights: Weights) -> str:
    """Why transformers cannot load these weights with the packages of a trial; empty where it can."""
    model, build = weights.model, weights.build
    if model.purpose == "embedding":
        return f"{model.id} says nothing: it is for embeddings"
    if build.format == "gguf" and model.architecture.kind not in _READS_GGUF_OF:
        return f"transformers reads no GGUF of the architecture {model.architecture.kind}"
    if build.format == "gguf" and len(build.files) > 1:
        return f"transformers reads a GGUF of one file, and {weights.name} is {len(build.files)}"
    if build.format == "safetensors" and build.quantization not in (*_UNQUANTIZED, "FP8"):
        return f"transformers needs packages of their own for weights in {build.quantization}, which a trial has not"
    return ""


def room_for(weights: Weights, box: Box, on: On, *, has_cards: bool, host: str) -> Room:
    """Where the model is tried: on cards that nobody uses, or on the processor where it is asked for or there is none.

    Args:
        weights: What is tried. `check_weights` has nothing against it.
        box: What the box has now.
        on: What was asked for.
        has_cards: Whether the profile has cards.
        host: The box, for errors.

    Raises:
        BoxwrightError: There is no room for it.
    """
    cards = () if on == "cpu" or (on == "auto" and not has_cards) else _free_cards(weights, box, host)
    room = Room(cards, max(1, box.processors - 1), main_memory(weights, cards=bool(cards)))
    if not cards and weights.build.quantization == "FP8":
        raise BoxwrightError(f"transformers computes with {weights.name}, which is in FP8, on cards alone", where=host)
    if box.available_bytes < room.memory_bytes + _SPARE_BYTES:
        raise BoxwrightError(
            f"the trial takes up to {_gb(room.memory_bytes)} of memory, and {_gb(box.available_bytes)} are available: "
            "what serves would be pushed out",
            where=host,
            hint="Try a smaller model or build (--model, --build), or stop what serves for the time of the trial.",
        )
    if box.free_bytes < _PACKAGES_BYTES[room.flavour]:
        raise BoxwrightError(
            f"the packages take up to {_gb(_PACKAGES_BYTES[room.flavour])} in /opt, and {_gb(box.free_bytes)} are free",
            where=host,
            hint="./invoke models.clean removes models that are not served.",
        )
    return room


def main_memory(weights: Weights, *, cards: bool) -> int:
    """The most that a trial takes of main memory, in bytes: what its unit is limited to."""
    whole = 2 * weights.model.parameters
    if weights.build.format == "gguf":
        return _PROGRAM_BYTES + int(_GGUF_SHARE * whole)
    # Onto cards, one file of weights after the other passes through.
    return _PROGRAM_BYTES + (min(whole, 16 * GIB) if cards else int(_WORK_SHARE * whole))


def _free_cards(weights: Weights, box: Box, host: str) -> tuple[int, ...]:
    if not box.cards:
        raise BoxwrightError(
            "no NVIDIA card answers on this box", where=host, hint="Add --on cpu to try the model on the processor."
        )
    free = [card for card in box.cards if not card.users and card.used_bytes <= _UNUSED_BYTES]
    size = weights.model.weight_bytes(weights.build) if weights.build.quantization == "FP8" else None
    needed = int(_WORK_SHARE * (size or 2 * weights.model.parameters))
    chosen: list[Card] = []
    for card in free:
        chosen.append(card)
        if sum(one.bytes - _CARD_BYTES for one in chosen) >= needed:
            return tuple(one.number for one in chosen)
    raise BoxwrightError(
        f"{weights.name} takes {_gb(needed)} of cards' memory, and {_free_in_words(free, box.cards)}",
        where=host,
        hint="Add --on cpu to try the model on the processor, or stop what serves for the time of the trial.",
    )


def _free_in_words(free: Sequence[Card], every: Sequence[Card]) -> str:
    users = sorted({user for card in every for user in card.users})
    taken = f": the others are taken by {', '.join(users)}" if users else ""
    if not free:
        return f"no card of {len(every)} is free" + taken.replace("the others", "they")
    return f"{len(free)} of {len(every)} cards are free, with {_gb(sum(card.bytes for card in free))}{taken}"


def _gb(count: int) -> str:
    return f"{count / 1e9:.1f} GB"

"""Where a model is tried: never where what serves would notice."""

from __future__ import annotations

import pytest

from boxwright.errors import BoxwrightError
from boxwright.model.catalogue import GIB
from boxwright.model.catalogues import load_models
from boxwright.model.weights import Weights
from boxwright.trying.box import Box, Card
from boxwright.trying.room import check_weights, main_memory, room_for

MODELS = load_models()


def weights(model: str, build: str) -> Weights:
    found = MODELS.find(model)
    assert found
    chosen = found.build(build)
    assert chosen
    return Weights(found, chosen)


LAB = weights("smollm2", "q4_1")
LARGE = weights("deepseek-r1-distill-llama-70b", "bf16")


def box(*cards: Card, available: int = 64 * GIB, free: int = 100 * GIB, processors: int = 8) -> Box:
    return Box(available, processors, free, cards or None, (), tried_now=False, gateway=True)


def card(number: int, *users: str, used: int = 0, size: int = 80 * GIB) -> Card:
    return Card(number, "H100", size, used, users)


def test_without_cards_it_is_tried_on_the_processor_and_leaves_one_of_its_threads() -> None:
    room = room_for(LAB, box(), "auto", has_cards=False, host="b")
    assert (room.cards, room.threads, room.flavour) == ((), 7, "cpu")
    assert room.memory_bytes == main_memory(LAB, cards=False) < 2_000_000_000
    assert room_for(LAB, box(processors=1), "auto", has_cards=False, host="b").threads == 1


def test_what_serves_is_not_pushed_out_of_memory() -> None:
    with pytest.raises(BoxwrightError, match=r"takes up to 1\.6 GB of memory, and 1\.8 GB are available"):
        room_for(LAB, box(available=1_800_000_000), "auto", has_cards=False, host="b")


def test_packages_need_room_on_the_disk() -> None:
    with pytest.raises(BoxwrightError, match=r"packages take up to 2\.1 GB in /opt, and 1\.1 GB are free"):
        room_for(LAB, box(free=GIB), "auto", has_cards=False, host="b")


def test_as_few_free_cards_are_taken_as_hold_the_weights() -> None:
    cards = [card(0, "vllm (17)", used=70 * GIB), card(1), card(2), card(3), card(4)]
    assert room_for(LARGE, box(*cards), "auto", has_cards=True, host="b").cards == (1, 2, 3)
    assert room_for(LAB, box(*cards), "auto", has_cards=True, host="b").cards == (1,)


def test_cards_that_are_taken_are_left_alone_and_it_is_told_by_whom() -> None:
    taken = [card(0, "vllm (17)", used=70 * GIB), card(1, "vllm (18)", used=70 * GIB)]
    with pytest.raises(
        BoxwrightError, match=r"no card of 2 is free: they are taken by vllm \(17\), vllm \(18\)"
    ) as told:
        room_for(LAB, box(*taken), "auto", has_cards=True, host="b")
    assert "--on cpu" in told.value.hint
    assert room_for(LAB, box(*taken), "cpu", has_cards=True, host="b").cards == ()
    # A process of another container is not listed, and its memory is.
    with pytest.raises(BoxwrightError, match="no card of 1 is free"):
        room_for(LAB, box(card(0, used=2 * GIB)), "auto", has_cards=True, host="b")
    with pytest.raises(BoxwrightError, match="no NVIDIA card answers"):
        room_for(LAB, box(), "cards", has_cards=True, host="b")


@pytest.mark.parametrize(
    ("model", "build", "why"),
    [
        ("smollm2", "q4_1", ""),
        ("deepseek-r1-distill-llama-70b", "bf16", ""),
        ("deepseek-r1", "fp8", ""),
        ("all-minilm-l6-v2", "fp32", "it is for embeddings"),
        ("deepseek-r1", "ud-iq1_s", "no GGUF of the architecture deepseek_v3"),
    ],
)
def test_what_transformers_loads(model: str, build: str, why: str) -> None:
    told = check_weights(weights(model, build))
    assert why in told
    assert bool(why) == bool(told)


def test_fp8_is_not_tried_on_a_processor() -> None:
    with pytest.raises(BoxwrightError, match="on cards alone"):
        room_for(weights("deepseek-r1", "fp8"), box(available=4000 * GIB), "cpu", has_cards=True, host="b")

"""Properties that every answer has to have, whatever the machine and the model."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boxwright.errors import BadInputError
from boxwright.model.catalogue import GIB
from boxwright.model.catalogues import load_accelerators, load_models, load_profile, profile_names
from boxwright.model.stack import Parallelism
from boxwright.sizing.choice import machine_meant, models_meant
from boxwright.sizing.fit import Fit, Wish, fits
from boxwright.sizing.machine import MAIN_MEMORY, NVLINK, Card, Host, Machine, machine_of
from boxwright.sizing.memory import cache_per_token, card_memory
from boxwright.sizing.parallelism import spreads
from boxwright.sizing.shape import shape_of
from boxwright.sizing.speed import Load, step_seconds
from boxwright.sizing.verbs import as_data

MODELS = load_models()
ANSWERING = [one for one in MODELS.models if one.purpose != "embedding"]
CARDS = load_accelerators()


def machine(gib: float = 24, cards: int = 4, memory_gib: int = 256, bandwidth: float = 1e12) -> Machine:
    card = Card("a card", int(gib * GIB), bandwidth, 2e14, 4e14, 9.0, frozenset({"vllm", "ollama", "ktransformers"}))
    return Machine("a machine", card, cards, 1, NVLINK, Host(memory_gib * GIB, 32, 2, 2e11, 1 << 50))


def served(answers: list[Fit], build: str, quantization: str) -> list[Fit]:
    return [one for one in answers if one.build.name == build and one.quantization == quantization and one.fits]


some_model = st.sampled_from(ANSWERING)


@given(some_model, st.floats(8, 200), st.floats(1, 64), st.sampled_from([1, 2, 4, 8]))
def test_more_memory_on_cards_never_fits_less(model, gib: float, more: float, cards: int) -> None:
    for one in fits(model, machine(gib, cards), Wish()):
        if one.fits and one.engine == "vllm":
            (wider,) = served(fits(model, machine(gib + more, cards), Wish()), one.build.name, one.quantization)[:1]
            assert wider.requests >= one.requests


@given(some_model, st.integers(512, 32768), st.integers(1, 32768), st.sampled_from([24, 48, 96]))
def test_a_longer_context_never_serves_more_people(model, context: int, more: int, gib: int) -> None:
    short = {(o.build.name, o.quantization, o.engine): o for o in fits(model, machine(gib), Wish(context))}
    long = {(o.build.name, o.quantization, o.engine): o for o in fits(model, machine(gib), Wish(context + more))}
    for key, one in long.items():
        if one.fits and key in short:
            assert short[key].fits
            assert one.requests_by_memory <= short[key].requests_by_memory or one.spread != short[key].spread
            assert one.people <= short[key].people


@given(some_model, st.floats(4, 192), st.integers(1, 16), st.integers(1, 131072))
def test_nothing_is_negative_and_heads_divide_evenly(model, gib: float, cards: int, context: int) -> None:
    for one in fits(model, machine(gib, cards), Wish(context)):
        spread = one.spread
        assert one.requests >= 0
        assert one.people == one.requests * 10
        assert one.speed_alone is None or one.speed_alone > 0
        assert one.memory is None or min(one.memory.weights, one.memory.cache, one.memory.overhead) >= 0
        if one.engine == "vllm" and one.fits:
            assert model.architecture.attention.heads % spread.tensor == 0
            assert spread.cards == cards
        assert one.fits or one.reasons


@given(some_model, st.sampled_from([1, 2, 4, 8]))
def test_copies_share_experts_and_nothing_else(model, data: int) -> None:
    shape, architecture = shape_of(model.architecture), model.architecture
    size = shape.parameters * 2
    one, several = (
        card_memory(architecture, size, Parallelism(tensor=2, data=copies), 96 * GIB, utilisation=1.0)
        for copies in (1, data)
    )
    saved = sum(shape.experts) * (1 - 1 / data)  # 2 bytes a weight, on 2 cards of a copy
    assert one.weights - several.weights == pytest.approx(saved, rel=0.02, abs=1)
    assert several.cache_per_token == one.cache_per_token


@pytest.mark.parametrize(("model", "together"), [("deepseek-r1-distill-llama-70b", False), ("deepseek-r1-0528", True)])
def test_copies_of_a_mixture_of_experts_meet_in_each_layer(model: str, together: bool) -> None:
    found, where = MODELS.find(model), machine(gib=1000, cards=16)
    assert found
    assert where.card

    def seconds(latency: float, data: int) -> float:
        links, spread = replace(NVLINK, latency_s=latency), Parallelism(tensor=1, data=data)
        took = step_seconds(found.architecture, spread, where.card, links, load=Load(4096, 7 * 10**11), requests=8)
        assert took
        return took

    meetings = found.architecture.layers if together else 0
    assert seconds(1.0, 2) - seconds(0.0, 2) == pytest.approx(meetings, abs=1e-6)
    assert (seconds(0.0, 2) < seconds(0.0, 1)) is together  # each copy's cards read half of the experts


@given(some_model, st.sampled_from([1, 2, 4, 8]))
def test_parts_of_a_model_are_never_less_than_the_whole(model, tensor: int) -> None:
    size = shape_of(model.architecture).parameters * 2
    memory = card_memory(model.architecture, size, Parallelism(tensor=tensor), 96 * GIB, utilisation=1.0)
    assert memory.weights * tensor >= size * 0.999


def test_the_compressed_cache_is_on_every_card_and_heads_are_divided() -> None:
    latent = MODELS.find("deepseek-r1")
    grouped = MODELS.find("deepseek-r1-distill-llama-70b")
    assert latent
    assert grouped
    alone, eight, sixteen = Parallelism(), Parallelism(tensor=8), Parallelism(tensor=16)
    assert cache_per_token(latent.architecture, alone) == cache_per_token(latent.architecture, eight) == 61 * 576 * 2
    assert cache_per_token(grouped.architecture, alone) == 320 * 1024
    assert cache_per_token(grouped.architecture, eight) == 40 * 1024
    assert cache_per_token(grouped.architecture, sixteen) == 40 * 1024  # a head cannot be halved


def test_slow_links_cost_speed() -> None:
    model = MODELS.find("deepseek-r1-distill-llama-70b")
    assert model
    near = machine(80, 8)
    far = replace(near, links=MAIN_MEMORY)
    (quick, slow) = (served(fits(model, one, Wish()), "bf16", "BF16")[0].speed_alone for one in (near, far))
    assert quick
    assert slow
    assert slow < quick


def test_no_layer_is_shared_by_two_machines() -> None:
    profile = load_profile("2x8xh20")
    two = machine_of("two", profile.hardware, profile.nodes, CARDS)
    model = MODELS.find("deepseek-r1")
    assert model
    assert all(one.tensor <= 8 and one.cards == 16 for one in spreads(model.architecture, two))


@pytest.mark.parametrize("name", profile_names())
def test_every_profile_has_an_answer_for_its_own_model(name: str) -> None:
    profile = load_profile(name)
    catalogue = MODELS
    model = catalogue.find(profile.stack.model)
    assert model
    found = fits(model, machine_of(name, profile.hardware, profile.nodes, CARDS), Wish(profile.stack.context_tokens))
    if profile.hardware.accelerators and not CARDS.find(profile.hardware.accelerators[0].pci_id)[0].engines:
        return
    assert any(one.fits for one in found), [one.reasons for one in found]
    assert json.dumps([as_data(one) for one in found])


@pytest.mark.parametrize(
    ("words", "count", "found"),
    [
        ("V100-32GB", 2, "2 x Tesla V100 PCIe 32GB"),
        ("RTX 4090", 8, "8 x GeForce RTX 4090"),
        ("rtx-5090", 1, "1 x GeForce RTX 5090"),
        ("h20-141gb", 8, "8 x H20-3e 141GB"),
    ],
)
def test_cards_by_the_names_that_people_use(words: str, count: int, found: str) -> None:
    assert machine_meant("", words, count, "", CARDS).name == found


@pytest.mark.parametrize(
    ("tag", "model"),
    [
        ("deepseek-r1:32b", "deepseek-r1-distill-qwen-32b"),
        ("deepseek-r1:70b", "deepseek-r1-distill-llama-70b"),
        ("deepseek-r1:671b", "deepseek-r1"),
        ("deepseek-r1:7b", "deepseek-r1-distill-qwen-7b"),
        ("smollm2", "smollm2-135m-instruct"),
    ],
)
def test_models_by_familiar_tags(tag: str, model: str) -> None:
    assert [one.id for one in models_meant(tag, MODELS)] == [model]


def test_what_there_is_not_is_told_with_the_nearest() -> None:
    with pytest.raises(BadInputError, match="Did you mean"):
        models_meant("deepseek-r2", MODELS)
    with pytest.raises(BadInputError, match="no card 'RTX 9090'"):
        machine_meant("", "RTX 9090", 1, "", CARDS)
    with pytest.raises(BadInputError, match="which machine"):
        machine_meant("", "", 1, "", CARDS)

"""What llama-server is told: closed, sized for the box, and taken by the release that it is told to."""

from __future__ import annotations

from typing import Any

import pytest

from boxwright.model.catalogues import load_engine, load_models, load_profile
from boxwright.model.hardware import Hardware
from boxwright.model.stack import NumaPolicy, Service
from boxwright.model.weights import weights_of
from boxwright.serving.llama_cpp import card_environment, llama_cpp_settings, own_settings, placement, rendered
from boxwright.sizing.offload import GIB

TABLE = load_engine("llama_cpp")
MODELS = load_models()
LAB = load_profile("lab").hardware
TWO_SOCKETS = load_profile("1x4090-kt").hardware
CLOSED = ("--cors-origins localhost", "--no-cors-credentials", "--metrics", "--no-slots", "--no-ui", "--offline")


def told(hardware: Hardware = LAB, cards: int = 0, **changes: Any) -> str:
    """The command line and the variables, for a service with so many cards of 24 GiB."""
    service = Service(**{"model": "smollm2", "engine": "llama_cpp", "context_tokens": 2048} | changes)
    weights, own = weights_of(service, MODELS), own_settings(TABLE, service)
    placed = placement(service, weights, tuple([24 * GIB] * cards), own)
    ours = llama_cpp_settings(service, weights, hardware, placed, built=bool(hardware.accelerators), cards=cards > 0)
    for version in TABLE.versions:  # every release that is read takes it
        words, variables = rendered(TABLE, version, ours | own)
    return " ".join([*words, *(f"{name}={value}" for name, value in variables.items())])


def r1(**changes: Any) -> dict[str, Any]:
    return {"model": "deepseek-r1-0528", "build": "ud-q2_k_xl", "parallel_requests": 1} | changes


def test_it_is_closed_and_sized() -> None:
    text = told()
    assert text.startswith("--ctx-size 4096 --parallel 2 ")
    for part in CLOSED:
        assert part in text
    assert not [word for word in text.split() if word in ("--gpu-layers", "--device", "--numa", "--load-mode")]


def test_a_card_takes_the_model_as_far_as_it_fits() -> None:
    assert "--gpu-layers all" in told(TWO_SOCKETS, 1)
    assert "--n-cpu-moe" not in told(TWO_SOCKETS, 1)
    assert "--gpu-layers all --n-cpu-moe 60" in told(TWO_SOCKETS, 1, **r1(context_tokens=16384))
    four = told(TWO_SOCKETS, 4, **r1(context_tokens=16384))
    assert "--n-cpu-moe 50 --tensor-split 51," in four


def test_a_service_without_cards_on_a_machine_with_some_leaves_them_alone() -> None:
    assert "--device none" in told(TWO_SOCKETS)
    assert "--device" not in told(LAB)


@pytest.mark.parametrize(
    ("numa", "strategy"),
    [
        (NumaPolicy(), "distribute"),
        (NumaPolicy(policy="interleave", nodes=(0, 1)), "numactl"),
        (NumaPolicy(policy="bind", nodes=(1,)), "numactl"),
    ],
)
def test_processors_of_several_nodes_read_mapped_weights_each_its_own(numa: NumaPolicy, strategy: str) -> None:
    assert f"--numa {strategy} --load-mode mmap" in told(TWO_SOCKETS, 1, **r1(numa=numa))
    assert "--numa" not in told(TWO_SOCKETS, 1, numa=numa)  # all of it on the card
    assert "--numa" not in told(LAB, numa=NumaPolicy())  # one node


def test_an_embedding_model_is_told_so() -> None:
    model = MODELS.find("smollm2")
    assert model
    service = Service(model="smollm2", engine="llama_cpp")
    weights = weights_of(service, MODELS)
    embedding = type(weights)(model.model_copy(update={"purpose": "embedding"}), weights.build)
    flags = llama_cpp_settings(service, embedding, LAB, None, built=False, cards=False)
    assert flags["--embedding"] is True


def test_a_profiles_own_settings_go_before_ours() -> None:
    own = {"cache-type-k": "q8_0", "load_mode": "none", "spec-draft-n-max": 4, "LLAMA_ARG_N_PREDICT": 99}
    text = told(TWO_SOCKETS, 1, **r1(engine_settings=own))
    assert "--load-mode none" in text
    assert "--cache-type-k q8_0" in text
    assert text.endswith("LLAMA_ARG_N_PREDICT=99")


@pytest.mark.parametrize(
    "own",
    [{"n-cpu-moe": 12}, {"override-tensor": r"\.ffn_.*_exps\.=CPU"}, {"LLAMA_ARG_N_GPU_LAYERS": 9}, {"-ngl": 9}],
)
def test_who_says_where_weights_lie_says_all_of_it(own: dict[str, Any]) -> None:
    text = told(TWO_SOCKETS, 1, **r1(engine_settings=own))
    ours = [word for word in ("--gpu-layers all", "--n-cpu-moe 60", "--tensor-split") if word in text]
    assert ours == []


def test_a_service_sees_its_own_cards_alone() -> None:
    assert card_environment((), 8) == {}
    assert card_environment((3,), 4) == {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": "3"}
    assert card_environment((0, 1), 2) == {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_SCALE_LAUNCH_QUEUES": "4x"}

"""What KTransformers' server is told for a profile."""

from __future__ import annotations

from typing import Any

import pytest

from boxwright.model.catalogues import load_models, load_profile
from boxwright.model.hardware import Hardware
from boxwright.model.profile import Profile
from boxwright.serving.ktransformers import experts_on_cards, kt_environment, kt_settings, threads

MODELS = load_models()
R1, QWEN = MODELS.find("deepseek-r1-0528"), MODELS.find("qwen3-235b-a22b")
PROFILE = load_profile("1x4090-kt")


def changed(stack: dict[str, Any], cards: int = 1, **hardware: Any) -> Profile:
    (card,) = PROFILE.hardware.accelerators
    machine = PROFILE.hardware.model_dump() | {"accelerators": [card.model_dump() | {"count": cards}]} | hardware
    return PROFILE.model_copy(
        update={
            "hardware": Hardware.model_validate(machine),
            "stack": type(PROFILE.stack).model_validate(PROFILE.stack.model_dump() | stack),
        }
    )


def told(profile: Profile, method: str = "AMXINT4", **own: Any) -> dict[str, Any]:
    assert R1
    return dict(kt_settings(profile, profile.stack, R1, method, own))


def test_threads_are_cores_and_pools_are_numa_nodes() -> None:
    assert threads(PROFILE.stack, PROFILE.hardware) == (64, 2)
    flags = told(PROFILE)
    assert (flags["--kt-cpuinfer"], flags["--kt-threadpool-count"]) == (64, 2)
    assert "--kt-numa-nodes" not in flags
    four_nodes = changed({}, numa_nodes=4)
    assert threads(four_nodes.stack, four_nodes.hardware) == (64, 4)


def test_a_service_that_is_bound_has_the_cores_of_its_nodes() -> None:
    bound = changed({"numa": {"policy": "bind", "nodes": [1]}})
    flags = told(bound)
    assert (flags["--kt-cpuinfer"], flags["--kt-threadpool-count"], flags["--kt-numa-nodes"]) == (32, 1, [1])


@pytest.mark.parametrize(
    ("cards", "gib", "experts"), [(1, 24, 2), (1, 48, 10), (2, 24, 5), (8, 24, 21), (1, 16, 0), (1, 12, 0)]
)
def test_experts_on_cards_are_as_many_as_kts_own_command_takes(cards: int, gib: float, experts: int) -> None:
    assert R1
    assert QWEN
    assert experts_on_cards(R1, cards, gib) == experts
    assert experts_on_cards(QWEN, cards, gib) == 1


def test_experts_on_cards_are_the_profiles_where_it_says_so() -> None:
    assert told(PROFILE)["--kt-num-gpu-experts"] == 2
    assert told(PROFILE, **{"--kt-num-gpu-experts": 0})["--kt-num-gpu-experts"] == 0
    assert "--kt-num-gpu-experts" not in told(PROFILE, **{"--kt-gpu-experts-ratio": 0.1})


def test_several_cards_share_each_layer() -> None:
    alone, four = told(PROFILE), told(changed({}, cards=4))
    assert {"--tensor-parallel-size", "--enable-p2p-check"}.isdisjoint(alone)
    assert (four["--tensor-parallel-size"], four["--enable-p2p-check"]) == (4, True)
    spread = changed({"parallelism": {"tensor": 2, "pipeline": 2}}, cards=4)
    assert (told(spread)["--tensor-parallel-size"], told(spread)["--pipeline-parallel-size"]) == (2, 2)


def test_the_method_and_the_model_bring_flags_of_their_own() -> None:
    assert "--fp8-gemm-backend" not in told(PROFILE)
    assert told(PROFILE, "FP8")["--fp8-gemm-backend"] == "triton"
    assert told(PROFILE)["--reasoning-parser"] == "deepseek-r1"
    assert QWEN
    assert "--reasoning-parser" not in kt_settings(PROFILE, PROFILE.stack, QWEN, "AMXINT4", {})


def test_what_the_profile_sets_goes_before_what_follows_from_the_box() -> None:
    assert told(PROFILE, **{"--attention-backend": "flashinfer"})["--attention-backend"] == "flashinfer"


def test_nothing_is_fetched_and_cards_are_named_where_they_are_some() -> None:
    hardware = changed({}, cards=4).hardware
    every, some = (kt_environment("ktransformers-b", hardware, cards, p2p=True) for cards in ((0, 1, 2, 3), (2,)))
    assert (every["HOME"], every["HF_HUB_OFFLINE"]) == ("/var/lib/ktransformers-b", "1")
    assert {"CUDA_VISIBLE_DEVICES", "NCCL_P2P_DISABLE"}.isdisjoint(every)
    assert (some["CUDA_VISIBLE_DEVICES"], some["CUDA_DEVICE_ORDER"]) == ("2", "PCI_BUS_ID")
    assert kt_environment("ktransformers", hardware, (0,), p2p=False)["NCCL_P2P_DISABLE"] == "1"

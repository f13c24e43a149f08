"""What vLLM is told on each node of a box."""

from __future__ import annotations

from boxwright.model.catalogues import load_engine, load_models, load_profile
from boxwright.model.stack import Parallelism, Service
from boxwright.serving.vllm import Node, vllm_environment, vllm_own_settings, vllm_settings

MODEL = load_models().find("deepseek-r1-0528")
FLAGSHIP = load_profile("2x8xh20").hardware
SERVICE = Service(model="deepseek-r1-0528", engine="vllm")
HEAD, OTHER = Node(0, 2, "192.0.2.7"), Node(1, 2, "192.0.2.7")


def told(spread: Parallelism, node: Node) -> dict[str, object]:
    assert MODEL
    return dict(vllm_settings(SERVICE, MODEL, FLAGSHIP, spread, node))


def test_a_pipeline_over_two_nodes_has_one_head() -> None:
    spread = Parallelism(tensor=8, pipeline=2, expert=True)
    head, other = told(spread, HEAD), told(spread, OTHER)
    assert (head["nnodes"], head["node-rank"], head["master-addr"]) == (2, 0, "192.0.2.7")
    assert "headless" not in head
    assert other == head | {"node-rank": 1, "headless": True}


def test_copies_on_two_nodes_meet_at_the_heads_address() -> None:
    spread = Parallelism(tensor=8, data=2)
    head, other = told(spread, HEAD), told(spread, OTHER)
    assert head["data-parallel-size-local"] == 1
    assert head["data-parallel-address"] == "192.0.2.7"
    assert other == head | {"headless": True, "data-parallel-start-rank": 1}
    assert "nnodes" not in head


def test_the_profiles_own_settings_are_flags_or_variables_by_the_engines_table() -> None:
    own = {"kv_cache_dtype": "fp8", "--block-size": 32, "VLLM_LOGGING_LEVEL": "DEBUG"}
    flags, variables = vllm_own_settings(
        load_engine("vllm"), "0.33.0", SERVICE.model_copy(update={"engine_settings": own})
    )
    assert flags == {"kv-cache-dtype": "fp8", "block-size": 32}
    assert variables == {"VLLM_LOGGING_LEVEL": "DEBUG"}


def test_some_of_the_cards_are_named_and_all_are_not() -> None:
    eight = load_profile("8x4090").hardware
    some = vllm_environment("vllm", eight, (0, 1, 2, 3), p2p=False)
    assert (some["CUDA_VISIBLE_DEVICES"], some["CUDA_DEVICE_ORDER"]) == ("0,1,2,3", "PCI_BUS_ID")
    assert some["NCCL_P2P_DISABLE"] == "1"
    everything = vllm_environment("vllm-b", eight, tuple(range(8)), p2p=True)
    assert {"CUDA_VISIBLE_DEVICES", "NCCL_P2P_DISABLE"}.isdisjoint(everything)
    assert everything["HOME"] == "/var/lib/vllm-b"


def test_a_node_is_known_by_its_own_address_and_a_lone_machine_by_none() -> None:
    node = Node(1, 2, "192.0.2.7", "192.0.2.8")
    assert vllm_environment("vllm", FLAGSHIP, tuple(range(8)), node, p2p=True)["VLLM_HOST_IP"] == "192.0.2.8"
    assert "VLLM_HOST_IP" not in vllm_environment("vllm", FLAGSHIP, tuple(range(8)), Node(0, 1, "", ""), p2p=True)


def test_by_ray_the_head_is_told_no_ranks() -> None:
    assert MODEL
    by_ray = SERVICE.model_copy(update={"executor": "ray"})
    pipeline = vllm_settings(by_ray, MODEL, FLAGSHIP, Parallelism(tensor=8, pipeline=2), HEAD)
    assert (pipeline["distributed-executor-backend"], pipeline["pipeline-parallel-size"]) == ("ray", 2)
    copies = vllm_settings(by_ray, MODEL, FLAGSHIP, Parallelism(tensor=8, data=2), HEAD)
    assert (copies["data-parallel-backend"], copies["data-parallel-size-local"]) == ("ray", 1)
    for told_by_ray in (pipeline, copies):
        assert {"nnodes", "node-rank", "master-addr", "headless"}.isdisjoint(told_by_ray)


def test_a_slice_is_found_when_the_unit_starts_and_not_named_before() -> None:
    assert "CUDA_VISIBLE_DEVICES" not in vllm_environment("vllm", FLAGSHIP, None, p2p=True)

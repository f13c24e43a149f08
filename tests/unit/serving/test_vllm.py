"""What vLLM is told on each node of a box."""

from __future__ import annotations

from boxwright.model.catalogues import load_models, load_profile
from boxwright.model.stack import Parallelism, Service
from boxwright.serving.vllm import Node, vllm_environment, vllm_settings

MODEL = load_models().find("deepseek-r1-0528")
FLAGSHIP = load_profile("2x8xh20").hardware
SERVICE = Service(model="deepseek-r1-0528", engine="vllm", engine_settings={"max-num-seqs": 7, "kv-cache-dtype": "fp8"})
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


def test_what_the_profile_sets_goes_first() -> None:
    assert told(Parallelism(tensor=8), Node(0, 1, ""))["max-num-seqs"] == 7
    assert told(Parallelism(tensor=8), Node(0, 1, ""))["kv-cache-dtype"] == "fp8"


def test_some_of_the_cards_are_named_and_all_are_not() -> None:
    eight = load_profile("8x4090").hardware
    some = vllm_environment("vllm", eight, (0, 1, 2, 3), p2p=False)
    assert (some["CUDA_VISIBLE_DEVICES"], some["CUDA_DEVICE_ORDER"]) == ("0,1,2,3", "PCI_BUS_ID")
    assert some["NCCL_P2P_DISABLE"] == "1"
    everything = vllm_environment("vllm-b", eight, tuple(range(8)), p2p=True)
    assert {"CUDA_VISIBLE_DEVICES", "NCCL_P2P_DISABLE"}.isdisjoint(everything)
    assert everything["HOME"] == "/var/lib/vllm-b"

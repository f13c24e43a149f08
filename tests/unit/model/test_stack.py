"""Which engines serve on which cards: what cannot be is refused when the profile is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from boxwright.errors import BadInputError
from boxwright.model.loading import load
from boxwright.model.profile import Profile

FURTHER = "further: [{name: e, model: m, engine: llama_cpp, engine_port: 8001, accelerators: [3]}]"
FOUR_CARDS = """
name: four
summary: four cards
hardware:
  cpu: {cores_per_socket: 8}
  memory_gib: 64
  disk_gib: 100
  accelerators:
    - {name: GeForce RTX 4090, pci_id: "10de:2684", count: 4, memory_gib: 24, pcie_generation: 4, pcie_width: 16}
stack:
  model: smollm2
  engine: vllm
"""


def profile(tmp_path: Path, stack: str) -> Profile:
    path = tmp_path / "four.yml"
    path.write_text(FOUR_CARDS + "".join(f"  {line}\n" for line in stack.strip().splitlines()))
    return load(path, Profile)


def test_a_service_has_every_card_unless_it_names_some(tmp_path: Path) -> None:
    whole = profile(tmp_path, "")
    assert whole.cards_of(whole.stack) == (0, 1, 2, 3)
    further = "further: [{name: embedding, model: m, engine: llama_cpp, engine_port: 8001, accelerators: [3]}]"
    shared = profile(tmp_path, f"accelerators: [0, 1]\nparallelism: {{tensor: 2}}\n{further}")
    assert [shared.cards_of(service) for service in shared.stack.services] == [(0, 1), (3,)]


@pytest.mark.parametrize(
    ("stack", "message"),
    [
        ("accelerators: [0, 0]", "a card is named twice"),
        ("accelerators: [0, 4]", "stack.accelerators: the machine has no card 4"),
        (
            "parallelism: {tensor: 2, pipeline: 4}",
            "stack.parallelism: tensor 2 x pipeline 4 x data 1 is 8 cards, and the service has 4",
        ),
        (
            FURTHER,
            "of several services, each says its accelerators",
        ),
        (
            f"accelerators: [3]\n{FURTHER}",
            "two services are given card 3",
        ),
        (
            "accelerators: [2]\nfurther: [{name: e, model: m, engine: llama_cpp, accelerators: [3]}]",
            "two services listen on port 8000",
        ),
        ("chat_page_port: 8000", "two services listen on port 8000"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, stack: str, message: str) -> None:
    with pytest.raises(BadInputError) as refused:
        profile(tmp_path, stack)
    assert message in str(refused.value)
    assert "four.yml" in str(refused.value)


NODES = FOUR_CARDS.replace("hardware:", "nodes: 2\nrdma: {}\nhardware:", 1)


def of_nodes(tmp_path: Path, stack: str, machine: str = NODES) -> Profile:
    path = tmp_path / "four.yml"
    path.write_text(machine + "".join(f"  {line}\n" for line in stack.strip().splitlines()))
    return load(path, Profile)


def test_ray_joins_machines_with_cards(tmp_path: Path) -> None:
    assert of_nodes(tmp_path, "executor: ray").stack.executor == "ray"
    with pytest.raises(BadInputError, match="Ray joins several machines, and nodes is 1"):
        of_nodes(tmp_path, "executor: ray", FOUR_CARDS)
    with pytest.raises(BadInputError, match="vLLM computes on cards alone"):
        of_nodes(tmp_path, "executor: ray\naccelerators: []")
    with pytest.raises(BadInputError, match="vllm alone does by Ray"):
        of_nodes(tmp_path, "executor: ray", NODES.replace("engine: vllm", "engine: llama_cpp"))
    further = "{name: e, model: m, engine: vllm, engine_port: 8001, accelerators: [3]}"
    with pytest.raises(BadInputError, match="two services of vllm name two"):
        of_nodes(tmp_path, f"executor: ray\naccelerators: [0]\nfurther: [{further}]")


TWO = """accelerators: [0]
further: [{name: e, model: m, engine: vllm, engine_port: 8001, accelerators: [3]PORT}]
"""


@pytest.mark.parametrize(
    ("stack", "message"),
    [
        (f"executor: ray\n{TWO}".replace("PORT", ", executor: ray"), "Ray is given the cards of one"),
        (TWO.replace("PORT", "").replace("8001", "29640"), "stack.engine_port: by 29500 to 29699 the nodes' processes"),
        (f"chat_page_port: 29550\n{TWO}".replace("PORT", ""), "stack.chat_page_port: by 29500 to 29699"),
    ],
)
def test_services_over_the_same_nodes_do_not_meet(tmp_path: Path, stack: str, message: str) -> None:
    assert of_nodes(tmp_path, TWO.replace("PORT", ""))
    with pytest.raises(BadInputError) as refused:
        of_nodes(tmp_path, stack)
    assert message in str(refused.value)
    assert "four.yml:" in str(refused.value)


def test_nodes_that_vllm_spans_need_the_role_that_finds_their_interface(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="over an interface that role rdma finds"):
        of_nodes(tmp_path, "", NODES.replace("rdma: {}\n", ""))


def test_machines_without_cards_count_as_one_device_each(tmp_path: Path) -> None:
    bare = NODES.split("  accelerators:")[0] + "stack:\n  model: smollm2\n  engine: vllm\n"
    assert of_nodes(tmp_path, "parallelism: {pipeline: 2}", bare).stack.parallelism
    with pytest.raises(BadInputError, match="data 1 is 4 machines, and the service has 2"):
        of_nodes(tmp_path, "parallelism: {pipeline: 4}", bare)

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

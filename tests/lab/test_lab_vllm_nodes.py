"""vLLM over two machines without cards, by the plain pyinfra command: one server, which the head answers for."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from deploy_bench import Boxes, deploy_bench
from test_lab_vllm import HARDWARE, KEY, QUESTION, data, service, told

from boxwright.lab import TwinSpec
from boxwright.model.stack import Parallelism
from boxwright.serving.vllm import Node, vllm_environment

# Two gigabytes of wheels for each of two machines, and some minutes: on demand.
pytestmark = [pytest.mark.lab, pytest.mark.on_demand, pytest.mark.timeout(3000)]

CHAT = "http://127.0.0.1:8000/v1/chat/completions"
SPREADS = {"layers": Parallelism(pipeline=2), "copies": Parallelism(data=2)}


class Pair(Boxes):
    """Two twins as the two nodes of one box."""

    def nodes(self) -> list[Node]:
        head = self.twins[0].address
        return [Node(rank, 2, head, twin.address) for rank, twin in enumerate(self.twins)]

    def together(self, told_to: list[dict[str, Any]]) -> list[tuple[int, str]]:
        """Deploy on both at once, as a run does: the head is ready when its other node is."""
        running = []
        for number, (twin, changes) in enumerate(zip(self.twins, told_to, strict=True)):
            folder = self.folder / str(number)
            folder.mkdir(exist_ok=True)
            running.append(Boxes(self.lab, [twin], folder, self.data).deploy("vllm", **changes))
        said = [process.communicate()[0] for process in running]
        return [(process.returncode, text) for process, text in zip(running, said, strict=True)]

    def serve(self, spread: Parallelism) -> None:
        """Have both serve one model, spread so."""
        addresses = [twin.address for twin in self.twins]
        services = [
            service(
                settings=told(node, spread),
                # As role rdma writes it into /etc/boxwright/fabric.env, where a profile has it.
                environment=vllm_environment("vllm", HARDWARE, (), node, p2p=True) | {"GLOO_SOCKET_IFNAME": "eth0"},
                answers=node.answers,
                node_address=node.address,
                head_address=node.head_address,
                peers=[one for one in addresses if one != node.address],
                patience_s=600,
            )
            for node in self.nodes()
        ]
        for code, text in self.together([{"vllm_services": [one]} for one in services]):
            assert code == 0, text[-4000:]

    def answered(self, timeout_s: float = 0) -> tuple[int, Any]:
        """What the head answers; it is asked again until then, where it may take a while to serve."""
        end = time.monotonic() + timeout_s
        while True:
            try:
                status, answer = self.call(self.twins[0], CHAT, QUESTION, KEY)
            except OSError as error:
                status, answer = 0, str(error)
            if status == 200 or time.monotonic() > end:
                return status, answer
            time.sleep(5)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    specs = [TwinSpec("head", "debian-13", HARDWARE), TwinSpec("other", "debian-13", HARDWARE)]
    with deploy_bench("test-vllm-nodes", specs, tmp_path_factory.mktemp("nodes")) as made:
        yield Pair(made.lab, made.twins, made.folder, data(made.lab))


@pytest.fixture(scope="module")
def models(pair: Pair) -> None:
    assert pair.changes("models")


@pytest.mark.usefixtures("models")
@pytest.mark.parametrize("spread", SPREADS.values(), ids=SPREADS.keys())
def test_two_machines_answer_as_one_through_the_head(pair: Pair, spread: Parallelism) -> None:
    pair.serve(spread)
    status, answer = pair.answered()
    assert status == 200, answer
    assert "Paris" in answer["choices"][0]["message"]["content"]
    joined = "ss -Htn state established | grep -c {}"
    head, other = pair.twins
    assert int(pair.on(head, joined.format(other.address))) > 1  # besides the connection that tells that it is there
    pair.serve(spread)  # and again: nothing to do, or it would be restarted and not answer at once
    assert pair.answered()[0] == 200


def test_when_a_node_is_killed_both_start_again_together(pair: Pair) -> None:
    head, other = pair.twins
    starts = [pair.on(twin, "systemctl show -p ExecMainStartTimestampMonotonic --value vllm") for twin in pair.twins]
    pair.on(other, "systemctl kill -s KILL vllm")
    time.sleep(30)
    said = pair.on(head, "journalctl -u vllm -o cat --no-pager")
    assert "a node of the box is lost: ending, to start again together with it" in said
    status, answer = pair.answered(timeout_s=900)
    assert status == 200, answer
    now = [pair.on(twin, "systemctl show -p ExecMainStartTimestampMonotonic --value vllm") for twin in pair.twins]
    assert all(one != before for one, before in zip(now, starts, strict=True))


def test_when_the_head_is_stopped_the_other_node_serves_nothing_and_waits(pair: Pair) -> None:
    head, other = pair.twins
    pair.on(head, "systemctl stop vllm")
    time.sleep(30)
    assert "VLLM" not in pair.on(other, "ps -eo args")
    assert "waiting for the head" in pair.on(other, "journalctl -u vllm -o cat --no-pager -n 20")

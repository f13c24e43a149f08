"""vLLM over two machines without cards, by the plain pyinfra command: one server, which the head answers for."""

from __future__ import annotations

import hashlib
import shlex
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest
from deploy_bench import Boxes, deploy_bench
from test_lab_vllm import HARDWARE, KEY, QUESTION, data, service, told

from boxwright.lab import TwinSpec
from boxwright.model.node_ports import node_ports
from boxwright.model.stack import Parallelism
from boxwright.serving.vllm import Node, vllm_environment

# Two gigabytes of wheels for each of two machines, and some minutes: on demand.
pytestmark = [pytest.mark.lab, pytest.mark.on_demand, pytest.mark.timeout(3000)]

PORT = 8000
CHAT = "http://127.0.0.1:{port}/v1/chat/completions"
SPREADS = {"layers": Parallelism(pipeline=2), "copies": Parallelism(data=2)}


class Pair(Boxes):
    """Two twins as the two nodes of one box."""

    def nodes(self) -> list[Node]:
        head = self.twins[0].address
        return [Node(rank, 2, head, twin.address) for rank, twin in enumerate(self.twins)]

    def begun(self, told_to: list[dict[str, Any]]) -> list[subprocess.Popen[str]]:
        """Start to deploy on both at once."""
        running = []
        for number, (twin, changes) in enumerate(zip(self.twins, told_to, strict=True)):
            folder = self.folder / str(number)
            folder.mkdir(exist_ok=True)
            running.append(Boxes(self.lab, [twin], folder, self.data).deploy("vllm", **changes))
        return running

    def together(self, told_to: list[dict[str, Any]]) -> list[tuple[int, str]]:
        """Deploy on both at once, as a run does: the head is ready when its other node is, and the other way round."""
        running = self.begun(told_to)
        said = [process.communicate()[0] for process in running]
        return [(process.returncode, text) for process, text in zip(running, said, strict=True)]

    def serve(self, *spreads: Parallelism) -> None:
        """Have both serve one model, spread so; of several ways, each is a service of its own."""
        wanted = [
            {"vllm_services": [self.spanning(node, spread, number) for number, spread in enumerate(spreads)]}
            for node in self.nodes()
        ]
        for code, text in self.together(wanted):
            assert code == 0, text[-4000:]

    def spanning(self, node: Node, spread: Parallelism, number: int = 0, **changes: Any) -> dict[str, Any]:
        """A service on one of the nodes; `changes` are to what vLLM is told."""
        unit = f"vllm-{number}" if number else "vllm"
        settings = told(node, spread, number) | changes
        return service(
            unit=unit,
            settings=settings,
            # As role rdma writes it into /etc/boxwright/fabric.env, where a profile has it.
            environment=vllm_environment(unit, HARDWARE, (), node, p2p=True) | {"GLOO_SOCKET_IFNAME": "eth0"},
            port=PORT + number,
            answers=node.answers,
            node_address=node.address,
            head_address=node.head_address,
            peers=[twin.address for twin in self.twins if twin.address != node.address],
            lifeline_port=node_ports(number).lifeline,
            box_settings=hashlib.sha256(f"{spread} {number} {changes}".encode()).hexdigest()[:16],
            patience_s=900,
        )

    def answered(self, timeout_s: float = 0, port: int = PORT) -> tuple[int, Any]:
        """What the head answers; it is asked again until then, where it may take a while to serve."""
        end = time.monotonic() + timeout_s
        while True:
            try:
                status, answer = self.call(self.twins[0], CHAT.format(port=port), QUESTION, KEY)
            except subprocess.CalledProcessError as error:  # nobody listens yet
                status, answer = 0, error.stderr
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
    processes = "main=$(systemctl show -p ExecMainPID --value vllm); pgrep -P $main; echo $main"  # vLLM, and run-node
    before = [pair.on(twin, processes).split() for twin in pair.twins]
    pair.on(other, "systemctl kill -s KILL vllm")
    time.sleep(30)
    said = pair.on(head, "journalctl -u vllm -o cat --no-pager")
    assert "a node of the box is lost: ending, to start again together with it" in said
    status, answer = pair.answered(timeout_s=900)
    assert status == 200, answer
    now = [pair.on(twin, processes).split() for twin in pair.twins]
    assert not set(now[1]) & set(before[1])
    # On the head systemd has nothing to start again, and counts no failure.
    assert (now[0][1], pair.on(head, "systemctl show -p NRestarts --value vllm")) == (before[0][1], "0\n")
    assert now[0][0] != before[0][0]


def test_when_the_head_is_stopped_the_other_node_serves_nothing_and_waits(pair: Pair) -> None:
    head, other = pair.twins
    pair.on(head, "systemctl stop vllm")
    time.sleep(30)
    assert "VLLM" not in pair.on(other, "ps -eo args")
    assert "waiting for the head" in pair.on(other, "journalctl -u vllm -o cat --no-pager -n 20")


TOLD = "cat /etc/vllm/config.yaml /etc/vllm/environment /etc/systemd/system/vllm.service"


@pytest.mark.usefixtures("models")
def test_a_change_that_fails_on_the_head_is_taken_back_on_both(pair: Pair) -> None:
    spread = SPREADS["layers"]
    pair.serve(spread)
    before = [pair.on(twin, TOLD) for twin in pair.twins]
    shorter = [pair.spanning(node, spread, **{"max-model-len": 1024}) for node in pair.nodes()]
    shorter[0] |= {"least_tokens_per_s": 1e6}  # which the head alone finds out
    (head, head_said), (other, other_said) = pair.together([{"vllm_services": [one]} for one in shorter])
    assert head, head_said[-4000:]
    assert other, other_said[-4000:]
    again = "vllm.service serves smollm2 again, with the files that it had."
    assert "tokens/s at best, and the profile asks for 1e+06 (least_tokens_per_s)" in head_said
    assert again in head_said
    assert "the head of the box has gone back to what served before" in other_said
    assert again in other_said
    assert [pair.on(twin, TOLD) for twin in pair.twins] == before
    assert pair.answered()[0] == 200
    pair.serve(spread)
    assert pair.answered()[0] == 200  # nothing was restarted


@pytest.mark.usefixtures("models")
def test_a_change_whose_run_is_lost_on_the_way_ends_alike_on_both(pair: Pair) -> None:
    spread = SPREADS["layers"]
    pair.serve(spread)
    before = [pair.on(twin, TOLD) for twin in pair.twins]
    shorter = [pair.spanning(node, spread, **{"max-model-len": 1024}) for node in pair.nodes()]
    shorter[0] |= {"least_tokens_per_s": 1e6}
    running = pair.begun([{"vllm_services": [one]} for one in shorter])
    end = time.monotonic() + 300
    while "joined" not in pair.on(pair.twins[1], "cat /run/vllm/head || :"):
        assert time.monotonic() < end
        time.sleep(1)
    for process in running:  # and with it the connections to both
        process.kill()
        process.wait()
    end = time.monotonic() + 900
    while [pair.on(twin, TOLD) for twin in pair.twins] != before or pair.answered()[0] != 200:
        assert time.monotonic() < end, pair.on(pair.twins[1], "journalctl -u vllm -o cat --no-pager -n 20")
        time.sleep(5)
    pair.serve(spread)


@pytest.mark.usefixtures("models")
def test_two_services_over_the_same_machines_do_not_meet(pair: Pair) -> None:
    pair.serve(*SPREADS.values())  # four processes of vLLM, of 3.3 GB each
    for port in (PORT, PORT + 1):
        status, answer = pair.answered(port=port)
        assert status == 200, answer
        assert "Paris" in answer["choices"][0]["message"]["content"]
    pair.serve(*SPREADS.values())
    assert [pair.answered(port=port)[0] for port in (PORT, PORT + 1)] == [200, 200]


# Where a task runs on each node of a cluster; a client without its token is not let in.
ASK_RAY = """
import socket, ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy as At
ray.init(address="{head}:6379", log_to_driver=False)
@ray.remote(num_cpus=0)
def host():
    return socket.gethostname()
alive = [node["NodeID"] for node in ray.nodes() if node["Alive"]]
print(sorted(ray.get([host.options(scheduling_strategy=At(node, soft=False)).remote() for node in alive])))
"""


def asked_of_ray(pair: Pair, *, token: bool) -> str:
    """What a client of Ray prints on the head, as the user that engines have."""
    head = pair.twins[0]
    pair.on(head, "cat > /run/ask-ray.py; chmod 644 /run/ask-ray.py", ASK_RAY.format(head=head.address))
    known = "RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=$CREDENTIALS_DIRECTORY/token" if token else ""
    ask = f"{known} exec timeout 80 /opt/boxwright/vllm/current/bin/python /run/ask-ray.py"
    unit = (
        "systemd-run --quiet --pipe --wait --property=User=vllm --property=ReadWritePaths=/run/ray --setenv=HOME=/tmp "
        f"--property=LoadCredential=token:/etc/ray/token /bin/sh -c {shlex.quote(f'{ask} 2>&1 | tail -1')}"
    )
    return pair.on(head, unit).strip()


def until_ray_runs_on_both(pair: Pair) -> None:
    end = time.monotonic() + 240
    while (said := asked_of_ray(pair, token=True)) != "['head', 'other']":
        assert time.monotonic() < end, said + pair.on(pair.twins[1], "journalctl -u ray -o cat --no-pager -n 20")
        time.sleep(5)


def test_by_ray_a_task_runs_on_every_node_and_strangers_start_none(pair: Pair) -> None:
    # vLLM itself answers by Ray on cards alone: "current platform cpu does not support ray".
    together = []
    for node in pair.nodes():
        environment = vllm_environment("ray", HARDWARE, (), node, p2p=True) | {"GLOO_SOCKET_IFNAME": "eth0"}
        others = [one.address for one in pair.nodes() if one.rank != node.rank]
        ray = {"release": "2.60.0", "port": 6379, "leads": node.answers, "head_address": node.head_address}
        ray |= {"address": node.address, "peers": others, "environment": environment}
        together.append({"vllm_services": [], "vllm_ray": ray})
    for code, text in pair.together(together):
        assert code == 0, text[-4000:]
    until_ray_runs_on_both(pair)
    assert "Failed to connect to Ray cluster" in asked_of_ray(pair, token=False)
    pair.on(pair.twins[0], "systemctl restart ray")  # the other node loses it, ends, and joins the new one
    until_ray_runs_on_both(pair)

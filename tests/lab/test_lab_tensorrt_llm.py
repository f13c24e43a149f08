"""TensorRT-LLM's container on a twin, by the plain pyinfra command: the real Docker, and a SIMULATED image.

The image holds the twin's own Python and a program that answers as trtllm-serve does; nothing computes on a card here.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from deploy_bench import Boxes, deploy_bench
from simulated_card import card_holds, expected

from boxwright.lab import RunningTwin, TwinSpec
from boxwright.model.catalogues import load_engine, load_models
from boxwright.model.hardware import Cpu, Hardware
from boxwright.model.stack import Parallelism, Service
from boxwright.model.weights import Weights
from boxwright.serving.tensorrt_llm import command, container_environment, model_place, options

pytestmark = [pytest.mark.lab, pytest.mark.on_demand, pytest.mark.timeout(900)]

HARDWARE = Hardware(cpu=Cpu(cores_per_socket=2), memory_gib=4, disk_gib=8)
MODEL = load_models().find("deepseek-r1-distill-llama-70b")
URL = "http://127.0.0.1:8000"
ASK = "curl -s -m 5 -o /dev/null -w '%{http_code}'"
QUESTION = {"model": "m", "messages": [{"role": "user", "content": "What is the capital of France?"}]}
IMAGE = """\
set -e
mkdir -p /root/image/usr/local/bin
cat > /root/image/usr/local/bin/trtllm-serve
chmod 755 /root/image/usr/local/bin/trtllm-serve
tar -c -C / --exclude=usr/lib/modules --exclude='usr/lib/x86_64-linux-gnu/dri' bin lib lib64 usr/bin usr/lib usr/lib64 \
    -C /root/image usr/local | docker import - simulated/tensorrt-llm
"""


def service(image: str, **changes: Any) -> dict[str, Any]:
    assert MODEL
    wanted = Service(model=MODEL.id, engine="tensorrt_llm")
    weights, table = Weights(MODEL, MODEL.builds[0]), load_engine("tensorrt_llm")
    words = command(table, "1.2.1", wanted, weights, Parallelism(tensor=4))
    return {
        "unit": "tensorrt-llm",
        "image": image,
        "command": list(words),
        "environment": container_environment(table, "1.2.1", wanted, p2p=True),
        "options": options(),
        "model_path": "/srv/models/m/bf16",
        "model_place": model_place(weights),
        "model_name": MODEL.id,
        "purpose": MODEL.purpose,
        "residency": None,
        "numa_placement": None,
        "least_tokens_per_s": None,
        "cards": [],  # the twin has none that computes
        "memory_nodes": [],
        "port": 8000,
        "patience_s": 150,
    } | changes


@pytest.fixture(scope="module")
def boxes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Boxes]:
    spec = TwinSpec("trt13", "debian-13", HARDWARE, containers=True)
    with deploy_bench("test-trt", [spec], tmp_path_factory.mktemp("trt")) as made:
        (twin,) = made.twins
        proxy = f'Acquire::http::Proxy "{made.lab.proxy_url}";\n'
        made.on(twin, "cat > /etc/apt/apt.conf.d/99proxy", proxy)
        packages = "docker.io docker-cli"
        made.on(
            twin, f"apt-get -qq update; DEBIAN_FRONTEND=noninteractive apt-get -qq install {packages} >/dev/null 2>&1"
        )
        simulated = (Path(__file__).parent / "simulated_trtllm_serve.py").read_text()
        image = made.on(twin, IMAGE, simulated).strip()
        made.on(twin, "mkdir -p /srv/models/m/bf16; echo {} > /srv/models/m/bf16/config.json")
        made.data = {"tensorrt_llm_services": [service(image)], "image": image}
        yield made


def status(boxes: Boxes, twin: RunningTwin, path: str, account: str = "root") -> str:
    return boxes.on(twin, f"runuser -u {account} -- {ASK} {URL}{path} || :")


def test_it_serves_and_then_nothing_changes(boxes: Boxes) -> None:
    (twin,) = boxes.twins
    assert boxes.changes("tensorrt_llm")
    _, models = boxes.call(twin, f"{URL}/v1/models")
    assert [one["id"] for one in models["data"]] == ["deepseek-r1-distill-llama-70b"]
    code, answer = boxes.call(twin, f"{URL}/v1/chat/completions", QUESTION)
    assert (code, "SIMULATED" in answer["choices"][0]["message"]["content"]) == (200, True)
    assert status(boxes, twin, "/prometheus/metrics") == "200"
    assert boxes.changes("tensorrt_llm") == 0


def test_what_falls_back_to_the_processor_in_its_container_gives_way(boxes: Boxes) -> None:
    """A SIMULATED card tells of the process in the container what a driver would; Docker's client is none of it."""
    (twin,) = boxes.twins
    image = boxes.data["image"]
    in_it = "python3 /usr/local/bin/trtllm-serve"
    card_holds(boxes, twin, in_it, 390, unless="grep -q FALLEN /etc/tensorrt-llm/container.json")
    residency = expected("tensorrt-llm", container="tensorrt-llm")
    placed = service(image, residency=residency)
    assert boxes.changes("tensorrt_llm", tensorrt_llm_services=[placed]) == 1
    assert boxes.changes("tensorrt_llm", tensorrt_llm_services=[placed]) == 0
    fallen = service(image, residency=residency, environment=placed["environment"] | {"FALLEN": "1"})
    process = boxes.deploy("tensorrt_llm", tensorrt_llm_services=[fallen])
    output, _ = process.communicate(timeout=400)
    assert process.returncode != 0
    assert "tensorrt-llm.service has 0.00 GB on its cards" in output
    assert "tensorrt-llm.service: card 0 0.41 GB; its model takes 0.40 GB there" in output
    assert "again, with the files that it had." in output
    assert boxes.changes("tensorrt_llm", tensorrt_llm_services=[placed]) == 0
    assert boxes.changes("tensorrt_llm")


def test_it_is_closed(boxes: Boxes) -> None:
    (twin,) = boxes.twins
    _, state = boxes.call(twin, f"{URL}/state")
    assert state["uid"] == int(boxes.on(twin, "id -u tensorrt-llm"))
    assert state["weights"] == ["config.json"]
    assert state["writable"] == ["/tmp", "/cache"]
    assert (state["capabilities"], state["offline"]) == ("0" * 16, "1")
    listening = "ss -Hlnt | awk '{print $4}' | grep -v -e '^127\\.' -e ':22$' || :"
    assert boxes.on(twin, listening) == ""
    # Neither people of the box reach it, nor does its own account reach anybody else.
    boxes.on(twin, "id person >/dev/null 2>&1 || useradd person")
    assert status(boxes, twin, "/v1/models", "person") == "000"
    assert status(boxes, twin, "/v1/models", "www-data") == "200"
    gateway = boxes.lab.proxy_url.replace("http://", "").rstrip("/")
    reach = f"curl -s -m 5 -o /dev/null http://{gateway}/; echo $?"
    assert boxes.on(twin, f"runuser -u www-data -- sh -c '{reach}'").strip() == "0"
    assert boxes.on(twin, f"runuser -u tensorrt-llm -- sh -c '{reach}'").strip() == "7"


def test_requests_in_flight_end_before_it_stops(boxes: Boxes) -> None:
    (twin,) = boxes.twins
    slow = json.dumps(QUESTION | {"seconds": 4})
    boxes.on(twin, "cat > /run/question", slow)
    ask = f"curl -s -o /dev/null -w %{{http_code}} -d @/run/question {URL}/v1/chat/completions > /run/code"
    boxes.on(twin, f"systemd-run -q sh -c '{ask}'; sleep 1")
    began = time.monotonic()
    boxes.on(twin, "systemctl stop tensorrt-llm")
    assert 2 < time.monotonic() - began < 40
    assert boxes.on(twin, "sleep 1; cat /run/code") == "200"
    said = boxes.on(twin, "journalctl -u tensorrt-llm -o cat --no-pager")
    assert "has ended in order" in said
    assert boxes.on(twin, "docker ps --all --quiet") == ""


def refused(boxes: Boxes, wanted: dict[str, Any]) -> str:
    process = boxes.deploy("tensorrt_llm", tensorrt_llm_services=[wanted])
    output, _ = process.communicate(timeout=300)
    assert process.returncode != 0, output[-2000:]
    return str(output)


def test_a_container_that_dies_comes_back_and_a_wrong_flag_gives_way_to_what_served(boxes: Boxes) -> None:
    (twin,) = boxes.twins
    assert boxes.changes("tensorrt_llm") == 1
    boxes.on(twin, "docker kill tensorrt-llm >/dev/null")
    ended = time.monotonic()
    while status(boxes, twin, "/health") != "200":
        assert time.monotonic() - ended < 60
        time.sleep(0.5)
    request = "/etc/tensorrt-llm/container.json"
    before = boxes.on(twin, f"cat {request}")
    wrong = service(boxes.data["image"])
    output = refused(boxes, wrong | {"command": [*wrong["command"], "--swap_space"]})
    # On a busy machine three starts of a container take longer than it is waited for.
    ended = r"tensorrt-llm\.service (ends as soon as it is started|was not ready within 150 s)"
    assert re.search(ended, output), output
    assert "unrecognized arguments: --swap_space" in output
    assert f"tensorrt-llm.service serves {wrong['model_name']} again, with the files that it had." in output
    assert boxes.on(twin, f"cat {request}") == before
    assert status(boxes, twin, "/v1/models", "www-data") == "200"
    assert status(boxes, twin, "/v1/models", "person") == "000"
    assert boxes.changes("tensorrt_llm") == 0


def test_one_that_is_too_slow_gives_way_to_what_served(boxes: Boxes) -> None:
    (twin,) = boxes.twins
    quick = service(boxes.data["image"], least_tokens_per_s=5.0)
    assert boxes.changes("tensorrt_llm", tensorrt_llm_services=[quick]) == 1
    output = refused(boxes, quick | {"least_tokens_per_s": 1e6, "environment": {"OTHER": "1"}})
    assert "tokens/s at best, and the profile asks for 1e+06 (least_tokens_per_s)" in output
    assert f"tensorrt-llm.service serves {quick['model_name']} again" in output
    assert "OTHER" not in boxes.on(twin, "cat /etc/tensorrt-llm/container.json")
    assert boxes.changes("tensorrt_llm", tensorrt_llm_services=[quick]) == 0
    assert boxes.changes("tensorrt_llm") == 1


def test_one_that_is_ready_and_whose_model_does_not_answer_gives_way_to_what_served(boxes: Boxes) -> None:
    (twin,) = boxes.twins
    right = service(boxes.data["image"])
    boxes.changes("tensorrt_llm")
    output = refused(boxes, right | {"environment": right["environment"] | {"MUTE": "1"}})
    assert "is ready, and its model does not answer: 500" in output
    assert f"tensorrt-llm.service serves {right['model_name']} again, with the files that it had." in output
    assert "MUTE" not in boxes.on(twin, "cat /etc/tensorrt-llm/container.json")
    assert boxes.changes("tensorrt_llm") == 0


def test_an_image_that_is_not_there_is_told(boxes: Boxes) -> None:
    assert "load it first" in refused(boxes, service(f"sha256:{'0' * 64}"))


def test_what_is_wanted_no_more_goes(boxes: Boxes) -> None:
    (twin,) = boxes.twins
    assert boxes.changes("tensorrt_llm", tensorrt_llm_services=[])
    assert boxes.on(twin, "ls /etc/systemd/system | grep tensorrt || :") == ""
    assert boxes.on(twin, "docker ps --all --quiet; nft list tables | grep tensorrt || :") == ""

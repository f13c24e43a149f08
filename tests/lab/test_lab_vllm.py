"""vLLM on the processor, by the plain pyinfra command: from a bare host to an answer, and over two hosts."""

from __future__ import annotations

import json
import re
import shlex
import time
from collections.abc import Iterator
from typing import Any

import pytest
from deploy_bench import Boxes, deploy_bench, models_data
from simulated_card import card_holds, expected

from boxwright.lab import Lab, TwinSpec
from boxwright.mirrors import resolve
from boxwright.model.catalogues import load_models
from boxwright.model.debian_packages import DEBIAN_KEYRING
from boxwright.model.hardware import Cpu, Hardware
from boxwright.model.site import Mirrors
from boxwright.model.stack import Parallelism, Service
from boxwright.serving.vllm import Node, vllm_environment, vllm_settings

# A gigabyte of wheels and some minutes: on demand.
pytestmark = [pytest.mark.lab, pytest.mark.on_demand, pytest.mark.timeout(1500)]

HARDWARE = Hardware(cpu=Cpu(cores_per_socket=2), memory_gib=4, disk_gib=12)
VERSION = "0.32.0"
KEY = "lab-engine-key-77aa"
MODEL = load_models().find("smollm2")
ALONE = Node(rank=0, count=1, head_address="127.0.0.1")
QUESTION = {
    "model": "smollm2",
    "messages": [{"role": "user", "content": "What is the capital of France? Answer in one word."}],
    "temperature": 0,
    "max_tokens": 24,
}


def told(node: Node, spread: Parallelism, number: int = 0) -> dict[str, Any]:
    assert MODEL
    service = Service(model="smollm2", engine="vllm", context_tokens=2048)
    return dict(vllm_settings(service, MODEL, HARDWARE, spread, node, number=number))


def service(**changes: Any) -> dict[str, Any]:
    assert MODEL
    return {
        "unit": "vllm",
        "settings": told(ALONE, Parallelism()),
        "environment": vllm_environment("vllm", HARDWARE, (), p2p=True),
        "model_path": "/srv/models/smollm2-bf16",
        "model_names": ["smollm2"],
        "purpose": "chat",
        "residency": None,
        "numa_placement": None,
        "least_tokens_per_s": None,
        "converted_from": f"/srv/models/smollm2/{MODEL.builds[0].files[0].name}",
        "mig": None,
        "numa_policy": "default",
        "numa_nodes": [],
        "port": 8000,
        "answers": True,
        "node_address": None,
        "head_address": None,
        "peers": [],
        "lifeline_port": None,
        "box_settings": None,
        "patience_s": 300,
    } | changes


def data(lab: Lab) -> dict[str, Any]:
    mirrors = resolve(Mirrors())
    assert MODEL
    return {
        **models_data(lab, "/srv/models/smollm2", [file.model_dump() for file in MODEL.builds[0].files]),
        "vllm_flavour": "cpu",
        "vllm_version": VERSION,
        "vllm_services": [service()],
        "vllm_ray": None,
        "vllm_models_directory": "/srv/models",
        "vllm_api_key": KEY,
        "vllm_python_index": mirrors.python_index,
        "vllm_wheels": list(mirrors.wheels or ()),
        "vllm_debian_mirror": mirrors.debian,
        "vllm_debian_keyring": DEBIAN_KEYRING,
        "vllm_debian_check_valid_until": mirrors.check_valid_until,
        "vllm_proxy": lab.proxy_url,
    }


@pytest.fixture(scope="module")
def boxes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Boxes]:
    with deploy_bench("test-vllm", [TwinSpec("v13", "debian-13", HARDWARE)], tmp_path_factory.mktemp("vllm")) as made:
        made.data = data(made.lab)
        yield made


def test_from_a_bare_host_to_an_answer_and_then_no_change(boxes: Boxes) -> None:
    (twin,) = boxes.twins
    assert boxes.changes("models")
    assert boxes.changes("vllm")
    url = "http://127.0.0.1:8000/v1/chat/completions"
    status, answer = boxes.call(twin, url, QUESTION, KEY)
    assert status == 200, answer
    assert "Paris" in answer["choices"][0]["message"]["content"]
    assert boxes.call(twin, url, QUESTION)[0] == 401
    assert boxes.changes("models") == 0
    assert boxes.changes("vllm") == 0


def test_it_listens_inside_keeps_its_key_and_calls_nobody(boxes: Boxes) -> None:
    (twin,) = boxes.twins
    open_to_others = "ss -Hlnt | awk '{print $4}' | grep -v -e '^127\\.' -e '^\\[::1\\]' -e ':22$' || :"
    assert boxes.on(twin, open_to_others) == ""
    hunt = (
        "cat > /run/hunt; grep -alF -f /run/hunt /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null; "
        "journalctl --no-pager | grep -cF -f /run/hunt; rm /run/hunt; true"
    )
    assert boxes.on(twin, hunt, KEY + "\n").split() == ["0"]
    assert boxes.on(twin, "stat -c '%a %U' /etc/vllm /etc/vllm/config.yaml") == "700 root\n600 root\n"
    assert boxes.on(twin, "systemctl show -p User --value vllm").strip() == "vllm"


def test_a_changed_setting_restarts_it_and_a_wrong_one_says_why(boxes: Boxes) -> None:
    (twin,) = boxes.twins
    shorter = told(ALONE, Parallelism()) | {"max-model-len": 1024}
    assert boxes.changes("vllm", vllm_services=[service(settings=shorter)]) == 2  # the file and the service
    _, models = boxes.call(twin, "http://127.0.0.1:8000/v1/models", token=KEY)
    assert models["data"][0]["max_model_len"] == 1024
    wrong = service(settings=shorter | {"swap-space": 4}, patience_s=120)
    process = boxes.deploy("vllm", vllm_services=[wrong])
    output, _ = process.communicate(timeout=600)
    assert process.returncode != 0
    # On a busy machine three starts take longer than it is waited for.
    assert re.search(r"vllm\.service (ends as soon as it is started|was not ready within 120 s)", output), output[
        -3000:
    ]
    assert "unrecognized arguments: --swap-space" in output
    assert "vllm.service serves smollm2 again, with the files that it had." in output
    _, models = boxes.call(twin, "http://127.0.0.1:8000/v1/models", token=KEY)
    assert models["data"][0]["max_model_len"] == 1024


def test_a_floor_of_speed_holds_and_one_too_high_puts_back_what_served(boxes: Boxes) -> None:
    (twin,) = boxes.twins
    quick = service(least_tokens_per_s=1.0)
    assert boxes.changes("vllm", vllm_services=[quick])
    assert boxes.changes("vllm", vllm_services=[quick]) == 0
    config = "cat /etc/vllm/config.yaml /etc/vllm/environment"
    before = boxes.on(twin, config)
    shorter = told(ALONE, Parallelism()) | {"max-model-len": 1024}
    process = boxes.deploy("vllm", vllm_services=[service(settings=shorter, least_tokens_per_s=1e6)])
    output, _ = process.communicate(timeout=600)
    assert process.returncode != 0
    assert "tokens/s at best, and the profile asks for 1e+06 (least_tokens_per_s)" in output
    assert "vllm.service serves smollm2 again, with the files that it had." in output
    assert boxes.on(twin, config) == before
    _, models = boxes.call(twin, "http://127.0.0.1:8000/v1/models", token=KEY)
    assert models["data"][0]["max_model_len"] == 2048
    assert boxes.changes("vllm", vllm_services=[quick]) == 0


def test_an_upgrade_that_falls_back_to_the_processor_gives_way_to_what_served(boxes: Boxes) -> None:
    """It is on the processor all the time: a SIMULATED card tells of vLLM's own process what a driver would."""
    (twin,) = boxes.twins
    boxes.changes("vllm")
    card_holds(boxes, twin, "VLLM::EngineCore", 390, unless="grep -q 1024 /etc/vllm/config.yaml")
    placed = service(residency=expected("vllm"))
    assert boxes.changes("vllm", vllm_services=[placed]) == 1  # judged as it runs
    assert boxes.changes("vllm", vllm_services=[placed]) == 0
    shorter = told(ALONE, Parallelism()) | {"max-model-len": 1024}
    process = boxes.deploy("vllm", vllm_services=[service(settings=shorter, residency=expected("vllm"))])
    output, _ = process.communicate(timeout=900)
    assert process.returncode != 0
    assert "vllm.service has 0.00 GB on its cards; its model takes 0.40 GB there" in output
    assert "vllm.service: card 0 0.41 GB; its model takes 0.40 GB there" in output  # of what came back
    assert "vllm.service serves smollm2 again, with the files that it had." in output
    _, models = boxes.call(twin, "http://127.0.0.1:8000/v1/models", token=KEY)
    assert models["data"][0]["max_model_len"] == 2048
    assert boxes.changes("vllm", vllm_services=[placed]) == 0


def test_requests_in_flight_are_let_to_end(boxes: Boxes) -> None:
    (twin,) = boxes.twins
    assert boxes.changes("vllm")
    story = {**QUESTION, "max_tokens": 200, "ignore_eos": True}
    ask = (
        f"curl -s -o /run/answer -w '%{{http_code}}' -H 'Authorization: Bearer {KEY}' "
        "-H 'Content-Type: application/json' -d @/run/question http://127.0.0.1:8000/v1/chat/completions > /run/code"
    )
    boxes.on(twin, "cat > /run/question", json.dumps(story))
    boxes.on(twin, f"systemd-run -q sh -c {shlex.quote(ask)}; sleep 1")
    started = time.monotonic()
    boxes.on(twin, "systemctl stop vllm")
    assert time.monotonic() - started < 80
    assert boxes.on(twin, "sleep 1; cat /run/code") == "200"
    assert '"completion_tokens":200' in boxes.on(twin, "cat /run/answer").replace(" ", "")

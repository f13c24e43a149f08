"""The three deploys by the plain pyinfra command, on twins of both distributions: from bare host to an answer."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import random
import signal
import threading
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from deploy_bench import Boxes, deploy_bench, llama_cpp_data, llama_cpp_service, llama_cpp_words, models_data

from boxwright.lab import Lab, TwinSpec
from boxwright.mirrors import resolve
from boxwright.model.catalogues import load_models
from boxwright.model.hardware import Cpu, Hardware
from boxwright.model.site import Mirrors
from boxwright.model.stack import NumaPolicy
from boxwright.verification.numa import breach, memory_by_node, processors

pytestmark = pytest.mark.lab

REPOSITORY = Path(__file__).parents[2]
HARDWARE = Hardware(cpu=Cpu(cores_per_socket=2), memory_gib=4, disk_gib=4)
CATALOGUE = load_models()
ENGINE_KEY = "lab-engine-key-8d51"
SECRET_KEY = "lab-secret-key-1c07"
PASSWORD = "lab-admin-password-77"
EMAIL = "admin@example.org"


SERVICE = llama_cpp_service(port=8081, numa_policy="bind", numa_nodes=[0])


def data(lab: Lab) -> dict[str, Any]:
    mirrors = resolve(Mirrors())
    model = CATALOGUE.find("smollm2")
    assert model
    return {
        **models_data(lab, "/srv/models/smollm2", [file.model_dump() for file in model.builds[0].files]),
        **llama_cpp_data(lab, ENGINE_KEY, [SERVICE]),
        "open_webui_flavour": "slim",
        "open_webui_port": 3000,
        "open_webui_engine_unit": "llama-server",
        "open_webui_engine_url": "http://127.0.0.1:8081/v1",
        "open_webui_engine_key": ENGINE_KEY,
        "open_webui_public_url": "https://box.example.org",
        "open_webui_secret_key": SECRET_KEY,
        "open_webui_admin_email": EMAIL,
        "open_webui_admin_password": PASSWORD,
        "open_webui_python_index": mirrors.python_index,
        "open_webui_debian_mirror": mirrors.debian,
        "open_webui_debian_check_valid_until": mirrors.check_valid_until,
        "open_webui_proxy": lab.proxy_url,
    }


@pytest.fixture(scope="module")
def boxes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Boxes]:
    specs = [TwinSpec("d12", "debian-12", HARDWARE), TwinSpec("d13", "debian-13", HARDWARE)]
    with deploy_bench("test-deploys", specs, tmp_path_factory.mktemp("deploys")) as made:
        made.data = data(made.lab)
        yield made


class SlowSource:
    """Serves one file in small pieces and understands ranges."""

    def __init__(self, address: str) -> None:
        self.content = random.Random(1).randbytes(4_000_000)  # noqa: S311 - any bytes do
        self.pause_s = 0.1
        self.ranges: list[str | None] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                pass

            def do_GET(self) -> None:
                wanted = self.headers["Range"]
                outer.ranges.append(wanted)
                start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
                self.send_response(206 if wanted else 200)
                self.send_header("Content-Length", str(len(outer.content) - start))
                self.send_header("Content-Range", f"bytes {start}-{len(outer.content) - 1}/{len(outer.content)}")
                self.end_headers()
                with contextlib.suppress(ConnectionError):  # the test kills who reads
                    for at in range(start, len(outer.content), 65536):
                        self.wfile.write(outer.content[at : at + 65536])
                        time.sleep(outer.pause_s)

        self.server = http.server.ThreadingHTTPServer((address, 0), Handler)
        self.url = f"http://{address}:{self.server.server_address[1]}/weights"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


def test_a_dry_run_on_bare_hosts_works_and_writes_nothing(boxes: Boxes) -> None:
    for deploy in ("models", "llama_cpp", "open_webui"):
        process = boxes.deploy(deploy, "--dry")
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 0, output[-4000:]
    for twin in boxes.twins:
        assert (
            boxes.on(twin, "ls -d /opt/boxwright /srv/models /etc/llama-server /etc/open-webui 2>/dev/null; true") == ""
        )


def test_a_run_killed_while_it_fetches_is_finished_by_the_next(boxes: Boxes) -> None:
    address = urllib.parse.urlsplit(boxes.lab.proxy_url).hostname
    assert address
    source = SlowSource(address)
    digest = hashlib.sha256(source.content).hexdigest()
    entry = {"name": "w.gguf", "bytes": len(source.content), "sha256": digest, "urls": [source.url]}
    changed = models_data(boxes.lab, "/srv/trial", [entry]) | {"models_proxy": None}
    killed = boxes.deploy("models", **changed)
    deadline = time.monotonic() + 60
    part = "stat -c %s /srv/trial/w.gguf.part 2>/dev/null || echo 0"
    while min(int(boxes.on(twin, part)) for twin in boxes.twins) < 1_000_000:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    for twin in boxes.twins:  # the box, too, may lose power: its half of the run ends as hard
        boxes.on(twin, "pkill -KILL -f '[f]etch-model'; sleep 0.2; test ! -e /srv/trial/w.gguf")
    source.pause_s = 0
    assert boxes.changes("models", **changed) == len(boxes.twins)
    for twin in boxes.twins:
        assert digest in boxes.on(twin, "sha256sum /srv/trial/w.gguf; ls -A /srv/trial")
        assert ".part" not in boxes.on(twin, "ls -A /srv/trial")
    assert len([wanted for wanted in source.ranges if wanted]) == len(boxes.twins)
    source.server.shutdown()


def test_from_bare_hosts_to_an_answer_and_then_no_change(boxes: Boxes) -> None:
    for deploy in ("models", "llama_cpp", "open_webui"):
        assert boxes.changes(deploy)
    for deploy in ("models", "llama_cpp", "open_webui"):
        assert boxes.changes(deploy) == 0
    for twin in boxes.twins:
        assert boxes.on(twin, "ls -d /nonexistent 2>/dev/null; true") == ""


QUESTION = {
    "model": "smollm2-135m-instruct",
    "messages": [{"role": "user", "content": "What is the capital of France? Answer in one word."}],
    "temperature": 0,
    "max_tokens": 24,
}


def test_the_engine_answers_who_has_its_key(boxes: Boxes) -> None:
    for twin in boxes.twins:
        url = "http://127.0.0.1:8081/v1/chat/completions"
        status, answer = boxes.call(twin, url, QUESTION, ENGINE_KEY)
        assert status == 200
        assert "Paris" in answer["choices"][0]["message"]["content"]
        assert boxes.call(twin, url, QUESTION)[0] == 401
        assert boxes.call(twin, url, QUESTION, "wrong")[0] == 401
        assert boxes.call(twin, "http://127.0.0.1:8081/slots", token=ENGINE_KEY)[0] == 501


def test_the_engines_memory_lies_where_the_policy_says(boxes: Boxes) -> None:
    """The controller has one node, so that a wrong node cannot be shown here; that the policy is in force can."""
    for twin in boxes.twins:
        ask = "systemctl show --property=MainPID --value llama-server"
        maps = boxes.on(twin, f"cat /proc/$({ask})/numa_maps")
        assert sum(" bind:0 " in line for line in maps.splitlines()) > 10
        memory = memory_by_node(maps)
        assert set(memory) == {0}
        assert memory[0] > 50 * 1024  # the model's 94 MiB are mapped, and most of them touched
        allowed = processors(boxes.on(twin, f"grep Cpus_allowed_list /proc/$({ask})/status | cut -f2"))
        assert not breach(NumaPolicy(policy="bind", nodes=(0,)), memory, allowed, {0: allowed})
        assert "on node 0, and the policy is bind on 1" in breach(
            NumaPolicy(policy="bind", nodes=(1,)), memory, allowed, {1: allowed}
        )


def test_the_administrator_signs_in_and_chats(boxes: Boxes) -> None:
    for twin in boxes.twins:
        page = "http://127.0.0.1:3000"
        person = {"email": EMAIL, "password": PASSWORD}
        assert boxes.call(twin, f"{page}/api/v1/auths/signin", person | {"password": "wrong"})[0] == 400
        status, session = boxes.call(twin, f"{page}/api/v1/auths/signin", person)
        assert (status, session["role"]) == (200, "admin")
        newcomer = {"name": "x", "email": "x@example.org", "password": "a-long-password"}
        assert boxes.call(twin, f"{page}/api/v1/auths/signup", newcomer)[0] == 403
        _, models = boxes.call(twin, f"{page}/api/models", token=session["token"])
        assert [model["id"] for model in models["data"]] == ["smollm2-135m-instruct"]
        status, answer = boxes.call(twin, f"{page}/api/chat/completions", QUESTION, session["token"])
        assert status == 200
        assert "Paris" in answer["choices"][0]["message"]["content"]


def test_nothing_of_the_stack_calls_elsewhere(boxes: Boxes) -> None:
    """Counted before any rule could stop it: start, sign-in and chat send no packet off the box."""
    count = (
        "nft 'add table inet watch; add chain inet watch out { type filter hook output priority -400; };"
        'add rule inet watch out oifname != "lo" meta skuid { open-webui, llama } counter\'; '
        "systemctl restart llama-server open-webui"
    )
    sent = "nft list chain inet watch out | sed -n 's/.*packets \\([0-9]*\\).*/\\1/p'"
    for twin in boxes.twins:
        boxes.on(twin, count)
    for twin in boxes.twins:
        page = "http://127.0.0.1:3000"
        boxes.on(twin, f"for n in $(seq 90); do curl -sf {page}/health && break; sleep 1; done")
        _, session = boxes.call(twin, f"{page}/api/v1/auths/signin", {"email": EMAIL, "password": PASSWORD})
        assert boxes.call(twin, f"{page}/api/chat/completions", QUESTION, session["token"])[0] == 200
        assert boxes.on(twin, sent).strip() == "0"
        boxes.on(twin, "runuser -u open-webui -- curl -s -m 1 http://192.0.2.1 || :")  # the counter does count
        assert int(boxes.on(twin, sent)) > 0
        boxes.on(twin, "nft delete table inet watch")


def test_services_listen_on_loopback_alone_and_keep_their_secrets(boxes: Boxes) -> None:
    hunt = (
        "cat > /run/secrets-hunt; "
        "grep -alF -f /run/secrets-hunt /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null; "
        "journalctl --no-pager | grep -cF -f /run/secrets-hunt; rm /run/secrets-hunt; true"
    )
    for twin in boxes.twins:
        listening = boxes.on(twin, "ss -Hlnt | awk '{print $4}'").split()
        assert {place for place in listening if not place.endswith(":22")} == {"127.0.0.1:8081", "127.0.0.1:3000"}
        assert boxes.on(twin, hunt, f"{ENGINE_KEY}\n{SECRET_KEY}\n{PASSWORD}\n").split() == ["0"]
        readable = "find /etc/llama-server /etc/open-webui /var/lib/boxwright/requests /var/lib/open-webui -perm /077"
        assert boxes.on(twin, readable) == ""


def test_a_dead_service_and_a_changed_setting_are_put_right(boxes: Boxes) -> None:
    for twin in boxes.twins:
        boxes.on(twin, "systemctl stop llama-server; echo wrong > /etc/llama-server/api-key")
    assert boxes.changes("llama_cpp") == 2 * len(boxes.twins)  # the key and the service
    shorter = {"llama_cpp_services": [SERVICE | {"arguments": llama_cpp_words(context_tokens=1024)}]}
    assert boxes.changes("llama_cpp", **shorter) == 2 * len(boxes.twins)
    assert boxes.changes("llama_cpp", **shorter) == 0
    for twin in boxes.twins:
        assert "--ctx-size 2048" in boxes.on(twin, "systemctl cat llama-server")
        assert boxes.call(twin, "http://127.0.0.1:8081/v1/models", token=ENGINE_KEY)[0] == 200


def test_a_file_written_by_a_run_that_died_before_the_restart_is_noticed(boxes: Boxes) -> None:
    for twin in boxes.twins:
        time.sleep(1.1)  # file times and start times are compared in seconds
        boxes.on(twin, "touch /etc/open-webui/environment")
    assert boxes.changes("open_webui") == len(boxes.twins)


def test_a_service_that_cannot_start_says_why(boxes: Boxes) -> None:
    process = boxes.deploy("llama_cpp", llama_cpp_services=[SERVICE | {"model_path": "/srv/models/absent.gguf"}])
    output, _ = process.communicate(timeout=120)
    assert process.returncode != 0
    assert "llama-server.service does not answer" in output
    assert "absent.gguf" in output

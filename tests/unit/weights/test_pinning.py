"""Digests from hubs: by the verb, against real servers that answer as the hubs do, into a file that loads."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_server import COMMIT, Hub
from verb_command import Ran, boxwright

from boxwright.errors import Exit
from boxwright.model.catalogue import Build
from boxwright.model.catalogues import load_models
from boxwright.model.site import Mirrors
from boxwright.planning.weights import hub_address

SHARDS = {
    f"DeepSeek-R1-UD-IQ1_S/DeepSeek-R1-UD-IQ1_S-{number:05}-of-00003.gguf": random.Random(number).randbytes(5000)  # noqa: S311
    for number in (2, 1, 3)
}
OTHERS = {"README.md": b"#", "DeepSeek-R1-Q2_K/m.gguf": b"no"}
TENSORS = {
    "model-00002-of-000002.safetensors": b"tensors 2",
    "model-00001-of-000002.safetensors": b"tensors 1",
    "config.json": b'{"a": 1}',
    "sub/generation_config.json": b"{}",
    "modeling.py": b"raise SystemExit",
}
TOKEN = "hf_a-token-of-the-test"


@pytest.fixture
def hub() -> Iterator[Hub]:
    made = Hub()
    made.repositories["unsloth/DeepSeek-R1-GGUF"] = SHARDS | OTHERS
    made.repositories["deepseek-ai/DeepSeek-R1-Distill-Qwen-7B"] = dict(TENSORS)
    made.ollama["deepseek-r1:32b"] = b"weights of 32B"
    yield made
    made.close()


@pytest.fixture
def site(hub: Hub, tmp_path: Path, own_places: Path) -> Path:
    path = tmp_path / "site.yml"
    mirrors = ", ".join(f"{name}: {hub.url}" for name in ("huggingface", "modelscope", "ollama"))
    path.write_text(f"name: s\nhosts: [{{name: a, address: 192.0.2.1}}]\nmirrors: {{{mirrors}}}\n")
    return path


def pin(site: Path, *words: str, model: str = "deepseek-r1", build: str = "ud-iq1_s") -> Ran:
    return boxwright("models.pin", "--site", str(site), "--model", model, "--build", build, *words)


def loaded(ran: Ran, model_id: str, build_name: str, tmp_path: Path) -> Build:
    """What was printed, read as a site would have it read."""
    assert ran.code == Exit.OK, ran.told
    (tmp_path / "own.yml").write_text(ran.out)
    model = load_models(further=[tmp_path / "own.yml"]).find(model_id)
    assert model
    build = model.build(build_name)
    assert build
    return build


@pytest.mark.parametrize("name", ["huggingface", "modelscope"])
def test_the_shards_of_a_quant_are_pinned_in_their_order(name: str, hub: Hub, site: Path, tmp_path: Path) -> None:
    build = loaded(pin(site, "--hub", name), "deepseek-r1", "ud-iq1_s", tmp_path)
    assert [file.name for file in build.files] == sorted(path.partition("/")[2] for path in SHARDS)
    for file in build.files:
        content = SHARDS[file.hub_path]
        assert (file.bytes, file.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    source = build.huggingface if name == "huggingface" else build.modelscope
    assert source
    assert source.revision == (COMMIT if name == "huggingface" else None)
    address = hub_address(build, build.files[0], name, Mirrors(**{name: hub.url}))  # type: ignore[arg-type]
    assert address
    assert address.startswith(hub.url)


def test_small_files_of_hugging_face_are_fetched_for_their_digests(site: Path, tmp_path: Path) -> None:
    ran = pin(site, model="deepseek-r1-distill-qwen-7b", build="bf16")
    build = loaded(ran, "deepseek-r1-distill-qwen-7b", "bf16", tmp_path)
    assert [file.name for file in build.files] == [
        "model-00001-of-000002.safetensors",
        "model-00002-of-000002.safetensors",
        "config.json",
        "sub/generation_config.json",
    ]  # weights first, and no programs
    assert all(file.sha256 == hashlib.sha256(TENSORS[file.name]).hexdigest() for file in build.files)
    assert all(file.path is None for file in build.files)


def test_a_small_file_that_is_not_the_listed_one_is_refused(hub: Hub, site: Path) -> None:
    hub.wrong.forged = {"config.json"}
    ran = pin(site, model="deepseek-r1-distill-qwen-7b", build="bf16")
    assert ran.code == Exit.ERROR
    assert "git's digests differ" in ran.told


def test_ollama_tells_the_digest_of_a_tag(hub: Hub, site: Path, tmp_path: Path) -> None:
    build = loaded(
        pin(site, model="deepseek-r1-distill-qwen-32b", build="q4_k_m"),
        "deepseek-r1-distill-qwen-32b",
        "q4_k_m",
        tmp_path,
    )
    (file,) = build.files
    weights = hub.ollama["deepseek-r1:32b"]
    assert (file.bytes, file.sha256) == (len(weights), hashlib.sha256(weights).hexdigest())


@pytest.mark.parametrize("name", ["huggingface", "modelscope"])
def test_a_token_goes_to_its_hub_and_nowhere_else(name: str, hub: Hub, site: Path, tmp_path: Path) -> None:
    hub.token = TOKEN
    refused = pin(site, "--hub", name)
    assert refused.code == Exit.ERROR
    assert "answers 401" in refused.told
    assert f"set secrets.{name}_token" in refused.told
    (tmp_path / "token").write_text(TOKEN)
    site.write_text(site.read_text() + f"secrets: {{{name}_token: file:{tmp_path}/token}}\n")
    ran = pin(site, "--hub", name)
    loaded(ran, "deepseek-r1", "ud-iq1_s", tmp_path)
    assert TOKEN not in ran.told
    assert not any(TOKEN in str(one.headers) for one in hub.asked if one.origin == "storage")


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        ({"model": "deepseek-r2"}, Exit.BAD_INPUT, "Did you mean 'deepseek-r1'?"),
        ({"build": "ud-iq1s"}, Exit.BAD_INPUT, "Did you mean 'ud-iq1_s'?"),
        ({"build": ""}, Exit.BAD_INPUT, "which build of deepseek-r1?"),
        ({"hub": "hugingface"}, Exit.BAD_INPUT, "Did you mean 'huggingface'?"),
        ({"hub": "ollama"}, Exit.BAD_INPUT, "it names: Hugging Face, ModelScope"),
        ({"model": "smollm2", "build": "q4_1"}, Exit.BAD_INPUT, "names no hub for build q4_1"),
        ({"build": "fp8"}, Exit.ERROR, "Hugging Face answers 404"),
        ({"build": "ud-iq1_m"}, Exit.ERROR, "no file of unsloth/DeepSeek-R1-GGUF under DeepSeek-R1-UD-IQ1_M/*"),
    ],
)
def test_what_cannot_be_pinned_is_told_with_what_to_do(
    words: dict[str, str], code: Exit, told: str, site: Path
) -> None:
    hub = words.pop("hub", "")
    ran = pin(site, *(["--hub", hub] if hub else []), **words)
    assert ran.code == code, ran.told
    assert told in ran.told


def test_a_hub_that_is_gone_is_told_with_its_setting(hub: Hub, site: Path) -> None:
    hub.close()
    ran = pin(site)
    assert ran.code == Exit.ERROR
    assert "Hugging Face does not answer" in ran.told
    assert "Set mirrors.huggingface" in ran.told


def test_json_has_the_text_in_one_line(site: Path) -> None:
    (line,) = pin(site, "--json").kind("pin")
    assert (line["model"], line["build"], line["hub"]) == ("deepseek-r1", "ud-iq1_s", "huggingface")
    assert line["text"].startswith("pins:\n")


def test_the_catalogue_is_listed_with_what_may_be_fetched() -> None:
    rows = boxwright("models", "--json").kind("model")
    by_name = {(row["model"], row["build"]): row for row in rows}
    assert by_name["smollm2-135m-instruct", "q4_1"]["digests"] == "pinned"
    assert by_name["deepseek-r1", "ud-iq1_s"]["size"] == "about 140.7 GB"
    assert by_name["deepseek-r1", "ud-iq1_s"]["from"] == "Hugging Face, ModelScope"
    assert len(rows) == sum(len(model.builds) for model in load_models().models)

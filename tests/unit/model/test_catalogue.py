"""The catalogue's own figures add up, and a build is chosen by what is said of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from boxwright.errors import BadInputError
from boxwright.model.architecture import Architecture, HeadAttention, LatentAttention
from boxwright.model.catalogue import GIB, Build, HubRepository, Model, ModelCatalogue, ModelFile, Pin, best_build
from boxwright.model.catalogues import load_models
from boxwright.model.stack import Service
from boxwright.model.weights import weights_of

CATALOGUE = load_models()
BIASED = ("qwen2", "bert", "xlm-roberta")  # their attention adds a bias to queries, keys and values
POSITIONS = {"bert": 512 + 2, "xlm-roberta": 8194 + 1}  # rows of position and type embeddings


def attention_parameters(shape: Architecture) -> int:
    """Weights of one layer's attention, its own norms included."""
    attention, hidden = shape.attention, shape.hidden_size
    if isinstance(attention, LatentAttention):
        key = attention.rope_head_dim + attention.nope_head_dim
        queries = hidden * attention.q_rank + attention.q_rank + attention.q_rank * attention.heads * key
        down = hidden * attention.cached_per_layer + attention.kv_rank
        up = attention.kv_rank * attention.heads * (attention.nope_head_dim + attention.value_head_dim)
        return queries + down + up + attention.heads * attention.value_head_dim * hidden
    assert isinstance(attention, HeadAttention)
    queries, pairs = attention.heads * attention.head_dim, attention.kv_heads * attention.head_dim
    count = 2 * hidden * queries + 2 * hidden * pairs
    count += queries + 2 * pairs if shape.kind in BIASED else 0
    return count + (2 * attention.head_dim if shape.kind in ("qwen3", "qwen3_moe", "gemma3") else 0)


def counted(shape: Architecture) -> int:
    """Parameters of a model of this shape, counted matrix by matrix."""
    hidden, feed = shape.hidden_size, shape.feed_forward_size
    embeddings = shape.vocabulary * hidden * (1 if shape.tied_embeddings else 2)
    if shape.kind in POSITIONS:  # an encoder: biases and norms everywhere, and a pooler at the end
        layer = attention_parameters(shape) + 2 * hidden * feed + feed + hidden + 5 * hidden
        return (
            embeddings + POSITIONS[shape.kind] * hidden + 2 * hidden + shape.layers * layer + hidden * hidden + hidden
        )
    norms = (4 if shape.kind == "gemma3" else 2) * hidden
    dense = shape.layers if shape.experts is None else shape.experts.dense_layers
    total = embeddings + hidden + shape.layers * (attention_parameters(shape) + norms) + dense * 3 * hidden * feed
    if shape.experts:
        experts = shape.experts
        routed = (experts.count + experts.shared) * 3 * hidden * experts.feed_forward_size + experts.count * hidden
        correction = experts.count if shape.kind == "deepseek_v3" else 0
        total += (shape.layers - dense) * (routed + correction)
    return total


@pytest.mark.parametrize("model", CATALOGUE.models, ids=lambda model: model.id)
def test_the_parameters_are_those_of_the_architecture(model: Model) -> None:
    assert counted(model.architecture) == model.parameters


@pytest.mark.parametrize(
    ("name", "kib"),
    [
        ("deepseek-r1-distill-llama-70b", 320),
        ("deepseek-r1-distill-qwen-32b", 256),
        ("deepseek-r1-distill-qwen-7b", 56),
        ("deepseek-r1", 68.625),
    ],
)
def test_a_token_takes_this_much_cache_in_16_bits(name: str, kib: float) -> None:
    model = CATALOGUE.find(name)
    assert model
    assert model.architecture.cached_per_token * 2 / 1024 == kib


def test_the_seeds_models_are_there_and_sizes_grow_with_them() -> None:
    sizes = []
    for size in ("qwen-1.5b", "qwen-7b", "llama-8b", "qwen-14b", "qwen-32b", "llama-70b"):
        model = CATALOGUE.find(f"deepseek-r1-distill-{size}")
        assert model
        bf16 = model.build("bf16")
        assert bf16
        sizes.append(model.weight_bytes(bf16) or 0)
    assert sizes == sorted(sizes)
    assert sizes[-1] == 141_107_412_992
    for name in ("deepseek-r1", "deepseek-r1-0528", "deepseek-v3"):
        model = CATALOGUE.find(name)
        assert model
        assert model.builds[0].quantization == "FP8"


def test_every_gguf_of_several_files_is_pinned_with_all_of_them() -> None:
    for model in CATALOGUE.models:
        for build in model.builds:
            if build.pinned and build.shards:
                assert len(build.files) == build.shards


@pytest.mark.parametrize(
    ("gib", "name"),
    [(100, None), (131, "ud-iq1_s"), (160, "ud-iq1_m"), (200, "ud-iq2_xxs"), (300, "ud-q2_k_xl"), (700, "fp8")],
)
def test_the_largest_build_that_fits_is_best(gib: int, name: str | None) -> None:
    model = CATALOGUE.find("deepseek-r1")
    assert model
    best = best_build(model, gib * GIB)
    assert (best and best.name) == name


def test_only_formats_that_the_engine_reads_are_considered() -> None:
    model = CATALOGUE.find("deepseek-r1")
    assert model
    best = best_build(model, 10_000 * GIB, ["gguf"])
    assert best
    assert best.name == "q4_k_m"
    assert best_build(model, 300 * GIB, ["safetensors"]) is None


@pytest.mark.parametrize(
    ("service", "found"),
    [
        (Service(model="deepseek-r1-distill-qwen-7b", engine="vllm"), "bf16"),
        (Service(model="deepseek-r1-distill-qwen-7b", engine="ollama"), "q4_k_m"),
        (Service(model="deepseek-r1", engine="llama_cpp", build="ud-iq1_s"), "ud-iq1_s"),
        (Service(model="smollm2", engine="llama_cpp"), "q4_1"),
    ],
)
def test_a_service_gets_the_build_that_its_engine_reads(service: Service, found: str) -> None:
    assert weights_of(service, CATALOGUE).build.name == found


@pytest.mark.parametrize(
    ("service", "message"),
    [
        (Service(model="deepseek-r2", engine="vllm"), r"Did you mean 'deepseek-r1'\?"),
        (Service(model="deepseek-r1", engine="llama_cpp", build="ud-iq1s"), r"Did you mean 'ud-iq1_s'\?"),
        (Service(model="deepseek-r1", engine="llama_cpp", build="fp8"), "llama_cpp reads gguf, and .* is safetensors"),
        (
            Service(model="smollm2", engine="vllm_ascend"),
            "vllm_ascend reads safetensors, and smollm2-135m-instruct has no such build",
        ),
    ],
)
def test_a_service_that_cannot_be_is_refused(service: Service, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        weights_of(service, CATALOGUE)


def test_an_engine_is_pointed_at_the_first_shard_or_at_the_folder() -> None:
    lab = weights_of(Service(model="smollm2", engine="llama_cpp"), CATALOGUE)
    folder = "/srv/models/smollm2-135m-instruct/q4_1"
    assert lab.path("/srv/models") == f"{folder}/SmolLM2-135M-Instruct.Q4_1.gguf"
    embedding = weights_of(Service(model="all-minilm", engine="vllm"), CATALOGUE)
    assert embedding.path("/srv/models") == "/srv/models/all-minilm-l6-v2/fp32"


FILE = {"name": "a.gguf", "bytes": 3, "sha256": "0" * 64}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"files": [FILE]}, "nothing says where a.gguf comes from"),
        ({"files": [FILE, FILE], "ollama": "m:1"}, "two files have one name"),
        ({"bytes": 3}, "say where size and shards come from"),
        ({"bytes": 3, "size_gib": 1, "source": "s"}, "one says the size"),
        ({"files": [FILE | {"name": "../a"}]}, "pattern"),
        ({"files": [FILE | {"name": ".hidden"}]}, "pattern"),
        ({"huggingface": {"repository": "a/../b"}}, "pattern"),
        ({"huggingface": {"repository": "a/b", "patterns": ["a b"]}}, "pattern"),
    ],
)
def test_a_build_that_says_too_much_or_too_little(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Build.model_validate({"name": "b", "format": "gguf", "quantization": "Q4_K_M"} | changes)


def test_a_pin_gives_a_build_its_files() -> None:
    hub = HubRepository(repository="a/b", revision="c0ffee")
    file = ModelFile(name="m.gguf", path="UD/m.gguf", bytes=5, sha256="1" * 64)
    pinned = CATALOGUE.with_pins([Pin(model="deepseek-r1", build="ud-iq1_s", huggingface=hub, files=(file,))])
    model, before = pinned.find("deepseek-r1"), CATALOGUE.find("deepseek-r1")
    assert model
    assert before
    build, old = model.build("ud-iq1_s"), before.build("ud-iq1_s")
    assert build
    assert old
    assert (build.files, build.known_bytes, build.huggingface) == ((file,), 5, hub)
    assert build.modelscope == old.modelscope  # the other hub is still a place to look
    assert not old.pinned


def test_a_sites_own_file_adds_models_and_pins(tmp_path: Path) -> None:
    own = tmp_path / "own.yml"
    own.write_text(
        "pins:\n  - model: deepseek-r1\n    build: ud-iq1_m\n"
        f"    files: [{{name: m.gguf, bytes: 7, sha256: '{'2' * 64}'}}]\n"
    )
    model = load_models(further=[own]).find("deepseek-r1")
    assert model
    build = model.build("ud-iq1_m")
    assert build
    assert build.known_bytes == 7


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pins: [{model: deepseek-r9, build: fp8, files: [FILE]}]", "Did you mean 'deepseek-r1'"),
        ("pins: [{model: deepseek-r1, build: fp9, files: [FILE]}]", "Did you mean 'fp8'"),
        ("pins: [{model: deepseek-r1, build: fp8, files: []}]", "files"),
    ],
)
def test_a_wrong_pin_names_its_file(text: str, message: str, tmp_path: Path) -> None:
    own = tmp_path / "own.yml"
    own.write_text(text.replace("FILE", f"{{name: m, bytes: 1, sha256: '{'0' * 64}'}}"))
    with pytest.raises(BadInputError, match=message) as caught:
        load_models(further=[own])
    assert str(own) in caught.value.where


def test_two_files_may_not_name_one_model(tmp_path: Path) -> None:
    models = tmp_path / "models"
    models.mkdir()
    one = CATALOGUE.models[0].model_dump_json()
    for name in ("a.yml", "b.yml"):
        (models / name).write_text(f'{{"models": [{one}]}}')
    with pytest.raises(BadInputError, match=f"named more than once: {CATALOGUE.models[0].id}"):
        load_models(tmp_path)


def test_a_catalogue_is_found_by_id_and_alias() -> None:
    assert CATALOGUE.find("smollm2") is CATALOGUE.find("smollm2-135m-instruct")
    assert CATALOGUE.find("nothing") is None
    assert ModelCatalogue().names() == []

"""What Ollama is told: its environment by release, the Modelfile, and where the model belongs."""

from __future__ import annotations

from typing import Any

import pytest

from boxwright.model.catalogue import Build, Model, ModelFile, Sampling
from boxwright.model.catalogues import load_engine, load_models
from boxwright.model.stack import NumaPolicy, Service
from boxwright.model.weights import Weights, weights_of
from boxwright.serving.ollama import modelfile, names_of, ollama_environment, placement

TABLE = load_engine("ollama")
NEWEST, OLDEST = "0.33.0", "0.5.7"
R1 = load_models().find("deepseek-r1")


def service(**changes: Any) -> Service:
    return Service(**({"model": "smollm2", "engine": "ollama", "context_tokens": 8192} | changes))


def told(
    version: str = NEWEST, visible: tuple[int, ...] | None = None, patience_s: int = 300, **changes: Any
) -> dict[str, str]:
    store = "/srv/models/.ollama/ollama"
    return ollama_environment(TABLE, version, service(**changes), store, visible, patience_s=patience_s)


def shards(*names: str) -> Weights:
    assert R1
    files = tuple(ModelFile(name=name, bytes=1, sha256="ab" * 32, url="http://hub.example/f") for name in names)
    return Weights(R1, Build(name="q", format="gguf", quantization="UD-IQ1_S", files=files))


def test_it_listens_inside_keeps_the_model_and_says_its_context() -> None:
    assert told(parallel_requests=4) == {
        "OLLAMA_HOST": "127.0.0.1:8000",
        "OLLAMA_MODELS": "/srv/models/.ollama/ollama",
        "OLLAMA_CONTEXT_LENGTH": "8192",
        "OLLAMA_NUM_PARALLEL": "4",
        "OLLAMA_MAX_QUEUE": "64",
        "OLLAMA_MAX_LOADED_MODELS": "1",
        "OLLAMA_KEEP_ALIVE": "-1",
        "OLLAMA_NO_CLOUD": "1",
        "OLLAMA_NOHISTORY": "1",
    }


def test_a_release_is_told_nothing_that_it_does_not_read() -> None:
    assert not {"OLLAMA_CONTEXT_LENGTH", "OLLAMA_NO_CLOUD"} & told(OLDEST).keys()
    weights = weights_of(service(), load_models())
    assert "PARAMETER num_ctx 8192" in modelfile(TABLE, OLDEST, service(), weights, "/srv/models")
    assert "num_ctx" not in modelfile(TABLE, NEWEST, service(), weights, "/srv/models")


@pytest.mark.parametrize("version", [NEWEST, OLDEST])
def test_a_large_model_is_waited_for_as_long_as_boxwright_does(version: str) -> None:
    """By itself Ollama waits five minutes; 140 GB from a slow disk take longer."""
    assert told(version, patience_s=581)["OLLAMA_LOAD_TIMEOUT"] == "581s"
    own = {"OLLAMA_LOAD_TIMEOUT": "2h"}
    assert told(version, patience_s=581, engine_settings=own)["OLLAMA_LOAD_TIMEOUT"] == "2h"


def test_the_profiles_settings_go_first_in_any_spelling() -> None:
    own = {"ollama_keep_alive": "24h", "LLAMA_ARG_N_CPU_MOE": 40}
    variables = told(engine_settings=own)
    assert (variables["OLLAMA_KEEP_ALIVE"], variables["LLAMA_ARG_N_CPU_MOE"]) == ("24h", "40")
    with pytest.raises(ValueError, match="does not have 'LLAMA_ARG_N_CPU_MOE' yet"):
        told("0.17.7", engine_settings=own)


@pytest.mark.parametrize(("visible", "shown"), [((1, 2), "1,2"), ((), "-1")])
def test_some_of_the_cards_are_named_by_their_place_on_the_bus(visible: tuple[int, ...], shown: str) -> None:
    variables = told(visible=visible)
    assert (variables["CUDA_VISIBLE_DEVICES"], variables["CUDA_DEVICE_ORDER"]) == (shown, "PCI_BUS_ID")
    assert not any("CUDA" in name for name in told())


def test_llama_server_follows_the_units_numa_policy() -> None:
    assert told(numa=NumaPolicy(policy="interleave", nodes=(0, 1)))["LLAMA_ARG_NUMA"] == "numactl"
    assert "LLAMA_ARG_NUMA" not in told("0.17.7", numa=NumaPolicy(policy="interleave", nodes=(0, 1)))


def test_a_modelfile_names_the_file_or_the_folder_of_its_shards() -> None:
    weights = weights_of(service(), load_models())
    first = modelfile(TABLE, NEWEST, service(), weights, "/srv/models")
    assert first == "FROM /srv/models/smollm2-135m-instruct/q4_1/SmolLM2-135M-Instruct.Q4_1.gguf"
    flat, below = shards("m-00001-of-00002.gguf", "m-00002-of-00002.gguf"), shards("d/m-1.gguf", "d/m-2.gguf")
    for made, folder in ((flat, "/srv/models/deepseek-r1/q"), (below, "/srv/models/deepseek-r1/q/d")):
        lines = modelfile(TABLE, NEWEST, service(), made, "/srv/models").splitlines()
        assert lines == [f"FROM {folder}", "PARAMETER temperature 0.6", "PARAMETER top_p 0.95"]


def test_a_modelfile_has_the_catalogues_template_and_sampling() -> None:
    weights = weights_of(service(), load_models())
    changes = {"ollama_template": "{{ .Prompt }}", "sampling": Sampling(min_p=0.05, top_k=20)}
    model = Model.model_validate(dict(weights.model) | changes)
    lines = modelfile(TABLE, NEWEST, service(), Weights(model, weights.build), "/srv/models").splitlines()
    assert lines[1:] == ["PARAMETER min_p 0.05", "PARAMETER top_k 20", 'TEMPLATE """{{ .Prompt }}"""']
    with pytest.raises(ValueError, match="three quotes"):
        Model.model_validate(dict(weights.model) | {"ollama_template": 'a"""b'})


@pytest.mark.parametrize(
    ("cards", "settings", "wanted"),
    [
        ((), {}, "memory"),
        ((0, 1), {}, "cards"),
        ((0,), {"LLAMA_ARG_N_CPU_MOE": 40}, "both"),
        ((0,), {"llama_arg_cpu_moe": True}, "both"),
        ((0,), {"LLAMA_ARG_CPU_MOE": False}, "cards"),
    ],
)
def test_where_a_model_belongs(cards: tuple[int, ...], settings: dict[str, Any], wanted: str) -> None:
    assert placement(service(engine_settings=settings), cards) == wanted


def test_its_own_name_comes_first() -> None:
    model = load_models().find("smollm2")
    assert model
    assert names_of(model) == ("smollm2-135m-instruct", "smollm2")

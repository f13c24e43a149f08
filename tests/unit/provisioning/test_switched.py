"""Another model than the profile's: held against the box as a profile is, kept for later runs, and forgotten again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from boxwright.errors import BadInputError, Exit
from boxwright.model.catalogues import load_profile
from boxwright.model.switching import Served, Switched, serving
from boxwright.provisioning.switch import served, switch
from boxwright.provisioning.switched import file_of, forget, keep, switched
from boxwright.provisioning.target import Choice, choose

GEMMA = Switched(model="gemma-3-270m", by="ada", at="2026-11-25T10:00:00Z")


@pytest.fixture
def bench(tmp_path: Path, own_places: Path) -> str:
    """A site of one twin, with state of the test's own."""
    path = tmp_path / "site.yml"
    path.write_text("name: bench\ntwin: {distribution: debian-13}\nhosts: [{name: bench-1}]\n")
    return str(path)


def test_later_runs_serve_what_was_kept_for_this_site_and_this_profile_alone(bench: str) -> None:
    keep("bench", "lab", GEMMA)
    fleet = choose(Choice("lab", site=bench))
    assert (fleet.weights.name, fleet.switched) == ("gemma-3-270m/q4_k_m", {"": GEMMA})
    assert choose(Choice("lab-ollama", site=bench)).weights.name == "smollm2-135m-instruct/q4_1"
    assert choose(Choice("lab", site="lab")).switched == {}
    wanted = Served(model="smollm2")
    assert choose(Choice("lab", site=bench, serves=wanted)).weights.name == "smollm2-135m-instruct/q4_1"


def test_what_is_kept_can_be_read_by_a_person_and_goes_with_its_last_entry(bench: str) -> None:
    keep("bench", "lab", GEMMA)
    keep("bench", "lab-vllm", Switched(model="smollm2", build="q4_1", engine="llama_cpp", by="ada", at="now"))
    text = file_of("bench").read_text()
    assert text.startswith("# What boxes of this site serve instead of what their profile says.")
    assert "  lab:\n    model: gemma-3-270m\n    by: ada\n" in text
    keep("bench", "lab", None)
    assert switched("bench", "lab") == {}
    assert switched("bench", "lab-vllm")
    keep("bench", "lab-vllm", None)
    assert not file_of("bench").exists()
    keep("bench", "lab", GEMMA)
    forget("bench")
    assert switched("bench", "lab") == {}


TWO = """\
name: two
summary: two services
hardware: {cpu: {sockets: 1, cores_per_socket: 2}, memory_gib: 4, disk_gib: 4}
stack:
  model: smollm2-135m-instruct
  engine: llama_cpp
  context_tokens: 2048
  further:
    - {name: helper, model: smollm2-135m-instruct, engine: llama_cpp, context_tokens: 512, engine_port: 8001}
"""


def test_a_service_beside_the_main_one_is_kept_by_its_name(bench: str, tmp_path: Path) -> None:
    path = tmp_path / "two.yml"
    path.write_text(TWO)
    choice = Choice(str(path), site=bench)
    ollama = Switched(model="smollm2", engine="ollama", by="ada", at="now")
    keep("bench", "two", ollama, "helper")
    keep("bench", "two", GEMMA)
    text = file_of("bench").read_text()
    assert "further:\n  two:\n    helper:\n      model: smollm2\n" in text
    fleet = choose(choice)
    assert (fleet.weights.name, fleet.profile.stack.further[0].unit) == ("gemma-3-270m/q4_k_m", "ollama-helper")
    assert fleet.switched == {"": GEMMA, "helper": ollama}
    # What is chosen now goes before what was kept for that service, and leaves the others as they are.
    fleet = choose(replace(choice, service="helper", serves=Served(model="smollm2", engine="llama_cpp")))
    assert (fleet.weights.name, fleet.profile.stack.further[0].unit) == ("gemma-3-270m/q4_k_m", "llama-server-helper")
    keep("bench", "two", None)
    assert switched("bench", "two") == {"helper": ollama}
    keep("bench", "two", None, "helper")
    assert not file_of("bench").exists()


def test_a_service_that_there_is_not_is_named(bench: str, tmp_path: Path) -> None:
    path = tmp_path / "two.yml"
    path.write_text(TWO)
    wanted = served("gemma-3-270m")
    with pytest.raises(BadInputError, match="there is no service 'helpr' beside the main one"):
        switch(None, Choice(str(path), site=bench, service="helpr"), wanted, yes=True)  # type: ignore[arg-type]
    with pytest.raises(BadInputError, match="there is no service 'vectors'") as refused:
        choose(Choice("lab", site=bench, service="vectors", serves=wanted))
    assert refused.value.hint == "The main service is meant without a name."


@pytest.mark.parametrize(
    ("entry", "message", "where"),
    [
        ("model: gemma-3-270m\n    biuld: q4_k_m", "Did you mean 'build'", "switched.yml:4:"),
        ("model: gemma-3-271m", "no model 'gemma-3-271m'. Did you mean 'gemma-3-270m'", "profile lab"),
    ],
)
def test_what_somebody_spoilt_there_is_named(bench: str, entry: str, message: str, where: str) -> None:
    file_of("bench").parent.mkdir(parents=True)
    file_of("bench").write_text(f"profiles:\n  lab:\n    {entry}\n    by: ada\n    at: now\n")
    with pytest.raises(BadInputError, match=message) as refused:
        choose(Choice("lab", site=bench))
    assert where in refused.value.where
    if "profile" in where:
        assert f"{file_of('bench')}: gemma-3-271m by ./invoke models.switch" in refused.value.hint


def test_another_engine_loses_what_is_said_in_the_terms_of_the_one_before() -> None:
    profile = load_profile("lab")
    stack = profile.stack.model_copy(update={"engine_settings": {"batch-size": 512}})
    set_up = profile.model_copy(update={"stack": stack})
    assert serving(set_up, {"": Served(model="gemma-3-270m")}).stack.engine_settings == {"batch-size": 512}
    other = serving(set_up, {"": Served(model="gemma-3-270m", engine="vllm")}).stack
    assert (other.engine, other.engine_settings, other.engine_version) == ("vllm", {}, None)
    assert other.context_tokens == stack.context_tokens


@pytest.mark.parametrize(
    ("profile", "wanted", "message"),
    [
        ("lab", served("gemma-3-271m"), "no model 'gemma-3-271m'. Did you mean 'gemma-3-270m'"),
        ("lab", served("gemma-3-270m", "q8_0"), "gemma-3-270m has no build 'q8_0'"),
        ("lab", served("deepseek-r1-distill-llama-70b"), "is not fetched|leaves .* GiB to main memory|no such build"),
        ("lab", served("all-minilm-l6-v2"), "has no such build|context_tokens: 4096 is more than"),
        ("lab", served("gemma-3-270m", engine="tensorrt_llm"), "tensorrt_llm"),
        ("lab-vllm-pair", served("smollm2", engine="ollama"), "lab-vllm-pair serve together by vllm"),
        ("8x4090", served("deepseek-r1-distill-qwen-32b"), "the cards of a twin are simulated"),
    ],
)
def test_what_the_box_could_not_serve_is_refused_before_anything_is_contacted(
    bench: str, profile: str, wanted: Served, message: str
) -> None:
    with pytest.raises(BadInputError, match=message) as refused:
        switch(None, Choice(profile, site=bench), wanted, yes=True)  # type: ignore[arg-type]  # nothing is said
    assert refused.value.exit_code is Exit.BAD_INPUT


@pytest.mark.parametrize(("build", "engine", "message"), [("", "vlm", "Did you mean 'vllm'"), ("Q 8", "", "--build")])
def test_words_that_name_nothing_are_told(build: str, engine: str, message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        served("smollm2", build, engine)

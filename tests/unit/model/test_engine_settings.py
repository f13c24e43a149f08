"""What a release of an engine does not take is refused, and what it takes is written so that it comes back."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from boxwright.errors import BadInputError
from boxwright.model.catalogues import engine_names, load_engine
from boxwright.model.engine_settings import EngineTable, arguments, environment
from boxwright.model.loading import load
from boxwright.model.setting import Setting, Value
from boxwright.places import ROOT
from deploys.operations.open_webui import page_environment

VLLM, OLLAMA, LLAMA, KT = (load_engine(name) for name in ("vllm", "ollama", "llama_cpp", "sglang_kt"))
WEB = load_engine("open_webui")

SMALL = EngineTable.model_validate(
    {
        "engine": "small",
        "default_version": "3.0",
        "source": "this test",
        "releases": [{"version": "1.0"}, {"version": "2.0"}, {"version": "3.0"}],
        "facts": {
            "--secret": {"reserved": "Boxwright makes it."},
            "--old": {"instead": "Write --new."},
            "SMALL_PORT": {"absent": "never", "instead": "Write --new."},
            "--ancient": {"absent": "before"},
        },
        "settings": [
            {"name": "--always", "type": "boolean", "opposite": "--no-always", "aliases": ["-a", "--ever"]},
            {"name": "--once", "type": "boolean"},
            {"name": "--old", "type": "text", "until": "1.0"},
            {"name": "--new", "type": "integer", "since": "2.0", "until": "2.0"},
            {"name": "--new", "type": "choice", "choices": ["few", "many"], "since": "3.0"},
            {"name": "--gap", "type": "text", "until": "1.0"},
            {"name": "--gap", "type": "text", "since": "3.0"},
            {"name": "--secret", "type": "text"},
            {"name": "--words", "type": "list"},
            {"name": "--again", "type": "list", "form": "repeat"},
            {"name": "--whole", "type": "integer"},
            {"name": "--share", "type": "number"},
            {"name": "--text", "type": "text"},
            {"name": "--json", "type": "json"},
            {"name": "SMALL_DEBUG", "type": "boolean"},
            {"name": "SMALL_NAMES", "type": "list", "form": "commas"},
        ],
    }
)


def told(table: EngineTable, version: str, **settings: Value) -> list[tuple[str, str]]:
    return [(problem.message, problem.hint) for problem in table.check(version, settings)]


@pytest.mark.parametrize("name", engine_names())
def test_every_table_can_be_read_by_the_reader_that_knows_places(name: str) -> None:
    path = ROOT / "inventories" / "engines" / f"{name}.yml"
    assert load(path, EngineTable) == load_engine(name)


@pytest.mark.parametrize("name", engine_names())
def test_the_default_release_was_read(name: str) -> None:
    table = load_engine(name)
    assert table.default_version in table.versions
    assert table.names(table.default_version)


def test_what_the_tables_hold() -> None:
    """Counted by hand when they were made; another number says that a reader reads something else."""
    flags = {
        table.engine: {
            version: sum(name.startswith("-") for name in table.names(version)) for version in table.versions
        }
        for table in (VLLM, KT, LLAMA)
    }
    assert flags["vllm"]["0.10.2"] == 176
    assert flags["vllm"]["0.33.0"] == 320
    assert flags["sglang_kt"] == {"0.7.2": 347}
    assert flags["llama_cpp"] == {"b11312": 249, "b11669": 252}
    entries = [entry for entry in KT.settings if entry.kind == "flag"]
    assert sum(1 + len(entry.aliases) for entry in entries) == 357


@pytest.mark.parametrize(
    ("table", "version", "settings", "message", "hint"),
    [
        (
            VLLM,
            "0.33.0",
            {"--swap-space": 4},
            "vllm 0.33.0 does not have '--swap-space' any more: 0.19.1 is the first release known without it",
            "Leave it out: requests that do not fit wait, and are computed again.",
        ),
        (
            VLLM,
            "0.33.0",
            {"--enable-reasoning": True},
            "vllm 0.33.0 does not have '--enable-reasoning' any more: 0.10.2 is the first release known without it",
            "Leave it out: --reasoning-parser turns it on.",
        ),
        (
            VLLM,
            "0.33.0",
            {"VLLM_USE_V1": False},
            "vllm 0.33.0 does not have 'VLLM_USE_V1' any more: 0.11.2 is the first release known without it",
            "Leave it out: V1 is the only engine.",
        ),
        (
            VLLM,
            "0.10.2",
            {"--numa-bind": True},
            "vllm 0.10.2 does not have '--numa-bind' yet: 0.20.2 is the first release known to have it",
            "",
        ),
        (
            VLLM,
            "0.16.0",
            {"--swap-space": 4},
            "it is not known whether vllm 0.16.0 has '--swap-space': 0.14.1 does, and 0.19.1 does not",
            "Leave it out: requests that do not fit wait, and are computed again.",
        ),
        (
            VLLM,
            "0.33.0",
            {"--gpu-memory-utilisation": 0.9},
            "vllm 0.33.0 has no setting '--gpu-memory-utilisation'. Did you mean '--gpu-memory-utilization'?",
            "",
        ),
        (
            VLLM,
            "0.33.0",
            {"--no-enable-prefix-caching": True},
            "'--no-enable-prefix-caching' is written '--enable-prefix-caching: false'",
            "",
        ),
        (
            VLLM,
            "0.33.0",
            {"-tp": 8},
            "'--tensor-parallel-size' is set by Boxwright itself",
            "Set stack.parallelism.tensor.",
        ),
        (
            VLLM,
            "0.33.0",
            {"max_model_len": 1},
            "'--max-model-len' is set by Boxwright itself",
            "Set stack.context_tokens.",
        ),
        (
            VLLM,
            "0.33.0",
            {"gpu_memory_utilization": "most"},
            "'--gpu-memory-utilization' takes a number; found 'most'.",
            "",
        ),
        (
            VLLM,
            "0.34.0",
            {},
            "vllm 0.34.0 is newer than 0.33.0, the newest release whose settings are known",
            "Take one from 0.7.3 to 0.33.0.",
        ),
        (
            VLLM,
            "0.6.6",
            {},
            "vllm 0.6.6 is older than 0.7.3, the oldest release whose settings are known",
            "Take one from 0.7.3 to 0.33.0.",
        ),
        (
            OLLAMA,
            "0.33.0",
            {"OLLAMA_PORT": 11434},
            "'OLLAMA_PORT' never was a setting of ollama",
            "The port is part of OLLAMA_HOST: set stack.engine_port.",
        ),
        (
            OLLAMA,
            "0.33.0",
            {"--host": "0.0.0.0"},
            "'--host' never was a setting of ollama",
            "`ollama serve` has no flags; the address is OLLAMA_HOST, which Boxwright sets.",
        ),
        (
            OLLAMA,
            "0.33.0",
            {"OLLAMA_RUNNERS_DIR": "/x"},
            "'OLLAMA_RUNNERS_DIR' is gone from ollama since before 0.5.7",
            "Leave it out: libraries lie beside the program.",
        ),
        (
            OLLAMA,
            "0.33.0",
            {"ollama_keep_alife": "24h"},
            "ollama 0.33.0 has no setting 'ollama_keep_alife'. Did you mean 'OLLAMA_KEEP_ALIVE'?",
            "",
        ),
        (
            OLLAMA,
            "0.33.0",
            {"OLLAMA_KV_CACHE_TYPE": "q8"},
            "'OLLAMA_KV_CACHE_TYPE' takes one of f16, q8_0, q4_0; found 'q8'. Did you mean 'q8_0'?",
            "",
        ),
        (
            LLAMA,
            "b11669",
            {"--mlock": True},
            "'--mlock' is gone from llama_cpp since before b11312",
            "Write --load-mode: mmap+mlock.",
        ),
        (
            LLAMA,
            "b11669",
            {"--slots": True},
            "'--slots' is set by Boxwright itself",
            "It would show people what others ask.",
        ),
        (
            LLAMA,
            "b9999",
            {},
            "llama_cpp b9999 is older than b11312, the oldest release whose settings are known",
            "Take one from b11312 to b11669.",
        ),
        (
            KT,
            "0.7.2",
            {"kt-cpuinfer": 64},
            "'--kt-cpuinfer' is set by Boxwright itself",
            "It is the number of physical cores.",
        ),
        (
            WEB,
            "0.12.4",
            {"ENABLE_API_KEY": True},
            "'ENABLE_API_KEY' is gone from open_webui since before 0.12.0",
            "Write ENABLE_API_KEYS.",
        ),
    ],
)
def test_a_setting_that_a_release_does_not_take_is_refused(
    table: EngineTable, version: str, settings: dict[str, Value], message: str, hint: str
) -> None:
    assert told(table, version, **settings) == [(message, hint)]


@pytest.mark.parametrize(
    ("name", "value", "hint"),
    [
        ("load-format", "gguf", "vLLM reads no GGUF any more"),
        ("load-format", "bitsandbytes", "bitsandbytes is gone"),
        ("quantization", "bfloat16", "bfloat16 is no quantization"),
        ("quantization", "gguf", "The engines llama_cpp and ollama serve it"),
        ("quantization", "bitsandbytes", "bitsandbytes is gone"),
        ("tokenizer-mode", "slow", "there are no slow tokenizers any more"),
        ("dtype", "bf16", "Write bfloat16."),
    ],
)
def test_a_value_that_people_write_and_vllm_does_not_take_is_explained(name: str, value: str, hint: str) -> None:
    ((message, told_hint),) = told(VLLM, "0.33.0", **{name: value})
    assert f"'--{name}' takes one of" in message
    assert hint in told_hint


def test_what_an_older_vllm_took_is_taken_for_it() -> None:
    for name, value in (("load-format", "gguf"), ("quantization", "bitsandbytes"), ("tokenizer-mode", "slow")):
        assert told(VLLM, "0.10.2", **{name: value}) == []


def test_a_choice_of_numbers_takes_true_and_false_for_one_and_none() -> None:
    """YAML reads `off`, `no` and `false` as a boolean."""
    assert told(OLLAMA, "0.33.0", OLLAMA_DEBUG=False) == []
    assert environment(OLLAMA, "0.33.0", {"OLLAMA_DEBUG": False}) == {"OLLAMA_DEBUG": "0"}
    assert environment(OLLAMA, "0.33.0", {"OLLAMA_DEBUG": True}) == {"OLLAMA_DEBUG": "1"}
    assert arguments(LLAMA, "b11669", {"--cpu-strict": True}) == ("--cpu-strict", "1")
    assert told(VLLM, "0.10.2", **{"--block-size": True})  # 1 among sizes is a size


GONE = sorted(name for name, found in VLLM.facts.items() if found.instead and not found.absent)


@pytest.mark.parametrize("table", [VLLM, OLLAMA], ids=["vllm", "ollama"])
def test_whatever_is_gone_is_told_with_what_to_do(table: EngineTable) -> None:
    newest = table.versions[-1]
    gone = {setting.name for setting in table.settings} - set(table.names(newest))
    assert gone
    for name in sorted(gone):
        ((message, hint),) = told(table, newest, **{name: "1"})
        assert "any more" in message, name
        assert hint, name
    unknown = [name for name in gone if "not known here" in told(table, newest, **{name: "1"})[0][1]]
    assert len(unknown) < len(gone) / 5


@pytest.mark.parametrize("name", GONE)
def test_what_replaces_a_name_is_there_in_the_newest_release(name: str) -> None:
    newest = VLLM.versions[-1]
    instead = VLLM.facts[name].instead or ""
    for other, value in re.findall(r"(--[a-z][a-z0-9-]+|VLLM_[A-Z0-9_]+)(?:: ([a-zA-Z0-9_]+))?", instead):
        assert VLLM.find(other, newest), (name, other)
        assert not value or told(VLLM, newest, **{other: int(value) if value.isdigit() else value}) == [], (name, value)


def test_every_mistake_is_told_in_the_order_of_the_settings() -> None:
    problems = SMALL.check("3.0", {"--secret": 1, "--whole": "x", "once": True, "--text": "fine", "--onse": True})
    assert [problem.setting for problem in problems] == ["--secret", "--whole", "--onse"]


def test_one_setting_in_two_spellings_is_refused() -> None:
    assert told(SMALL, "3.0", **{"-a": True, "--ever": False}) == [("'--always' is set twice, in two spellings", "")]


@pytest.mark.parametrize("spelling", ["--always", "-a", "--ever", "always", "ever"])
def test_spellings_lead_to_one_name(spelling: str) -> None:
    assert SMALL.canonical(spelling) == "--always"
    assert arguments(SMALL, "3.0", {spelling: True}) == ("--always",)


def test_a_release_between_two_that_were_read_takes_what_either_takes() -> None:
    assert SMALL.check("2.5", {"--new": 7}) == []
    assert SMALL.check("2.5", {"--new": "few"}) == []
    assert told(SMALL, "2.5", **{"--new": "none"}) == [("'--new' takes one of few, many; found 'none'.", "")]


def test_a_setting_that_came_back_is_told_from_one_that_is_gone() -> None:
    assert told(SMALL, "2.0", **{"--gap": "x"}) == [
        ("small 2.0 does not have '--gap' yet: 3.0 is the first release known to have it", "")
    ]
    assert SMALL.check("3.0", {"--gap": "x"}) == []


def test_a_patch_of_the_newest_release_has_its_settings() -> None:
    assert SMALL.check("3.0.7", {"--new": "few"}) == []
    assert told(SMALL, "3.1") == [
        ("small 3.1 is newer than 3.0, the newest release whose settings are known", "Take one from 1.0 to 3.0.")
    ]


def test_what_is_no_version_is_told() -> None:
    assert told(SMALL, "newest") == [("small: 'newest' is no version", "Read were 1.0, 2.0, 3.0.")]


def test_boxwright_may_write_what_a_profile_may_not() -> None:
    assert SMALL.check("3.0", {"--secret": "s"})
    assert arguments(SMALL, "3.0", {"--secret": "s"}) == ("--secret=s",)


def test_flags_and_variables_go_their_ways() -> None:
    settings: dict[str, Value] = {"--whole": 3, "SMALL_DEBUG": True, "SMALL_NAMES": ["a", "b"], "--always": False}
    assert arguments(SMALL, "3.0", settings) == ("--whole=3", "--no-always")
    assert environment(SMALL, "3.0", settings) == {"SMALL_DEBUG": "1", "SMALL_NAMES": "a,b"}


def test_a_flag_without_an_opposite_is_left_out_when_false() -> None:
    assert arguments(SMALL, "3.0", {"--once": False}) == ()


def test_what_a_release_does_not_take_is_not_written() -> None:
    with pytest.raises(ValueError, match=r"small 3\.0 does not have '--old' any more"):
        arguments(SMALL, "3.0", {"--old": "x"})
    with pytest.raises(ValueError, match="'SMALL_DEBUG' takes true or false; found 2"):
        environment(SMALL, "3.0", {"SMALL_DEBUG": 2})


def test_open_webui_is_told_true_by_the_word_that_it_looks_for() -> None:
    assert environment(WEB, "0.12.4", {"ENABLE_SIGNUP": False, "ENABLE_API_KEYS": True}) == {
        "ENABLE_SIGNUP": "false",
        "ENABLE_API_KEYS": "true",
    }


def test_llama_server_takes_a_value_as_a_word_of_its_own() -> None:
    settings: dict[str, Value] = {"--n-cpu-moe": 30, "--flash-attn": "on", "--cache-reuse": 256, "--perf": False}
    assert arguments(LLAMA, "b11669", settings) == (
        *("--n-cpu-moe", "30", "--flash-attn", "on", "--cache-reuse", "256", "--no-perf"),
    )


def argparse_of(table: EngineTable, version: str) -> argparse.ArgumentParser:
    """A parser with the flags of a table, as engines written in Python build them."""
    parser = argparse.ArgumentParser(allow_abbrev=False, exit_on_error=False)
    for name in table.names(version):
        setting = table.find(name, version)
        if setting is not None and setting.kind == "flag":
            parser.add_argument(name, **_options(setting))
    return parser


def _options(setting: Setting) -> dict[str, Any]:
    kinds = {"integer": int, "number": float, "json": json.loads}
    if setting.type == "boolean":
        return {"action": argparse.BooleanOptionalAction if setting.opposite else "store_true"}
    if setting.type == "list":
        return {"action": "append"} if setting.form == "repeat" else {"nargs": "+"}
    return {"type": kinds.get(setting.type, str)}


TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=12)
VALUES = {
    "--always": st.booleans(),
    "--once": st.just(value=True),
    "--new": st.sampled_from(["few", "many"]),
    "--words": st.lists(TEXT.filter(lambda word: not word.startswith("-")), min_size=1, max_size=3),
    "--again": st.lists(TEXT, min_size=1, max_size=3),
    "--whole": st.integers(),
    "--share": st.floats(allow_nan=False, allow_infinity=False),
    "--text": TEXT,
    "--json": st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5), max_size=3),
}


@given(st.fixed_dictionaries({}, optional=VALUES))
@hypothesis_settings(suppress_health_check=[HealthCheck.too_slow])
def test_what_is_written_comes_back_from_argparse(settings: dict[str, Any]) -> None:
    words = arguments(SMALL, "3.0", settings)
    parsed = vars(argparse_of(SMALL, "3.0").parse_args(list(words)))
    for name, value in settings.items():
        assert parsed[name.removeprefix("--")] == value


@given(st.dictionaries(st.text(max_size=12), TEXT | st.integers() | st.booleans() | st.none(), max_size=3))
def test_hostile_names_and_values_end_as_problems(settings: dict[str, Any]) -> None:
    problems = SMALL.check("3.0", {name: "" if value is None else value for name, value in settings.items()})
    assert len(problems) <= 2 * len(settings)


def test_the_flags_that_our_deploy_writes_are_those_of_every_release() -> None:
    texts = [(ROOT / name).read_text() for name in ("deploys/llama_cpp.py", "boxwright/serving/llama_cpp.py")]
    unit = (ROOT / "templates" / "llama_cpp" / "llama-server.service.j2").read_text()
    flags = {flag for text in texts for flag in re.findall(r'"(--[a-z-]+)"', text)} - {"--version"}
    flags |= set(re.findall(r"(?<=\s)--[a-z-]+", unit[unit.index("ExecStart=") : unit.index("Environment=")]))
    assert len(flags) > 20
    unknown = {version: [flag for flag in flags if LLAMA.find(flag, version) is None] for version in LLAMA.versions}
    assert unknown == {"b11312": [], "b11669": []}


# Read by libraries of Open WebUI, or by our own start-up.
OF_LIBRARIES = {"ANONYMIZED_TELEMETRY", "DO_NOT_TRACK", "HF_HUB_DISABLE_TELEMETRY", "HF_HUB_OFFLINE", "HOME"}
OF_LIBRARIES |= {"SCARF_NO_ANALYTICS", "TRANSFORMERS_OFFLINE", "BOXWRIGHT_ADMIN_EMAIL"}


def test_the_variables_that_our_chat_page_is_given_are_those_of_the_release() -> None:
    made = page_environment(
        state="/d", flavour="full", public_url="https://b", admin_email="a@b", engine_urls=["http://e"], settings={}
    )
    assert len(made) > 40
    unknown = {
        version: [name for name in made.keys() - OF_LIBRARIES if WEB.find(name, version) is None]
        for version in WEB.versions
    }
    assert unknown == {"0.12.0": [], "0.12.4": []}


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (("--perf, type: boolean", "--perf, type: bool"), "'bool' is not one of boolean, integer"),
        (("  - version: b11312\n", "  - version: b11670\n"), "releases: not in ascending order, or one stands twice"),
        (
            ('--mlock: {absent: before, instead: "Write --load-mode: mmap+mlock."}', "--mlok: {}"),
            "'--mlok' is no setting",
        ),
        (("{name: --perf,", "{name: --perf, since: b1,"), "'--perf' names b1, of which nothing was read"),
        (("{name: --repack,", "{name: --perf,"), "'--perf' stands twice for one release"),
        (("facts:", "fakts:"), "unknown key 'fakts'"),
    ],
)
def test_a_wrong_table_is_refused_with_its_place(tmp_path: Path, edit: tuple[str, str], message: str) -> None:
    (tmp_path / "engines").mkdir()
    text = (ROOT / "inventories" / "engines" / "llama_cpp.yml").read_text()
    assert edit[0] in text
    (tmp_path / "engines" / "llama_cpp.yml").write_text(text.replace(*edit, 1))
    with pytest.raises(BadInputError) as refused:
        load_engine("llama_cpp", tmp_path)
    assert message in str(refused.value)
    assert re.match(rf"{re.escape(str(tmp_path))}/engines/llama_cpp\.yml:\d+:\d+", refused.value.where)


def test_an_unknown_table_gets_its_neighbour() -> None:
    with pytest.raises(BadInputError, match=r"no table of engine settings 'vlm'\. Did you mean 'vllm'\?"):
        load_engine("vlm")

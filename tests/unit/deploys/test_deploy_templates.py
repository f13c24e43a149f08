"""The files that the deploys write, and the pinned list."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from boxwright.model.catalogues import load_engine
from deploys.operations.files import rendered, systemd_argument, systemd_word
from deploys.operations.open_webui import page_environment
from deploys.operations.services import until_serving

REPOSITORY = Path(__file__).parents[3]


def unit(**changes: object) -> str:
    values = {
        "root": "/opt/engine",
        "program": "/usr/bin/llama-server",
        "user": "llama",
        "words": ["--model", "/srv/models/m.gguf", "--port", "8081", "--no-slots"],
        "environment": {},
        "key": "/etc/key",
        "models": "/srv/models",
        "cards": False,
        "numa_policy": "default",
        "numa_nodes": [],
        "placed_anew": [],
        "unit": "llama-server",
        "mig": None,
    }
    return rendered("llama_cpp/llama-server.service.j2", **{**values, **changes})


def command_of(text: str) -> str:
    """What systemd makes of the command line: lines that end in a backslash are one."""
    return " ".join(text.replace("\\\n", " ").partition("ExecStart=")[2].partition("\n")[0].split())


def test_the_engine_is_closed() -> None:
    text = unit()
    assert command_of(text) == (
        "/usr/bin/llama-server --model /srv/models/m.gguf --port 8081 --no-slots "
        "--api-key-file ${CREDENTIALS_DIRECTORY}/api-key"
    )
    for line in (
        "RootDirectory=/opt/engine",
        "RootDirectoryStartOnly=yes",
        "BindReadOnlyPaths=/srv/models",
        "PrivateDevices=yes",
    ):
        assert f"\n{line}\n" in text
    assert "RequiresMountsFor=/srv/models\n" in text  # and not the folder on the disk of the system under it
    assert "DeviceAllow" not in text


def test_an_engine_with_cards_sees_them_and_no_other_device() -> None:
    text = unit(root="", program="/opt/built/bin/llama-server", cards=True, environment={"CUDA_VISIBLE_DEVICES": "0,1"})
    assert "\nDevicePolicy=closed\nDeviceAllow=char-nvidia* rw\n" in text
    assert "\nEnvironment=CUDA_VISIBLE_DEVICES=0,1\n" in text
    assert "\nReadOnlyPaths=/srv/models\n" in text
    for absent in ("RootDirectory", "PrivateDevices", "MemoryDenyWriteExecute", "SystemCallFilter"):
        assert absent not in text


def test_an_engine_on_a_slice_finds_it_at_each_start_and_waits_for_it_to_be_made() -> None:
    text = unit(
        root="", program="/opt/built/bin/llama-server", cards=True, mig={"card": 1, "profile": "3g.40gb", "number": 0}
    )
    assert "\nRequires=boxwright-mig.service\nAfter=boxwright-mig.service\n" in text
    assert "mig-slices environment llama-server 1 3g.40gb 0\n" in text
    assert "\nEnvironmentFile=-/run/boxwright/mig/llama-server.env\n" in text
    assert text.rstrip().endswith("[Install]\nWantedBy=multi-user.target")


def test_weights_leave_the_page_cache_before_nodes_are_read_for() -> None:
    text = unit(placed_anew=["/srv/models/a-00001-of-00002.gguf", "/srv/models/a-00002-of-00002.gguf"])
    lines = [line for line in text.splitlines() if line.startswith("ExecStartPre=")]
    assert lines == [
        f"ExecStartPre=+-/usr/bin/dd if=/srv/models/a-0000{n}-of-00002.gguf iflag=nocache count=0 status=none"
        for n in (1, 2)
    ]


@pytest.mark.parametrize(
    ("text", "word", "argument"),
    [
        ("all", "all", "all"),
        (r"\.ffn_.*_exps\.=CPU", r'"\\.ffn_.*_exps\\.=CPU"', r'"\\.ffn_.*_exps\\.=CPU"'),
        ('a "b" %h $c', r'"a \"b\" %%h $c"', r'"a \"b\" %%h $$c"'),
        ("", '""', '""'),
        (";", '";"', '";"'),
        ("-s", "-s", "-s"),
    ],
)
def test_words_of_units_stay_what_they_are(text: str, word: str, argument: str) -> None:
    assert systemd_word(text) == word
    assert systemd_argument(text) == argument


def test_a_word_with_a_line_break_stands_in_no_unit() -> None:
    with pytest.raises(ValueError, match="cannot stand in a unit"):
        systemd_word("a\nExecStart=/bin/sh")


def test_the_engine_is_bound_to_its_nodes_where_the_profile_says_so() -> None:
    assert "NUMA" not in unit()
    bound = unit(numa_policy="bind", numa_nodes=[0, 1])
    assert "NUMAPolicy=bind\nNUMAMask=0,1\nCPUAffinity=numa\n" in bound
    dealt = unit(numa_policy="interleave", numa_nodes=[0, 1])
    assert "NUMAPolicy=interleave\nNUMAMask=0,1\n" in dealt
    assert "CPUAffinity" not in dealt


def test_the_chat_pages_settings_hold_no_secret_and_quote_what_systemd_reads() -> None:
    variables = page_environment(
        state="/var/lib/open-webui",
        flavour="slim",
        engine_urls=["http://127.0.0.1:8081/v1", "http://127.0.0.1:8082/v1"],
        public_url="https://box.example.org",
        admin_email='a"d$m`i\\n@example.org',
        settings={"ENABLE_SIGNUP": "true"},
    )
    text = rendered("open_webui/environment.j2", variables=variables)
    assert 'OPENAI_API_BASE_URLS="http://127.0.0.1:8081/v1;http://127.0.0.1:8082/v1"' in text
    assert text.count("ENABLE_SIGNUP=") == text.count('ENABLE_SIGNUP="true"') == 1
    assert 'BOXWRIGHT_ADMIN_EMAIL="a\\"d\\$m\\`i\\\\n@example.org"' in text
    assert not re.search(r"^(?!ENABLE_)[A-Z_]*(SECRET|PASSWORD|API_KEY)", text, re.MULTILINE)
    assert all(re.fullmatch(r"#.*|[A-Z_]+=.*|", line) for line in text.splitlines())


def test_waiting_shows_the_log_of_a_unit_that_does_not_answer() -> None:
    command = until_serving("it's.service", "http://127.0.0.1:1/", 5)
    assert "journalctl --unit='it'\"'\"'s.service'" in command


@pytest.mark.parametrize("version", load_engine("open_webui").versions)
@pytest.mark.parametrize("flavour", ["slim", "full"])
def test_every_package_of_the_chat_page_is_pinned_by_hash(flavour: str, version: str) -> None:
    text = (REPOSITORY / f"deploys/open_webui/requirements-{flavour}-{version}.lock").read_text()
    packages = re.split(r"\n(?=[a-z0-9])", text.strip())
    assert len(packages) > 100
    assert all("==" in package and "--hash=sha256:" in package for package in packages)
    assert "://" not in text
    assert any(package.startswith(f"open-webui=={version} ") for package in packages)
    assert any(package.startswith("torch==2.13.0+cpu ") for package in packages) == (flavour == "full")
    # Imported by what reads every document (retrieval/loaders/main.py), whatever cloud is used.
    assert any(package.startswith("azure-identity==") for package in packages)

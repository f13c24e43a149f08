"""The files that the deploys write, and the pinned list."""

from __future__ import annotations

import re
from pathlib import Path

from deploys.operations.files import rendered
from deploys.operations.services import until_serving

REPOSITORY = Path(__file__).parents[3]


def unit(**changes: object) -> str:
    values = {
        "root": "/opt/engine",
        "key": "/etc/key",
        "model_path": "/srv/models/m.gguf",
        "model_alias": "m",
        "port": 8081,
        "context_tokens": 4096,
        "parallel_requests": 2,
        "threads": 3,
        "numa_policy": "default",
        "numa_nodes": [],
    }
    return rendered("llama_cpp/llama-server.service.j2", **{**values, **changes})


def test_the_engine_is_closed_and_sized() -> None:
    text = unit()
    for part in ("--host 127.0.0.1", "--ctx-size 8192", "--parallel 2", "--threads 3", "--no-slots", "--no-ui"):
        assert part in text
    assert "BindReadOnlyPaths=/srv/models\n" in text
    assert "RequiresMountsFor=/srv/models\n" in text  # and not the folder on the disk of the system under it
    assert "--api-key-file ${CREDENTIALS_DIRECTORY}/api-key" in text


def test_the_engine_is_bound_to_its_nodes_where_the_profile_says_so() -> None:
    assert "NUMA" not in unit()
    bound = unit(numa_policy="bind", numa_nodes=[0, 1])
    assert "NUMAPolicy=bind\nNUMAMask=0,1\nCPUAffinity=numa\n" in bound
    dealt = unit(numa_policy="interleave", numa_nodes=[0, 1])
    assert "NUMAPolicy=interleave\nNUMAMask=0,1\n" in dealt
    assert "CPUAffinity" not in dealt


def test_the_chat_pages_settings_hold_no_secret_and_quote_what_systemd_reads() -> None:
    text = rendered(
        "open_webui/environment.j2",
        state="/var/lib/open-webui",
        engine_url="http://127.0.0.1:8081/v1",
        public_url="https://box.example.org",
        admin_email='a"d$m`i\\n@example.org',
    )
    assert 'BOXWRIGHT_ADMIN_EMAIL="a\\"d\\$m\\`i\\\\n@example.org"' in text
    assert not re.search(r"^(?!ENABLE_)[A-Z_]*(SECRET|PASSWORD|API_KEY)", text, re.MULTILINE)
    assert all(re.fullmatch(r"#.*|[A-Z_]+=.*|", line) for line in text.splitlines())


def test_waiting_shows_the_log_of_a_unit_that_does_not_answer() -> None:
    command = until_serving("it's.service", "http://127.0.0.1:1/", 5)
    assert "journalctl --unit='it'\"'\"'s.service'" in command


def test_every_package_of_the_chat_page_is_pinned_by_hash() -> None:
    text = (REPOSITORY / "deploys/open_webui/requirements-slim.lock").read_text()
    packages = re.split(r"\n(?=[a-z0-9])", text.strip())
    assert len(packages) > 100
    assert all("==" in package and "--hash=sha256:" in package for package in packages)
    assert "://" not in text
    assert any(package.startswith("open-webui==0.12.4") for package in packages)

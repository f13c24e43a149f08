"""The runner of the acceptance suite: it never loses a check, and never a secret."""

from __future__ import annotations

import ast
import json
import os
import stat
import threading
import time
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from boxwright.errors import BadInputError
from boxwright.model.hardware import Hardware
from boxwright.model.profile import Profile
from boxwright.model.stack import Stack
from boxwright.vault import HostSecrets
from boxwright.verification import ACCEPTANCE_SUITE, Check, CheckOutcome, VerifyHost, VerifyJob, load_job, run
from boxwright.verification.exposure import Listener, parse_listeners
from boxwright.verification.remote import find_secrets

PASSWORD = "the-api-password-3141"
MARK = '@pytest.mark.check(id="{id}", title="T", severity="major", remedy="R"{more})'


def make_host(
    name: str = "box1", *, chat_url: str | None = None, waivers: dict[str, str] | None = None, twin: bool = False
) -> VerifyHost:
    hardware = Hardware.model_validate(HARDWARE)
    profile = Profile(name="lab", summary="s", hardware=hardware, stack=Stack(model="m", engine="llama_cpp"))
    return VerifyHost(
        name=name,
        address="192.0.2.1",
        api_url="https://192.0.2.1/v1",
        api_user="api",
        chat_url=chat_url,
        admin_email="admin@example.invalid",
        engine_url="http://127.0.0.1:8080",
        model_alias="m",
        twin=twin,
        profile=profile,
        waivers=waivers or {},
        secrets=HostSecrets(
            api_password=SecretStr(PASSWORD),
            api_key=SecretStr("the-api-key-2718"),
            engine_key=SecretStr("the-engine-key-1618"),
            webui_admin_password=SecretStr("the-admin-password-1414"),
            webui_secret_key=SecretStr("the-secret-key-1732"),
        ),
    )


HARDWARE = {"cpu": {"sockets": 1, "cores_per_socket": 2}, "memory_gib": 4, "disk_gib": 10}


class Suite:
    """A tiny acceptance suite in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "suite"
        self.directory.mkdir()
        self.logs = directory

    def add(self, id: str, body: str, *, arguments: str = "evidence", more: str = "", file: str = "main") -> None:
        path = self.directory / f"test_{file}.py"
        text = path.read_text() if path.exists() else "import os, time\nimport pytest\n"
        number = text.count("def test_")
        lines = "\n".join(f"    {line}" for line in body.splitlines())
        path.write_text(f"{text}\n{MARK.format(id=id, more=more)}\ndef test_{number}({arguments}):\n{lines}\n")

    def run(self, *hosts: VerifyHost, timeout_s: int = 20, **settings: object) -> dict[str, Check]:
        job = VerifyJob(
            hosts=hosts or (make_host(),),
            run_logs=self.logs,
            check_timeout_s=timeout_s,
            **settings,  # type: ignore[arg-type]
        )
        told: list[Check] = []
        checks = run(job, told.append, suite=self.directory)
        assert sorted(told, key=str) == sorted(checks, key=str)
        return {check.id: check for check in checks}


@pytest.fixture
def suite(tmp_path: Path) -> Suite:
    return Suite(tmp_path)


def test_each_way_to_end_is_told_as_it_is(suite: Suite) -> None:
    suite.add("a.pass", 'evidence("seen")')
    suite.add("a.fail", 'evidence("seen")\nassert 1 == 2, "one is not two"')
    suite.add("a.skip", 'evidence("seen")\npytest.skip("no time")')
    suite.add("a.xfail", 'evidence("seen")\npytest.xfail("known")')
    suite.add("a.raise", 'raise RuntimeError("broken")')
    suite.add("a.silent", "pass")
    suite.add("a.fixture", 'evidence("seen")', arguments="evidence, nothing_of_that_name")
    checks = suite.run()
    assert {id: check.outcome for id, check in checks.items()} == {
        "a.pass": CheckOutcome.PASS,
        **dict.fromkeys(("a.fail", "a.skip", "a.xfail", "a.raise", "a.silent", "a.fixture"), CheckOutcome.FAIL),
    }
    assert checks["a.pass"].evidence == "seen"
    assert checks["a.fail"].evidence == "one is not two"
    assert "no time" in checks["a.skip"].evidence
    assert "known" in checks["a.xfail"].evidence
    assert "broken" in checks["a.raise"].evidence
    assert "no evidence" in checks["a.silent"].evidence
    assert "nothing_of_that_name" in checks["a.fixture"].evidence


def test_what_cannot_be_proven_is_told_apart_from_what_passed_and_what_failed(suite: Suite) -> None:
    unproven = 'from boxwright.verification.check import UnprovenError\nraise UnprovenError("a twin has no card")'
    suite.add("a.unproven", f'evidence("seen")\n{unproven}')
    suite.add("a.leaky", unproven, arguments="evidence, leaky")
    suite.add("a.pass", 'evidence("seen")')
    path = suite.directory / "test_main.py"
    path.write_text(path.read_text() + '\n@pytest.fixture\ndef leaky():\n    yield\n    raise OSError("left behind")\n')
    checks = suite.run(make_host(twin=True))
    assert {id: check.outcome.value for id, check in checks.items()} == {
        "a.unproven": "unproven",
        "a.leaky": "fail",  # what broke besides counts
        "a.pass": "pass",
    }
    assert checks["a.unproven"].evidence == "a twin has no card"


def test_what_cannot_be_proven_of_a_real_machine_has_failed_or_is_waived_by_name(suite: Suite) -> None:
    suite.add("a.pass", 'evidence("seen")\nfrom boxwright.verification.check import UnprovenError')
    raised = "from boxwright.verification.check import UnprovenError\nraise UnprovenError"
    suite.add("a.smart", f'{raised}("no disk tells")')
    suite.add("a.cards", f'{raised}("nobody asks them")')
    suite.add("a.stack", f'{raised}("no digests")')
    suite.add("a.engine", f'{raised}("no digests", because="a.stack")')
    failed = suite.run()
    assert {id for id, check in failed.items() if check.outcome is CheckOutcome.FAIL} == failed.keys() - {"a.pass"}
    assert failed["a.smart"].evidence == "it could not be proven: no disk tells"
    waived = suite.run(make_host(waivers={"a.smart": "Ada: a virtual disk", "a.stack": "Ada: the machine alone"}))
    assert {id: check.outcome.value for id, check in waived.items()} == {
        "a.pass": "pass", "a.smart": "waived", "a.cards": "fail", "a.stack": "waived", "a.engine": "waived",
    }  # fmt: skip
    assert waived["a.engine"].evidence == "waived by Ada: the machine alone (it could not be proven: no digests)"


def test_an_expected_failure_that_passes_is_a_failure(suite: Suite) -> None:
    path = suite.directory / "test_main.py"
    suite.add("a.xpass", 'evidence("seen")')
    path.write_text(path.read_text().replace("@pytest", '@pytest.mark.xfail(reason="once")\n@pytest'))
    assert suite.run()["a.xpass"].outcome is CheckOutcome.FAIL


def test_a_fixture_that_fails_on_its_way_out_fails_the_check(suite: Suite) -> None:
    suite.add("a.pass", 'evidence("seen")', arguments="evidence, leaky")
    path = suite.directory / "test_main.py"
    path.write_text(path.read_text() + '\n@pytest.fixture\ndef leaky():\n    yield\n    raise OSError("left behind")\n')
    check = suite.run()["a.pass"]
    assert check.outcome is CheckOutcome.FAIL
    assert "left behind" in check.evidence


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("def broken(:\n", "invalid syntax"),
        ("import no_such_module_here\n", "no_such_module_here"),
        ('import pytest\npytest.skip("not today", allow_module_level=True)\n', "not today"),
    ],
    ids=["syntax", "import", "skip"],
)
def test_a_file_that_cannot_be_read_fails_and_the_others_run(suite: Suite, content: str, reason: str) -> None:
    suite.add("a.pass", 'evidence("seen")')
    (suite.directory / "test_broken.py").write_text(content)
    checks = suite.run()
    assert checks["a.pass"].outcome is CheckOutcome.PASS
    assert checks["collection.test_broken"].outcome is CheckOutcome.FAIL
    assert reason in checks["collection.test_broken"].evidence


@pytest.mark.parametrize("content", ["", "def test_unmarked():\n    pass\n"], ids=["empty", "no marker"])
def test_a_suite_without_checks_fails(suite: Suite, content: str) -> None:
    (suite.directory / "test_main.py").write_text(content)
    checks = suite.run()
    assert [check.outcome for check in checks.values()] == [CheckOutcome.FAIL]


def test_a_broken_conftest_fails_with_what_pytest_said(suite: Suite) -> None:
    suite.add("a.pass", 'evidence("seen")')
    (suite.directory / "conftest.py").write_text("raise RuntimeError('conftest is broken')\n")
    (check,) = suite.run().values()
    assert check.outcome is CheckOutcome.FAIL
    assert "conftest is broken" in check.evidence


def test_two_checks_of_one_id_are_refused(suite: Suite) -> None:
    suite.add("a.same", 'evidence("seen")')
    suite.add("a.same", 'evidence("seen")')
    (check,) = suite.run().values()
    assert check.outcome is CheckOutcome.FAIL
    assert "a.same" in check.evidence


def test_a_killed_process_fails_what_it_had_not_told(suite: Suite) -> None:
    suite.add("a.first", 'evidence("seen")')
    suite.add("a.killer", "os.kill(os.getpid(), 9)")
    suite.add("a.last", 'evidence("seen")')
    checks = suite.run()
    assert checks["a.first"].outcome is CheckOutcome.PASS
    assert checks["a.killer"].outcome is checks["a.last"].outcome is CheckOutcome.FAIL
    assert "ended in the middle" in checks["a.killer"].evidence
    assert "SIGKILL" in checks["a.last"].evidence


def test_a_process_that_leaves_early_fails_what_it_had_not_told(suite: Suite) -> None:
    suite.add("a.leaver", "os._exit(0)")
    suite.add("a.last", 'evidence("seen")')
    assert {check.outcome for check in suite.run().values()} == {CheckOutcome.FAIL}


def test_a_check_has_a_deadline_and_the_next_one_runs(suite: Suite) -> None:
    suite.add("a.hangs", 'try:\n    time.sleep(60)\nexcept Exception:\n    evidence("swallowed")')
    suite.add("a.next", 'evidence("seen")')
    checks = suite.run(timeout_s=1)
    assert checks["a.hangs"].outcome is CheckOutcome.FAIL
    assert "no result within 1 s" in checks["a.hangs"].evidence
    assert checks["a.next"].outcome is CheckOutcome.PASS


def test_a_process_deaf_to_deadlines_is_ended(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("boxwright.verification.host_run._GRACE_S", 1)
    suite.add("a.deaf", "import signal\nsignal.signal(signal.SIGALRM, signal.SIG_IGN)\ntime.sleep(60)")
    began = time.monotonic()
    check = suite.run(timeout_s=1)["a.deaf"]
    assert check.outcome is CheckOutcome.FAIL
    assert "silent for 3 s" in check.evidence
    assert time.monotonic() - began < 20


def test_a_waiver_keeps_the_evidence_and_names_its_person(suite: Suite) -> None:
    suite.add("a.fail", 'assert False, "the fan is loud"')
    suite.add("a.pass", 'evidence("seen")')
    checks = suite.run(make_host(waivers={"a.fail": "Ada: the box stands in a cellar", "a.pass": "Ada: in case"}))
    assert checks["a.fail"].outcome is CheckOutcome.WAIVED
    assert checks["a.fail"].evidence == "waived by Ada: the box stands in a cellar (the fan is loud)"
    assert checks["a.pass"].outcome is CheckOutcome.PASS


def test_a_waiver_of_nothing_is_a_failure(suite: Suite) -> None:
    suite.add("a.pass", 'evidence("seen")')
    checks = suite.run(make_host(waivers={"a.pas": "Ada: a slip of the pen"}))
    assert checks["waiver.a.pas"].outcome is CheckOutcome.FAIL


def test_a_waiver_needs_a_name_and_a_reason() -> None:
    with pytest.raises(ValidationError):
        make_host(waivers={"a.b": "because"})


def test_secrets_are_taken_out_of_evidence(suite: Suite) -> None:
    suite.add("a.pass", f'evidence("saw {PASSWORD} there")')
    suite.add("a.fail", f'assert False, "saw {PASSWORD} there"')
    for check in suite.run().values():
        assert check.evidence == "saw [REDACTED] there"


def test_checks_of_what_the_profile_does_not_promise_are_not_planned(suite: Suite) -> None:
    suite.add("a.page", 'evidence("seen")', more=', needs="chat_url"')
    suite.add("a.engine", 'evidence("seen")', more=', needs="ollama"')  # no service of it: an empty list
    suite.add("a.pass", 'evidence("seen")')
    assert set(suite.run()) == {"a.pass"}
    assert set(suite.run(make_host(chat_url="https://192.0.2.1/"))) == {"a.page", "a.pass"}


def test_hosts_are_checked_side_by_side_and_see_only_their_own_secrets(suite: Suite) -> None:
    suite.add("a.alone", "time.sleep(1.5)\nevidence(str(len(job.hosts)))", arguments="evidence, job")
    job = VerifyJob(hosts=tuple(make_host(f"box{n}") for n in range(4)), run_logs=suite.logs)
    began = time.monotonic()
    checks = run(job, [].append, suite=suite.directory)
    assert [(check.host, check.evidence) for check in checks] == [(f"box{n}", "1") for n in range(4)]
    assert time.monotonic() - began < 10


def test_the_users_pytest_settings_change_nothing(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    suite.add("a.fail", "assert False, 'no'")
    monkeypatch.setenv("PYTEST_ADDOPTS", "-k nothing_at_all")
    (suite.directory / "pytest.ini").write_text("[pytest]\naddopts = --collect-only\n")
    assert suite.run()["a.fail"].evidence == "no"


def test_the_report_holds_every_check(suite: Suite) -> None:
    suite.add("a.pass", 'evidence("seen")')
    report = suite.directory.parent / "reports" / "verify.json"
    suite.run(report=report)
    (check,) = json.loads(report.read_text())["checks"]
    assert check["id"] == "a.pass"
    assert check["outcome"] == "pass"


def test_an_interrupted_run_leaves_no_process(suite: Suite) -> None:
    note = suite.directory / "pid"
    suite.add("a.first", 'evidence("seen")')
    suite.add("a.long", f'open({str(note)!r}, "w").write(str(os.getpid()))\ntime.sleep(60)')

    def interrupt(check: Check) -> None:
        while not note.exists() or not note.read_text():
            time.sleep(0.05)
        raise KeyboardInterrupt

    before = threading.active_count()
    job = VerifyJob(hosts=(make_host(),), run_logs=suite.logs)
    with pytest.raises(KeyboardInterrupt):
        run(job, interrupt, suite=suite.directory)
    assert not Path(f"/proc/{note.read_text()}").exists()
    assert threading.active_count() <= before


def test_a_job_survives_its_file_and_only_a_closed_one_is_read(tmp_path: Path) -> None:
    job = VerifyJob(hosts=(make_host(),), run_logs=tmp_path)
    path = tmp_path / "job.json"
    path.touch(mode=0o600)
    path.write_text(job.to_json())
    assert load_job(path) == job
    assert PASSWORD not in repr(job)
    path.chmod(0o644)
    with pytest.raises(BadInputError, match="others may read it"):
        load_job(path)


def test_a_broken_job_is_refused_without_telling_its_values(tmp_path: Path) -> None:
    path = tmp_path / "job.json"
    path.touch(mode=0o600)
    path.write_text(VerifyJob(hosts=(make_host(),), run_logs=tmp_path).to_json().replace('"api_key"', '"api_kye"'))
    with pytest.raises(BadInputError, match="api_kye") as refusal:
        load_job(path)
    assert "2718" not in str(refusal.value)


def test_sockets_of_ss_are_understood() -> None:
    text = (
        "udp UNCONN 0 0 127.0.0.53%lo:53 0.0.0.0:*\n"
        'tcp LISTEN 0 511 0.0.0.0:443 0.0.0.0:* users:(("nginx",pid=7,fd=6),("nginx",pid=8,fd=6))\n'
        "tcp LISTEN 0 128 [::]:22 [::]:*\n"
        "tcp LISTEN 0 128 [::1]:9100 [::]:*\n"
        "tcp LISTEN 0 128 [::ffff:127.0.0.1]:9090 *:*\n"
        "tcp LISTEN 0 128 *:8080 *:*\n"
    )
    found = parse_listeners(text)
    assert [(each.port, each.is_loopback) for each in found] == [
        (53, True),
        (443, False),
        (22, False),
        (9100, True),
        (9090, True),
        (8080, False),
    ]
    assert found[1] == Listener("tcp", "0.0.0.0", 443, "nginx", 7)
    with pytest.raises(ValueError, match="not a line of ss"):
        parse_listeners("ss: command failed\n")


def test_units_that_speak_to_each_other_are_those_of_a_box_of_several_machines() -> None:
    alone = make_host()
    assert (alone.node_units, alone.main_unit) == ((), "llama-server.service")
    stack = Stack(model="m", engine="vllm", executor="ray")
    profile = alone.profile.model_copy(update={"nodes": 2, "stack": stack})
    head = alone.model_copy(update={"profile": profile})
    assert (head.node_units, head.main_unit) == (("vllm.service", "ray.service"), "vllm.service")
    other = head.model_copy(update={"head_url": "https://192.0.2.1"})
    assert (other.leads, other.main_unit) == (False, "ray.service")


@pytest.mark.skipif(os.geteuid() != 0, reason="the search reads what only root may")
def test_the_search_for_secrets_tells_open_files_from_closed_ones(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    for directory in (tmp_path, *list(tmp_path.parents)[:3]):
        directory.chmod(directory.stat().st_mode | stat.S_IXOTH)
    contents = {"open": 0o644, "closed": 0o600, "hidden/open": 0o644, "site-packages/open": 0o644}
    (tmp_path / "hidden").mkdir(mode=0o700)
    (tmp_path / "hidden" / "deeper").mkdir()
    (tmp_path / "site-packages").mkdir()
    for name, mode in contents.items():
        path = tmp_path / name
        path.write_bytes(b"x" * (find_secrets.BLOCK - 3) + b"needle")  # across two blocks
        path.chmod(mode)
    (tmp_path / "hidden/deeper/key.pem").write_text("-----BEGIN PRIVATE KEY-----\n")
    (tmp_path / "key.pem").write_text("-----BEGIN RSA PRIVATE KEY-----\n")
    for key in ("hidden/deeper/key.pem", "key.pem"):
        (tmp_path / key).chmod(0o644)
    needles = [("a secret", b"needle"), ("another", b"nowhere")]
    found = find_secrets.in_files([str(tmp_path)], needles, 5 << 20, frozenset())
    assert [place.rsplit("/", 1)[1] for _, place in found["open"]] == ["open (0644)"]
    assert sorted(place.removeprefix(str(tmp_path)) for _, place in found["kept"]) == [
        "/closed (0600)",
        "/hidden/open (0644)",
    ]
    assert [place.removeprefix(str(tmp_path)) for _, place in found["open_keys"]] == ["/key.pem (0644)"]
    assert [place.removeprefix(str(tmp_path)) for _, place in found["keys"]] == ["/hidden/deeper/key.pem (0644)"]


def test_the_search_for_secrets_takes_a_librarys_own_key_for_none_and_finds_a_secret_in_it(tmp_path: Path) -> None:
    key = b"-----BEGIN PRIVATE KEY-----\nMC4CAQAw\n-----END PRIVATE KEY-----\n"
    (tmp_path / "libtls.so").write_bytes(b"\x7fELF" + key + b"needle")
    found = find_secrets.in_files([str(tmp_path)], [("a secret", b"needle")], 5 << 20, frozenset())
    assert (found["open_keys"], found["keys"]) == ([], [])
    assert [name for name, _ in (*found["open"], *found["kept"])] == ["a secret"]


def test_the_search_for_secrets_reads_compressed_logs(tmp_path: Path) -> None:
    import gzip

    (tmp_path / "a.log").write_text("nothing\n")
    (tmp_path / "b.log.1.gz").write_bytes(gzip.compress(b"GET /?key=needle"))
    (tmp_path / "c.gz").write_bytes(b"not compressed at all")
    found, searched = find_secrets.in_logs(str(tmp_path), [("a secret", b"needle")])
    assert found == [["a secret", str(tmp_path / "b.log.1.gz")]]
    assert searched == 3


def test_the_search_for_secrets_reads_environments(monkeypatch: pytest.MonkeyPatch) -> None:
    import subprocess

    secret = f"needle-{os.getpid()}"
    with subprocess.Popen(["sleep", "30"], env={"KEY": secret}) as process:
        time.sleep(0.1)
        found, _ = find_secrets.in_processes([("a secret", secret.encode())])
        process.kill()
    assert found == [["a secret", f"environ of sleep (process {process.pid})"]]


def test_the_page_of_checks_says_what_the_suite_says() -> None:
    page = (ACCEPTANCE_SUITE.parents[1] / "docs" / "checks.md").read_text()
    said = {row.split(" | ", 1)[0].strip("| `"): row for row in page.splitlines() if row.startswith("| `")}
    written = {}
    for path in ACCEPTANCE_SUITE.glob("test_*.py"):
        for call in ast.walk(ast.parse(path.read_text())):
            if isinstance(call, ast.Call) and getattr(call.func, "attr", "") == "check":
                words = {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords}
                row = f"| `{words['id']}` | {words['title']} | {words['severity']} | {words['remedy']} |"
                written[words["id"]] = row
    assert said == written

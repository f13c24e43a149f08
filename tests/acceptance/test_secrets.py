"""No secret of the box lies where another user, a log reader or a backup could find it."""

from __future__ import annotations

from typing import Any

import pytest

from boxwright.verification.job import VerifyHost, VerifyJob
from boxwright.verification.plugin import Evidence
from boxwright.verification.remote import source
from boxwright.verification.remote.find_secrets import in_logs
from boxwright.verification.ssh import BoxShell

ROOTS = ("/etc", "/opt", "/srv", "/var/lib", "/run", "/tmp", "/var/tmp", "/usr/local", "/home", "/root")
MOST_BYTES = 5 << 20
# Secrets that the box must keep as they are to work; to find them proves that the search can find.
KEPT_AS_THEY_ARE = ("api_key", "engine_key")

Search = dict[str, Any]


@pytest.fixture(scope="module")
def search(shell: BoxShell, target: VerifyHost) -> Search:
    """One search of the whole box. The secrets travel on standard input, and only their names come back."""
    found: Search = shell.python(
        source("find_secrets"),
        {"secrets": target.known_secrets(), "roots": ROOTS, "most_bytes": MOST_BYTES},
    )
    return found


def _places(found: list[list[str]]) -> str:
    return ", ".join(f"{name} in {place}" for name, place in found[:6]) + (" and more" if len(found) > 6 else "")


@pytest.mark.check(
    id="secrets.processes",
    title="No process has a secret in its arguments or its environment",
    severity="critical",
    remedy="Hand the secret over in a file of mode 0600, provision again, and renew the secret.",
)
def test_processes(search: Search, evidence: Evidence) -> None:
    assert not search["processes"], _places(search["processes"])
    evidence(f"nothing in the arguments and environments of {search['processes_searched']} processes")


@pytest.mark.check(
    id="secrets.logs",
    title="No secret is in the journal or in a log file",
    severity="critical",
    remedy="Stop the logging, remove the log (journalctl --rotate --vacuum-time=1s), renew the secret.",
)
def test_logs(search: Search, evidence: Evidence) -> None:
    found = search["journal"] + search["logs"]
    assert not found, _places(found)
    assert search["journal_bytes"] > 0, "the journal could not be read"
    evidence(
        f"nothing in {search['journal_bytes'] >> 10} KiB of the journal, newest first, "
        f"and {search['logs_searched']} files of /var/log"
    )


@pytest.mark.check(
    id="secrets.files",
    title="No file that other users can read holds a secret",
    severity="critical",
    remedy="chmod o-r the file, provision again, and renew the secret.",
)
def test_files(search: Search, evidence: Evidence) -> None:
    files = search["files"]
    assert not files["open"], _places(files["open"])
    kept = {name for name, _ in files["kept"]}
    lost = [name for name in KEPT_AS_THEY_ARE if name not in kept]
    assert not lost, f"the search is blind: {', '.join(lost)} was found nowhere, though the box uses it"
    places = sorted({place for _, place in files["kept"]})
    evidence(f"{files['searched']} files searched; secrets are in {', '.join(places)}")


@pytest.mark.check(
    id="secrets.private_keys",
    title="No private key can be read by other users",
    severity="critical",
    remedy="chmod 600 the file, and renew the key.",
)
def test_private_keys(search: Search, evidence: Evidence) -> None:
    files = search["files"]
    assert not files["open_keys"], _places(files["open_keys"])
    assert files["keys"], "the search is blind: not even the box's ssh host keys were found"
    evidence(f"{len(files['keys'])} private keys, none open to others")


@pytest.mark.check(
    id="secrets.run_logs",
    title="No secret is in the run logs of this machine",
    severity="critical",
    remedy="Remove the run log and renew the secret.",
)
def test_run_logs(job: VerifyJob, target: VerifyHost, evidence: Evidence) -> None:
    assert job.run_logs.is_dir(), f"there is no directory {job.run_logs}"
    needles = [(name, form.encode()) for name, forms in target.known_secrets().items() for form in forms]
    found, searched = in_logs(str(job.run_logs), needles)
    assert not found, _places(found)
    evidence(f"nothing in {searched} files of {job.run_logs}")

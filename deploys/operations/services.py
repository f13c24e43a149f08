"""Services that run what the files say, and really answer."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from typing import Any

from pyinfra import host
from pyinfra.api import QuoteString, StringCommand, operation
from pyinfra.api.command import PyinfraCommand

from deploys.facts.chat_page import AccountExists
from deploys.facts.services import PROVEN, OwnUnits, ServiceState, probe_command


@operation()
def serving(
    unit: str, url: str | None, files: Sequence[str], after: Sequence[Any] = (), patience_s: int = 120
) -> Iterator[PyinfraCommand]:
    """Have a unit enabled, started from its present files, and answering.

    A restart is due when one of the files is younger than the process. That holds, too, when an earlier run was killed
    between writing a file and restarting.

    Args:
        unit: Name with `.service`.
        url: Answers 2xx when the service is ready; None for one that has no door of its own.
        files: What the process read when it started.
        after: Operations that write these files; lets a dry run foresee the restart.
        patience_s: How long a start may take.
    """
    now = host.get_fact(ServiceState, unit=unit, url=url, files=tuple(files))
    restart = now.stale or not now.active or not now.serving or any(written.changed for written in after)
    if not (restart or now.reload_needed or not now.enabled):
        host.noop(f"{unit} serves")
        return
    if now.reload_needed:
        yield StringCommand("systemctl daemon-reload")
    if not now.enabled:
        yield StringCommand("systemctl enable --quiet", QuoteString(unit))
    if restart or now.reload_needed:
        yield StringCommand(
            "systemctl reset-failed", QuoteString(unit), "2>/dev/null; systemctl restart", QuoteString(unit)
        )
        yield StringCommand(until_serving(unit, url, patience_s), _timeout=patience_s + 60)


@operation()
def no_other_units(pattern: str, wanted: Sequence[str]) -> Iterator[PyinfraCommand]:
    """Have no unit of a pattern that Boxwright once wrote and that is wanted no more: it would keep port and memory.

    Args:
        pattern: Of names of unit files, for the shell: `llama-server*.service`.
        wanted: Those that stay. Others end, and their settings in /etc and what was proven of them go with them.
    """
    found = sorted(set(host.get_fact(OwnUnits, pattern=pattern)) - set(wanted))
    if not found:
        host.noop("there are no others")
        return
    for unit in found:
        files = (f"/etc/systemd/system/{unit}", f"/etc/{unit.removesuffix('.service')}", f"{PROVEN}/{unit}")
        yield StringCommand(
            *("systemctl disable --quiet --now", QuoteString(unit), "&& rm -rf"), *(QuoteString(name) for name in files)
        )
        # One that was killed with requests in flight counts as failed, and would go on to be listed so.
        yield StringCommand("systemctl daemon-reload; systemctl reset-failed", QuoteString(unit), "2>/dev/null; true")


def until_serving(unit: str, url: str | None, patience_s: int) -> str:
    """A shell command that waits until `url` answers; if it never does, it shows the unit's last log lines."""
    name, complaint = shlex.quote(unit), f"{unit} does not answer at {url}" if url else f"{unit} does not run"
    restarts = f"systemctl show --value --property=NRestarts {name}"  # a unit in a crash loop never counts as failed
    return (
        f"end=$(( $(date +%s) + {patience_s} )); "
        f"until {probe_command(unit, url)}; do "
        f'if [ "$(date +%s)" -ge "$end" ] || [ "$({restarts})" -ge 3 ]; then '
        f"echo {shlex.quote(complaint)} >&2; "
        f"journalctl --unit={name} --lines=20 --no-pager --output=cat >&2; exit 1; fi; sleep 0.5; done"
    )


@operation()
def administrator(unit: str, user: str, database: str, email: str) -> Iterator[PyinfraCommand]:
    """Have an administrator's account in Open WebUI; `unit` makes it. An account that is there stays as it is.

    Args:
        unit: The one-shot unit that creates the account.
        user: Who owns the database.
        database: SQLite file.
        email: The account's address.
    """
    if host.get_fact(AccountExists, user=user, database=database, email=email):
        host.noop("the administrator has an account")
        return
    name = shlex.quote(unit)
    yield StringCommand("systemctl daemon-reload")
    yield StringCommand(
        f"systemctl start {name} || {{ journalctl --unit={name} --lines=20 --no-pager --output=cat >&2; exit 1; }}"
    )

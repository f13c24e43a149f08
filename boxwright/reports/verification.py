"""A verification as files that programs and people read: JUnit, and one page for all of its hosts."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from boxwright import __version__
from boxwright.errors import BadInputError
from boxwright.page_templates import page_templates
from boxwright.reports.junit import junit_of_checks
from boxwright.reports.view import TEMPLATES, WORST_FIRST
from boxwright.verification.check import Check, CheckOutcome, Severity
from boxwright.whole_files import write_whole


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What one verification found.

    Attributes:
        profile: What the hosts were promised to be.
        summary: The profile's own words for it.
        site: Whose hosts they are.
        checked_at: The time, UTC.
        checked_by: `user@controller`.
        twin: Whether the hosts are throw-away twins.
        hosts: The checks of each host, by its name.
    """

    profile: str
    summary: str
    site: str
    checked_at: str
    checked_by: str
    twin: bool
    hosts: Mapping[str, Sequence[Check]]

    def counts(self, checks: Sequence[Check] | None = None) -> dict[str, int]:
        """How many checks ended in each way, the worst first; of all hosts, or of those given."""
        of = checks if checks is not None else [check for one in self.hosts.values() for check in one]
        return {outcome.value: sum(check.outcome is outcome for check in of) for outcome in WORST_FIRST}

    @property
    def verdict(self) -> str:
        """In one word, as a certificate has it. No check at all is a failure, too."""
        counts = self.counts()
        if counts["fail"] or not all(self.hosts.values()) or not self.hosts:
            return "failed"
        return "passed_with_waivers" if counts["waived"] else "passed"


@dataclass(frozen=True, slots=True)
class Outputs:
    """The files that a verification is written to; None where one is not wanted."""

    junit: Path | None = None
    html: Path | None = None

    @classmethod
    def chosen(cls, junit: str = "", html: str = "") -> Outputs:
        """Where somebody wants them.

        Raises:
            BadInputError: One of them could not be written there; said before the long work, not after it.
        """
        wanted = cls(
            Path(junit).expanduser() if junit else None,
            Path(html).expanduser() if html else None,
        )
        for option, path in (("--junit", wanted.junit), ("--html", wanted.html)):
            if path is not None:
                _require_writable(option, path)
        if wanted.junit is not None and wanted.html is not None and wanted.junit.absolute() == wanted.html.absolute():
            raise BadInputError("--junit and --html name the same file", where=str(wanted.html))
        return wanted

    def write(self, found: Verification) -> dict[str, Path]:
        """Write what is wanted, each file whole or not at all, and give their paths back by what they are.

        Raises:
            BadInputError: The place is not writable any more.
        """
        drawn = {}
        if self.junit is not None:
            text = junit_of_checks(found.profile, found.checked_at, found.hosts, twin=found.twin)
            drawn["junit"] = (self.junit, text)
        if self.html is not None:
            drawn["html"] = (self.html, page(found))
        try:
            return {kind: write_whole(path, text.encode(), folders=False) for kind, (path, text) in drawn.items()}
        except OSError as error:
            raise BadInputError(f"cannot write: {error.strerror}", where=str(error.filename)) from None


def _require_writable(option: str, path: Path) -> None:
    folder = path.parent
    if path.is_dir():
        raise BadInputError(f"{option} names a folder", where=str(path), hint=f"Name a file: {option} {path}/FILE")
    if not folder.is_dir():
        raise BadInputError(f"{option}: there is no folder {folder}", where=str(path), hint=f"mkdir -p {folder}")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise BadInputError(f"{option}: the folder is not writable", where=str(folder), hint="Name another one.")


def page(found: Verification) -> str:
    """One page for all hosts: it opens without a network and prints well."""
    style = Markup((TEMPLATES / "page.css").read_text(encoding="utf-8").strip())  # noqa: S704  a file of ours
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return (
        page_templates("verification")
        .get_template("page.html.j2")
        .render(
            found=found,
            ordered={host: in_reading_order(checks) for host, checks in found.hosts.items()},
            style=style,
            policy=f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'",
            with_remedy=(CheckOutcome.FAIL, CheckOutcome.WAIVED),
            version=__version__,
        )
    )


def in_reading_order(checks: Sequence[Check]) -> list[Check]:
    """The checks, those that need a reader first, and of those the worst."""
    severities = list(Severity)
    return sorted(
        checks,
        key=lambda check: (WORST_FIRST.index(check.outcome), severities.index(check.severity), check.id),
    )

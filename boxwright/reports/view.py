"""What the page and the PDF say alike of a certificate, in one language: words, and figures as text."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from boxwright.reports.certificate import Certificate, Holding
from boxwright.reports.measurements import Measurements, Series
from boxwright.translation import table, words
from boxwright.verification.check import Check, CheckOutcome, Severity

TEMPLATES = Path(__file__).resolve().parents[2] / "templates" / "certificate"
WORST_FIRST = (CheckOutcome.FAIL, CheckOutcome.WAIVED, CheckOutcome.UNPROVEN, CheckOutcome.PASS)


@dataclass(frozen=True, slots=True)
class Failure:
    """One thing that does not hold, as the first page tells it."""

    id: str
    severity: str
    what: str
    found: str
    remedy: str


@dataclass(frozen=True, slots=True)
class View:
    """A certificate in a language."""

    certificate: Certificate
    language: str

    @property
    def words(self) -> dict[str, str]:
        """The sentences of the language."""
        return words(TEMPLATES, self.language)

    def term(self, text: str) -> str:
        """A term or a promise of ours in the language; what nobody translated stays as it is, such as a disk's name."""
        paths = [TEMPLATES / f"{kind}.{self.language}.yml" for kind in ("terms", "measured")]
        terms = {english: told for path in paths if path.exists() for english, told in table(path).items()}
        return terms.get(text) or _in_parts(text, terms) or text

    @property
    def counts(self) -> dict[str, int]:
        """How many checks ended in each way, the worst first."""
        return {outcome.value: len(self.certificate.with_outcome(outcome)) for outcome in WORST_FIRST}

    @property
    def checks(self) -> list[Check]:
        """The checks, those that need a reader first."""
        return sorted(self.certificate.checks, key=lambda check: (WORST_FIRST.index(check.outcome), check.id))

    @property
    def unproven_checks(self) -> tuple[Check, ...]:
        """What could not be looked at here."""
        return self.certificate.with_outcome(CheckOutcome.UNPROVEN)

    @property
    def failures(self) -> list[Failure]:
        """Everything that does not hold, checks and measurements alike, the worst first."""
        failed = [
            Failure(check.id, check.severity.value, self.term(check.title), check.evidence, check.remedy)
            for check in self.certificate.with_outcome(CheckOutcome.FAIL)
        ]
        for measured in self.certificate.measurements:
            if measured.stopped:
                title = self.words["stopped"].format(kind=self.words[measured.kind])
                failed.append(Failure(f"{measured.kind}.stopped", "major", title, measured.stopped, ""))
            failed += [
                Failure(
                    f"{measured.kind}.{series.name}", "major", self.term(series.title), breach(series), series.remedy
                )
                for series in measured.series
                if self.holding(measured, series) == "fails"
            ]
        worst_first = [severity.value for severity in Severity]
        return sorted(failed, key=lambda one: worst_first.index(one.severity))

    def holding(self, measured: Measurements, series: Series) -> Holding:
        """Whether a series keeps within its bounds."""
        return self.certificate.holding(measured, series)

    def bounds(self, series: Series) -> str:
        """What a series is held to."""
        parts = [
            self.words[name].format(value=figure(value, series.unit))
            for name, value in (("at_least", series.floor), ("at_most", series.ceiling))
            if value is not None
        ]
        return ", ".join(parts) or self.words["no_bounds"]


def _in_parts(text: str, terms: dict[str, str]) -> str:
    """A text whose parts are terms: `Writing (system disk)`, `bench: …`, `card 0`, `64 tokens`; else empty."""

    def told(part: str) -> str:
        return terms.get(part) or _in_parts(part, terms) or part

    head, _, inside = text.removesuffix(")").partition(" (")
    if inside and text.endswith(")") and head in terms:
        return f"{terms[head]}（{'，'.join(map(told, inside.split(', ')))}）"  # noqa: RUF001
    head, _, rest = text.partition(": ")
    if rest and head in terms:
        return f"{terms[head]}：{told(rest)}"  # noqa: RUF001
    before, _, last = text.rpartition(" ")
    if before in terms:
        return f"{terms[before]} {last}"
    if before.isdigit() and last in terms:
        return f"{before} {terms[last]}"
    listed = text.split(", ")
    return "、".join(map(told, listed)) if len(listed) > 1 and all(one in terms for one in listed) else ""


def breach(series: Series) -> str:
    """Which values are out of bounds."""
    found = [
        f"{figure(point.value, series.unit)}{f' ({series.over}: {point.at:g})' if series.over else ''}"
        for point in series.out_of_bounds[:3]
    ]
    more = len(series.out_of_bounds) - len(found)
    return ", ".join(found) + (f", +{more}" if more > 0 else "")


def figure(value: float, unit: str) -> str:
    """A value with its unit, to four digits."""
    return f"{value:.4g} {unit}".strip() if abs(value) < 10_000 else f"{value:.0f} {unit}".strip()

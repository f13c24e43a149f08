"""A certificate as a PDF, by ReportLab: pure Python, so that any controller can make one."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterator, Sequence
from typing import TypeAlias
from xml.sax.saxutils import escape

from reportlab.lib import colors
from reportlab.lib.enums import TA_LEFT, TA_RIGHT
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import (
    BaseDocTemplate,
    Flowable,
    Frame,
    KeepTogether,
    PageBreak,
    PageTemplate,
    Paragraph,
    Spacer,
    Table,
    TableStyle,
)

from boxwright.reports.certificate import from_json
from boxwright.reports.fonts import chinese_font
from boxwright.reports.measurements import Measurements, Series
from boxwright.reports.pdf_plot import drawing
from boxwright.reports.plot import plot
from boxwright.reports.view import View, breach, figure
from boxwright.signing import NAMESPACE


def _in_windows_1252(letter: str) -> bool:
    try:
        return bool(letter.encode("cp1252"))
    except UnicodeEncodeError:
        return False


_WIDTH = A4[0] - 30 * mm
_GREEN, _RED, _AMBER, _BLUE, _SOFT = (
    colors.HexColor(tone) for tone in ("#1a7f37", "#c4162a", "#9a6700", "#0550ae", "#57606a")
)
_LINE, _TINT = colors.HexColor("#d0d7de"), colors.HexColor("#f6f8fa")
_TONES = {
    "pass": _GREEN, "ok": _GREEN, "holds": _GREEN, "passed": _GREEN,
    "fail": _RED, "refused": _RED, "warning": _RED, "fails": _RED, "failed": _RED,
    "waived": _AMBER, "passed_with_waivers": _AMBER,
    "unproven": _BLUE, "no_bounds": _BLUE,
}  # fmt: skip
# What Helvetica, which every reader has, cannot write: everything beyond Windows-1252.
_LATIN = "".join(re.escape(chr(code)) for code in range(0x20, 0x3000) if _in_windows_1252(chr(code)))
_FOREIGN = re.compile(f"[^{_LATIN}]+")
_LONGEST = 2000  # letters of a cell

Cell: TypeAlias = str | Flowable


def pdf(signed: bytes, language: str) -> bytes:
    """The certificate as a PDF file.

    Args:
        signed: The certificate's JSON, byte for byte.
        language: One of `translation.LANGUAGES`.
    """
    view = View(from_json(signed), language)
    out = io.BytesIO()
    title = str(view.words["title"]).format(host=view.certificate.host)
    document = BaseDocTemplate(
        out,
        pagesize=A4,
        leftMargin=15 * mm,
        rightMargin=15 * mm,
        topMargin=15 * mm,
        bottomMargin=18 * mm,
        title=title,
        author=view.certificate.issued_by,
        subject=hashlib.sha256(signed).hexdigest(),
        creator=f"Boxwright {view.certificate.boxwright_version}",
        invariant=1,  # equal certificates are equal files
    )
    frame = Frame(document.leftMargin, document.bottomMargin, document.width, document.height, 0, 0, 0, 0)
    writer = _Writer(view)
    document.addPageTemplates(PageTemplate(frames=[frame], onPage=writer.foot))
    document.build(list(writer.story(hashlib.sha256(signed).hexdigest())))
    return out.getvalue()


class _Writer:
    """Puts the parts of a certificate on paper."""

    def __init__(self, view: View) -> None:
        self.view = view
        self.certificate = view.certificate
        self.font = chinese_font()
        self.chinese = view.language == "zh"

    def story(self, digest: str) -> Iterator[Flowable]:
        """Everything, in the order of the page."""
        yield from self._verdict()
        yield PageBreak()
        yield from self._found()
        yield from self._checks()
        for measured in self.certificate.measurements:
            yield from self._measured(measured)
        yield from self._record()
        yield from self._signature(digest)

    def foot(self, canvas: Canvas, document: BaseDocTemplate) -> None:
        """The foot of every page: whose it is, who signed, and its number."""
        words, certificate = self.view.words, self.certificate
        line = f"{certificate.host} · {certificate.serial or certificate.profile} · {certificate.signing_key}"
        number = str(words["page"]).format(number=document.page)
        for text, alignment in ((line, TA_LEFT), (number, TA_RIGHT)):
            foot = self._text(text, size=7.5, tone=_SOFT)
            foot.style.alignment = alignment
            foot.wrapOn(canvas, _WIDTH, 10 * mm)
            foot.drawOn(canvas, document.leftMargin, 10 * mm)

    def _verdict(self) -> Iterator[Flowable]:
        words, certificate = self.view.words, self.certificate
        yield self._text(self._say("title", host=certificate.host), size=20, bold=True)
        yield self._text(f"{certificate.profile}: {certificate.summary}", tone=_SOFT)
        yield Spacer(0, 4 * mm)
        tone = _TONES[certificate.verdict]
        banner = [
            [self._text(words[certificate.verdict], size=20, bold=True, tone=tone)],
            [self._text(words[f"{certificate.verdict}_means"], tone=tone)],
        ]
        box = [("BOX", (0, 0), (-1, -1), 1.5, tone), ("BACKGROUND", (0, 0), (-1, -1), _TINT)]
        pads = [(f"{side}PADDING", (0, 0), (-1, -1), 7) for side in ("LEFT", "RIGHT", "TOP", "BOTTOM")]
        yield Table(banner, colWidths=[_WIDTH], style=TableStyle([*box, *pads]))
        yield Spacer(0, 3 * mm)
        counts = [f"{count} {words[f'is_{outcome}']}" for outcome, count in self.view.counts.items()]
        yield self._text("   ·   ".join(counts), size=11, bold=True)
        for name, shown in (("twin", certificate.twin), ("without_stack", certificate.without_stack)):
            if shown:
                yield Spacer(0, 2 * mm)
                yield self._text(self._say(name, reason=certificate.without_stack), tone=_AMBER)
        yield Spacer(0, 3 * mm)
        yield self._facts(
            [
                (words["serial"], certificate.serial or words["no_serial"]),
                *self._both_serials(),
                *((words[name], getattr(certificate, name)) for name in ("host", "site", "profile", "issued_at")),
                *((words[name], getattr(certificate, name)) for name in ("issued_by", "signing_key")),
            ]
        )
        if failures := self.view.failures:
            yield from self._heading("what_fails")
            rows: list[list[Cell]] = [
                [
                    self._text(words[f"severity_{one.severity}"], bold=True, tone=_RED),
                    self._two(one.what, one.id),
                    self._two(one.found, self._remedy(one.remedy)),
                ]
                for one in failures
            ]
            yield self._table(["severity", "check", "found"], rows, (0.13, 0.37, 0.5))
        yield from self._heading("promised")
        yield self._facts([(self.view.term(one.what), one.found) for one in certificate.promised])

    def _both_serials(self) -> Iterator[tuple[str, str]]:
        """Both numbers of a box that has two, where one alone would hide the other."""
        words, certificate = self.view.words, self.certificate
        if certificate.serials_differ:
            yield (
                words["serials_differ"],
                self._say("serials_told", stated=certificate.stated_serial, firmware=certificate.firmware_serial),
            )

    def _found(self) -> Iterator[Flowable]:
        certificate, term = self.certificate, self.view.term
        yield from self._heading("serials")
        if certificate.serials:
            parts: list[list[Cell]] = [[term(one.part), one.name, one.serial] for one in certificate.serials]
            yield self._table(["part", "name", "number"], parts, (0.2, 0.4, 0.4))
        else:
            yield self._text(self.view.words["no_serials"])
        yield from self._heading("contract")
        lines: list[list[Cell]] = [
            [self._badge(one.verdict), self._two(term(one.promise), one.check), one.wanted, one.found]
            for one in certificate.contract
        ]
        yield self._table(["result", "check", "wanted", "found"], lines, (0.13, 0.37, 0.25, 0.25))
        yield from self._heading("machine")
        yield self._facts([(term(one.what), one.found) for one in certificate.machine])

    def _checks(self) -> Iterator[Flowable]:
        words = self.view.words
        yield PageBreak()
        yield from self._heading("checks")
        yield self._text(words["checks_why"], tone=_SOFT)
        rows: list[list[Cell]] = []
        for one in self.view.checks:
            remedy = self._remedy(one.remedy) if one.outcome.value in ("fail", "waived") else ""
            severity = words[f"severity_{one.severity.value}"]
            promise = self._two(self.view.term(one.title), f"{one.id} · {severity}")
            rows.append([self._badge(one.outcome.value), promise, self._two(one.evidence, remedy)])
        yield self._table(["result", "check", "evidence"], rows, (0.13, 0.4, 0.47))

    def _measured(self, measured: Measurements) -> Iterator[Flowable]:
        words, term = self.view.words, self.view.term
        yield PageBreak()
        yield from self._heading(measured.kind)
        if measured.stopped:
            yield self._text(f"{self._say('stopped', kind=words[measured.kind])}: {term(measured.stopped)}", tone=_RED)
        yield self._facts(
            [
                (words["measured_at"], measured.started_at),
                (words["measured_for"], figure(measured.seconds, "s")),
                (words["measured_by"], measured.tool),
                *((term(name), term(value)) for name, value in measured.conditions.items()),
            ]
        )
        yield Spacer(0, 4 * mm)
        rows = [self._series(measured, series) for series in measured.series]
        columns = ["measurement", "measured", "predicted", "held_to", "result"]
        yield self._table(columns, rows, (0.32, 0.22, 0.14, 0.16, 0.16))
        yield Spacer(0, 4 * mm)
        for series in measured.series:
            if lines := plot(series):
                picture = drawing(series, lines, self.view, _WIDTH, self.font)
                yield KeepTogether([self._text(term(series.title), bold=True), picture, Spacer(0, 3 * mm)])

    def _series(self, measured: Measurements, series: Series) -> list[Cell]:
        words, values = self.view.words, [point.value for point in series.points]
        told = [point.predicted for point in series.points if point.predicted is not None]
        single = len(values) == 1
        low, high = (figure(one, series.unit) for one in (min(values), max(values)))
        predicted = words["see_plot"] if told and not single else figure(told[0], series.unit) if told else "-"
        name = f"{measured.kind}.{series.name}" + (f" · {self.view.term(series.note)}" if series.note else "")
        holding = self.view.holding(measured, series)
        result: Cell = self._badge(holding)
        if series.out_of_bounds:
            result = self._two(words[f"is_{holding}"], breach(series), tone=_TONES[holding])
        return [
            self._two(self.view.term(series.title), name),
            low if single else self._say("from_to", low=low, high=high, count=len(values)),
            predicted,
            self.view.bounds(series),
            result,
        ]

    def _record(self) -> Iterator[Flowable]:
        words, certificate, term = self.view.words, self.certificate, self.view.term
        yield PageBreak()
        yield from self._heading("versions")
        if receipt := certificate.receipt:
            yield self._facts(
                [
                    (words["provisioned_at"], receipt.provisioned_at),
                    (words["provisioned_by"], receipt.by),
                    ("Boxwright", receipt.boxwright),
                    *([(words["bundle"], receipt.bundle.told)] if receipt.bundle else []),
                    (words["stages"], ", ".join(receipt.stages)),
                    *receipt.versions.items(),
                ],
                packages=True,
            )
            yield from self._heading("digests")
            digests: list[list[Cell]] = [[name, digest] for name, digest in receipt.digests.items()]
            yield self._table(["file", "digest"], digests, (0.4, 0.6))
            if certificate.evidence:
                yield from self._heading("evidence_files")
                files: list[list[Cell]] = [[one.name, f"sha256:{one.sha256}"] for one in certificate.evidence]
                yield self._table(["file", "digest"], files, (0.4, 0.6))
        else:
            yield self._text(words["no_receipt"])
        yield from self._heading("waivers")
        if certificate.waivers:
            waivers: list[list[Cell]] = [
                [one.check, one.by, one.reason, words["yes" if one.needed else "no"]] for one in certificate.waivers
            ]
            yield self._table(["check", "waived_by", "reason", "needed"], waivers, (0.22, 0.2, 0.36, 0.22))
        else:
            yield self._text(words["no_waivers"])
        yield from self._heading("unproven")
        yield self._text(words["unproven_why"], tone=_SOFT)
        gaps: list[list[Cell]] = [
            *([self._two(term(one.title), one.id), one.evidence] for one in self.view.unproven_checks),
            *([term(one.what), term(one.reason)] for one in certificate.unproven),
        ]
        yield self._table(["what", "reason"], gaps, (0.45, 0.55)) if gaps else self._text(words["nothing"])

    def _signature(self, digest: str) -> Iterator[Flowable]:
        words, key = self.view.words, self.certificate.signing_key
        yield from self._heading("signature")
        yield self._text(words["signature_why"])
        yield self._text(key, bold=True)
        yield self._text(words["signature_check"])
        yield self._text(f"./invoke report.check certificate.json --signer {key}", mono=True)
        yield self._text(words["signature_openssh"])
        command = f"ssh-keygen -Y check-novalidate -n {NAMESPACE} -s certificate.json.sig < certificate.json"
        yield self._text(command, mono=True)
        yield self._text(f"{words['signature_digest']} {digest}", tone=_SOFT)
        yield self._text(self._say("made", version=self.certificate.boxwright_version), tone=_SOFT)

    def _say(self, name: str, **values: object) -> str:
        """A sentence, filled in; what is filled in is escaped later, with all the rest."""
        return str(self.view.words[name]).format(**values)

    def _remedy(self, remedy: str) -> str:
        return f"{self.view.words['remedy']}: {remedy}" if remedy else ""

    def _heading(self, name: str) -> Iterator[Flowable]:
        yield Spacer(0, 4 * mm)
        heading = self._text(self.view.words[name], size=13, bold=True)
        heading.style.keepWithNext = 1
        yield heading

    def _badge(self, kind: str) -> Paragraph:
        return self._text(self.view.words[f"is_{kind}"], bold=True, tone=_TONES[kind])

    def _two(self, first: str, second: str, *, tone: colors.Color = colors.black) -> Cell:
        """A text, and a quieter one below it."""
        below = f'<br/><font size="7.5" color="#57606a">{self._marked(second)}</font>' if second else ""
        return self._paragraph(self._marked(first) + below, 9, tone)

    def _text(
        self, text: str, *, size: float = 9, bold: bool = False, mono: bool = False, tone: colors.Color = colors.black
    ) -> Paragraph:
        marked = self._marked(str(text))
        if bold:
            marked = f"<b>{marked}</b>"
        return self._paragraph(f'<font face="Courier">{marked}</font>' if mono else marked, size, tone)

    def _paragraph(self, marked: str, size: float, tone: colors.Color) -> Paragraph:
        style = ParagraphStyle(
            "text",
            fontName="Helvetica",
            fontSize=size,
            leading=size * 1.35,
            textColor=tone,
            alignment=TA_LEFT,
            splitLongWords=1,
            wordWrap="CJK" if self.chinese else None,
        )
        return Paragraph(marked, style)

    def _marked(self, text: str) -> str:
        """Text as ReportLab reads it: escaped, and in the Chinese font where Helvetica has no letter."""
        spoken = re.sub(r"[\x00-\x1f\x7f]", " ", text)
        if len(spoken) > _LONGEST:  # a cell has to fit on a page
            spoken = f"{spoken[:_LONGEST]} … (certificate.json)"
        pieces, place = [], 0
        for run in _FOREIGN.finditer(spoken):
            pieces.append(escape(spoken[place : run.start()]))
            pieces.append(f'<font face="{self.font}">{escape(run.group())}</font>')
            place = run.end()
        return "".join([*pieces, escape(spoken[place:])])

    def _facts(self, rows: Sequence[tuple[str, str]], *, packages: bool = False) -> Table:
        """Labels and what is said of each; names of packages keep their small letters."""
        named = [(label if packages else label[:1].upper() + label[1:], value) for label, value in rows]
        cells: list[list[Cell]] = [[self._text(label, bold=True), str(value)] for label, value in named]
        return self._table(None, cells, (0.28, 0.72))

    def _table(self, columns: Sequence[str] | None, rows: list[list[Cell]], shares: Sequence[float]) -> Table:
        body = [[self._text(cell) if isinstance(cell, str) else cell for cell in row] for row in rows]
        head = [[self._text(self.view.words[name], bold=True, tone=_SOFT) for name in columns]] if columns else []
        style = [
            ("VALIGN", (0, 0), (-1, -1), "TOP"),
            ("LINEBELOW", (0, 0), (-1, -1), 0.4, _LINE),
            ("LEFTPADDING", (0, 0), (-1, -1), 0),
            ("TOPPADDING", (0, 0), (-1, -1), 2),
            ("BOTTOMPADDING", (0, 0), (-1, -1), 3),
        ]
        if not head and not body:
            return Table([[""]])
        widths = [share * _WIDTH for share in shares]
        return Table(head + body, colWidths=widths, repeatRows=len(head), style=TableStyle(style))

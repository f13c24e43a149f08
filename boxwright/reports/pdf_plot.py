"""A series' drawing on paper: the same lines as on the page, whose origin is at the top."""

from __future__ import annotations

from reportlab.graphics.shapes import Circle, Drawing, Group, Line, PolyLine, String
from reportlab.lib import colors

from boxwright.reports.measurements import Series
from boxwright.reports.plot import HEIGHT, LEGEND, WIDTH, Place, Plot
from boxwright.reports.view import View, figure

_BLUE, _RED, _SOFT, _LINE = (colors.HexColor(tone) for tone in ("#0550ae", "#c4162a", "#57606a", "#d0d7de"))
_MOST_DOTS = 40


def drawing(series: Series, lines: Plot, view: View, width: float, chinese_font: str) -> Drawing:
    """A plot, so wide."""
    scale = width / WIDTH
    group = Group(transform=(scale, 0, 0, scale, 0, 0))

    def text(x: float, y: float, words: str, anchor: str, angle: float = 0) -> None:
        latin = all(ord(letter) < 0x100 for letter in words)
        said = String(0, 0, words, fontName="Helvetica" if latin else chinese_font, fontSize=11, fillColor=_SOFT)
        said.textAnchor = anchor
        turned = Group(said)
        turned.translate(x, HEIGHT - y)
        turned.rotate(angle)
        group.add(turned)

    def line(begin: Place, end: Place, tone: colors.Color, dash: list[int] | None = None) -> None:
        (x1, y1), (x2, y2) = begin, end
        group.add(Line(x1, HEIGHT - y1, x2, HEIGHT - y2, strokeColor=tone, strokeDashArray=dash))

    for tick in lines.y_ticks:
        line((lines.left, tick.place), (lines.right, tick.place), _LINE)
        text(lines.left - 8, tick.place + 4, tick.label, "end")
    for tick in lines.x_ticks:
        line((tick.place, lines.bottom), (tick.place, lines.bottom + 4), colors.black)
        text(tick.place, lines.bottom + 17, tick.label, "middle")
    line((lines.left, lines.bottom), (lines.right, lines.bottom), colors.black)
    text((lines.left + lines.right) / 2, lines.bottom + 35, view.term(series.over), "middle")
    text(14, (lines.top + lines.bottom) / 2, series.unit, "middle", 90)
    for name, height, bound, below in (
        ("at_least", lines.floor, series.floor, -5),
        ("at_most", lines.ceiling, series.ceiling, 14),
    ):
        if height is not None and bound is not None:
            line((lines.left, height), (lines.right, height), _RED, [7, 4])
            said = str(view.words[name]).format(value=figure(bound, series.unit))
            text(lines.right - 4, height + below, said, "end")
    if lines.predicted:
        group.add(PolyLine(_flat(lines.predicted), strokeColor=_SOFT, strokeDashArray=[2, 4], strokeWidth=1.5))
        line((lines.left, LEGEND), (lines.left + 24, LEGEND), _BLUE)
        text(lines.left + 30, LEGEND + 4, str(view.words["measured"]), "start")
        line((lines.left + 120, LEGEND), (lines.left + 144, LEGEND), _SOFT, [2, 4])
        text(lines.left + 150, LEGEND + 4, str(view.words["predicted"]), "start")
    group.add(PolyLine(_flat(lines.measured), strokeColor=_BLUE, strokeWidth=2))
    if len(lines.measured) <= _MOST_DOTS:
        for x, y in lines.measured:
            group.add(Circle(x, HEIGHT - y, 3, fillColor=_BLUE, strokeColor=None))
    return Drawing(width, HEIGHT * scale, group)


def _flat(places: tuple[Place, ...]) -> list[float]:
    return [number for x, y in places for number in (x, HEIGHT - y)]

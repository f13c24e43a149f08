"""What fits on a machine, as one self-contained HTML page with a picture of the cards' memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from boxwright.model.catalogue import GIB
from boxwright.sizing.fit import Fit
from boxwright.sizing.machine import Machine

_WIDTH = 600  # of a bar, in the drawing's own units


def spread_words(one: Fit, machine: Machine) -> str:
    """Where the model lies, in a few words."""
    if one.offloaded_layers is not None:
        architecture = one.model.architecture
        if one.offloaded_layers >= architecture.layers and architecture.experts:
            return "experts in memory"
        return f"{min(one.offloaded_layers, architecture.layers)} layers on cards"
    return str(one.spread) if machine.card else "processors"


@dataclass(frozen=True)
class Page:
    """An answer of `fit`.

    Attributes:
        title: Which machine, and what was asked of it.
        fits: Every way that was counted.
        machine: Where.
        verdict: One sentence on the model that was asked for; empty where none was.
        explanation: How to read it.
        nearest: What fits, where the model does not.
    """

    title: str
    fits: tuple[Fit, ...]
    machine: Machine
    verdict: str
    explanation: str
    nearest: tuple[Fit, ...] = ()

    def html(self) -> str:
        """The page. Whatever names stand in it are escaped."""
        from boxwright.page_templates import page_templates  # noqa: PLC0415  jinja2 is slow to load, and few answers are pages

        return (
            page_templates("fit")
            .get_template("page.html.j2")
            .render(
                title=self.title,
                verdict=self.verdict,
                good=any(one.fits for one in self.fits) and not self.nearest,
                explanation=self.explanation,
                card=self.machine.card.name if self.machine.card else "",
                width=_WIDTH,
                rows=[self._row(one) for one in self.fits],
                nearest=[self._row(one) for one in self.nearest],
            )
        )

    def _row(self, one: Fit) -> dict[str, Any]:
        """A way to serve a model, with the bar of its fullest card."""
        total = one.memory.total if one.memory else 0
        bar, at = [], 0.0
        for name, size in one.card_parts:
            wide = _WIDTH * size / total
            bar.append({"name": name, "x": round(at, 1), "width": round(wide, 1), "gib": f"{size / GIB:.1f}"})
            at += wide
        return {
            "model": one.model.id,
            "engine": one.engine,
            "quantization": one.quantization,
            "spread": spread_words(one, self.machine),
            "fits": one.fits,
            "requests": one.requests,
            "by_memory": one.requests_by_memory,
            "at_speed": one.requests_at_speed,
            "people": one.people,
            "speed": f"{one.speed_alone:.0f}" if one.speed_alone else "",
            "reason": "; ".join(one.reasons),
            "disk": f"{one.weight_bytes / 1e9:.0f}",
            "total": f"{total / GIB:.1f}",
            "bar": bar if one.fits else [],
        }

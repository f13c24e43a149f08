"""What a burn-in found, as series for the certificate, and what it could not find out. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from boxwright.burnin import cards
from boxwright.burnin.cards import Told, Tool
from boxwright.burnin.loads import Pass, Worked
from boxwright.burnin.network import Stream
from boxwright.burnin.session import Sample
from boxwright.model.catalogue import GIB
from boxwright.reports.measurements import Gap, Point, Series
from boxwright.verification.cards import Card

_MOST_POINTS = 240  # of a series over time: more say nothing that can be seen
_MOST_LINES = 5

# What the kernel says of broken hardware, in its log.
KERNEL_LOG = (
    r"NVRM: Xid|NVRM: GPU .*(fallen|lost)|AER: .*(error|Error)|\[Hardware Error\]|mce: .*[Ee]rror|"
    r"EDAC .*(CE|UE) |I/O error|nvme\d*: .*(timeout|reset|abort)|ata\d+(\.\d+)?: .*(failed command|exception)|"
    r"Machine check|temperature above threshold"
)

_IN_CONTAINER = "the host is a container, and what it sees of these is another machine's"


@dataclass(frozen=True)
class Counter:
    """Something that the machine counts and that must not happen.

    Attributes:
        name: As `readings.counters` has it.
        title: For people.
        absent: Why a machine does not count it.
        remedy: What to do where it was counted.
    """

    name: str
    title: str
    absent: str
    remedy: str


_COUNTERS = (
    Counter("machine_checks", "Machine check exceptions", "the processors tell none",
            "Read the kernel's log of that time: it names the processor or the memory module."),
    Counter("memory_corrected", "Memory errors that were corrected", "the kernel has no EDAC driver for the memory",
            "Find the module by ras-mc-ctl or the BMC's log, seat it anew, and replace it when it goes on."),
    Counter("memory_uncorrected", "Memory errors that could not be corrected",
            "the kernel has no EDAC driver for the memory", "Replace the module that the BMC's log names."),
    Counter("pcie_correctable", "PCIe errors that were corrected (AER)", "no PCIe device counts its errors",
            "Look which device counts (aer_dev_correctable), and seat its card or its riser anew."),
    Counter("pcie_nonfatal", "PCIe errors that were not fatal (AER)", "no PCIe device counts its errors",
            "Look which device counts (aer_dev_nonfatal), and seat its card or its riser anew."),
    Counter("pcie_fatal", "Fatal PCIe errors (AER)", "no PCIe device counts its errors",
            "Look which device counts (aer_dev_fatal), and replace its card or its riser."),
    Counter("throttled", "Times that a processor slowed down from heat", "the processors count none",
            "See to the fans, the air's way, and the coolers' seat."),
)  # fmt: skip


@dataclass
class Findings:
    """What is known so far of one host."""

    series: list[Series] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)

    def count(self, name: str, title: str, wrong: Sequence[str], remedy: str) -> None:
        """Something that must not happen at all."""
        note = "; ".join(wrong[:_MOST_LINES]) + ("; …" if len(wrong) > _MOST_LINES else "")
        self.series.append(_single(name, title, len(wrong), ceiling=0, note=note, remedy=remedy))

    def gap(self, what: str, reason: str) -> None:
        """Something that nobody could prove here."""
        if Gap(what=what, reason=reason) not in self.gaps:
            self.gaps.append(Gap(what=what, reason=reason))

    def cpu(self, found: Worked) -> None:
        """What the processors did."""
        remedy = "Read the kernel's log, see to the cooling, set the memory's speed back; else replace the processor."
        self.count("cpu.failures", "Wrong results of processors", found.failures, remedy)
        if found.per_second is not None:
            self.series.append(_single("cpu.rate", "Work of all processors", found.per_second, "bogo-ops/s"))

    def memory(self, found: Worked, size: int) -> None:
        """What the memory did."""
        remedy = "Find the module by memtest86+ or by halves, and replace it."
        self.count("memory.failures", "Memory that came back changed", found.failures, remedy)
        self.series.append(_single("memory.size", "Memory under load", size / GIB, "GiB"))

    def disk(self, name: str, passes: Sequence[Pass], size: int, *, direct: bool) -> None:
        """What a disk did, pass by pass."""
        wrong = [one.failure for one in passes if one.failure]
        remedy = "Look at the kernel's log and at smartctl --all; replace the disk when bytes came back changed."
        self.count(f"disk.{name}.failures", f"Failed passes over a file ({name} disk)", wrong, remedy)
        self.series.append(_single(f"disk.{name}.size", f"File under load ({name} disk)", size / GIB, "GiB"))
        note = "" if direct else "through the page cache, as there is no O_DIRECT here"
        for way, title in (("written", "Writing"), ("read", "Reading back")):
            points = [
                Point(at=number, value=rate)
                for number, one in enumerate(passes, 1)
                if (rate := getattr(one, way)) is not None
            ]
            if points:
                self.series.append(
                    Series(
                        name=f"disk.{name}.{way}",
                        title=f"{title} ({name} disk)",
                        unit="MB/s",
                        over="passes",
                        points=tuple(points),
                        note=note,
                    )
                )

    def streams(self, there: Stream, back: Stream) -> None:
        """What passed between the controller and the box."""
        wrong = [way for way, one in (("to the box", there), ("from the box", back)) if not one.whole]
        remedy = "Look at the counters of both ends' network ports, and change the cable or the port."
        self.count("network.controller.damaged", "Streams that came damaged (controller)", wrong, remedy)
        note = "through ssh, whose encryption may be slower than the cable"
        for name, title, one in (("to", "To the box", there), ("from", "From the box", back)):
            of_one = _single(f"network.controller.{name}", f"{title} (controller)", one.gbit_s, "Gbit/s", note=note)
            self.series.append(of_one)

    def node(self, name: str, rates: Mapping[str, tuple[float | None, str]]) -> None:
        """What passed between two nodes of a box."""
        own = identifier(name)
        wrong = [f"{way}: {why}" for way, (rate, why) in rates.items() if rate is None]
        remedy = "Look whether the nodes reach each other on networks.compute, and at cables and switch."
        self.count(f"network.node_{own}.failures", f"Failed transfers (node {name})", wrong, remedy)
        for way, (rate, _) in rates.items():
            if rate is not None:
                title = f"{'To' if way == 'to' else 'From'} another node (node {name})"
                self.series.append(_single(f"network.node_{own}.{way}", title, rate, "Gbit/s"))

    def tool(self, tool: Tool, told: Told) -> None:
        """What a program for cards found."""
        if told.nothing:
            self.gap(tool.title, told.nothing)
            return
        remedy = "Read the kernel's log for an Xid, seat the card and its power anew, and replace it when it goes on."
        self.count(f"gpu.{tool.name}.failures", f"What failed on cards ({tool.title})", told.failures, remedy)
        for name, rate in told.rates.items():
            series = f"gpu.{tool.name}.{identifier(name)}"
            self.series.append(_single(series, f"Bandwidth of cards ({tool.title}, {name})", rate, "GB/s"))

    def under_load(self, loaded: int, promised: int, why: str) -> None:
        """How many cards were under load and judged. None is a failure: a burn-in that left them cold proves nothing.

        Args:
            loaded: So many were.
            promised: So many should have been.
            why: What kept the others from it; empty where nothing did.
        """
        remedy = "docs/verbs/burnin.md says how to get the programs. Or set burnin.gpu.under_load aside by a waiver."
        point = Point(value=loaded)
        self.series.append(
            Series(
                name="gpu.under_load",
                title="Cards that were under load and judged",
                points=(point,),
                floor=promised,
                note=why if loaded < promised else "",
                remedy=remedy,
            )
        )

    def without_programs(self, missing: Sequence[str]) -> None:
        """Programs for cards that could not run, as they are not on the box."""
        remedy = "docs/verbs/burnin.md says how to get them. Or set burnin.gpu.programs aside by a waiver."
        self.count("gpu.programs", "Programs for cards that are not on the box", missing, remedy)

    def other_cards(self, before: Sequence[Card], after: Sequence[Card], tool: str) -> None:
        """What the tool of another maker than NVIDIA says of its cards behind the loads, and counted meanwhile.

        Args:
            before: The cards before the loads.
            after: The same cards behind them.
            tool: That told.
        """
        remedy = "Read the kernel's log, seat the card and its power anew, and replace it when it goes on."
        gone = sorted({card.slot for card in before} - {card.slot for card in after})
        unwell = [f"{card.slot}: {card.trouble}" for card in after if card.trouble]
        self.count("gpu.unwell", "Cards that their maker's tool calls unwell", [*unwell, *gone], remedy)
        counted = {card.slot: card.uncorrected for card in before}
        for number, card in enumerate(after):
            old = counted.get(card.slot)
            if card.uncorrected is None or old is None:
                self.gap("memory errors of cards (ECC)", "the cards tell no memory errors")
                continue
            title = f"Memory errors that could not be corrected (card {number})"
            why = f"Replace the card when it goes on: {tool}."
            value = max(0, card.uncorrected - old)
            self.series.append(_single(f"gpu.{number}.uncorrected", title, value, ceiling=0, remedy=why))

    def counters(self, before: Mapping[str, int], after: Mapping[str, int], *, container: bool, smart: bool) -> None:
        """What the machine counted from before the loads until after them."""
        known = {one.name: one for one in _COUNTERS}
        for name in sorted(before.keys() & after.keys()):
            own = known.get(name) or _counter_of_part(name)
            value = 1 if name.endswith("_failing") and after[name] else max(0, after[name] - before[name])
            self.series.append(_single(f"errors.{name}", own.title, value, ceiling=0, remedy=own.remedy))
        for one in _COUNTERS:
            if one.name not in before:
                self.gap(one.title, _IN_CONTAINER if container else one.absent)
        if not any(name.startswith("disk.") for name in before):
            no_disk = "no disk tells of its health" if smart else "smartctl is not on the box"
            self.gap("health of disks (SMART)", _IN_CONTAINER if container else no_disk)

    def kernel_log(self, lines: Sequence[str] | None, *, container: bool) -> None:
        """What the kernel said meanwhile: Xid, AER, machine checks, disks."""
        title = "Lines about broken hardware in the kernel's log"
        if lines is None:
            self.gap(title, _IN_CONTAINER if container else "the journal has no kernel log")
            return
        self.count("errors.kernel_log", title, lines, "Look each line up; for an Xid in NVIDIA's table of them.")

    def sensors(
        self, samples: Sequence[Sample], crit: Mapping[str, float | None], slowdown: Mapping[str, float], *,
        container: bool, asked_cards: bool,
    ) -> None:  # fmt: skip
        """Temperatures and cards over time."""
        for name in sorted({name for one in samples for name in one.celsius}):
            values = [(one.at, one.celsius[name]) for one in samples if name in one.celsius]
            self.series.append(_over_time(f"temperature.{name}", f"Temperature ({name})", "°C", values, crit.get(name)))
        if not any(one.celsius for one in samples):
            self.gap("temperatures", _IN_CONTAINER if container else "the kernel knows no sensor of this machine")
        numbers = sorted({number for one in samples for number in one.cards}, key=int)
        for number in numbers:
            rows = [(one.at, cards.row(one.cards[number])) for one in samples if number in one.cards]
            self.series.extend(_card(number, rows, slowdown.get(number)))
        if any("corrected" not in cards.row(rows) for one in samples[-1:] for rows in one.cards.values()):
            self.gap("memory errors of cards (ECC)", "the cards tell no memory errors")
        if asked_cards and not numbers:
            self.gap("temperature, power and memory errors of cards", "nvidia-smi told nothing on the box")


def _card(number: str, rows: Sequence[tuple[float, dict[str, float]]], slowdown: float | None) -> Iterator[Series]:
    remedy = "See to the fans and the air's way; a card that stays too hot is seated badly or has dried paste."
    for name, title, unit, ceiling in (("celsius", "Temperature", "°C", slowdown), ("watts", "Power", "W", None)):
        values = [(at, row[name]) for at, row in rows if name in row]
        if values:
            yield _over_time(f"gpu.{number}.{name}", f"{title} (card {number})", unit, values, ceiling)
    for name, title in (
        ("corrected", "Memory errors that were corrected"),
        ("uncorrected", "Memory errors that could not be corrected"),
    ):
        counted = [row[name] for _, row in rows if name in row]
        if counted:
            value, why = max(0, counted[-1] - counted[0]), "Replace the card when it goes on: nvidia-smi -q -d ECC."
            yield _single(f"gpu.{number}.{name}", f"{title} (card {number})", value, ceiling=0, remedy=why)
    hot = [row["too_hot"] for _, row in rows if "too_hot" in row]
    if hot:
        title = f"Seconds in which heat slowed it down (card {number})"
        yield _single(f"gpu.{number}.slowed", title, sum(hot), "s", ceiling=0, remedy=remedy)


def _counter_of_part(name: str) -> Counter:
    """Counters of which a machine has one a port or a disk."""
    kind, _, part = name.partition(".")
    if kind == "network":
        remedy = "Change the cable or the port, and look at the other end's counters."
        return Counter(name, f"Damaged frames (port {part})", "", remedy)
    disk = part.rpartition("_")[0]
    title = "Expects to fail" if part.endswith("_failing") else "Damaged places"
    return Counter(name, f"{title} (disk {disk})", "", "Replace the disk.")


def identifier(text: str) -> str:
    """A name as a series has it."""
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")


def _single(
    name: str, title: str, value: float, unit: str = "", *, ceiling: float | None = None, note: str = "",
    remedy: str = "",
) -> Series:  # fmt: skip
    point = Point(value=round(value, 4))
    return Series(name=name, title=title, unit=unit, points=(point,), ceiling=ceiling, note=note, remedy=remedy)


def _over_time(
    name: str, title: str, unit: str, values: Sequence[tuple[float, float]], ceiling: float | None
) -> Series:
    remedy = "See to the fans, the air's way, and the room's temperature." if ceiling is not None else ""
    return Series(
        name=name,
        title=title,
        unit=unit,
        over="seconds",
        points=tuple(Point(at=at, value=round(value, 1)) for at, value in _fewer(values)),
        ceiling=ceiling,
        remedy=remedy,
    )


def _fewer(values: Sequence[tuple[float, float]]) -> Iterable[tuple[float, float]]:
    """The highest of each of so many equal stretches: what is held to a ceiling is never left out."""
    distinct = sorted(dict(values).items())
    step = -(-len(distinct) // _MOST_POINTS)
    for begin in range(0, len(distinct), max(1, step)):
        yield max(distinct[begin : begin + step], key=lambda one: one[1])

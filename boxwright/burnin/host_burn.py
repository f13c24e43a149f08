"""One host's way through a burn-in: the parts one after the other, counters before and after, sensors all the time."""

from __future__ import annotations

import re
import secrets
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from boxwright.burnin import cards, loads, network, unit
from boxwright.burnin.cards import Asked, Told, Tool
from boxwright.burnin.findings import KERNEL_LOG, Findings
from boxwright.burnin.loads import Ended, Pass
from boxwright.burnin.ring import Ring
from boxwright.burnin.session import Sample, Session
from boxwright.burnin.wish import Part, Wish
from boxwright.console import RunView
from boxwright.engines.events import Event, Phase
from boxwright.errors import BoxwrightError
from boxwright.model.site import Host
from boxwright.provisioning.target import Target
from boxwright.verification.cards import MAKERS, Card, Maker, Said, asked

_OVER_S = 60  # that a load may take beyond its time before it is ended
_DISK_PATIENCE = 4  # times the time of a part, for a slow disk's one pass
_PROGRAMS = {"stress-ng": "stress-ng", "fio": "fio", "iperf3": "iperf"}
_LEAST_S = 2  # of a stream


@dataclass
class HostBurn:
    """A burn-in of one host, in a thread of its own.

    Attributes:
        target: The fleet.
        host: The host.
        wish: Which parts, for how long.
        stop: Set by whoever wants all of them to end early.
        lost: Set when the lock of this box is lost.
        view: Told how it goes.
        ring: The nodes of its box.
        findings: What is known so far.
        tools: The programs that loaded it, with their versions.
    """

    target: Target
    host: Host
    wish: Wish
    stop: threading.Event
    view: RunView
    ring: Ring
    findings: Findings = field(default_factory=Findings)
    tools: str = "Boxwright"
    part: Part | None = None
    lost: threading.Event = field(default_factory=threading.Event)
    _part_began: float = 0.0
    _part_s: int = 0
    _doing: str = ""

    def run(self) -> None:
        """Go through all parts.

        Raises:
            StoppedError: It ended before its time.
            UnreachableError: The box cannot be entered.
            BoxwrightError: There is no room for it on the box, or the box could not do it.
        """
        profile = self.target.fleet.profile
        asked_cards = "gpu" in self.wish.parts and not self.target.fleet.foreign_cards
        files = unit.files_of(profile.stack.models_directory)
        endpoint, limit = self.target.endpoint(self.host), self._longest()
        with Session(
            endpoint, files, limit, self._why_stop, cards=cards.WATCH if asked_cards else (), on_sample=self._on_sample
        ) as session:
            makers = (maker.tool for maker in MAKERS.values())
            tools = (*_PROGRAMS, "smartctl", *(tool.name for tool in cards.TOOLS), *makers)
            found = session.ask("look", tools=tools, files=files)
            self._check_room(found)
            self.tools = self._versions(session, found["tools"])
            before = self._counters(session, found)
            well = self._other_cards(session, found)
            for part in self.wish.parts:
                self._through(part, session, found, files)
            self._after(session, found, before, asked_cards=asked_cards)
            if well is not None:
                self.findings.other_cards(well, self._other_cards(session, found) or (), self._maker().tool)

    def _why_stop(self) -> str:
        if self.stop.is_set():
            return "it was interrupted"
        return "the connection that held the box's deploy lock broke" if self.lost.is_set() else ""

    def _longest(self) -> int:
        parts, seconds = len(self.wish.parts), self.wish.seconds
        return parts * (seconds + 2 * _OVER_S) + _DISK_PATIENCE * 2 * seconds + 600

    def _check_room(self, found: dict[str, Any]) -> None:
        """Refuse before the first load what one of them has no room for."""
        if "memory" in self.wish.parts:
            loads.memory_size(found["available_bytes"], self.host.name)
        if "disk" in self.wish.parts:
            for name, disk in _disks(found):
                loads.file_size(disk["free"], disk["total"], self.wish.seconds, f"{self.host.name}, {name} disk")

    def _versions(self, session: Session, tools: dict[str, str]) -> str:
        told = []
        for program, name in _PROGRAMS.items():
            if program in tools:
                out = self._run(session, [program, "--version"], 10).out
                version = re.search(r"\d+(\.\d+)+", out)
                told.append(f"{name} {version[0]}" if version else name)
        return ", ".join(told) or "Boxwright"

    @staticmethod
    def _counters(session: Session, found: dict[str, Any]) -> dict[str, int]:
        return session.ask("counters", smartctl=found["tools"].get("smartctl", ""), patience_s=300)

    def _through(self, part: Part, session: Session, found: dict[str, Any], files: dict[str, str]) -> None:
        begun = time.monotonic()
        self.part, self._part_began, self._part_s = part, begun, self.wish.seconds
        self.view.stage(self.host.name, part, "running", 0.0)
        known = len(self.findings.series)
        getattr(self, f"_{part}")(session, found, files)
        for one in self.findings.series[known:]:
            if one.out_of_bounds:
                self.view.note(self.host.name, f"{one.title}: {one.points[-1].value:g}. {one.note}")
        self.view.stage(self.host.name, part, "ok", time.monotonic() - begun)

    def _cpu(self, session: Session, *_: Any) -> None:
        self._doing = "stress-ng: every method, verified"
        self.findings.cpu(loads.worked(self._run(session, loads.cpu(self._part_s), self._part_s + _OVER_S), "cpu"))

    def _memory(self, session: Session, found: dict[str, Any], _: Any) -> None:
        size = loads.memory_size(found["available_bytes"], self.host.name)
        self._doing = f"stress-ng: {size / (1 << 30):.1f} GiB, every pattern"
        argv = loads.memory(self._part_s, found["processors"], size)
        self.findings.memory(loads.worked(self._run(session, argv, self._part_s + 2 * _OVER_S), "vm"), size)

    def _disk(self, session: Session, found: dict[str, Any], files: dict[str, str]) -> None:
        disks = list(_disks(found))
        for name, disk in disks:
            size = loads.file_size(disk["free"], disk["total"], self._part_s // len(disks), self.host.name)
            self._doing = f"fio: {name} disk, a file of {size / (1 << 30):.1f} GiB"
            session.ask("allocate", file=files[name], bytes=size, patience_s=600)
            until, passes = time.monotonic() + self._part_s / len(disks), list[Pass]()
            while not passes or (time.monotonic() < until and not passes[-1].failure):
                argv = loads.disk(files[name], size, secrets.randbits(31), direct=disk["direct"])
                passes.append(loads.disk_pass(self._run(session, argv, _DISK_PATIENCE * self._part_s + _OVER_S)))
            session.ask("allocate", file=files[name], bytes=0)
            self.findings.disk(name, passes, size, direct=disk["direct"])

    def _network(self, session: Session, *_: Any) -> None:
        shares = 2 if len(self.ring) > 1 else 1
        seconds = max(_LEAST_S, self._part_s / shares / 2)
        endpoint = self.target.endpoint(self.host)
        self._doing = "to the box, through ssh"
        there = network.to_box(endpoint, seconds, session.check)
        self._doing = "from the box, through ssh"
        self.findings.streams(there, network.from_box(endpoint, seconds, session.check))
        if len(self.ring) > 1:
            self._between_nodes(session, max(_LEAST_S, int(self._part_s / shares / 2 / len(self.ring))))

    def _between_nodes(self, session: Session, seconds: int) -> None:
        peer, serve = self.ring.next_of(self.host), loads.serving(self.ring.address_of(self.host))
        self._doing = "waiting for the other nodes"
        begun = session.ask("serve", argv=serve)
        self.ring.meet(self.host, session.check)
        rates = {}
        for way in ("to", "from"):
            with self.ring.turn(session.check):
                self._doing = f"iperf3: {way} {peer.name}"
                argv = loads.sending(self.ring.address_of(peer), seconds, back=way == "from")
                rates[way] = loads.sent(self._run(session, argv, seconds + _OVER_S))
        self.findings.node(peer.name, rates)
        self._doing = "waiting for the other nodes"
        self.ring.meet(self.host, session.check)
        session.ask("rest", argv=serve)
        if begun["code"] is not None:
            self.findings.gap(f"network to {self.host.name}", loads.last_words(begun["out"]))

    def _gpu(self, session: Session, found: dict[str, Any], _: Any) -> None:
        fleet = self.target.fleet
        asked, twin = Asked.of(fleet.profile.hardware.accelerators), fleet.site.twin is not None
        if fleet.foreign_cards:
            self.findings.gap("temperature and power of cards", "Boxwright asks NVIDIA's alone for them")
            why = f"Boxwright loads NVIDIA's alone, and not {fleet.foreign_cards[0]}"
            if twin:
                self.findings.gap("cards under load", why)
            else:
                self.findings.under_load(0, asked.count, why)
            return
        loaded, missing = 0, list[str]()
        for tool in cards.TOOLS:
            path = found["tools"].get(tool.name)
            if path:
                told = self._tool(session, tool, path, asked)
                loaded = max(loaded, told.loaded)
            elif twin or not cards.demanded(tool, asked):
                self.findings.gap(f"cards under load ({tool.title})", f"{tool.name} is not on the box")
            else:
                missing.append(tool.name)
        if not twin:  # what cannot run on a machine that has cards has failed; a twin has none
            self.findings.under_load(loaded, asked.count, "gpu_burn judged no more of them")
            self.findings.without_programs(missing)

    def _maker(self) -> Maker:
        """Whose cards these are."""
        groups = self.target.fleet.profile.hardware.accelerators
        return MAKERS[groups[0].pci_id.partition(":")[0]]

    def _other_cards(self, session: Session, found: dict[str, Any]) -> list[Card] | None:
        """What the tool of another maker than NVIDIA says of its cards; None where it cannot be asked."""
        fleet = self.target.fleet
        vendors = {group.pci_id.partition(":")[0] for group in fleet.profile.hardware.accelerators}
        if "gpu" not in self.wish.parts or not fleet.foreign_cards or fleet.site.twin or len(vendors) != 1:
            return None
        maker = MAKERS.get(next(iter(vendors)))
        if maker is None or maker.tool not in found["tools"]:
            self.findings.gap("health and memory errors of cards", "their maker's tool is not on the box")
            return None
        try:
            return maker.read(list(asked(maker, lambda argv: self._answer(session, argv))))
        except BoxwrightError as error:
            self.findings.gap("health and memory errors of cards", error.message)
            return None

    def _answer(self, session: Session, argv: Sequence[str]) -> Said:
        ended = self._run(session, argv, 60)
        return {"code": ended.code, "out": ended.out, "err": ended.out}

    def _tool(self, session: Session, tool: Tool, path: str, asked: Asked) -> Told:
        self._doing = tool.title
        seconds = max(1, int(self._part_s * tool.share))
        argv = [path, *tool.argv(seconds, asked)]
        # gpu_burn finds its kernel beside itself alone.
        folder = path.rpartition("/")[0] if tool.name == "gpu_burn" else unit.FOLDER
        told = tool.read(self._run(session, argv, max(seconds, 600) + _OVER_S, folder=folder))
        self.findings.tool(tool, told)
        return told

    def _after(self, session: Session, found: dict[str, Any], before: dict[str, int], *, asked_cards: bool) -> None:
        container = found["container"]
        after = self._counters(session, found)
        self.findings.counters(before, after, container=container, smart="smartctl" in found["tools"])
        log = session.ask("kernel_log", since=found["clock"], pattern=KERNEL_LOG, patience_s=120)
        self.findings.kernel_log(log["lines"], container=container)
        slowdown = self._slowdown(session, found) if asked_cards else {}
        self.findings.sensors(
            session.samples, found["sensors"], slowdown, container=container, asked_cards=asked_cards
        )  # fmt: skip

    def _slowdown(self, session: Session, found: dict[str, Any]) -> dict[str, float]:
        """Degrees at which NVIDIA's cards slow down; nothing where their driver is not on the box, as on a twin."""
        known = cards.LIMITS[0] in found["tools"]
        return cards.slowdown(self._run(session, cards.LIMITS, 60).out) if known else {}

    def _run(self, session: Session, argv: Sequence[str], limit: float, **order: Any) -> Ended:
        return Ended(**session.ask("run", argv=list(argv), limit=limit, patience_s=limit + 30, **order))

    def _on_sample(self, sample: Sample) -> None:
        """Say once a second how far it is."""
        if self.part is None:
            return
        gone = min(self._part_s, int(time.monotonic() - self._part_began))
        degrees = [*sample.celsius.values(), *(cards.row(one).get("celsius", 0.0) for one in sample.cards.values())]
        heat = f", {max(degrees):.0f} °C" if degrees else ""
        message = f"{gone} of {self._part_s} s{heat}"
        started = Phase.STARTED
        self.view.event(
            Event(host=self.host.name, stage=self.part, resource=self._doing, phase=started, message=message)
        )


def _disks(found: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """The disks that have a file: those that lie on one are one."""
    distinct: dict[int, tuple[str, dict[str, Any]]] = {}
    for name, disk in found["files"].items():
        distinct.setdefault(disk["device"], (name, disk))
    return list(distinct.values())

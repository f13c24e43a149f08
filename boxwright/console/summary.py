"""What remains to be told after a run: how long each stage took on each host, and how much it changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.text import Text

from boxwright.console.run_state import HostProgress, HostState, RunProgress, StageProgress
from boxwright.console.text import duration, one_line
from boxwright.engines.events import Outcome

_STYLE = {
    "ok": "",
    "changed": "yellow",
    "failed": "bold red",
    "skipped": "dim",
    "running": "yellow",
    HostState.DONE: "green",
    HostState.FAILED: "bold red",
    HostState.STOPPED: "yellow",
    HostState.WAITING: "dim",
    HostState.BUSY: "cyan",
}


@dataclass(frozen=True, slots=True)
class Grid:
    """A table before it is drawn."""

    title: str
    columns: list[str]
    rows: list[list[Text]]


def summary_fields(progress: RunProgress, now: float) -> list[dict[str, Any]]:
    """Return the payload of each host's JSON line."""
    return [
        {
            "host": host.name,
            "state": str(host.state),
            "seconds": round(host.seconds(now), 3),
            **{str(outcome): host.outcomes[outcome] for outcome in Outcome},
            "stages": {
                name: {
                    "state": stage.state or "waiting",
                    "seconds": round(stage.seconds, 3),
                    "changed": stage.changed,
                }
                for name, stage in host.stages.items()
            },
        }
        for host in progress.hosts.values()
    ]


def summary_grids(progress: RunProgress, now: float, width: int) -> list[Grid]:
    """Return the summary as tables: stages down the page for one host, across it for several.

    Stages that do not fit in `width` columns beside each other go into a further table.
    """
    hosts = list(progress.hosts.values())
    if len(hosts) == 1:
        return [_one_host(hosts[0], now)]
    names = list(dict.fromkeys(stage for host in hosts for stage in host.stages))
    groups = _fitting(names, hosts, width)
    grids = [_many_hosts(hosts, now, names, with_totals=index == 0) for index, names in enumerate(groups)]
    return grids or [_many_hosts(hosts, now, [], with_totals=True)]


def _one_host(host: HostProgress, now: float) -> Grid:
    rows = [
        [
            Text(one_line(name)),
            Text(stage.state or "waiting", style=_STYLE.get(stage.state or "", "dim")),
            Text(duration(stage.seconds) if stage.ended else ""),
            Text(str(stage.changed or "")),
        ]
        for name, stage in host.stages.items()
    ]
    rows.append([Text("all", style="bold"), _state(host), Text(duration(host.seconds(now))), _changed(host)])
    return Grid(one_line(host.name), ["Stage", "Result", "Time", "Changed"], rows)


def _many_hosts(hosts: Sequence[HostProgress], now: float, stages: list[str], *, with_totals: bool) -> Grid:
    totals = ["Result", "Time", "Changed"] if with_totals else []
    rows = [
        [
            Text(one_line(host.name), style="bold"),
            *([_state(host), Text(duration(host.seconds(now))), _changed(host)] if with_totals else []),
            *(_cell(host.stages.get(stage, StageProgress())) for stage in stages),
        ]
        for host in hosts
    ]
    title = "Time of each stage, in brackets how much it changed" if with_totals else ""
    return Grid(title, ["Host", *totals, *stages], rows)


def _cell(stage: StageProgress) -> Text:
    if not stage.ended:
        return Text("-", style="dim")
    if stage.state == "skipped":
        return Text("skipped", style="dim")
    failed = " failed" if stage.state == "failed" else ""
    changed = f" ({stage.changed})" if stage.changed else ""
    return Text(f"{duration(stage.seconds)}{changed}{failed}", style=_STYLE[stage.state or "ok"])


def _state(host: HostProgress) -> Text:
    return Text(str(host.state), style=_STYLE[host.state])


def _changed(host: HostProgress) -> Text:
    return Text(str(host.outcomes[Outcome.CHANGED]))


def _fitting(names: list[str], hosts: Sequence[HostProgress], width: int) -> list[list[str]]:
    """Return the stages in groups whose columns fit beside each other."""
    gap = 3  # two spaces and the place of a rule
    host_width = max((len(host.name) for host in hosts), default=0) + gap
    used = host_width + sum(max(len(title), 8) + gap for title in ("Result", "Time", "Changed"))
    groups: list[list[str]] = [[]]
    for name in names:
        cells = (_cell(host.stages.get(name, StageProgress())).cell_len for host in hosts)
        column = max(len(name), *cells) + gap
        if groups[-1] and used + column > width:
            groups.append([])
            used = host_width
        groups[-1].append(name)
        used += column
    return groups

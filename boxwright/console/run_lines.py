"""How a run looks: live lines on a terminal, one a host, or the lines of a plain log."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from boxwright.console.run_state import HostProgress, HostState, RunProgress
from boxwright.console.symbols import Symbols
from boxwright.console.text import counted, duration, one_line, padded, shortened
from boxwright.engines.events import Outcome

_STYLE = {
    HostState.WAITING: "dim",
    HostState.BUSY: "cyan",
    HostState.DONE: "green",
    HostState.FAILED: "red",
    HostState.STOPPED: "yellow",
}
# What a person wants to see first when not all hosts fit on the screen.
_URGENCY = [HostState.FAILED, HostState.BUSY, HostState.STOPPED, HostState.WAITING, HostState.DONE]
_LONG_RESOURCE = 10.0  # seconds after which a resource shows its own time


def live_lines(progress: RunProgress, now: float, symbols: Symbols, height: int) -> Table:
    """Return one line for each host, at most `height` of them: finished hosts give way first."""
    hosts = list(progress.hosts.values())
    shown, hidden = hosts, []
    if len(hosts) > height and not progress.closed:
        urgent = sorted(hosts, key=lambda host: _URGENCY.index(host.state))
        shown, hidden = urgent[: max(1, height - 1)], urgent[max(1, height - 1) :]
    # Text is cut, not wrapped: a host has one line. Rich's own ellipsis is a sign that ASCII lacks.
    overflow = "ellipsis" if symbols.ellipsis == "…" else "crop"
    grid = Table.grid(padding=(0, 1), expand=True)
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True, overflow="crop", max_width=32)
    grid.add_column(no_wrap=True, overflow=overflow, ratio=1)  # type: ignore[arg-type]
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True, justify="right", min_width=5)
    for host in shown:
        grid.add_row(
            Text(_sign(host, now, symbols), style=_STYLE[host.state]),
            _name(host),
            _activity(host, now, len(progress.stages)),
            _counters(host),
            Text(_clock(host, now), style="dim"),
        )
    if hidden:
        grid.add_row("", "", Text(f"and {_census(hidden)}", style="dim"), "", "")
    return grid


def stage_line(progress: RunProgress, host: HostProgress, stage: str) -> str:
    """Return the plain line of a stage that ended."""
    at = host.stages[stage]
    changed = f", {at.changed} changed" if at.changed else ""
    return f"{_columns(progress, host, stage)}  {at.state} after {duration(at.seconds)}{changed}"


def failure_line(progress: RunProgress, host: HostProgress) -> str:
    """Return the plain line of a host's latest failure."""
    failure = host.failures[-1]
    kind = "unreachable" if failure.unreachable else "failed"
    resource = f"{one_line(failure.resource)}: " if failure.resource else ""
    why = shortened(one_line(failure.message), 200) or "no reason given"
    return f"{_columns(progress, host, failure.stage)}  {kind}: {resource}{why}"


def heartbeat_line(progress: RunProgress, host: HostProgress, now: float) -> str:
    """Return the plain line of a host that has had nothing to report for a while."""
    detail = f" ({shortened(one_line(host.detail), 200)})" if host.detail else ""
    activity = one_line(host.resource) or "at work"
    return (
        f"{_columns(progress, host, host.stage)}  busy for {duration(host.seconds(now))}: "
        f"{activity}{detail}, for {duration(now - host.resource_began)}"
    )


def note_line(progress: RunProgress, host: str, text: str) -> str:
    """Return the line of a remark about a host."""
    return f"{padded(one_line(host), _host_width(progress))}  {one_line(text)}"


def _columns(progress: RunProgress, host: HostProgress, stage: str) -> str:
    stage_width = max(map(len, [*progress.stages, stage]))
    return f"{padded(one_line(host.name), _host_width(progress))}  {padded(one_line(stage), stage_width)}"


def _host_width(progress: RunProgress) -> int:
    return max((len(name) for name in progress.hosts), default=0)


def _sign(host: HostProgress, now: float, symbols: Symbols) -> str:
    if host.state is HostState.BUSY:
        return symbols.frame(now)
    return {HostState.DONE: symbols.done, HostState.FAILED: symbols.failed}.get(host.state, symbols.waiting)


def _name(host: HostProgress) -> Text:
    """A host by its name, and by the number that whoever stands before the box reads."""
    text = Text(one_line(host.name), style="bold")
    return text.append(f" {one_line(host.serial)}", style="not bold dim") if host.serial else text


def _activity(host: HostProgress, now: float, stages: int) -> Text:
    """Return what a host does, or how it ended."""
    if host.state is HostState.WAITING:
        return Text("waiting", style="dim")
    if host.state is HostState.DONE:
        return Text(f"done in {duration(host.seconds(now))}", style="green")
    if host.state is not HostState.BUSY:
        where = f" in {one_line(host.stage)}" if host.stage else ""
        return Text(f"{host.state}{where} after {duration(host.seconds(now))}", style=_STYLE[host.state])
    text = Text()
    if stages > 1:
        text.append(f"{min(host.stages_ended + 1, stages)}/{stages} ", style="dim")
    text.append(one_line(host.stage), style="cyan")
    if host.resource:
        text.append(f"  {shortened(one_line(host.resource))}")
    if host.detail:
        text.append(f"  {shortened(one_line(host.detail))}", style="magenta")
    elif host.resource and now - host.resource_began >= _LONG_RESOURCE:
        text.append(f"  {duration(now - host.resource_began)}", style="dim")
    return text


def _counters(host: HostProgress) -> Text:
    text = Text()
    if not host.outcomes:
        return text
    text.append(f"{host.outcomes[Outcome.OK]} ok", style="dim")
    if host.outcomes[Outcome.CHANGED]:
        text.append(f" {host.outcomes[Outcome.CHANGED]} changed", style="yellow")
    if host.failed:
        text.append(f" {host.failed} failed", style="red")
    return text


def _clock(host: HostProgress, now: float) -> str:
    """Return a host's time as a stop-watch shows it."""
    if host.began is None:
        return ""
    whole = int(host.seconds(now))
    minutes = f"{whole % 3600 // 60:02d}" if whole >= 3600 else f"{whole // 60}"
    return f"{whole // 3600}:{minutes}:{whole % 60:02d}" if whole >= 3600 else f"{minutes}:{whole % 60:02d}"


def _census(hosts: Sequence[HostProgress]) -> str:
    """Return how many hosts are in which state, as words."""
    counts = [(state, sum(host.state is state for host in hosts)) for state in _URGENCY]
    states = ", ".join(f"{count} {state}" for state, count in counts if count)
    return f"{counted(len(hosts), 'more host')}: {states}"

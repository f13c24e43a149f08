"""What `board` does, told to a console."""

from __future__ import annotations

import threading
from dataclasses import asdict
from pathlib import Path

from boxwright import places
from boxwright.board.board import Board, Picture
from boxwright.board.page import page
from boxwright.board.server import make_server, parse_listen
from boxwright.console import Console
from boxwright.console.live_table import Shown, watch_table
from boxwright.errors import BoxwrightError, Exit
from boxwright.model.base import bracketed
from boxwright.model.catalogues import load_site
from boxwright.whole_files import write_whole

_COLUMNS = ["Machine", "Serial", "Stage", "At", "Received", "Left", "Time", "Verdict"]
_STYLES = {
    "verified": "green",
    "provisioned": "green",
    "FAILED": "bold red",
    "refused": "bold red",
    "stopped": "yellow",
}
_ENDED = {
    "running": "at work",
    "ended": "ended",
    "killed": "KILLED: start the same command again, it goes on from here",
}


def board(console: Console, *, site: str, listen: str, html: str, table: bool = False) -> Exit:
    """Serve the page of a site's machines until Ctrl-C; or show it as a table, write it, or print it as JSON lines.

    Raises:
        BadInputError: There is no such site, or `listen` is no address and port.
        BoxwrightError: Nothing was run yet that could be written, or the address cannot be had.
    """
    address, port = parse_listen(listen)
    whose = load_site(site)
    name, serials = whose.name, {host.name: host.serial or "" for host in whose.hosts}
    shown = Board(places.state() / "runs", name, serials)
    if html or console.json:
        return _once(console, name, _some(site, name, shown.look()), html)
    if table:
        watch_table(console, lambda: _as_table(_some(site, name, shown.look())))
        return Exit.OK
    lock = threading.Lock()  # a board reads on from where it was: one browser at a time

    def draw() -> str:
        with lock:
            return page(name, shown.look())

    with make_server(address, port, draw) as server:
        console.info(f"The board of {name}: http://{bracketed(address)}:{server.server_address[1]} (Ctrl-C ends it)")
        if address not in {"127.0.0.1", "::1"}:
            console.warning("whoever reaches this address sees names, addresses and serial numbers; it takes no orders")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            console.info("The board is closed. Runs go on.")
    return Exit.OK


def _some(said: str, site: str, picture: Picture | None) -> Picture:
    """A board with something on it.

    Args:
        said: The site as the command line names it.
        site: Its name.
        picture: What there is.

    Raises:
        BoxwrightError: Nothing was run yet.
    """
    if picture is None:
        raise BoxwrightError(
            f"nothing was provisioned on site '{site}' from here yet",
            hint=f"Runs are looked for in {places.state() / 'runs'}; a plan is none. Begin one: "
            f"./invoke provision --profile … --site {said}",
        )
    return picture


def _as_table(picture: Picture) -> Shown:
    """The board as a console shows it; the address is left out, which the page has."""
    rows = [
        (
            row.host, row.serial or "-", row.stage, row.activity, row.bytes, row.eta, row.seconds,
            f"{row.verdict}: {row.why}" if row.why else row.verdict,
        )
        for row in picture.rows
    ]  # fmt: skip
    return Shown(
        title=f"{picture.profile} on {picture.site}: {picture.census}; {picture.told_by} {_ENDED[picture.state]}",
        columns=_COLUMNS,
        rows=rows,
        styles=[_STYLES.get(row.verdict, "") for row in picture.rows],
        done=picture.state != "running",
    )


def _once(console: Console, site: str, picture: Picture, html: str) -> Exit:
    for row in picture.rows:
        console.data("board", asdict(row))
    if html:
        path = Path(html).expanduser()
        write_whole(path, page(site, picture, live=False).encode())
        console.success(f"{picture.census}. Written: {path}")
    return Exit.OK

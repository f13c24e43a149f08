"""What `board` does, told to a console."""

from __future__ import annotations

import os
import threading
from dataclasses import asdict
from pathlib import Path

from boxwright import places
from boxwright.board.board import Board, Picture
from boxwright.board.page import page
from boxwright.board.server import make_server, parse_listen
from boxwright.console import Console
from boxwright.errors import BoxwrightError, Exit
from boxwright.model.base import bracketed
from boxwright.model.catalogues import load_site


def board(console: Console, *, site: str, listen: str, html: str) -> Exit:
    """Serve the page of a site's newest run until Ctrl-C; or write it, or print it as JSON lines, once.

    Raises:
        BadInputError: There is no such site, or `listen` is no address and port.
        BoxwrightError: Nothing was run yet that could be written, or the address cannot be had.
    """
    address, port = parse_listen(listen)
    name = load_site(site).name
    shown = Board(places.state() / "runs", name)
    if html or console.json:
        return _once(console, name, shown.look(), html)
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


def _once(console: Console, site: str, picture: Picture | None, html: str) -> Exit:
    if picture is None:
        raise BoxwrightError(
            f"nothing was provisioned on site '{site}' from here yet",
            hint=f"Its runs are looked for in {places.state() / 'runs'}. Begin one: ./invoke provision --site {site}",
        )
    for row in picture.rows:
        console.data("board", {"run": picture.run, "state": picture.state, **asdict(row)})
    if html:
        path = Path(html).expanduser()
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        draft.write_text(page(site, picture, live=False), encoding="utf-8")
        draft.replace(path)
        console.success(f"{picture.census}. Written: {path}")
    return Exit.OK

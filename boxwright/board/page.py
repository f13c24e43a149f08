"""The board as one HTML page that loads itself anew. Whatever machines say of themselves is escaped."""

from __future__ import annotations

from boxwright.board.board import Picture
from boxwright.page_templates import page_templates

_EVERY_S = {"running": 3, "ended": 15, "killed": 15}  # another run may begin
_CLASS = {"verified": "good", "provisioned": "good", "FAILED": "bad", "refused": "bad", "stopped": "bad"}


def page(site: str, picture: Picture | None, *, live: bool = True) -> str:
    """The page.

    Args:
        site: Whose board it is.
        picture: What is on it; None: nothing was run yet.
        live: It is served, and loads itself anew; else it is a file that stays as it is.
    """
    every = (_EVERY_S[picture.state] if picture else 3) if live else 0
    rows = [(row, _CLASS.get(row.verdict, "")) for row in picture.rows] if picture else []
    return (
        page_templates("board").get_template("page.html.j2").render(site=site, picture=picture, every=every, rows=rows)
    )

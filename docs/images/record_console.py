"""Runs a command in a terminal of its own, and draws what stands there at its end.

So is `console.svg` made, on a machine whose lab was provisioned once:
`.venv/bin/python docs/images/record_console.py docs/images/console.svg ./invoke provision --profile lab --yes`
"""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import SVG_EXPORT_THEME
from rich.text import Text

COLUMNS, LINES = 120, 60
CONTROL = re.compile(r"\x1b\[(?P<number>[0-9;?]*)(?P<letter>[A-Za-z])|\r|\n|[^\x1b\r\n]+")


def run(command: list[str]) -> str:
    """Run a command to its end; return all that it wrote to its terminal."""
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": str(COLUMNS)}
    process = subprocess.Popen(command, stdin=its, stdout=its, stderr=its, env=environment)
    os.close(its)
    written = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # what Linux says when the last writer has gone
            break
        if not part:
            break
        written += part
    if process.wait():
        sys.exit(f"{command[0]} ended with code {process.returncode}:\n{written.decode(errors='replace')}")
    return written.decode()


def standing(written: str) -> str:
    """What is on the screen in the end: lines that were drawn anew stand there once. Colours are kept."""
    lines, row, at_start = [""], 0, True
    for token in CONTROL.finditer(written):
        letter = token["letter"]
        if token[0] == "\n":
            row, at_start = row + 1, True
            lines += [""] * (row + 1 - len(lines))
        elif token[0] == "\r":
            at_start = True
        elif letter == "A":
            row, at_start = max(0, row - int(token["number"] or 1)), True
        elif letter == "K":
            lines[row] = ""
        elif letter in {None, "m"}:
            lines[row] = token[0] if at_start else lines[row] + token[0]
            at_start = False
    return "\n".join(lines).strip("\n")


def without_checks(text: str) -> str:
    """The same without the table of checks, which fills pages; a line says that it stood there."""
    lines = text.splitlines()
    plain = [Text.from_ansi(line).plain for line in lines]
    begin = next((number for number, line in enumerate(plain) if line.split()[:2] == ["Result", "Check"]), None)
    end = next((number for number, line in enumerate(plain) if line.endswith(" passed.")), None)
    if begin is None or end is None:
        return text
    return "\n".join([*lines[:begin], f"  ⋮ {end - begin} lines: each check, and what it found", "", *lines[end:]])


def draw(text: str, title: str) -> str:
    """The screen as SVG, in whatever fixed-width font the reader has."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(Text.from_ansi(text), soft_wrap=True)
    svg = console.export_svg(title=title, theme=SVG_EXPORT_THEME, unique_id="console")
    return re.sub(r"\s*@font-face \{.*?\}", "", svg, flags=re.DOTALL)  # they name a server that has the font


def main() -> None:
    """Record the command that follows the picture's path."""
    picture, *command = sys.argv[1:]
    Path(picture).write_text(draw(without_checks(standing(run(command))), " ".join(command)) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

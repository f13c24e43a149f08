"""The requests that stand on a page about a box, taken from it as a reader would copy them."""

from __future__ import annotations

import os
import subprocess
from html.parser import HTMLParser
from pathlib import Path


class _Requests(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: dict[tuple[str, str], str] = {}
        self._inside: tuple[str, str] | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        if tag == "code" and named.get("data-request"):
            self._inside = (str(named["data-request"]), named.get("data-service") or "")
            self.found[self._inside] = ""

    def handle_endtag(self, tag: str) -> None:
        if tag == "code":
            self._inside = None

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.found[self._inside] += data


def requests_on(page: str) -> dict[tuple[str, str], str]:
    """Every request of a page, by what it is and by the service that it asks; empty for the main one."""
    parser = _Requests()
    parser.feed(page)
    return parser.found


def run_here(request: str, folder: Path, key: str) -> str:
    """What a request prints that is pasted into a terminal of this machine, in this folder."""
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    ran = subprocess.run(
        ["bash", "-e", "-o", "pipefail"],
        input=request.replace("curl ", "curl --silent --show-error --fail ", 1),
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env=environment | {"BOXWRIGHT_API_KEY": key},
        timeout=120,
    )
    assert ran.returncode == 0, f"{request}\n{ran.stdout}{ran.stderr}"
    return ran.stdout

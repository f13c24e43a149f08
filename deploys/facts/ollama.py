"""Facts about Ollama."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from typing import Any

from pyinfra.api import FactBase

from deploys.facts.services import PROBE

# Where Ollama's own installer, and distributions, put what would serve beside or instead of Boxwright's.
_STRANGERS = ("/usr/local/bin/ollama", "/usr/bin/ollama", "/usr/local/lib/ollama", "/usr/lib/ollama")
_OURS = "# Written by Boxwright"
_LOADED = PROBE.replace(".read(1)", ".read().decode()").replace("r.build", "print(r.build") + ")"


class HandInstall(FactBase):
    """Paths of an Ollama that somebody installed by hand, or of settings that somebody gave to Boxwright's units."""

    default = list

    def command(self, units: Sequence[str]) -> str:
        """List what is there and is not Boxwright's."""
        files = shlex.join(f"/etc/systemd/system/{unit}.service" for unit in units)
        folders = shlex.join(f"/etc/systemd/system/{unit}.service.d" for unit in units)
        return (
            f"ls -d {shlex.join(_STRANGERS)} 2>/dev/null; "
            f"for f in {files}; do test ! -e $f || head -n 1 $f | grep -q {shlex.quote(_OURS)} || echo $f; done; "
            f"for d in {folders}; do ls $d/*.conf 2>/dev/null | grep -v /boxwright.conf$; done; true"
        )

    def process(self, output: list[str]) -> list[str]:
        """Take the paths."""
        return [line.strip() for line in output if line.startswith("/")]


class ProvenRequest(FactBase):
    """What was asked for when Ollama was proven to serve last; None where it never was."""

    def command(self, destination: str) -> str:
        """Read the proof."""
        path = shlex.quote(f"{destination}/proven.json")
        return f"test ! -f {path} || cat {path}"

    def process(self, output: list[str]) -> Any:
        """Take the request out of it."""
        try:
            return json.loads("\n".join(output))["request"]
        except (ValueError, KeyError, TypeError):
            return None


class RegisteredModel(FactBase):
    """Whether the models of an instance are still what was registered, by the digests of their manifests."""

    @staticmethod
    def default() -> bool:
        """Nothing was registered."""
        return False

    def command(self, record: str, store: str, names: Sequence[str]) -> str:
        """Read the record, and hash the manifests."""
        folder = shlex.quote(f"{store}/manifests/registry.ollama.ai/library")
        files = shlex.join(f"{name}/latest" for name in names)
        return (
            f"cat {shlex.quote(record)} 2>/dev/null; cd {folder} 2>/dev/null && sha256sum -- {files} 2>/dev/null; true"
        )

    def process(self, output: list[str]) -> bool:
        """Hold the manifests against the record."""
        try:
            recorded = json.loads(output[0])["manifests"]
        except (ValueError, KeyError, IndexError, TypeError):
            return False
        lines = [line.split(maxsplit=1) for line in output[1:]]
        return bool(recorded) and recorded == {path.removesuffix("/latest"): digest for digest, path in lines}


class GuardInForce(FactBase):
    """Whether the rules that keep people of the machine from an instance are loaded."""

    @staticmethod
    def default() -> bool:
        """Nothing is loaded."""
        return False

    def command(self, table: str, port: int) -> str:
        """Look for the rule."""
        return f"nft list table inet {shlex.quote(table)} 2>/dev/null | grep -c 'tcp dport {port} .*skuid'; true"

    def process(self, output: list[str]) -> bool:
        """Read the count."""
        return output[0].strip() == "1"


class MisplacedModel(FactBase):
    """Whether a model is loaded where it does not belong. One that is not loaded is nowhere wrong."""

    @staticmethod
    def default() -> bool:
        """Nothing is loaded."""
        return False

    def command(self, port: int, placement: str) -> str:
        """Ask the server what is loaded."""
        url = f"http://127.0.0.1:{port}/api/ps"
        return f"echo {placement}; python3 -c {shlex.quote(_LOADED)} {url} 2>/dev/null; true"

    def process(self, output: list[str]) -> bool:
        """Compare the bytes on cards with all of them."""
        try:
            loaded = json.loads(output[1])["models"]
        except (ValueError, KeyError, IndexError, TypeError):
            return False
        sizes = [(int(one["size"]), int(one["size_vram"])) for one in loaded]
        right = {
            "cards": lambda size, on_cards: on_cards == size,
            "memory": lambda _, on_cards: on_cards == 0,
            "both": lambda size, on_cards: 0 < on_cards < size,
        }[output[0].strip()]
        return not all(right(size, on_cards) for size, on_cards in sizes)

"""Facts that KTransformers is let in by: what the machine is, what was examined on it, and which weights are made."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass

from pyinfra.api import FactBase

from boxwright.model.ktransformers import Box

_PROCESSOR = "grep -m1 ^flags /proc/cpuinfo"


class Machine(FactBase):
    """Flags of the processor, memory and kernel."""

    command = f"{_PROCESSOR}; grep ^MemTotal: /proc/meminfo; uname -r"

    @staticmethod
    def default() -> Box:
        """A machine that says nothing has nothing."""
        return Box(frozenset(), 0, "")

    def process(self, output: list[str]) -> Box:
        """Read the three lines; a processor that shows no flags has none."""
        flags = next((line.partition(":")[2] for line in output if line.startswith("flags")), "")
        kib = next((line.split()[1] for line in output if line.startswith("MemTotal:")), "0")
        return Box(frozenset(flags.split()), int(kib) * 1024, output[-1].strip())


class Examined(FactBase):
    """What was examined on this processor: environment, kernels, methods; None for nothing, or on another one."""

    def command(self, report: str) -> str:
        """Ask for the report and for what tells this processor from others."""
        path = shlex.quote(report)
        return f"test ! -f {path} || {{ {_PROCESSOR} | tr -d '\\n' | sha256sum; cat {path}; }}"

    def process(self, output: list[str]) -> tuple[str, str | None, tuple[str, ...]] | None:
        """Hold the report against the processor."""
        if len(output) < 2:
            return None
        try:
            told = json.loads("\n".join(output[1:]))
        except ValueError:
            return None
        if told["processor"] != output[0].split()[0]:
            return None
        return told["environment"], told["kernels"], tuple(told["methods"])


@dataclass(frozen=True)
class ConvertedWeights:
    """Weights that were made of others, with what they were made for."""

    method: str
    pools: int
    wrong: tuple[str, ...]  # files that are missing, or not as they were when they were made


class Converted(FactBase):
    """The weights in a folder, by its manifest; None where there is no whole one."""

    def command(self, folder: str) -> str:
        """Ask for the manifest, the state of the files, and the notes of when they were read."""
        return (
            f"cd {shlex.quote(folder)} 2>/dev/null && test -f manifest.json && tr '\\n' ' ' < manifest.json && echo && "
            "{ stat -c '%n|%s|%.9Y' -- *.safetensors; grep -H . -- .*.verified; } 2>/dev/null; true"
        )

    def process(self, output: list[str]) -> ConvertedWeights | None:
        """Hold each file against its note, and the note against the manifest."""
        if not output:
            return None
        manifest = json.loads(output[0])
        states = {name: rest for name, _, rest in (line.partition("|") for line in output[1:] if "|" in line)}
        notes = dict(line.split(":", 1) for line in output[1:] if "|" not in line)
        wrong = []
        for file in manifest["files"]:
            size, _, changed = states.get(file["name"], "").partition("|")
            note = notes.get(f".{file['name']}.verified", "").split()
            if note != [size, changed.replace(".", "").lstrip("0"), file["sha256"]] or size != str(file["bytes"]):
                wrong.append(file["name"])
        return ConvertedWeights(manifest["method"], manifest["pools"], tuple(wrong))

"""GGUF files in other pieces: merged for an engine that takes one file, split for a disk or a hub that has a limit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pyinfra import host
from pyinfra.api import QuoteString, StringCommand, operation
from pyinfra.api.command import PyinfraCommand

from deploys.facts.files import ConvertedModel
from deploys.operations.files import PROGRAMS, program_text, written_file

_PROGRAM = f"{PROGRAMS}/reshape-gguf"
_SLOWEST_S = 12 * 3600  # 700 GB are read, written and hashed, by a disk that does 50 MB a second of all of it


@operation()
def reshaped_gguf(
    source: str, destination: str, tool: Sequence[str], largest_mb: int | None = None
) -> Iterator[PyinfraCommand]:
    """Have, of a verified GGUF, a folder with the same weights in one file, or in shards.

    Args:
        source: The file; of shards the first.
        destination: The folder.
        tool: The command of llama-gguf-split.
        largest_mb: The most megabytes of a shard; None: one file.
    """
    what = f"split {largest_mb}" if largest_mb else "merge"
    if host.get_fact(ConvertedModel, source=source, destination=destination) == what:
        host.noop(f"{destination} was made of {source}")
        return
    yield from written_file._inner(content=program_text("models/reshape_gguf.py"), dest=_PROGRAM, mode="755")
    words = (source, destination, what, *tool)
    yield StringCommand(_PROGRAM, *(QuoteString(word) for word in words), _timeout=_SLOWEST_S)


def packaged_tool(root: str) -> tuple[str, ...]:
    """The command of llama-gguf-split in a root of Debian's packages: by its own loader, as the box's libraries differ.

    Args:
        root: The root's folder.
    """
    libraries = f"{root}/usr/lib/x86_64-linux-gnu"
    return (f"{root}/lib64/ld-linux-x86-64.so.2", "--library-path", libraries, f"{root}/usr/bin/llama-gguf-split")

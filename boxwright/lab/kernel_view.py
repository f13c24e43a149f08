"""A twin's own view of kernel settings that are not its own.

`vm`, `fs` and `kernel` of /proc/sys and transparent huge pages belong to the one kernel that all twins
share. A twin reads the controller's values until it writes one; from then on it reads what it wrote, in the
form in which the kernel would show it, and nothing reaches the controller. Values are refused as the kernel
would refuse them where their type is plain: text for a number, a word that is no choice.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path

SOURCES = {
    "vm": Path("/proc/sys/vm"),
    "fs": Path("/proc/sys/fs"),
    "kernel": Path("/proc/sys/kernel"),
    "thp": Path("/sys/kernel/mm/transparent_hugepage"),
}
_FOREIGN = {"fs/binfmt_misc"}  # a file system of the controller that is mounted below


def written(current: str, content: bytes) -> str:
    """What a setting reads after a program wrote `content` to it.

    Raises:
        OSError: EINVAL, where the kernel would say so.
    """
    try:
        text = content.decode("ascii").split("\n", 1)[0].rstrip("\0").strip()
    except UnicodeDecodeError:
        raise OSError(errno.EINVAL, "not text") from None
    words = current.split()
    choice = re.search(r"\[[^\]\s]+\]", current)
    if choice:
        options = [word.strip("[]") for word in words]
        if text not in options:
            raise OSError(errno.EINVAL, "not one of the choices")
        return " ".join(f"[{option}]" if option == text else option for option in options) + "\n"
    if words and all(_is_number(word) for word in words):
        values = text.split()
        if not values or len(values) > len(words) or not all(_is_number(value) for value in values):
            raise OSError(errno.EINVAL, "not as many numbers")
        return "\t".join([*(str(int(value, 0)) for value in values), *words[len(values) :]]) + "\n"
    return text + "\n"


def _is_number(word: str) -> bool:
    return re.fullmatch(r"-?(0[xX][0-9a-fA-F]+|0|[1-9][0-9]*)", word) is not None


@dataclass
class KernelView:
    """The settings as one twin sees them. The paths are those below `SOURCES`."""

    _values: dict[str, str] = field(default_factory=dict)

    def forget(self) -> None:
        """Drop what was written, as a reboot does."""
        self._values.clear()

    def mode(self, path: str) -> int:
        """The type and permission bits."""
        if path in ("", *SOURCES):
            return stat.S_IFDIR | 0o555
        return self._real(path).lstat().st_mode

    def names(self, path: str) -> list[str]:
        """The entries of a folder."""
        if not path:
            return sorted(key for key, source in SOURCES.items() if source.is_dir())
        return [] if path in _FOREIGN else sorted(os.listdir(self._real(path)))  # noqa: PTH208 (names only)

    def read(self, path: str) -> bytes:
        """The value as the twin has it."""
        return self._current(path).encode("utf-8", "surrogateescape")

    def write(self, path: str, content: bytes) -> None:
        """Take a value; nothing reaches the controller."""
        if not stat.S_IMODE(self.mode(path)) & 0o200:
            raise OSError(errno.EACCES, path)
        self._values[path] = written(self._current(path), content)

    def _current(self, path: str) -> str:
        kept = self._values.get(path)
        if kept is not None:
            return kept
        if not stat.S_IMODE(self.mode(path)) & 0o400:
            return ""  # such as vm/compact_memory, which is only ever written
        return self._real(path).read_text("utf-8", "surrogateescape")

    def _real(self, path: str) -> Path:
        source, _, rest = path.partition("/")
        if source not in SOURCES or ".." in rest.split("/"):
            raise OSError(errno.ENOENT, path)
        return SOURCES[source] / rest

"""Files that are never half there and never readable by others on the way."""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from pyinfra import host
from pyinfra.api import FileUploadCommand, QuoteString, StringCommand, operation
from pyinfra.api.command import PyinfraCommand
from pyinfra.api.util import get_file_io

from deploys.facts.files import FileState

TEMPLATES = Path(__file__).resolve().parents[2] / "templates"
PROGRAMS = "/usr/local/lib/boxwright"
REQUESTS = "/var/lib/boxwright/requests"


class AtomicUpload(FileUploadCommand):
    """Uploads beside the destination into a file that is private from the start, then renames."""

    def __init__(self, content: bytes, dest: str, *, user: str, group: str, mode: str, secret: bool = False) -> None:
        super().__init__(io.BytesIO(content), dest)
        self.secret = secret
        self.owner = f"{user}:{group}"
        self.mode = mode

    def execute(self, state: Any, host: Any, connector_arguments: Any) -> bool:
        """Make the private file, fill it, give it its owner and mode, move it into place."""
        connector_arguments.update(self.connector_arguments)
        folder, _, name = self.dest.rpartition("/")
        draft = f"{folder}/.{name}.new"
        prepare = StringCommand("install", "-m", "600", "/dev/null", QuoteString(draft))
        finish = StringCommand(
            *("chown", self.owner, QuoteString(draft), "&&", "chmod", self.mode, QuoteString(draft)),
            *("&&", "mv", "-fT", QuoteString(draft), QuoteString(self.dest)),
        )
        ready, _ = host.run_shell_command(prepare, print_output=state.print_output, **connector_arguments)
        return bool(
            ready
            and host.put_file(
                self.src, draft, remote_temp_filename=host.get_temp_filename(draft), **connector_arguments
            )
            and host.run_shell_command(finish, print_output=state.print_output, **connector_arguments)[0]
        )


@operation()
def written_file(
    content: str | Callable[[], str],
    dest: str,
    *,
    mode: str = "644",
    user: str = "root",
    group: str = "root",
    secret: bool = False,
) -> Iterator[PyinfraCommand]:
    """Make `dest` hold exactly `content`, with this mode and owner; its folder must be there.

    Args:
        content: The whole text, or what makes it when it depends on what earlier operations did.
        dest: Absolute path on the box.
        mode: Octal digits.
        user: Owner.
        group: Owning group.
        secret: It was made of a secret, so that nobody would find one in it: a plan shows nothing of it.
    """
    data = (content() if callable(content) else content).encode()
    there = host.get_fact(FileState, path=dest)
    if there is None or there.sha256 != hashlib.sha256(data).hexdigest():
        yield AtomicUpload(data, dest, user=user, group=group, mode=mode, secret=secret)
        return
    if (there.user, there.group) != (user, group):
        yield StringCommand("chown", f"{user}:{group}", QuoteString(dest))
    if there.mode != mode:
        yield StringCommand("chmod", mode, QuoteString(dest))
    if (there.user, there.group, there.mode) == (user, group, mode):
        host.noop(f"{dest} is right")


def rendered(template: str, **values: object) -> str:
    """The text of `templates/TEMPLATE`, where every value that it names must be given."""
    environment = Environment(  # noqa: S701 - configuration files, no HTML
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
    )
    environment.filters |= {"systemd_word": systemd_word, "systemd_argument": systemd_argument}
    return environment.get_template(template).render(**values)


def systemd_word(text: str) -> str:
    """A word as a unit file spells it, whatever is in it.

    Raises:
        ValueError: It holds a line break or another control character, which no word of a unit can.
    """
    if any(character < " " or character == "\x7f" for character in text):
        raise ValueError(f"{text!r} cannot stand in a unit")
    if re.fullmatch(r"[A-Za-z0-9_@:,./+=^-]+", text):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"'


def systemd_argument(text: str) -> str:
    """A word of a unit's command line, in which systemd would put variables into the place of their names."""
    return systemd_word(text).replace("$", "$$")


def program_text(template: str) -> str:
    """The text of a program in `templates/` that runs on the box."""
    with get_file_io(str(TEMPLATES / template), "r") as stream:
        return str(stream.read())


def request_text(**values: object) -> str:
    """A request file for one of our programs: what it is to do, with a proxy that may hold a password."""
    return json.dumps(values, indent=2, sort_keys=True) + "\n"

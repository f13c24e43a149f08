#!/usr/bin/python3
"""Start KTransformers' server with its key taken from a systemd credential.

Usage: PYTHON launch-ktransformers

The server takes its key as an argument or from a file that it reads arguments from, and writes every argument to its
log when it starts. Here the key is set inside the process, as a text that shows itself to no log. What else it is told
stands in the credential arguments.json.
"""

from __future__ import annotations

import json
import os
from pathlib import Path


class Key(str):
    """A key that is as it is to who compares it, and hides from who prints what it is part of."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'[REDACTED]'"


def main() -> None:
    """Serve until told to end."""
    from sglang.launch_server import run_server  # noqa: PLC0415  processes of the server load this file, too
    from sglang.srt.server_args import prepare_server_args  # noqa: PLC0415
    from sglang.srt.utils import kill_process_tree  # noqa: PLC0415

    credentials = Path(os.environ["CREDENTIALS_DIRECTORY"])
    told = prepare_server_args(json.loads((credentials / "arguments.json").read_text()))
    told.api_key = Key((credentials / "api-key").read_text().strip())
    try:
        run_server(told)
    finally:
        kill_process_tree(os.getpid(), include_parent=False)


if __name__ == "__main__":
    main()

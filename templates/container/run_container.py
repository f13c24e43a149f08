"""Becomes Docker's client, which runs an engine's container as closed as it can be and stays with it.

Usage: python3 -I -B run-container REQUEST

REQUEST is a JSON file: `name`, `image`, `user` (an account of the box), `command`, `environment`, `devices` (names of
CDI, or device files), `readable` and `writable` (folders or files of the box by their place in the container),
`memory_nodes`; and where there are such, `groups` (of the box, which the account has in the container too),
`entrypoint` (in place of the image's own) and `folder` (in which the command runs). The container shares the box's
network, so what it listens at on 127.0.0.1 is the box's own loopback.
"""

from __future__ import annotations

import grp
import json
import os
import pwd
import sys
from pathlib import Path
from typing import Any

DOCKER = "/usr/bin/docker"
LABEL = "io.boxwright.engine"  # tells Boxwright's containers from others'


def command(request: dict[str, Any], uid: int, gid: int, groups: list[int]) -> list[str]:
    """The words of `docker run`. Nothing is pulled: the image was there before, by its digest."""
    words = [DOCKER, "run", "--rm", "--name", request["name"], "--label", LABEL, "--pull", "never"]
    words += ["--user", f"{uid}:{gid}"]
    for group in groups:  # by number: the image may give another one to its name
        words += ["--group-add", str(group)]
    if request.get("entrypoint"):
        words += ["--entrypoint", request["entrypoint"]]
    if request.get("folder"):
        words += ["--workdir", request["folder"]]
    # What its processes write to each other lies in shared memory.
    words += ["--network", "host", "--ipc", "private", "--shm-size", "16g"]
    words += ["--ulimit", "stack=67108864", "--oom-score-adj", "200"]
    words += ["--read-only", "--tmpfs", "/tmp:rw,nosuid,mode=1777", "--cap-drop", "ALL"]  # noqa: S108 - its own
    # systemd's journal is told by this client; Docker's own log would be a second one.
    words += ["--security-opt", "no-new-privileges", "--log-driver", "none"]
    if request["memory_nodes"]:
        words += ["--cpuset-mems", ",".join(map(str, request["memory_nodes"]))]
    if request["devices"]:  # cards read memory that is locked
        words += ["--ulimit", "memlock=-1"]
    for device in request["devices"]:
        words += ["--device", device]
    for place, source in sorted(request["readable"].items()):
        words += ["--mount", f"type=bind,source={source},target={place},readonly"]
    for place, source in sorted(request["writable"].items()):
        words += ["--mount", f"type=bind,source={source},target={place}"]
    for name, value in sorted(request["environment"].items()):
        words += ["--env", f"{name}={value}"]
    return [*words, request["image"], *request["command"]]


def main(arguments: list[str]) -> None:
    """Run what the request says."""
    request = json.loads(Path(arguments[0]).read_text())
    account = pwd.getpwnam(request["user"])
    try:
        groups = [grp.getgrnam(name).gr_gid for name in request.get("groups", ())]
    except KeyError as error:
        sys.exit(f"run-container: a group that owns the cards is missing on this box: {error}; is their driver there?")
    words = command(request, account.pw_uid, account.pw_gid, groups)
    os.execv(words[0], words)  # noqa: S606 - the client takes over, with systemd's signals


if __name__ == "__main__":
    main(sys.argv[1:])

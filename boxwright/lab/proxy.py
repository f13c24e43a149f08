"""The package proxy of a lab: tinyproxy on the controller's end of the lab's wire, for its subnet only."""

from __future__ import annotations

import socket
import time
from pathlib import Path

from boxwright.errors import LabError
from boxwright.lab.commands import tail
from boxwright.lab.processes import Processes

PORT = 3128
_NAME = "proxy"
_READY_S = 10.0


def configuration(address: str, subnet: str) -> str:
    """The configuration of tinyproxy: only the lab's subnet is served, and TLS goes to port 443 only."""
    return "\n".join(
        (
            "User nobody",
            "Group nogroup",
            f"Port {PORT}",
            f"Listen {address}",
            f"Allow {subnet}",
            "ConnectPort 443",
            "Timeout 600",
            "MaxClients 200",
            "LogLevel Warning",
            "DisableViaHeader Yes",
            "",
        )
    )


def up(processes: Processes, folder: Path, address: str, subnet: str) -> None:
    """Start the proxy unless it runs.

    Raises:
        LabError: It does not listen in time.
    """
    if processes.pids(_NAME) and _listens(address):
        return
    processes.stop(_NAME)
    folder.mkdir(parents=True, exist_ok=True)
    settings, log = folder / "tinyproxy.conf", folder / "tinyproxy.log"
    settings.write_text(configuration(address, subnet))
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    processes.start(_NAME, ["tinyproxy", "-d", "-c", str(settings)], log=log, environment=environment)
    deadline = time.monotonic() + _READY_S
    while not _listens(address):
        if time.monotonic() > deadline:
            output = tail(log.read_text(errors="replace"))
            raise LabError("the package proxy of the lab does not start", where=str(log), output=output)
        time.sleep(0.05)


def down(processes: Processes) -> None:
    """Stop the proxy."""
    processes.stop(_NAME)


def _listens(address: str) -> bool:
    try:
        with socket.create_connection((address, PORT), timeout=1):
            return True
    except OSError:
        return False

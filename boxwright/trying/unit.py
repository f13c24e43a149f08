"""The transient unit of a trial, as the words of systemd-run. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from boxwright.model.transient_unit import CLOSED
from boxwright.trying.room import Room

NAME = "boxwright-try"
PROGRAM = "/usr/local/lib/boxwright/try-model.d"
ENVIRONMENT = "/opt/boxwright/try-model"
PYTHON = "/opt/boxwright/python3.11"
UV = "/opt/boxwright/uv"
SOCKET = f"/run/{NAME}/page.sock"
LOCATION = "/run/boxwright/gateway/try.conf"
# What a trial alone brings to a box, and what others may have brought before it: that goes only where the trial did.
BROUGHT = (
    ENVIRONMENT,
    PROGRAM,
    "/var/lib/boxwright/requests/try-model.json",
    "/var/lib/boxwright/requests/try-model-requirements.lock",
)
SHARED = (
    PYTHON,
    UV,
    "/usr/local/lib/boxwright/install-debian-root",
    "/usr/local/lib/boxwright/install-python-environment",
    "/var/lib/boxwright/requests/python3.11.json",
)

# What a trial may not do besides. No network at all: the page has a socket in the file system.
_MAY_NOT = (*CLOSED, "PrivateNetwork=yes", "RestrictAddressFamilies=AF_UNIX")
# What serves goes before it, wherever both want something.
_BEHIND_OTHERS = ("CPUWeight=10", "IOWeight=10", "Nice=15", "OOMScoreAdjust=1000", "TasksMax=1024", "MemorySwapMax=0")


def command(room: Room, *, page: bool, patience_s: int, seconds: int, removed: Sequence[str]) -> tuple[str, ...]:
    """The command that runs a trial until it ends, its standard input ends, or its time is over.

    Args:
        room: Where it computes, and what it may take.
        page: Whether it serves one.
        patience_s: How long it may take until the model has answered.
        seconds: How long the page stays.
        removed: Paths that go when the unit ends, however it ends.
    """
    gate = f"+/usr/bin/python3 -I -B {PROGRAM}/gate.py"
    properties = [
        *_MAY_NOT,
        *_BEHIND_OTHERS,
        f"MemoryMax={room.memory_bytes}",
        f"RuntimeDirectory={NAME}",
        "RuntimeDirectoryMode=0711",  # for nginx to go through; the socket is opened to it by its group
        f"WorkingDirectory=/run/{NAME}",
        f"Environment=HOME=/run/{NAME}",
        f"Environment=MPLCONFIGDIR=/run/{NAME}",
        "TimeoutStopSec=300",  # packages of a gigabyte are not removed at once
        " ".join([f"ExecStopPost={gate} close", *removed]),
    ]
    if room.cards:
        numbers = ",".join(map(str, room.cards))
        properties += [
            "SupplementaryGroups=video render",
            "Environment=CUDA_DEVICE_ORDER=PCI_BUS_ID",
            f"Environment=CUDA_VISIBLE_DEVICES={numbers}",
        ]
    else:
        properties += ["PrivateDevices=yes", "Environment=CUDA_VISIBLE_DEVICES="]
    if page:
        properties += [
            f"ExecStartPost={gate} open {SOCKET} {PROGRAM}/location.conf",
            f"TimeoutStartSec={patience_s}",
            f"RuntimeMaxSec={seconds + 15}",  # it ends by itself before
        ]
    else:
        properties.append(f"RuntimeMaxSec={patience_s}")
    return (
        *("systemd-run", "--quiet", "--collect", "--wait", "--pipe", f"--unit={NAME}"),
        f"--description=Boxwright tries a model, for {seconds if page else patience_s} s at most",
        f"--service-type={'notify' if page else 'exec'}",
        *(f"--property={one}" for one in properties),
        *(f"{ENVIRONMENT}/current/bin/python", "-I", "-B", PROGRAM),
    )

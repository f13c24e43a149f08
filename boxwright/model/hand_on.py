"""Files of models that machines of a batch hand on to each other: what the deploy `models` is told for one run."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from boxwright.model.base import AbsolutePath, Frozen
from boxwright.model.variables import Variables


class Peer(Frozen):
    """A machine of the batch."""

    name: str
    address: str  # a number, by which the others reach it
    enter: tuple[str, ...]  # ssh of the controller, up to the command that is to run there
    sudo: bool  # whether root's work needs it


class HandOn(Frozen):
    """What is handed on from machine to machine, and among whom."""

    folder: str = ""  # of the controller, for this run alone: who has what
    files: dict[AbsolutePath, Annotated[int, Field(gt=0)]]  # seconds that a machine waits for others, by the file
    peers: tuple[Peer, ...]


class HandOnVariables(Variables):
    """What the deploy `models` is told besides, where machines of a batch hand on to each other."""

    unit = "models"
    hand_on: HandOn

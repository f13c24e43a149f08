"""What the worker is told: one JSON document on its standard input, secrets included."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator


class JobHost(BaseModel):
    """One box, how to reach it, and the values that deploy files read as `host.data`.

    `known_hosts` is the only source of trust: a key that is not in it is refused. Without `key`, the ssh
    agent and the user's own keys are tried. `become` runs everything through `sudo -n`. `connect_timeout_s` bounds each
    step of a login, and `login_timeout_s` all of them together.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    address: str
    port: Annotated[int, Field(ge=1, le=65535)] = 22
    user: str = "root"
    key: Path | None = None
    known_hosts: Path
    data: Annotated[dict[str, Any], Field(repr=False)] = {}
    become: bool = False
    connect_timeout_s: Annotated[int, Field(gt=0)] = 10
    login_timeout_s: Annotated[int, Field(gt=0)] = 30


class Job(BaseModel):
    """One run of some deploy files on some boxes.

    `deploys` are paths of deploy files, relative to the working directory or absolute, in the order to run
    them. `operation_timeout_s` bounds every remote step: one command, one upload, one batch of facts. An operation that
    takes longer by its nature says so itself, by `_timeout`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    hosts: Annotated[tuple[JobHost, ...], Field(min_length=1)]
    deploys: Annotated[tuple[str, ...], Field(min_length=1)]
    dry_run: bool = False
    operation_timeout_s: Annotated[int, Field(gt=0)] = 900

    @field_validator("hosts")
    @classmethod
    def _names_are_unique(cls, hosts: tuple[JobHost, ...]) -> tuple[JobHost, ...]:
        if len({host.name for host in hosts}) != len(hosts):
            raise ValueError("two hosts share a name")
        return hosts

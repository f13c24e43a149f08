"""Operations that KTransformers is let in by: its kernels compute on the box, and its weights are made."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence

from pyinfra import host
from pyinfra.api import QuoteString, StringCommand, operation
from pyinfra.api.command import PyinfraCommand

from deploys.facts.ktransformers import Converted, Examined
from deploys.operations.files import PROGRAMS

REPORT = "/etc/boxwright/ktransformers.json"
_PATIENCE_S = 900


@operation()
def examined(environment: str, kernels: str | None, methods: Sequence[str], request: str) -> Iterator[PyinfraCommand]:
    """Have the report of an examination on this processor: `kt doctor`, and a small layer by each method.

    Args:
        environment: Name of the Python environment that is to be examined.
        kernels: Which of kt-kernel's extensions it is told to load; None for the fastest.
        methods: Of computing experts.
        request: The request file of the program that examines.
    """
    if host.get_fact(Examined, report=REPORT) == (environment, kernels, tuple(methods)):
        host.noop(f"{environment} was examined on this processor")
        return
    yield StringCommand(f"{PROGRAMS}/examine-ktransformers", QuoteString(request), _timeout=_PATIENCE_S)


@operation()
def converted_weights(folder: str, method: str, pools: int, how: str) -> Iterator[PyinfraCommand]:
    """Have the weights that a method reads: they are made by hand and once. Fails and tells how where they are not.

    Args:
        folder: Where they are.
        method: That they are for.
        pools: Of threads, over which they are spread.
        how: The command that makes them.
    """
    found = host.get_fact(Converted, folder=folder)
    if found is None:
        problem = f"{folder} does not have the weights for {method} yet"
    elif (found.method, found.pools) != (method, pools):
        problem = f"{folder} has weights for {found.method} on {found.pools} NUMA nodes, not for {method} on {pools}"
    elif found.wrong:
        problem = f"{folder}: {len(found.wrong)} of its files are missing or changed, such as {found.wrong[0]}"
    else:
        host.noop(f"{folder} has the weights for {method}")
        return
    told = f"{problem}. Make them on the box, which takes hours for a large model, and provision again: {how}"
    yield StringCommand("echo", shlex.quote(told), ">&2; exit 1")

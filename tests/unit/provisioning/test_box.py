"""Machines of one box that wait for each other on their way."""

from __future__ import annotations

import threading
import time

import pytest

from boxwright.engines.process import Cancellation
from boxwright.provisioning import box as box_module
from boxwright.provisioning.box import Box


def goes(box: Box, host: str, *points: str, passed: list[tuple[str, str]], told: list[str]) -> threading.Thread:
    """Send a machine on its way past these points."""

    def walk() -> None:
        for point in points:
            box.meet(host, point, lambda: box.cancellation.cancelled, told.append)
            passed.append((point, host))

    thread = threading.Thread(target=walk)
    thread.start()
    return thread


def test_nobody_passes_a_point_before_all_have_come_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(box_module, "_SAID_AFTER_S", 0.1)
    box, passed, told = Box(Cancellation(), ["a", "b", "c"]), list[tuple[str, str]](), list[str]()
    threads = [goes(box, name, "models", "vllm", passed=passed, told=told) for name in ("a", "b")]
    time.sleep(0.7)
    assert passed == []
    assert told == ["c", "c"]
    threads.append(goes(box, "c", "models", "vllm", passed=passed, told=told))
    for thread in threads:
        thread.join(10)
    assert [point for point, _ in passed] == ["models"] * 3 + ["vllm"] * 3


def test_who_is_stopped_waits_no_longer_and_one_machine_waits_for_nobody() -> None:
    cancellation, passed, told = Cancellation(), list[tuple[str, str]](), list[str]()
    thread = goes(Box(cancellation.part(), ["a", "b"]), "a", "models", passed=passed, told=told)
    cancellation.cancel()
    thread.join(10)
    assert passed == [("models", "a")]
    alone = Box(Cancellation(), ["a"])
    assert alone.alone
    alone.meet("a", "models", lambda: False, told.append)
    assert told == []  # nobody came late

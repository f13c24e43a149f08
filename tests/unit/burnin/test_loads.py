"""What stress-ng, fio and iperf3 say, as it was recorded on a twin, and what is made of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from boxwright.burnin import loads
from boxwright.burnin.loads import Ended
from boxwright.errors import BoxwrightError
from boxwright.model.catalogue import GIB

# stress-ng 0.19.02 on Debian 13.
STRESS_NG = """\
stress-ng: info:  [3258] setting to a 6 secs run per stressor
stress-ng: info:  [3258] dispatching hogs: 2 vm
stress-ng: info:  [3259] vm: using 200M per stressor instance (total 400M of 8.31G available memory)
stress-ng: metrc: [3258] stressor       bogo ops real time  usr time  sys time   bogo ops/s     bogo ops/s
stress-ng: metrc: [3258]                           (secs)    (secs)    (secs)   (real time) (usr+sys time)
stress-ng: metrc: [3258] vm               543060      6.08      5.27      0.78     89299.23       89737.14
stress-ng: info:  [3258] passed: 2: vm (2)
stress-ng: info:  [3258] failed: 0
"""
WRONG = "stress-ng: fail:  [77] vm: detected 2 bit errors while stressing memory\n"


def ended(out: str, code: int = 0, *, late: bool = False) -> Ended:
    return Ended(code=code, out=out, late=late, seconds=6.1)


def test_work_is_read_and_a_good_run_has_no_failure() -> None:
    found = loads.worked(ended(STRESS_NG), "vm")
    assert (found.failures, found.per_second) == ((), 89299.23)


@pytest.mark.parametrize(
    ("run", "said"),
    [
        (ended(STRESS_NG + WRONG, 2), "detected 2 bit errors"),
        (ended(STRESS_NG, 2), "ended with code 2"),
        (ended("", -9), "code -9: it said nothing"),
        (ended("", 0), "told nothing of its work"),
        (ended(STRESS_NG, 0, late=True), "did not end"),
    ],
)
def test_nothing_that_went_wrong_reads_as_good(run: Ended, said: str) -> None:
    (failure,) = loads.worked(run, "vm").failures
    assert said in failure


def fio(error: int = 0, read: int = 268435456, **job: Any) -> str:
    told = {
        "error": error,
        "write": {"bw_bytes": 1709779974, "io_bytes": 268435456},
        "read": {"bw_bytes": 1813753081, "io_bytes": read},
    }
    return json.dumps({"fio version": "fio-3.39", "jobs": [told | job]})


def test_a_pass_over_a_disk_is_read() -> None:
    found = loads.disk_pass(ended(fio()))
    assert found.failure == ""
    assert found.written == pytest.approx(1709.78, abs=0.01)
    assert found.read == pytest.approx(1813.75, abs=0.01)


@pytest.mark.parametrize(
    ("run", "said"),
    [
        (ended("verify: bad magic header 0, wanted acca at file /x offset 0\n" + fio(84), 1), "bad magic header"),
        (ended(fio(total_err=3)), "error 3"),
        (ended(fio(), 1), "code 1"),
        (ended(fio(), late=True), "not through"),
        (ended("fio: pid=1, err=28/file:filesetup.c:234, No space left on device", 1), "No space left"),
        (ended("{}"), "told nothing"),
    ],
)
def test_no_pass_that_went_wrong_reads_as_good(run: Ended, said: str) -> None:
    assert said in loads.disk_pass(run).failure


def test_the_file_leaves_room_and_grows_with_the_time() -> None:
    assert loads.file_size(900 * GIB, 1000 * GIB, 3600, "box") == 16 * GIB
    assert loads.file_size(900 * GIB, 1000 * GIB, 1, "box") == 256 << 20
    assert loads.file_size(int(51.5 * GIB), 1000 * GIB, 3600, "box") == int(1.5 * GIB)
    with pytest.raises(BoxwrightError, match=r"50\.1 GiB of 1000\.0 are free"):
        loads.file_size(int(50.1 * GIB), 1000 * GIB, 3600, "box")


def test_memory_is_left_to_what_serves() -> None:
    assert loads.memory_size(2 * GIB, "box") == GIB
    assert loads.memory_size(100 * GIB, "box") == 90 * GIB
    with pytest.raises(BoxwrightError, match=r"1\.1 GiB of memory are available"):
        loads.memory_size(int(1.1 * GIB), "box")


def test_a_worker_has_memory_to_work_on() -> None:
    assert "--vm 2 " in " ".join(loads.memory(6, 128, 128 << 20))
    assert "--vm 128 " in " ".join(loads.memory(6, 128, 90 * GIB))


def test_what_arrived_between_nodes_is_read() -> None:
    good = json.dumps({"end": {"sum_received": {"bits_per_second": 23.5e9}}})
    assert loads.sent(ended(good)) == (23.5, "")
    refused = json.dumps({"start": {}, "error": "unable to connect to server: Connection refused"})
    assert loads.sent(ended(refused, 1)) == (None, "unable to connect to server: Connection refused")
    assert loads.sent(ended("", 127))[0] is None

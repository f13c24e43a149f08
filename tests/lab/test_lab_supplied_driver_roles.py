"""The roles ascend and hygon_dtk on twins, with simulated vendors' installers that know the vendors' options."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import ansible_mitogen
import pytest
from role_bench import REPOSITORY, Bench, role_bench

from boxwright.lab import TwinSpec
from boxwright.lab.vendors.installers import (
    ASCEND_VERSIONS,
    HYGON_VERSIONS,
    ascend_installers,
    dtk_archive,
    hygon_installers,
)
from boxwright.model.catalogues import load_profile

# Takes long: for the weekly run.
pytestmark = [pytest.mark.lab, pytest.mark.on_demand, pytest.mark.timeout(900)]

OLDER = {"driver": "24.1.rc2", "firmware": "7.3.0.1.231", "toolkit": "8.5.0", "ops": "8.5.0", "nnal": "8.5.0"}
TRACES = (
    "find /usr/local/Ascend /usr/local/hyhal /opt /var/lib/boxwright /var/log/boxwright /run/lock/boxwright* "
    "2>/dev/null | sort; getent passwd; dpkg-query -W"
)
HUAWEIS = r"""
cd /usr/local/Ascend
grep -H ^Version driver/version.info firmware/version.info
grep -H ^version cann/*-linux/ascend_*_install.info
grep -H 'atb :' nnal/atb/latest/version.info
ls /var/lib/boxwright/ascend
"""


@pytest.fixture(scope="module")
def ascend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    hardware = load_profile("8x910b").hardware
    specs = [TwinSpec("bookworm", "debian-12", hardware), TwinSpec("trixie", "debian-13", hardware)]
    with role_bench("ascend", specs, tmp_path_factory.mktemp("ascend"), packages=True) as bench:
        yield bench


@pytest.fixture(scope="module")
def hygon(ascend: Bench) -> Bench:
    """The same twins for the other role."""
    return dataclasses.replace(ascend, role="hygon_dtk", variables={})


def site(made: Mapping[Any, Any]) -> list[dict[str, Any]]:
    """What a site says of these files, in an order that is not the vendor's."""
    return [one.model_dump() for one in reversed(list(made.values()))]


ONE = ("--limit", "bookworm")  # where the distribution makes no difference


def supplied(folder: Path, part: str, version: str, script: str) -> dict[str, Any]:
    """An installer of one's own making."""
    path = folder / f"{part}-{version}.run"
    path.write_text(f"#!/bin/sh\n{script}\n")
    return {
        "part": part,
        "path": str(path),
        "version": version,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }


@pytest.fixture(autouse=True)
def as_the_product_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mitogen, which is also twice as quick."""
    folder = Path(ansible_mitogen.__file__).parent
    monkeypatch.setenv("ANSIBLE_STRATEGY", "mitogen_linear")
    monkeypatch.setenv("ANSIBLE_STRATEGY_PLUGINS", str(folder / "plugins" / "strategy"))


def kill_in_the_middle(bench: Bench, mark: str, **variables: Any) -> None:
    """Begin a run, and kill it on the controller as soon as every twin has the mark of an installer at work."""
    bench.run("--list-tasks", **variables)  # writes inventory and playbook
    with subprocess.Popen(
        [
            Path(sys.executable).with_name("ansible-playbook"),
            "-i",
            bench.folder / "inventory.json",
            bench.folder / "play.yml",
        ],
        env=os.environ | {"ANSIBLE_ROLES_PATH": str(REPOSITORY / "roles"), "ANSIBLE_PIPELINING": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        deadline = time.monotonic() + 90
        while any(bench.code_of(twin, f"test -e {mark}") for twin in bench.twins):
            assert time.monotonic() < deadline, "the installer never began"
            time.sleep(0.2)
        os.killpg(process.pid, signal.SIGKILL)
    # Its workers have groups of their own, and would wait for it for ever.
    subprocess.run(["pkill", "-KILL", "-f", str(bench.folder / "inventory.json")], check=False)


def test_files_that_are_not_the_promised_ones_are_refused_and_leave_nothing(ascend: Bench, tmp_path: Path) -> None:
    files = site(ascend_installers(tmp_path))
    before = ascend.everywhere(TRACES)
    nnal = next(one for one in files if one["part"] == "nnal")
    wrong = [one | {"sha256": "0" * 64} if one["part"] == "nnal" else one for one in files]
    ascend.run(*ONE, installers=wrong).refused(
        "Not the files that the site's artefacts promise: "
        f"{nnal['path']} has the sha256 {nnal['sha256']}, and {'0' * 64} is wanted. Nothing was copied."
    )
    gone = [one | {"path": "/nowhere/driver.run"} if one["part"] == "driver" else one for one in files]
    ascend.run(*ONE, "--check", installers=gone).refused("There is no file /nowhere/driver.run (driver 25.5.2)")
    ascend.run(*ONE, installers=[*files, nnal]).refused("names a part twice")
    assert ascend.everywhere(TRACES) == before


def test_a_dry_run_on_bare_machines_changes_nothing(ascend: Bench, tmp_path: Path) -> None:
    before = ascend.everywhere(TRACES)
    run = ascend.run("--check", "--diff", installers=site(ascend_installers(tmp_path, OLDER))).well()
    assert "driver 24.1.rc2 is wanted, and none is installed" in run.output
    assert run.changed > 0
    assert ascend.everywhere(TRACES) == before


def test_all_parts_are_installed_in_the_vendors_order_and_then_left_alone(ascend: Bench, tmp_path: Path) -> None:
    files = site(ascend_installers(tmp_path, OLDER))
    first = ascend.run(installers=files).well()
    assert "not provable in a container: that the module loads and cards answer" in first.output
    for said in ascend.everywhere(HUAWEIS):
        assert [line.rpartition("=")[2].rpartition(" ")[2] for line in said.splitlines()] == [
            OLDER[part] for part in ("driver", "firmware", "ops", "toolkit", "nnal")
        ]
    for done in ascend.everywhere("cat /var/log/ascend_seclog/operation.log"):
        assert [line.split()[2] for line in done.splitlines()] == list(OLDER)
    for account in ascend.everywhere("id -gn HwHiAiUser; getent shadow HwHiAiUser | cut -d: -f2"):
        assert account.split() == ["HwHiAiUser", "!"]
    assert all("SIMULATED" in log for log in ascend.everywhere("cat /var/log/boxwright/driver.log"))
    (tmp_path / "Ascend-cann-toolkit_8.5.0_linux-x86_64.run").unlink()  # who has the box need not keep the files
    ascend.run(installers=files).well(changed=0)
    ascend.run("--check", installers=files).well(changed=0)
    assert all("reboot-due" not in said for said in ascend.everywhere("find /run/boxwright 2>/dev/null; true"))


def test_newer_ones_go_over_them(ascend: Bench, tmp_path: Path) -> None:
    files = site(ascend_installers(tmp_path))
    ascend.run("--become", installers=files).well()
    for said in ascend.everywhere(HUAWEIS):
        assert [line.rpartition("=")[2].rpartition(" ")[2] for line in said.splitlines()] == [
            ASCEND_VERSIONS[part] for part in ("driver", "firmware", "ops", "toolkit", "nnal")
        ]
    for done in ascend.everywhere("tail -n 5 /var/log/ascend_seclog/operation.log"):
        assert [line.split()[1:3] for line in done.splitlines()] == [
            ["upgrade", "firmware"],  # the vendor wants it before another driver
            ["upgrade", "driver"],
            ["upgrade", "toolkit"],
            ["first", "ops"],  # the new toolkit took the old ones away
            ["upgrade", "nnal"],
        ]
    ascend.run("--become", "--check", installers=files).well(changed=0)


def test_a_machine_that_is_no_container_is_told_of_the_reboot(ascend: Bench, tmp_path: Path) -> None:
    bookworm = ascend.twins[0]
    firmware = site(ascend_installers(tmp_path, {"firmware": ASCEND_VERSIONS["firmware"]}))
    no_container = ("-e", '{"ascend_in_container": false}')
    ascend.run(*ONE, *no_container, "--check", installers=firmware).well(changed=0)
    assert ascend.code_of(bookworm, "test -e /run/boxwright/reboot-due/ascend") == 1
    ascend.run(*ONE, *no_container, installers=firmware).well(changed=0)
    assert ascend.on(bookworm, "stat -c %a /run/boxwright/reboot-due/ascend; cat /run/boxwright/reboot-due/ascend") == (
        "644\nAscend driver 25.5.2 and firmware 7.8.0.7.220 installed since the last boot\n"
    )


def test_an_older_version_is_refused(ascend: Bench, tmp_path: Path) -> None:
    older = ascend_installers(tmp_path, {"driver": "25.5.2.rc1"})  # which dpkg alone would take for newer
    ascend.run(*ONE, "--check", installers=site(older)).refused(
        "The vendor puts no older version over a newer one, and driver 25.5.2 is installed where 25.5.2.rc1 is wanted "
        "(/usr/local/Ascend/driver/script/uninstall.sh). Uninstall first"
    )


def test_what_fails_lies_or_hangs_is_told_and_leaves_no_copy(ascend: Bench, tmp_path: Path) -> None:
    fails = supplied(tmp_path, "driver", "25.6.0", "echo nine; echo SIMULATED: no compiler >&2; exit 3")
    ascend.run(*ONE, installers=[fails]).refused(
        "driver 25.6.0 is not installed: its installer ended with code 3, and /usr/local/Ascend/driver/version.info "
        "says 25.5.2. All that it said is in /var/log/boxwright/driver.log on the box, and this at last: nine | "
        "SIMULATED: no compiler"
    )
    assert "SIMULATED: no compiler" in ascend.on(ascend.twins[0], "cat /var/log/boxwright/driver.log")
    lies = supplied(tmp_path, "firmware", "7.9.0", "echo SIMULATED: installed successfully")
    ascend.run(*ONE, installers=[lies]).refused(
        "its installer ended with code 0, and /usr/local/Ascend/firmware/version"
    )
    hangs = supplied(tmp_path, "nnal", "9.2.0", "echo SIMULATED: asking; sleep 300")
    ascend.run(*ONE, "-e", "ascend_deadline_s=1", installers=[hangs]).refused("code 124, stopped after 1 s, and")
    left = ascend.on(ascend.twins[0], "ls /var/lib/boxwright/ascend; pgrep -f 'sleep [3]00'; true")
    assert left == "driver.unfinished\nnnal.unfinished\n"
    # An installer that did not end well is run again, though the version file says what is wanted.
    again = ascend.run(*ONE, installers=site(ascend_installers(tmp_path))).well()
    assert "driver 25.5.2 is wanted, and 25.5.2 is installed, by an installer that did not end well" in again.output
    assert ascend.on(ascend.twins[0], "ls /var/lib/boxwright/ascend") == ""


def test_a_copy_that_broke_on_its_way_is_not_run(ascend: Bench, tmp_path: Path) -> None:
    bookworm = ascend.twins[0]
    spoil = (
        "while sleep 0.02; do for f in /var/lib/boxwright/ascend/copies/*.run; do [ -e $f ] && echo >>$f; done; done"
    )
    ascend.on(bookworm, f"setsid timeout 120 sh -c '{spoil}' </dev/null >/dev/null 2>&1 &")
    ended = ascend.run(*ONE, installers=[supplied(tmp_path, "ops", "9.3.0", "touch /SIMULATED-ran")])
    ascend.on(bookworm, "pkill -f 'timeout [1]20'; true")
    ended.refused("did not arrive whole: the copy's sha256 is")
    assert ascend.code_of(bookworm, "test -e /SIMULATED-ran") == 1
    assert ascend.on(bookworm, "ls /var/lib/boxwright/ascend") == ""


def test_a_run_killed_in_the_middle_of_an_installer_is_made_good(ascend: Bench, tmp_path: Path) -> None:
    version_file = "/usr/local/Ascend/driver/version.info"
    slow = supplied(
        tmp_path, "driver", "25.6.0", f"echo Version=25.6.0 >{version_file}; echo SIMULATED: building; sleep 9"
    )
    kill_in_the_middle(ascend, "/var/lib/boxwright/ascend/driver.unfinished", installers=[slow])
    bookworm, trixie = ascend.twins
    # On one twin the power fails, on the other the installer goes on alone.
    ascend.on(bookworm, "pkill -KILL -f [b]oxwright/ascend/copies; true")
    assert "25.6.0" in ascend.on(bookworm, f"cat {version_file}; ls /var/lib/boxwright/ascend/copies")
    whole = supplied(tmp_path, "driver", "25.6.0", f"echo Version=25.6.0 >{version_file}; echo SIMULATED: again")
    ascend.run(installers=[whole]).well()
    assert ascend.everywhere("ls /var/lib/boxwright/ascend") == ["", ""]
    assert "SIMULATED: again" in ascend.on(bookworm, "cat /var/log/boxwright/driver.log")
    assert "SIMULATED: again" not in ascend.on(trixie, "cat /var/log/boxwright/driver.log")


HYGONS = "head -n 1 /opt/hyhal/.info/version /opt/dtk/.info/rocm_version; readlink /opt/dtk; ls -A /opt"


def test_hygon_is_refused_what_huawei_is(hygon: Bench, tmp_path: Path) -> None:
    files = site(hygon_installers(tmp_path))
    before = hygon.everywhere(TRACES)
    wrong = [one | {"sha256": "0" * 64} if one["part"] == "dtk" else one for one in files]
    hygon.run(*ONE, installers=wrong).refused(
        f"has the sha256 {files[0]['sha256']}, and {'0' * 64} is wanted. Nothing was"
    )
    hygon.run(*ONE, installers=[files[0] | {"path": "/nowhere"}]).refused(
        "There is no file /nowhere (dtk 26.04) on the"
    )
    hygon.on(hygon.twins[0], "mkdir /opt/dtk /opt/hyhal")
    unreadable = "A driver is installed in /opt/hyhal, and /opt/hyhal/.info/version says no version"
    hygon.run(*ONE, installers=files).refused(unreadable)
    hygon.on(hygon.twins[0], "rmdir /opt/hyhal")
    hygon.run(*ONE, installers=files).refused("/opt/dtk is a folder")
    hygon.on(hygon.twins[0], "rmdir /opt/dtk")
    assert hygon.run("--check", installers=files).well().changed == 2  # one task of each twin
    assert hygon.everywhere(TRACES) == before


def test_driver_and_dtk_are_installed_and_then_left_alone(
    hygon: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ANSIBLE_STRATEGY")  # from a plain playbook, too
    files = site(hygon_installers(tmp_path, {"driver": "6.3.16-V1.1.0a", "dtk": "25.04.2"}))
    first = hygon.run(installers=files).well()
    assert "not provable in a container: that the module loads and cards answer" in first.output
    for said in hygon.everywhere(HYGONS):
        assert "6.3.16-V1.1.0a 20260101-000000" in said
        assert said.splitlines()[-4:] == ["/opt/dtk-25.04.2", "dtk", "dtk-25.04.2", "hyhal"]
    assert hygon.everywhere("stat -c '%a %U' /opt/dtk/ /opt/dtk/env.sh") == ["755 root\n644 root\n"] * 2
    hygon.run(installers=files).well(changed=0)
    hygon.run("--check", installers=files).well(changed=0)


def test_a_newer_dtk_goes_beside_and_an_older_one_is_refused(hygon: Bench, tmp_path: Path) -> None:
    hygon.everywhere("mkdir -p /opt/dtk-26.04/half; touch /opt/dtk-26.04/half/unpacked")  # by somebody's hand
    hygon.run(installers=site(hygon_installers(tmp_path))).well()
    for said in hygon.everywhere(HYGONS):
        assert HYGON_VERSIONS["driver"] in said
        assert said.splitlines()[-5:] == ["/opt/dtk-26.04", "dtk", "dtk-25.04.2", "dtk-26.04", "hyhal"]
    assert hygon.everywhere("ls -A /opt/dtk/") == [".info\nSIMULATED\nenv.sh\n"] * 2
    hygon.run(*ONE, installers=site(hygon_installers(tmp_path, {"dtk": "25.04.4"}))).refused(
        "An older version is not put over a newer one, and dtk 26.04 is installed where 25.04.4 is wanted (rm /opt/dtk)"
    )


def test_what_is_no_dtk_or_fails_leaves_the_old_one_in_place(hygon: Bench, tmp_path: Path) -> None:
    before = hygon.everywhere(HYGONS)
    path = tmp_path / "other.tar.gz"
    path.write_bytes(dtk_archive("dtk-26.10", "26.10"))
    other = {"part": "dtk", "path": str(path), "version": "27.04"}
    other["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    hygon.run(*ONE, installers=[other]).refused("this at last: this is DTK 26.10")
    fails = supplied(tmp_path, "driver", "6.4.2-V2.1.0", "echo SIMULATED: no headers; exit 1")
    hygon.run(*ONE, installers=[fails]).refused("ended with code 1, and /opt/hyhal/.info/version says 6.3.30-V1.4.1a.")
    assert hygon.everywhere(HYGONS) == before
    assert hygon.on(hygon.twins[0], "ls /var/lib/boxwright/hygon_dtk") == "driver.unfinished\ndtk.unfinished\n"
    hygon.run(installers=site(hygon_installers(tmp_path))).well()
    assert hygon.everywhere(HYGONS) == before
    assert hygon.everywhere("ls /var/lib/boxwright/hygon_dtk") == ["", ""]

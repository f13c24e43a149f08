"""The role container_runtime on twins: Debian's real Docker, real connections from outside, and simulated vendors.

The tests tell the story of two machines, one of each release, and build on each other.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from role_bench import REPOSITORY, Bench, role_bench

from boxwright.errors import UnreachableError
from boxwright.lab import RunningTwin, TwinSpec
from boxwright.lab.vendors.docker import container_toolkit_packages, docker_packages
from boxwright.lab.vendors.repository import KEY, Package, build
from boxwright.model.catalogues import load_profile

# Tests of profiles take the role through a first and a second run every time; its variants and faults are for the
# weekly run.
pytestmark = [pytest.mark.lab, pytest.mark.on_demand, pytest.mark.timeout(900)]

SHELF = "/srv/simulated"
DOCKER, TOOLKIT = "5:29.1.3-1~debian", "1.18.1-1"
CE = {"source": "docker_ce", "gpu": "nvidia"}
HELD = {"docker-ce", "docker-ce-cli", "containerd.io", "nvidia-container-toolkit", "libnvidia-container1"}
TRACES = "find /etc /srv/docker /usr/local -newer /var/lib/begun ! -name '*.swp' 2>/dev/null; nft list tables"
WITH_PASSWORD = "http://user:geheim@proxy.example:3128"


def put(bench: Bench, name: str, packages: Iterable[Package]) -> dict[str, Any]:
    """A simulated repository on every twin, and how the role finds it."""
    shelf = bench.folder / name
    shelf.mkdir()
    fingerprint = build(shelf, packages)
    bench.everywhere(f"mkdir -p {SHELF}")
    bench.copy(shelf, f"{SHELF}/")
    place = f"file://{SHELF}/{name}"
    own: dict[str, Any] = {"suite": "./", "components": []}
    return own | {"uri": place, "key_url": f"{place}/{KEY}", "key_fingerprint": fingerprint}


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    hardware = load_profile("8x4090").hardware
    specs = [
        TwinSpec("bookworm", "debian-12", hardware, containers=True),
        TwinSpec("trixie", "debian-13", hardware, containers=True),
    ]
    with role_bench("container_runtime", specs, tmp_path_factory.mktemp("docker"), packages=True) as bench:
        bench.everywhere("DEBIAN_FRONTEND=noninteractive apt-get -qq install busybox-static >/dev/null; sleep 0.1")
        bench.everywhere("touch /var/lib/begun")
        bench.variables |= {"source": "debian", "registry_mirrors": [], "no_proxy": []}
        bench.variables["repository"] = put(bench, "docker", docker_packages(["5:28.5.2-1~debian", DOCKER]))
        bench.variables["toolkit_repository"] = put(bench, "toolkit", container_toolkit_packages(["1.17.7-1", TOOLKIT]))
        yield bench


def info(bench: Bench) -> list[dict[str, Any]]:
    """What each daemon says of itself."""
    return [json.loads(text) for text in bench.everywhere("docker info --format '{{json .}}'")]


def logs_of_a_new_container(bench: Bench) -> list[dict[str, str]]:
    """The limits that the running daemon gives to a new container."""
    ask = "docker inspect --format '{{json .HostConfig.LogConfig.Config}}' $(docker create box sh)"
    return [json.loads(text) for text in bench.everywhere(f"{ask}; docker container prune --force >/dev/null")]


def answers(twin: RunningTwin, port: int) -> bool:
    """Whether a connection from the controller to a port of a twin is taken."""
    try:
        socket.create_connection((twin.address, port), timeout=2).close()
    except OSError:
        return False
    return True


def succeeds(bench: Bench, twin: RunningTwin, command: str) -> bool:
    """Whether a command does, on a twin that may be down."""
    try:
        return bench.code_of(twin, command) == 0
    except UnreachableError:
        return False


def wait_until(bench: Bench, command: str) -> None:
    """Wait until a command succeeds on every twin."""
    deadline = time.monotonic() + 120
    for twin in bench.twins:
        while not succeeds(bench, twin, command):
            assert time.monotonic() < deadline, f"{twin.name}: {command}"
            time.sleep(0.3)


def reboot(bench: Bench) -> None:
    """Reboot every twin at once, and wait until each of them is up again."""
    bench.everywhere("touch /run/before-the-reboot")
    for twin in bench.twins:
        succeeds(bench, twin, "systemctl reboot")
    wait_until(bench, "[ ! -e /run/before-the-reboot ] && systemctl is-active docker")


def test_what_cannot_be_is_refused_on_bare_machines(bench: Bench) -> None:
    bookworm, trixie = bench.twins
    list_of = "/etc/apt/sources.list.d/{}.list"
    bench.on(bookworm, "ip link add br-lan type bridge")
    bench.on(trixie, f"echo 'deb https://download.docker.com/linux/debian trixie stable' > {list_of.format('docker')}")
    ended = bench.run(source="docker_ce")
    ended.refused("and would let br-lan reach all published ports").refused("/etc/apt/sources.list.d/docker.list names")
    bench.on(bookworm, "ip link delete br-lan")
    bench.on(trixie, f"rm {list_of.format('docker')}")

    bench.on(
        trixie,
        "echo 'deb https://nvidia.github.io/nvidia-docker/debian10/$(ARCH) /' > "
        + list_of.format("libnvidia-container"),
    )
    ended = bench.run(gpu="nvidia")
    ended.refused("Debian 12's own Docker is 20.10, which knows no CDI")
    ended.refused("/etc/apt/sources.list.d/libnvidia-container.list names")
    bench.on(trixie, f"rm {list_of.format('libnvidia-container')}")


def test_a_dry_run_on_bare_machines_changes_nothing(bench: Bench) -> None:
    before = bench.everywhere(TRACES)
    assert bench.run("--check", "--diff").well().changed > 0
    assert bench.everywhere(TRACES) == before


def test_docker_runs_with_the_settings_of_the_profile(bench: Bench) -> None:
    bench.everywhere("mkdir /etc/docker; echo '{\"debug\": true}' > /etc/docker/daemon.json")
    bench.run().well()
    for said in info(bench):
        assert (said["DockerRootDir"], said["CgroupDriver"], said["LoggingDriver"], said["LiveRestoreEnabled"]) == (
            *("/srv/docker", "cgroupfs", "json-file"),
            True,
        )
        assert not said["Debug"]
        assert "Managed by Boxwright" in said["Labels"][0]
    assert bench.everywhere("cat /etc/docker/daemon.json.before-boxwright") == ['{"debug": true}\n'] * 2
    assert bench.everywhere("getent group docker | cut -d : -f 4") == ["\n"] * 2  # its members would be root
    assert all("(none)" in text for text in bench.everywhere("apt-cache policy docker-ce || echo '(none)'"))
    bench.everywhere(
        "mkdir -p /tmp/box/bin /tmp/box/tmp && cd /tmp/box && cp /bin/busybox bin/"
        " && for name in sh sleep httpd cat test; do ln -s busybox bin/$name; done"
        " && printf '#!/bin/sh\\ntest ! -e /tmp/lost\\n' > bin/nvidia-smi && chmod +x bin/nvidia-smi"
        " && tar -c . | docker import - box"
    )
    # No limit on locked memory, where the lab's machine can lift its own.
    most = bench.everywhere("bash -c 'ulimit -l unlimited 2>/dev/null; ulimit -l'")
    assert bench.everywhere("docker run --rm box sh -c 'ulimit -l'") == most
    assert logs_of_a_new_container(bench) == [{"max-file": "5", "max-size": "50m"}] * 2
    bench.run().well(changed=0)
    bench.run("--check").well(changed=0)


def test_published_ports_answer_the_box_alone(bench: Bench) -> None:
    serve = "docker run -d --restart always box httpd -f -p 80"
    bench.everywhere(serve.replace("box", "--name plain -p 8081:80 box"))
    bench.everywhere(serve.replace("box", "--name everywhere -p 0.0.0.0:8080:80 box"))
    bench.everywhere("docker network create inner")
    bench.everywhere(serve.replace("box", "--name inner --network inner -p 0.0.0.0:8082:80 box"))
    own = "curl -s -o /dev/null --max-time 5 http://{}:{}/"
    for twin in bench.twins:
        for address, port in (("127.0.0.1", 8081), (twin.address, 8080), (twin.address, 8082)):
            assert bench.code_of(twin, own.format(address, port)) == 0
        assert [port for port in (8080, 8081, 8082) if answers(twin, port)] == []


def test_a_neighbour_does_not_reach_the_address_of_a_container(bench: Bench) -> None:
    bookworm, trixie = bench.twins
    address = "docker inspect --format '{{.NetworkSettings.IPAddress}}' everywhere"
    for attacker, target in ((bookworm, trixie), (trixie, bookworm)):
        inside = bench.on(target, address).strip()
        bench.on(attacker, f"ip route add {inside}/32 via {target.address}")
        attack = f"curl -s -o /dev/null --max-time 2 http://{inside}/"
        assert bench.code_of(attacker, attack) != 0
        # Without the rules it would: this Docker accepts what comes for a published port.
        bench.on(target, "nft delete table inet boxwright_containers")
        assert bench.code_of(attacker, attack) == 0
        bench.on(attacker, f"ip route delete {inside}/32")
        bench.on(target, "systemctl reload boxwright-containers")


def test_a_listed_port_is_reachable_and_rules_survive_docker_and_reboots(bench: Bench) -> None:
    bench.run(reachable_ports=[8080]).well(changed=4)  # the file, and loading it

    def reachable() -> list[list[int]]:
        return [[port for port in (8080, 8081, 8082) if answers(twin, port)] for twin in bench.twins]

    assert reachable() == [[8080]] * 2
    bench.everywhere("systemctl reset-failed docker docker.socket; systemctl restart docker nftables")
    # nftables.service empties the whole ruleset; Docker puts its own back when it starts.
    bench.everywhere("systemctl restart docker")
    assert reachable() == [[8080]] * 2
    reboot(bench)
    wait_until(bench, "curl -s -o /dev/null http://127.0.0.1:8082/")
    assert reachable() == [[8080]] * 2
    bench.run("--check", reachable_ports=[8080]).well(changed=0)


def test_drift_is_put_back_while_containers_go_on(bench: Bench) -> None:
    started = "docker inspect --format '{{.State.Pid}}' everywhere"
    containers = bench.everywhere(started)
    bench.everywhere(
        'sed -i \'s/: "5"/: "7"/\' /etc/docker/daemon.json; systemctl reset-failed docker; systemctl restart docker;'
        "nft insert rule inet boxwright_containers forward accept"
    )
    assert logs_of_a_new_container(bench)[0]["max-file"] == "7"
    assert all(answers(twin, 8082) for twin in bench.twins)
    drifted = bench.run("--check", reachable_ports=[8080]).well()
    assert drifted.changed >= 4
    assert "/etc/docker/daemon.json is newer" in bench.run(reachable_ports=[8080]).well().output
    assert logs_of_a_new_container(bench) == [{"max-file": "5", "max-size": "50m"}] * 2
    assert not any(answers(twin, 8082) for twin in bench.twins)
    assert bench.everywhere(started) == containers  # live-restore


def test_docker_does_not_start_where_its_disk_is_not_mounted(bench: Bench) -> None:
    mount = "[Mount]\\nWhat=/dev/absent\\nWhere=/srv\\nType=ext4\\n"
    bench.everywhere(f"systemctl --quiet stop docker.socket docker; printf '{mount}' > /etc/systemd/system/srv.mount")
    started = [bench.code_of(twin, "systemctl daemon-reload; systemctl start docker") for twin in bench.twins]
    said = bench.everywhere("journalctl --boot --unit=docker --output=cat --no-pager --lines=3")
    bench.everywhere("rm /etc/systemd/system/srv.mount; systemctl daemon-reload; systemctl reset-failed")
    assert all(started)
    assert all("Dependency failed for docker.service" in lines for lines in said)
    bench.everywhere("systemctl start docker")
    bench.run("--check", reachable_ports=[8080]).well(changed=0)


def test_a_killed_run_is_made_good_by_the_next_one(bench: Bench) -> None:
    new = {"log_files": 3, "proxy": WITH_PASSWORD}
    bench.run("--list-tasks", **new).well()  # writes the inventory
    program = Path(sys.executable).with_name("ansible-playbook")
    killed = subprocess.Popen(
        [program, "-i", bench.folder / "inventory.json", bench.folder / "play.yml"],
        env=os.environ | {"ANSIBLE_ROLES_PATH": str(REPOSITORY / "roles"), "ANSIBLE_PIPELINING": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        wait_until(bench, "grep -q 'max-file\": \"3' /etc/docker/daemon.json")
    finally:
        os.killpg(killed.pid, signal.SIGKILL)
        killed.wait()
    assert [limits["max-file"] for limits in logs_of_a_new_container(bench)] == ["5", "5"]  # not yet in force
    made_good = bench.run(**new).well()
    assert "geheim" not in made_good.output
    assert [limits["max-file"] for limits in logs_of_a_new_container(bench)] == ["3", "3"]
    assert all("proxy.example:3128" in said["HttpsProxy"] for said in info(bench))
    assert bench.everywhere("stat --format %a /etc/docker/boxwright-proxy.env") == ["600\n"] * 2
    for shown in bench.everywhere("runuser -u nobody -- systemctl show docker; grep -rl geheim /etc/systemd || true"):
        assert "boxwright-proxy.env" in shown
        assert "geheim" not in shown


def test_containers_are_neither_left_behind_nor_ended_by_the_way(bench: Bench) -> None:
    bench.run(data_root="/srv/elsewhere").refused(
        "Docker's data is in /srv/docker, with 3 containers; with /srv/elsewhere it would know none of them"
    )
    bench.run(source="docker_ce").refused("This machine has Debian's docker.io, ")
    assert bench.everywhere("docker ps --quiet | wc -l") == ["3\n"] * 2


def test_docker_ce_and_the_toolkit_of_simulated_vendors(bench: Bench) -> None:
    bench.everywhere(
        "docker ps --all --quiet | xargs --no-run-if-empty docker rm --force >/dev/null;"
        "apt-get -qq -y remove"
        " $(dpkg-query -W -f '${Package} ' docker.io docker-cli containerd runc 2>/dev/null) >/dev/null"
    )
    broken = put(bench, "broken", container_toolkit_packages(["1.16.2-1", "1.17.7-1"]))
    bench.run(**CE, toolkit_repository=broken).refused(
        "file:///srv/simulated/broken has no nvidia-container-toolkit of 1.17.8 or later; it has 1.17.7-1, 1.16.2-1"
    )
    assert all("Candidate: (none)" in policy for policy in bench.everywhere("apt-cache policy docker.io"))
    assert "not provable in a container" in bench.run(**CE).well().output
    for held in bench.everywhere("apt-mark showhold"):
        assert set(held.split()) >= HELD
    versions = "dpkg-query -W -f '${Version} ' docker-ce nvidia-container-toolkit-base libnvidia-container1"
    assert bench.everywhere(versions) == [f"{DOCKER} {TOOLKIT} {TOOLKIT} "] * 2
    for said in info(bench):
        assert "nvidia" in said["Runtimes"]
    for settings in map(json.loads, bench.everywhere("cat /etc/docker/daemon.json")):
        assert settings["features"] == {"cdi": True}
        assert settings["runtimes"]["nvidia"]["path"] == "nvidia-container-runtime"
    assert bench.everywhere("systemctl is-enabled nvidia-cdi-refresh") == ["enabled\n"] * 2
    assert bench.everywhere("docker run --rm box cat /bin/nvidia-smi | wc -l") == ["2\n"] * 2
    bench.run(**CE).well(changed=0)
    bench.run().refused(f"This machine has docker-ce {DOCKER}, and the profile wants Debian's packages")


def test_a_container_that_lost_its_cards_is_restarted(bench: Bench) -> None:
    # Simulated: the card is /dev/null under a card's name, and nvidia-smi fails where /tmp/lost is.
    run = "docker run -d --tmpfs /tmp --name {} --device /dev/null:/dev/nvidia0 box sleep 1000"
    bench.everywhere(run.format("has-cards"))
    bench.everywhere(run.format("lost-cards"))
    bench.everywhere("docker run -d --tmpfs /tmp --name nvidia-in-name-only box sleep 1000")
    for name in ("lost-cards", "nvidia-in-name-only"):
        bench.everywhere(f"docker exec {name} sh -c 'echo > /tmp/lost'")
    state = "docker inspect --format '{{.State.StartedAt}}' has-cards nvidia-in-name-only"
    before = bench.everywhere(state)
    assert "lost lost-cards: nvidia-smi fails in it" in bench.run("--check", **CE).well(changed=2).output
    assert "restarted lost-cards: it had lost its cards" in bench.run(**CE).well(changed=2).output
    assert bench.everywhere("boxwright-container-cards") == ["", ""]
    assert bench.everywhere(state) == before

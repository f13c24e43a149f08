"""The role rdma on twins: real packages, interfaces and limits; adapters are simulated by files, and called so."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from role_bench import Bench, role_bench

from boxwright.lab import TwinSpec
from boxwright.model.hardware import Cpu, Hardware

# Tests of profiles take the role through a first and a second run every time; its variants and faults are for the
# weekly run.
pytestmark = [pytest.mark.lab, pytest.mark.on_demand, pytest.mark.timeout(600)]

HARDWARE = Hardware(cpu=Cpu(cores_per_socket=2), memory_gib=4, disk_gib=4)
FILE = "/etc/boxwright/fabric.env"
TRACES = f"ls {FILE} /etc/security/limits.d /etc/systemd/system.conf.d 2>/dev/null | grep boxwright; true"
# What a unit of an engine would get.
ENVIRONMENT = (
    f"systemd-run --quiet --pipe --wait --property=EnvironmentFile={FILE} env | grep -E '^(NCCL|GLOO|VLLM)' | sort"
)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    specs = [TwinSpec("bookworm", "debian-12", HARDWARE), TwinSpec("trixie", "debian-13", HARDWARE)]
    with role_bench("rdma", specs, tmp_path_factory.mktemp("rdma"), packages=True) as bench:
        yield bench


def test_a_dry_run_on_bare_machines_changes_nothing(bench: Bench) -> None:
    assert bench.run("--check", "--diff").well().changed > 0
    assert bench.everywhere(f"{TRACES}; dpkg-query -W rdma-core 2>/dev/null; true") == ["", ""]


def test_engines_are_told_the_network_that_ssh_comes_in_by(bench: Bench) -> None:
    assert "not provable in a container: that there are adapters" in bench.run().well().output
    for twin in bench.twins:
        told = bench.on(twin, ENVIRONMENT).splitlines()
        assert told == ["GLOO_SOCKET_IFNAME=eth0", "NCCL_SOCKET_IFNAME==eth0", f"VLLM_HOST_IP={twin.address}"]
    assert bench.everywhere("systemctl show --value --property=DefaultLimitMEMLOCK") == ["infinity\n"] * 2
    tools = "command -v ibv_devinfo ibstat ib_write_bw; ls /usr/lib/*/libibverbs/libmlx5-rdmav*.so"
    assert all(len(found.split()) == 4 for found in bench.everywhere(tools))
    bench.run().well(changed=0)
    bench.run("--check", "--diff").well(changed=0)


def test_drift_is_put_back(bench: Bench) -> None:
    bench.everywhere(f"sed -i s/eth0/eth9/ {FILE}; sed -i /MEMLOCK/d /etc/systemd/system.conf.d/90-boxwright-rdma.conf")
    bench.everywhere("systemctl daemon-reload; dpkg --remove --force-depends infiniband-diags >/dev/null 2>&1")
    bench.run("--check").well(changed=8)  # of each twin: a package, two files, and the running limit
    bench.run().well()
    assert all("eth9" not in text for text in bench.everywhere(f"cat {FILE}"))
    assert bench.everywhere("systemctl show --value --property=DefaultLimitMEMLOCK") == ["infinity\n"] * 2
    assert all("ibstat" in path for path in bench.everywhere("command -v ibstat"))
    bench.run().well(changed=0)


def test_a_network_of_none_or_two_interfaces_or_without_a_link_is_refused(bench: Bench) -> None:
    before = bench.everywhere(f"cat {FILE}")
    bench.run(compute_network="198.51.100.0/24").refused(
        f"No interface has an address in 198.51.100.0/24. There are eth0 {bench.twins[0].address}/24."
    )
    for name, address in (("one", "198.51.100.7/24"), ("two", "198.51.100.9/26")):
        bench.everywhere(
            f"ip link add {name} type veth peer name {name}-peer && ip address add {address} dev {name}"
            f" && ip link set {name} up && ip link set {name}-peer up"
        )
    bench.run(compute_network="198.51.100.0/24").refused(
        f"2 interfaces have an address in 198.51.100.0/24: one, two. There are eth0 {bench.twins[0].address}/24, "
        "one 198.51.100.7/24, two 198.51.100.9/26. Say a network"
    )
    bench.everywhere("ip link delete two; ip link set one-peer down")
    bench.run(compute_network="198.51.100.0/24").refused("one has 198.51.100.7 in 198.51.100.0/24, and no link.")
    assert bench.everywhere(f"cat {FILE}") == before


def test_a_network_that_ssh_does_not_show_is_not_guessed(bench: Bench) -> None:
    """Simulated: the shell is told of an address that the machine does not have, as behind a forwarded port."""
    bench.everywhere("cp .bashrc bashrc; sed -i '1iexport SSH_CONNECTION=\"192.0.2.1 1 192.0.2.2 22\"' .bashrc")
    ended = bench.run()
    bench.everywhere("mv bashrc .bashrc")
    ended.refused("this machine is not reached by ssh over one of its own addresses. It has eth0")


def test_active_ports_alone_are_named_exactly(bench: Bench) -> None:
    """Simulated: twins that deny being containers, with adapters as plain files under the kernel's names."""
    ports = (("mlx5_0", "1: DOWN"), ("mlx5_2", "4: ACTIVE"), ("mlx5_10", "4: ACTIVE"), ("mlx5_3", "2: INIT"))
    adapters = "".join(
        f"mkdir -p class/infiniband/{name}/ports/1; echo '{state}' >class/infiniband/{name}/ports/1/state\n"
        for name, state in ports
    )
    bench.everywhere(f"""set -e; ip link set one-peer up; mkdir /root/simulated; cd /root/simulated
        mkdir class; cp -a /sys/class/net class; {adapters}
        printf '#!/bin/sh\\necho none\\nexit 1\\n' >none; chmod +x none
        mount --bind class /sys/class; mount --bind none /usr/bin/systemd-detect-virt""")
    shown = bench.run(compute_network="198.51.100.0/24", gid_index=3).well(changed=2).output
    assert "active adapter ports: mlx5_2:1, mlx5_10:1" in shown
    assert "left out: mlx5_0:1 is DOWN, mlx5_3:1 is INIT" in shown
    wanted = [
        "GLOO_SOCKET_IFNAME=one",
        "NCCL_IB_GID_INDEX=3",
        "NCCL_IB_HCA==mlx5_2:1,mlx5_10:1",
        "NCCL_SOCKET_IFNAME==one",
        "VLLM_HOST_IP=198.51.100.7",
    ]
    assert [told.splitlines() for told in bench.everywhere(ENVIRONMENT)] == [wanted] * 2
    bench.run(compute_network="198.51.100.0/24", gid_index=3).well(changed=0)

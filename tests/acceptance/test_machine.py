"""Disks, kernel, drivers and containers are as the profile says. What needs the real machine is unproven on a twin."""

from __future__ import annotations

import pytest

from boxwright.verification import drivers, pins
from boxwright.verification.check import UnprovenError
from boxwright.verification.facts import Facts
from boxwright.verification.job import VerifyHost
from boxwright.verification.plugin import Evidence
from boxwright.verification.remote import source
from boxwright.verification.ssh import BoxShell


@pytest.fixture(scope="module")
def facts(shell: BoxShell, target: VerifyHost) -> Facts:
    asked = {
        "packages": [*drivers.PATTERNS, *pins.held(target.profile)],
        "folders": list(target.profile.folders.values()),
        "preferences": pins.preferences(target.profile),
    }
    return Facts(shell.python(source("machine_facts"), asked))


@pytest.mark.check(
    id="machine.disks",
    title="Models and containers do not lie on the system's disk",
    severity="major",
    remedy="Name the host's disks in the site (./invoke docs site), and provision the stage storage.",
    needs="storage",
)
def test_disks(facts: Facts, target: VerifyHost, evidence: Evidence) -> None:
    if target.twin:
        raise UnprovenError("a twin has one disk, which is the controller's")
    devices = facts.told("devices")
    uses = {use for disk in target.profile.hardware.disks for use in disk.holds if use != "system"}
    folders = [folder for use, folder in target.profile.folders.items() if use in uses]
    wrong = [folder for folder in folders if devices[folder] == devices["/"]]
    assert not wrong, f"on the system's file system: {', '.join(wrong)}"
    evidence(f"apart from the system: {', '.join(folders)}")


@pytest.mark.check(
    id="machine.kernel_arguments",
    title="The kernel runs with the profile's arguments",
    severity="major",
    remedy="Provision again with reboot.when: needed; look into /proc/cmdline for what the boot loader passed on.",
)
def test_kernel_arguments(facts: Facts, target: VerifyHost, evidence: Evidence) -> None:
    wanted = target.profile.kernel.arguments
    if wanted and target.shares_kernel:
        raise UnprovenError("a container twin runs the controller's kernel")
    missing = [argument for argument in wanted if argument not in facts.told("arguments")]
    assert not missing, f"not in /proc/cmdline: {' '.join(missing)}"
    evidence(f"in force: {' '.join(wanted) or 'none asked for'}")


@pytest.mark.check(
    id="machine.locked_memory",
    title="Services may lock as much memory as the profile says",
    severity="major",
    remedy="Provision again: the role kernel writes the limit.",
)
def test_locked_memory(facts: Facts, target: VerifyHost, evidence: Evidence) -> None:
    limit = facts.told("memlock")
    unlimited = target.profile.kernel.memlock_unlimited
    assert not unlimited or limit == "infinity", f"DefaultLimitMEMLOCK is {limit}"
    evidence(f"DefaultLimitMEMLOCK={limit}")


@pytest.mark.check(
    id="machine.reboot",
    title="No setting waits for a reboot",
    severity="major",
    remedy="Provision again with reboot.when: needed, or reboot the machine when it suits.",
)
def test_nothing_waits_for_a_reboot(facts: Facts, evidence: Evidence) -> None:
    due = facts.told("reboot_due")
    assert not due, "; ".join(due)
    evidence("no role has left a reason")


@pytest.mark.check(
    id="machine.driver_packages",
    title="The driver's packages are of one version of the promised branch, and held",
    severity="critical",
    remedy="Provision again: the role nvidia_driver installs, pins and holds them.",
    needs="nvidia_driver",
)
def test_driver_packages(facts: Facts, target: VerifyHost, evidence: Evidence) -> None:
    policy = target.nvidia_driver
    assert policy is not None
    found = drivers.of_driver(facts.told("packages"))
    missing = drivers.missing(policy, found)
    assert not missing, f"not installed: {', '.join(missing)}"
    releases = drivers.releases(found.values())
    assert len(releases) == 1, f"of several releases: {', '.join(releases)}"
    assert releases[0].startswith(f"{policy.branch}."), f"{releases[0]} is not of branch {policy.branch}"
    loose = drivers.loose(found.values())
    assert not loose, f"not held: {', '.join(loose)}"
    simulated = "; the packages are SIMULATED" if any(one["simulated"] for one in found.values()) else ""
    evidence(f"{len(found)} packages of {releases[0]}, held{simulated}")


@pytest.mark.check(
    id="machine.driver_module",
    title="The driver's module that is loaded is of the release of its libraries",
    severity="critical",
    remedy="Reboot the machine: an upgrade changed the libraries under a module that runs. Then: dkms status.",
    needs="nvidia_driver",
)
def test_driver_module(facts: Facts, target: VerifyHost, evidence: Evidence) -> None:
    if target.twin:
        raise UnprovenError("a twin loads no module of a driver")
    loaded = facts.told("driver_module")
    installed = drivers.releases(drivers.of_driver(facts.told("packages")).values())
    assert [loaded] == installed, f"{loaded} is loaded, and the libraries are of {', '.join(installed) or 'no release'}"
    evidence(f"module and libraries are of {loaded}")


@pytest.mark.check(
    id="machine.pins",
    title="What vendors' repositories offer is pinned, and what no upgrade may change is held",
    severity="major",
    remedy="Provision again: the role that installs the package writes its pins and holds it. apt-mark showhold.",
    needs="pins",
)
def test_pins(facts: Facts, target: VerifyHost, evidence: Evidence) -> None:
    files = facts.told("preferences")
    loose = [f"{path} {'is gone' if count is None else 'pins nothing'}" for path, count in files.items() if not count]
    meant = pins.held(target.profile)
    found = [one for one in facts.told("packages") if one["name"] in meant]
    loose += [f"{one['name']} is not held" for one in found if not one["held"]]
    assert not loose, ", ".join(loose)
    assert found or not meant, f"none of {', '.join(meant)} is installed"
    simulated = "; packages are SIMULATED" if any(one["simulated"] for one in found) else ""
    evidence(f"pinned by {len(files)} files; held: {', '.join(one['name'] for one in found) or 'none'}{simulated}")


@pytest.mark.check(
    id="machine.docker",
    title="Docker runs with its data, logs and control groups where the profile says",
    severity="critical",
    remedy="On the box: journalctl -u docker -n 50; then provision the stage container_runtime again.",
    needs="container_runtime",
)
def test_docker(facts: Facts, target: VerifyHost, evidence: Evidence) -> None:
    policy, running = target.container_runtime, facts.told("docker")
    assert policy is not None
    wanted = {"DockerRootDir": policy.data_root, "CgroupDriver": policy.cgroup_driver, "LoggingDriver": "json-file"}
    wrong = [f"{name} is {running[name]}, not {value}" for name, value in wanted.items() if running[name] != value]
    assert not wrong, ", ".join(wrong)
    evidence(f"Docker {running['ServerVersion']}, data in {policy.data_root}, {policy.cgroup_driver}")


@pytest.mark.check(
    id="machine.published_ports",
    title="Ports that containers publish answer other machines only where the profile says so",
    severity="critical",
    remedy="Provision the stage container_runtime again: its table drops what comes to published ports.",
    needs="container_runtime",
)
def test_published_ports(facts: Facts, evidence: Evidence) -> None:
    chains = [item["chain"] for item in facts.told("published")["nftables"] if "chain" in item]
    hooked = [chain["name"] for chain in chains if chain.get("hook") == "forward"]
    assert hooked, "the table inet boxwright_containers has no chain on forward"
    drops = sum("drop" in str(item["rule"]["expr"]) for item in facts.told("published")["nftables"] if "rule" in item)
    assert drops, "no rule of the table drops anything"
    evidence(f"table inet boxwright_containers: chain {', '.join(hooked)}, {drops} rules that drop")


@pytest.mark.check(
    id="machine.fabric",
    title="The interface that joins the nodes is there and has the address that the node is known by",
    severity="critical",
    remedy="Set networks.compute of the site to the nodes' own network, and provision the stage rdma again.",
    needs="rdma",
)
def test_fabric(facts: Facts, evidence: Evidence) -> None:
    settings = facts.told("fabric")
    address, interface = settings.get("VLLM_HOST_IP", ""), settings.get("NCCL_SOCKET_IFNAME", "")
    assert interface, "/etc/boxwright/fabric.env names no interface"
    assert settings.get("GLOO_SOCKET_IFNAME") == interface, "NCCL and Gloo are sent over different interfaces"
    assert address in settings["addresses"].split(), f"{interface} does not have {address or 'any address'}"
    evidence(f"{interface} with {address}")

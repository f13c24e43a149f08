"""The services of a box run, start at boot, and have not fallen over."""

from __future__ import annotations

import pytest
from testinfra.host import Host

from boxwright.verification.check import UnprovenError
from boxwright.verification.job import VerifyHost
from boxwright.verification.plugin import Evidence
from boxwright.verification.remote import source
from boxwright.verification.ssh import BoxShell

PLATFORM_UNITS = ("boxwright-firewall", "nginx", "prometheus", "prometheus-node-exporter", "ssh")
CHAT_PAGE_UNITS = {"open_webui": "open-webui"}
PROPERTIES = "Id,ActiveState,SubState,UnitFileState,User,NRestarts"

# Programs that serve models, by the names of their files, scripts or modules.
SERVING_PROGRAMS = (
    *("ollama", "llama-server", "vllm", "sglang", "trtllm-serve", "text-generation-launcher", "text-generation-server"),
    *("lmdeploy", "tritonserver", "koboldcpp", "localai", "local-ai", "xinference", "xinference-local", "tabbyapi"),
)
# What ./invoke models.try runs beside the engine, as long as somebody tries a model.
TRIAL_UNIT = "boxwright-try"

Units = dict[str, dict[str, str]]


@pytest.fixture(scope="module")
def stack_units(target: VerifyHost) -> tuple[str, ...]:
    stack = target.profile.stack
    if target.without_stack:
        return ()
    page = () if stack.chat_page == "none" or not target.leads else (CHAT_PAGE_UNITS[stack.chat_page],)
    # Where Ray starts vLLM's processes, every node has Ray, and the head alone has vLLM.
    engines = [one.unit for one in stack.services if target.leads or one.executor == "mp"]
    ray = ("ray",) if any(one.executor == "ray" for one in stack.services) else ()
    return (*engines, *ray, *page)


@pytest.fixture(scope="module")
def guards(target: VerifyHost) -> tuple[str, ...]:
    """Of rules for engines that ask for no key. They load what the kernel keeps, so they run as root and end."""
    services = () if target.without_stack else target.profile.stack.services
    return tuple(f"{service.unit}-guard" for service in services if not service.knows_keys)


@pytest.fixture(scope="module")
def machine_units(target: VerifyHost) -> tuple[str, ...]:
    """Of drivers and containers, where the profile has them."""
    driver, containers = target.nvidia_driver, target.container_runtime
    return (
        *(("nvidia-persistenced",) if driver else ()),
        *(("nvidia-fabricmanager",) if driver and driver.fabric_manager else ()),
        *(("docker", "boxwright-containers") if containers else ()),
    )


@pytest.fixture(scope="module")
def units(host: Host, machine_units: tuple[str, ...], stack_units: tuple[str, ...], guards: tuple[str, ...]) -> Units:
    """What systemd says of each unit, by its name without `.service`; asked in one command."""
    names = [f"{name}.service" for name in (*PLATFORM_UNITS, *machine_units, *guards, *stack_units)]
    text = host.check_output("systemctl show --property=%s " + " ".join(names), PROPERTIES)
    records = [dict(line.partition("=")[::2] for line in block.splitlines()) for block in text.split("\n\n")]
    assert len(records) == len(names), "systemd told of another number of units than it was asked for"
    return {name.removesuffix(".service"): record for name, record in zip(names, records, strict=True)}


@pytest.mark.check(
    id="services.stack",
    title="What the profile serves is installed",
    severity="critical",
    remedy="Give what is missing (./invoke docs profile, ./invoke models.pin) and provision again. A waiver of this "
    "check sets aside those of what serves, too.",
)
def test_the_stack_is_there(target: VerifyHost, stack_units: tuple[str, ...], evidence: Evidence) -> None:
    if target.without_stack:
        raise UnprovenError(target.without_stack)
    evidence(f"planned: {', '.join(stack_units)}")


@pytest.mark.check(
    id="services.active",
    title="Every service runs",
    severity="critical",
    remedy="On the box: systemctl status UNIT; journalctl -u UNIT -n 50. Then provision again.",
)
def test_every_service_is_active(units: Units, evidence: Evidence) -> None:
    down = [f"{name} is {unit['ActiveState']}" for name, unit in units.items() if unit["ActiveState"] != "active"]
    assert not down, ", ".join(down)
    evidence(f"active: {', '.join(units)}")


@pytest.mark.check(
    id="services.enabled",
    title="Every service starts at boot",
    severity="critical",
    remedy="Provision again: the service's role or deploy enables its unit.",
)
def test_every_service_is_enabled(units: Units, evidence: Evidence) -> None:
    off = [
        f"{name} is {unit['UnitFileState'] or 'not installed'}"
        for name, unit in units.items()
        if unit["UnitFileState"] != "enabled"
    ]
    assert not off, ", ".join(off)
    evidence(f"enabled: {', '.join(units)}")


@pytest.mark.check(
    id="services.failed",
    title="No unit of the box has failed",
    severity="major",
    remedy="On the box: systemctl --failed, then journalctl -u UNIT. Then: systemctl reset-failed UNIT.",
)
def test_no_unit_has_failed(host: Host, evidence: Evidence) -> None:
    failed = host.check_output("systemctl list-units --failed --plain --no-legend --no-pager").splitlines()
    assert not failed, "failed: " + ", ".join(line.split()[0] for line in failed)
    evidence("systemctl --failed lists nothing")


@pytest.mark.check(
    id="services.steady",
    title="No service had to be restarted by systemd since the box booted",
    severity="minor",
    remedy="On the box: journalctl -b -u UNIT tells why it ended. When mended: systemctl reset-failed UNIT.",
)
def test_no_service_was_restarted(units: Units, evidence: Evidence) -> None:
    shaky = [f"{name}: {unit['NRestarts']}" for name, unit in units.items() if unit["NRestarts"] not in ("0", "")]
    assert not shaky, f"restarts after a failure: {', '.join(shaky)}"
    evidence(f"no restarts of {len(units)} services")


@pytest.mark.check(
    id="services.rivals",
    title="Nothing serves models beside the planned services",
    severity="major",
    remedy="It takes memory from the engine: systemctl disable --now UNIT, or end the process. Who started it?",
)
def test_no_rival_serves(shell: BoxShell, stack_units: tuple[str, ...], evidence: Evidence) -> None:
    told = shell.python(source("serving_programs"), {"names": SERVING_PROGRAMS})
    planned = {*stack_units, TRIAL_UNIT}
    strange = [
        f"{one['name']} (process {one['pid']}{', of ' + one['unit'] if one['unit'] else ''})"
        for one in told["processes"]
        if one["unit"] not in planned and (not one["container"] or one["container"] not in told["ours"])
    ]
    strange += [f"{unit}.service starts at boot" for unit in told["enabled"] if unit not in planned]
    assert not strange, ", ".join(strange)
    units = sorted({one["unit"] for one in told["processes"]})
    evidence(f"what serves models belongs to planned services: {', '.join(units) or 'nothing that is known by name'}")


@pytest.mark.usefixtures("stack")
@pytest.mark.check(
    id="services.unprivileged",
    title="What serves models does not run as root",
    severity="critical",
    remedy="Provision again: the deploys give the engine and the chat page users of their own.",
)
def test_the_stack_is_not_root(
    host: Host, target: VerifyHost, units: Units, stack_units: tuple[str, ...], evidence: Evidence
) -> None:
    users = {name: units[name]["User"] for name in stack_units}
    for service in target.profile.stack.services:
        if service.contained:  # the unit is Docker's client; the engine has an account in its container
            told = host.check_output("docker inspect --format '{{.Config.User}}' %s", service.unit)
            users[service.unit] = told.partition(":")[0]
    as_root = [name for name, user in users.items() if user in ("", "root", "0")]
    assert not as_root, f"run as root: {', '.join(as_root)}"
    evidence(", ".join(f"{name} as {user}" for name, user in users.items()))

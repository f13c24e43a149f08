"""The operating system runs as the profile says, not only its configuration files."""

from __future__ import annotations

import pytest

from boxwright.verification.facts import Facts
from boxwright.verification.job import VerifyHost
from boxwright.verification.plugin import Evidence
from boxwright.verification.remote import source
from boxwright.verification.ssh import BoxShell

# Kernels that are built without NUMA do not have these, and need them no more than that.
ONLY_WITH_NUMA = frozenset({"kernel.numa_balancing", "vm.zone_reclaim_mode"})


@pytest.fixture(scope="module")
def facts(shell: BoxShell, target: VerifyHost) -> Facts:
    return Facts(shell.python(source("platform_facts"), {"sysctls": sorted(target.profile.kernel.sysctls)}))


@pytest.mark.check(
    id="platform.sysctls",
    title="The running kernel has the profile's settings",
    severity="major",
    remedy="Provision again: the role kernel sets them. If one changes back, another tool sets it, too.",
)
def test_sysctls(facts: Facts, target: VerifyHost, evidence: Evidence) -> None:
    running = facts.told("sysctls")
    absent = {name for name, value in running.items() if value is None}
    wrong = [
        f"{name} is {running[name] or 'unknown to this kernel'}, not {wanted}"
        for name, wanted in target.profile.kernel.sysctls.items()
        if running[name] != str(wanted) and not (name in absent and name in ONLY_WITH_NUMA)
    ]
    assert not wrong, ", ".join(wrong)
    without = f"; not in this kernel: {', '.join(sorted(absent))}" if absent else ""
    evidence(", ".join(f"{name}={value}" for name, value in running.items() if value is not None) + without)


@pytest.mark.check(
    id="platform.huge_pages",
    title="Transparent huge pages are as the profile says",
    severity="minor",
    remedy="On the box: systemctl status boxwright-transparent-hugepage; then provision again.",
)
def test_transparent_huge_pages(facts: Facts, target: VerifyHost, evidence: Evidence) -> None:
    wanted, running = target.profile.kernel.transparent_hugepage, facts.told("transparent_hugepage")
    if running is None and wanted == "never":
        evidence("this kernel has none")
        return
    assert running is not None, "this kernel has no transparent huge pages"
    assert f"[{wanted}]" in running or running == wanted, f"{running}, not {wanted}"
    evidence(running)


@pytest.mark.check(
    id="platform.open_files",
    title="Services may open as many files as the profile says",
    severity="minor",
    remedy="Provision again, then reboot: systemd reads its defaults at start.",
)
def test_open_files(facts: Facts, target: VerifyHost, evidence: Evidence) -> None:
    limit = facts.told("nofile_limit")
    assert limit == str(target.profile.kernel.nofile_limit), f"{limit}, not {target.profile.kernel.nofile_limit}"
    evidence(f"DefaultLimitNOFILE={limit}")


@pytest.mark.check(
    id="platform.time_zone",
    title="The time zone is the profile's",
    severity="minor",
    remedy="Provision again: the role base sets it.",
)
def test_time_zone(facts: Facts, target: VerifyHost, evidence: Evidence) -> None:
    assert facts.told("timezone") == target.profile.base.timezone, f"is {facts.told('timezone')}"
    evidence(facts.told("timezone"))


@pytest.mark.check(
    id="platform.hostname",
    title="The machine has the name that the site gives it, and finds itself by it",
    severity="major",
    remedy="Provision again: the role base sets it. If it changes back at a boot, something else sets it, such as "
    "cloud-init. Machines that keep names of their own: keep_hostnames in the site.",
    needs="hostname",
)
def test_hostname(facts: Facts, target: VerifyHost, evidence: Evidence) -> None:
    names = facts.told("names")
    assert names["running"] == target.hostname, f"it is called {names['running']}, not {target.hostname}"
    assert names["static"] == target.hostname, (
        f"at the next boot it is called {names['static'] or 'whatever it is told'}: /etc/hostname"
    )
    assert names["address"], f"it does not find {target.hostname}: sudo and engines ask for it (/etc/hosts)"
    evidence(f"{target.hostname}, at {names['address']}")


@pytest.mark.check(
    id="platform.journal",
    title="The journal cannot fill the disk",
    severity="major",
    remedy="Provision again: the role base writes the journal's limit.",
)
def test_journal_limit(facts: Facts, target: VerifyHost, evidence: Evidence) -> None:
    wanted = f"{target.profile.base.journald_max_mib}M"
    assert facts.told("journal_limit") == wanted, (
        f"SystemMaxUse is {facts.told('journal_limit') or 'not set'}, not {wanted}"
    )
    evidence(f"SystemMaxUse={wanted}")


@pytest.mark.check(
    id="platform.upgrades",
    title="Security upgrades come by themselves, and never touch what must be upgraded by hand",
    severity="major",
    remedy="Provision again: the role base writes the policy of unattended-upgrades.",
)
def test_unattended_upgrades(facts: Facts, target: VerifyHost, evidence: Evidence) -> None:
    policy, apt = target.profile.base, facts.told("apt")
    wanted = "0" if policy.unattended_upgrades == "off" else "1"
    running = apt.get("APT::Periodic::Unattended-Upgrade", ["0"])[-1]
    assert running == wanted, f"APT::Periodic::Unattended-Upgrade is {running}, not {wanted}"
    blocked = apt.get("Unattended-Upgrade::Package-Blacklist", [])
    missing = [name for name in policy.upgrade_blocklist if not any(name in each for each in blocked)]
    assert not missing, f"may be upgraded unattended: {', '.join(missing)}"
    evidence(f"unattended upgrades: {policy.unattended_upgrades}; never of {', '.join(blocked) or 'anything'}")


@pytest.mark.check(
    id="platform.firewall",
    title="The box's own firewall table is loaded and drops what it does not know",
    severity="critical",
    remedy="On the box: systemctl restart boxwright-firewall; then provision again.",
)
def test_firewall_table(facts: Facts, evidence: Evidence) -> None:
    chains = [item["chain"] for item in facts.told("nft")["nftables"] if "chain" in item]
    inputs = [chain for chain in chains if chain.get("hook") == "input"]
    assert inputs, "the table inet boxwright has no chain on input"
    lax = [chain["name"] for chain in inputs if chain.get("policy") != "drop"]
    assert not lax, f"policy is not drop in {', '.join(lax)}"
    rules = sum("rule" in item for item in facts.told("nft")["nftables"])
    evidence(f"table inet boxwright: {len(chains)} chains, {rules} rules, input drops")

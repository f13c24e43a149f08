"""What the acceptance suite is told about a target, and what its checks mean for the exit code."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from boxwright import places
from boxwright.detection.contract import Result, Verdict
from boxwright.errors import Exit
from boxwright.model.checks import VERIFICATION_CHECKS
from boxwright.model.contract import ContractCheck
from boxwright.model.fleet import Fleet
from boxwright.model.site import Host, Site
from boxwright.model.stack import FurtherService
from boxwright.model.weights import weights_of
from boxwright.planning.addresses import chat_page_url, engine_url, head_url, public_url
from boxwright.planning.numa import placements
from boxwright.planning.residency import residencies
from boxwright.planning.weights import wanted_builds
from boxwright.provisioning.contract import Examination
from boxwright.provisioning.target import Target
from boxwright.signing import SigningKey
from boxwright.translation import LANGUAGES
from boxwright.verification import Check, CheckOutcome, VerifyHost, VerifyJob, VerifyService
from boxwright.verification.check import Severity
from boxwright.verification.job import VerifyFile
from boxwright.verification.weights import deep_budget_s

PROMISES: dict[ContractCheck, str] = {
    "machine.serial": "The machine is the one that the site names by its serial number",
    "accelerators.kind": "The cards are of the profile's kind and of no other",
    "accelerators.count": "All cards are on the bus",
    "accelerators.numa_nodes": "The cards are spread evenly over the NUMA nodes",
    "fabric.switches": "The switches of the cards' fabric are on the bus",
    "pcie.width": "Every card has its full PCIe width",
    "pcie.generation": "Every card's link can reach its PCIe generation",
    "cpu.sockets": "The processors are as many as the profile says",
    "cpu.cores": "The processors have the profile's cores",
    "cpu.model": "The processors are of the profile's model",
    "cpu.isa": "The processors can do what the engine was built for",
    "numa.nodes": "The firmware makes as many NUMA nodes as the profile says",
    "memory.size": "The memory is as large as the profile says",
    "memory.channels": "The memory channels are filled as the profile says",
    "disk.size": "There is room for the models",
    "nics.count": "The network ports are as many as the profile says",
}
EXAMINED = "The machine can be looked at and held against its contract"
_OUTCOME: dict[Verdict, CheckOutcome] = {
    "ok": CheckOutcome.PASS,
    "refused": CheckOutcome.FAIL,
    "warning": CheckOutcome.FAIL,
    "waived": CheckOutcome.WAIVED,
    "unproven": CheckOutcome.UNPROVEN,
}
_WORST_LAST = (CheckOutcome.PASS, CheckOutcome.UNPROVEN, CheckOutcome.WAIVED, CheckOutcome.FAIL)


def verify_job(target: Target, hosts: Collection[str], *, deep: bool = False) -> VerifyJob:
    """The job that checks these hosts of a target; a deep one hashes every file of a model, and takes as long."""
    job = VerifyJob(
        hosts=tuple(_verify_host(target, host) for host in target.fleet.hosts if host.name in hosts),
        run_logs=places.state() / "runs",
        signers=_signers(target.fleet.site),
    )
    if not deep:
        return job
    hashing_s = deep_budget_s(sum(file.bytes for file in _weights(target.fleet)))
    return job.model_copy(update={"deep": True, "check_timeout_s": job.check_timeout_s + hashing_s})


def _signers(site: Site) -> tuple[str, ...]:
    """Whose signature of a box's evidence counts: this controller's, where it has a key, and those of the site."""
    own = SigningKey.of_folder(places.state() / "signing")
    return (*((own.public.fingerprint,) if own else ()), *site.evidence_signers)


def _verify_host(target: Target, host: Host) -> VerifyHost:
    fleet, endpoint = target.fleet, target.endpoint(host)
    url, leads = public_url(fleet, host), fleet.leads(host)
    return VerifyHost(
        name=host.name,
        address=endpoint.address,
        port=endpoint.port,
        user=endpoint.user,
        key=endpoint.key,
        known_hosts=endpoint.known_hosts,
        become=endpoint.become,
        api_url=f"{url}/v1",
        api_user=fleet.site.api_user,
        chat_url=url if leads and chat_page_url(fleet) else None,
        admin_email=fleet.site.admin_email,
        engine_url=engine_url(fleet.profile.stack),
        model_alias=fleet.served_name,
        ca_pem=target.chain,
        about=LANGUAGES if leads and not fleet.without_stack else (),
        weights=_weights(fleet),
        residencies=residencies(fleet, host),
        placements=() if fleet.without_stack else placements(fleet, host),
        further=tuple(_further(fleet, service) for service in fleet.profile.stack.further) if leads else (),
        head_url=head_url(fleet, host),
        nodes=tuple(one.name for one in fleet.box_of(host)[1:]) if leads else (),
        twin=fleet.site.twin is not None,
        shares_kernel=fleet.site.twin is not None and fleet.site.twin.kind == "container",
        without_time_server=fleet.site.has_no_time_server,
        hostname=None if fleet.site.keep_hostnames else host.name,
        without_stack=fleet.without_stack,
        profile=fleet.profile,
        waivers=_waivers(fleet, host),
        secrets=target.secrets[host.name],
    )


def _weights(fleet: Fleet) -> tuple[VerifyFile, ...]:
    return tuple(
        VerifyFile(path=f"{build.directory}/{file.name}", bytes=file.bytes, sha256=file.sha256)
        for build in wanted_builds(fleet)
        for file in build.files
    )


def _waivers(fleet: Fleet, host: Host) -> dict[str, str]:
    """What is set aside of this host's verification; the contract's own are told by the contract."""
    named = {one.check: f"{one.by}: {one.reason}" for one in fleet.waivers if one.covers(one.check, host.name)}
    return {check: words for check, words in named.items() if check in VERIFICATION_CHECKS}


def _further(fleet: Fleet, service: FurtherService) -> VerifyService:
    return VerifyService(
        name=service.name,
        engine_url=engine_url(service),
        model_alias=fleet.listed_name(service),
        purpose=weights_of(service, fleet.catalogue).model.purpose,
        keyed=service.knows_keys,
        measured=service.metrics_path is not None,
    )


def contract_checks(host: str, results: Sequence[Result], *, twin: bool = False) -> list[Check]:
    """The machine's contract as checks of a verification; of those of one name the worst is told.

    What cannot be proven of a real machine has failed.
    """
    checks: dict[str, Check] = {}
    for result in results:
        outcome = _OUTCOME[result.verdict]
        evidence = f"{result.found}; wanted {result.wanted}"
        if outcome is CheckOutcome.UNPROVEN and not twin:
            outcome, evidence = CheckOutcome.FAIL, f"it could not be proven: {evidence}"
        check = Check(
            id=f"contract.{result.check}",
            title=PROMISES[result.check],
            severity=Severity.CRITICAL if result.verdict == "refused" else Severity.MAJOR,
            remedy=result.remedy or "Compare ./invoke detect with the profile.",
            host=host,
            outcome=outcome,
            evidence=f"waived by {result.waiver} ({evidence})" if result.waiver else evidence,
        )
        before = checks.get(check.id)
        if before is None or _WORST_LAST.index(check.outcome) > _WORST_LAST.index(before.outcome):
            checks[check.id] = check
    return list(checks.values())


def not_examined(host: str, reason: str) -> Check:
    """The contract of a machine that nobody could look at, as a failed check."""
    return Check(
        id="contract.examined",
        title=EXAMINED,
        severity=Severity.CRITICAL,
        remedy="Look at the host with ./invoke detect, and repair what it names.",
        host=host,
        outcome=CheckOutcome.FAIL,
        evidence=reason,
    )


def unexamined(hosts: Sequence[str], examination: Examination) -> list[Check]:
    """A failed check for each host whose machine nobody could look at."""
    missing = [name for name in hosts if name not in examination.contracts]
    reasons = {name: examination.failures[name].message for name in missing if name in examination.failures}
    return [not_examined(name, reasons.get(name, "no answer over ssh")) for name in missing]


def exit_code(checks: Collection[Check]) -> Exit:
    """What a verification's exit code says: one failed check is enough, and no check at all is a failure, too."""
    failed = not checks or any(check.outcome is CheckOutcome.FAIL for check in checks)
    return Exit.VERIFY_FAILED if failed else Exit.OK

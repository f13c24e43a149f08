"""What `plan`, `provision` and `verify` do, told to a console."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import asdict

from boxwright.console import Console
from boxwright.console.checks_view import CheckResult, show_checks
from boxwright.console.contract_view import show_contracts
from boxwright.console.plan_view import render_plan
from boxwright.errors import Exit
from boxwright.factory.offline import from_bundle, refuse_signer_alone
from boxwright.model.fleet import Fleet
from boxwright.model.switching import service_of
from boxwright.model.weights import weights_of
from boxwright.planning.stages import stages_of
from boxwright.provisioning import acceptance, contract, outcome
from boxwright.provisioning.evidence import signing_key
from boxwright.provisioning.handing_over import hand_over, tell_batch
from boxwright.provisioning.left_evidence import Evidence
from boxwright.provisioning.link import plan_link
from boxwright.provisioning.outcome import HostOutcome
from boxwright.provisioning.run import execute, log_fields, redactor
from boxwright.provisioning.switched import file_of
from boxwright.provisioning.target import Choice, Target, choose, prepare
from boxwright.reporting.run_log import RunLog, now, operator
from boxwright.reports.verification import Outputs, Verification
from boxwright.verification import Check
from boxwright.verification import run as run_checks


def plan(console: Console, choice: Choice, only: tuple[str, ...] = (), bundle: str = "", signer: str = "") -> Exit:
    """Show what would change on every host, over both engines.

    Args:
        console: Told everything.
        choice: Which boxes.
        only: Stages by name; empty: all.
        bundle: Folder of the bundle that boxes would take everything from; empty: the site's mirrors.
        signer: Whose the bundle must be.
    """
    fleet = chosen(console, choice)
    stages_of(fleet, only)
    with from_bundle(bundle, fleet, signer, console.info) as door:
        show_sizes(console, fleet)
        target = prepare(fleet, console.info, offline=door)
        target, _, refused = hold_to_contract(console, target)
        outcomes = [*show_plan(console, target, only), *refused]
    code = outcome.exit_code(outcomes)
    if code is not Exit.OK:
        return code
    return Exit.CHANGES if any(one.changes for one in outcomes) else Exit.OK


def provision(
    console: Console, choice: Choice, *, yes: bool, only: tuple[str, ...] = (), bundle: str = "", signer: str = ""
) -> Exit:
    """Plan, confirm, apply, record, verify and hand over. With `yes` nobody is asked, so nothing is planned apart.

    Args:
        console: Told everything.
        choice: Which boxes.
        yes: Nobody is asked.
        only: Stages by name; empty: all.
        bundle: Folder of a bundle that the boxes take everything from; empty: the site's mirrors.
        signer: Whose the bundle must be.
    """
    fleet = chosen(console, choice)
    stages_of(fleet, only)
    refuse_signer_alone(bundle, signer)
    if not yes and (console.json or not console.live):
        console.confirm("Apply?")  # refuses here, before anything is contacted
    signing_key(console)  # so does a key that cannot sign what the boxes are left with
    show_sizes(console, fleet)
    with from_bundle(bundle, fleet, signer, console.info) as door:
        return _provision(console, prepare(fleet, console.info, offline=door), yes=yes, only=only)


def _provision(console: Console, target: Target, *, yes: bool, only: tuple[str, ...]) -> Exit:
    fleet = target.fleet
    target, contracts, refused = hold_to_contract(console, target)
    if not target.fleet.hosts:
        return outcome.exit_code(refused)
    if "models" in [stage.name for stage in stages_of(fleet, only)]:
        target = plan_link(console, target)
    if not yes:
        planned = show_plan(console, target, only)
        target, refused = without_failed(target, planned, refused)
        if not target.fleet.hosts:
            return outcome.exit_code(refused)
        if any(one.changes for one in planned) and not console.confirm("Apply this?"):
            console.info("Nothing was changed.")
            return Exit.OK
    outcomes = [*run_stages(console, target, only, dry_run=False, refused=refused), *refused]
    finished = {one.host for one in outcomes if one.finished}
    code = outcome.exit_code(outcomes)
    if not finished or only:
        return code
    checks = verify_hosts(console, target, finished, contracts)
    if fleet.without_stack:
        console.warning(f"the machine is ready; {fleet.without_stack}")
    else:
        hand_over(console, target, outcomes, checks)
    tell_batch(console, fleet, outcomes, checks)
    return code if code is not Exit.OK else acceptance.exit_code(checks)


def verify(console: Console, choice: Choice, outputs: Outputs | None = None, *, deep: bool = False) -> Exit:
    """Run the acceptance suite against hosts that were provisioned before, and write what was found where wanted."""
    outputs = outputs or Outputs()
    target = prepare(chosen(console, choice), console.info, boot=False)
    hosts = [host.name for host in target.fleet.hosts]
    examination = contract.examine(target)
    for error in examination.failures.values():
        console.error(error)
    unexamined = acceptance.unexamined(hosts, examination)
    checks = verify_hosts(console, target, hosts, examination.contracts, unexamined, deep=deep)
    for kind, path in outputs.write(found_by(target, checks)).items():
        console.data("page" if kind == "html" else kind, {"file": str(path)})
        console.info(f"Written: {path}")
    return Exit.VERIFY_FAILED if examination.failures else acceptance.exit_code(checks)


def found_by(target: Target, checks: Collection[Check]) -> Verification:
    """What a verification of a target found, for its files; no known secret is in it."""
    fleet, redact = target.fleet, redactor(target)
    told = [Check.model_validate_json(redact(check.model_dump_json())) for check in checks]
    return Verification(
        profile=fleet.profile.name,
        summary=fleet.profile.summary,
        site=fleet.site.name,
        checked_at=now(),
        checked_by=operator(),
        twin=fleet.site.twin is not None,
        hosts={host.name: [check for check in told if check.host == host.name] for host in fleet.hosts},
    )


def chosen(console: Console, choice: Choice) -> Fleet:
    """What was chosen, and a word on boxes that serve another model than their profile says.

    Raises:
        BadInputError: A name, a file or an argument is wrong.
    """
    fleet = choose(choice)
    for name, kept in fleet.switched.items():
        service, who = service_of(fleet.profile, name), f"{fleet.profile.name}{name and f', service {name},'}"
        console.info(
            f"{who} serves {weights_of(service, fleet.catalogue).name} by {service.engine} here, and not what its "
            f"profile says: {kept.by} switched it at {kept.at} ({file_of(fleet.site.name)})"
        )
    return fleet


def show_sizes(console: Console, fleet: Fleet) -> None:
    """Show what sizing chose for the stack, and what it says of what the profile fixes."""
    cells = [
        (one.unit, one.setting, one.value, "profile" if one.fixed else "sizing", one.reason) for one in fleet.sized
    ]
    if cells:
        columns = ["Service", "Setting", "Value", "Said by", "Why"]
        console.table(f"Sizes of {fleet.profile.name}", columns, cells, kind="sizing")


def hold_to_contract(console: Console, target: Target) -> tuple[Target, contract.Contracts, list[HostOutcome]]:
    """Show how the hosts differ from the profile. Those that the stack would fail on are not taken any further."""
    examination = contract.examine(target)
    contracts = examination.contracts
    with RunLog("contract", redactor(target)) as log:
        for host, results in contracts.items():
            for result in results:
                log.write("contract", {"host": host, **asdict(result)})
    rows = [
        (host, one.verdict, one.check, one.found, one.wanted, one.waiver or one.remedy)
        for host, results in contracts.items()
        for one in results
    ]
    name = target.fleet.profile.name
    if rows:
        show_contracts(console, name, rows, Counter(verdict for _, verdict, *_ in rows))
    target, refused = contract.split(target, examination)
    for one in refused:
        assert one.error is not None  # noqa: S101  that is what a refusal is
        console.error(one.error)
    return target, contracts, refused


def show_plan(console: Console, target: Target, only: tuple[str, ...]) -> list[HostOutcome]:
    """Walk through the stages without a change, and show what would change."""
    outcomes = run_stages(console, target, only, dry_run=True)
    if not outcomes:  # every host was refused: there is nothing that could be said to be right
        return []
    changes = [change for one in outcomes for change in one.changes]
    render_plan(console, changes, already_right=sum(one.already_right for one in outcomes))
    return outcomes


def without_failed(
    target: Target, planned: Sequence[HostOutcome], refused: Sequence[HostOutcome]
) -> tuple[Target, list[HostOutcome]]:
    """The target without the hosts that could not be planned for, which the others do not wait for, and all refused."""
    failed = [one for one in planned if not one.finished]
    names = {one.host for one in failed}
    return target.only(lambda host: host.name not in names), [*refused, *failed]


def run_stages(
    console: Console,
    target: Target,
    only: tuple[str, ...],
    *,
    dry_run: bool,
    verb: str = "provision",
    refused: Sequence[HostOutcome] = (),
) -> list[HostOutcome]:
    """Take every host of the target through its stages, or those of `only`, with a view and a log.

    Args:
        console: Told what happens.
        target: The hosts.
        only: Names of stages; empty: all.
        dry_run: Only say what would change.
        verb: What the run is called.
        refused: Hosts that were taken no further before, for the log.
    """
    if not target.fleet.hosts:
        return []
    stages = stages_of(target.fleet, only)
    verb = "plan" if dry_run else verb
    evidence = None if dry_run else Evidence(target, signing_key(console))
    title = f"{verb.capitalize()} {target.fleet.profile.name} on site {target.fleet.site.name}"
    with RunLog(verb, redactor(target)) as log:
        log.write("run", log_fields(target, [stage.name for stage in stages]))
        by_name = {host.name: host for host in target.fleet.site.hosts}
        for one in refused:
            known = by_name[one.host]
            about = {"address": known.address or "", "serial": known.serial or ""}
            log.write("refused", {"host": one.host, "message": one.error.message if one.error else "", **about})
        names = [host.name for host in target.fleet.hosts]
        serials = {host.name: host.serial for host in target.fleet.hosts if host.serial}
        view = console.run(title, names, [stage.name for stage in stages], log=str(log.path), serials=serials)
        with view:
            outcomes = execute(target, stages, dry_run=dry_run, log=log, view=view, verb=verb, evidence=evidence)
        if not all(one.finished for one in outcomes):
            log.close("failed")
        view.summary()
    if evidence:
        evidence.show(console)
    return outcomes


def verify_hosts(
    console: Console,
    target: Target,
    hosts: Collection[str],
    contracts: contract.Contracts,
    unexamined: Sequence[Check] = (),
    *,
    deep: bool = False,
) -> list[Check]:
    """Run the acceptance suite against these hosts, and show what it found, with what the contract's checks say."""
    console.info(f"Verifying {', '.join(sorted(hosts))} from outside …")
    with RunLog("verify", redactor(target)) as log:
        log.write("run", log_fields(target.only(lambda host: host.name in hosts)))
        twin = target.fleet.site.twin is not None
        checks = [
            check for host in hosts for check in acceptance.contract_checks(host, contracts.get(host, ()), twin=twin)
        ]
        checks += unexamined
        for check_of_contract in checks:
            log.write("check", check_of_contract.model_dump(mode="json"))
        checks += run_checks(
            acceptance.verify_job(target, hosts, deep=deep),
            lambda done: log.write("check", done.model_dump(mode="json")),
        )
        if acceptance.exit_code(checks) is not Exit.OK:
            log.close("failed")
    show_checks(
        console,
        [
            CheckResult(
                host=done.host,
                id=done.id,
                what=done.title,
                severity=done.severity.value,
                result=done.outcome.value,
                evidence=done.evidence,
                remedy=done.remedy,
            )
            for done in checks
        ],
    )
    return checks

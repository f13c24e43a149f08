"""What `models.switch` does: another model on boxes that run, or what served before again."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import get_args

from pydantic import ValidationError

from boxwright.console import Console
from boxwright.errors import BadInputError, BoxwrightError, Exit, UnreachableError, did_you_mean
from boxwright.factory.offline import from_bundle, refuse_signer_alone
from boxwright.model.catalogues import INVENTORIES, load_profile
from boxwright.model.fleet import Fleet
from boxwright.model.loading import position, read_layer
from boxwright.model.site import Host
from boxwright.model.stack import EngineName, Service
from boxwright.model.switching import MAIN, Served, Switched, service_of
from boxwright.model.weights import Weights, weights_of
from boxwright.places import ROOT
from boxwright.planning.packages import packages
from boxwright.provisioning import acceptance, outcome, switched
from boxwright.provisioning.link import plan_link
from boxwright.provisioning.outcome import HostOutcome
from boxwright.provisioning.receipt import PATH
from boxwright.provisioning.target import Choice, Target, choose, in_whole_boxes, prepare
from boxwright.provisioning.verbs import hold_to_contract, run_stages, show_plan, verify_hosts, without_failed
from boxwright.reporting.run_log import now, operator
from boxwright.reports.certificate import Receipt
from boxwright.transport.ssh import check

# What tells or reads which model is served, and which engine serves: told once another one does.
_TOLD = ("gateway", "monitoring", "open_webui")
_TELLERS = ("serve-unit: ", "run-ollama: ")
_AT_ONCE = 16


def served(model: str, build: str = "", engine: str = "") -> Served:
    """What a command line says is to serve; an empty word says nothing.

    Raises:
        BadInputError: There is no such engine, or it is no name of a build.
    """
    known = get_args(EngineName)
    if engine and engine not in known:
        raise BadInputError(
            f"--engine: no '{engine}'.{did_you_mean(engine, known)}", hint=f"There are: {', '.join(known)}."
        )
    try:
        return Served.model_validate({"model": model, "build": build or None, "engine": engine or None})
    except ValidationError:
        raise BadInputError(f"--build: '{build}' is no name of a build", hint="./invoke models lists them.") from None


def switch(console: Console, choice: Choice, wanted: Served, *, yes: bool, bundle: str = "", signer: str = "") -> Exit:
    """Let boxes that run serve another model. The old one stays until the new one answers, or comes back.

    Args:
        console: Told everything.
        choice: Which boxes, and which of their services.
        wanted: What they are to serve.
        yes: Nobody is asked.
        bundle: Folder of a bundle that the boxes take everything from; empty: the site's mirrors.
        signer: Whose the bundle must be.

    Raises:
        BadInputError: There is no such model, or it cannot be served there: nothing was contacted.
        BoxwrightError: A box is not one that runs, or the bundle is not as it was signed.
    """
    before, fleet = (in_whole_boxes(choose(one)) for one in (choice, replace(choice, serves=wanted)))
    _refuse(before, fleet, choice.service)
    refuse_signer_alone(bundle, signer)
    if not yes and (console.json or not console.live):
        console.confirm("Switch?")  # refuses here, before anything is contacted
    with from_bundle(bundle, fleet, signer, console.info) as door:
        target = prepare(fleet, console.info, boot=False, offline=door)
        return _switch(console, choice, wanted, before, target, yes=yes)


def _switch(console: Console, choice: Choice, wanted: Served, before: Fleet, target: Target, *, yes: bool) -> Exit:
    fleet = target.fleet
    old, new = (service_of(one.profile, choice.service) for one in (before, fleet))
    target, contracts, refused = hold_to_contract(console, target)
    if not target.fleet.hosts:
        return outcome.exit_code(refused)
    _hold_to_receipts(target, old)
    _show(console, (old, weights_of(old, before.catalogue)), (new, weights_of(new, fleet.catalogue)))
    _warn_of_purpose(console, before, fleet, choice.service)
    target = plan_link(console, target)
    missing = set(packages(fleet)) - set(packages(before))  # what an engine is unpacked by, or compiles with
    only = (*(("base",) if missing else ()), "models", new.engine)
    if not yes:
        planned = show_plan(console, target, only)
        target, refused = without_failed(target, planned, refused)
        if not target.fleet.hosts:
            return outcome.exit_code(refused)
        if not console.confirm("Switch?"):
            console.info("Nothing was changed.")
            return Exit.OK
    outcomes = run_stages(console, target, only, dry_run=False, verb="switch")
    finished = {one.host for one in outcomes if one.finished}
    tell_failures(console, target.fleet, outcomes, weights_of(new, fleet.catalogue).name)
    if finished:
        _keep(console, choice, fleet, wanted)
    target = target.only(lambda host: host.name in finished)
    if finished and (readers := _readers(target, before)):
        again = run_stages(console, target, readers, dry_run=False, verb="switch")
        outcomes = [*(one for one in outcomes if not one.finished), *again]
    code = outcome.exit_code([*outcomes, *refused])
    if not finished:
        return code
    checks = verify_hosts(console, target, finished, contracts)
    return code if code is not Exit.OK else acceptance.exit_code(checks)


def _refuse(before: Fleet, fleet: Fleet, service: str) -> None:
    """What is no switch of a model on a box that runs."""
    name = fleet.profile.name
    where = f"profile {name}, stack"
    if fleet.without_stack:
        raise BadInputError(fleet.without_stack, where=where)
    old, new = (service_of(one.profile, service).engine for one in (before, fleet))
    if fleet.profile.nodes > 1 and old != new:
        raise BadInputError(
            f"the {fleet.profile.nodes} machines of a {name} serve together by {old}; by {new} each would for itself",
            where=where,
            hint="Leave --engine out: on a box of several machines another model is switched to, and no other engine.",
        )


def _warn_of_purpose(console: Console, before: Fleet, fleet: Fleet, service: str) -> None:
    old, new = (weights_of(service_of(one.profile, service), one.catalogue).model for one in (before, fleet))
    if service == MAIN and new.purpose != "chat":
        console.warning(f"{new.id} was not made for chats ({new.purpose}): the checks of chats will fail")
    elif service != MAIN and new.purpose != old.purpose:
        console.warning(f"{new.id} was made for another purpose ({new.purpose}) than {old.id} ({old.purpose})")


def _readers(target: Target, before: Fleet) -> tuple[str, ...]:
    """Stages that are told of what serves, and are told something else now."""
    site, left_out = target.fleet.site, target.fleet.left_out
    earlier = replace(target, fleet=before.model_copy(update={"site": site, "left_out": left_out}))
    changed: set[str] = set()
    for host in target.fleet.hosts:
        now, then = ([*roles, *deploys] for roles, deploys in (one.variables(host) for one in (target, earlier)))
        changed |= {one.unit for one in now if one not in then}
    return tuple(name for name in _TOLD if name in changed)


def _hold_to_receipts(target: Target, before: Service) -> None:
    """Only boxes that were provisioned as this profile serve something that could come back."""
    engine, name = before.engine, target.fleet.profile.name

    def made_as(host: Host) -> str:
        """The profile of a finished box. What one that does not answer is, its run says."""
        try:
            receipt = Receipt.model_validate_json(check(target.endpoint(host), f"cat {PATH} || echo null"))
        except UnreachableError:
            return name
        except ValidationError:
            return ""
        return receipt.profile if engine in receipt.stages else ""

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        found = list(pool.map(made_as, target.fleet.hosts))
    strangers = [host.name for host, made in zip(target.fleet.hosts, found, strict=True) if made != name]
    if strangers:
        raise BoxwrightError(
            f"not provisioned as {name} with {engine}: {', '.join(strangers)}",
            hint="./invoke provision makes a box; models.switch changes what a finished one serves.",
        )


def _show(console: Console, before: tuple[Service, Weights], after: tuple[Service, Weights]) -> None:
    rows = [
        (when, weights.name, service.engine, f"{(weights.build.known_bytes or 0) / 1e9:.2f} GB")
        for when, (service, weights) in (("now", before), ("then", after))
    ]
    console.table("What serves", ["When", "Weights", "Engine", "Size"], rows, kind="switch")
    console.info("The weights are fetched and verified first. Then the engine ends, starts with them, and must answer;")
    console.info("until it does, the gateway answers 503. If it does not, what serves now is put back.")


def tell_failures(console: Console, fleet: Fleet, outcomes: Sequence[HostOutcome], wanted: str) -> None:
    """Say what serves on boxes that were not switched, each once."""
    failed = {one.host: one.error for one in outcomes if one.error}
    boxes = {fleet.head_of(host).name: fleet.box_of(host) for host in fleet.hosts if host.name in failed}
    for box in boxes.values():
        names = [host.name for host in box if host.name in failed]
        told = filter(None, (_what_serves(failed[name].output) for name in names))  # the head's word goes first
        were = "was" if len(names) == 1 else "were"
        serves = next(told, "./invoke verify says what serves there.")
        console.warning(f"{', '.join(names)} {were} not switched to {wanted}. {serves}")


def _what_serves(output: str) -> str:
    """What the program that lets units serve says at its end; empty where something else failed."""
    last = output.strip().rpartition("\n")[2]
    return next((last.removeprefix(name) for name in _TELLERS if last.startswith(name)), "")


def _keep(console: Console, choice: Choice, fleet: Fleet, wanted: Served) -> None:
    """Have later runs serve the same, and say how the choice becomes the profile's own."""
    site, profile = fleet.site.name, fleet.profile
    if _by_its_file(choice) == _choice_of(fleet, choice.service):
        switched.keep(site, profile.name, None, choice.service)
        console.info(f"Profile {profile.name} says the same: nothing besides it is kept.")
        return
    switched.keep(site, profile.name, Switched(**wanted.model_dump(), by=operator(), at=now()), choice.service)
    path = Path(choice.profile) if choice.profile.endswith(".yml") else INVENTORIES / "profiles" / f"{profile.name}.yml"
    names = [one.name for one in profile.stack.further]
    keys = ("stack", "further", names.index(choice.service), "model") if choice.service else ("stack", "model")
    place = position((read_layer(path),), keys).rpartition(":")[0].removeprefix(f"{ROOT}/")
    lines = [f"model: {weights_of(service_of(profile, choice.service), fleet.catalogue).model.id}"]
    lines += [f"build: {wanted.build}"] if wanted.build else []
    lines += [f"engine: {wanted.engine}"] if wanted.engine else []
    console.info(
        f"Kept for the boxes of site {site}, so that later runs from here serve it: {switched.file_of(site)}\n"
        f"For every {profile.name}, set it in the profile ({place}): "
        f"{f'service {choice.service}' if choice.service else 'stack'}: {{{', '.join(lines)}}}"
    )


def _choice_of(fleet: Fleet, service: str) -> tuple[str, EngineName]:
    one = service_of(fleet.profile, service)
    return weights_of(one, fleet.catalogue).name, one.engine


def _by_its_file(choice: Choice) -> tuple[str, EngineName] | None:
    """What the profile itself says of the service; None where it cannot be served at all."""
    own = service_of(load_profile(choice.profile), choice.service)
    try:
        fleet = choose(replace(choice, serves=Served(model=own.model, build=own.build, engine=own.engine)))
    except BadInputError:
        return None
    return _choice_of(fleet, choice.service)

"""What `models.try` does, told to a console."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, get_args

from boxwright.console import Console
from boxwright.errors import BadInputError, BoxwrightError, Exit, LockedError, did_you_mean
from boxwright.factory.extras import trial_needs
from boxwright.factory.offline import Door, from_bundle, refuse_signer_alone
from boxwright.model.site import Host
from boxwright.model.weights import Weights
from boxwright.planning.addresses import public_url
from boxwright.planning.weights import wanted_build
from boxwright.provisioning import outcome
from boxwright.provisioning.run import execute, redactor
from boxwright.provisioning.target import Choice, Target, choose, prepare
from boxwright.reporting.run_log import RunLog, now, operator
from boxwright.transport.lock import DeployLock, Holder
from boxwright.trying import unit
from boxwright.trying.box import Box, look
from boxwright.trying.room import On, Room, room_for
from boxwright.trying.session import Session, leftovers, opened, take_away
from boxwright.trying.target import FETCH, INSTALL, TrialTarget, chosen_weights, one_host

PROMPTS = (
    "What is the capital of France? Answer in one word.",
    "Name three colours of the rainbow.",
    "用一句话说明什么是人工智能。",
)
_MOST_TOKENS = 64
_START_S = 300  # until the model has answered: this much, and the weights at the speed of a slow disk, twice
_SLOWEST_READ_BYTES_PER_S = 200_000_000
_SHORTEST_PAGE_S, _LONGEST_PAGE_S = 30, 8 * 3600


@dataclass(frozen=True)
class Wish:
    """What a person said on the command line, besides where."""

    model: str = ""  # empty: what the profile serves
    build: str = ""
    on: str = "auto"
    page: bool = False
    seconds: int = 900  # how long the page stays
    keep: bool = False  # leave the packages for the next trial


@dataclass(frozen=True)
class Trial:
    """A trial that is to be done, on a box that has room for it."""

    target: Target
    host: Host
    weights: Weights
    room: Room
    removed: tuple[str, ...]  # paths that go with it
    wish: Wish

    @property
    def patience_s(self) -> int:
        """How long it may take until the model has answered."""
        size = self.weights.model.weight_bytes(self.weights.build) or 0
        return _START_S + 2 * size // _SLOWEST_READ_BYTES_PER_S

    @property
    def where(self) -> str:
        """Where it computes, in words."""
        cards = ", ".join(map(str, self.room.cards))
        return f"card {cards}" if cards else f"the processor, {self.room.threads} of its threads"


def try_model(
    console: Console, *, profile: str, site: str, host: str, wish: Wish, bundle: str = "", signer: str = ""
) -> Exit:
    """Load a model on a box by transformers, let it answer, perhaps serve a page of it, and leave nothing.

    Args:
        console: Told everything.
        profile: What the box was made into.
        site: Whose it is; empty: nobody's but that of `host`.
        host: Which one.
        wish: What is tried, and how.
        bundle: Folder of a bundle that the box takes packages and weights from; empty: the site's mirrors.
        signer: Whose the bundle must be.

    Raises:
        BadInputError: A name or an argument is wrong, or the bundle lacks something of a trial.
        BoxwrightError: The box has no room for it, or a model is being tried there.
    """
    on = _checked(wish)
    refuse_signer_alone(bundle, signer)
    if not site and not host:
        raise BadInputError("on which machine?", hint="Add --site, or --host USER@ADDRESS.")
    fleet = choose(Choice(profile, site=site) if site else Choice(profile, host=host))
    fleet = one_host(fleet, host if site else "")
    weights = chosen_weights(fleet, wish.model, wish.build)
    with from_bundle(bundle, fleet, signer, console.info) as door:
        return _try(console, prepare(fleet, console.info, boot=False, offline=door), weights, on, wish, door=door)


def _try(console: Console, target: Target, weights: Weights, on: On, wish: Wish, *, door: Door | None) -> Exit:
    fleet = target.fleet
    (where,) = fleet.hosts
    box = look(target.endpoint(where), (*unit.BROUGHT, *unit.SHARED))
    _check_box(box, where, wish)
    room = room_for(weights, box, on, has_cards=bool(fleet.profile.hardware.accelerators), host=where.name)
    if door:
        build = wanted_build(weights, fleet.profile.stack.models_directory, fleet.site)
        door.require(trial_needs(room.flavour, build), f"--also models.try,{weights.name}")
    brought = () if wish.keep else (*unit.BROUGHT, *(path for path in unit.SHARED if path not in box.there))
    trial = Trial(target, where, weights, room, brought, wish)
    console.info(f"{weights.name} is tried on {where.name}, on {trial.where}")
    try:
        code = _install(console, trial)
        return code if code is not Exit.OK else _run(console, trial)
    except LockedError:
        raise  # whoever holds the lock may be trying a model, too
    except BaseException:
        take_away(target.endpoint(where), brought)
        raise


def _checked(wish: Wish) -> On:
    known: tuple[On, ...] = get_args(On)
    on = next((one for one in known if one == wish.on), None)
    if on is None:
        raise BadInputError(f"--on: no '{wish.on}'.{did_you_mean(wish.on, known)}", hint="There are: auto, cards, cpu.")
    if not _SHORTEST_PAGE_S <= wish.seconds <= _LONGEST_PAGE_S:
        raise BadInputError(f"--seconds {wish.seconds}: a page stays for {_SHORTEST_PAGE_S} to {_LONGEST_PAGE_S} s")
    return on


def _check_box(box: Box, host: Host, wish: Wish) -> None:
    if box.tried_now:
        raise BoxwrightError(
            "a model is being tried on this box already", where=host.name, hint=f"Or end it: systemctl stop {unit.NAME}"
        )
    if wish.page and not box.gateway:
        raise BoxwrightError(
            "no gateway of this version serves on this box, so nobody would reach the page",
            where=host.name,
            hint="./invoke provision --stages gateway makes it; or leave --page out.",
        )


def _install(console: Console, trial: Trial) -> Exit:
    """Fetch the weights and install what loads them."""
    own = TrialTarget.of(trial.target, trial.weights, trial.room.flavour)
    title = f"Try {trial.weights.name} on {trial.host.name}"
    with RunLog("models.try", redactor(own)) as log:
        view = console.run(title, [trial.host.name], [FETCH.name, INSTALL.name], log=str(log.path))
        with view:
            outcomes = execute(
                own,
                (FETCH, INSTALL),
                dry_run=False,
                log=log,
                view=view,
                verb="models.try",
                afterwards=lambda _: None,  # nothing of the box's own has changed
            )
        if not all(one.finished for one in outcomes):
            log.close("failed")
    return outcome.exit_code(outcomes)


def _run(console: Console, trial: Trial) -> Exit:
    wish, endpoint = trial.wish, trial.target.endpoint(trial.host)
    command = unit.command(
        trial.room, page=wish.page, patience_s=trial.patience_s, seconds=wish.seconds, removed=trial.removed
    )
    order = {
        "model": trial.weights.path(trial.target.fleet.profile.stack.models_directory),
        "cards": bool(trial.room.cards),
        "threads": trial.room.threads,
        "prompts": PROMPTS,
        "chat": trial.weights.model.purpose == "chat",
        "most_tokens": _MOST_TOKENS,
        "page": unit.SOCKET if wish.page else None,
        "seconds": wish.seconds,
    }
    limit = trial.patience_s + (wish.seconds if wish.page else 0) + 60
    told: dict[str, list[dict[str, Any]]] = {}
    with (
        DeployLock(endpoint, Holder(operator(), now(), "trying a model")),
        Session(endpoint, command, order) as session,
    ):
        try:
            for line in session.lines(limit):
                for kind, said in line.items():
                    told.setdefault(kind, []).append(said)
                    _tell(console, trial, kind, told)
        except KeyboardInterrupt:
            if "page" not in told:
                raise
            console.info("The trial ends.")
    left = leftovers(endpoint, trial.removed)
    if left:
        raise BoxwrightError(f"the trial is over, and this is left of it: {left}", where=trial.host.name)
    kept = "The packages were kept for the next trial" if wish.keep else "Nothing of it is left"
    console.success(f"{kept}; the weights stay: ./invoke models.remove removes them.")
    answers = told.get("answer", [])
    return Exit.OK if answers and all(one["answer"] for one in answers) else Exit.VERIFY_FAILED


def _tell(console: Console, trial: Trial, kind: str, told: dict[str, list[dict[str, Any]]]) -> None:
    """Say what has just become known."""
    said = told[kind][-1]
    if kind == "loaded":
        devices = ", ".join(said["cards"] or said["devices"])
        size = f"{said['parameters'] / 1e6:.0f} million parameters in {said['number_format']} on {devices}"
        console.info(f"Loaded in {said['seconds']:.1f} s: {size}")
    elif kind == "memory":
        rows = [
            (one["prompt"], one["answer"], str(one["tokens"]), f"{one['tokens'] / one['seconds']:.1f}")
            for one in told["answer"]
        ]
        columns = ["Prompt", "Answer", "Tokens", "Tokens/s"]
        console.table(f"What {trial.weights.name} answers", columns, rows, kind="trial_answer")
        of_cards = f", and {said['card_bytes'] / 1e9:.1f} GB of cards" if trial.room.cards else ""
        console.info(f"It took {said['bytes'] / 1e9:.1f} GB of memory at most{of_cards}.")
        loaded = {f"load_{key}" if key == "seconds" else key: value for key, value in told["loaded"][0].items()}
        facts = {"host": trial.host.name, "weights": trial.weights.name, **loaded}
        console.data("trial", {**facts, "memory_bytes": said["bytes"], "card_memory_bytes": said["card_bytes"]})
    elif kind == "page":
        opened(trial.target.endpoint(trial.host))
        site = trial.target.fleet.site
        url = f"{public_url(trial.target.fleet, trial.host)}/try/"
        console.data("trial_page", {"url": url, "user": site.api_user, "seconds": trial.wish.seconds})
        console.success(f"A page of it: {url}, until Ctrl-C or for {trial.wish.seconds} s")
        show = f"./invoke secrets.show --site {site.name} --host {trial.host.name} --name api_password"
        console.line(f"  log in as {site.api_user}; password: {show}")

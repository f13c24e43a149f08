"""What `bench` does: load on provisioned boxes, one after the other, and what came of it."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from importlib.metadata import version
from pathlib import Path

from boxwright.bench.cards import CardWatch
from boxwright.bench.figures import figures
from boxwright.bench.job import Job
from boxwright.bench.measured import Step, held_at, series, speed_wanted
from boxwright.bench.sweep import run_job, way_to, words_for
from boxwright.bench.wish import Route, Wish, wish_of
from boxwright.console import Console
from boxwright.errors import BadInputError, BoxwrightError, Exit
from boxwright.model.catalogues import load_engine
from boxwright.model.site import Host
from boxwright.model.stack import EngineName
from boxwright.model.stack_check import TABLES
from boxwright.planning.addresses import public_name, public_url
from boxwright.planning.sized_stack import machine_for
from boxwright.provisioning.handing_over import authority_of
from boxwright.provisioning.receipt import receipt_of
from boxwright.provisioning.run import redactor
from boxwright.provisioning.target import Choice, Target, choose, prepare
from boxwright.reporting.run_log import RunLog, now
from boxwright.reports.measurements import Gap, Measurements
from boxwright.reports.runs import write_measurements
from boxwright.sizing.expected import expected_speed
from boxwright.sizing.fit import Wish as FitWish

# Engines that go on to the last token where a request says so; the answers of a small model end when they like.
_GO_ON: frozenset[EngineName] = frozenset(
    {"llama_cpp", "vllm", "vllm_ascend", "vllm_rocm", "ktransformers", "tensorrt_llm"}
)


def bench(
    console: Console, choice: Choice, *, concurrency: str, context: str, answer: int, by: str, timeout: float
) -> Exit:
    """Measure every box of a fleet, one after the other. Exit 6: a floor does not hold, or requests failed.

    Raises:
        BadInputError: Nothing serves on such boxes, or what is asked for is more than they take.
    """
    fleet = choose(choice)
    if fleet.without_stack:
        raise BadInputError(f"nothing serves that could be measured: {fleet.without_stack}", where=fleet.profile.name)
    if fleet.model.purpose == "embedding":
        raise BadInputError(f"{fleet.model.id} makes no answers that could be measured", where=fleet.profile.name)
    wish = wish_of(fleet.profile, concurrency=concurrency, context=context, answer=answer, by=by, timeout=timeout)
    if wish.one_added:
        console.info("One request alone is measured, too: the profile's floor (least_tokens_per_s) is of one answer.")
    target = prepare(fleet, console.info, boot=False)
    code = Exit.OK
    for host in filter(target.fleet.leads, target.fleet.hosts):
        try:
            if not _measure(console, target, host, wish):
                code = Exit.VERIFY_FAILED
        except BoxwrightError as error:  # one box that does not answer keeps nobody from the others
            console.error(error)
            code = Exit.VERIFY_FAILED
    return code


def _measure(console: Console, target: Target, host: Host, wish: Wish) -> bool:
    """Measure one box, write what was found, and say whether it is as it was promised."""
    fleet, begun = target.fleet, time.monotonic()
    stack = fleet.profile.stack
    engine = _engine(target, host)
    console.info(f"Measuring {host.name}: {fleet.served_name} by {engine}")
    with RunLog("bench", redactor(target)) as log:
        started, steps = now(), list(_steps(console, target, host, wish, log.directory))
        measured = Measurements(
            kind="bench",
            host=host.name,
            site=fleet.site.name,
            profile=fleet.profile.name,
            run=log.id,
            started_at=started,
            seconds=round(time.monotonic() - begun, 1),
            tool=f"Locust {version('locust')}",
            conditions={
                "model": fleet.weights.name,
                "engine": engine,
                "answer": f"{wish.answer_tokens} tokens",
                "questions": "words drawn anew for each request",
                "wanted of each answer": f"{speed_wanted(stack.least_tokens_per_s):g} tok/s",
            },
            series=series(steps, stack.least_tokens_per_s),
            unproven=tuple(_gaps(target, steps)),
        )
        log.write("bench", measured.model_dump(mode="json"))
        path = write_measurements(log.directory, measured)
    _show(console, host, steps)
    _show_held(console, target, steps)
    broken = measured.breaches(fleet.accepted(host.name))
    bad = [(one, point) for one in broken for point in one.out_of_bounds]
    for one in measured.breaches():
        if one not in broken:
            console.info(f"{host.name}: bench.{one.name} does not hold, and is waived")
    for one, point in bad:
        bound = f"at least {one.floor:g}" if one.floor is not None else f"at most {one.ceiling:g}"
        found = f"{point.value:g} {one.unit}".rstrip()
        console.warning(f"{host.name}: {one.title}: {found}, wanted {bound}. {one.remedy}")
    console.data("measurements", {"host": host.name, "file": str(path)})
    console.info(f"Written: {path}")
    return not bad


def _engine(target: Target, host: Host) -> str:
    """The engine, and what the box says of where it came from: its version, and whether it is SIMULATED."""
    engine, told = target.fleet.profile.stack.engine, receipt_of(target.endpoint(host))
    version = told.versions.get(engine.replace("_", "-")) if told else None
    return f"{engine} {version}" if version else engine


def _gaps(target: Target, steps: Sequence[Step]) -> Iterator[Gap]:
    what = "power, memory and temperature of cards"
    if not target.fleet.profile.cards_of(target.fleet.profile.stack):
        yield Gap(what=what, reason="the engine computes on processors")
    elif not any(step.cards for step in steps):
        yield Gap(what=what, reason="nvidia-smi told nothing on the box")


def _steps(console: Console, target: Target, host: Host, wish: Wish, folder: Path) -> Iterator[Step]:
    for route in wish.routes:
        with _job(target, host, route, wish, folder) as job:
            for context in wish.contexts:
                sized = job.model_copy(update={"words": words_for(job, context)})
                for at_once in _taken(console, target, route, wish):
                    # Engines keep the questions of days before; none of these is to be one of them.
                    update = {
                        "concurrency": at_once,
                        "requests": wish.requests(at_once),
                        "seed": secrets.randbits(32),
                    }
                    yield _step(console, target, host, sized.model_copy(update=update), route=route, context=context)


def _taken(console: Console, target: Target, route: Route, wish: Wish) -> tuple[int, ...]:
    """So many at a time as the gateway lets one user have; the engine itself has no such limit."""
    most = target.fleet.profile.gateway.api_concurrent_requests
    if route == "engine" or wish.concurrency[-1] <= most:
        return wish.concurrency
    console.info(f"The gateway lets one user have {most} requests at a time; more are measured past it alone.")
    return tuple(one for one in wish.concurrency if one <= most)


@contextmanager
def _job(target: Target, host: Host, route: Route, wish: Wish, folder: Path) -> Iterator[Job]:
    """What every step of a route has in common, while the way there is open."""
    fleet, own_secrets = target.fleet, target.secrets[host.name]
    stack = fleet.profile.stack
    common = {
        "model": fleet.served_name,
        "engine_settings": {"ignore_eos": True} if stack.engine in _GO_ON else {},
        "words": 1,
        "answer_tokens": wish.answer_tokens,
        "concurrency": 1,
        "requests": 1,
        "timeout_s": wish.timeout_s,
    }
    with ExitStack() as open_ways:
        if route == "engine":
            port = open_ways.enter_context(way_to(target.endpoint(host), stack.engine_port))
            yield Job(url=f"http://127.0.0.1:{port}/v1", key=own_secrets.engine_key, **common)
            return
        own = authority_of(target, host)
        if own:
            (folder / "authority.crt").write_text(own, encoding="utf-8")
        yield Job(
            url=f"{public_url(fleet, host)}/v1",
            address=(host.address or "") if public_name(fleet, host) else "",
            authority=str(folder / "authority.crt") if own else "",
            key=own_secrets.api_key,
            **common,
        )


def _step(console: Console, target: Target, host: Host, job: Job, *, route: Route, context: int) -> Step:
    profile = target.fleet.profile
    cards = len(profile.cards_of(profile.stack))
    watch = CardWatch(target.endpoint(host), profile.hardware.accelerator_count) if cards else nullcontext(None)
    console.info(
        f"{host.name}: {job.requests} requests of {context} tokens by the {route}, {job.concurrency} at once …"
    )
    with watch as seen:
        answered = run_job(job)
    return Step(
        route=route,
        context=context,
        concurrency=job.concurrency,
        figures=figures(answered),
        predicted=_predicted(target, context, job.concurrency),
        cards=seen.most if seen else None,
    )


def _predicted(target: Target, context: int, requests: int) -> float | None:
    fleet, service = target.fleet, target.fleet.profile.stack
    table = load_engine(TABLES[service.engine])
    own = {table.canonical(name): value for name, value in service.engine_settings.items()}
    machine = machine_for(service, fleet.profile, fleet.accelerators)
    return expected_speed(service, fleet.weights, machine, own, context_tokens=context, requests=requests)


_COLUMNS = [
    "Route", "Tokens", "At once", "tok/s", "Each", "Predicted", "First word p50/p95", "Gap p50/p95", "Card memory",
    "Timed out", "Failed",
]  # fmt: skip
_HELD = ["Model", "Tokens", "Route", "At once", "People", "Each at least"]


def _cells(step: Step) -> tuple[str, ...]:
    found = step.figures
    each = "" if found.each_tokens_per_s is None else f"{found.each_tokens_per_s:.1f}"
    predicted = "" if step.predicted is None else f"{step.predicted:.1f}"
    first = f"{found.first_s.p50:.2f} / {found.first_s.p95:.2f} s" if found.first_s else ""
    gap = f"{1000 * found.gap_s.p50:.0f} / {1000 * found.gap_s.p95:.0f} ms" if found.gap_s else ""
    memory = f"{step.cards.memory_gib:.1f} GiB" if step.cards else ""
    failed = f"{found.failed} of {found.requests}: {found.why}" if found.failed else "none"
    return (
        step.route, str(step.context), str(step.concurrency), f"{found.tokens_per_s:.1f}", each, predicted, first, gap,
        memory, str(found.timed_out), failed,
    )  # fmt: skip


def _show(console: Console, host: Host, steps: list[Step]) -> None:
    console.table(host.name, _COLUMNS, [_cells(one) for one in steps], kind="bench")


def _show_held(console: Console, target: Target, steps: Sequence[Step]) -> None:
    """How many requests of each length are served at once, each as fast as wanted, and for how many people that is."""
    wanted, people = speed_wanted(target.fleet.profile.stack.least_tokens_per_s), FitWish().people_per_request
    rows = []
    for route, context in dict.fromkeys((one.route, one.context) for one in steps):
        group = [one for one in steps if (one.route, one.context) == (route, context)]
        held, most = held_at(group, wanted), max(one.concurrency for one in group)
        told = f"{held} (the most tried)" if held == most else str(held)
        rows.append((target.fleet.served_name, str(context), route, told, str(held * people), f"{wanted:g} tok/s"))
    console.table("Requests at once, each as fast as wanted", _HELD, rows, kind="held")

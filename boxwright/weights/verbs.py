"""What `models`, `models.pin`, `models.remove` and `models.clean` do, told to a console."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import get_args

from boxwright import vault
from boxwright.console import Console
from boxwright.detection.verbs import endpoints
from boxwright.errors import BadInputError, BoxwrightError, Exit, did_you_mean
from boxwright.model.catalogue import Build, HubName, Model, ModelCatalogue
from boxwright.model.catalogues import load_models, load_profile, load_site
from boxwright.model.profile import Profile
from boxwright.model.site import Host, Site
from boxwright.model.switching import serving
from boxwright.model.weights import weights_of
from boxwright.provisioning.switched import switched
from boxwright.provisioning.target import single_host
from boxwright.reporting.run_log import now, operator
from boxwright.transport.lock import DeployLock, Holder
from boxwright.transport.ssh import Endpoint
from boxwright.weights import boxes
from boxwright.weights.boxes import BuildOnBox, WeightsOnBox
from boxwright.weights.hubs import TITLES, Hubs
from boxwright.weights.pinning import as_yaml, hub_of, pin

_AT_ONCE = 8
_NOWHERE = Site(name="nowhere", hosts=(Host(name="none", address="192.0.2.1"),))  # for its defaults


def show(console: Console, *, profile: str, site: str, host: str) -> Exit:
    """List the catalogue; of a profile on a site, list what lies on its boxes."""
    if profile or site:
        return _show_boxes(console, profile, site, host)
    rows = [(model.id, *_build_cells(model, build)) for model in load_models().models for build in model.builds]
    columns = ["Model", "Build", "Format", "Size", "Digests", "From"]
    console.table("Models", columns, rows, kind="model")
    return Exit.OK


def _build_cells(model: Model, build: Build) -> tuple[str, ...]:
    size = model.weight_bytes(build)
    exact = build.files or build.bytes
    shown = f"{'' if exact else 'about '}{gigabytes(size)}" if size else "unknown"
    return build.name, build.format, shown, "pinned" if build.pinned else "not pinned", ", ".join(_origins(build))


def _origins(build: Build) -> list[str]:
    found = ["Python package"] if any(file.python_packages for file in build.files) else []
    found += ["address"] if any(file.url for file in build.files) else []
    return found + [title for hub, title in TITLES.items() if getattr(build, hub)]


def gigabytes(count: int) -> str:
    """Bytes as on a disk's label."""
    return f"{count / 1e9:.1f} GB" if count >= 10**9 else f"{count / 1e6:.0f} MB"


@dataclass(frozen=True)
class Place:
    """The boxes of a profile on a site, and what they are to have."""

    profile: Profile
    catalogue: ModelCatalogue
    endpoints: tuple[Endpoint, ...]

    @property
    def directory(self) -> str:
        """Where weights lie on each box."""
        return self.profile.stack.models_directory

    @property
    def wanted(self) -> tuple[str, ...]:
        """The builds that the profile's services serve."""
        services = self.profile.stack.services
        return tuple(dict.fromkeys(weights_of(service, self.catalogue).name for service in services))


def _place(profile: str, site: str, host: str) -> Place:
    if not profile:
        raise BadInputError("which kind of box?", hint="Add --profile: it says where models lie, and which are served.")
    whose = load_site(site) if site else _NOWHERE
    ways, made = tuple(endpoints(host, site)), load_profile(profile)
    kept = switched(whose.name if site else single_host(host).name, made.name)
    place = Place(serving(made, kept), load_models(further=_own(whose)), ways)
    try:
        _ = place.wanted
    except ValueError as error:
        raise BadInputError(str(error), where=f"profile {profile}") from None
    return place


def _own(site: Site) -> tuple[Path, ...]:
    return tuple(Path(path).expanduser() for path in site.models.catalogues)


def _show_boxes(console: Console, profile: str, site: str, host: str) -> Exit:
    place = _place(profile, site, host)
    found, failed = _on_all(console, place, lambda endpoint: boxes.look(endpoint, place.directory))
    rows = [
        (one.host, build.name, gigabytes(build.bytes), build.state(place.catalogue), _use(build, place))
        for one in found
        for build in one.builds
    ]
    for one in found:
        missing = [name for name in place.wanted if name not in {build.name for build in one.builds}]
        rows += [(one.host, name, "", "not there", "served") for name in missing]
    console.table("Models on boxes", ["Host", "Build", "Size", "State", "Use"], sorted(rows), kind="model_on_box")
    for one in found:
        console.info(f"{one.host}: {gigabytes(one.free_bytes)} free where models lie")
    return _exit(failed, found)


def _use(build: BuildOnBox, place: Place) -> str:
    if build.name in place.wanted:
        return "served"
    garbage = boxes.garbage(WeightsOnBox("", (build,), 0), place.wanted)
    return f"open in {', '.join(build.used_by)}" if build.used_by else "none" if garbage else "served"


def pin_build(console: Console, *, model: str, build: str, site: str, hub: str, revision: str) -> Exit:
    """Ask a hub for sizes and digests of a build, and print them as a file of a catalogue."""
    whose = load_site(site) if site else _NOWHERE
    chosen = _model(load_models(further=_own(whose)), model)
    wanted = _build(chosen, build)
    known: tuple[HubName, ...] = get_args(HubName)
    named = next((one for one in known if one == hub), None)
    if hub and named is None:
        raise BadInputError(f"--hub: no '{hub}'.{did_you_mean(hub, known)}", hint=f"There are: {', '.join(known)}.")
    asked = hub_of(wanted, whose.models.hubs, named)
    secrets = vault.hub_tokens(whose)
    tokens = {one: secrets[f"{one}_token"].get_secret_value() for one in known if f"{one}_token" in secrets}
    with Hubs(whose.mirrors, whose.proxy, tokens) as hubs:
        text = as_yaml([pin(chosen, wanted, asked, revision or None, hubs)])
    console.data("pin", {"model": chosen.id, "build": wanted.name, "hub": asked, "text": text})
    console.line(text.rstrip())
    return Exit.OK


def _model(catalogue: ModelCatalogue, name: str) -> Model:
    model = catalogue.find(name)
    if model is None:
        raise BadInputError(
            f"no model '{name}'.{did_you_mean(name, catalogue.names())}", hint="./invoke models lists them."
        )
    return model


def _build(model: Model, name: str) -> Build:
    known = [build.name for build in model.builds]
    if not name and len(known) > 1:
        raise BadInputError(f"which build of {model.id}?", hint=f"Add --build. There are: {', '.join(known)}.")
    build = model.build(name or known[0])
    if build is None:
        raise BadInputError(
            f"{model.id} has no build '{name}'.{did_you_mean(name, known)}", hint=f"There are: {', '.join(known)}."
        )
    return build


def remove(console: Console, *, profile: str, site: str, host: str, model: str, build: str, yes: bool) -> Exit:
    """Remove a model, or one build of it, from boxes whose profile does not serve it."""
    place = _place(profile, site, host)
    known = place.catalogue.find(model)
    folder = known.id if known else model  # a box may have one that the catalogue has forgotten

    def named(name: str) -> bool:
        return name == f"{folder}/{build}" if build else name.startswith(f"{folder}/")

    served = [name for name in place.wanted if named(name)]
    if served:
        raise BadInputError(
            f"{served[0]} is what profile {place.profile.name} serves",
            hint="Let the profile name another model, provision, and remove this one then.",
        )
    unknown = "" if known else f"no box has a model '{model}'.{did_you_mean(model, place.catalogue.names())}"
    chosen = partial(_named, named)
    return _remove(console, place, chosen, yes=yes, nothing=unknown)


def _named(named: Callable[[str], bool], there: WeightsOnBox) -> list[BuildOnBox]:
    return [one for one in there.builds if named(one.name)]


def clean(console: Console, *, profile: str, site: str, host: str, yes: bool) -> Exit:
    """Remove what no service of the profile serves from its boxes: never by itself, and never what is open."""
    place = _place(profile, site, host)
    return _remove(console, place, lambda there: list(boxes.garbage(there, place.wanted)), yes=yes)


def _remove(
    console: Console,
    place: Place,
    chosen: Callable[[WeightsOnBox], list[BuildOnBox]],
    *,
    yes: bool,
    nothing: str = "",
) -> Exit:
    found, failed = _on_all(console, place, lambda endpoint: boxes.look(endpoint, place.directory))
    orders = {one.host: chosen(one) for one in found}
    rows = [
        (host, build.name, gigabytes(build.bytes), build.state(place.catalogue), ", ".join(build.used_by))
        for host, builds in orders.items()
        for build in builds
    ]
    if not rows and nothing and not failed:
        raise BadInputError(nothing)
    if not rows:
        console.info("There is nothing to remove.")
        return _exit(failed, found)
    console.table("To be removed", ["Host", "Build", "Size", "State", "Open in"], rows, kind="to_remove")
    if not yes and not console.confirm("Remove these?"):
        console.info("Nothing was removed.")
        return _exit(failed, found)
    doing = {host: [build.name for build in builds] for host, builds in orders.items() if builds}

    def work(endpoint: Endpoint) -> WeightsOnBox:
        with DeployLock(endpoint, Holder(operator(), now(), "removing models")):
            return boxes.remove(endpoint, place.directory, doing[endpoint.name])

    left = Place(place.profile, place.catalogue, tuple(one for one in place.endpoints if one.name in doing))
    done, failures = _on_all(console, left, work)
    for one in done:
        console.success(f"{one.host}: {gigabytes(one.freed_bytes)} freed, {gigabytes(one.free_bytes)} are free now")
        for name, why in one.refused.items():
            console.error(BoxwrightError(f"{name} was not removed: {why}", where=one.host))
    refused = sum(1 for one in done if one.refused)
    return _exit(failed + failures + refused, [one for one in done if one.freed_bytes])


def _on_all(console: Console, place: Place, work: Callable[[Endpoint], WeightsOnBox]) -> tuple[list[WeightsOnBox], int]:
    """Do something on every box at once; one that fails keeps nobody from the others."""

    def safely(endpoint: Endpoint) -> WeightsOnBox | BoxwrightError:
        try:
            return work(endpoint)
        except BoxwrightError as error:
            return error

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        answers = list(pool.map(safely, place.endpoints))
    for answer in answers:
        if isinstance(answer, BoxwrightError):
            console.error(answer)
    found = [answer for answer in answers if isinstance(answer, WeightsOnBox)]
    return found, len(answers) - len(found)


def _exit(failed: int, done: Sequence[WeightsOnBox]) -> Exit:
    if not failed:
        return Exit.OK
    return Exit.PARTIAL if done else Exit.ERROR

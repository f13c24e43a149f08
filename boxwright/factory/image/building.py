"""Builds an image: an operating system out of a bundle, provisioned in a container by the ordinary pipeline, packed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from boxwright import mirrors, places, vault
from boxwright.console import Console
from boxwright.errors import BoxwrightError
from boxwright.factory.evidence.collect import inventory_of
from boxwright.factory.evidence.inventory import Inventory
from boxwright.factory.evidence.locked import with_lock
from boxwright.factory.image import base_root, disk
from boxwright.factory.image.finishing import FAILED, Order
from boxwright.factory.image.wanted import Wanted
from boxwright.factory.lock import Lock
from boxwright.factory.offline import served
from boxwright.factory.serving import PORT, address_towards, serving, table
from boxwright.lab import Lab, RunningTwin, TwinSpec
from boxwright.lab.cgroups import wait_for
from boxwright.lab.places import LabPlaces
from boxwright.model.site import Mirrors, Site, Ssh
from boxwright.provisioning.run import redactor
from boxwright.provisioning.target import Target
from boxwright.provisioning.verbs import run_stages
from boxwright.transport.ssh import run

_POWER_OFF_S = 90


def build(wanted: Wanted, console: Console) -> Inventory:
    """Make an image, with the lists of what is in it and of what was sealed.

    Returns:
        What lies on it.

    Raises:
        BoxwrightError: A stage failed, or a tool; nothing of the image is left then.
    """
    wanted.folder.mkdir(parents=True, exist_ok=True)
    # Of the state directory, where the container's own layer lies: two layers are one tree in one filesystem alone.
    (places.state() / "images").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".build-", dir=places.state() / "images") as scratch, ExitStack() as stack:
        base, work = Path(scratch, "base"), Path(scratch, "work")
        console.info("Unpacking the operating system out of the bundle …")
        addresses = table(wanted.bundle, wanted.manifest)
        with serving(addresses, "127.0.0.1", 0) as server:
            url = f"http://127.0.0.1:{server.server_address[1]}/{wanted.lock.name}/apt"
            base_root.unpack(base, wanted.bundle, wanted.lock, url, wanted.identity)
        disk.boot_partition(base, wanted.identity)  # what it lacks is told now, and not after all the work
        lab = stack.enter_context(_lab(wanted.fleet.site, console.info))
        twin = _twin(lab, wanted, base)
        target = _target(wanted, twin, Path(scratch, "vault"))
        with serving(addresses, address_towards(twin.address)):
            inventory = _provisioned(target, wanted.lock, console)
        _power_off(lab, target)
        upper = LabPlaces.of(lab.name).twin(twin.name).disk / "upper"
        work.mkdir()
        order = Order(
            lower=str(base),
            upper=str(upper),
            work=str(work),
            to=str(wanted.folder),
            image=wanted.image,
            identity=wanted.identity,
            authorized_key=wanted.authorized_key,
        )
        _finish(order, Path(scratch, "order.json"), _forbidden(target, twin), console.info)
    return inventory


@contextmanager
def _lab(site: Site, progress: Callable[[str], None]) -> Iterator[Lab]:
    """The lab of the one twin; what a killed build left of it goes first."""
    lab = Lab(site.name, mirrors=Mirrors(), progress=progress)
    lab.down()
    try:
        yield lab
    finally:
        lab.down()


def _twin(lab: Lab, wanted: Wanted, base: Path) -> RunningTwin:
    (host,) = wanted.fleet.site.hosts
    profile = wanted.fleet.profile
    return lab.up([TwinSpec(host.name, wanted.lock.distribution, profile.hardware, root=base)])[0]


def _target(wanted: Wanted, twin: RunningTwin, vault_path: Path) -> Target:
    """The twin as a box of nobody's: with secrets that are thrown away, and everything out of the bundle."""
    (host,) = wanted.fleet.site.hosts
    url = f"http://{address_towards(twin.address)}:{PORT}/{wanted.lock.name}"
    site = wanted.fleet.site.model_copy(
        update={
            "hosts": (host.model_copy(update={"address": twin.address}),),
            "ssh": Ssh(user=twin.user, key=str(twin.key), known_hosts=str(twin.known_hosts)),
            "bundle": served(wanted.bundle, wanted.lock, url),
        }
    ).behind_its_bundle()
    return Target(
        fleet=wanted.fleet.model_copy(update={"site": site}),
        secrets=vault.resolve(site, vault_path=vault_path),
        mirrors=mirrors.resolve(site.mirrors),
        certificates=(),
        chain=None,
    )


def _provisioned(target: Target, lock: Lock, console: Console) -> Inventory:
    """Take the twin through all stages; return what lies on it then."""
    (outcome,) = run_stages(console, target, (), dry_run=False, verb="image")
    if outcome.error is not None:  # told already, as the stages were shown
        raise BoxwrightError("the container was not provisioned to its end, so no image was made")
    (host,) = target.fleet.hosts
    models = target.fleet.profile.stack.models_directory
    return with_lock(inventory_of(target.endpoint(host), models, redactor(target)), lock)


def _power_off(lab: Lab, target: Target) -> None:
    (host,) = target.fleet.hosts
    run(target.endpoint(host), "systemctl poweroff")
    if not wait_for(lambda: all(one.state == "stopped" for one in lab.status()), _POWER_OFF_S):
        raise BoxwrightError("the container does not power off", where=host.name)


def _forbidden(target: Target, twin: RunningTwin) -> list[str]:
    """What may stand in no file of an image: the build's secrets and addresses, and the key of its lab."""
    (host,) = target.fleet.hosts
    return [
        *(value for value in target.secrets[host.name].values()),
        f"//{address_towards(twin.address)}:",
        twin.address,
        twin.key.with_suffix(".pub").read_text().split()[1],
    ]


def _finish(order: Order, path: Path, forbidden: list[str], progress: Callable[[str], None]) -> None:
    path.write_text(order.dump())
    inside = ["unshare", "--mount", "--propagation", "slave"]
    argv = [*inside, sys.executable, "-P", "-m", "boxwright.factory.image.finishing", str(path)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdin  # noqa: S101  pipes were asked for
        assert process.stdout  # noqa: S101
        assert process.stderr  # noqa: S101
        process.stdin.write(json.dumps(forbidden))
        process.stdin.close()
        failed = ""
        for line in process.stdout:
            if line.startswith(FAILED):
                failed = line.removeprefix(FAILED)
            else:
                progress(f"{line.strip()} …")
        output = process.stderr.read()
    if failed:
        told = json.loads(failed)
        raise BoxwrightError(told["message"], where=told["where"], hint=told["hint"], output=told["output"])
    if process.returncode:
        raise BoxwrightError("the tree could not be made an image", output="\n".join(output.splitlines()[-10:]))

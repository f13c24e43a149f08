"""A lab: several twins on one network of their own, brought up, looked at and taken down by name."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from boxwright.errors import BadInputError, LabError, did_you_mean
from boxwright.lab import cgroups, machine, prerequisites, processes, proxy
from boxwright.lab.commands import locked, remove_tree, tail
from boxwright.lab.kinds import kind_of
from boxwright.lab.network import LabNetwork, free_host_octet, free_subnet
from boxwright.lab.places import LabPlaces, labs
from boxwright.lab.record import TwinRecord
from boxwright.lab.spec import RunningTwin, TwinSpec, TwinStatus, checked_name
from boxwright.lab.vendors import shelf
from boxwright.lab.vendors.shelf import Shelf
from boxwright.mirrors import resolve_debian
from boxwright.model.site import Mirrors

_EXTRA_AUTHORITIES = Path("/usr/local/share/ca-certificates")
# Of the whole machine, not of one state directory: routes are, too.
_SUBNETS = Path("/run/lock/boxwright-subnets.lock")
_BOOT_EACH_S = 10.0  # for every twin beyond the first of a command


class Lab:
    """Throw-away hosts on this machine, entered over real ssh.

    Several labs live side by side: each has a subnet, a bridge, a proxy and a folder of its own.

    Args:
        name: Which lab.
        mirrors: Where the twins' packages come from; the controller's own setup says what is left out.
        progress: Told about every step that takes long or alters the controller, one sentence each.
    """

    def __init__(self, name: str = "lab", *, mirrors: Mirrors, progress: Callable[[str], None]) -> None:
        self.name = checked_name(name)
        self._mirrors = mirrors
        self._progress = progress
        self._places = LabPlaces.of(name)
        self._processes = processes.for_lab(name)

    @property
    def proxy_url(self) -> str:
        """The proxy through which the twins reach packages: what `site.proxy` says for them."""
        return f"http://{self._network().controller_address}:{proxy.PORT}"

    @property
    def ca_certificates(self) -> tuple[Path, ...]:
        """The authorities that the controller trusts beyond Debian's; behind its proxy twins must, too."""
        return tuple(sorted(_EXTRA_AUTHORITIES.rglob("*.crt")))

    @property
    def vendors(self) -> Shelf:
        """The simulated vendors that its twins are given."""
        return shelf.read(self._places.vendors)

    def vendors_here(self) -> Shelf:
        """The same, made unless they are there, and named by their places on this machine instead of the twin's.

        Raises:
            LabError: dpkg-deb or gpg is missing or failed.
        """
        with locked(self._places.lock, self._progress):
            shelf.ensure(self._places.vendors, self._progress)
        return shelf.here(self._places.vendors)

    def up(self, specs: Sequence[TwinSpec]) -> list[RunningTwin]:
        """Make and start these twins; return when every sshd answers. Twins that run stay as they are.

        Raises:
            BadInputError: Two twins of the same name.
            LabError: This machine cannot run them, one did not come up, or one exists as something else.
        """
        names = [spec.name for spec in specs]
        if len(set(names)) < len(names):
            raise BadInputError("two twins of the same name", where=f"lab {self.name}")
        prerequisites.ensure(self._progress, vms=any(spec.kind == "vm" for spec in specs))
        mirrors = resolve_debian(self._mirrors)
        with locked(self._places.lock, self._progress):
            network = self._prepare_network()
            bases = [kind_of(spec.kind).base_of(spec, mirrors, self._progress) for spec in specs]
            if any(spec.vendors for spec in specs):
                shelf.ensure(self._places.vendors, self._progress)
            for spec, base in zip(specs, bases, strict=True):
                self._ensure_twin(spec, network, base)
            prerequisites.ensure_inotify(len(list(self._places.root.parent.glob("*/twins/*"))), self._progress)
            self._write_known_hosts(network)
            stopped = [name for name in names if not self._processes.pids(_group(name))]
            self._power_on(stopped, network)
            self._await_ssh(names, network)
        return [self.twin(name) for name in names]

    def down(self, names: Sequence[str] | None = None) -> None:
        """Remove these twins, or the lab with everything in it except for the cached root filesystems.

        Raises:
            BadInputError: No twin has this name.
        """
        with locked(self._places.lock, self._progress):
            known = self._twin_names()
            for name in names or ():
                if name not in known:
                    raise BadInputError(f"lab {self.name} has no twin {name!r}.{did_you_mean(name, known)}")
            with ThreadPoolExecutor(max_workers=4) as pool:
                list(pool.map(self._remove_twin, known if names is None else names))
            if not self._places.root.is_dir():
                self._processes.remove()
                return
            if names is None:
                self._remove_rest()
            else:
                self._write_known_hosts(self._network())

    def status(self) -> list[TwinStatus]:
        """Every twin of the lab, by name."""
        records = [TwinRecord.read(self._places.twin(name)) for name in self._twin_names()]
        return [self._status(record) for record in records if record is not None]

    def twin(self, name: str) -> RunningTwin:
        """How to enter a twin.

        Raises:
            BadInputError: The lab has no such twin.
            LabError: It does not run.
        """
        record = TwinRecord.read(self._places.twin(name)) if name in self._twin_names() else None
        if record is None:
            known = self._twin_names()
            raise BadInputError(
                f"lab {self.name} has no twin {name!r}.{did_you_mean(name, known)}",
                hint=f"Start one: {self._verb('up')}",
            )
        if not self._processes.pids(_group(name)):
            raise LabError(f"twin {name} is not running", hint=f"Start it: {self._verb('up')}")
        return RunningTwin(
            name=name,
            address=self._network().address(record.octet),
            key=self._places.key,
            known_hosts=self._places.known_hosts,
            distribution=record.distribution,
            kind=record.kind,
        )

    def _network(self) -> LabNetwork:
        try:
            return LabNetwork(self.name, int(json.loads(self._places.record.read_text())["subnet_octet"]))
        except (OSError, ValueError, KeyError) as missing:
            raise LabError(f"lab {self.name} is not up", hint=f"Start it: {self._verb('up')}") from missing

    def _prepare_network(self) -> LabNetwork:
        self._places.twins.mkdir(parents=True, exist_ok=True)
        self._places.root.chmod(0o700)
        with locked(_SUBNETS):
            try:
                network = self._network()
            except LabError:
                network = LabNetwork(self.name, free_subnet(_recorded_octets()))
                draft = self._places.record.with_suffix(".draft")
                draft.write_text(json.dumps({"subnet_octet": network.octet}))
                draft.replace(self._places.record)
            network.up()
        if not self._places.key.with_suffix(".pub").exists():
            self._places.key.unlink(missing_ok=True)
            machine.make_key(self._places.key, f"lab {self.name}")
        proxy.up(self._processes, self._places.proxy, network.controller_address, network.subnet)
        return network

    def _ensure_twin(self, spec: TwinSpec, network: LabNetwork, base: Path) -> None:
        places = self._places.twin(spec.name)
        record = TwinRecord.read(places)
        if record is None:
            self._processes.stop(_group(spec.name))
            octet = free_host_octet(self._used_octets())
            public_key = self._places.key.with_suffix(".pub").read_text()
            make = kind_of(spec.kind).make
            make(places, spec, network, octet, base=base, vendors=self._places.vendors, public_key=public_key)
        elif not record.matches(spec):
            same = record.kind == spec.kind
            other = "Remove" if same else f"Say --kind {record.kind}, or remove"
            how = "with another distribution, hardware or disk" if same else f"as a {record.kind}"
            raise LabError(
                f"twin {spec.name} exists {how}",
                where=f"lab {self.name}",
                hint=f"{other} the lab first: {self._verb('down')}",
            )
        elif not Path(record.base).is_dir():
            raise LabError(
                f"the root filesystem under twin {spec.name} was removed from the cache",
                where=record.base,
                hint=f"Make the lab anew: {self._verb('down')} && {self._verb('up')}",
            )

    def _power_on(self, names: Sequence[str], network: LabNetwork) -> None:
        if names:
            self._progress(f"Starting {', '.join(names)}")
        for name in names:
            places, record = self._places.twin(name), self._record(name)
            kind = kind_of(record.kind)
            kind.attach(network, record.octet)
            self._processes.start(
                _group(name),
                kind.supervisor_command(places, network, record.octet),
                log=places.console,
                environment=machine.supervisor_environment(),
            )

    def _await_ssh(self, names: Sequence[str], network: LabNetwork) -> None:
        waiting = {name: network.address(self._record(name).octet) for name in names}
        slowest = max(kind_of(self._record(name).kind).BOOT_S for name in names)
        deadline = time.monotonic() + slowest + _BOOT_EACH_S * len(names)
        while waiting:
            for name, address in list(waiting.items()):
                if _sshd_answers(address):
                    del waiting[name]
                elif time.monotonic() > deadline or not self._processes.pids(_group(name)):
                    console = self._places.twin(name).console
                    raise LabError(
                        f"twin {name} did not come up",
                        where=str(console),
                        hint=f"Try again: {self._verb('down')} && {self._verb('up')}",
                        output=tail(console.read_text(errors="replace")),
                    )
            time.sleep(0.05)

    def _remove_twin(self, name: str) -> None:
        places = self._places.twin(name)
        record = TwinRecord.read(places)
        self._processes.stop(_group(name))
        if record is not None:
            kind_of(record.kind).detach(self._network(), record.octet)
        remove_tree(places.root)

    def _remove_rest(self) -> None:
        proxy.down(self._processes)
        if self._places.record.exists():
            self._network().down()
        self._processes.remove()
        remove_tree(self._places.root)

    def _status(self, record: TwinRecord) -> TwinStatus:
        pids = self._processes.pids(_group(record.name))
        return TwinStatus(
            name=record.name,
            distribution=record.distribution,
            address=self._network().address(record.octet),
            state="running" if pids else "stopped",
            since=cgroups.started_at(pids),
            memory_bytes=cgroups.memory_bytes(pids),
            kind=record.kind,
        )

    def _verb(self, name: str) -> str:
        """The command that a person types next; a site's lab has the site's name."""
        return f"./invoke lab.{name} --site {self.name}"

    def _twin_names(self) -> list[str]:
        """Folders of twins, half-made ones too."""
        if not self._places.twins.is_dir():
            return []
        return sorted(folder.name for folder in self._places.twins.iterdir())

    def _record(self, name: str) -> TwinRecord:
        record = TwinRecord.read(self._places.twin(name))
        if record is None:
            raise LabError(f"twin {name} is half-made", hint=f"Remove the lab first: {self._verb('down')}")
        return record

    def _used_octets(self) -> set[int]:
        records = (TwinRecord.read(self._places.twin(name)) for name in self._twin_names())
        return {record.octet for record in records if record is not None}

    def _write_known_hosts(self, network: LabNetwork) -> None:
        lines = []
        for name in self._twin_names():
            places = self._places.twin(name)
            record = TwinRecord.read(places)
            if record is not None:
                lines.append(f"{network.address(record.octet)} {machine.host_key(places)}\n")
        draft = self._places.known_hosts.with_suffix(".draft")
        draft.write_text("".join(lines))
        draft.replace(self._places.known_hosts)


def _group(name: str) -> str:
    """The control group of a twin; the prefix keeps a twin called `proxy` apart from the proxy."""
    return f"twin-{name}"


def _recorded_octets() -> set[int]:
    """Subnets of all labs, those that are not up at the moment too."""
    octets = set()
    for record in labs().glob("*/lab.json"):
        try:
            octets.add(int(json.loads(record.read_text())["subnet_octet"]))
        except (OSError, ValueError, KeyError):
            continue
    return octets


def _sshd_answers(address: str) -> bool:
    try:
        with socket.create_connection((address, 22), timeout=1) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False

"""The evidence of boxes: what is on each, and how it was built, signed. Left on the box, and written for its report."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pydantic import ValidationError

from boxwright import places
from boxwright.console import Console
from boxwright.errors import BoxwrightError, Exit
from boxwright.factory import kept_locks
from boxwright.factory.lock import Lock, read_lock
from boxwright.model.site import Host
from boxwright.provisioning import outcome
from boxwright.provisioning.outcome import HostOutcome
from boxwright.provisioning.run import AT_ONCE, redactor
from boxwright.provisioning.target import Choice, Target, choose, prepare
from boxwright.reporting.run_log import now, operator
from boxwright.reports.certificate import Receipt
from boxwright.signing import SigningKey
from boxwright.transport.lock import DeployLock, Holder
from boxwright.whole_files import write_whole


def signing_key(console: Console) -> SigningKey:
    """The key that this controller signs by; a word on one that was just made.

    Raises:
        BadInputError: What is there is no such key, or others may read it.
    """
    folder = places.state() / "signing"
    is_new = not (folder / "ed25519").exists()
    key = SigningKey.kept_in(folder)
    if is_new:
        console.warning(
            f"a key that signs certificates was made: {folder / 'ed25519'}. Keep a copy of it where you keep such "
            f"things, and tell your customers its fingerprint by another way than by a certificate: "
            f"{key.public.fingerprint}"
        )
    return key


def leave(target: Target, host: Host, files: dict[str, bytes]) -> None:
    """Put a host's evidence beside its receipt there.

    Raises:
        UnreachableError: It does not answer.
        BoxwrightError: It could not write them.
    """
    from boxwright.factory.evidence import collect  # noqa: PLC0415  as below
    from boxwright.factory.evidence.names import RECEIPT  # noqa: PLC0415

    others = {name: data for name, data in files.items() if name != RECEIPT}  # which is the box's own
    collect.leave(target.endpoint(host), others)


def evidence_of(target: Target, host: Host, key: SigningKey, lock: Lock | None = None) -> dict[str, bytes]:
    """The evidence of a host as it is now, by the names of its files.

    Args:
        target: The hosts.
        host: Which of them.
        key: Signs the statement.
        lock: What the host was made from; it knows digests that no box keeps. None: the lock that its receipt names,
            where this controller has it.

    Raises:
        UnreachableError: It does not answer.
        BoxwrightError: It has no receipt, or could not tell what is on it.
    """
    # The library of bills of materials takes half a second to load, which is no business of `plan`.
    from boxwright.factory.evidence.collect import inventory_of  # noqa: PLC0415
    from boxwright.factory.evidence.files import evidence_files  # noqa: PLC0415
    from boxwright.factory.evidence.locked import with_lock  # noqa: PLC0415

    fleet = target.fleet
    inventory = inventory_of(target.endpoint(host), fleet.profile.stack.models_directory, redactor(target))
    if lock := lock or _lock_of(inventory.receipt):
        inventory = with_lock(inventory, lock)
    return evidence_files(inventory, host.name, fleet.catalogue, key)


def _lock_of(receipt: str) -> Lock | None:
    """The lock that a host was made from, by the text of its receipt."""
    try:
        used = Receipt.model_validate_json(receipt).bundle
    except ValidationError:
        return None
    return kept_locks.find(used.lock) if used else None


def write(console: Console, choice: Choice, to: str = "", lock_file: str = "") -> Exit:
    """Tell what is on each host now and how it was built; leave that on the host, and write it into a folder.

    Args:
        console: Told what happens.
        choice: The hosts.
        to: A folder, in which each host gets its own; empty: the site's, in the state directory.
        lock_file: The lock that the hosts were made from, for its digests; empty: none.

    Raises:
        BadInputError: A name, a file or an argument is wrong, or the key that signs is none.
    """
    fleet = choose(choice)
    lock = read_lock(Path(lock_file).expanduser()) if lock_file else None
    key = signing_key(console)
    target = prepare(fleet, console.info, boot=False)
    folder = Path(to).expanduser() if to else places.state() / "sites" / target.fleet.site.name
    holder = Holder(operator(), now(), f"evidence --profile {target.fleet.profile.name}")

    def one(host: Host) -> dict[str, bytes] | BoxwrightError:
        try:
            with DeployLock(target.endpoint(host), holder, lambda: None):
                files = evidence_of(target, host, key, lock)
                leave(target, host, files)
        except BoxwrightError as error:
            return error
        return files

    outcomes = []
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="evidence") as pool:
        for host, came in zip(target.fleet.hosts, pool.map(one, target.fleet.hosts), strict=True):
            outcomes.append(HostOutcome(host.name, error=came if isinstance(came, BoxwrightError) else None))
            if isinstance(came, BoxwrightError):
                came.where = came.where or host.name
                console.error(came)
            else:
                _write(console, host, came, folder / host.name, key)
    return outcome.exit_code(outcomes)


def _write(console: Console, host: Host, files: dict[str, bytes], folder: Path, key: SigningKey) -> None:
    from boxwright.factory.evidence.bill_of_materials import counts  # noqa: PLC0415  as above
    from boxwright.factory.evidence.names import BILL  # noqa: PLC0415

    paths = {name: str(write_whole(folder / name, data)) for name, data in files.items()}
    found, fingerprint = counts(files[BILL]), key.public.fingerprint
    console.data("evidence", {"host": host.name, "files": paths, "counts": found, "signing_key": fingerprint})
    told = ", ".join(f"{count} {kind}{'' if count == 1 else 's'}" for kind, count in found.items())
    console.success(f"{host.name}: {told}. Signed by {fingerprint}, and left in /etc/boxwright there.")
    if not console.json:
        console.table("", ["Evidence", "File"], list(paths.items()), kind="file")

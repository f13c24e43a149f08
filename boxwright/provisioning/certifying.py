"""What `report` does: looks at each box, verifies it, and writes its signed certificate."""

from __future__ import annotations

import hashlib
from pathlib import Path

from boxwright import places
from boxwright.console import Console
from boxwright.errors import BoxwrightError, Exit
from boxwright.model.site import Host
from boxwright.provisioning import contract
from boxwright.provisioning.acceptance import PROMISES, unexamined
from boxwright.provisioning.evidence import evidence_of, signing_key
from boxwright.provisioning.labelling import label_of, write_label, write_sheet
from boxwright.provisioning.receipt import receipt_of
from boxwright.provisioning.run import redactor
from boxwright.provisioning.target import Choice, Target, prepare
from boxwright.provisioning.verbs import chosen, verify_hosts
from boxwright.reporting.run_log import now, operator
from boxwright.reports.certificate import Certificate
from boxwright.reports.certify import Known, certify
from boxwright.reports.files import write_files
from boxwright.reports.runs import newest_measurements
from boxwright.signing import SigningKey

_SHOWN = {
    "passed": "passed",
    "passed_with_waivers": "passed, with waivers",
    "failed": "FAILED",
}


def report(console: Console, choice: Choice, to: str = "", *, deep: bool = False) -> Exit:
    """Certify every host of a target as it is now. A box that fails is certified as failed.

    Args:
        console: Told what happens.
        choice: The hosts.
        to: A folder, in which each host gets its own; empty: the site's, in the state directory.
        deep: Whether every file of a model is hashed.

    Raises:
        BadInputError: A name, a file or an argument is wrong, or the key that signs is none.
    """
    fleet = chosen(console, choice)
    key = signing_key(console)
    target = prepare(fleet, console.info, boot=False)
    examination = contract.examine(target)
    for error in examination.failures.values():
        console.error(error)
    names = [host.name for host in target.fleet.hosts]
    missing = unexamined(names, examination)
    checks = verify_hosts(console, target, names, examination.contracts, missing, deep=deep)
    folder = Path(to).expanduser() if to else places.state() / "sites" / target.fleet.site.name
    verdicts, labels = [], []
    for host in target.fleet.hosts:
        evidence, gap = _evidence(target, host, key)
        known = Known(
            machine=examination.machines.get(host.name),
            contract=examination.contracts.get(host.name, ()),
            promises={str(name): promise for name, promise in PROMISES.items()},
            checks=[one for one in checks if one.host == host.name],
            receipt=receipt_of(target.endpoint(host)),
            measurements=newest_measurements(target.fleet.site.name, target.fleet.profile.name, host.name),
            evidence={name: hashlib.sha256(data).hexdigest() for name, data in evidence.items()},
            evidence_gap=gap,
        )
        certificate = _certificate(target, host, known, key)
        files = write_files(folder / host.name, certificate, key, evidence)
        labels.append(label_of(target, host, certificate))
        files["label"] = write_label(folder, labels[-1])
        _show(console, certificate, {kind: str(path) for kind, path in files.items()})
        verdicts.append(certificate.verdict)
    console.info(f"Labels to print: {write_sheet(folder, labels)}")
    return Exit.VERIFY_FAILED if "failed" in verdicts else Exit.OK


def _evidence(target: Target, host: Host, key: SigningKey) -> tuple[dict[str, bytes], str]:
    """The evidence of a host, or none and the reason."""
    try:
        return evidence_of(target, host, key), ""
    except BoxwrightError as error:
        return {}, error.message


def _certificate(target: Target, host: Host, known: Known, key: SigningKey) -> Certificate:
    certificate = certify(
        target.fleet, host, known, issued_at=now(), issued_by=operator(), signing_key=key.public.fingerprint
    )
    # What a box tells of itself goes to a customer: no known secret may be in it.
    return Certificate.model_validate_json(redactor(target)(certificate.model_dump_json()))


def _show(console: Console, certificate: Certificate, files: dict[str, str]) -> None:
    told = {
        "host": certificate.host,
        "verdict": certificate.verdict,
        "serial": certificate.serial,
        "stated_serial": certificate.stated_serial,
        "firmware_serial": certificate.firmware_serial,
    }
    console.data("certificate", {**told, "signing_key": certificate.signing_key, "files": files})
    words = f"{certificate.host}: {_SHOWN[certificate.verdict]}. Signed by {certificate.signing_key}"
    if certificate.verdict == "failed":
        console.warning(words)
    else:
        console.success(words)
    if not console.json:
        console.table("", ["Certificate", "File"], list(files.items()), kind="file")

"""What `detect` does, told to a console."""

from __future__ import annotations

from dataclasses import asdict

from boxwright.console import Console
from boxwright.detection.closest import closest
from boxwright.detection.collect import detect as detect_machine
from boxwright.detection.findings import findings
from boxwright.detection.machine import Machine
from boxwright.detection.profile_file import profile_file
from boxwright.detection.report import rows, why
from boxwright.errors import BadInputError, BoxwrightError, Exit, did_you_mean
from boxwright.model.accelerators import AcceleratorCatalogue
from boxwright.model.catalogues import load_accelerators, load_profile, load_site, profile_names
from boxwright.model.site import Host, Site
from boxwright.provisioning.target import single_host
from boxwright.provisioning.twins import lab_of
from boxwright.transport.ssh import Endpoint


def detect(console: Console, *, host: str, site: str, as_profile_file: bool = False) -> Exit:
    """Look at a host, or at all hosts of a site, and say what was found."""
    catalogue = load_accelerators()
    chosen = endpoints(host, site)
    if as_profile_file and len(chosen) > 1:
        raise BadInputError(
            f"--profile-file is of one machine, and site '{site}' has {len(chosen)}", hint="Add --host."
        )
    failed = 0
    for endpoint in chosen:
        try:
            machine = detect_machine(endpoint, catalogue)
            if as_profile_file:
                _show_profile_file(console, profile_file(machine, catalogue))
            else:
                show(console, machine, catalogue)
        except BoxwrightError as error:  # one host that cannot be reached keeps nobody from the others
            console.error(error)
            failed += 1
    if not failed:
        return Exit.OK
    return Exit.ERROR if failed == len(chosen) else Exit.PARTIAL


def endpoints(host: str, site: str) -> list[Endpoint]:
    """The ways in: to one host by its address, to one of a site by name or address, or to all of a site.

    Raises:
        BadInputError: Neither is given, or the site has no such host.
        LabError: The site's hosts are twins that do not run.
    """
    whose, hosts = chosen_hosts(host, site, example="detect")
    if whose.twin is None:
        return [Endpoint.of(whose, one) for one in hosts]
    lab = lab_of(whose, lambda _: None)
    twins = [lab.twin(one.name) for one in hosts]
    timeout = whose.ssh.connect_timeout_s
    return [Endpoint(t.name, t.address, t.port, t.user, t.key, t.known_hosts, timeout) for t in twins]


def chosen_hosts(host: str, site: str, *, example: str = "enroll") -> tuple[Site, list[Host]]:
    """The hosts that a command line names, and whose they are: all of a site, one of it, or one without a site.

    Raises:
        BadInputError: Neither is given, or the site has no such host.
    """
    if not site:
        if not host:
            raise BadInputError("which machine?", hint=f"For example: ./invoke {example} --host root@10.0.0.5")
        alone = single_host(host)
        return alone, list(alone.hosts)
    whose = load_site(site)
    wanted = host.rpartition("@")[2]
    hosts = [one for one in whose.hosts if wanted in {"", one.name, one.address}]
    if not hosts:
        known = [one.name for one in whose.hosts]
        hint = f"There are: {', '.join(known)}."
        raise BadInputError(f"--host: site '{site}' has no '{host}'.{did_you_mean(wanted, known)}", hint=hint)
    return whose, hosts


def show(console: Console, machine: Machine, catalogue: AcceleratorCatalogue) -> None:
    """Show a machine, what to look after, and the closest profile."""
    found, matches = findings(machine, catalogue), closest(machine, [load_profile(name) for name in profile_names()])
    if console.json:
        console.data("machine", machine.model_dump(mode="json"))
        for finding in found:
            console.data("finding", {"host": machine.host, **asdict(finding)})
        for match in matches:
            console.data("match", {"host": machine.host, **asdict(match), "distance": match.distance})
        return
    console.table(machine.host, ["What", "Found"], rows(machine), kind="fact")
    if found:
        cells = [(one.severity, one.about, one.text, one.remedy) for one in found]
        console.table("Findings", ["Severity", "About", "What", "Remedy"], cells, kind="finding")
    console.line()
    best = matches[0] if matches else None
    if best and not best.differences:
        console.success(f"Closest profile: {best.profile} ({best.summary}): {why(best)}.")
    elif best:
        console.warning(f"no profile fits. Closest: {best.profile} ({best.summary}). {why(best)}.")
        console.info("A profile of this machine's own: the same command with --profile-file")


def _show_profile_file(console: Console, text: str) -> None:
    if console.json:
        console.data("profile_file", {"text": text})
    else:
        console.line(text.rstrip())

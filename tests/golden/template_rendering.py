"""Renders roles' templates for profiles as Ansible would, without a host: what a role asks of one is stood in for."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from pydantic import SecretStr

from boxwright.factory.extras import card_variables
from boxwright.model.catalogues import (
    load_accelerators,
    load_models,
    load_profile,
    make_fleet,
    profile_names,
)
from boxwright.model.fleet import Fleet
from boxwright.model.profile import Profile
from boxwright.model.site import Artefacts, AscendArtefact, Host, HygonArtefact, Networks, Operator, ServedBundle, Site
from boxwright.model.variables import named
from boxwright.places import ROOT
from boxwright.planning.sized_stack import size_stack
from boxwright.planning.stages import stages_of
from boxwright.planning.variables import role_variables
from boxwright.vault import SECRET_NAMES, HostSecrets

PARTS = ("defaults", "vars")
READS = {"cuda_toolkit": ("nvidia_driver",)}  # roles that read another one's variables
TEMPLATES = ROOT / "templates"
# What roles register on a Debian 12 machine, what they do on others, and the item of templates that a loop writes.
STAND_INS: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "stand_ins.yml").read_text(encoding="utf-8"))
ITEMS = STAND_INS.pop("items")
RELEASES: dict[str, dict[str, dict[str, str]]] = STAND_INS.pop("releases")
DEBIAN = "debian-12"
KEY_BEGINS = "-----BEGIN PGP PUBLIC KEY BLOCK-----"


def role_templates() -> list[str]:
    """The templates of all roles, as ROLE/NAME.j2."""
    roles = {path.name for path in (ROOT / "roles").iterdir()}
    found = sorted(TEMPLATES.glob("*/*.j2"))
    return [f"{path.parent.name}/{path.name}" for path in found if path.parent.name in roles]


def artefacts_for(profile: Profile) -> Artefacts:
    """The installers that a profile asks a site for."""
    file = {"path": "/vendor/file", "version": "1.0", "sha256": "0" * 64}
    ascend = profile.ascend.parts if profile.ascend else ()
    hygon_dtk = profile.hygon_dtk.parts if profile.hygon_dtk else ()
    return Artefacts(
        ascend=tuple(AscendArtefact(part=part, **file) for part in ascend),
        hygon_dtk=tuple(HygonArtefact(part=part, **file) for part in hygon_dtk),
    )


@cache
def fleet_of(profile_name: str) -> Fleet:
    """A profile on a site that uses all that a site can say."""
    profile, _ = size_stack(load_profile(profile_name), load_models(), load_accelerators(), str)
    hosts = tuple(
        Host(
            name=f"box-{number}",
            address=f"192.0.2.{6 + number}",
            disks={
                disk.name: f"/dev/disk/by-id/nvme-{disk.name}-{number}"
                for disk in profile.hardware.disks
                if "system" not in disk.holds
            },
        )
        for number in range(1, profile.nodes + 1)
    )
    site = Site(
        name="golden",
        hosts=hosts,
        proxy="http://proxy.example:3128",
        no_proxy=(".example",),
        ntp_servers=("ntp.example",),
        networks=Networks(management=("10.0.0.0/8",), clients=("10.0.0.0/8", "2001:db8::/32"), compute="192.0.2.0/24"),
        operators=(Operator(name="ada", ssh_public_keys=("ssh-ed25519 AAAA ada",)),),
        registry_mirrors=("https://mirror.example",),
        artefacts=artefacts_for(profile),
        bundle=ServedBundle(url="http://192.0.2.2:8873/golden", suite="platform", key=f"{KEY_BEGINS}\n\nAAAA\n"),
    )
    return make_fleet(profile, site, load_models(), load_accelerators())


@cache
def variables_of(profile_name: str, number: int = 1) -> dict[str, Any]:
    """What the roles of a profile are given on one of its hosts, by name."""
    fleet = fleet_of(profile_name)
    secrets = HostSecrets(**{name: SecretStr(f"the-{name}-of-the-golden-test") for name in SECRET_NAMES})
    units = [*role_variables(fleet, fleet.hosts[number - 1], secrets, (), None), *filter(None, [card_variables(fleet)])]
    return {key: value for unit in units for key, value in named(unit).items()}


def rendered(template: str) -> dict[str, list[str]]:
    """Every text that a template gives, with the profiles that it is for, and with hosts that it is another for."""
    role, _, _ = template.partition("/")
    texts: dict[str, list[str]] = {}
    for profile_name in profile_names():
        fleet = fleet_of(profile_name)
        stages = [stage.name for stage in stages_of(fleet)]
        passing = role == "burn_in" and card_variables(fleet) is not None
        if role in stages or passing or (role == "apt_repository" and profile_name == "8x4090"):
            first = text_on(DEBIAN, template, role, profile_name)
            texts.setdefault(first, []).append(profile_name)
            for number in range(2, len(fleet.hosts) + 1):
                text = text_on(DEBIAN, template, role, profile_name, number)
                if text != first:
                    texts.setdefault(text, []).append(f"{profile_name}:box-{number}")
    return texts


def text_on(release: str, template: str, role: str, profile_name: str, number: int = 1, **changes: Any) -> str:
    """What a template gives on a machine of this release; `changes` are to what the profile and the site say."""
    text = (TEMPLATES / template).read_text(encoding="utf-8")
    own = {"item": ITEMS[template]} if template in ITEMS else {}
    return str(
        _templar(release, role, profile_name, own | changes, number).template(
            trust_as_template(text), convert_data=False
        )
    )


def value_on(release: str, variable: str, role: str, profile_name: str, **changes: Any) -> Any:
    """What a variable of a role is on a machine of this release; `changes` are to what the profile says."""
    return _templar(release, role, profile_name, changes).template(trust_as_template("{{ " + variable + " }}"))


def _templar(release: str, role: str, profile_name: str, changes: dict[str, Any], number: int = 1) -> Templar:
    loader = DataLoader()
    own: dict[str, Any] = {}
    files = [ROOT / "roles" / one / part / "main.yml" for one in (*READS.get(role, ()), role) for part in PARTS]
    for path in files:
        if path.exists():
            own |= loader.load_from_file(str(path), trusted_as_template=True) or {}
    facts = {"inventory_hostname": f"box-{number}", "ansible_check_mode": False}
    given = variables_of(profile_name, number)
    return Templar(loader=loader, variables=own | given | _read_on(release) | facts | changes)


@cache
def _read_on(release: str) -> dict[str, Any]:
    """What roles read on a machine of this release."""
    read = dict(STAND_INS)
    for name, changes in RELEASES.get(release, {}).items():
        lines = dict(line.split("=", 1) for line in STAND_INS[name]["stdout_lines"]) | changes
        read[name] = {"stdout_lines": [f"{key}={value}" for key, value in lines.items()]}
    return read

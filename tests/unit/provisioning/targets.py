"""Targets of real machines that nobody has to reach."""

from __future__ import annotations

from pydantic import SecretStr

from boxwright.model.catalogues import load_accelerators, load_models, load_profile, make_fleet
from boxwright.model.site import Host, Mirrors, Site, Ssh
from boxwright.provisioning.target import Target
from boxwright.vault import SECRET_NAMES, HostSecrets

PASSWORD = "the-api_password-of-the-test"


def target(*hosts: str, profile: str = "lab", **site: object) -> Target:
    """A target of hosts by these names, which ssh finds by the same; as 192.0.2.1 and so on where boxes have nodes."""
    kind = load_profile(profile)
    machines = tuple(
        Host(name=name, address=name if kind.nodes == 1 else f"192.0.2.{number}")
        for number, name in enumerate(hosts, 1)
    )
    whose = Site(name="s", hosts=machines, ssh=Ssh(connect_timeout_s=1), **site)
    secrets = HostSecrets(**{name: SecretStr(f"the-{name}-of-the-test") for name in SECRET_NAMES})
    return Target(
        fleet=make_fleet(kind, whose, load_models(), load_accelerators()),
        secrets=dict.fromkeys(hosts, secrets),
        mirrors=Mirrors(
            debian="http://mirror.example/debian", python_index="https://mirror.example/simple", builds="/nowhere"
        ),
        certificates=(),
        chain=None,
    )

"""What a role makes of its variables on a machine: its own `vars/main.yml`, evaluated by Ansible itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from boxwright.places import ROOT


class RoleWords:
    """The words of some roles, evaluated on this machine for another one. Nothing is contacted.

    Args:
        roles: Whose `vars/main.yml`.
        values: What they are given, by the names under which they read it.
        read: What the machine would say of itself, by the names under which the roles register it: lines.
    """

    def __init__(self, roles: Iterable[str], values: Mapping[str, Any], read: dict[str, Sequence[str]]) -> None:
        from ansible.parsing.dataloader import DataLoader  # noqa: PLC0415  costs 0.2 s, needed by few verbs
        from ansible.template import Templar  # noqa: PLC0415

        loader = DataLoader()
        known = dict(values)
        for role in roles:
            path = ROOT / "roles" / role / "vars/main.yml"
            known |= loader.load_from_file(str(path), trusted_as_template=True)
        known |= {name: {"stdout_lines": list(lines), "stdout": "\n".join(lines)} for name, lines in read.items()}
        self._templar = Templar(loader=loader, variables=known)

    def value(self, expression: str) -> Any:
        """What an expression says, such as the name of a variable."""
        return self._evaluated("{{ " + expression + " }}")

    def text(self, role: str, template: str) -> str:
        """A template of a role, filled in. Blank lines may differ from those on a box."""
        return str(self._evaluated((ROOT / "templates" / role / template).read_text(encoding="utf-8")))

    def _evaluated(self, text: str) -> Any:
        from ansible.template import trust_as_template  # noqa: PLC0415

        return self._templar.template(trust_as_template(text))

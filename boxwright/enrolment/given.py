"""Fingerprints that a person gives beforehand: on the command line, or in a file, such as of consoles' lines. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from boxwright.errors import BadInputError, did_you_mean
from boxwright.model.site import Host
from boxwright.transport.host_keys import FINGERPRINT

HOW = (
    "let each machine's console tell it, by ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub, and give it as "
    "--fingerprint HOST=SHA256:…, several by commas, or in a file with a line for each: --fingerprint FILE"
)


def read_given(text: str, hosts: Sequence[Host]) -> dict[str, frozenset[str]]:
    """The fingerprints in an argument or in the file that it names, by the names of their hosts.

    A line may hold more than the two: a host's name, address or serial number and a fingerprint are found in it.

    Raises:
        BadInputError: The file cannot be read, a line has no fingerprint, or names no host or two.
    """
    known = names_of(hosts)
    found: dict[str, set[str]] = {}
    for where, entry in _entries(text):
        fingerprint = FINGERPRINT.findall(entry)
        if len(fingerprint) != 1:
            raise BadInputError(
                "here stands no SHA-256 fingerprint" if not fingerprint else "two fingerprints stand in one line",
                where=where,
                hint=HOW,
            )
        found.setdefault(_host(where, entry, known), set()).add(fingerprint[0])
    return {name: frozenset(fingerprints) for name, fingerprints in found.items()}


def names_of(hosts: Sequence[Host]) -> dict[str, str]:
    """Names of hosts by every word that means one of them: the name itself, the address, the serial number.

    An address that several hosts share, by other ports, means none of them.
    """
    words = Counter(word for host in hosts for word in {host.name, host.address, host.serial} if word)
    return {
        word: host.name
        for host in hosts
        for word in (host.serial, host.address, host.name)
        if word and (words[word] == 1 or word == host.name)
    }


def _entries(text: str) -> Iterator[tuple[str, str]]:
    """What is to be read, each with the place where it stands."""
    if "SHA256:" not in text and text:
        try:
            path = Path(text).expanduser()
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError, ValueError, RuntimeError) as error:  # of a home directory of nobody's
            raise BadInputError(
                f"--fingerprint: '{text}' is no HOST=SHA256:…, and no file that can be read: {error}", hint=HOW
            ) from None
        for number, line in enumerate(lines, 1):
            if line.strip() and not line.lstrip().startswith("#"):
                yield f"{path}:{number}", line
        return
    for entry in filter(str.strip, text.split(",")):
        yield f"--fingerprint {entry.strip()}", entry


def _host(where: str, entry: str, known: Mapping[str, str]) -> str:
    words = [word for word in re.split(r"[\s=,;]+", FINGERPRINT.sub(" ", entry)) if word]
    bare = [word.strip("[]()<>'\".").rstrip(":") for word in words]  # as a prompt has them: [SN-1] or SN-1:
    named = {known[word] for word in (*words, *bare) if word in known}
    line = f" {' '.join(bare)} "
    named |= {
        name for word, name in known.items() if " " in word and f" {word} " in line
    }  # serial numbers of two words
    if len(named) == 1:
        return named.pop()
    if named:
        raise BadInputError(f"two hosts stand in one line: {', '.join(sorted(named))}", where=where)
    first = words[0] if words else ""
    raise BadInputError(
        f"no host of the site is named here.{did_you_mean(first, known)}",
        where=where,
        hint=f"There are: {', '.join(sorted(set(known.values())))}.",
    )

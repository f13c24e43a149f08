"""Scripts on a host over OpenSSH: host keys are pinned, and waiting is bounded."""

from __future__ import annotations

import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path

from boxwright import places
from boxwright.errors import BoxwrightError, UnreachableError
from boxwright.model.site import Host, Site
from boxwright.transport import host_keys
from boxwright.transport.pins import trusted

SSH_FAILED = 255
# A login is the connection, the handshake and the start of a program: each may take as long as the first.
LOGIN_STEPS = 3


@dataclass(frozen=True)
class Endpoint:
    """Where a host is and how to enter it."""

    name: str
    address: str
    port: int
    user: str
    key: Path | None
    known_hosts: Path | None
    connect_timeout_s: int

    @classmethod
    def of(cls, site: Site, host: Host) -> Endpoint:
        """The way into a host of a site."""
        ssh = site.ssh
        return cls(
            name=host.name,
            address=host.address or host.name,
            port=host.port or ssh.port,
            user=ssh.user,
            key=Path(ssh.key).expanduser() if ssh.key else None,
            known_hosts=trusted(site),
            connect_timeout_s=ssh.connect_timeout_s,
        )

    @property
    def become(self) -> bool:
        """Whether root's work needs sudo."""
        return self.user != "root"

    @property
    def login_timeout_s(self) -> int:
        """How long a login may take as a whole: connection, handshake, and the first program there."""
        return self.connect_timeout_s * LOGIN_STEPS

    def options(self, *, shared: bool = True) -> list[str]:
        """OpenSSH options. `shared` lets commands ride on one connection that stays open for a minute."""
        options = {
            "BatchMode": "yes",
            "StrictHostKeyChecking": "yes",
            "ConnectTimeout": str(self.connect_timeout_s),
            "ServerAliveInterval": "10",
            "ServerAliveCountMax": "3",
            "Port": str(self.port),
        }
        if self.key:
            options |= {"IdentityFile": str(self.key), "IdentitiesOnly": "yes"}
        if self.known_hosts:
            # Nothing else is trusted, and nothing is added by what a host says of itself.
            options |= {
                "UserKnownHostsFile": str(self.known_hosts),
                "GlobalKnownHostsFile": "/dev/null",
                "UpdateHostKeys": "no",
            }
        if shared:
            options |= {
                "ControlMaster": "auto",
                "ControlPath": str(places.sockets() / "ssh-%C"),
                "ControlPersist": "60",
            }
        return [word for name, value in options.items() for word in ("-o", f"{name}={value}")]

    def command(self, script: str, *, shared: bool = True) -> list[str]:
        """The command line that runs a bash script there as root."""
        run = f"bash -c {shlex.quote(script)}"
        return [*self.entry(shared=shared), f"sudo -n -- {run}" if self.become else run]

    def entry(self, *, shared: bool = True) -> list[str]:
        """The same command line, up to what runs there."""
        return ["ssh", *self.options(shared=shared), "-l", self.user, "--", self.address]


@dataclass(frozen=True)
class Completed:
    """How a script on a host ended."""

    code: int
    stdout: str
    stderr: str


def run(endpoint: Endpoint, script: str, *, stdin: str = "", timeout_s: float = 60, partial: bool = False) -> Completed:
    """Run a bash script on a host as root and wait for it.

    Args:
        endpoint: The host.
        script: The script.
        stdin: What it reads.
        timeout_s: How long to wait for its end.
        partial: When it does not end in time, take what it said until then, with code 124.

    Raises:
        UnreachableError: ssh could not get in, or nothing came back in time.
    """
    try:
        done = subprocess.run(
            endpoint.command(script),
            input=stdin,
            capture_output=True,
            text=True,
            errors="replace",  # a banner or a tool in another encoding is no reason to fail
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired as late:
        if partial and late.stdout:
            said = late.stdout  # bytes, although text was asked for
            return Completed(124, said.decode(errors="replace") if isinstance(said, bytes) else said, "")
        raise UnreachableError(
            f"no answer within {timeout_s:.0f} s", where=endpoint.name, hint=_how_to_look(endpoint)
        ) from None
    if done.returncode == SSH_FAILED:
        raise unreachable(endpoint, done.stderr)
    return Completed(done.returncode, done.stdout, done.stderr)


def check(endpoint: Endpoint, script: str, *, stdin: str = "", timeout_s: float = 60) -> str:
    """Like `run`, and a script that fails is an error.

    Raises:
        BoxwrightError: The script ended with another code than 0.
        UnreachableError: As for `run`.
    """
    done = run(endpoint, script, stdin=stdin, timeout_s=timeout_s)
    if done.code:
        raise BoxwrightError(
            f"a script on the host ended with code {done.code}",
            where=endpoint.name,
            output=done.stderr or done.stdout,
        )
    return done.stdout


def unreachable(endpoint: Endpoint, stderr: str) -> UnreachableError:
    """Say in a person's words why ssh did not get in."""
    place = f"{endpoint.user}@{endpoint.address} port {endpoint.port}"
    wrong_key = host_keys.trouble(stderr, endpoint.known_hosts, endpoint.name, endpoint.address, endpoint.port)
    if wrong_key:
        return wrong_key
    if "Permission denied" in stderr:
        return UnreachableError(
            f"ssh lets nobody in with this key ({place})",
            where=endpoint.name,
            hint="Set ssh.user and ssh.key in the site, or put the key into authorized_keys there.",
            output=stderr,
        )
    return UnreachableError(
        f"ssh did not get in ({place})", where=endpoint.name, hint=_how_to_look(endpoint), output=stderr
    )


def _how_to_look(endpoint: Endpoint) -> str:
    return f"Try by hand: ssh -v -p {endpoint.port} {endpoint.user}@{endpoint.address}"

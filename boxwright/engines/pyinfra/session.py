"""One ssh connection to one box: pinned host key, a deadline on every step, round trips counted."""

from __future__ import annotations

import contextlib
import shlex
import socket
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import gevent
import paramiko

from boxwright.engines.pyinfra.job import JobHost
from boxwright.errors import UnreachableError
from boxwright.transport.host_keys import changed_key, fingerprint

KEEPALIVE_SECONDS = 10
PROGRESS = b"progress: "  # begins the lines by which a long command tells how far it is
DEAD_PEER_SECONDS = 30  # the connection ends when data, keepalives included, stays unacknowledged this long

# A file arrives whole or not at all, and nobody but its owner can read it before the deploy sets its mode.
# Arguments: destination, size in bytes. The size tells a finished upload from a connection that broke.
_RECEIVE_FILE = """
set -eu
umask 077
dest=$(readlink -f -- "$1") || dest=$1
if [ -d "$dest" ]; then echo "$dest is a directory" >&2; exit 1; fi
part=$(mktemp "$dest.XXXXXXXX")
trap 'rm -f -- "$part"' EXIT
cat >"$part"
if [ "$(stat -c %s "$part")" != "$2" ]; then echo "upload of $dest was cut short" >&2; exit 1; fi
if [ -e "$dest" ]; then
  chown --reference="$dest" -- "$part" 2>/dev/null || :
  chmod --reference="$dest" -- "$part"
fi
mv -f -- "$part" "$dest"
"""


def receive_file_command(dest: str, size: int) -> str:
    """The shell command that puts `size` bytes from its standard input into `dest`, atomically."""
    return shlex.join(["sh", "-c", _RECEIVE_FILE, "sh", dest, str(size)])


@contextlib.contextmanager
def _deadline(seconds: float, message: str) -> Iterator[None]:
    """Raise TimeoutError, but only at the end of the block: inside it, an `except OSError` would swallow
    one."""
    timer = gevent.Timeout(seconds)
    try:
        with timer:
            yield
    except gevent.Timeout as fired:
        if fired is not timer:
            raise
        raise TimeoutError(message) from None


@dataclass(frozen=True)
class Completed:
    """How a remote command ended."""

    rc: int
    out: bytes
    err: bytes


def _without_progress(stdout: Iterable[bytes], on_progress: Callable[[str], None]) -> bytes:
    """Read an output to its end, and hand over the lines that tell progress as they come."""
    rest = []
    for line in stdout:
        if line.startswith(PROGRESS):
            on_progress(line.removeprefix(PROGRESS).decode(errors="replace").rstrip())
        else:
            rest.append(line)
    return b"".join(rest)


class Session:
    """The connection. Not shared between hosts, and used by one greenlet at a time.

    `trouble` tells the last step that ran out of time, for messages: pyinfra swallows the exception itself.
    """

    def __init__(self, host: JobHost, *, deadline_s: float) -> None:
        self.host = host
        self.round_trips = 0
        self.trouble = ""
        self.deadline_s = deadline_s
        self._client = paramiko.SSHClient()

    @property
    def alive(self) -> bool:
        """Whether the transport still stands, as far as this end can know."""
        transport = self._client.get_transport()
        return transport is not None and transport.is_active()

    def connect(self) -> None:
        """Connect and log in.

        Raises:
            UnreachableError: No answer in time, an unknown or changed host key, or a refused login.
        """
        where = f"{self.host.address}:{self.host.port}"
        try:
            with _deadline(self.host.login_timeout_s, "no answer to the ssh handshake"):
                self._connect()
        except paramiko.BadHostKeyException as error:
            self.close()
            shown = [fingerprint(key.asbytes()) for key in (error.expected_key, error.key)]
            raise changed_key(self.host.name, self.host.address, self.host.port, shown[:1], shown[1:]) from error
        except (OSError, EOFError, paramiko.SSHException) as error:
            self.close()
            raise UnreachableError(
                f"cannot reach {self.host.user}@{where}: {error or type(error).__name__}",
                where=self.host.name,
            ) from error

    def _connect(self) -> None:
        self._client.load_host_keys(str(self.host.known_hosts))
        self._client.set_missing_host_key_policy(paramiko.RejectPolicy())
        sock = socket.create_connection((self.host.address, self.host.port), timeout=self.host.connect_timeout_s)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, DEAD_PEER_SECONDS * 1000)
        self._client.connect(
            self.host.address,
            port=self.host.port,
            username=self.host.user,
            key_filename=str(self.host.key) if self.host.key else None,
            allow_agent=self.host.key is None,
            look_for_keys=self.host.key is None,
            sock=sock,
            banner_timeout=self.host.connect_timeout_s,
            auth_timeout=self.host.connect_timeout_s,
            channel_timeout=self.host.connect_timeout_s,
        )
        transport = self._client.get_transport()
        assert transport is not None  # noqa: S101 - connect() returned, so there is one
        transport.set_keepalive(KEEPALIVE_SECONDS)

    def run(
        self,
        command: str,
        *,
        stdin: Iterable[bytes] = (),
        seconds: float | None = None,
        pty: bool = False,
        on_progress: Callable[[str], None] | None = None,
    ) -> Completed:
        """Run one command and wait for its end: one round trip. Without `seconds`, `deadline_s` is its limit.

        With `on_progress`, lines of its output that tell progress go there as they come, and are no output.

        Raises:
            TimeoutError: The command did not end in time.
            UnreachableError: The connection is gone.
        """
        self.round_trips += 1
        limit = seconds or self.deadline_s
        try:
            with _deadline(limit, f"no end after {limit:g} s"):
                completed = self._exchange(command, stdin, on_progress, pty=pty)
        except TimeoutError as error:
            self.trouble = str(error)
            if self.alive:
                raise
            raise self._lost(error) from error
        except (OSError, EOFError, paramiko.SSHException) as error:
            raise self._lost(error) from error
        if completed.rc == -1 and not self.alive:
            raise self._lost(None)
        return completed

    def _exchange(
        self, command: str, stdin: Iterable[bytes], on_progress: Callable[[str], None] | None, *, pty: bool
    ) -> Completed:
        transport = self._client.get_transport()
        if transport is None:
            raise EOFError
        channel = transport.open_session(timeout=self.host.connect_timeout_s)
        out = err = None
        try:
            if pty:
                channel.get_pty()
            channel.exec_command(command)
            # The output is drained while the input is sent: a full window on either would stall both.
            stdout = channel.makefile("rb")
            out = gevent.spawn(_without_progress, stdout, on_progress) if on_progress else gevent.spawn(stdout.read)
            err = gevent.spawn(channel.makefile_stderr("rb").read)
            with contextlib.suppress(OSError):  # a command may end without reading all of its input
                for chunk in stdin:
                    channel.sendall(chunk)
                channel.shutdown_write()
            return Completed(out=out.get(), err=err.get(), rc=channel.recv_exit_status())
        finally:
            channel.close()
            gevent.killall([reader for reader in (out, err) if reader], block=False)

    def _lost(self, error: Exception | None) -> UnreachableError:
        reason = f": {error}" if error and str(error) else ""
        message = f"the connection to {self.host.address} was lost{reason}"
        return UnreachableError(message, where=self.host.name)

    def close(self) -> None:
        """Close the connection; never raises."""
        with contextlib.suppress(Exception):
            self._client.close()

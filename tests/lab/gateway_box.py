"""A twin behind a gateway, for tests: provisioned by the two roles, with simulated upstreams."""

from __future__ import annotations

import ipaddress
import json
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import bcrypt
import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from role_bench import BY_MITOGEN

from boxwright import places
from boxwright.lab import Lab, RunningTwin, TwinSpec
from boxwright.model.hardware import Cpu, Hardware
from boxwright.model.site import Distribution

REPOSITORY = Path(__file__).parents[2]
HARDWARE = Hardware(cpu=Cpu(cores_per_socket=2), memory_gib=4, disk_gib=4)

ENGINE_KEY = "engine-key-0123456789abcdef"
ALICE_KEY = "bw-alice.0123+456789/ABCDEF=="
ALICE = httpx.BasicAuth("alice", "correct horse")
ALICE_BEARER = {"Authorization": f"Bearer {ALICE_KEY}"}
UPSTREAM_UNIT = """\
[Service]
ExecStart=/usr/bin/python3 /usr/local/lib/gateway_upstream.py {arguments}
[Install]
WantedBy=multi-user.target
"""


def password_hash(password: str) -> str:
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(5)).decode()


def role_variables(address: str) -> dict[str, Any]:
    """What a profile would give to the two roles. Limits are loose: the test of limits sets its own."""
    return {
        "gateway_server_names": ["box.example.org", address, "2001:db8::10"],
        "gateway_api_users": [
            {"name": "alice", "password_hash": password_hash("correct horse"), "api_key": ALICE_KEY},
            {"name": "bob", "password_hash": password_hash("battery"), "api_key": "bw-bob-0123456789abcdef"},
        ],
        "gateway_api_requests_per_minute": 6000,
        "gateway_engine_url": "http://127.0.0.1:8080",
        "gateway_engine_key": ENGINE_KEY,
        "gateway_chat_page_url": "http://127.0.0.1:3000/",
        "monitoring_scrape_interval_s": 5,
        "monitoring_engine_name": "simulated",
        "monitoring_engine_metrics_url": "http://127.0.0.1:8080/metrics",
        "monitoring_engine_key": ENGINE_KEY,
    }


PLAIN_RUNS = 2  # on a bare host: a dry one, and the first that changes something


@dataclass
class Run:
    """How a run of ansible-playbook ended."""

    code: int
    changed: int
    output: str


@dataclass
class Box:
    """A twin, and what a test does to it."""

    twin: RunningTwin
    scratch: Path
    variables: dict[str, Any] = field(init=False)
    runs: int = 0

    def __post_init__(self) -> None:
        self.variables = role_variables(self.twin.address)

    def ssh(self, command: str, *, stdin: str = "") -> str:
        options = [f"UserKnownHostsFile={self.twin.known_hosts}", "StrictHostKeyChecking=yes", "BatchMode=yes"]
        done = subprocess.run(
            ["ssh", "-i", self.twin.key, *(f"-o{option}" for option in options), f"root@{self.twin.address}", command],
            check=False,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def put(self, path: str, text: str) -> None:
        self.ssh(f"install -D -m 644 /dev/stdin {path}", stdin=text)

    def provision(self, *arguments: str, roles: Sequence[str] = ("gateway",), **changes: Any) -> Run:
        """Apply roles by ansible-playbook, with some variables changed; by Mitogen where it is not one of the first."""
        inventory = self.scratch / "inventory.json"
        host = {
            "ansible_host": self.twin.address,
            "ansible_user": "root",
            "ansible_ssh_private_key_file": str(self.twin.key),
            "ansible_ssh_common_args": f"-oUserKnownHostsFile={self.twin.known_hosts} -oStrictHostKeyChecking=yes",
        }
        inventory.write_text(json.dumps({"all": {"hosts": {"box": host | self.variables | changes}}}), encoding="utf-8")
        playbook = self.scratch / "play.json"
        play = {"hosts": "all", "gather_facts": False, "roles": [str(REPOSITORY / "roles" / name) for name in roles]}
        playbook.write_text(json.dumps([play]))
        done = subprocess.run(
            [sys.executable, "-m", "ansible", "playbook", "-i", inventory, playbook, *arguments],
            check=False,
            env={
                "PATH": "/usr/bin:/bin:/usr/sbin:/sbin",
                "HOME": str(self.scratch),
                "ANSIBLE_SSH_CONTROL_PATH_DIR": str(places.sockets()),
                "ANSIBLE_PIPELINING": "1",
                "LC_ALL": "C.UTF-8",
                **(BY_MITOGEN if self.runs >= PLAIN_RUNS else {}),
            },
            capture_output=True,
            text=True,
            timeout=600,
        )
        self.runs += 1
        recap = done.stdout.rpartition("PLAY RECAP")[2]
        changed = int(recap.partition("changed=")[2].split()[0]) if "changed=" in recap else -1
        return Run(done.returncode, changed, done.stdout + done.stderr)

    def trust(self) -> ssl.SSLContext:
        """Trusts the box's own authority, got over ssh, and nothing else."""
        return ssl.create_default_context(cadata=self.ssh("cat /etc/boxwright/pki/ca.crt"))

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=f"https://{self.twin.address}", verify=self.trust(), trust_env=False, timeout=30)


def start(lab: Lab, distribution: Distribution, scratch: Path) -> Box:
    """Boot a twin that reaches packages and has the simulated engine and chat page."""
    box = Box(lab.up([TwinSpec(distribution, distribution, HARDWARE)])[0], scratch)
    box.put("/etc/apt/apt.conf.d/99proxy", f'Acquire::http::Proxy "{lab.proxy_url}";\n')
    for authority in lab.ca_certificates:
        box.put(f"/usr/local/share/ca-certificates/{authority.name}", authority.read_text())
    upstream = (REPOSITORY / "tests/lab/gateway_upstream.py").read_text()
    box.put("/usr/local/lib/gateway_upstream.py", upstream)
    for name, arguments in (("engine", f"engine 8080 {ENGINE_KEY}"), ("chat", "chat 3000")):
        box.put(f"/etc/systemd/system/{name}.service", UPSTREAM_UNIT.format(arguments=arguments))
    box.ssh("update-ca-certificates >/dev/null && systemctl daemon-reload && systemctl start engine chat")
    return box


@contextmanager
def connect(box: Box, context: ssl.SSLContext, name: str | None = None) -> Iterator[ssl.SSLSocket]:
    """A TLS connection to the gateway, as one of its names."""
    with (
        socket.create_connection((box.twin.address, 443), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname=name or box.twin.address) as connection,
    ):
        yield connection


def self_signed(address: str) -> tuple[str, str]:
    """A certificate for an address and its private key, in PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "given")])
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=90))
        .add_extension(names, critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return certificate.public_bytes(Encoding.PEM).decode(), private.decode()

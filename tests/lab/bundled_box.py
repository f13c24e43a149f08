"""What the tests of bundles share: the wire of a twin, and the way from a profile to a bundle."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from lab_command import Boxwright, Ran

from boxwright.errors import Exit
from boxwright.factory.serving import PORT
from boxwright.lab import rootfs
from boxwright.mirrors import resolve_debian
from boxwright.model.site import Mirrors


@dataclass(frozen=True)
class Wire:
    """The network of the one twin of a lab."""

    namespace: str  # of the bridge
    subnet: str

    @classmethod
    def of(cls, boxwright: Boxwright, lab: str) -> Wire:
        record = Path(boxwright.environment["BOXWRIGHT_STATE"], "lab", lab, "lab.json")
        return cls(f"boxwright.{lab}", f"10.83.{json.loads(record.read_text())['subnet_octet']}")

    @property
    def twin(self) -> str:
        return f"{self.namespace}.10"

    def run(self, namespace: str, *words: str, stdin: str = "") -> str:
        # A controller need not have nft: the one of the twins' root filesystem is run.
        root = rootfs.ensure("debian-12", resolve_debian(Mirrors()), print)
        argv = ["ip", "netns", "exec", namespace, "chroot", str(root), *words]
        return subprocess.run(argv, input=stdin, capture_output=True, text=True, check=True).stdout

    def cut(self) -> None:
        """Take the twin's default route away."""
        self.run(self.twin, "ip", "route", "del", "default")
        assert "default" not in self.run(self.twin, "ip", "route")

    def count(self) -> None:
        """Count what the twin begins with anybody but the server of its bundle, by what it is.

        Answers are no matter: the controller enters by ssh and asks the gateway. Nor is what finds neighbours.
        """
        here = f"{self.subnet}.0/24"
        rules = (
            'iifname != "twin10" return',
            'tcp dport 3128 counter comment "proxy"',
            f'ip daddr != {{ {here}, 224.0.0.0/4, 255.255.255.255 }} counter comment "elsewhere"',
            'meta l4proto { tcp, udp } th dport 53 counter comment "DNS"',
            'ether type ip6 meta l4proto != 58 counter comment "IPv6"',
            'ip6 daddr != { fe80::/10, ff02::/16 } counter comment "IPv6"',
            f"ip daddr {self.subnet}.1 tcp dport {PORT} return",
            f'ip daddr {here} tcp flags & (syn | ack) == syn counter comment "connection"',
            f'ip daddr {here} meta l4proto udp counter comment "datagram"',
        )
        chain = ("table bridge watch {", "chain leaving {", "type filter hook prerouting priority 0", *rules, "}", "}")
        self.run(self.namespace, "nft", "-f", "-", stdin="\n".join([*chain, ""]))

    def counted(self) -> dict[str, int]:
        """Packets by what they were; what there was none of is left out."""
        told = json.loads(self.run(self.namespace, "nft", "--json", "list", "table", "bridge", "watch"))
        found: Counter[str] = Counter()
        for rule in (one["rule"] for one in told["nftables"] if "rule" in one):
            found[rule.get("comment", "")] += sum(
                part["counter"]["packets"] for part in rule["expr"] if "counter" in part
            )
        return {what: packets for what, packets in found.items() if packets}


@dataclass(frozen=True)
class Bundled:
    """A profile that is locked and fetched for the one twin of a site."""

    boxwright: Boxwright
    profile: str
    site: str
    lock: Path
    folder: Path

    @classmethod
    def of(cls, boxwright: Boxwright, profile: str, site: str, place: Path) -> Bundled:
        """Lock and fetch; a bundle of other profiles may be there."""
        lock, folder = place / f"{Path(profile).stem}.json", place / "bundle"
        words = ("bundle.lock", "--profile", profile, "--site", site, "--to", str(lock))
        locked = boxwright(*words)
        assert locked.code == Exit.OK, locked.text[-2000:]
        assert b"://" not in lock.read_bytes()
        made = cls(boxwright, profile, site, lock, folder)
        made.fetch()
        return made

    def fetch(self) -> None:
        words = ("bundle.fetch", "--lock", str(self.lock), "--bundle", str(self.folder), "--site", self.site)
        fetched = self.boxwright(*words)
        assert fetched.code == Exit.OK, fetched.text[-2000:]

    def up(self) -> Wire:
        """Boot the twin, and watch its wire."""
        assert self.boxwright("lab.up", "--profile", self.profile, "--site", self.site).code == Exit.OK
        lab = Path(self.site).read_text().partition("name: ")[2].split()[0]
        wire = Wire.of(self.boxwright, lab)
        wire.count()
        return wire

    def provision(self) -> Ran:
        words = ("provision", "--profile", self.profile, "--site", self.site, "--bundle", str(self.folder), "--yes")
        return self.boxwright(*words)


def changed(ran: Ran) -> list[str]:
    """The resources that a run changed."""
    events = ran.kind("event")
    return [f"{event['stage']}: {event['resource']}" for event in events if event["outcome"] == "changed"]

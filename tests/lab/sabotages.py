"""What somebody may do to a box that was right, how it is undone, and the check that must catch it by its name.

`docs/checks.md` lists them; a unit test holds the page and these together.
"""

from __future__ import annotations

from dataclasses import dataclass

FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"
CONF = "/etc/nginx/conf.d/boxwright.conf"
MODEL = "/srv/models/smollm2-135m-instruct/q4_1/SmolLM2-135M-Instruct.Q4_1.gguf"


@dataclass(frozen=True)
class Sabotage:
    """One of them.

    Attributes:
        what: As the page has it.
        check: The check that is meant for it.
        says: What is in the evidence of that check.
        do: Run on the box by a shell.
        undo: Run afterwards.
        also: Other checks that may fail by it, or the first words of their names.
    """

    what: str
    check: str
    says: str
    do: str
    undo: str
    also: tuple[str, ...] = ()


def _swapped(place: int) -> str:
    """A program that flips one bit of the model's file, and gives it its old time of change."""
    return (
        "python3 - <<'END'\nimport os\n"
        f"path, place = '{MODEL}', {place}\n"
        "before = os.stat(path)\n"
        "with open(path, 'r+b') as file:\n"
        "    file.seek(place)\n    byte = file.read(1)[0]\n    file.seek(place)\n    file.write(bytes([byte ^ 1]))\n"
        "os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))\nEND"
    )


def _certificate(begin: str, days: int) -> str:
    """Put a certificate by the box's own authority in the gateway's place that is not of today."""
    return (
        "cp -a /etc/boxwright/pki/gateway.crt /root/gateway.crt.right\n"
        "cd $(mktemp -d); openssl x509 -x509toreq -in /etc/boxwright/pki/gateway.crt -copy_extensions copyall "
        "-signkey /etc/boxwright/pki/gateway.key -out request.pem\n"
        f"faketime -f '{begin}' openssl x509 -req -in request.pem -copy_extensions copyall -days {days} "
        "-CA /etc/boxwright/pki/ca.crt -CAkey /etc/boxwright/pki/ca.key -out /etc/boxwright/pki/gateway.crt\n"
        "nginx -s reload; sleep 1"
    )


# A second address in the lab's network, at which a program alone listens, and for which alone the firewall is opened.
_SECOND = "$(ip -4 -o address show dev eth0 primary | awk '{print $4}' | sed 's#[.][0-9]*/#.251/#')"
_SECOND_DOOR = (
    f'place="{_SECOND}"; ip address add "$place" dev eth0\n'
    'nft insert rule inet boxwright input ip daddr "${place%/*}" tcp dport 8898 accept\n'
    'systemd-run --quiet --unit=second-door python3 -m http.server 8898 --bind "${place%/*}"; sleep 1'
)
_RIGHT_CERTIFICATE = "mv /root/gateway.crt.right /etc/boxwright/pki/gateway.crt; nginx -s reload; sleep 1"

# What a container that publishes a port is to the network: a namespace with an address, and a rule that hands on.
_GUEST = """
ip netns add guest
ip link add guest0 type veth peer name eth0 netns guest
ip addr add 10.99.0.1/24 dev guest0
ip link set guest0 up
ip netns exec guest sh -c 'ip addr add 10.99.0.2/24 dev eth0; ip link set eth0 up; ip route add default via 10.99.0.1'
systemd-run -q --unit guest-web ip netns exec guest python3 -m http.server 80
sysctl -qw net.ipv4.ip_forward=1
nft -f - <<'END'
table ip guest {
  chain pre {
    type nat hook prerouting priority dstnat;
    tcp dport 8088 dnat to 10.99.0.2:80
  }
}
END
sleep 1
"""
_NO_GUEST = (
    "nft delete table ip guest; systemctl stop guest-web; ip netns del guest; "
    "ip link del guest0 2>/dev/null || :; sysctl -qw net.ipv4.ip_forward=0"
)
_METRICS = (
    "location = /metrics { proxy_pass http://127.0.0.1:8000/metrics; "
    "proxy_set_header Authorization $gateway_engine_authorization; }"
)
_WAIT_FOR_THE_ENGINE = (
    "for try in $(seq 60); do curl -sf -o /dev/null http://127.0.0.1:8000/health && break; sleep 0.5; done"
)

# Whoever is root there can change the bill, and sign all of it so that it holds together: by a key of his own.
RESIGNED = """
cd /etc/boxwright
for name in sbom.cdx.json provenance.intoto.jsonl; do cp -a $name $name.right; done
sed -i s/nginx/nginy/ sbom.cdx.json
openssl genpkey -algorithm ed25519 -out own.key
python3 - <<'END'
import base64, hashlib, json, pathlib, struct, subprocess
def openssl(*words):
    return subprocess.run(["openssl", *words], check=True, capture_output=True).stdout
def string(data):
    return struct.pack(">I", len(data)) + data
place = pathlib.Path("provenance.intoto.jsonl")
told = json.loads(place.read_text())
statement = json.loads(base64.b64decode(told["payload"]))
for one in statement["subject"]:
    one["digest"]["sha256"] = hashlib.sha256(pathlib.Path(one["name"]).read_bytes()).hexdigest()
payload = json.dumps(statement, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
kind = told["payloadType"].encode()
pathlib.Path("own.text").write_bytes(b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload))
signature = openssl("pkeyutl", "-sign", "-rawin", "-inkey", "own.key", "-in", "own.text")
public = openssl("pkey", "-in", "own.key", "-pubout", "-outform", "DER")[-32:]
key = base64.b64encode(string(b"ssh-ed25519") + string(public)).decode()
signed = {"keyid": f"ssh-ed25519 {key}", "sig": base64.b64encode(signature).decode()}
told |= {"payload": base64.b64encode(payload).decode(), "signatures": [signed]}
place.write_text(json.dumps(told, sort_keys=True, separators=(",", ":")) + "\\n")
END
rm own.key own.text
"""

# None of these hinders another, so they are done together.
TOGETHER = (
    Sabotage(
        what="a service does not start at boot any more",
        check="services.enabled",
        says="prometheus is disabled",
        do="systemctl disable -q prometheus",
        undo="systemctl enable -q prometheus",
    ),
    Sabotage(
        what="a unit fails",
        check="services.failed",
        says="payroll.service",
        do="systemd-run -q --unit payroll false; sleep 0.5",
        undo="systemctl reset-failed payroll",
    ),
    Sabotage(
        what="a second server of models is started (SIMULATED: a script named `ollama`)",
        check="services.rivals",
        says="of rival)",
        do=(
            "printf '#!/usr/bin/python3\\nimport time\\ntime.sleep(600)\\n' > /usr/local/bin/ollama; "
            "chmod 755 /usr/local/bin/ollama; systemd-run -q --unit rival /usr/local/bin/ollama"
        ),
        undo="systemctl stop rival; rm /usr/local/bin/ollama",
    ),
    Sabotage(
        what="a program listens on every address",
        check="exposure.sockets",
        says="tcp 0.0.0.0:8899",
        do="systemd-run -q --unit strange python3 -m http.server 8899; sleep 1",
        undo="systemctl stop strange",
    ),
    Sabotage(
        what="the firewall is opened for it",
        check="exposure.ports",
        says="answer from outside: 8899",
        do="nft insert rule inet boxwright input tcp dport 8899 accept",
        undo="systemctl restart boxwright-firewall",
    ),
    Sabotage(
        what="a foreign container publishes a port (SIMULATED: a network namespace and a rule, as Docker makes them)",
        check="exposure.forwards",
        says="table ip guest hands on port 8088; of these 8088 answer from here",
        do=_GUEST,
        undo=_NO_GUEST,
    ),
    Sabotage(
        what="the gateway lets the engine's metrics through",
        check="gateway.admin",
        says="/metrics with a valid key answered 200",
        do=(
            f"cp -a {CONF} /root/boxwright.conf.right\n"
            f"sed -i '0,/^    location = .v1.chat/s#^    location = .v1.chat#    {_METRICS}\\n&#' {CONF}\n"
            "nginx -s reload; sleep 1"
        ),
        undo=f"mv /root/boxwright.conf.right {CONF}; nginx -s reload; sleep 1",
    ),
    Sabotage(
        what="the certificate has five more days",
        check="gateway.certificate_lifetime",
        says="days",
        do=_certificate("-85d", 90),
        undo=_RIGHT_CERTIFICATE,
    ),
    Sabotage(
        what="one bit of the model's file is flipped, and the file shows its old time",
        check="engine.weights",
        says="is another file: sha256",
        do=_swapped(50_000_000),
        undo=_swapped(50_000_000),
    ),
    Sabotage(
        what="the engine gets a wrong NUMA policy",
        check="engine.numa",
        says="the unit's NUMAPolicy is interleave, not default",
        do=(
            "mkdir -p /run/systemd/system/llama-server.service.d\n"
            "printf '[Service]\\nNUMAPolicy=interleave\\nNUMAMask=0\\n' "
            "> /run/systemd/system/llama-server.service.d/numa.conf\n"
            f"systemctl daemon-reload; systemctl restart llama-server; {_WAIT_FOR_THE_ENGINE}"
        ),
        undo=(
            "rm -r /run/systemd/system/llama-server.service.d; systemctl daemon-reload; "
            f"systemctl restart llama-server; {_WAIT_FOR_THE_ENGINE}"
        ),
    ),
    Sabotage(
        what="a file with a secret is opened to everybody",
        check="secrets.files",
        says="/etc/nginx/boxwright-credentials.conf (0644)",
        do="chmod 644 /etc/nginx/boxwright-credentials.conf",
        undo="chmod 600 /etc/nginx/boxwright-credentials.conf",
    ),
    Sabotage(
        what="a private key is opened to everybody",
        check="secrets.private_keys",
        says="/etc/boxwright/pki/gateway.key (0644)",
        do="chmod 644 /etc/boxwright/pki/gateway.key",
        undo="chmod 600 /etc/boxwright/pki/gateway.key",
    ),
    Sabotage(
        what="a secret is handed over in a process's environment",
        check="secrets.processes",
        says="environ of sleep",
        do='systemd-run -q --unit leaky --setenv="KEY=$(cat /etc/llama-server/api-key)" sleep 600',
        undo="systemctl stop leaky",
    ),
    Sabotage(
        what="a secret is logged",
        check="secrets.logs",
        says="/var/log/strange.log",
        do="cat /etc/llama-server/api-key > /var/log/strange.log; chmod 600 /var/log/strange.log",
        undo="rm /var/log/strange.log",
    ),
    Sabotage(
        what="a kernel setting is changed",
        check="platform.sysctls",
        says="vm.swappiness is 60, not 10",
        do="sysctl -qw vm.swappiness=60",
        undo="sysctl -qw vm.swappiness=10",
    ),
    Sabotage(
        what="the time zone is changed",
        check="platform.time_zone",
        says="Asia/Shanghai",
        do="cp -a /etc/localtime /root/localtime.right; ln -sf /usr/share/zoneinfo/Asia/Shanghai /etc/localtime",
        undo="mv /root/localtime.right /etc/localtime",
    ),
    Sabotage(
        what="the machine is called something else",
        check="platform.hostname",
        says="it is called stranger",
        do="hostname stranger",
        undo='hostname "$(cat /etc/hostname)"',
    ),
    Sabotage(
        what="unattended upgrades may change what must not change",
        check="platform.upgrades",
        says="may be upgraded unattended",
        do=(
            "mv /etc/apt/apt.conf.d/60boxwright-unattended-upgrades /root/upgrades.right\n"
            "grep -v -e '^ *\"' /root/upgrades.right > /etc/apt/apt.conf.d/60boxwright-unattended-upgrades"
        ),
        undo="mv /root/upgrades.right /etc/apt/apt.conf.d/60boxwright-unattended-upgrades",
    ),
    Sabotage(
        what="a file system is full",
        check="disks.room",
        says="/var/tmp has 0 MB left",
        do="mount -t tmpfs -o size=8m full /var/tmp; dd if=/dev/zero of=/var/tmp/full 2>/dev/null || :",
        undo="umount /var/tmp",
    ),
    Sabotage(
        what="a program writes an error to the journal",
        check="logs.errors",
        says="payroll: cannot reach the database",
        do="logger -p daemon.err -t payroll 'cannot reach the database'",
        undo="journalctl -q --rotate; sleep 1.5; journalctl -q --vacuum-time=1s",
    ),
    Sabotage(
        what="everybody may write the receipt",
        check="record.receipt",
        says="others may write it (mode 666)",
        do="chmod 666 /etc/boxwright/receipt.json",
        undo="chmod 644 /etc/boxwright/receipt.json",
    ),
    Sabotage(
        what="a name in the bill of materials is another",
        check="record.evidence",
        says="not as it was signed for: sbom.cdx.json",
        do="sed -i.right 's/nginx/nginy/' /etc/boxwright/sbom.cdx.json",
        undo="mv /etc/boxwright/sbom.cdx.json.right /etc/boxwright/sbom.cdx.json",
    ),
)

# Each of these takes a good part of the box with it.
ALONE = (
    Sabotage(
        what="a name in the bill is another, and all of it is signed again by a key of somebody's own",
        check="record.evidence",
        says="it is signed by another key, SHA256:",
        do=RESIGNED,
        undo="cd /etc/boxwright; for name in sbom.cdx.json provenance.intoto.jsonl; do mv $name.right $name; done",
    ),
    Sabotage(
        what="a program listens at a second address of the box alone, and the firewall is opened for it there",
        check="exposure.ports",
        says="answer from outside: 8898 at ",
        do=_SECOND_DOOR,
        undo=(
            "systemctl stop second-door; systemctl restart boxwright-firewall\n"
            "ip address del \"$(ip -4 -o address show dev eth0 secondary | awk '{print $4}')\" dev eth0"
        ),
        also=("exposure.sockets",),
    ),
    Sabotage(
        what="the certificate has expired",
        check="gateway.tls",
        says="expired",
        do=_certificate("-100d", 90),
        undo=_RIGHT_CERTIFICATE,
        also=("gateway.", "engine.", "chat_page."),
    ),
    Sabotage(
        what="the engine is stopped",
        check="services.active",
        says="llama-server is inactive",
        do="systemctl stop llama-server",
        undo=f"systemctl start llama-server; {_WAIT_FOR_THE_ENGINE}",
        also=("engine.", "chat_page.", "monitoring.targets", "gateway.authorised", "services.unprivileged"),
    ),
    Sabotage(
        what="the firewall's table is gone",
        check="platform.firewall",
        says="boxwright",
        do="nft delete table inet boxwright",
        undo="systemctl restart boxwright-firewall",
        also=("exposure.firewall",),
    ),
    Sabotage(
        what="the clock is ten minutes ahead (SIMULATED by libfaketime in every session)",
        check="clock.right",
        says="ahead of this machine's clock",
        do=(
            "cp -a /etc/environment /root/environment.right 2>/dev/null || touch /root/environment.right\n"
            f"printf 'LD_PRELOAD={FAKETIME}\\nFAKETIME=+10m\\n' >> /etc/environment"
        ),
        undo="mv /root/environment.right /etc/environment",
    ),
)

# On a twin of a box with cards: it has packages that are pinned, and Docker.
WITH_PACKAGES = (
    Sabotage(
        what="a package of the driver is not held any more",
        check="machine.driver_packages",
        says="not held: ",
        do="apt-mark unhold libcuda1 >/dev/null",
        undo="apt-mark hold libcuda1 >/dev/null",
    ),
    Sabotage(
        what="Docker is not held, and the pins of its repository are gone",
        check="machine.pins",
        says="/etc/apt/preferences.d/boxwright-docker is gone, docker-ce is not held",
        do="apt-mark unhold docker-ce >/dev/null; mv /etc/apt/preferences.d/boxwright-docker /root/docker.right",
        undo="apt-mark hold docker-ce >/dev/null; mv /root/docker.right /etc/apt/preferences.d/boxwright-docker",
    ),
    Sabotage(
        what="a foreign container publishes a port (a real one, of Docker's)",
        check="exposure.forwards",
        says="container stranger hands on port 8088",
        do=(
            "cp /bin/busybox /root/busybox; tar -C /root -c busybox | docker import - strange >/dev/null\n"
            "docker run -d --name stranger -p 0.0.0.0:8088:80 strange /busybox httpd -f -p 80 >/dev/null; sleep 1"
        ),
        undo="docker rm -f stranger >/dev/null; docker rmi strange >/dev/null",
        also=("exposure.sockets",),
    ),
)

SABOTAGES = (*TOGETHER, *ALONE, *WITH_PACKAGES)

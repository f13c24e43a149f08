"""The tools themselves read what every profile renders to: nginx, nft, dockerd, systemd, sysctl, apt and others.

One twin of each release has the tools. No profile is provisioned: what the golden tests render is read, each text once.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from io import BytesIO

import pytest
from golden.template_rendering import ITEMS, rendered, role_templates
from role_bench import Bench, role_bench

from boxwright.lab import TwinSpec
from boxwright.model.catalogues import load_profile
from deploys.operations.files import rendered as deployed

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]

# Templates and how their texts are read; the first pattern that fits counts. `$f` is the file, in a folder of its own.
# Whatever a command prints counts as a complaint, as a code other than 0 does.
CHECKS = {
    "base/sudoers.j2": 'visudo --check --quiet --file="$f"',
    "base/apt-proxy.conf.j2": 'apt-config --config-file="$f" dump >/dev/null',
    "base/bundle.conf.j2": 'apt-config --config-file="$f" dump >/dev/null',
    "base/unattended-upgrades.conf.j2": 'apt-config --config-file="$f" dump >/dev/null',
    "*/preferences*.j2": 'apt-cache $alone -o Dir::Etc::Preferences="$f" policy >/dev/null',
    "*/*.sources.j2": 'apt-get $alone -o Dir::Etc::SourceParts="${f%/*}" indextargets >/dev/null',
    "kernel/sysctl.conf.j2": 'sysctl --dry-run --ignore --load="$f" >/dev/null',
    "*/modprobe.conf.j2": 'modprobe --config "$f" --showconfig >/dev/null',
    "*/*.nft.j2": 'nft --check --file "$f"',
    "container_runtime/daemon.json.j2": "read_by_docker",
    "container_runtime/docker-*.conf.j2": "read_as_drop_in docker.service",
    "monitoring/alerts.yml.j2": 'promtool check rules "$f" | sed "/^Checking/d; /SUCCESS/d; /^$/d"',
    "monitoring/prometheus.yml.j2": 'promtool check config --syntax-only "$f" | sed "/^Checking/d; /SUCCESS/d; /^$/d"',
    "gateway/site.conf.j2": "read_as_site",
    "*/*.service.j2": "read_as_unit",
    "*/*.timer.j2": "read_as_unit",
    "*/*.mount.j2": "read_as_unit",
    "*/*.sh.j2": 'sh -n "$f"',
    "kernel/grub.cfg.j2": 'sh -n "$f"',
    "monitoring/*.default.j2": 'sh -n "$f"',
    "*/*.env.j2": "read_as_environment",
}
# What no tool reads without using it.
UNREAD = {
    "*/limits.conf.j2": "pam_limits knows no dry run",
    "*/system.conf.j2": "the manager reads it when it starts; the tests of the roles ask what is in force",
    "base/journald.conf.j2": "journald reads it when it starts; the test of the role asks what is in force",
    "base/timesyncd.conf.j2": "timesyncd reads it when it starts",
    "base/timezone.j2": "one word",
    "base/bundle.asc.j2": "one key; the tests of bundles ask apt",
    "gateway/credentials.conf.j2": "read with site.conf, which includes it",
    "gateway/htpasswd.j2": "nginx reads it with the first password",
}

PREPARED = """\
alone='-o Dir::Etc::PreferencesParts=/dev/null -o Dir::Etc::SourceList=/dev/null'
complaints() { # everything that a command says, and its code when it has said nothing
  said=$("$@" 2>&1); code=$?
  if [ -n "$said" ]; then printf '%s\\n' "$said"; elif [ $code != 0 ]; then echo "code $code"; fi
}
read_as_unit() {
  # systemd wants to see the programs of a unit: here are empty ones for those that a box would have.
  sed -n 's/^Exec[A-Za-z]*=[-@:+!|]*\\(\\/[^ ]*\\).*/\\1/p' "$f" | while read -r program; do
    [ -e "$program" ] || install -D /bin/true "$program"
  done
  systemd-analyze verify --man=no --recursive-errors=no "$f"
}
read_as_drop_in() {
  mkdir -p "/run/systemd/system/$1.d"
  cp "$f" "/run/systemd/system/$1.d/rendered.conf"
  systemd-analyze verify --man=no --recursive-errors=no "$1"; code=$?
  rm "/run/systemd/system/$1.d/rendered.conf"
  return $code
}
read_as_environment() { # systemd tells of what it cannot read when it starts something
  grep -vnE '^(#|$|[A-Z_]+=)' "$f"
  systemd-run --quiet --wait --collect --property=EnvironmentFile="$f" --unit=rendered-environment true
}
read_as_site() { # by the box's own command; the site includes the file of credentials, which lies beside it
  cp "${f%/*}/credentials.conf" /etc/nginx/boxwright-credentials.conf
  sh /root/boxwright-gateway.sh check "$f"
}
read_by_docker() { # 20.10 cannot check a file
  if dockerd --help | grep -q -- --validate; then
    dockerd --validate --config-file="$f" 2>&1 | sed '/configuration OK/d'
  else
    python3 -m json.tool "$f" >/dev/null
  fi
}
"""
TOOLS = "nginx nftables docker.io prometheus sudo procps kmod openssl"
# Texts that each way of reading has to complain of, or it reads nothing.
BROKEN = {
    "base/sudoers.j2": "ada ALL=(ALL NOPASSWD\n",
    "base/apt-proxy.conf.j2": 'Acquire::http { "a"\n',
    "cuda_toolkit/preferences.j2": "Package: a\nPin: version *\n",
    "apt_repository/repository.sources.j2": "Types: deb\nSuites: a\n",
    "kernel/sysctl.conf.j2": "vm.swappiness 10\n",
    "nvidia_driver/modprobe.conf.j2": "blaklist nouveau\n",
    "firewall/boxwright.nft.j2": "table inet x { chain y { tcp dport accept } }\n",
    "container_runtime/daemon.json.j2": '{"ip": }\n',
    "container_runtime/docker-data.conf.j2": "[Unit]\nRequireMountsFor=/srv\n",
    "monitoring/alerts.yml.j2": "groups: [{name: a, rules: [{alert: b, expr: 'up =='}]}]\n",
    "monitoring/prometheus.yml.j2": "scrape_configs: [{jobname: a}]\n",
    "gateway/site.conf.j2": "server { listen 80 }\n",
    "firewall/boxwright-firewall.service.j2": "[Service]\nExecStart=/bin/true\nProtectSytem=yes\n",
    "gateway/boxwright-gateway.sh.j2": "if true; then\n",
    "rdma/fabric.env.j2": "NCCL_SOCKET_IFNAME eth0\n",
}


@dataclass(frozen=True)
class Text:
    """A text that some profiles render to, under the name that its file has on a box."""

    template: str
    name: str
    content: str
    profiles: list[str]

    @property
    def files(self) -> dict[str, str]:
        """All that is put on the twin."""
        beside = {"credentials.conf": credentials_of(self.profiles[0])} if self.name == "site.conf" else {}
        return {self.name: self.content} | beside


def credentials_of(profile: str) -> str:
    """What the gateway's site of a profile includes."""
    profile = profile.partition(":")[0]  # the nodes of a box have the same credentials
    texts = rendered("gateway/credentials.conf.j2")
    return next((text for text, profiles in texts.items() if profile in profiles), "")


def of_roles() -> Iterator[Text]:
    for template in role_templates():
        name = template.rpartition("/")[2].removesuffix(".j2")
        if template == "storage/file-system.mount.j2":  # systemd wants a mount to be called after its place
            name = f"{ITEMS[template]['mount_point'].strip('/').replace('/', '-')}.mount"
        for content, profiles in rendered(template).items():
            yield Text(template, name, content, profiles)


def of_deploys() -> Iterator[Text]:
    """The units of deploys with all that their templates can say: what profiles say is started in other tests."""
    llama = {
        "unit": "llama-server",
        "program": "/opt/boxwright/llama-cpp/1/bin/llama-server",
        "user": "llama-server",
        "words": ["--model", "/srv/models/m/m.gguf", "--alias", "a model of 100 %", "--override-tensor", "exps=CPU"],
        "environment": {"CUDA_VISIBLE_DEVICES": "0,1", "A_QUOTE": 'a "word" of $HOME'},
        "key": "/etc/llama-server/api-key",
        "models": "/srv/models/m",
        "placed_anew": ["/srv/models/m/m.gguf"],
    }
    vllm = {
        "unit": "vllm",
        "user": "vllm",
        "settings": "/etc/vllm",
        "environment_directory": "/opt/boxwright/vllm/1",
        "model_directory": "/srv/models/m",
        "port": 8001,
    }
    for policy, nodes in (("default", ()), ("bind", (0, 1)), ("interleave", (0, 1))):
        numa = {"numa_policy": policy, "numa_nodes": nodes}
        for cards in (True, False):
            root = "" if cards else "/opt/boxwright/llama-cpp/1"
            yield _unit("llama_cpp/llama-server.service.j2", **llama, **numa, cards=cards, root=root, mig=None)
            peers = ["192.0.2.8"] if cards else []
            lone = {
                "head_address": "192.0.2.7",
                "rank": 0,
                "answers": True,
                "runner": "/usr/local/lib/boxwright/run-node",
                "lifeline_port": 29540,
                "box_settings": "0123456789abcdef",
                "nodes_folder": "/var/lib/boxwright-nodes",
                "node_address": "192.0.2.7" if cards else None,
                "ray": "",
            }
            yield _unit("vllm/vllm.service.j2", **vllm, **numa, cards=cards, peers=peers, **lone, mig=None)
    yield from _of_ollama()
    yield _unit(
        "ktransformers/ktransformers.service.j2",
        unit="ktransformers",
        user="ktransformers",
        settings="/etc/ktransformers",
        environment_directory="/opt/boxwright/ktransformers/1",
        launcher="/usr/local/lib/boxwright/launch-ktransformers",
        model_directory="/srv/models/m/fp8",
        experts_directory="/srv/models/m/fp8-amxint4",
    )
    for one_shot in (True, False):
        yield _unit(
            "open_webui/open-webui.service.j2",
            description="Open WebUI",
            one_shot=one_shot,
            engine_units=["vllm", "llama-server-helper"],
            environment="/opt/boxwright/open-webui/current/etc/environment",
            command="/opt/boxwright/open-webui/current/bin/python /opt/launcher.py serve 8080",
            credentials=["admin-password"] if one_shot else [],
            user="open-webui",
            state="/var/lib/open-webui",
            settings="/etc/open-webui",
        )


def _of_ollama() -> Iterator[Text]:
    unit, table = "ollama-helper", "boxwright_ollama_helper"
    runner, metrics = "/usr/local/lib/boxwright/run-ollama.d", "/var/lib/prometheus/node-exporter"
    for cards in (True, False):
        yield _unit(
            "ollama/ollama.service.j2",
            unit=unit,
            user="ollama",
            table=table,
            program="/opt/boxwright/ollama",
            runner=runner,
            port=8001,
            name="m",
            purpose="chat",
            patience_s=300,
            cards=cards,
            mig=None,
        )
    yield _unit("engine_guard/guard.nft.j2", engine="Ollama", table=table, port=8001)
    yield _unit("engine_guard/guard.service.j2", unit=unit, table=table, rules=f"/etc/{unit}/guard.nft")
    confined = {"engine": "TensorRT-LLM", "confined": "daemon"}  # an account that every twin has
    yield _unit("engine_guard/guard.nft.j2", table="boxwright_tensorrt_llm", port=8001, **confined)
    yield _unit(
        "container/engine.service.j2",
        engine="TensorRT-LLM",
        unit="tensorrt-llm",
        settings="/etc/tensorrt-llm",
        table="boxwright_tensorrt_llm",
        runner="/usr/local/lib/boxwright/run-container",
        models="/srv/models/m/bf16",
        stop_s=75,
        port=8001,
    )
    yield _unit("engine_guard/guard.nft.j2", table="boxwright_vllm_rocm", port=8001, keyed=True, **confined)
    told = {"unit": unit, "runner": runner, "port": 8001, "placement": "cards", "metrics": metrics}
    yield _unit("ollama/measure.service.j2", **told)


def _unit(template: str, **values: object) -> Text:
    return Text(template, template.rpartition("/")[2].removesuffix(".j2"), deployed(template, **values), ["deploys"])


def check_of(template: str) -> str | None:
    """How texts of a template are read; None where none can be."""
    return next((check for pattern, check in CHECKS.items() if fnmatch(template, pattern)), None)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    hardware = load_profile("8x4090").hardware
    specs = [TwinSpec("bookworm", "debian-12", hardware), TwinSpec("trixie", "debian-13", hardware)]
    with role_bench("base", specs, tmp_path_factory.mktemp("rendered"), packages=True, lab_name="rendered") as bench:
        bench.everywhere(
            f"DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends {TOOLS} >/dev/null"
        )
        # What the gateway's site names, and a certificate.
        for name, place in (
            ("boxwright-gateway.sh", "/root/boxwright-gateway.sh"),
            ("htpasswd", "/etc/nginx/boxwright.htpasswd"),
        ):
            (bench.folder / name).write_text(next(iter(rendered(f"gateway/{name}.j2"))))
            bench.copy(bench.folder / name, place)
        bench.everywhere(
            "mkdir -p /etc/boxwright/pki; cd /etc/boxwright/pki; openssl req -x509 -newkey rsa:2048 -nodes"
            " -subj /CN=box -keyout gateway.key -out gateway.crt 2>/dev/null; cp gateway.crt ca.crt"
        )
        yield bench


def read(bench: Bench, texts: list[Text]) -> list[dict[int, str]]:
    """What the tools of each twin complain of, by the text's place in the list."""
    packed = BytesIO()
    script = [PREPARED]
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for number, text in enumerate(texts):
            for name, content in text.files.items():
                entry = tarfile.TarInfo(f"{number}/{name}")
                entry.size, entry.mode = len(content.encode()), 0o644
                archive.addfile(entry, BytesIO(content.encode()))
            script.append(f"check() {{ {check_of(text.template)}; }}; f=/root/rendered/{number}/{text.name}")
            script.append(f"complaints check | sed 's/^/{number}\\t/'")
    (bench.folder / "rendered.tar").write_bytes(packed.getvalue())
    (bench.folder / "read.sh").write_text("\n".join(script) + "\n")
    bench.everywhere("rm -rf /root/rendered; mkdir /root/rendered")
    for name in ("rendered.tar", "read.sh"):
        bench.copy(bench.folder / name, "/root/")
    told = bench.everywhere("tar -C /root/rendered -xf /root/rendered.tar && bash /root/read.sh")
    return [_by_number(lines) for lines in told]


def _by_number(lines: str) -> dict[int, str]:
    found: dict[int, str] = {}
    for line in lines.splitlines():
        number, _, said = line.partition("\t")
        found[int(number)] = f"{found.get(int(number), '')}{said}\n"
    return found


def test_every_template_is_read_or_said_to_be_unreadable() -> None:
    for template in role_templates():
        excuses = [pattern for pattern in UNREAD if fnmatch(template, pattern)]
        assert len(excuses) + (check_of(template) is not None) == 1, template


def test_every_way_of_reading_complains_of_what_is_broken(bench: Bench) -> None:
    assert {check_of(template) for template in BROKEN} == set(CHECKS.values())
    texts = [
        Text(template, template.rpartition("/")[2].removesuffix(".j2"), content, ["8x4090"])
        for template, content in BROKEN.items()
    ]
    for complaints in read(bench, texts):
        silent = [text.template for number, text in enumerate(texts) if number not in complaints]
        assert not silent


def test_tools_read_what_every_profile_renders_to(bench: Bench) -> None:
    texts = [text for text in (*of_roles(), *of_deploys()) if check_of(text.template)]
    assert len({text.template for text in texts}) > len(CHECKS)
    for twin, complaints in zip(bench.twins, read(bench, texts), strict=True):
        told = [
            f"{twin.name}: {texts[one].template} of {texts[one].profiles}: {said}" for one, said in complaints.items()
        ]
        assert not told, "\n".join(told)

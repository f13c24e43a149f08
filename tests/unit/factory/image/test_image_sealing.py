"""What belongs to one box is in no image, and what belongs to all of them is."""

from __future__ import annotations

from pathlib import Path

import pytest

from boxwright.factory.image.sealing import seal

GOING = (
    "etc/ssh/ssh_host_ed25519_key",
    "etc/ssh/ssh_host_rsa_key.pub",
    "etc/hostname",
    "etc/boxwright-twin",
    "etc/boxwright/receipt.json",
    "etc/boxwright/sbom.cdx.json",
    "etc/boxwright/provenance.intoto.jsonl",
    "etc/boxwright/pki/box.key",
    "etc/nginx/boxwright.htpasswd",
    "etc/nginx/boxwright-credentials.conf",
    "etc/nginx/conf.d/boxwright.conf",
    "etc/open-webui/secret-key",
    "etc/llama-server/api-key",
    "etc/prometheus/boxwright-engine.key",
    "etc/passwd-",
    "etc/apt/boxwright-bundle.d/bundle.sources",
    "etc/systemd/system/multi-user.target.wants/nginx.service",
    "etc/systemd/system/multi-user.target.wants/llama-server.service",
    "opt/boxwright/open-webui/slim-1/etc/environment",
    "root/.ansible/tmp/x",
    "root/.bash_history",
    "root/.ssh/authorized_keys",
    "home/anna/.bash_history",
    "srv/models/m/q4/.fetch.lock",
    "tmp/x",
    "run/x",
    "var/lib/apt/lists/a_Packages",
    "var/lib/dhcp/dhclient.leases",
    "var/lib/open-webui/webui.db",
    "var/lib/boxwright/requests/models.json",
    "etc/systemd/system/llama-server.service",
    "var/lib/prometheus/metrics2/wal/00000000",
    "var/lib/systemd/random-seed",
    "var/log/journal/0123456789abcdef0123456789abcdef/system.journal",
    "var/log/dpkg.log",
)
STAYING = (
    "etc/ssh/sshd_config",
    "etc/passwd",
    "etc/boxwright/firewall.nft",
    "etc/nginx/nginx.conf",
    "etc/systemd/system/multi-user.target.wants/ssh.service",
    "etc/systemd/system/multi-user.target.wants/boxwright-firewall.service",
    "opt/boxwright/open-webui/slim-1/bin/python",
    "srv/models/m/q4/m.gguf",
    "srv/models/m/q4/.m.gguf.verified",
    "usr/share/keyrings/debian-archive-keyring.gpg",
    "var/lib/boxwright/firewall.sha256",
    "var/lib/dpkg/status",
)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    tree = tmp_path / "tree"
    for place in (*GOING, *STAYING):
        (tree / place).parent.mkdir(parents=True, exist_ok=True)
        (tree / place).write_text(place)
    return tree


def files(tree: Path) -> set[str]:
    return {str(path.relative_to(tree)) for path in tree.rglob("*") if path.is_file()}


def test_what_belongs_to_one_box_goes_and_the_rest_stays(tree: Path) -> None:
    told = seal(tree)
    assert files(tree) == set(STAYING)
    assert "etc/boxwright/pki" in told
    assert (tree / "var/log/journal").is_dir()
    assert not list((tree / "var/log/journal").iterdir())


def test_a_link_goes_and_what_it_leads_to_stays(tree: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("kept")
    (tree / "tmp/link").symlink_to(outside)
    (tree / "var/log/link").symlink_to(outside)
    seal(tree)
    assert (outside / "kept").read_text() == "kept"
    assert files(tree) == set(STAYING)


def test_a_unit_is_switched_off_by_a_link_that_leads_nowhere_here(tree: Path) -> None:
    wants = tree / "etc/systemd/system/multi-user.target.wants"
    for unit in ("prometheus.service", "cron.service"):
        (wants / unit).symlink_to(f"/lib/systemd/system/{unit}")
    seal(tree)
    assert {path.name for path in wants.iterdir() if path.is_symlink()} == {"cron.service"}


def test_a_sealed_tree_has_nothing_to_seal(tree: Path) -> None:
    seal(tree)
    assert seal(tree) == []

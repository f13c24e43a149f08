"""A golden image of Debian 13, of a machine whose stack cannot be on it: built, and looked at."""

from __future__ import annotations

from pathlib import Path

import pytest
from image_build import bundle_of_an_image, key_of_a_person
from lab_command import Boxwright

from boxwright.errors import Exit
from boxwright.factory.evidence.envelope import open_envelope
from boxwright.factory.image.finishing import TREE

pytestmark = [pytest.mark.lab, pytest.mark.on_demand, pytest.mark.timeout(3600)]

NAME = "lab-bare-debian-13"
# No digests of this model are pinned, so that nothing serves.
PROFILE = """\
name: lab-bare
summary: a machine whose model is not pinned
hardware:
  cpu: {sockets: 1, cores_per_socket: 2}
  memory_gib: 16
  disk_gib: 20
stack:
  model: qwen3-8b
  engine: llama_cpp
  context_tokens: 4096
"""


def test_a_machine_alone_comes_on_an_image(boxwright: Boxwright, tmp_path: Path) -> None:
    patient = Boxwright(boxwright.environment, patience_s=2400)
    profile, folder = tmp_path / "lab-bare.yml", tmp_path / "image"
    profile.write_text(PROFILE)
    bundle, key = bundle_of_an_image(patient, str(profile), "debian-13", tmp_path), key_of_a_person(tmp_path)

    build = ("image.build", "--profile", str(profile), "--bundle", str(bundle), "--key", f"{key}.pub")
    refused = patient(*build, "--to", str(folder))
    assert refused.code == Exit.BAD_INPUT
    assert "--without-stack" in refused.kind("error")[0]["hint"]
    ran = patient(*build, "--to", str(folder), "--without-stack")
    assert ran.code == Exit.OK, ran.text[-3000:]
    stated = open_envelope((folder / "provenance.intoto.jsonl").read_bytes()).statement
    assert stated["predicate"]["buildDefinition"]["externalParameters"]["stack"] is False
    assert (folder / f"{NAME}.raw").exists()
    paths = {line.split("\t")[0] for line in (folder / TREE).read_text().splitlines()}
    assert {"/usr/sbin/nginx", "/etc/nftables.d/boxwright.nft"} <= paths
    assert not [path for path in paths if path.startswith(("/opt/boxwright/", "/srv/models/"))]

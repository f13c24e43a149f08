"""What runs on the box: it tells what is there, as it is there, and puts evidence in its place whole."""

from __future__ import annotations

import hashlib
import inspect
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from boxwright.factory.evidence import remote_files, remote_inventory
from boxwright.factory.evidence.inventory import Inventory


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What stands below /opt/boxwright."""
    root = tmp_path / "opt"
    monkeypatch.setattr(remote_inventory, "PROGRAMS", root)
    page, python, engine = root / "open-webui/slim-1", root / "python3.11/3.11.2-6", root / "llama-cpp/b1-abc"
    info = page / "lib/python3.11/site-packages/a_wheel-1.2.dist-info"
    for folder in (info, python, engine, root / "open-webui/.work"):
        folder.mkdir(parents=True)
    (info / "METADATA").write_text(
        "Metadata-Version: 2.4\nName: A_Wheel\nVersion: 1.2\nLicense-Expression: MIT\n"
        "Classifier: License :: OSI Approved :: MIT License\n\nVersion: 9 of the description\n"
    )
    (page / "WHEELS").write_text(f"a-wheel==1.2 {'c' * 64}\n")
    (info / "RECORD").write_text("a.py,sha256=x,1\n")
    (root / "open-webui/current").symlink_to("slim-1")
    (python / "MANIFEST").write_text(f"libc6=2.36-9+deb12u1 {'a' * 64}\nlibstdc++6=12:2-1 {'b' * 64}\n")
    (engine / "BUILD.json").write_text('{"cmake": ["-DA=1"]}')
    (engine / "SIMULATED").touch()
    return root


@pytest.mark.usefixtures("programs")
def test_each_version_of_a_program_is_told_by_what_it_is() -> None:
    engine, page, python = remote_inventory.programs()
    assert (page["name"], page["version"], page["links"]) == ("open-webui", "slim-1", ["current"])
    (wheel,) = page["wheels"]
    assert (wheel["name"], wheel["version"], wheel["expression"]) == ("A_Wheel", "1.2", "MIT")
    assert wheel["sha256"] == "c" * 64
    assert wheel["record_sha256"] == hashlib.sha256(b"a.py,sha256=x,1\n").hexdigest()
    assert [(one["name"], one["version"]) for one in python["packages"]] == [
        ("libc6", "2.36-9+deb12u1"),
        ("libstdc++6", "12:2-1"),
    ]
    assert (engine["build"], engine["simulated"], python["simulated"]) == ({"cmake": ["-DA=1"]}, True, False)


def test_a_digest_of_weights_is_told_while_its_note_fits_the_file(tmp_path: Path) -> None:
    folder = tmp_path / "model/q4"
    folder.mkdir(parents=True)
    weights = folder / "a.gguf"
    weights.write_bytes(b"weights")
    (folder / "b.gguf.part").touch()
    (folder / ".a.gguf.verified").write_text(f"7 {weights.stat().st_mtime_ns} {'c' * 64}\n")
    (told,) = remote_inventory.models(tmp_path)
    assert told == {
        "name": "model/q4", "converted": False, "files": [{"name": "a.gguf", "bytes": 7, "sha256": "c" * 64}],
    }  # fmt: skip
    weights.write_bytes(b"others!")
    ((file,),) = (one["files"] for one in remote_inventory.models(tmp_path))
    assert file["sha256"] == ""


def test_packages_are_those_that_are_installed_with_digests_of_that_very_version(
    stand_in: Callable[[str, str], None],
) -> None:
    rows = (
        r"installed\tnginx\t1.22-9\tamd64\tnginx\t1.22-9\tsmall web server\n"
        r"config-files\told\t1\tall\told\t1\tgone\n"
        r"installed\tdriver\t5\tall\tdrivers\t5\tSIMULATED: drives nothing\n"
    )
    stand_in("dpkg-query", f"printf '{rows}'")
    newer = rf"Package: nginx\nVersion: 1.22-10\nArchitecture: amd64\nSHA256: {'d' * 64}\n"
    this = rf"Package: nginx\nVersion: 1.22-9\nArchitecture: amd64\nDepends: a\nSHA256: {'e' * 64}\n"
    stand_in("apt-cache", rf"printf '{newer}\n{this}\n'")
    nginx, driver = remote_inventory.packages()
    assert (nginx["name"], nginx["sha256"], nginx["simulated"]) == ("nginx", "e" * 64, False)
    assert (driver["source"], driver["sha256"], driver["simulated"]) == ("drivers", "", True)


def test_licences_are_read_where_a_program_can_read_them(tmp_path: Path) -> None:
    path = tmp_path / "copyright"
    path.write_text(
        "Format: https://…\n\nFiles: *\nLicense: Expat\n\nFiles: b\nLicense: GPL-2+\n the text\n\nLicense: Expat\n"
    )
    assert remote_inventory.licenses(path) == ["Expat", "GPL-2+"]
    path.write_text("This package was debianised by hand.\nLicense: see below\n")
    assert remote_inventory.licenses(path) == []
    assert remote_inventory.licenses(tmp_path / "none") == []


def test_images_are_told_as_docker_has_them(stand_in: Callable[[str, str], None]) -> None:
    row = {"Repository": "images.example/a", "Tag": "1", "Digest": "sha256:1", "ID": "sha256:2", "Size": "1GB"}
    stand_in("docker", f"echo '{json.dumps(row)}'")
    assert remote_inventory.images() == [
        {"repository": "images.example/a", "tag": "1", "digest": "sha256:1", "id": "sha256:2"}
    ]


def test_a_box_answers_by_a_bare_python_and_what_it_answers_can_be_read(
    tmp_path: Path, stand_in: Callable[[str, str], None]
) -> None:
    """This machine stands in for the box, with its own packages."""
    stand_in("apt-cache", "exit 0")  # takes seconds where there are many
    argv = [sys.executable, "-I", "-S", "-c", inspect.getsource(remote_inventory), str(tmp_path)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=120)
    assert Inventory.model_validate_json(done.stdout).system.kernel


def test_files_are_placed_whole_for_all_to_read_and_left_alone_when_they_are_right(tmp_path: Path) -> None:
    folder = tmp_path / "boxwright"
    argv = [sys.executable, "-I", "-S", "-c", inspect.getsource(remote_files), str(folder)]

    def place(text: str) -> None:
        subprocess.run(argv, input=json.dumps({"sbom.cdx.json": text}), text=True, check=True, timeout=30)

    place("häh")
    path = folder / "sbom.cdx.json"
    assert path.read_text() == "häh"
    assert path.stat().st_mode & 0o777 == 0o644
    before = path.stat()
    place("häh")
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    place("other")
    assert [one.name for one in folder.iterdir()] == ["sbom.cdx.json"]
    assert path.read_text() == "other"

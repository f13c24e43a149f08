"""The program that installs wheels takes the pinned ones alone, and notes which: they are gone afterwards."""

from __future__ import annotations

import json
import os
import runpy
import sys
from pathlib import Path

import packaging
import pytest
from packaging.tags import sys_tags

from boxwright.places import ROOT

PROGRAM = runpy.run_path(str(ROOT / "templates/python_environment/install_python_environment.py"))


def test_archives_are_noted_by_digest_and_no_address_of_an_index_stays(tmp_path: Path) -> None:
    def installed(name: str, version: str, digit: str) -> dict[str, object]:
        """As pip 23.0.1 of Debian 12 reports it."""
        url = f"https://ada:secret@index.example/{name}-{version}-py3-none-any.whl"
        hashes = {"sha256": digit * 64}
        return {
            "download_info": {"url": url, "archive_info": {"hash": f"sha256={digit * 64}", "hashes": hashes}},
            "is_direct": False,
            "requested": True,
            "metadata": {"metadata_version": "2.1", "name": name, "version": version},
        }

    report, note = tmp_path / ".report.json", tmp_path / "WHEELS"
    from_folder = installed("torch", "2.13.0+cpu", "c")
    from_folder["download_info"] = {"url": "file:///srv/wheels/t.whl", "archive_info": {"hash": f"sha256={'c' * 64}"}}
    told = [installed("packageurl-python", "0.17.6", "b"), from_folder, installed("idna", "3.20", "a")]
    report.write_text(json.dumps({"version": "1", "pip_version": "23.0.1", "install": told}))
    PROGRAM["_note_archives"](report, note)
    rows = (("idna==3.20", "a"), ("packageurl-python==0.17.6", "b"), ("torch==2.13.0+cpu", "c"))
    assert note.read_text() == "".join(f"{name} {digit * 64}\n" for name, digit in rows)
    assert [path.name for path in tmp_path.iterdir()] == ["WHEELS"]


@pytest.fixture
def pip(tmp_path: Path) -> Path:
    """What the program needs of an interpreter's pip, where this one has none of its own."""
    vendor = tmp_path / "pip.whl/pip/_vendor"
    vendor.mkdir(parents=True)
    for folder in (vendor.parent, vendor):
        (folder / "__init__.py").touch()
    (vendor / "packaging").symlink_to(Path(packaging.__file__).parent)
    return tmp_path / "pip.whl"


def offered(name: str, version: str, *wheels: tuple[str, str]) -> dict[str, object]:
    """A package as uv writes it into a pylock.toml: the tags and digest of each of its wheels."""
    base = f"https://ada:secret@index.example/{name.replace('-', '_')}-{version.replace('+', '%2B')}"
    listed = [{"url": f"{base}-{tags}.whl", "hashes": {"sha256": digit * 64}} for tags, digit in wheels]
    return {"name": name, "version": version, "wheels": listed}


def test_of_the_pinned_wheels_the_best_for_this_python_is_taken(pip: Path) -> None:
    best, *_, worst = sys_tags()
    listed = (
        f"two-builds[extra]==1.0 ; python_version < '3.12' \\\n    --hash=sha256:{'a' * 64} \\\n"
        f"    --hash=sha256:{'b' * 64} \\\n    --hash=sha256:{'c' * 64}\n"
        f"two-builds==2.0 ; python_version >= '3.12' \\\n    --hash=sha256:{'d' * 64}\n"
        f"Local.Build==2.13.0+cpu \\\n    --hash=sha256:{'e' * 64}\n"
    )
    packages = [
        offered("two-builds", "1.0", (f"{worst}", "a"), (f"{best}", "b"), ("cp27-cp27m-win32", "c")),
        offered("local-build", "2.13.0+cpu", ("py3-none-any", "e")),
    ]
    rows = PROGRAM["_chosen"](packages, listed, pip)
    assert rows == [("two-builds", "1.0", "b" * 64), ("local-build", "2.13.0+cpu", "e" * 64)]


@pytest.mark.parametrize("digest", ["b", "c"], ids=["another file", "another package's digest"])
def test_a_wheel_that_is_not_pinned_is_not_taken(pip: Path, digest: str) -> None:
    listed = f"one==1.0 --hash=sha256:{'a' * 64}\nother==1.0 --hash=sha256:{'c' * 64}\n"
    with pytest.raises(PROGRAM["InstallError"], match=r"no wheel that the list pins of one 1\.0"):
        PROGRAM["_chosen"]([offered("one", "1.0", ("py3-none-any", digest))], listed, pip)


def test_files_are_compiled_to_the_same_bits_by_any_number_of_processors(tmp_path: Path) -> None:
    """A letter that was a name in one file is marked otherwise, as a text, in files that the same process compiles."""
    names, texts = "é = 1\n", "x = ('é', 'è')\n"
    results = []
    for at_once in (1, 8):
        folder = tmp_path / str(at_once) / "lib"
        folder.mkdir(parents=True)
        (folder / "broken.py").write_text("def\n")
        for number in range(3 * PROGRAM["COMPILED_TOGETHER"]):
            (folder / f"m{number:04}.py").write_text(names if number == 0 else texts)
            os.utime(folder / f"m{number:04}.py", (0, 0))
        environment = {"SOURCE_DATE_EPOCH": "0", "PATH": os.environ["PATH"]}  # noted by digest, not by path and date
        PROGRAM["_compile"](Path(sys.executable), folder, environment, at_once=at_once)
        results.append({path.name: path.read_bytes() for path in (folder / "__pycache__").iterdir()})
    one, several = results
    assert len(one) == 3 * PROGRAM["COMPILED_TOGETHER"]
    assert [name for name, made in one.items() if b"\xc3\xa9" not in made] == []
    differ = [name for name, made in one.items() if made[16:].replace(b"/1/", b"/8/") != several[name][16:]]
    assert differ == []

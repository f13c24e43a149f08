"""Where packages come from: the site's setting, else the controller's own apt and pip, else pip's built-in.

No address of a package registry stands in this code: a controller inside a company, a country or a test bench
already knows which mirror it may use, and its twins and boxes use the same one.
"""

from __future__ import annotations

import configparser
import importlib.util
import os
import re
import shutil
import site
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin, urlsplit

from boxwright import places
from boxwright.errors import BadInputError
from boxwright.model.site import Mirrors

_PIP_INDEX_MODULE = "pip/_internal/models/index.py"


@dataclass(frozen=True)
class AptSource:
    """One suite of one repository, as apt's configuration names it."""

    uri: str
    suite: str
    components: tuple[str, ...]


def resolve(mirrors: Mirrors) -> Mirrors:
    """Make every field concrete.

    Raises:
        BadInputError: Neither the site nor the controller says where packages come from.
    """
    index = mirrors.python_index or python_index(os.environ, _pip_config_files()) or _builtin_index()
    if index is None:
        raise BadInputError(
            "cannot tell where Python packages come from: no pip on this controller",
            hint="Set mirrors.python_index in the site, or install python3-venv.",
        )
    wheels = mirrors.wheels
    if wheels is None:
        wheels = find_links(os.environ, _pip_config_files())
    builds = mirrors.builds or str(places.cache() / "builds")
    return resolve_debian(mirrors).model_copy(update={"python_index": index, "wheels": wheels, "builds": builds})


def resolve_debian(mirrors: Mirrors) -> Mirrors:
    """Make the fields of Debian's archives concrete.

    Raises:
        BadInputError: Neither the site nor the controller says where Debian packages come from.
    """
    debian, security = mirrors.debian, mirrors.debian_security
    if debian is None or security is None:
        found = debian_mirrors(tuple(read_apt_sources(Path("/etc/apt"))))
        debian = debian or found[0]
        security = security or found[1] or _security_beside(debian)
    if debian is None or security is None:
        raise BadInputError(
            "cannot tell where Debian packages come from: this controller's apt names no Debian mirror",
            hint="Set mirrors.debian and mirrors.debian_security in the site.",
        )
    fresh = mirrors.check_valid_until
    return mirrors.model_copy(
        update={
            "debian": debian,
            "debian_security": security,
            "check_valid_until": _apt_checks_valid_until() if fresh is None else fresh,
        }
    )


def _apt_checks_valid_until() -> bool:
    """Whether this controller's apt refuses a mirror whose lists are older than Debian promises."""
    if shutil.which("apt-config") is None:
        return True
    told = subprocess.run(
        ["apt-config", "shell", "CHECK", "Acquire::Check-Valid-Until/b"], capture_output=True, text=True, check=False
    )
    return "'false'" not in told.stdout


def apt_options(mirrors: Mirrors) -> list[str]:
    """Lines for an apt of our own: the controller's proxy to its mirrors, and patience with a frozen mirror.

    Raises:
        OSError: This machine has no apt.
    """
    dump = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=True).stdout
    options = [
        line.rstrip(";")
        for line in dump.splitlines()
        if line.lower().startswith(("acquire::http::proxy", "acquire::https::")) and not line.endswith('"";')
    ]
    return options if mirrors.check_valid_until is not False else [*options, 'Acquire::Check-Valid-Until "false"']


def debian_mirrors(sources: tuple[AptSource, ...]) -> tuple[str | None, str | None]:
    """Pick the mirrors of Debian itself and of its security updates from everything that apt is told to use.

    Third parties name their suites like Debian's releases, too; Debian's own mirrors end in `/debian`.
    """
    main = security = None
    for source in sources:
        if "main" not in source.components or urlsplit(source.uri).scheme not in ("http", "https"):
            continue
        last = urlsplit(source.uri).path.rstrip("/").rpartition("/")[2]
        if source.suite.endswith(("-security", "/updates")):
            if last.startswith("debian"):
                security = security or source.uri
        elif last == "debian":
            main = main or source.uri
    return main, security


def _security_beside(debian: str | None) -> str | None:
    """The security archive that a full mirror carries next to the main one."""
    if debian is None or not debian.rstrip("/").endswith("/debian"):
        return None
    return debian.rstrip("/") + "-security"


def read_apt_sources(directory: Path) -> Iterator[AptSource]:
    """Read `sources.list` and `sources.list.d/` below an apt configuration directory, in apt's order."""
    files = [directory / "sources.list"]
    parts = directory / "sources.list.d"
    if parts.is_dir():
        files += sorted(p for p in parts.iterdir() if p.suffix in (".list", ".sources"))
    for file in files:
        try:
            text = file.read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        yield from parse_deb822(text) if file.suffix == ".sources" else parse_one_line(text)


def parse_one_line(text: str) -> Iterator[AptSource]:
    """Parse `deb [options] uri suite component…` lines. What is not one is skipped: apt itself reports it."""
    for line in text.splitlines():
        match = re.match(r"deb\s+(?:\[[^\]]*\]\s*)?(\S+)\s+(\S+)((?:\s+[^\s#]+)*)", line.strip())
        if match:
            yield AptSource(match[1].rstrip("/"), match[2], tuple(match[3].split()))


def parse_deb822(text: str) -> Iterator[AptSource]:
    """Parse the stanzas of a `.sources` file."""
    lines = (line for line in text.splitlines() if not line.startswith("#"))
    for stanza in re.split(r"\n\s*\n", "\n".join(lines)):
        fields = _fields(stanza)
        if "deb" not in fields.get("types", "").split():
            continue
        if fields.get("enabled", "yes").strip().lower() in ("no", "false", "0", "off", "without", "disable"):
            continue
        components = tuple(fields.get("components", "").split())
        for uri in fields.get("uris", "").split():
            for suite in fields.get("suites", "").split():
                yield AptSource(uri.rstrip("/"), suite, components)


def _fields(stanza: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    key = ""
    for line in stanza.splitlines():
        if line[:1] in (" ", "\t") and key:
            fields[key] += " " + line.strip()
        elif ":" in line:
            name, _, value = line.partition(":")
            key = name.strip().lower()
            fields[key] = value.strip()
    return fields


def python_index(environment: Mapping[str, str], pip_config_files: tuple[Path, ...]) -> str | None:
    """The index that pip or uv is told to use: pip's environment, its files nearest first, then uv's."""
    if environment.get("PIP_INDEX_URL"):
        return environment["PIP_INDEX_URL"]
    for section in _pip_sections(pip_config_files):
        if url := section.get("index-url", "").strip():
            return url
    for name in ("UV_DEFAULT_INDEX", "UV_INDEX_URL"):
        if environment.get(name):
            return re.sub(r"^[A-Za-z0-9_.-]+=(?=https?://)", "", environment[name])  # uv allows `name=url`
    return None


def _pip_sections(files: tuple[Path, ...]) -> Iterator[Mapping[str, str]]:
    """The settings of `pip install` in pip's files, what goes before first."""
    for file in files:
        parser = configparser.RawConfigParser()
        try:
            parser.read_string(file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, configparser.Error):
            continue
        yield from (parser[name] for name in ("install", "global") if parser.has_section(name))


def find_links(environment: Mapping[str, str], pip_config_files: tuple[Path, ...]) -> tuple[str, ...]:
    """Where pip is told to look for wheels besides its index: addresses and folders."""
    if environment.get("PIP_FIND_LINKS"):
        return tuple(environment["PIP_FIND_LINKS"].split())
    places: list[str] = []
    for section in _pip_sections(pip_config_files):
        places += section.get("find-links", "").split()
    return tuple(dict.fromkeys(place.removeprefix("file://") for place in places))


def _pip_config_files() -> tuple[Path, ...]:
    chosen = os.environ.get("PIP_CONFIG_FILE")
    if chosen == os.devnull:
        return ()
    home = Path.home()
    config = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config")
    system = [Path(d) / "pip/pip.conf" for d in (os.environ.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(":")]
    files = [Path(sys.prefix) / "pip.conf", config / "pip/pip.conf", home / ".pip/pip.conf"]
    return (*([Path(chosen)] if chosen else []), *files, *system, Path("/etc/pip.conf"))


def _builtin_index() -> str | None:
    """Read the constant out of the pip at hand: an installed one, else the wheel that ensurepip carries."""
    for source in _pip_sources():
        match = re.search(r"^PyPI\s*=\s*PackageIndex\(\s*[\"']([^\"']+)", source, re.MULTILINE)
        if match:
            return urljoin(match[1], "simple")
    return None


def _pip_sources() -> Iterator[str]:
    roots = [*sys.path, *site.getsitepackages()]
    for root in dict.fromkeys(roots):
        module = Path(root) / _PIP_INDEX_MODULE
        if module.is_file():
            yield module.read_text(encoding="utf-8")
    bundled = importlib.util.find_spec("ensurepip")
    folders = [Path("/usr/share/python-wheels")]  # where Debian moves the wheels of ensurepip
    if bundled and bundled.origin:
        folders.insert(0, Path(bundled.origin).parent / "_bundled")
    for folder in folders:
        for wheel in sorted(folder.glob("pip-*.whl")):
            with zipfile.ZipFile(wheel) as archive:
                yield archive.read(_PIP_INDEX_MODULE).decode("utf-8")

"""A lock: every artefact that a profile is made of on one release of one distribution, and no address of any.

A lock file is JSON with one artefact a line, sorted: the same artefacts are the same bytes. Addresses follow from the
site's mirrors whenever something is fetched.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated, Literal

from packaging.utils import canonicalize_name
from pydantic import Field, ValidationError, model_validator

from boxwright.errors import BadInputError
from boxwright.model.base import Frozen, Identifier, Sha256
from boxwright.model.site import VENDORS, Distribution, RepositoryName

Archive = Literal["debian", "debian_security"] | RepositoryName  # of Debian packages
Kind = Literal["archive", "debian", "firmware", "image", "installer", "key", "model", "source", "wheel"]
KINDS: dict[Kind, str] = {
    "archive": "archive",
    "debian": "Debian package",
    "firmware": "supplied firmware",
    "image": "part of an image",
    "installer": "supplied installer",
    "key": "vendor's key",
    "model": "model file",
    "source": "source",
    "wheel": "Python wheel",
}
# One segment of a path: what a folder or an HTTP server could take for anything else is refused.
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._+~%=-]*$", max_length=255)]
# As Docker names an image, with its registry and without a tag.
ImageName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]*(:[0-9]{1,5})?(/[a-z0-9][a-z0-9._-]*)+$")]
GitId = Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]
# Below the root of an archive, such as pool/main/n/nginx/nginx_1.22.1-9_amd64.deb.
ArchivePath = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._+~%=:-]*(/[A-Za-z0-9_][A-Za-z0-9._+~%=:-]*)*$")]


class Artefact(Frozen):
    """One file. Two uses of the same bytes are one artefact."""

    kind: Kind
    name: str  # of the package or the program, or model/build/file
    version: str  # of the package or the program; of a model file the quantization, of a key its fingerprint
    size: Annotated[int, Field(gt=0)]  # bytes
    sha256: Sha256
    file: FileName  # its name where it is served
    used_by: tuple[Identifier, ...]  # what is made of it: the platform, python3.11, open_webui, …
    license: str | None = None  # where it is known: of models
    archive: Archive | None = None  # of Debian packages: which mirror or vendor's repository has it
    path: ArchivePath | None = None  # below that
    image: ImageName | None = None  # of parts of images: whose
    media_type: Annotated[str, Field(pattern=r"^[a-z]+/[a-z0-9.+-]+$")] | None = None  # of what describes an image
    simulated: Literal[True] | None = None  # made by the lab in the place of a vendor's: for twins alone
    commit: GitId | None = None  # of source, where it is known
    tree: GitId | None = None  # of source: git's id of the files as they lie in the archive

    @property
    def title(self) -> str:
        """As a person reads it: what was found missing or damaged."""
        simulated = "SIMULATED " if self.simulated else ""
        return f"{simulated}{KINDS[self.kind]} {self.name} {self.version}"

    @property
    def project(self) -> str:
        """Of source: the project of the Python package index whose source distribution it is, if it is one."""
        return canonicalize_name(self.file.rpartition("-")[0])

    @property
    def key(self) -> tuple[str, str, str, str]:
        """The place among the others."""
        return self.kind, self.name, self.version, self.sha256


class Lock(Frozen):
    """What a profile is made of."""

    format: Literal[1] = 1
    profile: Identifier
    distribution: Distribution
    architecture: Literal["amd64"] = "amd64"
    artefacts: tuple[Artefact, ...]

    @property
    def name(self) -> str:
        """What it is called in a bundle, and on the way to a box."""
        return f"{self.profile}-{self.distribution}"

    def of(self, kind: Kind) -> tuple[Artefact, ...]:
        """The artefacts of one kind."""
        return tuple(one for one in self.artefacts if one.kind == kind)

    @property
    def vendors(self) -> tuple[RepositoryName, ...]:
        """Whose repositories have some of it, besides Debian's archives."""
        return tuple(name for name in VENDORS if any(one.archive == name for one in self.artefacts))

    @property
    def registries(self) -> tuple[str, ...]:
        """Whose container images it has."""
        return tuple(sorted({one.image.partition("/")[0] for one in self.of("image") if one.image}))

    @property
    def text(self) -> str:
        """The file: sorted, one artefact a line."""
        head = self.model_dump(mode="json", exclude={"artefacts"})
        lines = ",\n".join(
            json.dumps(one.model_dump(mode="json", exclude_none=True), sort_keys=True, ensure_ascii=False)
            for one in sorted(self.artefacts, key=lambda one: one.key)
        )
        begin = json.dumps(head, sort_keys=True)[:-1]
        return f'{begin},\n"artefacts": [\n{lines}\n]}}\n'

    @property
    def sha256(self) -> str:
        """Digest of that file: what a receipt names."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @model_validator(mode="after")
    def _each_comes_once(self) -> Lock:
        if not self.artefacts:
            raise ValueError("a lock without artefacts")
        seen: dict[str, Artefact] = {}
        for one in self.artefacts:
            if (other := seen.setdefault(one.sha256, one)) is not one:
                raise ValueError(f"{one.title} is {other.title}: the same bytes twice")
            if one.kind == "debian" and not (one.path and one.archive):
                raise ValueError(f"{one.title}: nothing says where a mirror has it")
            if one.kind == "image" and not one.image:
                raise ValueError(f"{one.title}: nothing says which image it belongs to")
        return self


def read_lock(path: Path) -> Lock:
    """Read a lock file.

    Raises:
        BadInputError: There is none, or it is no lock.
    """
    try:
        return parse_lock(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise BadInputError(
            f"no lock can be read: {why}", where=str(path), hint="Make one: ./invoke bundle.lock"
        ) from None


def parse_lock(text: str, where: str) -> Lock:
    """Take a lock out of the text of its file.

    Raises:
        BadInputError: It is no lock.
    """
    try:
        return Lock.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise BadInputError(
            f"this is no lock that this Boxwright reads: {place or 'file'}: {first['msg']}",
            where=where,
            hint="Make it anew: ./invoke bundle.lock",
        ) from None

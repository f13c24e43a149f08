"""The source code of the programs for cards, on the controller: fetched once, held against its pin, packed anew.

What is kept is packed the same way everywhere, so that two controllers have the same bytes of it, and a bundle the same
digest, however GitHub or a person packed what came.
"""

from __future__ import annotations

import ssl
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import httpx

from boxwright import places
from boxwright.errors import BadInputError, BoxwrightError
from boxwright.factory import nix_tree
from boxwright.factory.source_tree import Tree, tree_in
from boxwright.model.card_programs import CardProgram
from boxwright.whole_files import write_whole

_MOST_BYTES = 64 << 20  # an archive has less than one MiB
_TIMEOUT_S = 60.0


def source_of(
    program: CardProgram, mirror: str, progress: Callable[[str], None], *, carried: Iterable[Path] = ()
) -> Path:
    """The archive of a program's source, with the files that are pinned.

    Args:
        program: Whose.
        mirror: GitHub's address, or that of a copy with the same paths.
        progress: Told what is fetched.
        carried: Archives that may be it, such as a bundle's: taken before anything is fetched.

    Raises:
        BadInputError: What lies here is something else.
        BoxwrightError: It cannot be fetched, or what came is something else.
    """
    kept = kept_source(program)
    for place in (kept, kept.with_suffix(".tar.gz"), *carried):
        if place.is_file():
            return _keep(program, tree_in(place), kept, str(place))
    progress(f"Fetching the source of {program.name} {program.version} …")
    with tempfile.TemporaryDirectory(prefix="bw-source-") as folder:
        archive = Path(folder) / "source.tar.gz"
        url = f"{mirror.rstrip('/')}/{program.archive}"
        _fetch(program, url, archive)
        return _keep(program, tree_in(archive), kept, url)


def kept_source(program: CardProgram) -> Path:
    """Where the controller keeps it; a person may put an archive there, also as `.tar.gz`."""
    return places.cache() / "sources" / f"{program.name}-{program.revision}.tar"


def _keep(program: CardProgram, tree: Tree, kept: Path, where: str) -> Path:
    found = nix_tree.digest(tree)
    if found != program.tree:
        raise BadInputError(
            f"this is not the source of {program.name} {program.version}: its files have the digest {found}, and "
            f"{program.tree} is pinned",
            where=where,
            hint=f"Remove it, or get {program.archive} from GitHub unchanged.",
        )
    content = nix_tree.packed(tree, f"{program.name}-{program.revision}")
    if not kept.is_file() or kept.read_bytes() != content:
        write_whole(kept, content)
    return kept


def _fetch(program: CardProgram, url: str, archive: Path) -> None:
    # The machine's own authorities, not those of a Python package: a company's inspecting proxy is among them.
    context = ssl.create_default_context()
    try:
        with (
            httpx.Client(verify=context, timeout=_TIMEOUT_S, follow_redirects=True) as client,
            client.stream("GET", url) as answer,
            archive.open("wb") as file,
        ):
            answer.raise_for_status()
            for piece in answer.iter_bytes():
                if file.tell() + len(piece) > _MOST_BYTES:
                    raise BoxwrightError(f"an archive of more than {_MOST_BYTES >> 20} MiB came", where=url)
                file.write(piece)
    except (httpx.HTTPError, OSError) as error:
        raise BoxwrightError(
            f"the source of {program.name} {program.version} cannot be fetched: {error}",
            where=url,
            hint=f"Get that archive elsewhere and put it to {kept_source(program)}.gz, or name a mirror in "
            "mirrors.github of the site, or carry it in a bundle: bundle.lock --also burnin.",
        ) from None

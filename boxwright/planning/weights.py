"""Where a fleet's weights come from: every address of every file, a pure function of catalogue and site."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote, urlencode

from boxwright.model.catalogue import Build, HubName, ModelFile
from boxwright.model.fleet import Fleet
from boxwright.model.site import Mirrors, Site
from boxwright.model.weights import WantedBuild, WantedFile, Weights


def wanted_builds(fleet: Fleet) -> tuple[WantedBuild, ...]:
    """The builds that the services of a fleet serve, with the addresses of their files."""
    directory = fleet.profile.stack.models_directory
    return tuple(wanted_build(weights, directory, fleet.site) for weights in fleet.all_weights)


def wanted_build(weights: Weights, directory: str, site: Site) -> WantedBuild:
    """A build that is to lie on the boxes of a site, below this folder."""
    return WantedBuild(
        name=weights.name,
        directory=weights.folder(directory),
        files=tuple(_wanted(weights.build, file, site) for file in weights.build.files),
    )


def _wanted(build: Build, file: ModelFile, site: Site) -> WantedFile:
    if site.bundle:
        address = site.bundle.file(file.sha256)
        return WantedFile(
            name=file.name, path=file.path, bytes=file.bytes, sha256=file.sha256, urls=(address,), python_packages=()
        )
    return WantedFile(
        name=file.name,
        path=file.path,
        bytes=file.bytes,
        sha256=file.sha256,
        urls=tuple(_addresses(build, file, site)),
        python_packages=file.python_packages,
    )


def _addresses(build: Build, file: ModelFile, site: Site) -> Iterator[str]:
    if file.url:
        yield file.url
    for hub in site.models.hubs:
        address = hub_address(build, file, hub, site.mirrors)
        if address:
            yield address


def hub_address(build: Build, file: ModelFile, hub: HubName, mirrors: Mirrors) -> str | None:
    """Where a hub has a file of a build; None where it has not."""
    if hub == "ollama":
        if build.ollama is None:
            return None
        name = build.ollama.partition(":")[0]
        name = name if "/" in name else f"library/{name}"
        return f"{mirrors.ollama.rstrip('/')}/v2/{name}/blobs/sha256:{file.sha256}"
    source = build.huggingface if hub == "huggingface" else build.modelscope
    if source is None:
        return None
    if hub == "huggingface":
        place = f"{source.repository}/resolve/{quote(source.revision or 'main', safe='')}/{quote(file.hub_path)}"
        return f"{mirrors.huggingface.rstrip('/')}/{place}"
    which = urlencode({"Revision": source.revision or "master", "FilePath": file.hub_path})
    return f"{mirrors.modelscope.rstrip('/')}/api/v1/models/{source.repository}/repo?{which}"

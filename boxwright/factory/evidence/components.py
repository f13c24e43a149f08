"""What was found on a box as components of CycloneDX, each with a purl and the digests that are known. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.component import Commit, Component, ComponentType, Pedigree
from packageurl import PackageURL

from boxwright.factory.evidence import licenses
from boxwright.factory.evidence.inventory import (
    ContainerImage,
    DebianPackage,
    Inventory,
    KernelModule,
    ModelBuild,
    Program,
    System,
    UnpackedPackage,
    Wheel,
)
from boxwright.model.catalogue import Build, ModelCatalogue

_SIMULATED = "SIMULATED: an empty shell under the vendor's name, on a twin"
_KERNEL_OF_TWIN = "the controller's: this box is a twin"


def components_of(inventory: Inventory, catalogue: ModelCatalogue) -> Iterator[Component]:
    """Everything that was found, with what lies within as components of components."""
    system = inventory.system
    yield _operating_system(system, twin=inventory.twin)
    yield from (_package(one, system) for one in inventory.packages)
    yield from (_program(one) for one in inventory.programs)
    yield from (_model(one, catalogue) for one in inventory.models)
    yield from (_image(one) for one in inventory.images)
    yield from (_module(one) for one in inventory.modules)


def properties(told: Mapping[str, object]) -> list[Property]:
    """Our own properties, without those that are empty."""
    return [Property(name=f"boxwright:{name}", value=str(value)) for name, value in told.items() if value]


def _hashes(sha256: str) -> list[HashType]:
    return [HashType(alg=HashAlgorithm.SHA_256, content=sha256)] if sha256 else []


def _operating_system(system: System, *, twin: bool) -> Component:
    return Component(
        type=ComponentType.OPERATING_SYSTEM,
        bom_ref=f"system:{system.id}-{system.version}",
        name=system.id,
        version=system.version,
        description=system.title,
        properties=properties({"codename": system.codename, "kernel": _KERNEL_OF_TWIN if twin else system.kernel}),
    )


def _package(one: DebianPackage, system: System) -> Component:
    distribution = f"{system.id}-{system.version}"
    purl = PackageURL("deb", system.id, one.name, one.version, {"arch": one.architecture, "distro": distribution})
    source = "" if (one.source, one.source_version) == (one.name, one.version) else f"{one.source} {one.source_version}"
    return Component(
        type=ComponentType.LIBRARY,
        bom_ref=purl.to_string(),
        name=one.name,
        version=one.version,
        purl=purl,
        hashes=_hashes(one.sha256),
        licenses=licenses.named(one.licenses),
        properties=properties({"source-package": source, "simulated": one.simulated and _SIMULATED}),
    )


def _program(one: Program) -> Component:
    purl = PackageURL("generic", None, one.name, one.version)
    told = {
        "path": one.path,
        "links": " ".join(one.links),
        "simulated": one.simulated and _SIMULATED,
        **{f"build:{name}": _text(value) for name, value in sorted(one.build.items())},
    }
    commit = _commit(one.build)
    return Component(
        type=ComponentType.APPLICATION,
        bom_ref=f"program:{one.path}",
        name=one.name,
        version=one.version,
        purl=purl,
        pedigree=Pedigree(commits=[Commit(uid=commit)]) if commit else None,
        properties=properties(told),
        components=[
            *(_unpacked(package, one.path) for package in one.packages),
            *(_wheel(wheel, one.path) for wheel in one.wheels),
        ],
    )


def _text(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _commit(build: Mapping[str, object]) -> str:
    """The commit of the source that a program was built from, as its build was told."""
    options = build.get("cmake")
    found = re.search(r"_BUILD_COMMIT=([0-9a-f]{7,40})", _text(options)) if options else None
    return str(build.get("commit") or (found[1] if found else ""))


def _unpacked(one: UnpackedPackage, path: str) -> Component:
    purl = PackageURL("deb", "debian", one.name, one.version)
    return Component(
        type=ComponentType.LIBRARY,
        bom_ref=f"{path}#{purl.to_string()}",
        name=one.name,
        version=one.version,
        purl=purl,
        hashes=_hashes(one.sha256),
    )


def _wheel(one: Wheel, path: str) -> Component:
    purl = PackageURL("pypi", None, one.name, one.version)
    return Component(
        type=ComponentType.LIBRARY,
        bom_ref=f"{path}#{purl.to_string()}",
        name=one.name,
        version=one.version,
        purl=purl,
        hashes=_hashes(one.sha256),
        licenses=licenses.of_wheel(one.expression, one.licenses, one.license),
        properties=properties({"record-sha256": one.record_sha256}),
    )


def _model(one: ModelBuild, catalogue: ModelCatalogue) -> Component:
    model_id, _, build_name = one.name.partition("/")
    model = catalogue.find(model_id)
    build = model.build(build_name) if model else None
    return Component(
        type=ComponentType.MACHINE_LEARNING_MODEL,
        bom_ref=f"model:{one.name}",
        name=model_id,
        version=build_name,
        description=model.title if model else None,
        purl=_purl_of_model(model_id, build_name, build),
        licenses=licenses.named([model.license]) if model else (),
        properties=properties({"converted": one.converted and "made on the box out of another build"}),
        components=[
            Component(
                type=ComponentType.FILE,
                bom_ref=f"model:{one.name}/{file.name}",
                name=file.name,
                hashes=_hashes(file.sha256),
                properties=properties({"bytes": file.bytes}),
            )
            for file in one.files
        ],
    )


def _purl_of_model(model_id: str, build_name: str, build: Build | None) -> PackageURL:
    """By the hub that has it, or the Python package that carries it; by our own name where neither does."""
    if build and build.huggingface:
        owner, _, name = build.huggingface.repository.partition("/")
        return PackageURL("huggingface", owner, name, build.huggingface.revision)
    carriers = [package for file in build.files for package in file.python_packages] if build else []
    if len(carriers) == 1:
        return PackageURL("pypi", None, carriers[0].package, carriers[0].version)
    return PackageURL("generic", None, model_id, build_name)


def _image(one: ContainerImage) -> Component:
    known = one.digest.startswith("sha256:")
    digest = one.digest if known else one.id
    name = one.repository if one.repository != "<none>" else one.id.removeprefix("sha256:")[:12]
    qualifiers = {"repository_url": one.repository if known else "", "tag": one.tag if one.tag != "<none>" else ""}
    purl = PackageURL("oci", None, name.rpartition("/")[2], digest, qualifiers)
    return Component(
        type=ComponentType.CONTAINER,
        bom_ref=f"image:{name}@{digest}",
        name=name,
        version=digest,
        purl=purl,
        hashes=_hashes(digest.removeprefix("sha256:")),
        properties=properties({"tag": one.tag, "id": one.id}),
    )


def _module(one: KernelModule) -> Component:
    return Component(
        type=ComponentType.DEVICE_DRIVER,
        bom_ref=f"module:{one.path}",
        name=one.name,
        version=one.version or None,
        purl=PackageURL("generic", None, one.name, one.version or None),
        hashes=_hashes(one.sha256),
        licenses=licenses.named([one.license]),
        properties=properties({"path": one.path}),
    )

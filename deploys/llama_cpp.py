"""The engine llama.cpp: Debian's packages or a build for this box, as closed services on loopback."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pyinfra import host
from pyinfra.operations import files, server

from boxwright.model.debian_packages import COMPILERS as COMPILER_PACKAGES
from boxwright.model.debian_packages import LLAMA_CPP
from deploys.facts.files import UnpackedVersion
from deploys.facts.machine import UsableProcessors
from deploys.operations.builds import COMPILERS, WORK, Program, built_program
from deploys.operations.engines import EngineUnit, question, serving_model, speed, unit_server
from deploys.operations.files import REQUESTS, rendered, request_text, written_file
from deploys.operations.install import debian_root, folders, program
from deploys.operations.models import PROGRAM as FETCHER
from deploys.operations.models import fetcher
from deploys.operations.services import no_other_units
from deploys.operations.shelf import key_of

data = host.data
PACKAGED = "/opt/boxwright/llama-cpp"
BUILT = "/opt/boxwright/llama-cpp-built"
USER = "llama"


def packages_request(destination: str, version_of: str, check: list[str], **packages: Any) -> str:
    """What install-debian-root is to unpack, and from where."""
    return request_text(
        destination=destination,
        mirror=data.llama_cpp_debian_mirror,
        keyring=data.llama_cpp_debian_keyring,
        # Off only for a mirror that is frozen on purpose; signatures are checked all the same.
        check_valid_until=data.llama_cpp_debian_check_valid_until,
        version_of=version_of,
        check=check,
        chroot=True,
        proxy=data.llama_cpp_proxy,
        **packages,
    )


def from_packages() -> None:
    """Have Debian's packages in a root of their own."""
    request = f"{REQUESTS}/llama-cpp.json"
    written_file(
        name="Write what packages llama.cpp needs, and from where",
        content=packages_request(
            PACKAGED,
            "llama.cpp-tools",
            ["usr/bin/llama-server", "--version"],
            **LLAMA_CPP.request,
        ),
        dest=request,
        mode="600",
    )
    debian_root(name="Unpack llama.cpp", destination=PACKAGED, request=request)


def from_source(build: dict[str, Any]) -> str:
    """Have a build for this box; return the folder that it is in."""
    recipe = {name: build[name] for name in ("cmake", "targets", "mounts")}
    recipe |= {"source": build["source"]["sha256"], "compilers": list(COMPILER_PACKAGES.packages)}
    key = key_of(recipe | {"suites": list(COMPILER_PACKAGES.suites)})
    version, supplied = f"{build['version']}-{key}", build["source"]["path"]
    source = (Path(supplied).expanduser(), f"{WORK}/{build['source']['sha256']}.tar") if supplied else None
    compilers, request = f"{REQUESTS}/compilers.json", f"{REQUESTS}/llama-cpp-build.json"
    fetcher()
    program("build-program", "built_program/build_program.py")
    program("install-program", "built_program/install_program.py")
    written_file(
        name="Write what packages the compilers are, and where they come from",
        content=packages_request(COMPILERS, "g++-12", ["usr/bin/cmake", "--version"], **COMPILER_PACKAGES.request),
        dest=compilers,
        mode="600",
    )
    written_file(
        name="Write how llama.cpp is built",
        content=request_text(
            key=key,
            work=WORK,
            source=build["source"] | {"path": source[1] if source else None},
            compilers=f"{COMPILERS}/current",
            mounts=build["mounts"],
            cmake=build["cmake"],
            targets=build["targets"],
            record={"version": build["version"]},
            fetcher=FETCHER,
            python_index=data.llama_cpp_python_index,
            proxy=data.llama_cpp_proxy,
            no_proxy=data.llama_cpp_no_proxy,
        ),
        dest=request,
        mode="600",
    )
    built_program(
        name=f"Install llama.cpp {build['version']}, built for this box",
        program=Program(
            key=key,
            destination=BUILT,
            version=version,
            cpu_flags=tuple(build["cpu_flags"]),
            check=("llama-server", "--version"),
            requests=(compilers, request),
            source=source,
            shelf=Path(data.llama_cpp_builds).expanduser(),
        ),
    )
    return f"{BUILT}/{version}"


def packaged() -> str:
    """The root of the packages. Known once they are unpacked; on a bare box a dry run shows `current`."""
    return f"{PACKAGED}/{host.get_fact(UnpackedVersion, folder=PACKAGED, marker='MANIFEST') or 'current'}"


def words_of(service: dict[str, Any]) -> list[str]:
    """The command line behind the program. The key is in a file that systemd hands to it alone."""
    # One processor stays free: with every one of them taken, generation collapses as soon as anything else runs.
    threads = max(1, min(host.get_fact(UsableProcessors), service["cores"]) - 1)
    place = {"--model": service["model_path"], "--alias": service["model_name"], "--host": "127.0.0.1"}
    place |= {"--port": str(service["port"]), "--threads": str(threads)}
    return [*(word for pair in place.items() for word in pair), *service["arguments"]]


folders()
program("install-debian-root", "debian_root/install_debian_root.py")
built = from_source(data.llama_cpp_build) if data.llama_cpp_build else None
if not built:
    from_packages()
unit_server()
server.user(  # noqa: S604 - `shell` is the account's
    name="Make the user llama",
    user=USER,
    system=True,
    home="/nonexistent",
    create_home=False,
    ensure_home=False,
    shell="/usr/sbin/nologin",
)
no_other_units(
    name="Stop instances of llama.cpp that are wanted no more",
    pattern="llama-server*.service",
    wanted=tuple(f"{service['unit']}.service" for service in data.llama_cpp_services),
)
for service in data.llama_cpp_services:
    unit_name = service["unit"]
    asked = (service["port"], service["model_name"], service["purpose"], data.llama_cpp_api_key)
    settings, unit_path = f"/etc/{unit_name}", f"/etc/systemd/system/{unit_name}.service"
    files.directory(name=f"Make the folder of {unit_name}'s key", path=settings, user="root", group="root", mode="700")
    key = written_file(
        name=f"Write the key of {unit_name}",
        content=f"{data.llama_cpp_api_key}\n",
        dest=f"{settings}/api-key",
        mode="600",
    )
    unit = written_file(
        name=f"Write the unit {unit_name}",
        content=lambda service=service, settings=settings: rendered(
            "llama_cpp/llama-server.service.j2",
            root="" if built else packaged(),
            program=f"{built}/bin/llama-server" if built else "/usr/bin/llama-server",
            user=USER,
            words=words_of(service),
            environment=service["environment"],
            key=f"{settings}/api-key",
            models=service["model_path"].rpartition("/")[0],
            cards=service["cards"],
            numa_policy=service["numa_policy"],
            numa_nodes=service["numa_nodes"],
            placed_anew=service["placed_anew"],
            unit=service["unit"],
            mig=service["mig"],
        ),
        dest=unit_path,
    )
    serving_model(
        name=f"Serve by {unit_name}",
        engine=EngineUnit(
            unit=f"{unit_name}.service",
            serves=service["model_name"],
            url=f"http://127.0.0.1:{service['port']}/health",
            question=question(*asked),
            residency=service["residency"],
            placement=service["numa_placement"],
            speed=speed(*asked, least=service["least_tokens_per_s"]),
            written=(unit_path, f"{settings}/api-key"),
            files=(service["model_path"], f"{built}/BUILD.json" if built else f"{PACKAGED}/current"),
            patience_s=service["patience_s"],
        ),
        after=(key, unit),
    )

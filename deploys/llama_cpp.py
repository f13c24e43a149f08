"""The engine: llama.cpp's server from Debian, in a root of its own, as a closed service on loopback."""

from __future__ import annotations

from pyinfra import host
from pyinfra.operations import files, server

from deploys.facts.files import UnpackedVersion
from deploys.facts.machine import UsableProcessors
from deploys.operations.files import REQUESTS, rendered, request_text, written_file
from deploys.operations.install import debian_root, folders, program
from deploys.operations.services import serving

data = host.data
DESTINATION = "/opt/boxwright/llama-cpp"
REQUEST = f"{REQUESTS}/llama-cpp.json"
KEY = "/etc/llama-server/api-key"
UNIT = "/etc/systemd/system/llama-server.service"

folders()
program("install-debian-root", "debian_root/install_debian_root.py")
written_file(
    name="Write what packages llama.cpp needs, and from where",
    content=request_text(
        destination=DESTINATION,
        mirror=data.llama_cpp_debian_mirror,
        # Off only for a mirror that is frozen on purpose; signatures are checked all the same.
        check_valid_until=data.llama_cpp_debian_check_valid_until,
        suites=["forky", "sid"],
        packages=["llama.cpp-tools"],
        with_dependencies=True,
        provided=["debconf", "wget"],  # for the packages' own set-up, which never runs here
        version_of="llama.cpp-tools",
        check=["usr/bin/llama-server", "--version"],
        chroot=True,
        proxy=data.llama_cpp_proxy,
    ),
    dest=REQUEST,
    mode="600",
)
debian_root(name="Unpack llama.cpp", destination=DESTINATION, request=REQUEST)
server.user(  # noqa: S604 - `shell` is the account's
    name="Make the user llama",
    user="llama",
    system=True,
    home="/nonexistent",
    create_home=False,
    ensure_home=False,
    shell="/usr/sbin/nologin",
)
files.directory(
    name="Make the folder of the engine's key",
    path="/etc/llama-server",
    user="root",
    group="root",
    mode="700",
)
key = written_file(name="Write the engine's key", content=f"{data.llama_cpp_api_key}\n", dest=KEY, mode="600")
unit = written_file(
    name="Write the unit of llama-server",
    content=lambda: rendered(
        "llama_cpp/llama-server.service.j2",
        # Known once the operation before has run; on a bare box a dry run shows `current`.
        root=f"{DESTINATION}/{host.get_fact(UnpackedVersion, folder=DESTINATION, marker='MANIFEST') or 'current'}",
        key=KEY,
        model_path=data.llama_cpp_model_path,
        model_alias=data.llama_cpp_model_alias,
        port=data.llama_cpp_port,
        context_tokens=data.llama_cpp_context_tokens,
        parallel_requests=data.llama_cpp_parallel_requests,
        # One processor stays free: with every one of them taken, generation collapses as soon as anything else runs.
        threads=max(1, min(host.get_fact(UsableProcessors), data.llama_cpp_cores or 4096) - 1),
        numa_policy=data.llama_cpp_numa_policy,
        numa_nodes=data.llama_cpp_numa_nodes,
    ),
    dest=UNIT,
)
serving(
    name="Serve the model",
    unit="llama-server.service",
    url=f"http://127.0.0.1:{data.llama_cpp_port}/health",
    files=(UNIT, KEY, data.llama_cpp_model_path, f"{DESTINATION}/current"),
    after=(key, unit),
    patience_s=600,  # a large model is read from disk before the first answer
)

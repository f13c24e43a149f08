"""The engine Ollama: a pinned archive beside its predecessor, as closed services on loopback, the models in place."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from pyinfra import host
from pyinfra.api.exceptions import DeployError
from pyinfra.operations import files, server

from deploys.facts.files import FileState
from deploys.facts.ollama import HandInstall
from deploys.operations.engines import SERVE_UNIT, EngineUnit, unit_server
from deploys.operations.files import REQUESTS, rendered, request_text, written_file
from deploys.operations.install import folders, program, program_of_modules
from deploys.operations.models import PROGRAM as FETCHER
from deploys.operations.models import fetcher
from deploys.operations.ollama import RUNNER, serving_ollama, unpacked_ollama

data = host.data
USER = "ollama"
DESTINATION = "/opt/boxwright/ollama"
UNITS = "/etc/systemd/system"
METRICS = "/var/lib/prometheus/node-exporter"  # where the node exporter reads what others measured
ARCHIVE = data.ollama_archive
RELEASE = ARCHIVE["version"]
VERSION = f"{RELEASE}-{ARCHIVE['sha256'][:12]}"
PART = f"/var/lib/boxwright/incoming/ollama-{VERSION}.{ARCHIVE['kind']}.part"


def supplied(archive: dict[str, object]) -> str | None:
    """The archive on the controller, if that is where it is: held against its digest before anything is sent."""
    if not archive["path"]:
        return None
    path = Path(str(archive["path"])).expanduser()
    if not path.is_file():
        raise DeployError(f"{path}, which the site names as the archive of Ollama {archive['version']}, is not there")
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != archive["sha256"]:
        raise DeployError(f"{path} has the sha256 {found}, and {archive['sha256']} is wanted. Nothing was sent.")
    return str(path)


strangers = host.get_fact(HandInstall, units=tuple(service["unit"] for service in data.ollama_services))
if strangers:
    raise DeployError(
        f"an Ollama that somebody installed by hand is on this box: {', '.join(strangers)}. Two would mix libraries "
        "and settings. Move what you need of its settings to the profile (engine_settings), then remove it there: "
        f"systemctl disable --now ollama; rm -rf {' '.join(strangers)}; systemctl daemon-reload. "
        "Its models stay in /usr/share/ollama."
    )

folders()
fetcher()
program("install-ollama", "ollama/install_ollama.py")
unit_server()
program_of_modules("run-ollama", "ollama/run_ollama")
server.user(  # noqa: S604 - `shell` is the account's
    name="Make the user ollama",
    user=USER,
    system=True,
    home="/nonexistent",
    create_home=False,
    ensure_home=False,
    shell="/usr/sbin/nologin",
)
written_file(
    name="Write which archive of Ollama is wanted, and from where",
    content=request_text(
        folder=f"{DESTINATION}/{VERSION}",
        release=RELEASE,
        kind=ARCHIVE["kind"],
        sha256=ARCHIVE["sha256"],
        bytes=ARCHIVE["bytes"],
        urls=list(ARCHIVE["urls"]),
        part=PART,
        user=USER,
        fetcher=FETCHER,
        proxy=data.ollama_proxy,
        no_proxy=list(data.ollama_no_proxy),
    ),
    dest=f"{REQUESTS}/ollama-archive.json",
    mode="600",
)
there = host.get_fact(FileState, path=f"{DESTINATION}/{VERSION}/.complete") is not None
unpacked_ollama(
    name=f"Unpack Ollama {RELEASE}",
    folder=f"{DESTINATION}/{VERSION}",
    request=f"{REQUESTS}/ollama-archive.json",
    part=PART,
    archive=None if there else supplied(ARCHIVE),
)
files.directory(
    name="Make the folder of the models", path=data.ollama_models_directory, user="root", group="root", mode="755"
)
instances, written = [], []
for service in data.ollama_services:
    unit, settings = service["unit"], f"/etc/{service['unit']}"
    guard, table = f"{unit}-guard", f"boxwright_{unit.replace('-', '_')}"
    measure = f"{unit}-measure"
    drop_ins, rules = f"{UNITS}/{unit}.service.d", f"{settings}/guard.nft"
    files.directory(name=f"Make the folder of {unit}'s settings", path=settings, user="root", group="root", mode="755")
    files.directory(name=f"Make the folder of {unit}'s drop-in", path=drop_ins, user="root", group="root", mode="755")
    texts = {
        f"{UNITS}/{unit}.service": rendered(
            "ollama/ollama.service.j2",
            unit=unit,
            user=USER,
            table=table,
            program=DESTINATION,
            runner=RUNNER,
            port=service["port"],
            name=service["names"][0],
            purpose=service["purpose"],
            patience_s=service["patience_s"],
            cards=service["cards"],
            mig=service["mig"],
        ),
        f"{drop_ins}/boxwright.conf": rendered(
            "ollama/settings.conf.j2",
            release=RELEASE,
            store=service["store"],
            environment=service["environment"],
            numa_policy=service["numa_policy"],
            numa_nodes=service["numa_nodes"],
            weights=[one["path"] for one in service["weights"]],
        ),
        rules: rendered("engine_guard/guard.nft.j2", engine="Ollama", table=table, port=service["port"]),
        f"{UNITS}/{guard}.service": rendered("engine_guard/guard.service.j2", unit=unit, table=table, rules=rules),
        f"{UNITS}/{measure}.service": rendered(
            "ollama/measure.service.j2",
            unit=unit,
            runner=RUNNER,
            port=service["port"],
            placement=service["placement"],
            metrics=METRICS,
        ),
        f"{UNITS}/{measure}.timer": rendered("ollama/measure.timer.j2", unit=unit),
        f"{settings}/Modelfile": f"{service['modelfile'].strip()}\n",
    }
    titles = (
        *("the unit", "the settings", "the rules", "the unit of the rules"),
        *("the unit of the measurement", "the timer of the measurement", "the Modelfile"),
    )
    written += [
        written_file(name=f"Write {title} of {unit}", content=text, dest=path)
        for title, (path, text) in zip(titles, texts.items(), strict=True)
    ]
    asked = {"model": service["names"][0], "input": "Paris"}
    if service["purpose"] != "embedding":
        asked = {"model": service["names"][0], "prompt": "Paris", "stream": False, "options": {"num_predict": 1}}
    door = f"http://127.0.0.1:{service['port']}/api"
    engine = EngineUnit(  # to other engines, which may want its door or had it before
        unit=f"{unit}.service",
        serves=service["names"][0],
        url=f"{door}/version",
        question={
            "url": f"{door}/{'embed' if service['purpose'] == 'embedding' else 'generate'}",
            "body": asked,
            "key": None,
        },
        written=tuple(texts),
        files=(),
        patience_s=service["patience_s"],
        guards=(f"{guard}.service", f"{measure}.timer"),
        traces=(f"{METRICS}/boxwright_{unit}.prom",),
    )
    instances.append(
        {
            "unit": unit,
            "guard": guard,
            "table": table,
            "measure": measure,
            "measured": f"{METRICS}/boxwright_{unit}.prom",
            "port": service["port"],
            "store": service["store"],
            "record": f"/var/lib/boxwright/ollama/{unit}.json",
            "modelfile": f"{settings}/Modelfile",
            "names": list(service["names"]),
            "weights": [dict(one) for one in service["weights"]],
            "purpose": service["purpose"],
            "placement": service["placement"],
            "numa_placement": service["numa_placement"],
            "least_tokens_per_s": service["least_tokens_per_s"],
            "patience_s": service["patience_s"],
            "written": list(texts),
            # With them, a run that was killed behind writing one of them is seen by the next.
            "digest": hashlib.sha256("\0".join(texts.values()).encode()).hexdigest(),
            "files": [f"{UNITS}/{unit}.service", f"{drop_ins}/boxwright.conf", f"{DESTINATION}/current"],
            "proof": json.loads(engine.request()),
        }
    )
request = {
    "destination": DESTINATION,
    "version": VERSION,
    "release": RELEASE,
    "user": USER,
    "doors": list(SERVE_UNIT),
    "instances": instances,
}
written_file(
    name="Write which Ollama is to serve",
    content=request_text(**request),
    dest=f"{REQUESTS}/ollama.json",
    mode="600",
)
serving_ollama(name=f"Serve by Ollama {RELEASE}", request=request, path=f"{REQUESTS}/ollama.json", after=tuple(written))

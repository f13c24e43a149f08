"""The chat page: Open WebUI in an environment of its own, closed, without any call to the outside."""

from __future__ import annotations

from pathlib import Path

from pyinfra import host
from pyinfra.api.exceptions import DeployError
from pyinfra.operations import files, server

from deploys.operations.files import PROGRAMS, REQUESTS, program_text, rendered, request_text, written_file
from deploys.operations.install import folders, program_of_modules
from deploys.operations.open_webui import page_environment, switched_release
from deploys.operations.python import python_3_11, python_packages
from deploys.operations.services import administrator, serving

data = host.data
USER = "open-webui"
STATE = "/var/lib/open-webui"
BACKUPS = "/var/lib/boxwright/open-webui"
SETTINGS = "/etc/open-webui"
DESTINATION = "/opt/boxwright/open-webui"
LISTS = Path(__file__).resolve().parent / "open_webui"
UNIT = "/etc/systemd/system/open-webui.service"
ADMIN_UNIT = "/etc/systemd/system/open-webui-administrator.service"
LAUNCHER = f"{PROGRAMS}/open-webui"
REQUEST = f"{REQUESTS}/open-webui-release.json"
URL = f"http://127.0.0.1:{data.open_webui_port}/ready"
PATIENCE_S = 300  # a new release brings the database to its schema before it answers
RELEASE = f"{data.open_webui_flavour}-{data.open_webui_version}"

pinned = LISTS / f"requirements-{RELEASE}.lock"
if not pinned.exists():
    known = ", ".join(sorted(path.stem.removeprefix("requirements-") for path in LISTS.glob("*.lock")))
    raise DeployError(f"no locked list of packages for Open WebUI {RELEASE}; there are: {known}")
keys = [connection["api_key"] or "" for connection in data.open_webui_connections]
if any(";" in key for key in keys):
    raise DeployError("Open WebUI parts the keys of its engines by semicolons, and one of them holds one")

folders()
python_3_11(
    mirror=data.open_webui_debian_mirror,
    keyring=data.open_webui_debian_keyring,
    check_valid_until=data.open_webui_debian_check_valid_until,
    proxy=data.open_webui_proxy,
)
VERSION = python_packages(
    title=f"Open WebUI {RELEASE}",
    destination=DESTINATION,
    release=RELEASE,
    requirements=pinned.read_text(),
    index=data.open_webui_python_index,
    wheels=data.open_webui_wheels,
    proxy=data.open_webui_proxy,
    link="installed",  # `current` is the one that runs
)
# Beside the packages, so that a release that comes back has the settings that it had.
ENVIRONMENT = f"{DESTINATION}/{VERSION}/etc/environment"
server.user(  # noqa: S604 - `shell` is the account's
    name="Make the user open-webui",
    user=USER,
    system=True,
    home="/nonexistent",
    create_home=False,
    ensure_home=False,
    shell="/usr/sbin/nologin",
)
for title, path in (("settings", f"{DESTINATION}/{VERSION}/etc"), ("secrets", SETTINGS), ("saved databases", BACKUPS)):
    files.directory(name=f"Make the folder of Open WebUI's {title}", path=path, user="root", group="root", mode="700")
launcher = written_file(
    name="Write the launcher of Open WebUI",
    content=program_text("open_webui/open_webui_launcher.py"),
    dest=LAUNCHER,
    mode="755",
)
program_of_modules("switch-open-webui", "open_webui/switch_release")
settings = [
    written_file(
        name="Write the settings of Open WebUI",
        content=rendered(
            "open_webui/environment.j2",
            variables=page_environment(
                state=STATE,
                flavour=data.open_webui_flavour,
                public_url=data.open_webui_public_url,
                admin_email=data.open_webui_admin_email,
                engine_urls=[connection["url"] for connection in data.open_webui_connections],
                settings=data.open_webui_settings,
            ),
        ),
        dest=ENVIRONMENT,
        mode="600",
    ),
    *(
        written_file(name=f"Write Open WebUI's {title}", content=f"{value}\n", dest=f"{SETTINGS}/{file}", mode="600")
        for title, file, value in (
            ("secret key", "secret-key", data.open_webui_secret_key),
            ("keys to the engines", "engine-keys", ";".join(keys)),
            ("key to what makes vectors", "embedding-key", data.open_webui_embedding_key or ""),
        )
    ),
]
written_file(
    name="Write the administrator's first password",
    content=f"{data.open_webui_admin_password}\n",
    dest=f"{SETTINGS}/admin-password",
    mode="600",
)
units = [
    written_file(
        name=f"Write the unit {path.rpartition('/')[2]}",
        content=rendered(
            "open_webui/open-webui.service.j2",
            description=description,
            one_shot=one_shot,
            engine_units=data.open_webui_engine_units,
            command=f"{DESTINATION}/current/bin/python {LAUNCHER} {command}",
            environment=f"{DESTINATION}/current/etc/environment",
            credentials=credentials,
            user=USER,
            state=STATE,
            settings=SETTINGS,
        ),
        dest=path,
    )
    for path, description, one_shot, command, credentials in (
        (ADMIN_UNIT, "The first administrator of Open WebUI", True, "create-admin", ["admin-password"]),
        (UNIT, "Open WebUI, the chat page", False, f"serve {data.open_webui_port}", []),
    )
]
switch = {
    "destination": DESTINATION,
    "version": VERSION,
    "unit": "open-webui.service",
    "url": URL,
    "patience_s": PATIENCE_S,
    "state": STATE,
    "user": USER,
    "backups": BACKUPS,
    "keep": data.open_webui_backups,
}
written_file(
    name="Write which release of Open WebUI is to run", content=request_text(**switch), dest=REQUEST, mode="600"
)
release = switched_release(
    name=f"Let Open WebUI {RELEASE} run, its database saved before", request=switch, path=REQUEST
)
administrator(
    name="Make the administrator's account",
    unit="open-webui-administrator.service",
    user=USER,
    database=f"{STATE}/webui.db",
    email=data.open_webui_admin_email,
)
serving(
    name="Serve the chat page",
    unit="open-webui.service",
    url=URL,
    files=(
        UNIT,
        LAUNCHER,
        ENVIRONMENT,
        f"{SETTINGS}/secret-key",
        f"{SETTINGS}/engine-keys",
        f"{SETTINGS}/embedding-key",
        f"{DESTINATION}/current",
        f"{STATE}/changed-on-the-page",  # by its launcher: what was changed there holds until the page starts again
    ),
    after=(launcher, *settings, units[-1], release),
    patience_s=PATIENCE_S,
)

"""The chat page: Open WebUI in an environment of its own, closed, without any call to the outside."""

from __future__ import annotations

from pathlib import Path

from pyinfra import host
from pyinfra.api.exceptions import DeployError
from pyinfra.operations import files, server

from deploys.operations.files import PROGRAMS, program_text, rendered, written_file
from deploys.operations.install import folders
from deploys.operations.python import python_3_11, python_packages
from deploys.operations.services import administrator, serving

data = host.data
if data.open_webui_flavour != "slim":
    raise DeployError("Open WebUI's flavour 'full' has no locked list of packages yet; choose 'slim'")

RELEASE = "0.12.4"
USER = "open-webui"
STATE = "/var/lib/open-webui"
SETTINGS = "/etc/open-webui"
DESTINATION = "/opt/boxwright/open-webui"
LIST = (Path(__file__).resolve().parent / "open_webui/requirements-slim.lock").read_text()
UNIT = "/etc/systemd/system/open-webui.service"
ADMIN_UNIT = "/etc/systemd/system/open-webui-administrator.service"
LAUNCHER = f"{PROGRAMS}/open-webui"

folders()
python_3_11(
    mirror=data.open_webui_debian_mirror,
    check_valid_until=data.open_webui_debian_check_valid_until,
    proxy=data.open_webui_proxy,
)
python_packages(
    title=f"Open WebUI {RELEASE}",
    destination=DESTINATION,
    release=RELEASE,
    requirements=LIST,
    index=data.open_webui_python_index,
    proxy=data.open_webui_proxy,
)
server.user(  # noqa: S604 - `shell` is the account's
    name="Make the user open-webui",
    user=USER,
    system=True,
    home="/nonexistent",
    create_home=False,
    ensure_home=False,
    shell="/usr/sbin/nologin",
)
files.directory(name="Make the folder of Open WebUI's settings", path=SETTINGS, user="root", group="root", mode="700")
launcher = written_file(
    name="Write the launcher of Open WebUI",
    content=program_text("open_webui/open_webui_launcher.py"),
    dest=LAUNCHER,
    mode="755",
)
settings = [
    written_file(
        name="Write the settings of Open WebUI",
        content=rendered(
            "open_webui/environment.j2",
            state=STATE,
            engine_url=data.open_webui_engine_url,
            public_url=data.open_webui_public_url,
            admin_email=data.open_webui_admin_email,
        ),
        dest=f"{SETTINGS}/environment",
        mode="600",
    ),
    *(
        written_file(name=f"Write Open WebUI's {title}", content=f"{value}\n", dest=f"{SETTINGS}/{file}", mode="600")
        for title, file, value in (
            ("secret key", "secret-key", data.open_webui_secret_key),
            ("key to the engine", "engine-key", data.open_webui_engine_key),
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
            engine_unit=data.open_webui_engine_unit,
            command=f"{DESTINATION}/current/bin/python {LAUNCHER} {command}",
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
    url=f"http://127.0.0.1:{data.open_webui_port}/health",
    files=(
        UNIT,
        LAUNCHER,
        f"{SETTINGS}/environment",
        f"{SETTINGS}/secret-key",
        f"{SETTINGS}/engine-key",
        f"{DESTINATION}/current",
    ),
    after=(launcher, *settings, units[-1]),
    patience_s=180,
)

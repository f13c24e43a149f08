#!/usr/bin/python3
"""Start Open WebUI with its secrets taken from systemd credentials.

Usage: open-webui serve PORT | open-webui create-admin

Open WebUI reads secrets from its environment only. They are put there by the process itself, after it started, so that
neither the unit nor `/proc/PID/environ` nor `systemctl show` has them.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

CHANGED = "changed-on-the-page"  # among the data: settings were changed there since the files were read
SERVING_SECRETS = {
    "secret-key": "WEBUI_SECRET_KEY",
    "engine-keys": "OPENAI_API_KEYS",
    "embedding-key": "RAG_OPENAI_API_KEY",
}


def _credential(name: str) -> str:
    return (Path(os.environ["CREDENTIALS_DIRECTORY"]) / name).read_text().strip()


def serve(port: int) -> None:
    """Serve the chat page on loopback."""
    import uvicorn  # noqa: PLC0415 - only this command needs it
    from open_webui.main import app  # noqa: PLC0415 - reads the environment when imported

    _note_changes(app)
    # Only the gateway on this machine can connect, so its word on the client's address is taken.
    uvicorn.run(app, host="127.0.0.1", port=port, forwarded_allow_ips="127.0.0.1", server_header=False)


def _note_changes(app: Any) -> None:
    """Leave a mark when somebody changes settings on the page, so that the next run of the deploy starts it anew.

    Such a change is kept in memory and ends with the process; until then it would hold against the files.
    """
    from open_webui.models.config import Config  # noqa: PLC0415

    keep = Config.upsert

    async def upsert(updates: dict[str, Any], *, db: Any = None) -> None:
        await keep(updates, db=db)
        if getattr(app.state, "startup_complete", False):  # before, it is Open WebUI itself
            (Path(os.environ["DATA_DIR"]) / CHANGED).touch()

    Config.upsert = staticmethod(upsert)


async def create_admin(email: str, password: str) -> None:
    """Make the first administrator, by Open WebUI's own code; leave an account of that address as it is."""
    import open_webui.config  # noqa: F401, PLC0415 - brings the database to the present schema
    from open_webui.models.auths import Auths  # noqa: PLC0415
    from open_webui.models.users import Users  # noqa: PLC0415
    from open_webui.utils.auth import get_password_hash  # noqa: PLC0415

    if await Users.get_user_by_email(email) is None:
        hashed = await get_password_hash(password)
        if not await Auths.insert_new_auth(email=email, password=hashed, name="Administrator", role="admin"):
            sys.exit("open-webui: the administrator could not be created")


def main(arguments: list[str]) -> None:
    """Run one command."""
    os.environ["FROM_INIT_PY"] = "true"  # the package's own mark for "installed from a wheel": its page lies inside
    for name, variable in SERVING_SECRETS.items():
        os.environ[variable] = _credential(name)
    if arguments[0] == "serve":
        serve(int(arguments[1]))
    else:
        asyncio.run(create_admin(os.environ["BOXWRIGHT_ADMIN_EMAIL"].lower(), _credential("admin-password")))


if __name__ == "__main__":
    main(sys.argv[1:])

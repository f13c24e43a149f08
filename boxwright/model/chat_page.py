"""The chat page: which Open WebUI, who may enter, how documents are searched, what it asks of the engine by itself."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from boxwright.model.base import Frozen, Port

SignUp = Literal["closed", "pending", "open"]
SideRequests = Literal["none", "titles", "all"]

NO_EMBEDDING = "none"
_USUAL_EMBEDDING = "all-minilm-l6-v2"  # small enough for any processor, and every source has it


class ChatPage(Frozen):
    """What a profile says of the page that people chat on."""

    chat_page: Literal["open_webui", "none"] = "open_webui"
    chat_page_port: Port = 8080  # on loopback
    open_webui_flavour: Literal["full", "slim"] = "full"  # slim: no search in documents, no office documents, no speech
    open_webui_version: str | None = None  # None: the one that Boxwright was tested with
    open_webui_sign_up: SignUp = "closed"  # pending: who signs up waits for the administrator; open: enters at once
    open_webui_embedding: str | None = None  # model that searches documents, or none; None: a small one, where full
    open_webui_side_requests: SideRequests | None = None  # None: all where the engine takes many requests on cards
    open_webui_settings: dict[str, bool | int | float | str] = {}  # by Open WebUI's own names
    open_webui_backups: Annotated[int, Field(ge=1, le=50)] = 5  # of the database, from before upgrades, that are kept

    @property
    def embedding(self) -> str | None:
        """The model of the catalogue that documents are searched by; None where they are not searched."""
        if self.chat_page == "none":
            return None
        usual = _USUAL_EMBEDDING if self.open_webui_flavour == "full" else NO_EMBEDDING
        chosen = self.open_webui_embedding or usual
        return None if chosen == NO_EMBEDDING else chosen

    @model_validator(mode="after")
    def _slim_searches_nothing(self) -> ChatPage:
        if self.open_webui_flavour == "slim" and self.embedding:
            raise ValueError(
                "open_webui_embedding: the slim Open WebUI has no store of vectors and searches no documents; set "
                "open_webui_flavour: full, or leave it out"
            )
        return self

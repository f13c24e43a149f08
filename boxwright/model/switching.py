"""Another model than the profile's on the boxes of a site: what `./invoke models.switch` keeps."""

from __future__ import annotations

from boxwright.errors import BadInputError
from boxwright.model.base import Frozen, Identifier
from boxwright.model.profile import Profile
from boxwright.model.stack import EngineName, Stack


class Served(Frozen):
    """A model for the main service of a stack, in the place of the profile's."""

    model: str
    build: Identifier | None = None  # None: the preferred one of a format that the engine reads
    engine: EngineName | None = None  # None: the profile's


class Switched(Served):
    """The same, as it was chosen by somebody for boxes that run."""

    by: str
    at: str  # when, in UTC


class SwitchedSite(Frozen):
    """What the boxes of a site serve instead, by the name of their profile."""

    profiles: dict[Identifier, Switched] = {}


def serving(profile: Profile, served: Served) -> Profile:
    """The profile with another model in its main service. A pure function.

    Another engine loses what is said in the terms of the one before: its version, its settings, its least speed.

    Raises:
        BadInputError: The stack cannot be so.
    """
    engine = served.engine or profile.stack.engine
    news: dict[str, object] = {"model": served.model, "build": served.build, "engine": engine}
    if engine != profile.stack.engine:
        news |= {"engine_version": None, "engine_settings": {}, "least_tokens_per_s": None}
    try:
        said = {name: value for name, value in profile.stack if name in profile.stack.model_fields_set}
        stack = Stack.model_validate(said | news)  # what is left open stays so, for sizing to choose
        return Profile.model_validate(dict(profile) | {"stack": stack})
    except ValueError as error:
        raise BadInputError(str(error), where=f"profile {profile.name}, stack") from None

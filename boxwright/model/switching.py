"""Another model than the profile's on the boxes of a site: what `./invoke models.switch` keeps."""

from __future__ import annotations

from collections.abc import Mapping

from boxwright.errors import BadInputError, did_you_mean
from boxwright.model.base import Frozen, Identifier
from boxwright.model.profile import Profile
from boxwright.model.stack import EngineName, FurtherService, Service, Stack

MAIN = ""  # the name of the main service, among those of the further ones


class Served(Frozen):
    """A model for a service of a stack, in the place of the profile's."""

    model: str
    build: Identifier | None = None  # None: the preferred one of a format that the engine reads
    engine: EngineName | None = None  # None: the profile's


class Switched(Served):
    """The same, as it was chosen by somebody for boxes that run."""

    by: str
    at: str  # when, in UTC


class SwitchedSite(Frozen):
    """What the boxes of a site serve instead, by the name of their profile."""

    profiles: dict[Identifier, Switched] = {}  # the main service
    further: dict[Identifier, dict[str, Switched]] = {}  # those beside it, by their names

    def of(self, profile: str) -> dict[str, Switched]:
        """What the boxes of a profile serve instead, by the names of services."""
        main = {MAIN: self.profiles[profile]} if profile in self.profiles else {}
        return main | self.further.get(profile, {})


def service_of(profile: Profile, name: str) -> Service:
    """A service of a profile by its name.

    Raises:
        BadInputError: There is none of that name.
    """
    if name == MAIN:
        return profile.stack
    names = [one.name for one in profile.stack.further]
    if name not in names:
        raise BadInputError(
            f"there is no service '{name}' beside the main one.{did_you_mean(name, names)}",
            where=f"profile {profile.name}, stack.further",
            hint=f"There are: {', '.join(names)}." if names else "The main service is meant without a name.",
        )
    return profile.stack.further[names.index(name)]


def serving(profile: Profile, served: Mapping[str, Served]) -> Profile:
    """The profile with other models in some of its services. A pure function.

    Another engine loses what is said in the terms of the one before: its version, its settings, its least speed.

    Args:
        profile: The profile.
        served: By the names of services.

    Raises:
        BadInputError: The stack cannot be so, or has no such service.
    """
    for name in served:
        service_of(profile, name)
    stack = profile.stack
    try:
        further = tuple(
            FurtherService.model_validate(_said(one) | _news(one, served[one.name])) if one.name in served else one
            for one in stack.further
        )
        main = _news(stack, served[MAIN]) if MAIN in served else {}
        changed = Stack.model_validate(_said(stack) | main | {"further": further})
        return Profile.model_validate(dict(profile) | {"stack": changed})
    except ValueError as error:
        raise BadInputError(str(error), where=f"profile {profile.name}, stack") from None


def _said(service: Service) -> dict[str, object]:
    """What the profile says of a service; what it leaves open stays so, for sizing to choose."""
    return {name: value for name, value in service if name in service.model_fields_set}


def _news(service: Service, served: Served) -> dict[str, object]:
    engine = served.engine or service.engine
    news: dict[str, object] = {"model": served.model, "build": served.build, "engine": engine}
    if engine != service.engine:
        news |= {"engine_version": None, "engine_settings": {}, "engine_image": None, "least_tokens_per_s": None}
    return news

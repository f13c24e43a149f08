"""Gives services the container images that a site names. Pure."""

from __future__ import annotations

from boxwright.errors import BadInputError
from boxwright.model.profile import Profile
from boxwright.model.site import EngineImage, Site
from boxwright.model.stack import Service
from boxwright.model.versions import release_key
from boxwright.model.vllm_container import VENDOR_CONTAINERS


def with_images(profile: Profile, site: Site, place: str = "") -> Profile:
    """The profile whose services have the site's images, where it names none itself.

    Args:
        profile: What is wanted.
        site: What names images.
        place: The site's file, for messages; without it, the site's name.

    Raises:
        BadInputError: An engine runs in a container whose image neither of them names. Twins need none: nothing of it
            is installed there.
    """
    services = [_with_image(profile, site, one, place or f"site {site.name}") for one in profile.stack.services]
    stack = services[0].model_copy(update={"further": tuple(services[1:])})
    return profile.model_copy(update={"stack": stack})


def _with_image(profile: Profile, site: Site, service: Service, place: str) -> Service:
    if service.engine_image or not service.contained:
        return service
    offered = [one for one in site.artefacts.images if one.engine == service.engine]
    fitting = [one for one in offered if service.engine_version in (None, one.version)]
    if fitting:
        newest = max(fitting, key=lambda one: release_key(one.version))
        return service.model_copy(update={"engine_image": newest.image, "engine_version": newest.version})
    container = VENDOR_CONTAINERS.get(service.engine)
    if container is None or site.twin is not None:  # TensorRT-LLM has images that are known
        return service
    raise BadInputError(
        _missing(profile, service, offered),
        where=f"{place}, artefacts.images",
        hint=(
            f"Name one there: {{engine: {service.engine}, version: RELEASE, image: NAME@sha256:DIGEST}}, of "
            f"{container.image}. "
            "`docker buildx imagetools inspect NAME:TAG` tells the digest; Boxwright has none that somebody verified."
        ),
    )


def _missing(profile: Profile, service: Service, offered: list[EngineImage]) -> str:
    if offered:
        has = ", ".join(one.version for one in offered)
        return f"{profile.name} wants {service.engine} {service.engine_version}, and the site has an image of {has}"
    return f"{profile.name} serves by {service.engine}, a container, and no image of it is named"

"""Gives services the container images that a site names. Pure."""

from __future__ import annotations

from boxwright.errors import BadInputError
from boxwright.model.profile import Profile
from boxwright.model.site import Site
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
        BadInputError: The profile wants a release of which the site names no image, while it names another's. Where it
            names none at all, the machine alone is made (`Fleet.without_stack`).
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
    if not offered or service.engine not in VENDOR_CONTAINERS:  # TensorRT-LLM has images that are known
        return service
    has = ", ".join(one.version for one in offered)
    raise BadInputError(
        f"{profile.name} wants {service.engine} {service.engine_version}, and the site has an image of {has}",
        where=f"{place}, artefacts.images",
        hint=(
            f"Name one there: {{engine: {service.engine}, version: {service.engine_version}, "
            f"image: NAME@sha256:DIGEST}}, of {VENDOR_CONTAINERS[service.engine].image}; or take one that it has."
        ),
    )

"""Licences as packages tell them, in the form of CycloneDX. Nothing is guessed: names that SPDX lacks stay names."""

from __future__ import annotations

from collections.abc import Iterable

from cyclonedx.contrib.license.exceptions import InvalidSpdxLicenseException
from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model.license import License, LicenseAcknowledgement

_LONGEST_NAME = 100  # characters; some put the whole text where a name should be
_FACTORY = LicenseFactory()


def named(names: Iterable[str]) -> list[License]:
    """Licences that each apply to a part."""
    found = {name.strip()[:_LONGEST_NAME] for name in names if name.strip()}
    return [_one(name) for name in sorted(found)]


def of_wheel(expression: str, classifiers: Iterable[str], text: str) -> list[License]:
    """The licence of a wheel, from the most exact of the three places in which it may say so."""
    if expression:
        return [_FACTORY.make_from_string(expression, license_acknowledgement=LicenseAcknowledgement.DECLARED)]
    if 0 < len(text) <= _LONGEST_NAME:
        return [_FACTORY.make_from_string(text, license_acknowledgement=LicenseAcknowledgement.DECLARED)]
    return named(classifiers)


def _one(name: str) -> License:
    try:
        return _FACTORY.make_with_id(name, acknowledgement=LicenseAcknowledgement.DECLARED)
    except InvalidSpdxLicenseException:
        return _FACTORY.make_with_name(name, acknowledgement=LicenseAcknowledgement.DECLARED)

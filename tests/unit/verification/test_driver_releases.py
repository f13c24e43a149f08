"""The driver's packages, among others that a box holds."""

from __future__ import annotations

from boxwright.verification.drivers import loose, of_driver, releases


def package(name: str, version: str, *, held: bool = True) -> dict[str, object]:
    return {"name": name, "version": version, "held": held}


def test_what_is_held_beside_the_driver_is_none_of_its_releases() -> None:
    found = of_driver(
        [
            package("nvidia-kernel-open-dkms", "580.95.05-1"),
            package("libcuda1", "580.95.05-1", held=False),
            package("nvidia-container-toolkit", "1.18.0-1"),
            package("libnvidia-container1", "1.18.0-1"),
            package("docker-ce", "5:28.5.1-1~debian.12~bookworm"),
            package("cuda-toolkit-13-0", "13.0.2-1"),
        ]
    )
    assert sorted(found) == ["libcuda1", "nvidia-kernel-open-dkms"]
    assert releases(found.values()) == ["580.95.05"]
    assert loose(found.values()) == ["libcuda1"]

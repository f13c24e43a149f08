"""Hardware twins: throw-away hosts on this machine that look like the machine of a profile.

Names are loaded when they are first used: the supervisor of a twin lives in this package, too, starts once
per twin, and needs nothing but the standard library.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from boxwright.lab.lab import Lab
    from boxwright.lab.spec import RunningTwin, TwinSpec, TwinStatus

__all__ = ["Lab", "RunningTwin", "TwinSpec", "TwinStatus"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from boxwright.lab import lab, spec  # noqa: PLC0415

    return getattr(lab if name == "Lab" else spec, name)

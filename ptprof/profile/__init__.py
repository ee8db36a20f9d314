"""What a query costs on what is deployed: latency, throughput, memory and energy of exported models.

Nothing heavy is loaded before it is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ptprof.profile.measuring import profile as profile

__all__ = ["profile"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from ptprof.profile import measuring

    return getattr(measuring, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

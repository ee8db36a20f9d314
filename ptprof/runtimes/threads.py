"""How torch's threads wait for each other on the CPU."""

from __future__ import annotations

from collections.abc import MutableMapping

SPINS = "5000"
CHOICES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")


def spin_briefly(environ: MutableMapping[str, str]) -> None:
    """Let waiting threads sleep soon, unless the user chose otherwise; set it before torch is loaded.

    By libgomp's own 300,000 spins a thread burns its turn on a core that the other thread needs: on two
    cores that others use too, a step of a small FNO takes ten times as long and as much CPU time, and the
    modelled energy counts the waiting. On free cores 5,000 is as fast.
    """
    if not any(name in environ for name in CHOICES):
        environ["GOMP_SPINCOUNT"] = SPINS

"""The simulated sensors, and scripts over the fake driver in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest


@pytest.fixture(scope="session")
def kit(simulated: ModuleType) -> SimpleNamespace:
    """What tests of sensors are made with."""
    return SimpleNamespace(
        Clock=simulated.VirtualClock,
        Counter=simulated.SimulatedSensor,
        constant=simulated.constant,
        square=simulated.square,
        ramp=simulated.ramp,
        busy_then_idle=simulated.busy_then_idle,
    )


@pytest.fixture
def run_fake(fake_nvidia: Path) -> Callable[..., Any]:
    """Run a script over the fake driver, in a process of its own; give what it printed as JSON."""

    def run(script: str, *arguments: object, **settings: object) -> Any:
        environ = {k: v for k, v in os.environ.items() if not k.startswith(("CUDA_", "FAKE_"))}
        environ |= {"LD_LIBRARY_PATH": str(fake_nvidia), **{k: str(v) for k, v in settings.items()}}
        command = [sys.executable, "-W", "error", "-c", script, *map(str, arguments)]
        done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run

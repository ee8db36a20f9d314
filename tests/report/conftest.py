"""A study of a few models whose answer changes with the number of queries, and a browser for its page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ptprof.records import Accuracy, EnergyBreakdown, Measurement, RunRecord, Scores, Window
from ptprof.study import Study, write_record

HOSTILE = """<img src=x onerror=alert(1)> "quoted" & 'single' </script><script>alert(2)</script>"""

#: Model, joules of training and of a query, and the VRMSE at the end of its rollout.
MODELS: tuple[tuple[str, float, float, float], ...] = (
    ("unet", 900.0, 0.050, 0.40),
    ("fno", 500.0, 0.062, 0.20),
    ("tfno", 510.0, 0.061, 0.25),
    (HOSTILE, 600.0, 0.055, 0.60),
)


def _rollout(final: float) -> tuple[Scores, ...]:
    """Errors that grow to ``final`` in five steps."""
    return tuple(
        Scores(pearson_r={"tracer": 1 - final * i / 10}, vrmse={"tracer": final * i / 5}) for i in range(1, 6)
    )


@pytest.fixture
def study(
    tmp_path: Path,
    make_run: Callable[..., RunRecord],
    make_energy: Callable[..., Any],
    make_measurement: Callable[..., Measurement],
) -> Study:
    """Four models of one recipe on one machine, one of them trained on another; measured on two runtimes."""
    study = Study(tmp_path / "study")

    def cpu(joules: float, half: float = 0.0, gain: str = "rapl-0") -> EnergyBreakdown:
        both = (half**2 + (0.05 * joules) ** 2) ** 0.5
        energy = make_energy(joules, half=both, systematic=0.05, gain_id=gain, sensor="RAPL")
        return EnergyBreakdown(cpu=energy, missing={"gpu": "no GPU"})

    for number, (model, training, query, error) in enumerate(MODELS):
        gain = "rapl-1" if model == "unet" else "rapl-0"
        accuracy = Accuracy(one_step=_rollout(0.1)[0], rollout=_rollout(error))
        run = make_run(model, cpu(training, half=4.0, gain=gain), run=f"run{number}", accuracy=accuracy)
        write_record(study.run_folder(run.run) / "run.json", run)
        for scenario, steps in (("one-step", 1), ("rollout", 5)):
            for slower, runtime in enumerate(("onnxruntime", "eager")):
                joules = query * steps * (1 + slower)
                windows = tuple(
                    Window(
                        start_s=float(i),
                        duration_s=1.0,
                        calls=100,
                        latencies_s=(0.01,) * 3,
                        energy=cpu(100 * joules * (1 + 0.004 * (i - 2))),
                    )
                    for i in range(5)
                )
                study.add_measurement(
                    make_measurement(
                        model,
                        cpu(joules, half=0.001 * joules),
                        run=run.run,
                        runtime=runtime,
                        scenario=scenario,
                        steps=steps,
                        windows=windows,
                    )
                )
    return study

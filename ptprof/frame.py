"""A study as a table: a row for each measurement, with the run that it was made of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ptprof.errors import StudyError, UsageError
from ptprof.records import (
    COMPONENTS,
    EnergyBreakdown,
    EstimateRecord,
    Interval,
    Measurement,
    ModelRecord,
    PinnPoint,
    RunRecord,
    Scores,
)
from ptprof.study import R, Study

if TYPE_CHECKING:
    import pandas

SCORES: tuple[Literal["pearson_r", "vrmse"], ...] = ("pearson_r", "vrmse")


class Loaded(Study):
    """A study read once: what asks for its records again gets those that were read; and all as one table.

    What is written meanwhile is not seen.
    """

    def __init__(self, root: Path | str) -> None:
        super().__init__(root)
        self._read: dict[tuple[str, type[Any]], list[Any]] = {}

    def sweep(self) -> list[PinnPoint]:
        """The trainings of the PINNs' sweep."""
        return self._records("burgers/*.json", PinnPoint)

    def _records(self, pattern: str, kind: type[R], keep: Callable[[Path], bool] = lambda _: True) -> list[R]:
        key = (pattern, kind)
        if key not in self._read:
            self._read[key] = super()._records(pattern, kind, keep)
        return list(self._read[key])

    def rows(self) -> list[dict[str, Any]]:
        """A row for each measurement, oldest first, joined with its run; docs/report.md lists the columns.

        What is not known is None, never a zero. Of a measurement whose run is not here, what is the run's is
        None.
        """
        trained = {record.run: _of_run(record) for record in (*self.estimates(), *self.runs())}
        unknown = dict.fromkeys(_RUN_COLUMNS)
        return [_of_measurement(m) | trained.get(m.run, unknown) for m in self.measurements()]

    def to_frame(self) -> pandas.DataFrame:
        """The rows as a DataFrame.

        Raises
        ------
        UsageError : pandas is not installed
        """
        try:
            import pandas
        except ModuleNotFoundError:
            raise UsageError("a DataFrame needs pandas: pip install pandas") from None
        return pandas.DataFrame(self.rows())


def load(folder: Path | str = "study") -> Loaded:
    """Read a study; StudyError where the folder is not there."""
    if not Path(folder).is_dir():
        raise StudyError(f"{folder} is not a study folder")
    return Loaded(folder)


def _of_measurement(m: Measurement) -> dict[str, Any]:
    return {
        "run": m.run,
        "model": m.model,
        "runtime": m.runtime,
        "provider": m.provider,
        "device": m.device,
        "scenario": m.scenario,
        "steps": m.steps,
        "batch": m.batch,
        "precision": m.precision,
        "variant": m.variant,
        "nfe": m.nfe,
        "threads": m.threads,
        "protocol": m.protocol,
        "grid_x": None if m.grid is None else m.grid[0],
        "grid_y": None if m.grid is None else m.grid[1],
        **_interval("latency_s", m.latency_s),
        **_interval("throughput_per_s", m.throughput_per_s),
        "peak_host_bytes": m.peak_host_bytes,
        "peak_device_bytes": m.peak_device_bytes,
        **_energy("energy_per_query", m.energy_per_query),
        "windows": len(m.windows),
        "converged": m.converged,
        "flags": "; ".join(m.flags),
        "created": m.created,
    }


def _of_run(run: ModelRecord) -> dict[str, Any]:
    accuracy = run.accuracy if isinstance(run, RunRecord) else None
    ends: tuple[tuple[str, Scores | None], ...] = (
        ("one_step", None if accuracy is None else accuracy.one_step),
        ("rollout_end", accuracy.rollout[-1] if accuracy is not None and accuracy.rollout else None),
    )
    return {
        "recipe": run.recipe,
        "seed": run.seed,
        "parameters": run.parameters,
        "training_projected": isinstance(run, EstimateRecord),
        "training_device": run.device,
        "training_epochs": run.epochs,
        "training_s": run.duration_s,
        **_energy("training", run.energy),
        **{
            f"{end}_{name}": None if scores is None else scores.mean(name)
            for end, scores in ends
            for name in SCORES
        },
    }


def _interval(name: str, figure: Interval) -> dict[str, float | None]:
    return {name: figure.value, f"{name}_low": figure.low, f"{name}_high": figure.high}


def _energy(name: str, energy: EnergyBreakdown) -> dict[str, float | str | None]:
    """The sum, each component with its interval, and how they were obtained."""
    present = energy.present
    columns: dict[str, float | str | None] = {f"{name}_j": energy.joules}
    for component in COMPONENTS:
        found = present.get(component)
        columns[f"{name}_{component}_j"] = None if found is None else found.joules
        columns[f"{name}_{component}_low_j"] = None if found is None else found.low
        columns[f"{name}_{component}_high_j"] = None if found is None else found.high
    columns[f"{name}_source"] = " + ".join(dict.fromkeys(e.source for e in present.values())) or None
    return columns


_RUN_COLUMNS = (
    *(
        "recipe",
        "seed",
        "parameters",
        "training_projected",
        "training_device",
        "training_epochs",
        "training_s",
    ),
    *_energy("training", EnergyBreakdown()),
    *(f"{end}_{name}" for end in ("one_step", "rollout_end") for name in SCORES),
)

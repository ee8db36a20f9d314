"""Comparison of what is measured: reads the study, measures nothing."""

from __future__ import annotations

from collections.abc import Sequence

from ptprof import choices
from ptprof.amortise import comparison
from ptprof.amortise.comparison import Comparison
from ptprof.errors import StudyError
from ptprof.records import Measurement
from ptprof.study import Study


def compare(
    study: Study,
    models: Sequence[str] | None,
    *,
    run: str | None = None,
    recipe: str | None = None,
    runtimes: Sequence[str] | None = None,
    scenarios: Sequence[str] | None = None,
    device: str | None = None,
    batches: Sequence[int] | None = None,
) -> Comparison:
    """Compare the newest run of each model (or ``run``) on whatever it was measured; None means all there is.

    Raises
    ------
    StudyError : a study without models, or none of them is measured so
    """
    runs = choices.with_weights(study, models, run, recipe, None)
    names = {r.run for r in runs}

    def asked(m: Measurement) -> bool:
        return (
            m.run in names
            and (runtimes is None or m.runtime in runtimes)
            and (scenarios is None or m.scenario in scenarios)
            and (device is None or device in (m.device, m.device_id))
            and (batches is None or m.batch in batches)
        )

    found = comparison.compare(study.measurements(asked), runs)
    if not found.contests:
        raise StudyError(f"{study.root} holds no such measurements to compare: run `ptprof profile`")
    return found

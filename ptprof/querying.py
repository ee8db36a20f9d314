"""One query of a server, from the command line."""

from __future__ import annotations

import io
import time
from pathlib import Path

import numpy as np

from ptprof.client import Array, Client
from ptprof.errors import DataError, UsageError
from ptprof.report.answers import Answer, FieldRange
from ptprof.study import atomic


def ask(
    client: Client,
    model: str | None,
    *,
    steps: int,
    states: str,
    window: Path | None,
    trajectory: int,
    seed: int | None,
    out: Path | None,
) -> Answer:
    """A rollout from the state in ``window``, or from the server's test trajectory; streamed, then written.

    Raises
    ------
    UsageError : states that are neither all, last nor a number
    DataError : a file that is not a state, or a forecast that is not finite
    PtprofError : no answer, or a refusal
    """
    kept: str | int = int(states) if states.isascii() and states.isdigit() else states
    if isinstance(kept, str) and kept not in ("all", "last"):
        raise UsageError(f"--states is all, last or a number, not {states!r}")
    history = client.state_shape(model)[0]
    state = client.trajectory(trajectory, history) if window is None else _load(window)
    begun = time.perf_counter()
    frames = list(client.stream(state, steps, states=kept, model=model, seed=seed))
    duration_s = time.perf_counter() - begun
    # A state without a batch gives (C, X, Y) frames, one with a batch (B, C, X, Y).
    forecast = np.stack(frames, axis=1 if state.ndim == 5 else 0)
    if not np.isfinite(frames[-1]).all():
        raise DataError("the forecast diverged: its last state is not finite")
    if out is not None:
        _save(out, forecast)
    costs = {name: value for name, value in client.cost.items() if name in Answer.model_fields}
    return Answer(
        model=model,
        url=client.url,
        steps=steps,
        shape=forecast.shape,
        file=None if out is None else str(out),
        duration_s=duration_s,
        last=_ranges(frames[-1], client.fields(model)),
        **costs,
    )


def _load(path: Path) -> Array:
    try:
        values = np.load(path, allow_pickle=False)
    except (ValueError, EOFError):
        raise DataError(f"{path} is not an array as numpy.save writes it") from None
    if not isinstance(values, np.ndarray) or values.dtype.kind != "f":
        raise DataError(f"{path} does not hold an array of floating-point numbers")
    return values.astype(np.float32)


def _save(path: Path, values: Array) -> None:
    content = io.BytesIO()
    np.save(content, values, allow_pickle=False)
    with atomic(path) as temporary:
        temporary.write_bytes(content.getbuffer())


def _ranges(state: Array, fields: tuple[str, ...]) -> tuple[FieldRange, ...]:
    by_field = np.moveaxis(state, -3, 0).reshape(len(fields), -1).astype(np.float64)
    return tuple(
        FieldRange(field=name, lowest=values.min(), mean=values.mean(), highest=values.max())
        for name, values in zip(fields, by_field, strict=True)
    )

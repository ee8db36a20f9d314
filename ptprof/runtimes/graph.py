"""What an ONNX file must hold to be run, whichever runtime reads it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ptprof.errors import StudyError
from ptprof.runtimes.base import StateShape
from ptprof.runtimes.metadata import NEXT, NOISE, STATE, STATE_OUT, Metadata

OUTPUTS = (NEXT, STATE_OUT)


def metadata_of(path: Path, properties: Mapping[str, str]) -> Metadata | None:
    """What the file at ``path`` says about itself in ``properties``; None where it is not ptprof's.

    Raises
    ------
    StudyError : ptprof's, but incomplete or damaged
    """
    try:
        return Metadata.from_properties(properties)
    except ValueError as error:
        raise StudyError(
            f"{path} holds metadata that cannot be read: export it again with --force"
        ) from error


def checked_graph(
    path: Path, metadata: Metadata | None, taken: Mapping[str, Sequence[Any]], given: Sequence[str]
) -> StateShape | None:
    """The shape of the state that the graph in ``path`` takes; None where it takes something else.

    Parameters
    ----------
    taken : the shape of each input, batch first
    given : the names of the outputs

    Raises
    ------
    StudyError : neither a forecast step nor what its metadata say
    """
    if metadata is not None and metadata.signature is not None:
        said, (shape, *_) = metadata.signature, taken.values()
        if (list(taken), list(given), tuple(shape[1:])) != ([said.input], [said.output], said.takes):
            raise StudyError(f"{path} takes {', '.join(taken)} of {shape[1:]}, and says {said.takes}")
        return None
    if list(taken) not in ([STATE], [STATE, NOISE]) or tuple(given) != OUTPUTS:
        raise StudyError(
            f"{path} is not a forecast step: it takes {', '.join(taken)} and gives {', '.join(given)}"
        )
    match taken[STATE]:
        case [_, int(history), int(channels), int(x), int(y)]:
            found = history, channels, x, y
        case shape:
            raise StudyError(f"{path} is not a forecast step: its input has the shape {shape}")
    if metadata is not None and metadata.state_shape != found:
        raise StudyError(f"{path} says that it takes {metadata.state_shape}, and takes {found}")
    return found

"""What was exported of a user's own module."""

from __future__ import annotations

from ptprof.records.artifacts import ArtifactFile
from ptprof.records.base import Environment, Record


class ModuleArtifact(Record):
    """``artifact.json`` beside the files of a user's own module.

    ``takes`` and ``gives`` are the shapes of its input and output behind the batch. In the parity of its
    files ``windows`` are samples, ``synthetic`` where they were drawn at random.
    """

    model: str
    takes: tuple[int, ...]
    gives: tuple[int, ...]
    checkpoint_sha256: str | None
    files: tuple[ArtifactFile, ...]
    environment: Environment
    created: str

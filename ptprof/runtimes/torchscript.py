"""A frozen TorchScript file, by torch."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import torch

from ptprof.errors import StudyError
from ptprof.runtimes.eager import TorchRunner
from ptprof.runtimes.metadata import NOISE, Metadata
from ptprof.runtimes.said import METADATA_FILE


class TorchScriptRunner(TorchRunner):
    """A step that was traced, frozen and saved as a ``.pt``."""

    runtime: ClassVar[str] = "torchscript"

    def __init__(
        self,
        path: Path,
        *,
        device: str = "cpu",
        threads: int | None = None,
        precision: str = "fp32",
        tf32: bool = False,
    ) -> None:
        super().__init__(device=device, threads=threads, precision=precision, tf32=tf32)
        if not path.is_file():
            raise StudyError(f"{path} is not there")
        extra = {METADATA_FILE: ""}
        try:
            with without_deprecation():
                module = torch.jit.load(path, map_location=self.device, _extra_files=extra)  # type: ignore[no-untyped-call]
                self._step = module.eval()
            self.takes_noise = NOISE in [argument.name for argument in module.forward.schema.arguments]
            metadata = Metadata.from_properties(json.loads(extra[METADATA_FILE] or "{}"))
        except (AttributeError, RuntimeError, ValueError) as error:
            raise StudyError(f"{path} is cut or not a TorchScript file of a forecast step") from error
        self.describe(metadata, precision)


@contextmanager
def without_deprecation() -> Iterator[None]:
    """TorchScript without the warning, at each of its calls, that torch.export is to replace it."""
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message=r"`torch\.jit\..*is deprecated", category=DeprecationWarning
        )
        yield

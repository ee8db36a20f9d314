"""Arguments and options of `ptprof export` alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

OWN: dict[str, Any] = {"rich_help_panel": "A model of your own", "show_default": False}

Formats = Annotated[
    str, typer.Option("--format", help="Comma-separated: onnx, torchscript, pt2 (needs a C++ compiler).")
]
Spectral = Annotated[
    Literal["auto", "gemm", "fft"],
    typer.Option(
        help="Spectral layers as matrix products (gemm) or, in torchscript, by FFT (fft); auto: the cheaper."
    ),
]
FilePrecision = Annotated[
    Literal["fp32", "bf16"],
    typer.Option(help="Of what is computed outside of the transforms; bf16 is for torchscript and pt2."),
]
StaticBatch = Annotated[
    int | None,
    typer.Option(
        "--batch", min=1, help="The only batch size that the files take; any otherwise.", show_default=False
    ),
]
ProvenOn = Annotated[
    str, typer.Option("--device", help="Where files are proven, and a .pt2 runs: cpu, cuda, cuda:1 …")
]
Data = Annotated[
    Path | None, typer.Option(help="Folder of the test windows; the study's otherwise.", show_default=False)
]
Triton = Annotated[
    Path | None,
    typer.Option("--triton", help="Write a model repository for Triton there too.", show_default=False),
]
MaxBatch = Annotated[int, typer.Option(min=1, help="With --triton: the most samples of one call.")]
ShowFile = Annotated[
    Path | None,
    typer.Option("--show", help="Tell what is in an exported file, and stop.", show_default=False),
]
Own = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="MODULE:FACTORY",
        help="What makes it: package.module:factory or file.py:factory.",
        **OWN,
    ),
]
Checkpoint = Annotated[Path | None, typer.Option(help="Its weights, a state dict.", **OWN)]
OwnGrid = Annotated[str | None, typer.Option("--grid", help="Its grid, such as 64x128.", **OWN)]
Channels = Annotated[int | None, typer.Option(min=1, help="Its input channels.", **OWN)]
Inputs = Annotated[
    Path | None,
    typer.Option(help="Samples to prove it on, .npy (N, C, X, Y), in place of --grid and --channels.", **OWN),
]
Out = Annotated[Path | None, typer.Option(help="Folder for its files.", **OWN)]

"""How long `ptprof amortise` and `ptprof report` take over a study of many measurements.

    python benchmarks/amortise.py --study study --json results/amortise.json

Copies a study that was measured (its runs, its exports, its measurements), multiplies the measurements to
10,000 with their raw windows, each a file of its own, and times the commands as a user runs them, start of
Python included. About half a minute; the study given is left as it is.
"""

from __future__ import annotations

import argparse
import itertools
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ptprof.environment import environment
from ptprof.study import Study, write_text


def multiply(source: Study, target: Study, count: int) -> int:
    """Fill ``target`` with what ``source`` holds and ``count`` measurements; their mean size in bytes."""
    weights = shutil.ignore_patterns("*.pt", "*.pt2", "*.onnx")
    for folder in ("runs", "artifacts"):
        if (source.root / folder).is_dir():
            shutil.copytree(source.root / folder, target.root / folder, ignore=weights)
    measured = source.measurements()
    texts = [m.model_dump_json(indent=1) for m in measured]
    names = [f"{m.run}-{m.runtime}-{m.device}-{m.scenario}-b{m.batch}" for m in measured]
    (target.root / "measurements").mkdir()
    for number, (name, text) in zip(
        range(count), itertools.cycle(zip(names, texts, strict=True)), strict=False
    ):
        (target.root / "measurements" / f"{name}-{number:08x}.json").write_text(text, encoding="utf-8")
    return sum(map(len, texts)) // len(texts)


def timed(arguments: list[str], repetitions: int) -> list[float]:
    """Seconds of each run of a command."""
    seconds = []
    for _ in range(repetitions):
        begun = time.perf_counter()
        subprocess.run([sys.executable, "-m", "ptprof", *arguments], check=True, stdout=subprocess.DEVNULL)
        seconds.append(time.perf_counter() - begun)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--study", type=Path, required=True, help="a study with measurements")
    parser.add_argument("--measurements", type=int, default=10_000)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--json", type=Path, help="file to write instead of stdout")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        study = Study(Path(folder) / "study")
        study.root.mkdir()
        size = multiply(Study(given.study), study, given.measurements)
        before = ["--study", str(study.root)]
        figures = {
            "measurements": given.measurements,
            "mean_size_bytes": size,
            "amortise_s": timed([*before, "amortise", "--json"], given.repetitions),
            "report_s": timed([*before, "report", "--json"], given.repetitions),
            "environment": environment().model_dump(mode="json"),
        }
    text = json.dumps(figures, indent=1) + "\n"
    if given.json is None:
        sys.stdout.write(text)
    else:
        write_text(given.json, text)


if __name__ == "__main__":
    main()

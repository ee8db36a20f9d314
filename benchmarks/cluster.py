"""A sweep on one node and on two, of one core each: how much sooner it is done, and whether it says the same.

Copies a study that is trained and exported, without its measurements; `ptprof profile` measures it with
`--executor ray` on a cluster of one node of one core, then of two, both on this machine. Timed is the whole
command, its start and the connection included, but not the start of the cluster. The goal: two nodes take at
most 0.65 of one's time, and their records are the same but for the samples.

    python benchmarks/cluster.py study --json results/cluster-cpu.json
    python benchmarks/cluster.py study --models fno,unet,unet-cp --json results/cluster-cpu.json

Seven models on three runtimes in two scenarios take about 5 minutes on one node and 2.5 on two; three models
2.2 and 1.2. Needs two cores, and nothing else may use the machine.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from ptprof.environment import environment
from ptprof.records import Measurement
from ptprof.study import Study

GOAL = 0.65
COMMAND = (sys.executable, "-m", "ptprof", "--study")
#: What the samples decide, and where and when they were taken.
OF_THE_SAMPLES = (
    "latency_s",
    "throughput_per_s",
    "percentiles",
    "peak_host_bytes",
    "peak_device_bytes",
    "energy_per_query",
    "windows",
    "idle",
    "converged",
    "unmet",
    "flags",
    "cores",
    "created",
)


def said(measurement: Measurement) -> str:
    """What a record says but for its samples; of the energy, what it was obtained by."""
    energy = measurement.energy_per_query
    sources = {name: (part.source, part.sensor, part.gain_id) for name, part in energy.present.items()}
    facts = measurement.model_dump(mode="json", exclude=set(OF_THE_SAMPLES))
    return json.dumps({**facts, "sources": sources, "missing": energy.missing}, sort_keys=True)


def copied(study: Path, folder: Path) -> Path:
    """The study without its measurements and its report."""
    shutil.copytree(study, folder, ignore=shutil.ignore_patterns("measurements", "report"))
    return folder


def sweep(study: Path, nodes: int, models: list[str], runtimes: str, extra: list[str]) -> dict[str, Any]:
    """Seconds of the sweep on so many nodes, and the measurements that it left."""
    from ray.cluster_utils import Cluster

    with tempfile.TemporaryDirectory() as folder:
        copy = copied(study, Path(folder) / "study")
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        try:
            for _ in range(nodes - 1):
                cluster.add_node(num_cpus=1)
            asked = ["profile", *models, "--runtime", runtimes, "--device", "cpu", *extra]
            asked += ["--executor", "ray", "--address", cluster.address, "--json"]
            begun = time.perf_counter()
            subprocess.run([*COMMAND, copy, *asked], check=True, stdout=subprocess.DEVNULL)
            seconds = time.perf_counter() - begun
        finally:
            cluster.shutdown()
        return {"nodes": nodes, "seconds": seconds, "measurements": Study(copy).measurements()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("study", type=Path)
    parser.add_argument("--models", default="", help="comma-separated; all that are trained")
    parser.add_argument("--runtimes", default="eager,torchscript,onnxruntime")
    parser.add_argument("--repetitions", type=int, default=1, help="of one node and two, in turns")
    parser.add_argument("--max-time", help="seconds of windows a candidate, to try the script")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    # What Ray starts inherits it; a query on one core has one thread.
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0", "OMP_NUM_THREADS": "1"}
    models = [name for name in options.models.split(",") if name]
    extra = ["--max-time", options.max_time] if options.max_time else []
    turns = [
        sweep(options.study, nodes, models, options.runtimes, extra)
        for _ in range(options.repetitions)
        for nodes in (1, 2)
    ]
    one = [turn["seconds"] for turn in turns if turn["nodes"] == 1]
    two = [turn["seconds"] for turn in turns if turn["nodes"] == 2]
    records = [sorted(said(m) for m in turn["measurements"]) for turn in turns]
    measured = turns[0]["measurements"]
    cores = sorted({core for m in turns[1]["measurements"] for core in m.cores})
    ratio = sum(two) / sum(one)
    found = {
        "what": "wall time of `ptprof profile --executor ray` by the quick protocol on two Ray nodes of one"
        " core each, over that on one such node; both nodes on one machine",
        "models": sorted({m.model for m in measured}),
        "runtimes": sorted({m.runtime for m in measured}),
        "scenarios": sorted({m.scenario for m in measured}),
        "measurements": len(measured),
        "one_node_s": one,
        "two_nodes_s": two,
        "ratio": ratio,
        "goal": GOAL,
        "met": ratio <= GOAL,
        "same_records_but_samples": all(record == records[0] for record in records),
        "cores_of_two_nodes": cores,
        "windows_under_foreign_load": sum(
            any("foreign load" in flag for flag in window.flags)
            for turn in turns
            for m in turn["measurements"]
            for window in m.windows
        ),
        "brief": bool(options.max_time),
        "environment": environment().model_dump(mode="json"),
    }
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(f"one node: {one} s, two: {two} s, ratio {ratio:.3f} (goal {GOAL})")
    print(f"{len(measured)} records each, the same but for the samples: {found['same_records_but_samples']}")
    if not (found["met"] and found["same_records_but_samples"]):
        sys.exit(1)


if __name__ == "__main__":
    main()

"""Ray Serve against our own server: the same app, the same model of a study, on this machine.

    python benchmarks/serving_ray.py --study STUDY --model fno > results/serving-ray-cpu.json

Three servers one after the other: the command's own process, Ray Serve with one replica that has all cores,
and with two that share them. One client asks for one step at a time, for latency; then several ask at once,
each again as soon as it is answered, for throughput. It takes about two minutes; run it on a quiet machine.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from serving import capacity, request, summary, timed

from ptprof.environment import environment

CORES = len(os.sched_getaffinity(0))
SERVERS: dict[str, tuple[int, int] | None] = {
    # Replicas, and CPUs of each; None: not by Ray Serve.
    "process": None,
    "ray_1": (1, CORES),
    "ray_2": (2, max(CORES // 2, 1)),
}


@contextlib.contextmanager
def serving(options: argparse.Namespace, replicas: tuple[int, int] | None) -> Iterator[tuple[str, float]]:
    """The command, once it serves; gives its address and how long (s) that took."""
    line = [sys.executable, "-m", "ptprof", "serve", options.model, "--study", options.study, "--port", "0"]
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log")
        if replicas is not None:
            count, cpus = replicas
            settings = Path(folder, "settings.yaml")
            settings.write_text(json.dumps({"num_replicas": count, "ray_actor_options": {"num_cpus": cpus}}))
            line += ["--engine", "ray", "--deployment", str(settings)]
        with log.open("wb") as out, subprocess.Popen(line, stderr=out, stdout=subprocess.DEVNULL) as process:
            try:
                while "serving on " not in (said := log.read_text()):
                    if process.poll() is not None:
                        raise SystemExit(said)
                    time.sleep(0.1)
                yield said.split("serving on ")[1].split()[0], time.perf_counter() - begun
            finally:
                process.terminate()


def measured(options: argparse.Namespace, url: str) -> dict[str, Any]:
    """Latency of one client, throughput of several."""
    path = f"{url}/v2/models/{options.model}/infer"
    with httpx.Client(timeout=120) as client:
        shape = client.get(f"{url}/v2/models/{options.model}").json()["inputs"][0]["shape"][1:]
        state = np.random.default_rng(0).standard_normal((1, *shape)).astype(np.float32) * 0.1
        content, headers = sent = request(state)
        durations = timed(
            lambda: client.post(path, content=content, headers=headers).raise_for_status(),
            options.repetitions,
            warm_up=options.repetitions // 5 + 1,
        )
    throughput = capacity(path, sent, clients=options.clients, seconds=options.seconds)
    return {**summary(durations), "clients": options.clients, "throughput_per_s": throughput}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--study", default="study")
    parser.add_argument("--model", default="fno")
    parser.add_argument("--repetitions", type=int, default=200)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=8.0)
    options = parser.parse_args()
    report: dict[str, Any] = {"cores": CORES, "model": options.model}
    report["environment"] = environment().model_dump(mode="json")
    for name, replicas in SERVERS.items():
        with serving(options, replicas) as (url, start_s):
            report[name] = {"start_s": start_s, **measured(options, url)}
    own = report["process"]
    for name in ("ray_1", "ray_2"):
        report[f"{name}_latency_ratio"] = report[name]["median_ms"] / own["median_ms"]
        report[f"{name}_throughput_ratio"] = report[name]["throughput_per_s"] / own["throughput_per_s"]
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()

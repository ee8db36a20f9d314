"""The server under load, against a bare echo of the same bytes and against KServe's Python server.

    python benchmarks/serving.py transport              # what HTTP costs: 8 MiB in, 2 MiB out, no model
    python benchmarks/serving.py overhead --study STUDY # a model behind HTTP against the same one in process
    python benchmarks/serving.py load --seconds 300     # open loop at 80 % of capacity, then at 200 %
    python benchmarks/serving.py batching               # throughput with dynamic batching and without

Every part prints one JSON document. Servers run in processes of their own on loopback; run it on a quiet
machine. KServe brings half of Kubernetes along and is no dependency: install it in an environment of its own,

    python -m venv /tmp/kserve && /tmp/kserve/bin/pip install kserve
    python benchmarks/serving.py transport --kserve-python /tmp/kserve/bin/python
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import numpy as np

SHAPE = (4, 4, 256, 512)
"""8 MiB of state, of which one step answers 2 MiB."""

OURS = """
import sys, time, torch
from ptprof.runtimes import open_runner
from ptprof.serve import Batching, Limits, ServedModel, create_app, serve

class Step(torch.nn.Module):
    # Answers with the last state, after a while that hardly depends on the batch, as on a GPU.
    def __init__(self, shape, seconds):
        super().__init__()
        self.state_shape, self.seconds = shape, seconds
    def forward(self, state):
        time.sleep(self.seconds)
        return state[:, -1].contiguous(), state

shape, seconds, batch, port = eval(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
torch.set_num_threads(1)
app = create_app({"step": ServedModel.of(open_runner("eager", Step(shape, seconds)))},
                 batching=Batching(max_batch_size=batch), limits=Limits(max_queue=16))
serve(app, port=port)
"""
BARE = """
import sys, uvicorn
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

async def echo(request):
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
    return Response(bytes(body[-2 * 2**20:]), media_type="application/octet-stream")

async def ready(request):
    return Response()

app = Starlette(routes=[Route("/echo", echo, methods=["POST"]), Route("/v2/health/ready", ready)])
uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", http="h11")
"""
KSERVE = """
import sys
import kserve
from kserve import InferOutput, InferResponse

class Step(kserve.Model):
    def __init__(self):
        super().__init__("step")
        self.ready = True
    def predict(self, request, headers=None):
        state = request.inputs[0].as_numpy()
        output = InferOutput("next", list(state[:, -1].shape), "FP32", parameters={})
        output.set_data_from_numpy(state[:, -1], binary_data=True)
        return InferResponse(request.id or "none", "step", [output])

kserve.ModelServer(http_port=int(sys.argv[1]), enable_grpc=False, workers=1).start([Step()])
"""


def free_port() -> int:
    import socket

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextlib.contextmanager
def server(program: str, *arguments: object, python: str = sys.executable) -> Iterator[str]:
    """A server process, ready; gives its address."""
    port = free_port()
    command = [python, "-c", program, *map(str, arguments), str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        url = f"http://127.0.0.1:{port}"
        try:
            _wait_for(process, url)
            yield url
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            process.kill()


def _wait_for(process: subprocess.Popen[bytes], url: str) -> None:
    for _ in range(600):
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(f"{url}/v2/health/ready").is_success:
                return
        if process.poll() is not None:
            break
        time.sleep(0.1)
    raise SystemExit("a server did not start")


def request(state: np.ndarray) -> tuple[bytes, dict[str, str]]:
    document = {
        "inputs": [
            {
                "name": "state",
                "datatype": "FP32",
                "shape": list(state.shape),
                "parameters": {"binary_data_size": state.nbytes},
            }
        ],
        "parameters": {"binary_data_output": True},
    }
    head = json.dumps(document).encode()
    headers = {
        "Inference-Header-Content-Length": str(len(head)),
        "Content-Type": "application/octet-stream",
    }
    return head + state.tobytes(), headers


def timed(call: Callable[[], object], repetitions: int, warm_up: int = 3) -> list[float]:
    for _ in range(warm_up):
        call()
    durations = []
    for _ in range(repetitions):
        begun = time.perf_counter()
        call()
        durations.append(time.perf_counter() - begun)
    return durations


def summary(durations: list[float]) -> dict[str, float]:
    ordered = sorted(durations)
    return {
        "median_ms": 1e3 * statistics.median(ordered),
        "p95_ms": 1e3 * ordered[int(0.95 * (len(ordered) - 1))],
        "per_second": len(ordered) / sum(ordered),
    }


def interleaved(calls: dict[str, Callable[[], object]], repetitions: int) -> dict[str, list[float]]:
    """Each in turn, so that what disturbs the machine disturbs them all."""
    durations: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(max(repetitions // 5, 1)):
        for name, call in calls.items():
            durations[name] += timed(call, 5, warm_up=1)
    return durations


def transport(options: argparse.Namespace) -> dict[str, Any]:
    """8 MiB in, 2 MiB out, with a model that does nothing."""
    shape = options.shape
    content, headers = request(np.zeros((1, *shape), dtype=np.float32))
    with contextlib.ExitStack() as stack:
        ours = stack.enter_context(server(OURS, tuple(shape), 0.0, 1))
        bare = stack.enter_context(server(BARE))
        client = stack.enter_context(httpx.Client(timeout=60))

        def post(url: str) -> Callable[[], object]:
            return lambda: client.post(url, content=content, headers=headers).raise_for_status()

        calls = {"ptprof": post(f"{ours}/v2/models/step/infer"), "bare": post(f"{bare}/echo")}
        if options.kserve_python is not None:
            kserve = stack.enter_context(server(KSERVE, python=options.kserve_python))
            calls["kserve"] = post(f"{kserve}/v2/models/step/infer")
        durations = interleaved(calls, options.repetitions)
    report: dict[str, Any] = {name: summary(values) for name, values in durations.items()}
    report["ratio_to_bare"] = report["ptprof"]["median_ms"] / report["bare"]["median_ms"]
    if "kserve" in report:
        report["times_kserve_per_second"] = report["ptprof"]["per_second"] / report["kserve"]["per_second"]
    return report


SERVE_STUDY = """
import sys
from ptprof.serve import Service, serve_study
from ptprof.study import Study
study, model, runtime, device, port = sys.argv[1:]
serve_study(Service(study=Study(study), names=(model,), runtime=runtime, device=device), port=int(port))
"""


def overhead(options: argparse.Namespace) -> dict[str, Any]:
    """A study's model by one step: in this process, and behind HTTP in another; they take turns."""
    import torch

    from ptprof.serve import find_models
    from ptprof.study import Study

    place = {"runtime": options.runtime, "device": options.device}
    model = find_models(Study(options.study), [options.model], **place)[options.model].open()
    state = np.random.default_rng(0).standard_normal((1, *model.state_shape)).astype(np.float32) * 0.1
    content, headers = request(state)
    arguments = (options.study, options.model, options.runtime, options.device)

    def in_process() -> None:
        model.runner.step(torch.from_numpy(state).to(model.runner.device))[0].cpu()

    with server(SERVE_STUDY, *arguments) as url, httpx.Client(timeout=600) as client:
        path = f"{url}/v2/models/{options.model}/infer"
        calls = {
            "in_process": in_process,
            "http": lambda: client.post(path, content=content, headers=headers).raise_for_status(),
        }
        durations = interleaved(calls, options.repetitions)
    model.runner.close()
    report: dict[str, Any] = {name: summary(values) for name, values in durations.items()}
    report["overhead"] = report["http"]["median_ms"] / report["in_process"]["median_ms"] - 1
    return report


async def offered(url: str, per_second: float, seconds: float, sent: tuple[bytes, dict[str, str]]) -> dict:
    """Requests at a rate that does not wait for answers."""
    statuses: Counter[str] = Counter()
    durations: list[tuple[float, float]] = []
    limits = httpx.Limits(max_connections=200, max_keepalive_connections=200)
    async with httpx.AsyncClient(timeout=120, limits=limits) as client:
        begun = time.perf_counter()

        async def one(due: float) -> None:
            try:
                response = await client.post(url, content=sent[0], headers=sent[1])
            except httpx.HTTPError as error:
                statuses[type(error).__name__] += 1
                return
            statuses[str(response.status_code)] += 1
            if response.is_success:
                # From when it was to be sent: a client that is late itself must not hide it.
                durations.append((due - begun, time.perf_counter() - due))

        tasks = []
        for number in range(int(per_second * seconds)):
            due = begun + number / per_second
            await asyncio.sleep(max(due - time.perf_counter(), 0))
            tasks.append(asyncio.create_task(one(due)))
        await asyncio.gather(*tasks)
    half = seconds / 2
    early, late = ([d for at, d in durations if (at < half) == first] for first in (True, False))
    return {
        "offered_per_second": per_second,
        "statuses": dict(statuses),
        "first_half": summary(early) if early else None,
        "second_half": summary(late) if late else None,
    }


def capacity(url: str, sent: tuple[bytes, dict[str, str]], clients: int, seconds: float) -> float:
    """Answers per second to so many clients that each ask again as soon as they are answered."""

    async def run() -> int:
        done = 0
        async with httpx.AsyncClient(timeout=120) as client:
            end = time.perf_counter() + seconds

            async def one() -> None:
                nonlocal done
                while time.perf_counter() < end:
                    response = await client.post(url, content=sent[0], headers=sent[1])
                    done += response.is_success

            await asyncio.gather(*(one() for _ in range(clients)))
        return done

    return asyncio.run(run()) / seconds


def load(options: argparse.Namespace) -> dict[str, Any]:
    """A model of 20 ms a step: at 80 % of its capacity nothing is refused, at 200 % it sheds and recovers."""
    sent = request(np.zeros((1, *options.shape), dtype=np.float32))
    with server(OURS, tuple(options.shape), options.step_s, 1) as url:
        path = f"{url}/v2/models/step/infer"
        most = capacity(path, sent, clients=4, seconds=min(options.seconds, 10))
        return {
            "capacity_per_second": most,
            "at_80_per_cent": asyncio.run(offered(path, 0.8 * most, options.seconds, sent)),
            "at_200_per_cent": asyncio.run(offered(path, 2 * most, min(options.seconds, 30), sent)),
            "afterwards": asyncio.run(offered(path, 0.5 * most, min(options.seconds, 10), sent)),
        }


def batching(options: argparse.Namespace) -> dict[str, Any]:
    """Eight clients of a model whose step takes as long for eight states as for one."""
    sent = request(np.zeros((1, *options.shape), dtype=np.float32))
    report: dict[str, Any] = {}
    for name, size in (("off", 1), ("on", 8)):
        with server(OURS, tuple(options.shape), options.step_s, size) as url:
            path = f"{url}/v2/models/step/infer"
            report[name] = capacity(path, sent, clients=8, seconds=options.seconds)
    report["speed_up"] = report["on"] / report["off"]
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parts = {"transport": transport, "overhead": overhead, "load": load, "batching": batching}
    parser.add_argument("part", choices=parts)
    parser.add_argument("--repetitions", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--step-s", type=float, default=0.02, help="how long the stand-in's step takes")
    parser.add_argument("--shape", type=lambda text: tuple(map(int, text.split("x"))), default=SHAPE)
    parser.add_argument("--study", default="study")
    parser.add_argument("--kserve-python", help="a Python that has kserve; not compared otherwise")
    parser.add_argument("--model", default="fno")
    parser.add_argument("--runtime", default="onnxruntime")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    report = {"part": options.part, "cores": len(os.sched_getaffinity(0)), **parts[options.part](options)}
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()

"""Mutated requests against a real server: no crash, no 500, no growth of memory.

    python benchmarks/serving_fuzz.py                       # 10,000 requests, a few minutes
    python benchmarks/serving_fuzz.py --requests 500 --seed 1

Every request begins as one that is right and is then changed in one to four ways: bytes flipped, cut or
inserted anywhere, JSON values replaced, lengths and headers that lie, compressed bodies that are none or are
bombs, other paths and methods, half requests. After each hundred a good request must still be answered right.
Prints one JSON document; exit status 1 where something of it does not hold.
"""

from __future__ import annotations

import argparse
import collections
import copy
import functools
import gzip
import json
import random
import socket
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

SERVER = """
import torch
from ptprof.runtimes import open_runner
from ptprof.serve import Limits, ServedModel, create_app, serve

class Step(torch.nn.Module):
    state_shape = (2, 2, 8, 8)
    def forward(self, state):
        following = 0.5 * state[:, -1]
        return following, torch.cat((state[:, 1:], following[:, None]), dim=1)

torch.set_num_threads(1)
limits = Limits(
    max_request_bytes=1_000_000, max_response_bytes=1_000_000, idle_timeout_s=0.1, max_rollout_steps=200
)
serve(create_app({"step": ServedModel.of(open_runner("eager", Step()))}, limits=limits), port=0)
"""
SHAPE = [1, 2, 2, 8, 8]
TENSOR = struct.pack("<256f", *([1.0] * 256))
ANSWER = struct.pack("<128f", *([0.5] * 128))
INFER = "/v2/models/step/infer"
PATHS = [
    INFER,
    "/v2/models/step/versions/1/infer",
    "/v2/models/step",
    "/v2/models/step/stats",
    "/v2/repository/index",
    "/v2/repository/models/step/load",
    "/v2/repository/models/../../etc/passwd/load",
    "/metrics",
    "/",
    "/v2/models/%00%ff/infer",
    "/v2/models/" + "a" * 3000 + "/infer",
]
VALUES: list[object] = [
    None, True, False, 0, -1, 1, 2**31, 2**63, 2**64 - 1, 1e308, -0.0, "", "FP32", "x" * 2000, [], {}, [[]],
    [None], {"a": 1}, "\x00", "é", ["state"], [1] * 500, "9" * 400,
]  # fmt: skip
# What uvicorn, h11 and the app may say of a request; 500 is never right.
EXPECTED = {200, 400, 401, 403, 404, 405, 408, 413, 415, 503}


class Draft:
    """A request that is being changed."""

    def __init__(self) -> None:
        self.method = "POST"
        self.path = INFER
        self.document: dict[str, object] = {
            "id": "a",
            "inputs": [
                {
                    "name": "state",
                    "datatype": "FP32",
                    "shape": list(SHAPE),
                    "parameters": {"binary_data_size": len(TENSOR)},
                }
            ],
            "outputs": [{"name": "next", "parameters": {"binary_data": True}}],
            "parameters": {},
        }
        self.tensor = TENSOR
        self.body: bytes | None = None
        self.headers: dict[str, str] = {}
        self.cut: int | None = None

    def sent(self) -> bytes:
        text = json.dumps(self.document).encode()
        body = text + self.tensor if self.body is None else self.body
        headers = {"Host": "here", "Connection": "close", "Content-Length": str(len(body))}
        headers["Inference-Header-Content-Length"] = str(len(text))
        lines = [f"{self.method} {self.path} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in (headers | self.headers).items()]
        whole = "\r\n".join([*lines, "", ""]).encode("latin-1", "replace") + body
        return whole if self.cut is None else whole[: self.cut]


def replaced(rng: random.Random, draft: Draft) -> None:
    """Another value somewhere in the JSON."""
    place: object = draft.document
    while isinstance(place, dict | list) and place:
        key = rng.choice(list(place) if isinstance(place, dict) else range(len(place)))
        if rng.random() < 0.35 or not isinstance(place[key], dict | list):
            # A copy, since it may be changed in its turn.
            place[key] = copy.deepcopy(rng.choice(VALUES))
            return
        place = place[key]


def parameter(rng: random.Random, draft: Draft) -> None:
    """A parameter of a rollout, often one that cannot be."""
    parameters = draft.document.get("parameters")
    if isinstance(parameters, dict):
        names = ["rollout_steps", "rollout_states", "stream", "seed", "timeout", "binary_data_output", "odd"]
        value = rng.choice([*VALUES, 1, 2, 5, 200, "all", "last", True])
        parameters[rng.choice(names)] = copy.deepcopy(value)


def bytes_changed(rng: random.Random, draft: Draft) -> None:
    """Bytes flipped, dropped or inserted in the body."""
    body = bytearray(json.dumps(draft.document).encode() + draft.tensor)
    for _ in range(rng.randint(1, 8)):
        at = rng.randrange(len(body) + 1)
        body[at : at + rng.choice([0, 1, 1, 30])] = rng.randbytes(rng.choice([0, 1, 1, 30]))
    draft.body = bytes(body)


def length(rng: random.Random, draft: Draft) -> None:
    """A length that is not the length."""
    name = rng.choice(["Content-Length", "Inference-Header-Content-Length"])
    values = ["-1", "0", "1", "x", "", "1e3", str(2**63), str(2**70), "+5", " 7 ", "0x10", "5, 5", "1000001"]
    draft.headers[name] = rng.choice([*values, str(rng.randrange(3000))])


def header(rng: random.Random, draft: Draft) -> None:
    """A header that does not belong there, or that is huge."""
    draft.headers |= rng.choice(
        [
            {"Content-Encoding": rng.choice(["gzip", "deflate", "br", "gzip, gzip", "identity", "é"])},
            {"Accept-Encoding": rng.choice(["gzip", "deflate", "gzip;q=0", "*"])},
            {"Transfer-Encoding": rng.choice(["chunked", "gzip", "chunked, chunked"])},
            {"Expect": "100-continue"},
            {"Origin": rng.choice(["http://here", "http://there", "null", "http://["])},
            {"Authorization": "Bearer " + "a" * rng.choice([0, 5, 5000])},
            {"X" * rng.choice([1, 60_000]): "y" * rng.choice([1, 60_000, 80_000])},
            {
                "Content-Type": rng.choice(
                    ["application/json", "text/plain", "multipart/form-data; boundary=x"]
                )
            },
            {"Host": ""},
            {"Upgrade": "websocket"},
        ]
    )


@functools.cache
def bomb() -> bytes:
    """900 MB of zeros in less than a megabyte."""
    squeeze = zlib.compressobj(9, wbits=31)
    return b"".join([*(squeeze.compress(bytes(10**6)) for _ in range(900)), squeeze.flush()])


def packed(rng: random.Random, draft: Draft) -> None:
    """A compressed body: right, cut, doubled, or a bomb of a gigabyte in a megabyte."""
    body = json.dumps(draft.document).encode() + draft.tensor
    body = bomb() if rng.random() < 0.1 else rng.choice([gzip.compress, zlib.compress])(body)
    body = rng.choice([body, body, body[: len(body) // 2], body + body, body[:-5] + b"12345"])
    draft.body = body
    draft.headers["Content-Encoding"] = rng.choice(["gzip", "deflate"])


def path(rng: random.Random, draft: Draft) -> None:
    """Another path or method."""
    draft.path = rng.choice(PATHS)
    draft.method = rng.choice(["POST", "GET", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "BREW"])


def halved(rng: random.Random, draft: Draft) -> None:
    """A request that ends too early."""
    draft.cut = rng.randrange(1, max(len(draft.sent()), 2))


def larger(rng: random.Random, draft: Draft) -> None:
    """More in it than there may be."""
    draft.tensor = TENSOR * rng.choice([0, 2, 50, 1100])
    draft.document["inputs"] = [draft.document["inputs"]] * rng.choice([1, 2, 200])


def nonfinite(rng: random.Random, draft: Draft) -> None:
    """Values that are no numbers."""
    draft.tensor = rng.randbytes(len(TENSOR))


CHANGES: list[Callable[[random.Random, Draft], None]] = [
    replaced, replaced, parameter, bytes_changed, length, header, packed, path, halved, larger, nonfinite,
]  # fmt: skip


def exchange(port: int, sent: bytes, whole: bool) -> int | None:
    """Send, read to the end; the status, or None where the server hung up on what was no HTTP."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        # It may hang up before all is sent; what it said before that is still there to be read.
        with suppress(ConnectionError):
            connection.sendall(sent)
        if not whole:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_WR)
        answer = bytearray()
        with suppress(ConnectionError):
            while chunk := connection.recv(1 << 16):
                answer += chunk
    line = bytes(answer).replace(b"HTTP/1.1 100 Continue\r\n\r\n", b"").partition(b"\r\n")[0].split()
    return int(line[1]) if len(line) > 1 else None


def answers(port: int) -> bool:
    """Whether a good request is answered right."""
    draft = Draft()
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(draft.sent())
        answer = b"".join(iter(lambda: connection.recv(1 << 16), b""))
    return answer.startswith(b"HTTP/1.1 200") and answer.endswith(ANSWER)


def resident_bytes(pid: int) -> int:
    text = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("VmRSS"))


@contextmanager
def server() -> Iterator[tuple[subprocess.Popen[str], int]]:
    command = [sys.executable, "-c", SERVER]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        # What it logs must be read, or it would wait for that.
        threading.Thread(target=process.stderr.read, daemon=True).start()
        try:
            yield process, int(line.split("127.0.0.1:")[1].split()[0])
        finally:
            process.terminate()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    statuses: collections.Counter[str] = collections.Counter()
    wrong: list[str] = []
    begun = time.monotonic()
    with server() as (process, port):
        memory: list[int] = []
        for number in range(options.requests):
            draft = Draft()
            changes = rng.choices(CHANGES, k=rng.randint(1, 4))
            for change in changes:
                change(rng, draft)
            status = exchange(port, draft.sent(), whole=draft.cut is None)
            statuses[str(status)] += 1
            if status is not None and status not in EXPECTED:
                wrong.append(f"{number}: {status} after {[change.__name__ for change in changes]}")
            if number % 100 == 99:
                memory.append(resident_bytes(process.pid))
                if not answers(port):
                    wrong.append(f"{number}: a good request is not answered any more")
        alive = process.poll() is None
    # The first tenth fills caches and the allocator; after it memory stays.
    settled = memory[len(memory) // 10] if memory else 0
    grown = (max(memory[-3:]) - settled) if memory else 0
    report = {
        "requests": options.requests,
        "seed": options.seed,
        "seconds": round(time.monotonic() - begun, 1),
        "statuses": dict(sorted(statuses.items())),
        "alive": alive,
        "memory_bytes": {"after_a_tenth": settled, "at_the_end": memory[-1] if memory else 0, "grown": grown},
        "wrong": wrong[:20],
    }
    print(json.dumps(report, indent=1))
    return int(bool(wrong) or not alive or grown > 64 * 2**20)


if __name__ == "__main__":
    sys.exit(main())

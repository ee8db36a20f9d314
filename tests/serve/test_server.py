"""The server on its socket: who may reach it, what it does with clients that break off, how it stops."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import httpx
import orjson
import pytest
from torch import Tensor

from ptprof.errors import UsageError
from ptprof.runtimes import open_runner
from ptprof.serve import Limits, ServedModel, create_app, serve
from ptprof.serve.server import http_server, listen, reserve

MIB = 2**20


def connect(address: str) -> socket.socket:
    host, port = address.split(":")
    return socket.create_connection((host, int(port)), timeout=20)


def everything(connection: socket.socket) -> bytes:
    """What comes until the server closes."""
    return b"".join(iter(lambda: connection.recv(65536), b""))


def post(path: str, length: int | str, *more: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: here", f"Content-Length: {length}", "Connection: close", *more]
    return "\r\n".join([*lines, "", ""]).encode()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7"])
def test_an_address_that_others_reach_needs_a_word(host: str) -> None:
    with pytest.raises(UsageError, match=r"can be reached from elsewhere.*--insecure"):
        serve(create_app({}), host=host, port=0)


def test_insecure_is_that_word() -> None:
    with closing(listen("0.0.0.0", 0, insecure=True)) as listener:
        assert listener.getsockname()[0] == "0.0.0.0"


def test_answers_do_not_wait_for_acknowledgements() -> None:
    """A connection sends what it has at once: with Nagle's algorithm every answer would take 40 ms more."""
    with (
        closing(listen("127.0.0.1", 0)) as listener,
        closing(connect(":".join(map(str, listener.getsockname())))),
    ):
        accepted, _ = listener.accept()
        with closing(accepted):
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_loopback_by_any_name(host: str) -> None:
    with closing(listen(host, 0)) as listener:
        assert listener.getsockname()[0] in {"127.0.0.1", "::1"}


def test_addresses_that_cannot_be() -> None:
    with pytest.raises(UsageError, match="'no such host' is not an address"):
        listen("no such host", 0)
    with (
        closing(listen("127.0.0.1", 0)) as listener,
        pytest.raises(UsageError, match=r"port \d+: Address already in use; choose another"),
    ):
        listen("127.0.0.1", listener.getsockname()[1])


def test_a_port_is_held_for_a_process_that_is_still_to_come() -> None:
    """As Ray Serve's proxy takes it; who listens already is not joined."""
    with closing(reserve("127.0.0.1", 0)) as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        port = holder.getsockname()[1]
        with closing(socket.socket()) as proxy:
            proxy.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            proxy.bind(("127.0.0.1", port))
            proxy.listen()
            with closing(connect(f"127.0.0.1:{port}")), closing(proxy.accept()[0]):
                pass
            with pytest.raises(UsageError, match="Address already in use"):
                reserve("127.0.0.1", port)


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/v2/models/fno/infer", b"413", b"larger than this server takes"),
        ("/v2/models/gno/infer", b"404", b"unknown model"),
        ("/v2/health/live", b"405", b"another method"),
    ],
)
def test_a_client_that_writes_all_before_it_reads_learns_why(
    serving, small: Callable[[], ServedModel], path: str, status: bytes, words: bytes
) -> None:
    """A refusal sent into an unread body would reach the client as a reset connection."""
    limits = Limits(max_request_bytes=4 * MIB)
    with serving({"fno": small()}, limits) as address, closing(connect(address)) as connection:
        connection.sendall(post(path, 6 * MIB))
        for _ in range(6):
            connection.sendall(b"\0" * MIB)
        answer = everything(connection)
    assert answer.startswith(b"HTTP/1.1 " + status)
    assert words in answer


def test_a_body_without_end_is_not_read_for_ever(serving, small: Callable[[], ServedModel]) -> None:
    limits = Limits(max_request_bytes=MIB)
    with serving({"fno": small()}, limits) as address, closing(connect(address)) as connection:
        connection.sendall(post("/v2/models/fno/infer", 2**50))
        sent = 0
        with contextlib.suppress(ConnectionError):
            while sent < 200 * MIB:
                connection.sendall(b"\0" * MIB)
                sent += MIB
        # Beyond what it drops, sockets hold a few MiB.
        assert sent < 50 * MIB


def test_a_client_that_asks_first_is_refused_before_it_sends(
    serving, small: Callable[[], ServedModel]
) -> None:
    with serving({"fno": small()}) as address, closing(connect(address)) as connection:
        connection.sendall(post("/v2/models/fno/infer", 65 * MIB, "Expect: 100-continue"))
        answer = everything(connection)
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"100 Continue" not in answer


def test_a_client_that_asks_first_may_send(serving, small: Callable[[], ServedModel], state: Tensor) -> None:
    raw = state.numpy().tobytes()
    given = {"name": "state", "datatype": "FP32", "shape": list(state.shape)}
    text = orjson.dumps({"inputs": [given | {"parameters": {"binary_data_size": len(raw)}}]})
    length = f"Inference-Header-Content-Length: {len(text)}"
    with serving({"fno": small()}) as address, closing(connect(address)) as connection:
        connection.sendall(post("/v2/models/fno/infer", len(text + raw), "Expect: 100-continue", length))
        assert connection.recv(65536).startswith(b"HTTP/1.1 100 Continue")
        connection.sendall(text + raw)
        assert everything(connection).startswith(b"HTTP/1.1 200")


def test_half_a_body_and_silence(serving, small: Callable[[], ServedModel]) -> None:
    limits = Limits(idle_timeout_s=0.3, max_queue=3)
    with serving({"fno": small()}, limits) as address, httpx.Client(base_url=f"http://{address}") as client:
        for _ in range(2):
            for _ in range(3):
                with closing(connect(address)) as connection:
                    connection.sendall(post("/v2/models/fno/infer", 1000) + b"{")
            with closing(connect(address)) as connection:
                connection.sendall(post("/v2/models/fno/infer", 1000) + b"{")
                answer = everything(connection)
            assert answer.startswith(b"HTTP/1.1 408")
            assert b"the body stopped coming for 0.3 s" in answer
        # There are four places; of those eight clients none holds one any more.
        response = client.post("/v2/models/fno/infer", content=b"{")
        assert response.status_code == 400


def test_headers_of_any_size_are_not_taken(serving, small: Callable[[], ServedModel]) -> None:
    with serving({"fno": small()}) as address, httpx.Client(base_url=f"http://{address}") as client:
        # What it does not read may come back as a reset.
        with closing(connect(address)) as connection, contextlib.suppress(ConnectionError):
            connection.sendall(b"GET /v2 HTTP/1.1\r\nHost: here\r\nX: " + b"x" * 200_000)
            assert everything(connection).startswith(b"HTTP/1.1 400")
        assert client.get("/v2").json()["name"] == "ptprof"


def test_stopping_finishes_what_runs(gated, state: Tensor) -> None:
    with listen("127.0.0.1", 0) as listener:
        server = http_server(create_app({"slow": ServedModel.of(open_runner("eager", gated))}))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        given = {"name": "state", "datatype": "FP32", "shape": list(state.shape)}
        content = orjson.dumps({"inputs": [given | {"data": state.flatten().tolist()}]})
        host, port = listener.getsockname()
        answers: list[int] = []

        def ask() -> None:
            url = f"http://{host}:{port}/v2/models/slow/infer"
            answers.append(httpx.post(url, content=content, timeout=30).status_code)

        client = threading.Thread(target=ask)
        client.start()
        assert gated.begun.acquire(timeout=10)
        server.should_exit = True
        assert _refused_in_time(f"{host}:{port}")
        assert thread.is_alive()
        gated.gate.set()
        client.join(10)
        thread.join(10)
    assert answers == [200]
    assert not thread.is_alive()


def _refused_in_time(address: str) -> bool:
    """Whether new connections are refused before long."""
    for _ in range(200):
        try:
            connect(address).close()
        except ConnectionRefusedError:
            return True
        time.sleep(0.05)
    return False


PROGRAM = """
import torch
from ptprof.runtimes import open_runner
from ptprof.serve import ServedModel, create_app, serve

class Persistence(torch.nn.Module):
    state_shape = (1, 2, 8, 12)
    def forward(self, state):
        return state[:, 0], state

serve(create_app({"persistence": ServedModel.of(open_runner("eager", Persistence()))}), port=0)
print("closed")
"""


@pytest.mark.parametrize("told", [signal.SIGINT, signal.SIGTERM])
def test_the_process_says_where_it_listens_and_stops_when_told(tmp_path: Path, told: signal.Signals) -> None:
    """As a person does: read the line, ask, press Ctrl-C; or as a supervisor does."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env=environment,
    ) as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        assert "serving on http://127.0.0.1:" in line
        url = line.split(" on ")[1].split()[0]
        # The socket listens before the line is written: a client may come at once.
        assert httpx.get(f"{url}/v2/health/ready", timeout=20).status_code == 200
        process.send_signal(told)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 0
    assert out == "closed\n"
    assert "Traceback" not in err

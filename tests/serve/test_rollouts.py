"""Rollouts on the server: all states, the last, every k-th; step by step; and with noise."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import httpx
import numpy as np
import orjson
import pytest
import torch
import tritonclient.http as triton
from torch import Tensor
from tritonclient.utils import InferenceServerException

from ptprof.runtimes import Runner, noise, open_runner
from ptprof.serve import Limits, ServedModel

SHAPE = (3, 2, 8, 12)
NAN = float("nan")


@pytest.fixture(scope="module")
def address(serving, small: Callable[[], ServedModel]) -> Iterator[str]:
    with serving({"fno": small()}, Limits(max_response_bytes=100_000, max_rollout_steps=300)) as address:
        yield address


def tensor(state: Tensor, name: str = "state") -> triton.InferInput:
    return triton.InferInput(name, list(state.shape), "FP32").set_data_from_numpy(state.numpy())


def infer(
    address: str, state: Tensor, *more: triton.InferInput, model: str = "fno", **parameters: Any
) -> Any:
    with triton.InferenceServerClient(address) as client:
        return client.infer(model, [tensor(state), *more], parameters=parameters)


@pytest.mark.parametrize(
    ("states", "kept"),
    [("all", range(7)), ("last", [6]), (1, range(7)), (2, [1, 3, 5]), (3, [2, 5]), (7, [6])],
)
def test_which_states_come_back(
    address: str, runner: Runner, state: Tensor, states: str | int, kept: Any
) -> None:
    answer = infer(address, state, rollout_steps=7, rollout_states=states).as_numpy("states")
    np.testing.assert_array_equal(answer, runner.rollout(state, 7).numpy()[:, list(kept)])


def test_the_window_after_the_rollout_is_that_of_its_last_step(
    address: str, runner: Runner, state: Tensor
) -> None:
    """Whichever states are sent."""
    outputs = [triton.InferRequestedOutput(name) for name in ("states", "state_out")]
    with triton.InferenceServerClient(address) as client:
        parameters = {"rollout_steps": 7, "rollout_states": 3}
        result = client.infer("fno", [tensor(state)], outputs=outputs, parameters=parameters)
    np.testing.assert_array_equal(result.as_numpy("state_out"), runner.rollout(state, 7).numpy()[:, -3:])


def test_only_what_is_sent_counts_as_response(address: str, runner: Runner, state: Tensor) -> None:
    """A rollout of 300 states would be 460 kB; its last one and every hundredth are not."""
    with pytest.raises(InferenceServerException, match="stream it, or keep every k-th state"):
        infer(address, state, rollout_steps=300)
    answer = infer(address, state, rollout_steps=300, rollout_states=100).as_numpy("states")
    np.testing.assert_array_equal(answer, runner.rollout(state, 300).numpy()[:, 99::100])


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"rollout_states": "all"}, "rollout_states is of a rollout: give rollout_steps as well"),
        ({"stream": True}, "stream is of a rollout"),
        ({"rollout_steps": 5, "rollout_states": 6}, "a rollout of 5 steps has no 6th state"),
        ({"rollout_steps": 5, "rollout_states": 0}, "rollout_states"),
        ({"rollout_steps": 5, "rollout_states": "first"}, "rollout_states"),
        ({"rollout_steps": 301}, "longer than this server computes at once, 300"),
        ({"rollout_steps": 5, "stream": "yes"}, "stream: "),
        ({"seed": 3}, "this model draws no noise"),
        ({"seed": -1}, "seed: "),
    ],
)
def test_parameters_that_do_not_fit(
    address: str, state: Tensor, parameters: dict[str, Any], words: str
) -> None:
    with pytest.raises(InferenceServerException, match=rf"\[400\] .*{words}"):
        infer(address, state, **parameters)


def test_a_timeout_is_honoured_in_the_line_and_between_steps(serving, gated, state: Tensor) -> None:
    """tritonclient sends microseconds."""
    gated.gate.set()
    with (
        serving({"slow": ServedModel.of(open_runner("eager", gated))}) as address,
        triton.InferenceServerClient(address) as client,
    ):
        with pytest.raises(InferenceServerException, match=r"\[503\] the request's timeout is over"):
            client.infer("slow", [tensor(state)], timeout=1)
        assert gated.calls == 0
        with pytest.raises(InferenceServerException, match=r"\[503\]"):
            client.infer("slow", [tensor(state)], timeout=100_000, parameters={"rollout_steps": 10_000})
        assert gated.calls < 10_000
        assert client.infer("slow", [tensor(state)], timeout=60_000_000).as_numpy("next") is not None


def streamed(state: Tensor, **parameters: Any) -> tuple[bytes, dict[str, str]]:
    raw = state.numpy().tobytes()
    given = {
        "name": "state",
        "datatype": "FP32",
        "shape": list(state.shape),
        "parameters": {"binary_data_size": len(raw)},
    }
    outputs = parameters.pop("outputs", None)
    document: dict[str, Any] = {"id": "s-1", "inputs": [given], "parameters": {"stream": True} | parameters}
    if outputs is not None:
        document["outputs"] = outputs
    text = orjson.dumps(document)
    return text + raw, {"inference-header-content-length": str(len(text))}


def frames(content: bytes) -> Iterator[tuple[dict[str, Any], list[np.ndarray]]]:
    """The frames of a stream, read as docs/serving.md says."""
    while content:
        line, _, content = content.partition(b"\n")
        said = json.loads(line)
        tensors = []
        for output in said.get("outputs", []):
            size = output["parameters"]["binary_data_size"]
            tensors.append(np.frombuffer(content[:size], "<f4").reshape(output["shape"]))
            content = content[size:]
        yield said, tensors


def test_a_stream_is_the_rollout_state_by_state(address: str, runner: Runner, state: Tensor) -> None:
    outputs = [{"name": "states", "parameters": {"binary_data": True}}]
    outputs += [{"name": "state_out", "parameters": {"binary_data": True}}]
    content, headers = streamed(state, rollout_steps=7, rollout_states=2, outputs=outputs)
    response = httpx.post(f"http://{address}/v2/models/fno/infer", content=content, headers=headers)
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/vnd.ptprof.stream"
    assert "content-length" not in response.headers
    *steps, (last, (state_out,)) = list(frames(response.content))
    whole = runner.rollout(state, 7).numpy()
    assert [said["parameters"]["step"] for said, _ in steps] == [2, 4, 6]
    for said, (states,) in steps:
        assert (said["id"], said["model_name"], said["model_version"]) == ("s-1", "fno", "1")
        assert "final" not in said["parameters"]
        np.testing.assert_array_equal(states[:, 0], whole[:, said["parameters"]["step"] - 1])
    assert (last["parameters"]["step"], last["parameters"]["final"]) == (7, True)
    assert [output["name"] for output in last["outputs"]] == ["state_out"]
    np.testing.assert_array_equal(state_out, whole[:, -3:])


def test_a_stream_in_json_needs_no_binary(address: str, runner: Runner, state: Tensor) -> None:
    content, headers = streamed(state, rollout_steps=2)
    response = httpx.post(f"http://{address}/v2/models/fno/infer", content=content, headers=headers)
    lines = [json.loads(line) for line in response.content.splitlines()]
    assert [line["parameters"]["step"] for line in lines] == [1, 2]
    values = np.float32(lines[1]["outputs"][0]["data"]).reshape(2, 2, 8, 12)
    np.testing.assert_array_equal(values, runner.rollout(state, 2).numpy()[:, 1])


def test_states_come_before_the_rollout_is_done(serving, gated, state: Tensor) -> None:
    """The first state is there while the second is not computed yet; a fault is the stream's last line."""
    content, headers = streamed(state, rollout_steps=3, binary_data_output=True)
    gated.gate.set()
    with (
        serving({"slow": ServedModel.of(open_runner("eager", gated))}) as address,
        httpx.Client(timeout=20) as client,
        client.stream(
            "POST", f"http://{address}/v2/models/slow/infer", content=content, headers=headers
        ) as response,
    ):
        received = response.iter_raw()
        first = next(received)
        assert json.loads(first.partition(b"\n")[0])["parameters"]["step"] == 1
        assert [said["parameters"]["step"] for said, _ in frames(first + b"".join(received))] == [1, 2, 3]
        assert gated.calls == 3


def test_a_fault_in_the_middle_of_a_stream_is_its_last_line(serving, small_step, state: Tensor) -> None:
    class Breaking(small_step):
        calls = 0

        def forward(self, state: Tensor) -> tuple[Tensor, Tensor]:
            self.calls += 1
            if self.calls == 3:
                raise RuntimeError("the weights are gone")
            return super().forward(state)

    content, headers = streamed(state, rollout_steps=9, binary_data_output=True)
    with serving({"fno": ServedModel.of(open_runner("eager", Breaking()))}) as address:
        response = httpx.post(f"http://{address}/v2/models/fno/infer", content=content, headers=headers)
        metrics = httpx.get(f"http://{address}/metrics").text
    *steps, (last, _) = list(frames(response.content))
    assert [said["parameters"]["step"] for said, _ in steps] == [1, 2]
    assert last == {"error": "the forecast failed: the server's log says why", "status": 500}
    assert 'ptprof_requests_total{model="fno",status="500"} 1.0' in metrics


def test_what_cannot_begin_is_refused_and_not_streamed(address: str, state: Tensor) -> None:
    content, headers = streamed(state, rollout_steps=9)
    response = httpx.post(f"http://{address}/v2/models/fno/infer", content=content[:-4], headers=headers)
    assert response.status_code == 400
    assert "follow the JSON" in response.json()["error"]


def test_a_client_who_leaves_a_stream_stops_the_work(serving, small_step, state: Tensor) -> None:
    class Counting(small_step):
        calls = 0

        def forward(self, state: Tensor) -> tuple[Tensor, Tensor]:
            self.calls += 1
            time.sleep(0.005)
            return super().forward(state)

    module = Counting()
    content, headers = streamed(state, rollout_steps=10_000, binary_data_output=True)
    with serving({"slow": ServedModel.of(open_runner("eager", module))}) as address:
        host, port = address.split(":")
        with closing(socket.create_connection((host, int(port)), timeout=20)) as connection:
            lines = ["POST /v2/models/slow/infer HTTP/1.1", "Host: here", f"Content-Length: {len(content)}"]
            lines += [f"{name}: {value}" for name, value in headers.items()]
            connection.sendall("\r\n".join([*lines, "", ""]).encode() + content)
            assert connection.recv(4096).startswith(b"HTTP/1.1 200")
        for _ in range(100):
            before = module.calls
            time.sleep(0.1)
            if module.calls == before:
                break
        assert module.calls == before < 10_000
        # The place is free again, and what was computed is counted as left.
        answer = infer(address, state, model="slow")
        metrics = httpx.get(f"http://{address}/metrics").text
    assert answer.as_numpy("next") is not None
    assert 'ptprof_requests_total{model="slow",status="499"} 1.0' in metrics
    assert 'ptprof_requests_in_progress{model="slow"} 0.0' in metrics


def test_a_reader_who_stops_reading_does_not_keep_others_waiting(serving, state: Tensor) -> None:
    """It keeps its place, and is given up after the time of silence."""

    class Wide(torch.nn.Module):
        state_shape = (1, 1, 512, 512)

        def forward(self, state: Tensor) -> tuple[Tensor, Tensor]:
            return state[:, 0] + 1, state + 1

    window = torch.zeros(1, 1, 1, 512, 512)
    content, headers = streamed(window, rollout_steps=10_000, binary_data_output=True)
    with serving(
        {"wide": ServedModel.of(open_runner("eager", Wide()))}, Limits(idle_timeout_s=0.5)
    ) as address:
        host, port = address.split(":")
        with closing(socket.create_connection((host, int(port)), timeout=20)) as connection:
            lines = ["POST /v2/models/wide/infer HTTP/1.1", "Host: here", f"Content-Length: {len(content)}"]
            lines += [f"{name}: {value}" for name, value in headers.items()]
            connection.sendall("\r\n".join([*lines, "", ""]).encode() + content)
            assert connection.recv(4096).startswith(b"HTTP/1.1 200")
            assert infer(address, window, model="wide").as_numpy("next").max() == 1
            for _ in range(100):
                if 'status="499"' in httpx.get(f"http://{address}/metrics").text:
                    break
                time.sleep(0.1)
            assert (
                'ptprof_requests_in_progress{model="wide"} 0.0' in httpx.get(f"http://{address}/metrics").text
            )


class Sampling(torch.nn.Module):
    """A step that adds its noise."""

    state_shape = SHAPE
    takes_noise = True

    def forward(self, state: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        following = state[:, -1] + noise
        return following, torch.cat((state[:, 1:], following.unsqueeze(1)), dim=1)


@pytest.fixture(scope="module")
def sampling(serving) -> Iterator[str]:
    runner = open_runner("eager", Sampling())
    assert runner.takes_noise
    with serving({"flow": ServedModel.of(runner)}) as address:
        yield address


@pytest.mark.parametrize("seed", [None, 0, 7])
def test_a_seed_gives_the_noise_that_it_gives_everywhere(
    sampling: str, state: Tensor, seed: int | None
) -> None:
    given = {} if seed is None else {"seed": seed}
    drawn = noise.draw(seed or 0, 2, 5, *SHAPE[1:])
    rollout = infer(sampling, state, model="flow", rollout_steps=5, **given).as_numpy("states")
    expected = state[:, None, -1] + drawn.cumsum(dim=1)
    np.testing.assert_allclose(rollout, expected.numpy(), rtol=1e-6, atol=1e-6)
    one = infer(sampling, state, model="flow", **given).as_numpy("next")
    np.testing.assert_array_equal(one, rollout[:, 0])


def test_noise_may_be_sent(sampling: str, state: Tensor) -> None:
    given = torch.randn(2, 4, *SHAPE[1:])
    rollout = infer(sampling, state, tensor(given, "noise"), model="flow", rollout_steps=4)
    expected = (state[:, None, -1] + given.cumsum(dim=1)).numpy()
    np.testing.assert_allclose(rollout.as_numpy("states"), expected, rtol=1e-6, atol=1e-6)
    one = infer(sampling, state, tensor(given[:, 0].contiguous(), "noise"), model="flow").as_numpy("next")
    np.testing.assert_array_equal(one, (state[:, -1] + given[:, 0]).numpy())


def test_noise_that_does_not_fit(sampling: str, address: str, state: Tensor) -> None:
    one = torch.randn(2, *SHAPE[1:])
    wrong = [
        (sampling, "flow", one, {"rollout_steps": 2}, r"input 'noise' has shape \[2, 2, 8, 12\]"),
        (sampling, "flow", one[:1], {}, r"takes \[2, 2, 8, 12\]"),
        (sampling, "flow", one, {"seed": 1}, "the input 'noise' or the parameter seed, not both"),
        (sampling, "flow", one * NAN, {}, "input 'noise' holds NaN"),
        (address, "fno", one, {}, "unknown input 'noise'"),
    ]
    for where, model, values, parameters, words in wrong:
        with pytest.raises(InferenceServerException, match=words):
            infer(where, state, tensor(values, "noise"), model=model, **parameters)


def test_the_metadata_tells_of_the_noise(sampling: str) -> None:
    with triton.InferenceServerClient(sampling) as client:
        inputs = client.get_model_metadata("flow")["inputs"]
        assert [entry["name"] for entry in inputs] == ["state", "noise"]
        assert client.get_model_config("flow")["input"][1]["optional"] is True

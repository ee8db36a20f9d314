"""Everything that NVIDIA's own client can ask, against a real server on a real socket."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
from torch import Tensor
from tritonclient.utils import InferenceServerException

from ptprof.export.onnx import write_onnx
from ptprof.export.step import DeployableStep
from ptprof.records import Statistics
from ptprof.runtimes import Runner, open_runner
from ptprof.runtimes.metadata import Metadata
from ptprof.serve import Limits, ServedModel

SHAPE = [3, 2, 8, 12]
LIMITS = Limits(max_request_bytes=2**20, max_response_bytes=2**20)


@pytest.fixture(scope="module")
def address(serving, small: Callable[[], ServedModel]) -> Iterator[str]:
    with serving({"fno": small(), "unet": small()}, LIMITS) as address:
        yield address


@pytest.fixture
def client(address: str) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(address) as client:
        yield client


def tensor(state: Tensor, binary: bool = True, name: str = "state") -> triton.InferInput:
    given = triton.InferInput(name, list(state.shape), "FP32")
    return given.set_data_from_numpy(state.numpy(), binary_data=binary)


def test_health_and_metadata(client: triton.InferenceServerClient) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("fno")
    assert client.is_model_ready("fno", "1")
    assert not client.is_model_ready("fno", "2")
    assert not client.is_model_ready("gno")
    server = client.get_server_metadata()
    assert server["name"] == "ptprof"
    assert set(server["extensions"]) == {
        "binary_tensor_data",
        "model_configuration",
        "model_repository",
        "parameters",
        "statistics",
    }
    metadata = client.get_model_metadata("fno", "1")
    assert metadata == client.get_model_metadata("fno")
    assert (metadata["name"], metadata["versions"]) == ("fno", ["1"])
    assert metadata["inputs"] == [{"name": "state", "datatype": "FP32", "shape": [-1, *SHAPE]}]
    assert metadata["outputs"] == [
        {"name": "next", "datatype": "FP32", "shape": [-1, *SHAPE[1:]]},
        {"name": "state_out", "datatype": "FP32", "shape": [-1, *SHAPE]},
    ]
    index = client.get_model_repository_index()
    assert [(entry["name"], entry["version"], entry["state"]) for entry in index] == [
        ("fno", "1", "READY"),
        ("unet", "1", "READY"),
    ]


def test_config_is_consistent_with_metadata_and_limits(
    client: triton.InferenceServerClient, runner: Runner
) -> None:
    config = client.get_model_config("fno")
    assert config == client.get_model_config("fno", "1")
    assert config["name"] == "fno"
    assert config["input"] == [{"name": "state", "data_type": "TYPE_FP32", "dims": SHAPE}]
    assert [output["dims"] for output in config["output"]] == [SHAPE[1:], SHAPE]
    assert config["parameters"]["device"] == {"string_value": "cpu"}
    # The batch that it promises fits, beside a kilobyte of JSON.
    largest = config["max_batch_size"]
    state = torch.zeros(largest, *SHAPE)
    answer = client.infer("fno", [tensor(state)]).as_numpy("next")
    np.testing.assert_array_equal(answer, runner.step(state)[0].numpy())
    with pytest.raises(InferenceServerException, match=rf"\[400\] a batch of {largest + 1} states is larger"):
        client.infer("fno", [tensor(torch.zeros(largest + 1, *SHAPE))])
    with pytest.raises(InferenceServerException, match=r"\[413\].*larger than this server takes, 1 MiB"):
        client.infer("fno", [tensor(torch.zeros(600, *SHAPE))])
    batching = config["dynamic_batching"]
    assert (batching["preferred_batch_size"], batching["max_queue_delay_microseconds"]) == ([], 0)


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False])
def test_one_step(
    client: triton.InferenceServerClient, runner: Runner, state: Tensor, binary_in: bool, binary_out: bool
) -> None:
    wanted = [triton.InferRequestedOutput(name, binary_data=binary_out) for name in ("state_out", "next")]
    # There is one queue, in the order of arrival: a priority is taken, and changes nothing.
    options = {"model_version": "1", "request_id": "a-1", "priority": 1, "timeout": 60_000_000}
    result = client.infer("fno", [tensor(state, binary_in)], outputs=wanted, **options)
    response = result.get_response()
    assert (response["id"], response["model_name"], response["model_version"]) == ("a-1", "fno", "1")
    assert [output["name"] for output in response["outputs"]] == ["state_out", "next"]
    for name, expected in zip(("next", "state_out"), runner.step(state), strict=True):
        np.testing.assert_array_equal(result.as_numpy(name), expected.numpy())
        assert ("data" in result.get_output(name)) is not binary_out


def test_binary_and_json_outputs_in_one_response(
    client: triton.InferenceServerClient, runner: Runner, state: Tensor
) -> None:
    wanted = [
        triton.InferRequestedOutput("next", binary_data=False),
        triton.InferRequestedOutput("state_out", binary_data=True),
    ]
    result = client.infer("fno", [tensor(state)], outputs=wanted)
    for name, expected in zip(("next", "state_out"), runner.step(state), strict=True):
        np.testing.assert_array_equal(result.as_numpy(name), expected.numpy())


def test_unnamed_outputs_are_next_alone(
    client: triton.InferenceServerClient, runner: Runner, state: Tensor
) -> None:
    result = client.infer("fno", [tensor(state)])
    response = result.get_response()
    assert [output["name"] for output in response["outputs"]] == ["next"]
    # The client then asks for binary output, by a parameter of the request.
    assert response["outputs"][0]["parameters"] == {"binary_data_size": 2 * 2 * 8 * 12 * 4}
    assert "id" not in response
    np.testing.assert_array_equal(result.as_numpy("next"), runner.step(state)[0].numpy())


@pytest.mark.parametrize("steps", [1, 2, 7])
def test_rollout(client: triton.InferenceServerClient, runner: Runner, state: Tensor, steps: int) -> None:
    result = client.infer("fno", [tensor(state)], parameters={"rollout_steps": steps})
    assert [output["name"] for output in result.get_response()["outputs"]] == ["states"]
    states = result.as_numpy("states")
    assert states.shape == (2, steps, *SHAPE[1:])
    np.testing.assert_array_equal(states, runner.rollout(state, steps).numpy())


def test_rollout_goes_on_from_its_last_window(
    client: triton.InferenceServerClient, runner: Runner, state: Tensor
) -> None:
    """Pieces shorter and longer than the history join to the rollout in one go."""
    wanted = [triton.InferRequestedOutput(name) for name in ("states", "state_out")]
    pieces, window = [], state
    for steps in (2, 5, 1):
        result = client.infer("fno", [tensor(window)], outputs=wanted, parameters={"rollout_steps": steps})
        pieces.append(result.as_numpy("states"))
        window = torch.from_numpy(result.as_numpy("state_out").copy())
    np.testing.assert_array_equal(np.concatenate(pieces, axis=1), runner.rollout(state, 8).numpy())


@pytest.mark.parametrize("request_coding", [None, "gzip", "deflate"])
@pytest.mark.parametrize("response_coding", [None, "gzip", "deflate"])
def test_compression(
    client: triton.InferenceServerClient,
    runner: Runner,
    state: Tensor,
    request_coding: str | None,
    response_coding: str | None,
) -> None:
    result = client.infer(
        "fno",
        [tensor(state)],
        request_compression_algorithm=request_coding,
        response_compression_algorithm=response_coding,
    )
    np.testing.assert_array_equal(result.as_numpy("next"), runner.step(state)[0].numpy())


def test_statistics_count_what_was_done(serving, small: Callable[[], ServedModel], state: Tensor) -> None:
    with (
        serving({"fno": small(), "unet": small()}) as address,
        triton.InferenceServerClient(address) as client,
    ):
        for _ in range(3):
            client.infer("fno", [tensor(state)])
        client.infer("fno", [tensor(state[:1])])
        with pytest.raises(InferenceServerException):
            client.infer("fno", [tensor(state[:, :2])])
        (fno,) = client.get_inference_statistics("fno", "1")["model_stats"]
        assert (fno["inference_count"], fno["execution_count"]) == (7, 4)
        done = fno["inference_stats"]
        assert {name: tally["count"] for name, tally in done.items()} == {
            "success": 4,
            "fail": 1,
            "queue": 4,
            "compute_input": 4,
            "compute_infer": 4,
            "compute_output": 4,
            "cache_hit": 0,
            "cache_miss": 0,
        }
        parts = ("queue", "compute_input", "compute_infer", "compute_output")
        assert 0 < sum(done[part]["ns"] for part in parts) <= done["success"]["ns"]
        assert [(b["batch_size"], b["compute_infer"]["count"]) for b in fno["batch_stats"]] == [
            (1, 1),
            (2, 3),
        ]
        everything = client.get_inference_statistics()["model_stats"]
        assert [entry["name"] for entry in everything] == ["fno", "unet"]
        assert everything[1]["inference_stats"]["success"] == {"count": 0, "ns": 0}


def refused(client: triton.InferenceServerClient, match: str, *inputs: triton.InferInput, **options) -> None:
    """Check the refusal as the client's user reads it."""
    with pytest.raises(InferenceServerException, match=match):
        client.infer(options.pop("model", "fno"), list(inputs), **options)


def test_refusals_reach_the_clients_user_in_words(
    client: triton.InferenceServerClient, state: Tensor
) -> None:
    given = tensor(state)
    refused(client, r"\[404\] unknown model 'fn' \(did you mean 'fno'\?\)", given, model="fn")
    refused(client, r"\[404\] model 'fno' has no version '2'", given, model_version="2")
    refused(
        client,
        r"\[400\] input 'state' has shape \[2, 2, 2, 8, 12\]: the model takes \[B, 3, 2, 8, 12\]",
        tensor(state[:, :2]),
    )
    refused(client, r"\[400\] unknown input 'stat'.*'state'", tensor(state, name="stat"))
    refused(client, r"\[400\] the request has the input 'state' more than once", given, given)
    refused(client, r"\[400\] the request lacks the input 'state'", *[])
    doubles = triton.InferInput("state", list(state.shape), "FP64")
    refused(
        client,
        r"\[400\] input 'state' has datatype 'FP64'",
        doubles.set_data_from_numpy(state.double().numpy()),
    )
    refused(
        client,
        r"\[400\] unknown output 'nxt' \(did you mean 'next'\?\)",
        given,
        outputs=[triton.InferRequestedOutput("nxt")],
    )
    refused(
        client,
        r"\[400\] output 'states' is of a rollout",
        given,
        outputs=[triton.InferRequestedOutput("states")],
    )
    refused(
        client,
        r"\[400\] classification is not supported",
        given,
        outputs=[triton.InferRequestedOutput("next", class_count=2)],
    )
    in_memory = triton.InferRequestedOutput("next")
    in_memory.set_shared_memory("region", 64)
    refused(client, r"\[400\] shared memory is not supported", given, outputs=[in_memory])
    from_memory = triton.InferInput("state", list(state.shape), "FP32")
    from_memory.set_shared_memory("region", 64)
    refused(client, r"\[400\] shared memory is not supported", from_memory)
    refused(client, r"\[400\] the server keeps no sequence", given, sequence_id=3, sequence_start=True)
    for steps in (0, -1, "4", 2.0, True, [3]):
        refused(client, r"\[400\] rollout_steps: Input should be", given, parameters={"rollout_steps": steps})
    refused(
        client,
        r"\[400\] unknown parameter 'rollout_step' \(did you mean 'rollout_steps'\?\)",
        given,
        parameters={"rollout_step": 3},
    )
    for value in (float("nan"), float("inf"), float("-inf")):
        bad = state.clone()
        bad[1, 2, 1, 7, 11] = value
        refused(client, r"\[400\] input 'state' holds NaN or infinity", tensor(bad))
    # After all of that, the same connection still forecasts.
    assert client.infer("fno", [given]).as_numpy("next").shape == (2, 2, 8, 12)


def test_too_large_a_response_is_refused_before_any_work(serving, gated, state: Tensor) -> None:
    one = 2 * 2 * 8 * 12 * 4
    limits = Limits(max_response_bytes=10 * one)
    gated.gate.set()
    with (
        serving({"slow": ServedModel.of(open_runner("eager", gated))}, limits) as address,
        triton.InferenceServerClient(address) as client,
    ):
        too_many = r"\[400\] the forecast would take .* at most .*: stream it, or keep every k-th state"
        refused(client, too_many, tensor(state), model="slow", parameters={"rollout_steps": 11})
        endless = r"\[400\] a rollout of 1000000 steps is longer than .* 10000: go on from its state_out"
        only_the_last = [triton.InferRequestedOutput("state_out")]
        refused(
            client,
            endless,
            tensor(state),
            model="slow",
            parameters={"rollout_steps": 10**6},
            outputs=only_the_last,
        )
        # JSON is larger than binary, and counts as what it may take.
        as_json = [triton.InferRequestedOutput("states", binary_data=False)]
        refused(
            client, too_many, tensor(state), model="slow", parameters={"rollout_steps": 3}, outputs=as_json
        )
        assert gated.calls == 0
        result = client.infer("slow", [tensor(state)], parameters={"rollout_steps": 10})
        assert result.as_numpy("states").nbytes == limits.max_response_bytes


def test_diverged_forecasts_come_as_they_are(serving, state: Tensor) -> None:
    """A model may diverge: binary outputs hold IEEE's infinity, JSON has null."""

    class Diverging(torch.nn.Module):
        state_shape = tuple(SHAPE)

        def forward(self, state: Tensor) -> tuple[Tensor, Tensor]:
            return state[:, 0] * torch.inf, state

    with (
        serving({"bad": ServedModel.of(open_runner("eager", Diverging()))}) as address,
        triton.InferenceServerClient(address) as client,
    ):
        binary = client.infer("bad", [tensor(state)]).as_numpy("next")
        assert np.isinf(binary).all()
        as_json = [triton.InferRequestedOutput("next", binary_data=False)]
        data = client.infer("bad", [tensor(state)], outputs=as_json).get_output("next")["data"]
        assert set(data) == {None}


def test_a_fault_in_the_model_is_a_500_and_the_service_goes_on(
    serving, small: Callable[[], ServedModel], state: Tensor, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(torch.nn.Module):
        state_shape = tuple(SHAPE)

        def forward(self, state: Tensor) -> tuple[Tensor, Tensor]:
            raise RuntimeError("the secret of the model")

    models = {"broken": ServedModel.of(open_runner("eager", Broken())), "fno": small()}
    with serving(models) as address, triton.InferenceServerClient(address) as client:
        logging.getLogger("ptprof.serve").addHandler(caplog.handler)
        with pytest.raises(InferenceServerException, match=r"\[500\] the forecast failed") as caught:
            client.infer("broken", [tensor(state)])
        logging.getLogger("ptprof.serve").removeHandler(caplog.handler)
        assert "secret" not in str(caught.value)
        assert "the secret of the model" in caplog.text
        assert client.infer("fno", [tensor(state)]).as_numpy("next") is not None


def test_async_infer(address: str, runner: Runner, state: Tensor) -> None:
    with triton.InferenceServerClient(address, concurrency=4) as client:
        waiting = [client.async_infer("fno", [tensor(state[i : i + 1])]) for i in (0, 1, 0, 1)]
        for index, request in zip((0, 1, 0, 1), waiting, strict=True):
            expected = runner.step(state[index : index + 1])[0].numpy()
            np.testing.assert_array_equal(request.get_result().as_numpy("next"), expected)


def test_aio(address: str, runner: Runner, state: Tensor) -> None:
    async def ask() -> None:
        async with triton_aio.InferenceServerClient(address) as client:
            assert await client.is_server_ready()
            assert (await client.get_model_metadata("fno"))["inputs"][0]["shape"] == [-1, *SHAPE]
            names = ["fno", "unet", "fno"]
            results = await asyncio.gather(*(client.infer(name, [tensor(state)]) for name in names))
            for result in results:
                np.testing.assert_array_equal(result.as_numpy("next"), runner.step(state)[0].numpy())
            packed = await client.infer(
                "fno",
                [tensor(state, binary=False)],
                parameters={"rollout_steps": 4},
                request_compression_algorithm="gzip",
                response_compression_algorithm="deflate",
            )
            np.testing.assert_array_equal(packed.as_numpy("states"), runner.rollout(state, 4).numpy())
            with pytest.raises(InferenceServerException, match=r"\[404\] unknown model"):
                await client.infer("gno", [tensor(state)])

    asyncio.run(ask())


def test_an_onnx_file_behind_http(serving, tmp_path: Path) -> None:
    """The deployable step as ONNX, by ONNX Runtime: what the server says is what the runner says."""
    statistics = Statistics(fields=("u", "v"), mean=(0.5, -1.0), std=(2.0, 0.3))
    torch.manual_seed(3)
    model = torch.nn.Conv2d(6, 2, 3, padding=1)
    step = DeployableStep(model, statistics, history=3, grid=(8, 12)).eval()
    about = Metadata(
        model="conv",
        run="conv-quick-s0",
        recipe="quick",
        grid=(8, 12),
        history=3,
        fields=("u", "v"),
        units={"u": "m/s", "v": "m/s"},
        statistics=statistics,
        checkpoint_sha256="0" * 64,
        versions={"onnxruntime": onnxruntime.__version__},
    )
    path = tmp_path / "model.onnx"
    write_onnx(step, about, path)
    state = torch.randn(3, *SHAPE)
    with (
        open_runner("onnxruntime", path) as ours,
        open_runner("onnxruntime", path) as theirs,
        serving({"conv": ServedModel.of(theirs)}) as address,
        triton.InferenceServerClient(address) as client,
    ):
        assert client.get_model_metadata("conv")["platform"] == "onnxruntime_onnx"
        assert client.get_model_config("conv")["parameters"]["units"] == {"string_value": "u: m/s, v: m/s"}
        wanted = [triton.InferRequestedOutput(name) for name in ("next", "state_out")]
        result = client.infer("conv", [tensor(state)], outputs=wanted)
        for name, expected in zip(("next", "state_out"), ours.step(state), strict=True):
            np.testing.assert_array_equal(result.as_numpy(name), expected.numpy())
        rollout = client.infer("conv", [tensor(state)], parameters={"rollout_steps": 5})
        np.testing.assert_array_equal(rollout.as_numpy("states"), ours.rollout(state, 5).numpy())

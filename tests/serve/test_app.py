"""Requests that no well-behaved client sends: each is refused in words, none is a fault of the server."""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import numpy as np
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette
from torch import Tensor

from ptprof.errors import UsageError
from ptprof.runtimes import Runner
from ptprof.serve import Limits, ServedModel, create_app

INFER = "/v2/models/fno/infer"
LENGTH = "inference-header-content-length"
LIMITS = Limits(max_request_bytes=200_000, max_response_bytes=200_000)

Ask = Callable[..., httpx.Response]


@pytest.fixture(scope="module")
def app(small: Callable[[], ServedModel]) -> Starlette:
    return create_app({"fno": small()}, limits=LIMITS)


@pytest.fixture(scope="module")
def ask(app: Starlette) -> Iterator[Ask]:
    """Ask the app itself; a fault inside it is raised here."""
    with asyncio.Runner() as loop:
        client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://here")

        def ask(path: str, content: Any = None, *, method: str = "POST", **headers: Any) -> httpx.Response:
            named = {name.replace("_", "-"): str(value).encode("latin-1") for name, value in headers.items()}
            return loop.run(client.request(method, path, content=content, headers=named))

        yield ask
        loop.run(client.aclose())


def document(state: Tensor, **changes: Any) -> dict[str, Any]:
    """A request for one step; ``changes`` are to its input."""
    given = {"name": "state", "datatype": "FP32", "shape": list(state.shape)}
    return {"inputs": [given | changes]}


def binary(state: Tensor, **changes: Any) -> tuple[bytes, int]:
    """A request with its tensor in binary, and the length of its JSON."""
    raw = state.numpy().tobytes()
    text = orjson.dumps(document(state, parameters={"binary_data_size": len(raw)}) | changes)
    return text + raw, len(text)


def refused(response: httpx.Response, status: int, *words: str) -> None:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    message = response.json()["error"]
    assert "\n" not in message
    for word in words:
        assert word in message


def test_curl_can_do_it_with_json_alone(ask: Ask, runner: Runner, state: Tensor) -> None:
    """Flat or nested data, no header at all; what comes back is JSON, whatever encodings are offered."""
    expected = runner.step(state)[0].numpy()
    for data in (state.flatten().tolist(), state.tolist()):
        body = orjson.dumps(document(state, data=data))
        response = ask(INFER, body, accept_encoding="gzip, deflate, br")
        assert response.status_code == 200
        assert response.headers["content-type"] == "application/json"
        assert "content-encoding" not in response.headers
        assert LENGTH not in response.headers
        (output,) = response.json()["outputs"]
        assert (output["name"], output["datatype"], output["shape"]) == ("next", "FP32", [2, 2, 8, 12])
        # orjson prints a float32 by the shortest digits that give it back.
        values = np.array(output["data"], dtype=np.float32).reshape(output["shape"])
        np.testing.assert_array_equal(values, expected)


def test_response_compression_is_by_request_alone(ask: Ask, runner: Runner, state: Tensor) -> None:
    zeros = state * 0
    body, length = binary(zeros, parameters={"binary_data_output": True})
    for coding in ("gzip", "deflate"):
        response = ask(INFER, body, **{LENGTH: length}, accept_encoding=coding)
        assert response.headers["content-encoding"] == coding
        assert int(response.headers["content-length"]) < len(response.content)
        sent = response.content[int(response.headers[LENGTH]) :]
        assert sent == runner.step(zeros)[0].numpy().tobytes()
    for offer in ("gzip, deflate", "gzip;q=0", "br", "*", ""):
        response = ask(INFER, body, **{LENGTH: length}, accept_encoding=offer)
        assert response.status_code == 200
        assert "content-encoding" not in response.headers
    # Errors and metadata are never packed: tritonclient reads those as they are.
    refused(ask(INFER, b"{", accept_encoding="gzip"), 400, "not JSON")
    assert "content-encoding" not in ask("/v2/models/fno", method="GET", accept_encoding="gzip").headers


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b"\xff\xfe", b"NaN", b'{"inputs": NaN}', b"[" * 5000, b'{"id": "\\ud800"}'],
)
def test_what_is_not_a_json_object(ask: Ask, content: bytes) -> None:
    refused(ask(INFER, content), 400, "the request is not")


@pytest.mark.parametrize(
    ("request_", "word"),
    [
        ({}, "inputs: Field required"),
        ({"inputs": {}}, "inputs: "),
        ({"inputs": []}, "the request lacks the input 'state'"),
        ({"inputs": ["state"]}, "inputs.0: "),
        ({"inputs": [{"name": "state", "datatype": "FP32"}]}, "inputs.0.shape: Field required"),
        ({"inputs": [{"name": 1, "shape": [], "datatype": "FP32"}]}, "inputs.0.name: "),
        ({"id": 7, "inputs": []}, "id: "),
        ({"inputs": [], "parameters": []}, "parameters: "),
        ({"inputs": [], "outputs": ["next"]}, "outputs.0: "),
        ({"inputs": [], "outputs": None}, "outputs: "),
        ({"inputs": [], "parameters": {"binary_data_output": "yes"}}, "binary_data_output: "),
    ],
)
def test_json_of_another_form(ask: Ask, request_: dict[str, Any], word: str) -> None:
    refused(ask(INFER, orjson.dumps(request_)), 400, word)


@pytest.mark.parametrize(
    "shape",
    [
        [],
        [2],
        [0, 3, 2, 8, 12],
        [-1, 3, 2, 8, 12],
        [2, 3, 2, 12, 8],
        [2, 3, 2, 8, 12, 1],
        [2**63, 3, 2, 8, 12],
    ],
)
def test_shapes_that_the_model_does_not_take(ask: Ask, state: Tensor, shape: list[int]) -> None:
    body = orjson.dumps(document(state, shape=shape, data=[1.0]))
    refused(ask(INFER, body), 400)


def test_a_true_batch_dimension_is_no_integer(ask: Ask, state: Tensor) -> None:
    body = orjson.dumps(document(state, shape=[True, 3, 2, 8, 12], data=state[:1].flatten().tolist()))
    refused(ask(INFER, body), 400, "shape.0: Input should be a valid integer")


@pytest.mark.parametrize(
    "data",
    [
        5,
        "text",
        {},
        [],
        [[]],
        [1.0, 2.0],
        [1.0] * 1151 + [None],
        [1.0] * 1151 + ["1.0"],
        [1.0] * 1151 + [True, 2.0],
        [True] * 1152,
        [1.0] * 1151 + [[1.0]],
        [1.0] * 1151 + [1e300],
        [[1.0] * 576] * 2,
        [10**30] * 1151 + [{}],
    ],
)
def test_data_that_is_no_such_tensor(ask: Ask, state: Tensor, data: Any) -> None:
    # The standard library writes integers of any size.
    body = json.dumps(document(state, data=data)).encode()
    refused(ask(INFER, body), 400, "input 'state'")


def test_data_twice_or_not_at_all(ask: Ask, state: Tensor) -> None:
    refused(ask(INFER, orjson.dumps(document(state))), 400, "neither data nor the parameter binary_data_size")
    raw = state.numpy().tobytes()
    twice = orjson.dumps(document(state, data=[1.0], parameters={"binary_data_size": len(raw)}))
    refused(ask(INFER, twice + raw, **{LENGTH: len(twice)}), 400, "binary data as well")
    once = orjson.dumps(document(state, data=state.flatten().tolist()))
    refused(ask(INFER, once + raw, **{LENGTH: len(once)}), 400, "binary data as well")


def test_binary_sizes_that_do_not_add_up(ask: Ask, state: Tensor) -> None:
    body, length = binary(state)
    refused(ask(INFER, body), 400, "not JSON")
    refused(ask(INFER, body[:-4], **{LENGTH: length}), 400, "4604 follow")
    refused(ask(INFER, body + b"\0", **{LENGTH: length}), 400, "4609 follow")
    refused(ask(INFER, body, **{LENGTH: length - 1}), 400, "not JSON")
    refused(ask(INFER, body, **{LENGTH: length + 1}), 400, "not JSON")
    refused(ask(INFER, body, **{LENGTH: len(body) + 1}), 400, "whole body has")
    for size in (-1, 0, 4604, 2**62, "4608", 4608.0):
        text = orjson.dumps(document(state, parameters={"binary_data_size": size}))
        response = ask(INFER, text + body[length:], **{LENGTH: len(text)})
        refused(response, 400, "binary_data_size")
    for text in ("-5", "+5", "1e3", "0x10", "", "²", "9" * 5000):
        refused(
            ask(INFER, body, **{LENGTH: text}),
            400,
            "not a number of bytes",
        )


def test_nan_in_binary(ask: Ask, state: Tensor) -> None:
    for value in (float("nan"), float("inf"), float("-inf")):
        bad = state.clone()
        bad[0, 0, 0, 0, 0] = value
        body, length = binary(bad)
        refused(ask(INFER, body, **{LENGTH: length}), 400, "NaN or infinity")


def test_large_but_finite_numbers_pass(ask: Ask, state: Tensor) -> None:
    body, length = binary(state.clone().fill_(3e38))
    assert ask(INFER, body, **{LENGTH: length}).status_code == 200


@pytest.mark.parametrize("header_padding", range(17))
def test_a_tensor_at_any_offset_is_read_right(
    ask: Ask, runner: Runner, state: Tensor, header_padding: int
) -> None:
    body, length = binary(state, id="x" * header_padding, parameters={"binary_data_output": True})
    response = ask(INFER, body, **{LENGTH: length})
    sent = response.content[int(response.headers[LENGTH]) :]
    np.testing.assert_array_equal(
        np.frombuffer(sent, "<f4").reshape(2, 2, 8, 12), runner.step(state)[0].numpy()
    )


def test_encodings_that_are_not_what_they_say(ask: Ask, state: Tensor) -> None:
    body, length = binary(state)
    packed = gzip.compress(body)
    headers = {LENGTH: length, "content_encoding": "gzip"}
    assert ask(INFER, packed, **headers).status_code == 200
    refused(ask(INFER, body, **headers), 400, "is not the gzip")
    refused(ask(INFER, zlib.compress(body), **headers), 400, "is not the gzip")
    refused(ask(INFER, packed[:-9], **headers), 400, "one whole gzip stream")
    refused(ask(INFER, packed + b"more", **headers), 400, "one whole gzip stream")
    refused(ask(INFER, b"", **headers), 400, "one whole gzip stream")
    refused(ask(INFER, packed, **headers | {"content_encoding": "deflate"}), 400, "is not the deflate")
    refused(ask(INFER, packed, **headers | {"content_encoding": "br"}), 415, "'br' is not known")
    refused(ask(INFER, packed, **headers | {"content_encoding": "gzip, gzip"}), 415, "is not known")


def test_bodies_over_the_limit(ask: Ask) -> None:
    refused(ask(INFER, b" " * 200_001), 413, "larger than this server takes")
    refused(ask(INFER, gzip.compress(b" " * 200_001), content_encoding="gzip"), 413, "decompressed body")
    # Ten thousand times larger than what is sent: taken apart no further than the limit.
    bomb = gzip.compress(b"\0" * 100_000_000, compresslevel=9)
    assert len(bomb) < LIMITS.max_request_bytes
    refused(ask(INFER, bomb, content_encoding="gzip"), 413, "decompressed body")
    # The largest that is allowed is read, and then is no request.
    refused(ask(INFER, b" " * 200_000), 400, "not JSON")

    async def chunks() -> Any:
        for _ in range(21):
            yield b" " * 10_000

    refused(ask(INFER, chunks()), 413, "larger than this server takes")


def test_json_that_is_small_on_the_wire_and_large_in_memory(small: Callable[[], ServedModel]) -> None:
    """A few bytes a list, and sixty in memory; and as many faults as there are lists."""
    app = create_app({"fno": small()})

    async def post(content: bytes) -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://here") as client:
            return await client.post(INFER, content=content)

    for part in (b"[]", b"{}", b'""'):
        many = b'{"inputs":[' + b",".join([part] * 1_000_001) + b"]}"
        refused(asyncio.run(post(many)), 400, "more than 1,000,000 lists, objects and strings")
    faults = b'{"inputs":[' + b",".join([b"0"] * 2_000_000) + b"]}"
    refused(asyncio.run(post(faults)), 400, "inputs.0: ")


def test_content_length_that_lies(ask: Ask) -> None:
    refused(ask(INFER, b"{}", content_length=3), 400, "ends after 2 of the 3 bytes")
    refused(ask(INFER, b"{}", content_length=1), 400, "longer than the 1 bytes")
    refused(ask(INFER, b"{}", content_length="two"), 400, "not a number of bytes")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/v2/", 404),
        ("GET", "/v1/models/fno", 404),
        ("GET", "/v2/models", 404),
        ("GET", "/v2/models/gno", 404),
        ("GET", "/v2/models/gno/ready", 404),
        ("GET", "/v2/models/fno/versions/2/ready", 404),
        ("GET", "/v2/models/fno/versions/01", 404),
        ("GET", "/v2/models/gno/stats", 404),
        ("POST", "/v2/models/gno/infer", 404),
        ("POST", "/v2/models/..%2F..%2Fetc%2Fpasswd/infer", 404),
        ("POST", "/v2/models/" + "x" * 5000 + "/infer", 404),
        ("POST", "/v2/models/%ff%00%0a/infer", 404),
        ("POST", "/v2/repository/models/gno/load", 404),
        ("GET", "/v2/repository/models/fno/load", 405),
        ("GET", INFER, 405),
        ("POST", "/v2", 405),
        ("DELETE", "/v2/models/fno", 405),
    ],
)
def test_paths_and_methods(ask: Ask, method: str, path: str, status: int) -> None:
    response = ask(path, b"{}", method=method)
    refused(response, status)
    assert len(response.json()["error"]) < 500
    assert ("allow" in response.headers) == (status == 405)


def test_head_of_health(ask: Ask) -> None:
    assert ask("/v2/health/live", method="HEAD").status_code == 200


def test_limits_are_positive() -> None:
    for name in ("max_request_bytes", "max_response_bytes", "max_queue", "idle_timeout_s"):
        with pytest.raises(UsageError, match=f"{name} must be greater than 0"):
            Limits(**{name: 0})


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
PLACES = [
    ("id",),
    ("parameters",),
    ("parameters", "rollout_steps"),
    ("parameters", "binary_data_output"),
    ("parameters", "timeout"),
    ("outputs",),
    ("outputs", 0),
    ("outputs", 0, "name"),
    ("outputs", 0, "parameters"),
    ("outputs", 0, "parameters", "binary_data"),
    ("outputs", 0, "parameters", "classification"),
    ("inputs",),
    ("inputs", 0),
    ("inputs", 0, "name"),
    ("inputs", 0, "shape"),
    ("inputs", 0, "shape", 0),
    ("inputs", 0, "datatype"),
    ("inputs", 0, "data"),
    ("inputs", 0, "parameters"),
    ("inputs", 0, "parameters", "binary_data_size"),
]
HEADER = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20)


@settings(
    max_examples=400,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    changes=st.lists(st.tuples(st.sampled_from(PLACES), JSON), max_size=3),
    headers=st.dictionaries(
        st.sampled_from([LENGTH, "content-encoding", "accept-encoding", "content-type", "expect"]),
        HEADER | st.integers(-10, 400).map(str) | st.sampled_from(["gzip", "deflate", "identity", "*"]),
        max_size=2,
    ),
    cut=st.none() | st.integers(0, 400),
    more=st.binary(max_size=5),
)
def test_no_mutation_of_a_request_is_a_fault(
    ask: Ask, state: Tensor, changes: list[Any], headers: dict[str, str], cut: int | None, more: bytes
) -> None:
    raw = state.numpy().tobytes()
    request: Any = document(state, parameters={"binary_data_size": len(raw)})
    request |= {
        "id": "a",
        "parameters": {"rollout_steps": 2},
        "outputs": [{"name": "states", "parameters": {}}],
    }
    for place, value in changes:
        _put(request, place, value)
    text = orjson.dumps(request)
    body = (text + raw)[:cut] + more
    response = ask(INFER, body, **({LENGTH: len(text)} | headers))
    assert response.status_code in {200, 400, 413, 415}
    if response.status_code != 200:
        assert response.json()["error"]


def _put(document: Any, place: tuple[str | int, ...], value: Any) -> None:
    """Put ``value`` at ``place``, where an earlier change has left such a place."""
    for step in place[:-1]:
        inside = isinstance(document, dict) and step in document
        if not inside and not (isinstance(document, list) and step == 0 and document):
            return
        document = document[step]
    last = place[-1]
    if (isinstance(document, dict) and isinstance(last, str)) or (isinstance(document, list) and document):
        if isinstance(document, list) and last != 0:
            return
        document[last] = value

"""Forecasts from a server, numpy in and out: `ptprof.Client(url).rollout(state, steps=50)`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx
import numpy as np
from numpy.typing import ArrayLike, NDArray

from ptprof.errors import ProtocolError, PtprofError

Array = NDArray[np.float32]

_LENGTH = "Inference-Header-Content-Length"
_CONNECT_S = 10.0


class Client:
    """A server of forecasts, see docs/serving.md; to be used by one thread, and as a context or closed.

    Parameters
    ----------
    url : of the server
    token : the bearer token that it asks for, if any
    timeout_s : how long it may be silent; a rollout is silent until it is done
    transport : httpx's, in place of the network

    Attributes
    ----------
    cost : what the last answer said that it cost, by name: ``energy_j``, ``co2eq_g``, ``energy_source`` …
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        *,
        token: str | None = None,
        timeout_s: float = 600.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        self.cost: dict[str, Any] = {}
        self._http = httpx.Client(
            headers={} if token is None else {"Authorization": f"Bearer {token}"},
            timeout=httpx.Timeout(timeout_s, connect=_CONNECT_S),
            transport=transport,
        )

    def models(self) -> list[str]:
        """The models that are ready."""
        index = self._json("POST", "/v2/repository/index", {"ready": True})
        return [entry["name"] for entry in index]

    def state_shape(self, model: str | None = None) -> tuple[int, int, int, int]:
        """``(h, C, X, Y)`` of the states that a model takes."""
        inputs = self._json("GET", self._path(model))["inputs"]
        history, channels, x, y = inputs[0]["shape"][1:]
        return history, channels, x, y

    def fields(self, model: str | None = None) -> tuple[str, ...]:
        """The names of its fields."""
        parameters = self._json("GET", f"{self._path(model)}/config")["parameters"]
        return tuple(parameters.get("fields", {}).get("string_value", "").split(", "))

    def step(
        self,
        state: ArrayLike,
        *,
        model: str | None = None,
        seed: int | None = None,
        noise: ArrayLike | None = None,
    ) -> Array:
        """One step from ``state`` ``(B, h, C, X, Y)``, physical units: ``(B, C, X, Y)``.

        A state ``(h, C, X, Y)`` without a batch gives a forecast without one.

        Parameters
        ----------
        model : its name; None where the server has one alone
        seed, noise : for a model that samples its forecast; see docs/serving.md

        Raises
        ------
        ProtocolError : what the server refuses, in its words
        PtprofError : no server answers there
        """
        return self._infer(state, "next", model, noise, {"seed": seed})

    def rollout(
        self,
        state: ArrayLike,
        steps: int,
        *,
        states: str | int = "all",
        model: str | None = None,
        seed: int | None = None,
        noise: ArrayLike | None = None,
    ) -> Array:
        """A rollout of ``steps`` steps on the server: ``(B, S, C, X, Y)``.

        ``states`` says which are sent: ``all`` (S is ``steps``), ``last`` (1), or every k-th for a number.
        Otherwise as `step`; for what is too large for one answer there is `stream`.
        """
        parameters = {"rollout_steps": steps, "rollout_states": states, "seed": seed}
        return self._infer(state, "states", model, noise, parameters)

    def stream(
        self,
        state: ArrayLike,
        steps: int,
        *,
        states: str | int = "all",
        model: str | None = None,
        seed: int | None = None,
    ) -> Iterator[Array]:
        """As `rollout`, each state ``(B, C, X, Y)`` once it is there; to stop iterating stops the work."""
        window, single = _batched(state)
        parameters = {"rollout_steps": steps, "rollout_states": states, "seed": seed, "stream": True}
        content, headers = _request({"state": window}, parameters)
        url = f"{self.url}{self._path(model)}/infer"
        with _told(self.url), self._http.stream("POST", url, content=content, headers=headers) as response:
            if not response.is_success:
                response.read()
                raise _refusal(response)
            for said, tensors in _frames(response.iter_raw()):
                progress = said.get("parameters", {})
                self.cost = {name: v for name, v in progress.items() if name not in ("step", "final")}
                if "states" in tensors:
                    yield tensors["states"][0, 0] if single else tensors["states"][:, 0]

    def trajectory(self, index: int, states: int) -> Array:
        """The first ``states`` states of a test trajectory that the server has, ``(T, C, X, Y)``."""
        response = self._ask("GET", f"/page/trajectories/{index}?states={states}")
        shape = [int(size) for size in response.headers["ptprof-shape"].split("x")]
        return np.frombuffer(response.content, "<f4").reshape(shape).astype(np.float32)

    def close(self) -> None:
        """Let go of the connection."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _infer(
        self,
        state: ArrayLike,
        output: str,
        model: str | None,
        noise: ArrayLike | None,
        parameters: Mapping[str, Any],
    ) -> Array:
        window, single = _batched(state)
        inputs = {"state": window}
        if noise is not None:
            inputs["noise"] = _array(noise)[None] if single else _array(noise)
        content, headers = _request(inputs, parameters)
        response = self._ask("POST", f"{self._path(model)}/infer", content=content, headers=headers)
        length = int(response.headers[_LENGTH])
        said = json.loads(response.content[:length])
        self.cost = said.get("parameters", {})
        values = _tensors(said, memoryview(response.content)[length:])[output]
        return values[0] if single else values

    def _path(self, model: str | None) -> str:
        if model is None:
            ready = self.models()
            if len(ready) != 1:
                raise PtprofError(f"{self.url} serves {', '.join(ready) or 'no model'}: name one")
            (model,) = ready
        return f"/v2/models/{quote(model, safe='')}"

    def _json(self, method: str, path: str, document: Any = None) -> Any:
        content = None if document is None else json.dumps(document).encode()
        return self._ask(method, path, content=content).json()

    def _ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        with _told(self.url):
            response = self._http.request(method, self.url + path, **options)
        if not response.is_success:
            raise _refusal(response)
        return response


@contextmanager
def _told(url: str) -> Iterator[None]:
    """Tell what goes wrong on the network as a PtprofError in words."""
    try:
        yield
    except httpx.TimeoutException as error:
        raise PtprofError(f"{url} did not answer in time") from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise PtprofError(f"no answer from {url}: {error or type(error).__name__}") from error


def _refusal(response: httpx.Response) -> ProtocolError:
    try:
        said = response.json()["error"]
    except (ValueError, KeyError, TypeError):
        said = f"the server answered {response.status_code}"
    return ProtocolError(str(said), response.status_code)


def _array(values: ArrayLike) -> Array:
    return np.ascontiguousarray(values, dtype="<f4")


def _batched(state: ArrayLike) -> tuple[Array, bool]:
    window = _array(state)
    if window.ndim not in (4, 5):
        raise PtprofError(f"a state is (h, C, X, Y) or (B, h, C, X, Y), not of {window.ndim} dimensions")
    return (window[None], True) if window.ndim == 4 else (window, False)


def _request(inputs: Mapping[str, Array], parameters: Mapping[str, Any]) -> tuple[bytes, dict[str, str]]:
    given = {name: value for name, value in parameters.items() if value is not None}
    document = {
        "inputs": [
            {
                "name": name,
                "datatype": "FP32",
                "shape": list(array.shape),
                "parameters": {"binary_data_size": array.nbytes},
            }
            for name, array in inputs.items()
        ],
        "parameters": given | {"binary_data_output": True},
    }
    head = json.dumps(document).encode()
    return b"".join([head, *(array.tobytes() for array in inputs.values())]), {_LENGTH: str(len(head))}


def _tensors(said: Mapping[str, Any], rest: memoryview) -> dict[str, Array]:
    """The binary tensors that ``said`` describes, in their order in ``rest``."""
    found: dict[str, Array] = {}
    for output in said["outputs"]:
        size = output["parameters"]["binary_data_size"]
        found[output["name"]] = np.frombuffer(rest[:size], "<f4").reshape(output["shape"]).astype(np.float32)
        rest = rest[size:]
    return found


def _frames(chunks: Iterator[bytes]) -> Iterator[tuple[dict[str, Any], dict[str, Array]]]:
    """The frames of a streamed rollout: each a line of JSON, and the tensors after it."""
    buffer = bytearray()

    def more() -> None:
        chunk = next(chunks, None)
        if chunk is None:
            raise PtprofError("the rollout broke off")
        buffer.extend(chunk)

    final = False
    while not final:
        while b"\n" not in buffer:
            more()
        end = buffer.index(b"\n")
        said = json.loads(bytes(buffer[:end]))
        del buffer[: end + 1]
        if "error" in said:
            raise ProtocolError(said["error"], said.get("status", 500))
        size = sum(output["parameters"]["binary_data_size"] for output in said["outputs"])
        while len(buffer) < size:
            more()
        yield said, _tensors(said, memoryview(bytes(buffer[:size])))
        del buffer[:size]
        final = said.get("parameters", {}).get("final", False)

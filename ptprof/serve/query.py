"""What an inference request asks for, checked in every part."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import FailFast, Field

from ptprof.errors import ProtocolError, unknown
from ptprof.runtimes.metadata import NOISE
from ptprof.runtimes.noise import SEED
from ptprof.serve.limits import MIB, Limits
from ptprof.serve.model import INPUT, VALUE_BYTES, ServedModel
from ptprof.serve.tensors import Dimension, Part, Tensor, Values, check_shape, document, read, valid

# The longest float32 in JSON, "-1.1754944e-38", with its comma, rounded up.
JSON_VALUE_BYTES = 16


@dataclass(frozen=True)
class Output:
    """An output that is asked for, in binary or as JSON."""

    name: str
    binary: bool


@dataclass(frozen=True, eq=False)
class Query:
    """A forecast that is asked for.

    Attributes
    ----------
    state : ``(B, h, C, X, Y)``, physical units
    noise : for a model that takes it, ``(B, C, X, Y)``, or ``(B, L, C, X, Y)`` for a rollout; None where
        ``seed`` gives it
    rollout_steps : L; None for one step
    keep_every : of a rollout, every so manieth state is an output
    stream : send each of them as soon as it is there
    timeout_us : from its arrival; None: no limit
    """

    id: str | None
    state: Values
    noise: Values | None
    seed: int
    rollout_steps: int | None
    keep_every: int
    stream: bool
    timeout_us: int | None
    outputs: tuple[Output, ...]

    @property
    def steps(self) -> int:
        return self.rollout_steps or 1

    @property
    def kept(self) -> int:
        """How many states of the rollout are outputs."""
        return self.steps // self.keep_every


class _Output(Part):
    class Parameters(Part):
        binary_data: bool | None = None
        classification: Any = None
        shared_memory_region: Any = None

    name: str
    parameters: Parameters = Parameters()


class _Parameters(Part):
    binary_data_output: bool = False
    rollout_steps: Annotated[int, Field(ge=1)] | None = None
    rollout_states: Literal["all", "last"] | Annotated[int, Field(ge=1)] = "all"
    stream: bool = False
    seed: Annotated[int, Field(ge=0, lt=2**64)] | None = None
    timeout: Annotated[int, Field(ge=0)] = 0
    # Taken, and without effect: there is one queue per model, in the order of arrival.
    priority: Any = None


class _Request(Part):
    id: str | None = None
    parameters: dict[str, Any] = Field(default_factory=dict)
    inputs: Annotated[list[Tensor], FailFast()]
    outputs: Annotated[list[_Output], FailFast()] = Field(default_factory=list)


def parse(
    body: memoryview, header_length: int | None, model: ServedModel, limits: Limits, max_batch: int
) -> Query:
    """Read an inference request's body; a state in binary stays where it lies in it if it can.

    Parameters
    ----------
    header_length : bytes of JSON at the start of ``body``, binary tensors after it; None: all is JSON
    max_batch : states that one request may hold

    Raises
    ------
    ProtocolError : 400 with what is wrong and what would be right
    """
    if header_length is not None and header_length > len(body):
        raise ProtocolError(
            f"Inference-Header-Content-Length is {header_length} bytes, and the whole body has {len(body)}"
        )
    request = valid(_Request, document(body[:header_length]), "the request")
    parameters = _parameters(request.parameters)
    keep_every = _keep_every(parameters, limits)
    batch = _check_inputs(request.inputs, parameters, model, max_batch)
    outputs = _outputs(request.outputs, parameters, model)
    kept = (parameters.rollout_steps or 0) // keep_every
    _check_response(outputs, batch, kept, model, limits, parameters.stream)
    rest = body[len(body) if header_length is None else header_length :]
    values = read(request.inputs, rest, allow_nonfinite=limits.allow_nonfinite)
    return Query(
        id=request.id,
        state=values[INPUT],
        noise=values.get(NOISE),
        seed=SEED if parameters.seed is None else parameters.seed,
        rollout_steps=parameters.rollout_steps,
        keep_every=keep_every,
        stream=parameters.stream,
        timeout_us=parameters.timeout or None,
        outputs=outputs,
    )


def _parameters(given: dict[str, Any]) -> _Parameters:
    known = _Parameters.model_fields
    for name in given:
        if name.startswith("sequence_"):
            raise ProtocolError(
                "the server keeps no sequence: send state_out as the next state, or ask for rollout_steps"
            )
        if name not in known:
            raise ProtocolError(str(unknown("parameter", name[:100], known)))
    return valid(_Parameters, given, "parameters")


def _keep_every(parameters: _Parameters, limits: Limits) -> int:
    """Every how manieth state is an output, once the parameters of the rollout fit each other."""
    steps, states = parameters.rollout_steps, parameters.rollout_states
    if steps is None:
        for name in ("rollout_states", "stream"):
            if name in parameters.model_fields_set:
                raise ProtocolError(f"the parameter {name} is of a rollout: give rollout_steps as well")
        return 1
    if steps > limits.max_rollout_steps:
        raise ProtocolError(
            f"a rollout of {steps} steps is longer than this server computes at once, "
            f"{limits.max_rollout_steps}: go on from its state_out"
        )
    every = {"all": 1, "last": steps}[states] if isinstance(states, str) else states
    if every > steps:
        raise ProtocolError(f"a rollout of {steps} steps has no {every}th state: rollout_states is too large")
    return every


def _check_inputs(inputs: list[Tensor], parameters: _Parameters, model: ServedModel, max_batch: int) -> int:
    """Check the names, shapes and datatypes of the inputs; gives the batch size."""
    known = [INPUT, NOISE] if model.takes_noise else [INPUT]
    named: dict[str, Tensor] = {}
    for tensor in inputs:
        if tensor.name not in known:
            raise ProtocolError(str(unknown("input", tensor.name[:100], known)))
        if tensor.name in named:
            raise ProtocolError(f"the request has the input {tensor.name!r} more than once")
        named[tensor.name] = tensor
    if INPUT not in named:
        raise ProtocolError(f"the request lacks the input {INPUT!r}")
    batch = check_shape(named[INPUT], ("B", *model.state_shape))[0]
    if batch > max_batch:
        raise ProtocolError(
            f"a batch of {batch} states is larger than this server takes at once, {max_batch}"
        )
    if NOISE in named:
        if parameters.seed is not None:
            raise ProtocolError(f"give the input {NOISE!r} or the parameter seed, not both")
        steps = parameters.rollout_steps
        taken: tuple[Dimension, ...] = (batch, *(() if steps is None else (steps,)), *model.state_shape[1:])
        check_shape(named[NOISE], taken)
    if parameters.seed is not None and not model.takes_noise:
        raise ProtocolError("this model draws no noise: leave the parameter seed out")
    return batch


def _outputs(asked: list[_Output], parameters: _Parameters, model: ServedModel) -> tuple[Output, ...]:
    rollout = parameters.rollout_steps is not None
    there = model.outputs(rollout)
    if not asked:
        return (Output(there[0], parameters.binary_data_output),)
    chosen: dict[str, Output] = {}
    for output in asked:
        name = output.name
        if name not in there:
            if name in model.outputs(not rollout):
                raise ProtocolError(
                    f"output {name!r} is of {'one step' if rollout else 'a rollout'}: "
                    f"{'leave out' if rollout else 'give'} the parameter rollout_steps"
                )
            raise ProtocolError(str(unknown("output", name[:100], there)))
        if name in chosen:
            raise ProtocolError(f"output {name!r} is asked for twice")
        if output.parameters.classification is not None:
            raise ProtocolError("classification is not supported: a forecast has no classes")
        if output.parameters.shared_memory_region is not None:
            raise ProtocolError("shared memory is not supported: outputs come in the response")
        binary = output.parameters.binary_data
        chosen[name] = Output(name, parameters.binary_data_output if binary is None else binary)
    return tuple(chosen.values())


def _check_response(
    outputs: tuple[Output, ...], batch: int, kept: int, model: ServedModel, limits: Limits, stream: bool
) -> None:
    """Refuse what would be too much to answer, before any work."""
    most = limits.max_stream_bytes if stream else limits.max_response_bytes
    if most is None:
        return
    size = sum(
        (VALUE_BYTES if output.binary else JSON_VALUE_BYTES)
        * math.prod(model.output_shape(output.name, batch, kept))
        for output in outputs
    )
    if size > most:
        less = "ask for a smaller batch, or for binary outputs"
        if kept:
            less = "keep every k-th state with rollout_states, or go on from state_out"
        if kept and limits.max_stream_bytes is None:
            less = "stream it, or keep every k-th state with rollout_states"
        raise ProtocolError(
            f"the forecast would take {size / MIB:,.1f} MiB, and this server sends at most "
            f"{most / MIB:g} in one {'stream' if stream else 'piece'}: {less}"
        )

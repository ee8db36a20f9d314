"""What every runtime must do alike: a step, a rollout, a bound query."""

import copy

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ptprof.errors import RuntimeUnavailable, UsageError
from ptprof.runtimes import open_runner

# The two that compile native code have tests of their own.
runtimes = pytest.mark.parametrize("runtime", ["eager", "torchscript", "onnxruntime", "openvino"])
CLOSE = {"rtol": 1e-5, "atol": 2e-6}


@pytest.fixture
def runner(runtime, open_small):
    with open_small(runtime) as opened:
        yield opened


@pytest.fixture
def torch_threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@runtimes
@pytest.mark.parametrize("batch", [1, 3])
def test_a_step_is_the_module_s(runner, batch, step, states):
    state = states(batch)
    with torch.inference_mode():
        following, state_out = step(state)
    for value, expected in zip(runner.step(state), (following, state_out), strict=True):
        torch.testing.assert_close(value, expected, **CLOSE)


@runtimes
@settings(deadline=None, max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batch=st.integers(1, 4), steps=st.integers(1, 6), seed=st.integers(0, 9))
def test_a_rollout_is_its_steps_one_by_one(runner, batch, steps, seed, states):
    state = states(batch, seed)
    rollout = runner.rollout(state, steps)
    assert rollout.shape == (batch, steps, 3, 8, 12)
    for lead in range(steps):
        following, state = runner.step(state)
        assert torch.equal(rollout[:, lead], following)


@runtimes
def test_a_window_moves_on_by_one(runner, states):
    state = states(2)
    following, state_out = runner.step(state)
    assert torch.equal(state_out, torch.stack((state[:, 1], following), dim=1))


@runtimes
@pytest.mark.parametrize("steps", [None, 1, 4])
def test_a_bound_query_computes_the_same_into_the_same_memory(runner, steps, states):
    state = states(2)
    untouched = state.clone()
    query = runner.bind(state, steps)
    assert query.result.isnan().all()
    query()
    expected = runner.step(state)[0] if steps is None else runner.rollout(state, steps)
    assert torch.equal(query.result, expected)
    place = query.result.data_ptr()
    query()
    assert torch.equal(query.result, expected)
    assert query.result.data_ptr() == place
    assert torch.equal(state, untouched)


@runtimes
def test_a_bound_query_reads_its_state_at_each_call(runner, states):
    state = states(1)
    query = runner.bind(state, 3)
    query()
    state.copy_(states(1, seed=5))
    query()
    assert torch.equal(query.result, runner.rollout(states(1, seed=5), 3))


@runtimes
def test_results_of_two_calls_do_not_share_memory(runner, states):
    first, first_out = runner.step(states(1))
    kept, kept_out = first.clone(), first_out.clone()
    rollout = runner.rollout(states(1), 2)
    kept_rollout = rollout.clone()
    runner.step(states(1, seed=1))
    runner.rollout(states(1, seed=1), 2)
    assert torch.equal(first, kept)
    assert torch.equal(first_out, kept_out)
    assert torch.equal(rollout, kept_rollout)


@runtimes
def test_a_state_that_is_a_view_is_read_as_what_it_shows(runner, states):
    view = states(3).transpose(-1, -2).contiguous().transpose(-1, -2)[::2]
    assert not view.is_contiguous()
    assert torch.equal(runner.step(view)[0], runner.step(view.clone().contiguous())[0])


@runtimes
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: s[..., :-1], "takes (B, 2, 3, 8, 12)"),
        (lambda s: s.repeat(1, 1, 1, 2, 1), "(1, 2, 3, 16, 12) does not fit"),
        (lambda s: s.transpose(3, 4), "(1, 2, 3, 12, 8) does not fit"),
        (lambda s: s[:, 0], "(1, 3, 8, 12) does not fit"),
        (lambda s: s[:0], "(0, 2, 3, 8, 12) does not fit"),
        (lambda s: s.double(), "torch.float64 does not fit"),
    ],
)
def test_a_state_of_another_shape_or_type_is_refused_in_words(runner, change, said, states):
    state = change(states(1))
    for ask in (lambda: runner.step(state), lambda: runner.rollout(state, 2), lambda: runner.bind(state)):
        with pytest.raises(UsageError) as caught:
            ask()
        assert said in str(caught.value)


@runtimes
@pytest.mark.parametrize("steps", [0, -1])
def test_a_rollout_has_a_step(runner, steps, states):
    with pytest.raises(UsageError, match="1 step or more"):
        runner.rollout(states(1), steps)


@runtimes
def test_what_runs_is_named(runner, runtime):
    assert (runner.runtime, runner.device) == (runtime, "cpu")
    named = {"onnxruntime": "CPUExecutionProvider", "openvino": "OpenVINO CPU"}
    assert runner.provider == named.get(runtime, "torch cpu")
    assert runner.state_shape == (2, 3, 8, 12)
    runner.synchronize()


@pytest.mark.parametrize("runtime", ["torchscript", "onnxruntime", "openvino"])
def test_a_file_says_what_it_is(runner, metadata):
    assert runner.metadata == metadata


@runtimes
def test_a_closed_runner_says_so(runner, states):
    runner.close()
    runner.close()
    with pytest.raises(RuntimeUnavailable, match="closed"):
        runner.step(states(1))
    with pytest.raises(RuntimeUnavailable, match="closed"):
        runner.bind(states(1))


@runtimes
def test_gradients_are_not_kept(runner, states):
    following, state_out = runner.step(states(1).requires_grad_())
    assert not following.requires_grad
    assert not state_out.requires_grad


def test_a_module_in_training_mode_is_run_as_it_is_deployed(step, states):
    expected = step(states(2))[0]
    with open_runner("eager", copy.deepcopy(step).train()) as runner:
        torch.testing.assert_close(runner.step(states(2))[0], expected, **CLOSE)


@pytest.mark.parametrize("runtime", ["eager", "torchscript"])
def test_threads_are_torch_s_own(runtime, open_small, torch_threads):
    with open_small(runtime, threads=1):
        assert torch.get_num_threads() == 1


@runtimes
def test_threads_below_one_are_refused(runtime, open_small):
    with pytest.raises(UsageError, match="threads"):
        open_small(runtime, threads=0)


def test_an_unknown_runtime_gets_a_suggestion(step):
    with pytest.raises(UsageError, match="did you mean 'onnxruntime'"):
        open_runner("onnx-runtime", step)


@runtimes
def test_a_source_of_the_wrong_kind_is_refused(runtime, step, tmp_path):
    source = tmp_path / "model.onnx" if runtime == "eager" else step
    with pytest.raises(UsageError, match="file"):
        open_runner(runtime, source)


@runtimes
def test_a_device_that_is_not_here_is_an_error_and_never_the_cpu(runtime, open_small):
    if torch.cuda.is_available():
        pytest.skip("a GPU is here")
    with pytest.raises(RuntimeUnavailable, match="cuda:0"):
        open_small(runtime, device="cuda:0")


@pytest.mark.gpu
@runtimes
def test_a_gpu_gives_what_the_cpu_gives(runtime, open_small, states):
    state = states(2)
    with open_small(runtime) as cpu, open_small(runtime, device="cuda:0") as gpu:
        assert gpu.provider in ("CUDAExecutionProvider", "torch cuda")
        following, state_out = gpu.step(state.cuda())
        rollout = gpu.rollout(state.cuda(), 4)
        query = gpu.bind(state.cuda(), 4)
        query()
        gpu.synchronize()
        assert following.device == rollout.device == torch.device("cuda:0")
        torch.testing.assert_close(following.cpu(), cpu.step(state)[0], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(state_out.cpu(), cpu.step(state)[1], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(rollout.cpu(), cpu.rollout(state, 4), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(query.result, rollout, rtol=1e-5, atol=1e-6)
        with pytest.raises(UsageError, match="on cpu"):
            gpu.step(state)

"""A measurement on a real GPU."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ptprof.profile import profile, protocol


@pytest.mark.gpu
def test_a_gpu_is_measured_by_its_counter(study):
    import torch

    one_step, rollout = profile(study, ["fno"], runtimes=["eager"], device="cuda:0", batches=[4])
    for m in (one_step, rollout):
        gpu = m.energy_per_query.gpu
        assert (m.device, m.device_id) == ("cuda:0", f"GPU-{torch.cuda.get_device_properties(0).uuid}")
        assert (gpu.source, gpu.gain_id) == ("measured", m.device_id)
        assert 0 < gpu.active_joules < gpu.joules
        assert m.idle_power_w["gpu"] > 3.0
        assert m.peak_device_bytes > 10 << 20
        assert m.environment.gpus == (torch.cuda.get_device_name(0),)
        busy_w = [w.energy.gpu.joules / w.duration_s for w in m.windows]
        assert min(busy_w) > m.idle_power_w["gpu"]
    assert rollout.energy_per_query.gpu.joules > 3 * one_step.energy_per_query.gpu.joules


@pytest.mark.gpu
def test_the_full_protocol_knows_the_board(study, monkeypatch):
    """Shortened: two windows of a second."""
    patience = {"warm_up_s": 1.0, "most_warm_up_s": 5.0, "settle_s": 0.2, "idle_s": 2.0, "processes": 1}
    full = replace(protocol.FULL, windows=2, most_windows=2, window_s=1.0, window_ticks=10, **patience)
    monkeypatch.setitem(protocol.PROTOCOLS, "full", full)
    (m,) = profile(
        study, ["fno"], runtimes=["eager"], scenarios=["one-step"], device="cuda:0", protocol="full"
    )
    assert 3.0 < m.device_idle_power_w["gpu"] <= 1.2 * m.idle_power_w["gpu"]
    assert [idle.kind for idle in m.idle] == ["device", "context", "context"]
    assert m.metered_gpus == (m.device_id,)
    (facts,) = m.environment.boards
    assert facts.power_limit_w > 30.0
    for window in m.windows:
        (board,) = window.boards
        assert board.uuid == m.device_id
        assert 10.0 < board.temperature_end_c < 100.0
        assert 1e8 < board.sm_clock_hz <= facts.max_sm_clock_hz
        assert board.sampled_j == pytest.approx(board.joules, rel=0.3)
        assert len(board.power.power_w) > 20

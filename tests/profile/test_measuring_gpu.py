"""A measurement on a real GPU."""

from __future__ import annotations

import pytest

from ptprof.profile import profile


@pytest.mark.gpu
def test_a_gpu_is_measured_by_its_counter(study):
    import torch

    one_step, rollout = profile(study, ["fno"], runtimes=["eager"], device="cuda:0", batch=4)
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

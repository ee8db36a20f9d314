"""What a fresh process does and says, in this process: its orders are written before it reads them."""

from __future__ import annotations

import json
import socket
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from ptprof.errors import DataError
from ptprof.profile import fresh_main
from ptprof.profile.fresh import Job
from ptprof.profile.split import WholeSplit
from ptprof.records import EnergyBreakdown


@pytest.fixture
def job(study):
    return Job("eager", "cpu", 1, "fp32", False, None, str(study.root), "fno-quick-s0", None)


def obeyed(job):
    """What it says, part by part, once it has read the job and a line more."""
    ours, theirs = socket.socketpair()
    with ours:
        ours.sendall(json.dumps(asdict(job)).encode() + b"\n{}\n")
        fresh_main.main(theirs.detach())
        with ours.makefile(encoding="utf-8") as lines:
            return [json.loads(line) for line in lines]


def test_one_query_is_answered_twice(job, study, tmp_path):
    np.save(tmp_path / "state.npy", np.zeros((2, 4, 4, 48, 96), np.float32))
    said = obeyed(replace(job, state=str(tmp_path / "state.npy")))
    parts = [message["part"] for message in said]
    expected = ["start", "import", "load", "prepare", "first_query", "again", "next_query", "end"]
    assert parts == expected
    assert [m["at_s"] for m in said] == sorted(m["at_s"] for m in said)
    assert [m["cpu_s"] for m in said] == sorted(m["cpu_s"] for m in said)
    assert (said[2]["provider"], said[2]["nfe"]) == ("torch cpu", None)
    assert said[-1]["peak_device_bytes"] is None


@pytest.mark.parametrize(("steps", "queries"), [(None, 2), (3, 1)])
def test_the_whole_split_is_asked(job, steps, queries):
    # One trajectory of six states: two windows of four that a state follows, one rollout.
    said = obeyed(replace(job, whole_split=True, steps=steps))
    assert [m["part"] for m in said] == ["start", "import", "begin", "load", "queries", "end"]
    assert len(said[4]["latencies_s"]) == queries


def test_what_cannot_be_done_is_said_in_a_line(job):
    said = obeyed(replace(job, run="fno-quick-s9", whole_split=True))
    assert "unknown run 'fno-quick-s9'" in said[-1]["error"]
    said = obeyed(replace(job, runtime="torchscript", file="nothing.pt", state="s.npy"))
    assert "nothing.pt" in said[-1]["error"]


def test_windows_are_those_of_the_trajectories_in_time(study):
    split = WholeSplit(study, study.run("fno"))
    windows, (start,) = list(split.windows()), list(split.starts())
    assert (split.window_count, split.trajectory_count) == (len(windows), 1) == (2, 1)
    noise = np.random.default_rng(0).standard_normal((6, 4, 48, 96)).astype(np.float32)
    torch.testing.assert_close(windows[1], torch.from_numpy(noise[None, 1:5]))
    torch.testing.assert_close(start, torch.from_numpy(noise[None, :4]))


def test_data_of_another_grid_are_refused(study):
    run = study.run("fno").model_copy(update={"grid": (64, 128)})
    with pytest.raises(DataError, match="another grid"):
        WholeSplit(study, run)


def test_a_model_that_was_not_trained_is_asked_as_often(study, make_estimate):
    estimate = make_estimate(
        "fno",
        EnergyBreakdown(),
        recipe="paper",
        grid=(32, 32),
        statistics=study.run("fno").statistics,
    )
    split = WholeSplit(study, estimate)
    # The paper's test set: 24 trajectories of 196 windows.
    assert (split.window_count, split.trajectory_count) == (4704, 24)
    starts = list(split.starts())
    assert len(starts) == 24
    assert starts[0].shape == (1, 4, 4, 32, 32)
    assert not torch.equal(starts[0], starts[1])

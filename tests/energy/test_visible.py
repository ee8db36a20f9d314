"""CUDA_VISIBLE_DEVICES, torch's order, and NVML's."""

from __future__ import annotations

import pytest

from ptprof.energy.nvml import Board
from ptprof.energy.visible import chosen, visible
from ptprof.errors import EnergyError

EQUAL = [Board(i, f"GPU-{c * 4}-{i}", "H200") for i, c in enumerate("abcd")]
MIXED = [Board(0, "GPU-slow", "T4"), Board(1, "GPU-fast", "H200")]


@pytest.mark.parametrize(
    ("setting", "indices"),
    [
        (None, [0, 1, 2, 3]),
        ("", []),
        ("2,0", [2, 0]),
        (" 3 , 1 ", [3, 1]),
        ("1,-1,2", [1]),
        ("0,9,1", [0]),
        ("NoDevFiles", []),
        ("GPU-cccc-2,GPU-aaaa-0", [2, 0]),
        ("GPU-d", [3]),
        ("GPU-", []),
        ("1,GPU-dddd", [1, 3]),
        ("2,2,GPU-cccc", [2]),
    ],
)
def test_cuda_visible_devices(setting, indices):
    environ = {} if setting is None else {"CUDA_VISIBLE_DEVICES": setting}
    assert [board.index for board in visible(EQUAL, environ)] == indices


def test_an_index_counts_the_visible_ones():
    environ = {"CUDA_VISIBLE_DEVICES": "3,1"}
    assert [b.index for b in chosen(EQUAL, [1], environ, [])] == [1]
    assert [b.index for b in chosen(EQUAL, [0], environ, [])] == [3]
    assert [b.index for b in chosen(EQUAL, None, environ, [])] == [3, 1]


def test_a_uuid_is_itself_with_or_without_its_prefix():
    assert [b.index for b in chosen(EQUAL, ["GPU-cccc-2", "aaaa-0"], {}, [])] == [2, 0]


def test_torchs_order_goes_before_the_buss():
    assert [b.index for b in chosen(MIXED, [0], {}, ["GPU-fast", "GPU-slow"])] == [1]


def test_boards_of_several_kinds_are_numbered_by_cuda_alone():
    with pytest.raises(EnergyError, match="CUDA_DEVICE_ORDER=PCI_BUS_ID"):
        chosen(MIXED, [0], {}, [])
    with pytest.raises(EnergyError, match="CUDA_DEVICE_ORDER=PCI_BUS_ID"):
        visible(MIXED, {"CUDA_VISIBLE_DEVICES": "1"})
    in_order = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": "1"}
    assert [b.uuid for b in visible(MIXED, in_order)] == ["GPU-fast"]
    assert [b.uuid for b in visible(MIXED, {"CUDA_VISIBLE_DEVICES": "GPU-fast"})] == ["GPU-fast"]
    assert len(chosen(MIXED, None, {}, [])) == 2
    assert [b.uuid for b in chosen(MIXED, ["GPU-slow"], {}, [])] == ["GPU-slow"]


def test_a_mig_instance_has_no_counter_of_its_own():
    for board in (
        *visible(EQUAL, {"CUDA_VISIBLE_DEVICES": "MIG-1234"}),
        *visible(EQUAL, {"CUDA_VISIBLE_DEVICES": "MIG-GPU-aaaa-0/7/0"}),
        *chosen(EQUAL, [0], {}, ["GPU-1234-of-an-instance"]),
        *chosen(EQUAL, ["MIG-1234"], {}, []),
    ):
        assert board.unusable is not None
        assert "MIG" in board.unusable


@pytest.mark.parametrize(
    ("gpus", "words"),
    [
        ([4], "no GPU 4: 4 visible"),
        ([-1], "no GPU -1"),
        (["GPU-x"], "no GPU 'GPU-x'"),
        ([0, "aaaa-0"], "twice"),
    ],
)
def test_what_is_not_there_is_refused(gpus, words):
    with pytest.raises(EnergyError, match=words):
        chosen(EQUAL, gpus, {}, [])


def test_no_gpu_is_visible():
    with pytest.raises(EnergyError, match="none visible"):
        chosen(EQUAL, [0], {"CUDA_VISIBLE_DEVICES": ""}, [])

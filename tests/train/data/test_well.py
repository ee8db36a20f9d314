"""What The Well's own reader makes of our files."""

from __future__ import annotations

import warnings
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from ptprof.train.data import FIELDS, Windows, info, trajectories
from ptprof.train.data.well import file_name
from ptprof.train.recipe import Recipe

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from the_well.data import WellDataset
    from the_well.data.normalization import ZScoreNormalization


@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_the_well_reads_the_same_windows(data_set: Path, split: str) -> None:
    ours = Windows(data_set, split, 4)
    theirs = WellDataset(
        path=str(data_set),
        well_split_name=split,
        n_steps_input=4,
        n_steps_output=1,
        use_normalization=True,
        normalization_type=ZScoreNormalization,
    )
    assert len(ours) == len(theirs)
    for index in range(len(ours)):
        sample = theirs[index]
        window, target = ours[index]
        expected = sample["input_fields"].permute(0, 3, 1, 2).flatten(0, 1)
        torch.testing.assert_close(window, expected, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(target, sample["output_fields"][0].permute(2, 0, 1), rtol=1e-5, atol=1e-5)


def test_the_well_reads_the_same_metadata(data_set: Path) -> None:
    theirs = WellDataset(path=str(data_set), well_split_name="test", use_normalization=False)
    metadata, ours = theirs.metadata, info(data_set)
    assert [name for order in metadata.field_names.values() for name in order] == list(FIELDS)
    assert metadata.spatial_resolution == ours.grid
    assert metadata.n_steps_per_trajectory == [7, 7]
    assert metadata.constant_scalar_names == ["Reynolds", "Schmidt"]
    sample = theirs[0]
    assert {"Reynolds": 500.0, "Schmidt": 1.0} in ours.scalars
    assert sample["constant_scalars"].tolist() == list(ours.scalars[0].values())
    periodic = 2.0
    assert torch.equal(sample["boundary_conditions"], torch.full((2, 2), periodic))
    assert sample["space_grid"][0, 0].tolist() == [0.0, -1.0]
    assert sample["space_grid"][12, 32].tolist() == [0.25, 0.0]


def test_rolled_out_trajectory_is_the_wells(data_set: Path) -> None:
    theirs = WellDataset(
        path=str(data_set), well_split_name="test", use_normalization=False, full_trajectory_mode=True
    )
    ours = trajectories(data_set, "test")
    assert len(theirs) == len(ours)
    for sample, trajectory in zip(theirs, ours, strict=True):
        states = torch.cat([sample["input_fields"], sample["output_fields"]]).permute(0, 3, 1, 2)
        assert torch.equal(states, trajectory)


def test_files_hold_what_the_layout_asks_for(data_set: Path, small_recipe: Recipe) -> None:
    path = data_set / "data" / "train" / "shear_flow_Reynolds_8e2_Schmidt_5e-1.hdf5"
    with h5py.File(path) as file:
        assert file.attrs["n_trajectories"] == 4
        assert file.attrs["grid_type"] == "cartesian"
        assert list(file.attrs["simulation_parameters"]) == ["Reynolds", "Schmidt"]
        assert file["t0_fields/tracer"].shape == (4, 7, 48, 64)
        assert file["t1_fields/velocity"].shape == (4, 7, 48, 64, 2)
        assert {d.dtype for d in (*file["t0_fields"].values(), *file["t1_fields"].values())} == {
            np.dtype("float32")
        }
        for axis, boundary in (("x", "x_periodic"), ("y", "y_periodic")):
            group = file["boundary_conditions"][boundary]
            assert list(group.attrs["associated_dims"]) == [axis]
            assert group["mask"][0]
            assert group["mask"][-1]
            assert not group["mask"][1:-1].any()
        np.testing.assert_allclose(file["dimensions/time"][()], np.arange(7) * 0.1, rtol=1e-6)


@pytest.mark.parametrize(
    ("reynolds", "schmidt", "name"),
    [
        (1e4, 0.1, "shear_flow_Reynolds_1e4_Schmidt_1e-1.hdf5"),
        (5e5, 10.0, "shear_flow_Reynolds_5e5_Schmidt_1e1.hdf5"),
        (500.0, 1.0, "shear_flow_Reynolds_5e2_Schmidt_1e0.hdf5"),
        (1250.0, 0.75, "shear_flow_Reynolds_1.25e3_Schmidt_7.5e-1.hdf5"),
    ],
)
def test_files_are_named_as_the_wells(reynolds: float, schmidt: float, name: str) -> None:
    assert file_name(reynolds, schmidt) == name

"""Writing one HDF5 file of simulations in The Well's layout.

    /dimensions            time (T), x (X), y (Y)
    /boundary_conditions   x_periodic, y_periodic, each with its mask
    /scalars               Reynolds, Schmidt
    /t0_fields             tracer, pressure (N, T, X, Y)
    /t1_fields             velocity (N, T, X, Y, 2)
    /t2_fields             none

as The Well's data_format.md describes it. One file holds the N flows of one Reynolds and Schmidt number.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import h5py
import numpy as np
from numpy.typing import NDArray

from ptprof import __version__
from ptprof.train.data.shear_flow import Flow, points

NAME = "shear_flow"
PROVENANCE = "ptprof_recipe"
VERSION = "ptprof_version"


def file_name(reynolds: float, schmidt: float) -> str:
    """The name that The Well gives the file of a setting: shear_flow_Reynolds_1e4_Schmidt_5e-1.hdf5."""
    return f"{NAME}_Reynolds_{_short(reynolds)}_Schmidt_{_short(schmidt)}.hdf5"


class WellFile:
    """An HDF5 file in the making, written state by state in any order.

    Its whole space is taken at once, so that a full disk shows here, as OSError: HDF5 takes it badly later.

    Parameters
    ----------
    path : where to write; what is there is overwritten
    flows : the N flows, of one Reynolds and one Schmidt number
    grid, times : of all of them
    provenance : the text that says how the data was made
    """

    def __init__(
        self,
        path: Path,
        flows: Sequence[Flow],
        grid: tuple[int, int],
        times: Sequence[float],
        provenance: str,
    ) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = h5py.File(path, "w")
        shape = (len(flows), len(times), *grid)
        with ExitStack() as stack:
            stack.callback(self._file.close)
            self._attributes(flows, provenance)
            self._dimensions(grid, times)
            self._boundaries(grid)
            self._scalars({"Reynolds": flows[0].reynolds, "Schmidt": flows[0].schmidt})
            self._tracer, self._pressure = self._fields(0, ("tracer", "pressure"), shape)
            (self._velocity,) = self._fields(1, ("velocity",), (*shape, 2))
            self._fields(2, (), shape)
            self._file.flush()
            if hasattr(os, "posix_fallocate"):  # macOS has not
                with path.open("rb+") as file:
                    os.posix_fallocate(file.fileno(), 0, self._file.id.get_filesize())
            stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def write(self, row: int, step: int, state: NDArray[np.float32]) -> None:
        """Write the state ``(C, X, Y)`` of flow ``row`` at time number ``step``."""
        self._tracer[row, step] = state[0]
        self._pressure[row, step] = state[1]
        self._velocity[row, step] = np.moveaxis(state[2:], 0, -1)

    def _attributes(self, flows: Sequence[Flow], provenance: str) -> None:
        attributes = self._file.attrs
        attributes["dataset_name"] = NAME
        attributes["grid_type"] = "cartesian"
        attributes["n_spatial_dims"] = 2
        attributes["n_trajectories"] = len(flows)
        attributes["simulation_parameters"] = ["Reynolds", "Schmidt"]
        attributes["Reynolds"] = flows[0].reynolds
        attributes["Schmidt"] = flows[0].schmidt
        attributes[VERSION] = __version__
        attributes[PROVENANCE] = provenance
        for name in ("n_shear", "n_blobs", "width"):
            attributes[f"initial_{name}"] = [getattr(flow, name) for flow in flows]

    def _dimensions(self, grid: tuple[int, int], times: Sequence[float]) -> None:
        group = self._file.create_group("dimensions")
        group.attrs["spatial_dims"] = ["x", "y"]
        for name, values in zip(("time", "x", "y"), (np.asarray(times), *points(grid)), strict=True):
            dataset = group.create_dataset(name, data=np.asarray(values, dtype=np.float32))
            dataset.attrs["sample_varying"] = False
            if name != "time":
                dataset.attrs["time_varying"] = False

    def _boundaries(self, grid: tuple[int, int]) -> None:
        group = self._file.create_group("boundary_conditions")
        for name, size in zip(("x", "y"), grid, strict=True):
            boundary = group.create_group(f"{name}_periodic")
            boundary.attrs["associated_dims"] = [name]
            boundary.attrs["associated_fields"] = []
            boundary.attrs["bc_type"] = "PERIODIC"
            boundary.attrs["sample_varying"] = False
            boundary.attrs["time_varying"] = False
            mask = np.zeros(size, dtype=bool)
            mask[[0, -1]] = True
            boundary.create_dataset("mask", data=mask)

    def _scalars(self, scalars: dict[str, float]) -> None:
        group = self._file.create_group("scalars")
        group.attrs["field_names"] = list(scalars)
        for name, value in scalars.items():
            dataset = group.create_dataset(name, data=np.float32(value))
            dataset.attrs["sample_varying"] = False
            dataset.attrs["time_varying"] = False

    def _fields(self, order: int, names: Sequence[str], shape: tuple[int, ...]) -> list[h5py.Dataset]:
        group = self._file.create_group(f"t{order}_fields")
        group.attrs["field_names"] = list(names)
        datasets = []
        for name in names:
            layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
            layout.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
            layout.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
            dataset = group.create_dataset(name, shape, dtype=np.float32, dcpl=layout)
            dataset.attrs["dim_varying"] = [True, True]
            dataset.attrs["sample_varying"] = True
            dataset.attrs["time_varying"] = True
            datasets.append(dataset)
        return datasets


def _short(value: float) -> str:
    mantissa, exponent = f"{value:.5e}".split("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"

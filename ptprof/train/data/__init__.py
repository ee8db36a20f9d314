"""Shear-flow data: simulated by our own solver, written and read in The Well's HDF5 layout."""

from ptprof.train.data.digest import data_sha256
from ptprof.train.data.generate import generate
from ptprof.train.data.reading import DatasetInfo, SplitInfo, info
from ptprof.train.data.shear_flow import FIELDS
from ptprof.train.data.windows import Windows, trajectories

__all__ = [
    "FIELDS",
    "DatasetInfo",
    "SplitInfo",
    "Windows",
    "data_sha256",
    "generate",
    "info",
    "trajectories",
]

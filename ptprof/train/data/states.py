"""The states in a file, read straight from where they lie.

HDF5 reads for one thread at a time. Where the values of a field lie plainly in the file, in one piece or
in chunks that no filter has been over, the threads of the loader read them past it, at the same time, and
of a chunk the bytes that are wanted only: those of consecutive times of a trajectory are one piece of a
chunk, whatever its shape. What lies otherwise, compressed above all, is read through HDF5.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import h5py
import numpy as np
from numpy.typing import NDArray

from ptprof.errors import DataError
from ptprof.train.data.reading import open_hdf5
from ptprof.train.data.shear_flow import FIELDS

DATASETS = (("t0_fields/tracer", 0), ("t0_fields/pressure", 1), ("t1_fields/velocity", 2))
"""The datasets of a file, each with the channel of its first component."""

RUN_BYTES = 1 << 20
"""Read at once, as far as several states fit: what stays in a core's cache until it is standardised."""

PIECES = 16
"""Threads read a field one at a time where its state lies in more pieces: they would wait for Python's lock
at every one, longer than it takes to read it."""

_ALONE = Lock()

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Scale:
    """What is subtracted from a channel's values, and what they are then divided by."""

    mean: Floats
    std: Floats

    @classmethod
    def of(cls, mean: Sequence[float], std: Sequence[float]) -> Scale:
        """The scale as float32, in which it is applied."""
        return cls(np.asarray(mean, dtype=np.float32), np.asarray(std, dtype=np.float32))


AS_STORED = Scale.of((0.0,) * len(FIELDS), (1.0,) * len(FIELDS))


@dataclass(frozen=True)
class Blocks:
    """Where a dataset ``(N, T, X, Y, components)`` lies: blocks of ``block`` values, each one piece.

    ``offsets`` are the bytes of the file before each block, by the block's position along each axis. A
    block at an edge is as long as the others.
    """

    shape: tuple[int, ...]
    block: tuple[int, ...]
    offsets: NDArray[np.int64]

    @property
    def pieces(self) -> int:
        """How many blocks hold a part of one state."""
        return int(np.prod(self.offsets.shape[2:]))


@dataclass(frozen=True)
class Run:
    """Consecutive states in one block: their values, and the part of the grid that these are of."""

    first: int
    values: Floats
    """``(states, x, y, components)``"""
    component: int
    x: slice
    y: slice


@dataclass(frozen=True)
class StateFile:
    """The states in one file. It is opened for every reading: no thread or process keeps another from it.

    ``stamp`` is what the file was when its structure was read; ``blocks`` is None where HDF5 must read.
    """

    path: Path
    stamp: tuple[int, int]
    blocks: tuple[Blocks, ...] | None

    @classmethod
    def at(cls, path: Path) -> StateFile:
        """The file at ``path``, its structure checked before; raises DataError where it cannot be read."""
        with open_hdf5(path) as file:
            stamp = _stamp(path.stat())
            try:
                found = [_blocks(file[name]) for name, _ in DATASETS]
            except (OSError, RuntimeError):
                raise DataError(f"{path} cannot be read as HDF5; is it whole?") from None
        blocks = tuple(b for b in found if b is not None)
        return cls(path, stamp, blocks if len(blocks) == len(found) else None)

    def read(self, row: int, start: int, out: Sequence[Floats], scale: Scale = AS_STORED) -> None:
        """Read states of trajectory ``row``, from ``start`` on, into the arrays ``(C, X, Y)`` of ``out``.

        Raises
        ------
        DataError : a value that is not finite, a file that cannot be read or has changed since it was opened
        """
        try:
            with self.path.open("rb", buffering=0) as file:
                self._check_unchanged(file.fileno())
                try:
                    self._read(file.fileno(), row, start, out, scale)
                finally:
                    # A change meanwhile explains whatever else went wrong, and what seemed to go well.
                    self._check_unchanged(file.fileno())
        except FileNotFoundError:
            raise DataError(f"{self.path} is not there any more") from None
        except OSError as error:
            raise DataError(f"{self.path} cannot be read: {error.strerror or error}") from None

    def _check_unchanged(self, descriptor: int) -> None:
        if _stamp(os.fstat(descriptor)) != self.stamp:
            raise DataError(f"{self.path} was changed while it was in use: start again")

    def _read(self, descriptor: int, row: int, start: int, out: Sequence[Floats], scale: Scale) -> None:
        for number, (name, channel) in enumerate(DATASETS):
            if self.blocks is None:
                runs = self._through_hdf5(name, row, start, start + len(out))
            else:
                runs = self._straight(descriptor, self.blocks[number], row, start, start + len(out))
            many = self.blocks is not None and self.blocks[number].pieces > PIECES
            with _ALONE if many else nullcontext():
                for run in runs:
                    self._put(run, row, start, out, channel + run.component, scale)

    def _put(self, run: Run, row: int, start: int, out: Sequence[Floats], channel: int, scale: Scale) -> None:
        for step, states in enumerate(run.values, start=run.first):
            for component in range(states.shape[-1]):
                field = channel + component
                place = out[step - start][field, run.x, run.y]
                np.subtract(states[..., component], scale.mean[field], out=place)
                np.divide(place, scale.std[field], out=place)
                if not np.isfinite(place).all():
                    raise DataError(
                        f"{self.path}: {FIELDS[field]} of trajectory {row}, step {step} holds NaN or infinity"
                    )

    def _straight(self, descriptor: int, blocks: Blocks, row: int, start: int, stop: int) -> Iterator[Run]:
        """Read the part of every block that holds one of the states."""
        rows, times, *cells = blocks.block
        state = int(np.prod(cells))
        at_once = max(1, RUN_BYTES // (4 * state))
        buffer = np.empty(min(at_once, stop - start) * state, dtype=np.float32)
        for block in range(start // times, (stop - 1) // times + 1):
            begin, end = max(start, block * times), min(stop, (block + 1) * times)
            offsets = blocks.offsets[row // rows, block]
            for first in range(begin, end, at_once):
                states = min(at_once, end - first)
                skipped = 4 * state * ((row % rows) * times + first - block * times)
                for place in np.ndindex(offsets.shape):
                    values = buffer[: states * state]
                    self._fill(descriptor, values, int(offsets[place]) + skipped, row)
                    x, y, c = (
                        slice(index * size, min((index + 1) * size, length))
                        for index, size, length in zip(place, cells, blocks.shape[2:], strict=True)
                    )
                    inner = tuple(slice(part.stop - part.start) for part in (x, y, c))
                    yield Run(first, values.reshape(states, *cells)[:, *inner], c.start, x, y)

    def _fill(self, descriptor: int, values: Floats, offset: int, row: int) -> None:
        """Read ``values``; the kernel may give them in parts."""
        left = values.data.cast("B")
        while left:
            count = os.preadv(descriptor, [left], offset)
            if count == 0:
                raise DataError(f"{self.path}: trajectory {row} cannot be read; is the file whole?")
            left, offset = left[count:], offset + count

    def _through_hdf5(self, name: str, row: int, start: int, stop: int) -> Iterator[Run]:
        with open_hdf5(self.path) as file:
            try:
                values = file[name][row, start:stop].astype(np.float32, copy=False)
            except (KeyError, OSError):
                raise DataError(f"{self.path}: trajectory {row} cannot be read; is the file whole?") from None
        if values.ndim == 3:
            values = values[..., None]
        yield Run(start, values, 0, slice(values.shape[1]), slice(values.shape[2]))


def _blocks(dataset: h5py.Dataset) -> Blocks | None:
    """Where ``dataset`` lies; None where HDF5 must read it: compressed, converted, elsewhere, unwritten."""
    created = dataset.id.get_create_plist()
    plain = created.get_nfilters() == 0 and created.get_external_count() == 0
    if not plain or dataset.dtype != np.dtype("<f4") or dataset.file.userblock_size:
        return None
    shape = dataset.shape
    if created.get_layout() == h5py.h5d.CONTIGUOUS:
        offset = dataset.id.get_offset()
        if offset is None:
            return None
        block, offsets = shape, np.full((1,) * len(shape), offset, dtype=np.int64)
    elif created.get_layout() == h5py.h5d.CHUNKED:
        block = dataset.chunks
        counts = [-(-length // size) for length, size in zip(shape, block, strict=True)]
        offsets = np.full(counts, -1, dtype=np.int64)

        def note(chunk: h5py.h5d.StoreInfo) -> None:
            place = tuple(at // size for at, size in zip(chunk.chunk_offset, block, strict=True))
            offsets[place] = chunk.byte_offset

        dataset.id.chunk_iter(note)
        if (offsets < 0).any():
            return None
    else:
        return None
    if len(shape) == 4:
        shape, block, offsets = (*shape, 1), (*block, 1), offsets[..., None]
    return Blocks(shape, block, offsets)


def _stamp(status: os.stat_result) -> tuple[int, int]:
    """What tells a file from one put in its place; not its inode, which some file systems make up anew."""
    return status.st_size, status.st_mtime_ns

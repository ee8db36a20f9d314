"""A hash that says whether two trainings saw the same data."""

from __future__ import annotations

import hashlib
from pathlib import Path

from ptprof.errors import DataError
from ptprof.train.data.reading import SPLITS, Settings, read_headers
from ptprof.train.data.statistics import FILE

BLOCK_BYTES = 1 << 20
HASHED_BLOCKS = 128


def data_sha256(folder: Path, settings: Settings | None = None) -> str:
    """A hash of the data set in ``folder``: names, sizes and contents of its statistics and its files.

    Of a file above 128 MiB, 128 evenly spread blocks of 1 MiB count; The Well's files are too long to be
    read whole at every training.

    Parameters
    ----------
    settings : as for ``Windows``; files that are not selected do not count, so that the hash is that of a
        folder which holds the selection only

    Raises
    ------
    DataError : no data set
    """
    headers = (header for split in SPLITS for header in read_headers(folder, split, settings))
    digest = hashlib.sha256()
    for path in (folder / FILE, *(header.path for header in headers)):
        try:
            size = path.stat().st_size
            digest.update(f"{path.relative_to(folder).as_posix()} {size}\n".encode())
            with path.open("rb") as file:
                for offset in _offsets(size):
                    file.seek(offset)
                    digest.update(file.read(BLOCK_BYTES))
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror}") from None
    return digest.hexdigest()


def _offsets(size: int) -> list[int]:
    if size <= HASHED_BLOCKS * BLOCK_BYTES:
        return list(range(0, size, BLOCK_BYTES))
    last = size - BLOCK_BYTES
    return [last * block // (HASHED_BLOCKS - 1) for block in range(HASHED_BLOCKS)]

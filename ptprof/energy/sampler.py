"""What samples boards' power in a process of its own: ``python -m ptprof.energy.sampler FD INTERVAL UUID…``.

It says in one line of JSON what its readings mean, then appends them to the file ``FD`` until its standard
input ends: so it ends with whoever started it.
"""

from __future__ import annotations

import json
import os
import select
import struct
import sys
import time
from collections.abc import Sequence

from ptprof.energy.nvml import Nvml
from ptprof.energy.power import PowerReader, power_reader
from ptprof.errors import EnergyError

#: Seconds of the monotonic clock, W, and which board in the order in which they were named.
SAMPLE = struct.Struct("<dfI")


def main(descriptor: int, interval_s: float, uuids: Sequence[str]) -> None:
    """Sample until standard input ends."""
    with Nvml() as nvml:
        boards = {board.uuid: board for board in nvml.boards()}
        said: dict[str, dict[str, str]] = {"readings": {}, "missing": {}}
        readers: dict[int, PowerReader] = {}
        for index, uuid in enumerate(uuids):
            try:
                said["readings"][uuid], readers[index] = power_reader(boards[uuid])
            except KeyError:
                said["missing"][uuid] = f"there is no GPU {uuid!r}"
            except EnergyError as error:
                said["missing"][uuid] = str(error)
        os.write(descriptor, b"".join(_samples(readers)))
        due = time.monotonic() + interval_s
        # From this line on, any stretch of time has a sample before it.
        sys.stdout.write(json.dumps(said) + "\n")
        sys.stdout.flush()
        while not _told_to_stop(due - time.monotonic()):
            os.write(descriptor, b"".join(_samples(readers)))
            due = max(due + interval_s, time.monotonic())


def _samples(readers: dict[int, PowerReader]) -> list[bytes]:
    """One reading of each board; a board that does not answer has none."""
    samples: list[bytes] = []
    for index, read in readers.items():
        before = time.monotonic()
        try:
            power_w = read()
        except EnergyError:
            continue
        samples.append(SAMPLE.pack((before + time.monotonic()) / 2, power_w, index))
    return samples


def _told_to_stop(seconds: float) -> bool:
    """Whether standard input has ended, waited for so long."""
    readable, _, _ = select.select([sys.stdin], [], [], max(seconds, 0.0))
    return bool(readable)


if __name__ == "__main__":
    try:
        main(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3:])
    except EnergyError as failure:
        sys.exit(str(failure))

"""The process that Carbontracker runs in: ``python -m ptprof.energy.carbontracker_main FD INTERVAL``."""

from __future__ import annotations

import os
import sys
import time
from multiprocessing.connection import Connection
from typing import Any

from ptprof.records import JOULES_PER_KWH

#: More than there will be: it ends itself, in its own way, when all are done.
EPOCHS = 10**9


def main(connection: Connection, interval_s: float) -> None:
    """Track between ``start`` and ``stop``, until the other side goes."""
    from carbontracker import constants
    from carbontracker.emissions.intensity.intensity import IntensityService
    from carbontracker.tracker import CarbonTracker

    # It would ask a web service for its place, and answer with that country's grams.
    IntensityService._fetch_geo_location = lambda self: None
    tracker = CarbonTracker(
        epochs=EPOCHS, epochs_before_pred=0, update_interval=interval_s, components="gpu", verbose=0
    )
    thread = tracker.tracker
    while not thread.components[0].handler._handles:  # its thread asks the driver for them, then waits
        time.sleep(0.01)
    connection.send({})
    try:
        while True:
            if connection.recv() == "start":
                tracker.epoch_start()
                connection.send({})
            else:
                tracker.epoch_end()
                connection.send(_found(thread, constants.PUE_2023))
    except (EOFError, ConnectionError):
        return


def _found(thread: Any, pue: float) -> dict[str, Any]:
    """The latest epoch of its thread: kWh with its PUE, the samples it has taken, the time it has counted."""
    epoch = len(thread.epoch_times) - 1
    (component,) = thread.components
    usages = component.power_usages
    samples = [power_w for power_w in usages[epoch] if power_w] if epoch < len(usages) else []
    found: dict[str, Any] = {
        "pue": pue,
        "samples": len(samples),
        "duration_s": float(thread.epoch_times[epoch]),
    }
    if not samples:
        # It would give the energy of another epoch, or none, for this one's.
        return {**found, "missing": f"Carbontracker took no sample in {found['duration_s']:.2g} s"}
    kwh = float(thread.total_energy_per_epoch()[epoch]) / pue
    return {**found, "joules": kwh * JOULES_PER_KWH}


if __name__ == "__main__":
    # Nothing that it writes may reach the connection.
    os.set_inheritable(int(sys.argv[1]), False)
    main(Connection(int(sys.argv[1])), float(sys.argv[2]))

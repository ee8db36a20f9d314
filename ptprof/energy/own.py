"""The sensors that plugins find on this machine."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ptprof import plugins
from ptprof.energy.counter import Counter
from ptprof.environment import SHARED_VARIABLE
from ptprof.errors import EnergyError
from ptprof.plugins.importing import FAULTS, in_words, quiet


def own_counters() -> tuple[Counter, ...]:
    """All that plugins find, each counter once.

    A process that shares its machine with others has no processors or memory of its own to be counted.

    Raises
    ------
    EnergyError : a plugin's function that fails or gives what is no sensor, or two counts of the same
    UsageError : a plugin that cannot be imported
    """
    found: list[tuple[str, Counter]] = []
    for plugin in plugins.sensors():
        named = f"{plugin.name} of {plugin.source.name}"
        try:
            with quiet():
                given = list(plugin.make())
            found += [(named, replace(_counter(one), plugin=plugin.source)) for one in given]
        except FAULTS as error:
            raise EnergyError(f"the sensor {named} has failed: {in_words(error)}") from error
        except EnergyError as error:
            raise EnergyError(f"the sensor {named}: {error}") from error
    _check_once(found)
    shared = os.environ.get(SHARED_VARIABLE)
    return tuple(counter for _, counter in found if not shared or counter.component == "gpu")


def _counter(sensor: Any) -> Counter:
    """``sensor``, a `Counter` or whatever else keeps to `ptprof.energy.Sensor`, as a counter."""
    if isinstance(sensor, Counter):
        return sensor
    if sensor.source != "measured":
        raise EnergyError(f"its figures are {sensor.source}, and a sensor's are measured")
    return Counter(
        component=sensor.component,
        device_id=sensor.device_id,
        name=sensor.name,
        count=sensor.read,
        systematic=sensor.systematic,
        gain_id=sensor.gain_id,
        ticks=sensor.ticks,
    )


def _check_once(found: Sequence[tuple[str, Counter]]) -> None:
    """EnergyError for what would be counted twice: a device, or processors by two functions."""
    for (one, first), (other, second) in itertools.combinations(found, 2):
        component, device = second.component, second.device_id
        if first.component != component:
            continue
        if first.device_id == device or (component != "gpu" and one != other):
            both = " and ".join(dict.fromkeys((one, other)))
            raise EnergyError(f"{both} would count the {component} {device} twice: take one of them")

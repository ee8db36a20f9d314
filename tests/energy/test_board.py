"""What the driver tells of a board besides its energy, and what it does not."""

from __future__ import annotations

import pytest

from ptprof.energy import BoardState

STATES = """
import json, os
from dataclasses import asdict
from ptprof.energy import EnergyMeter
with EnergyMeter() as meter:
    facts = [fact.model_dump() for fact in meter.board_facts()]
    print(json.dumps({"states": {u: asdict(s) for u, s in meter.board_states().items()}, "facts": facts,
                      "boards": meter.boards, "sees_idle": meter.sees_idle}))
"""


def test_temperature_clock_throttling_and_processes(run_fake):
    told = run_fake(
        STATES,
        FAKE_NVML_CELSIUS=71,
        FAKE_NVML_SM_MHZ=1200,
        FAKE_NVML_THROTTLE=0x1 | 0x4 | 0x8 | 0x20 | 0x40 | 0x80,
        FAKE_NVML_PIDS="812,7",
    )
    assert told["boards"] == ["GPU-fake-0"]
    assert told["sees_idle"]
    assert told["states"]["GPU-fake-0"] == {
        "temperature_c": 71.0,
        "sm_clock_hz": 1.2e9,
        "throttle_reasons": [
            "power cap",
            "hardware slowdown",
            "software thermal slowdown",
            "hardware thermal slowdown",
            "power brake",
        ],
        "processes": [7, 812],
    }


def test_idle_is_no_throttling(run_fake):
    state = run_fake(STATES, FAKE_NVML_THROTTLE=0x1 | 0x2)["states"]["GPU-fake-0"]
    assert state["throttle_reasons"] == []
    assert state["processes"] == []


def test_what_a_board_is_set_to(run_fake):
    (facts,) = run_fake(STATES)["facts"]
    assert facts == {
        "uuid": "GPU-fake-0",
        "name": "Fake H200",
        "power_limit_w": 600.0,
        "default_power_limit_w": 700.0,
        "max_sm_clock_hz": 1.98e9,
        "architecture": "Hopper",
        "ecc": True,
        "persistence": True,
    }


@pytest.mark.parametrize(
    ("failing", "unknown"),
    [
        ("nvmlDeviceGetClockInfo 3", "sm_clock_hz"),
        ("nvmlDeviceGetCurrentClocksEventReasons 3", "throttle_reasons"),
        ("nvmlDeviceGetComputeRunningProcesses_v3 13", "processes"),
    ],
)
def test_what_a_driver_does_not_tell_is_not_made_up(run_fake, failing, unknown):
    state = run_fake(STATES, FAKE_NVML_FAIL=failing)["states"]["GPU-fake-0"]
    assert [name for name, value in state.items() if value is None] == [unknown]


def test_an_older_driver_is_asked_in_the_older_way(run_fake):
    state = run_fake(STATES, FAKE_NVML_FAIL="nvmlDeviceGetTemperatureV 13", FAKE_NVML_CELSIUS=55)
    assert state["states"]["GPU-fake-0"]["temperature_c"] == 55.0


@pytest.mark.parametrize(
    ("processes", "present", "foreign"),
    [
        ((), False, 0),
        ((11, 12), False, 2),
        ((10, 11), True, 1),
        ((10,), True, 0),
        ((11,), True, None),
        ((), True, None),
        (None, False, None),
    ],
)
def test_who_else_computes(processes, present, foreign):
    """A list without us, who are there, is in the numbers of another namespace: it cannot be told."""
    assert BoardState(processes=processes).foreign({10}, present) == foreign

"""Joules: sensors behind one protocol, and the meter that opens windows over them.

with EnergyMeter() as meter:
    with meter.window() as window:
        work()
window.gpu, window.cpu, window.dram, window.missing
"""

from __future__ import annotations

from ptprof.energy.board import BoardState
from ptprof.energy.clock import Clock, MonotonicClock
from ptprof.energy.combine import add, per, total
from ptprof.energy.counter import Counter
from ptprof.energy.cpu import CPU_WATTS_PER_CORE, CpuModel
from ptprof.energy.meter import EnergyMeter
from ptprof.energy.probe import Probe, SecondOpinion, driver, probe, second_opinions
from ptprof.energy.sensor import BoardSensor, Sensor
from ptprof.energy.window import Window
from ptprof.records import Energy, EnergyBreakdown

__all__ = [
    "CPU_WATTS_PER_CORE",
    "BoardSensor",
    "BoardState",
    "Clock",
    "Counter",
    "CpuModel",
    "Energy",
    "EnergyBreakdown",
    "EnergyMeter",
    "MonotonicClock",
    "Probe",
    "SecondOpinion",
    "Sensor",
    "Window",
    "add",
    "driver",
    "per",
    "probe",
    "second_opinions",
    "total",
]

"""What is here, for the terminal: hardware, sensors, runtimes, and what follows for the figures."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table

from ptprof.energy import Probe, SecondOpinion
from ptprof.records import Environment, Value
from ptprof.report.format import NONE, seconds, size
from ptprof.report.style import paragraph, row, table


class Provision(Value):
    """A runtime on a device: ``provider`` is what really runs there, None where it cannot; then why."""

    runtime: str
    device: str
    provider: str | None
    detail: str = ""


class Addition(Value):
    """A model, runtime or sensor of a plugin, with the digest of its code."""

    kind: str
    name: str
    plugin: str
    sha256: str


class Diagnosis(Value):
    """What `ptprof doctor` found."""

    environment: Environment
    sensors: tuple[Probe, ...]
    second_opinions: tuple[SecondOpinion, ...]
    runtimes: tuple[Provision, ...]
    plugins: tuple[Addition, ...] = ()


def diagnosis(found: Diagnosis) -> RenderableType:
    """The machine, its sensors and its runtimes."""
    here = found.environment
    computer = f"{here.cpu}, {here.cpu_cores} cores, {size(here.memory_bytes)}"
    machine = f"{computer}, {here.platform}, Python {here.python}"
    gpus = f"GPUs: {', '.join(here.gpus) or 'none'}; driver {here.driver or 'none'}"
    libraries = ", ".join(f"{name} {version}" for name, version in here.libraries.items())
    tables = [_sensors(found), _second_opinions(found), _runtimes(found)]
    if found.plugins:
        tables.append(_plugins(found))
    return Group(paragraph([machine, gpus, libraries]), *tables)


def _sensors(found: Diagnosis) -> Table:
    made = table(
        "Energy: what will be measured, modelled or missing", ("component", "figures are", "sensor", "tick")
    )
    made.add_column("", overflow="fold")
    for probe in found.sensors:
        tick = NONE if probe.tick_s is None else seconds(probe.tick_s)
        row(
            made,
            f"{probe.component or ''} {probe.device}".strip(),
            probe.source or "missing",
            probe.sensor or NONE,
            tick,
            probe.detail,
        )
    return made


def _second_opinions(found: Diagnosis) -> Table:
    made = table("Second opinions on the GPU's counter", ("what", "device", "here"))
    made.add_column("", overflow="fold")
    for opinion in found.second_opinions:
        row(made, opinion.name, opinion.device, "yes" if opinion.here else "no", opinion.detail)
    return made


def _runtimes(found: Diagnosis) -> Table:
    made = table("Runtimes", ("runtime", "device", "runs by"))
    made.add_column("", overflow="fold")
    alike: dict[tuple[str, str, str], list[str]] = {}
    for one in found.runtimes:
        alike.setdefault((one.device, one.provider or "not here", one.detail), []).append(one.runtime)
    for (device, provider, detail), runtimes in sorted(alike.items(), key=lambda one: one[0][0]):
        row(made, ", ".join(runtimes), device, provider, detail)
    return made


def _plugins(found: Diagnosis) -> Table:
    made = table("Plugins", ("what", "name", "plugin", "SHA-256"))
    for one in found.plugins:
        row(made, one.kind, one.name, one.plugin, one.sha256[:12])
    return made

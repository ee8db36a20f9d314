"""Where a process trains: the machine it is on, and what meters it there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch

from ptprof.energy import EnergyMeter
from ptprof.environment import ROOT, host_id
from ptprof.records import Environment, TrainingHost


@dataclass(frozen=True)
class Place:
    """The machine of a process: this one, unless told otherwise.

    Parameters
    ----------
    root : the folder under which it says which machine it is, as for `ptprof.environment.host_id`
    rapl_root : the folder of its sockets' counters, as for `ptprof.energy.rapl.Rapl`
    gpus : the boards to meter, by visible index or UUID; the one that the process trains on where None
    """

    root: Path = ROOT
    rapl_root: Path | None = None
    gpus: tuple[int | str, ...] | None = None

    @property
    def host(self) -> str:
        """A word for the machine, the same in all its processes and in no other machine's."""
        return host_id(self.root)

    def meter(self, device: torch.device, watts_per_core: float) -> EnergyMeter:
        """A meter over this process's own board, and over the machine's sockets."""
        own = () if device.type == "cpu" else (device.index or 0,)
        gpus = own if self.gpus is None else self.gpus
        return EnergyMeter(gpus=gpus, watts_per_core=watts_per_core, rapl_root=self.rapl_root)


HERE = Place()
"""This machine."""


class Present(NamedTuple):
    """What a process says of where it is: its machine, the boards that it meters, and its environment."""

    host: str
    boards: tuple[str, ...]
    environment: Environment


def hosts_of(processes: Iterable[Present]) -> list[TrainingHost]:
    """The machines of all processes, in the order of their first ones."""
    hosts: dict[str, TrainingHost] = {}
    for host, boards, own in processes:
        before = hosts.get(host) or TrainingHost(processes=0, environment=own.model_copy(update={"gpus": ()}))
        gpus = (*before.environment.gpus, *own.gpus)
        hosts[host] = TrainingHost(
            processes=before.processes + 1,
            boards=tuple(dict.fromkeys((*before.boards, *boards))),
            environment=before.environment.model_copy(update={"gpus": gpus}),
        )
    return list(hosts.values())


def gpu_name(device: torch.device) -> tuple[str, ...]:
    """What the driver calls a GPU; nothing of a processor."""
    return () if device.type == "cpu" else (torch.cuda.get_device_name(device),)

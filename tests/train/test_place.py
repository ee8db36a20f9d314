"""The machine of a process: told from others, never named, and metered by its own board and sockets."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest
import torch

from ptprof.environment import BOOT_ID, MACHINE_ID, host_id
from ptprof.records import Environment
from ptprof.train.place import HERE, Place, Present, hosts_of


def machine(root: Path, **files: str) -> Path:
    """A root folder with what a machine says of itself."""
    for name, content in files.items():
        path = root / {"boot": BOOT_ID, "machine": MACHINE_ID}[name]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


def test_machines_are_told_apart_by_their_start(tmp_path: Path) -> None:
    """Containers of one machine share its start; images of one container share their machine-id."""
    one = machine(tmp_path / "one", boot="0b6b1d5e-1\n", machine="of the image\n")
    container = machine(tmp_path / "container", boot="0b6b1d5e-1\n", machine="of another image\n")
    other = machine(tmp_path / "other", boot="77aa1d5e-2\n", machine="of the image\n")
    assert host_id(one) == host_id(container)
    assert host_id(one) != host_id(other)
    assert HERE.host == host_id() == host_id(Path("/"))


def test_without_a_start_the_machine_says_who_it_is_in_other_ways(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_id = machine(tmp_path / "id", boot="\n", machine="1234\n")
    assert host_id(by_id) == host_id(machine(tmp_path / "same", machine="1234\n"))
    monkeypatch.setattr(platform, "node", lambda: "secret-name")
    by_name = host_id(tmp_path / "nothing")
    monkeypatch.setattr(platform, "node", lambda: "another-name")
    assert len({by_name, host_id(tmp_path / "nothing"), host_id(by_id)}) == 3
    assert "secret" not in by_name


def test_a_process_meters_its_own_board_only() -> None:
    """Not all that are visible: each of the other processes meters one."""
    assert Place().meter(torch.device("cuda", 3), 6.0)._gpus == (3,)
    assert Place().meter(torch.device("cuda"), 6.0)._gpus == (0,)
    assert Place().meter(torch.device("cpu"), 6.0)._gpus == ()


def test_processes_of_one_machine_are_one_host() -> None:
    plain = Environment(platform="Linux", python="3.11", cpu="a CPU", cpu_cores=2, memory_bytes=8)
    other = plain.model_copy(update={"cpu": "another CPU"})
    on = [("one", "GPU-a", plain), ("two", "GPU-b", other), ("one", "GPU-c", plain)]
    one, two = hosts_of(
        Present(host, (board,), environment.model_copy(update={"gpus": (f"name of {board}",)}))
        for host, board, environment in on
    )
    assert (one.processes, one.boards, one.environment.cpu) == (2, ("GPU-a", "GPU-c"), "a CPU")
    assert one.environment.gpus == ("name of GPU-a", "name of GPU-c")
    assert (two.processes, two.boards, two.environment.cpu) == (1, ("GPU-b",), "another CPU")

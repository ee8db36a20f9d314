"""The journal of a running epoch: what it keeps, and what is made of it after a kill."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from ptprof.errors import StudyError
from ptprof.records import Energy, EnergyBreakdown
from ptprof.train import journal
from ptprof.train.checkpoint import Settings
from ptprof.train.journal import Entry, Journal, wasted

SETTINGS = Settings(model="fno", recipe="quick", recipe_sha256="r", seed=3, data_sha256="d", device="cpu")


class Counting:
    """A window that takes ten joules and a second between two looks."""

    def __init__(self, make_energy: Callable[..., Energy]) -> None:
        self.make_energy = make_energy
        self.looks = 0
        self.looked = threading.Event()

    def so_far(self) -> tuple[float, EnergyBreakdown]:
        self.looks += 1
        if self.looks == 3:
            self.looked.set()
        energy = self.make_energy(10.0 * self.looks)
        return float(self.looks), EnergyBreakdown(cpu=energy, missing={"gpu": "none", "dram": "none"})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal-0.jsonl"


@pytest.fixture
def window(make_energy: Callable[..., Energy], monkeypatch: pytest.MonkeyPatch) -> Counting:
    monkeypatch.setattr(journal, "EVERY_S", 0.001)
    return Counting(make_energy)


def begin(path: Path, epoch: int, window: Counting, completed: int = 0) -> Journal:
    """A sitting that has begun an epoch and noted what it took three times or more."""
    begun = Journal(path, SETTINGS, completed)
    with begun.watch(epoch, window):
        assert window.looked.wait(30)
    return begun


def test_entries_follow_each_other_and_the_last_one_ends_the_epoch(path: Path, window: Counting) -> None:
    begin(path, 1, window)
    first, *entries = [json.loads(line) for line in path.read_text().splitlines()]
    assert first == SETTINGS.model_dump()
    assert [entry["duration_s"] for entry in entries] == [n + 1 for n in range(window.looks)]
    assert {entry["epoch"] for entry in entries} == {1}


def test_the_last_entry_of_an_epoch_that_was_not_saved_is_lost(path: Path, window: Counting) -> None:
    begin(path, 3, window, completed=2)
    (lost,) = Journal(path, SETTINGS, 2).lost
    assert (lost.duration_s, lost.energy.joules) == (window.looks, 10 * window.looks)


def test_of_an_epoch_that_was_saved_nothing_is_lost(path: Path, window: Counting) -> None:
    begin(path, 3, window, completed=2)
    assert Journal(path, SETTINGS, 3).lost == ()


def test_a_completed_epoch_is_forgotten(path: Path, window: Counting) -> None:
    begin(path, 3, window, completed=2).complete()
    assert Journal(path, SETTINGS, 2).lost == ()


def test_losses_of_several_sittings_add_up(path: Path, window: Counting) -> None:
    begin(path, 1, window)
    first = Journal(path, SETTINGS, 0, sitting="second")
    assert len(first.lost) == 1
    again = Journal(path, SETTINGS, 0, sitting="third")
    assert again.lost == first.lost, "reading it twice must not count it twice"
    with again.watch(1, window):
        pass
    both = wasted(Journal(path, SETTINGS, 0).lost)
    assert both is not None
    assert both[1].joules == pytest.approx((first.lost[0].energy.joules or 0) + 10 * window.looks)
    again.complete()
    assert Journal(path, SETTINGS, 1).lost == first.lost, "what was lost before stays lost"


@pytest.mark.parametrize("kept", [0.2, 0.5, 0.9, 0.999])
def test_a_line_that_was_cut_short_counts_as_not_written(path: Path, window: Counting, kept: float) -> None:
    begin(path, 1, window)
    content = path.read_bytes()
    lines = content.split(b"\n")
    last = len(lines[-2])
    path.write_bytes(content[: len(content) - 1 - round(last * (1 - kept)) - 1])
    (lost,) = Journal(path, SETTINGS, 0).lost
    assert lost.duration_s == window.looks - 1


def test_the_journal_of_another_training_is_nothing_to_go_on_from(path: Path, window: Counting) -> None:
    begin(path, 1, window)
    assert Journal(path, SETTINGS.model_copy(update={"data_sha256": "e"}), 0).lost == ()


@pytest.mark.parametrize("content", [b"", b"\x00\xff", b"{}\n", b"[1, 2]\n{}"])
def test_what_is_no_journal_is_begun_anew(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    assert Journal(path, SETTINGS, 0).lost == ()
    assert json.loads(path.read_text()) == SETTINGS.model_dump()


def test_a_journal_that_cannot_be_written_is_an_error_in_words(path: Path, window: Counting) -> None:
    begun = Journal(path, SETTINGS, 0)
    path.unlink()
    path.mkdir()
    with (
        pytest.raises(StudyError, match=r"journal-0\.jsonl cannot be written: Is a directory"),
        begun.watch(1, window),
    ):
        pass


def test_an_error_in_the_epoch_is_not_hidden(path: Path, window: Counting) -> None:
    begun = Journal(path, SETTINGS, 0)
    with pytest.raises(ZeroDivisionError), begun.watch(2, window):
        _ = 1 / 0
    assert Journal(path, SETTINGS, 1).lost != ()


def test_what_processes_lost_side_by_side_on_machines_that_changed(
    make_energy: Callable[..., Energy],
) -> None:
    """In the second sitting the processes were dealt to the machines the other way round."""

    def entry(sitting: str, host: str, joules: float, seconds: float) -> Entry:
        cpu = make_energy(joules, gain_id=f"socket of {host}")
        return Entry(sitting=sitting, host=host, epoch=0, duration_s=seconds, energy=EnergyBreakdown(cpu=cpu))

    first = [entry("1", "a", 10, 3), entry("2", "b", 200, 5)]
    second = [entry("1", "b", 20, 4), entry("2", "a", 100, 6)]
    beside_the_first = [entry("1", "a", 10, 3), entry("2", "b", 200, 5)]
    lost = wasted([*first, *second, *beside_the_first])
    assert lost is not None
    assert lost[0] == 4 + 6
    assert lost[1].joules == 10 + 20 + 100 + 200
    assert wasted([]) is None

"""Tables of measurements at 110 columns: every figure where it belongs, and a reason for what is missing."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from ptprof.amortise.comparison import Comparison, Contest, Entrant, Pair, Places
from ptprof.records import (
    ColdStart,
    EnergyBreakdown,
    Interval,
    Load,
    Paper,
    Percentile,
    Queue,
    Window,
    Work,
)
from ptprof.report import tables
from ptprof.report.comparison import comparison


def printed(renderable, width=110):
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(renderable)
    text = console.file.getvalue()
    assert max(map(len, text.splitlines())) <= width
    return text


def line(text, *words):
    """The first line that begins with the words."""
    return next(row for row in text.splitlines() if row.split()[: len(words)] == list(words))


@pytest.fixture
def query(make_energy):
    return EnergyBreakdown(cpu=make_energy(0.5, half=0.25, source="modelled"))


PERCENTILES = (
    Percentile(p=50.0, seconds=0.0123, low=0.012, high=0.0126, samples=80),
    Percentile(p=90.0, seconds=0.0201, low=0.0194, high=0.0225, samples=80),
    Percentile(p=99.0, seconds=None, low=None, high=None, samples=80),
    Percentile(p=99.9, seconds=None, low=None, high=None, samples=80),
)


def test_percentiles_are_shown_where_asked_and_named_service_times(make_measurement, query):
    m = make_measurement("fno", query, percentiles=PERCENTILES)
    assert "p90" not in printed(tables.measurements([m]))
    text = printed(tables.measurements([m], percentiles=True))
    assert "Service times of these calls, sent one after the other" in text
    below = text[text.index("Service times") :]
    row = line(below, "fno", "onnxruntime")
    assert "12.3 (12.0–12.6) ms" in row
    assert "20.1 (19.4–22.5) ms" in row
    assert row.split()[-3:] == ["n/a", "n/a", "80"]


def test_a_load_shows_response_beside_service_and_what_is_unstable(make_measurement, query):
    queue = Queue(busy_s=7.2, latest_start_s=0.0, backlog=3, unanswered=1)
    window = Window(
        start_s=0.0, duration_s=10.0, calls=90, latencies_s=(0.3,) * 90, energy=query, queue=queue
    )
    load = Load(
        rate_per_s=9.0,
        duration_s=10.0,
        offered_load=0.72,
        utilisation=0.71,
        service_s=Interval(value=0.08, low=0.079, high=0.081),
        backlog=3.25,
        unanswered=1,
        stable=True,
    )
    flags = ("unstable: 9 calls/s offered",)
    m = make_measurement(
        "fno",
        query,
        scenario="load",
        load=load,
        windows=(window,) * 5,
        flags=flags,
        percentiles=PERCENTILES,
        latency_s=Interval(value=0.3, low=0.29, high=0.31),
    )
    text = printed(tables.measurements([m]))
    assert "One step under load, 9 calls/s for 10 s, 5 times, batch 1, cpu, quick protocol" in text
    row = line(text, "fno", "onnxruntime")
    assert row.split()[2:11] == ["300", "±", "10", "ms", "80.0", "ms", "72%", "71%", "3.2"]
    assert "1: unstable: 9 calls/s offered" in text
    # Of a load percentiles are always shown, and never called times of service.
    assert "Response times" in text
    assert "Service times" not in text


def test_a_cold_start_shows_its_parts(make_measurement, query):
    def about(value):
        return Interval(value=value, low=0.9 * value, high=1.1 * value)

    phases = ColdStart(
        repetitions=5,
        start_s=about(0.1),
        import_s=about(2.1),
        load_s=about(0.4),
        prepare_s=about(0.003),
        first_query_s=about(0.25),
        next_query_s=about(0.05),
    )
    m = make_measurement("fno", query, scenario="cold-start", phases=phases, latency_s=about(2.85))
    text = printed(tables.measurements([m], percentiles=True))
    row = line(text, "fno", "onnxruntime")
    assert "2.85 ± 0.29 s" in row
    for part in ("2.20 s", "400 ms", "3.00 ms", "250 ms", "50.0 ms"):
        assert part in row
    assert "p90" not in text


def test_the_papers_protocol_stands_beside_table_2(make_measurement, make_energy, query):
    grams = Interval(value=4.0, low=3.9, high=4.1)
    paper = Paper(
        queries=4704,
        repetitions=3,
        load_s=Interval(value=3.0),
        intensity_g_per_kwh=445.0,
        pue=1.58,
        ours_g=grams,
        carbontracker_j=Interval(value=20_000.0),
        carbontracker_g=Interval(value=3.91, low=3.9, high=3.92),
        missing=None,
        notes=("a note",),
    )
    window = Window(start_s=0.0, duration_s=60.0, calls=4704, latencies_s=(0.0127,) * 4704, energy=query)
    fields = {"protocol": "paper", "windows": (window,) * 3, "device": "cuda:0"}
    m = make_measurement("unet", query, paper=paper, **fields)
    text = printed(tables.measurements([m]))
    assert "The paper's protocol: 4,704 one-step forecasts, 3 times, cuda:0" in text
    row = line(text, "unet", "onnxruntime")
    # 4.0 g of 4,704 queries beside the paper's 3.68.
    for part in ("60.0 s", "3.00 s", "4.00 ± 0.10 g", "3.91 ± 0.01 g", "850 µg", "782 µg"):
        assert part in row
    assert "PUE of 1.58" in text
    assert "a note" in text
    without = paper.model_copy(update={"carbontracker_g": None, "missing": "no GPU"})
    text = printed(tables.measurements([make_measurement("unet", query, paper=without, **fields)]))
    assert "no figure by Carbontracker: no GPU" in text


def test_the_roofline_is_shown_where_it_is_known(make_measurement, query):
    work = Work(flops=6.15e8, bytes=2.0e7, peak_flops_per_s=1e11, peak_bytes_per_s=1e10)
    both = [make_measurement("fno", query, work=work), make_measurement("unet", query)]
    text = printed(tables.measurements(both))
    below = text[text.index("Against what this machine") :]
    # 6.15 ms of 12.3.
    assert line(below, "fno", "onnxruntime").split()[-4:] == ["6.15", "ms", "50.0%", "computing"]
    assert line(below, "unet", "onnxruntime").split()[2] == "–"
    assert "100 GFLOP/s, 10.0 GB/s of memory" in below
    assert "Against" not in printed(tables.measurements(both[1:]))


def entrant(name, joules, seconds, energy_places, latency_places):
    model, runtime = name.split()
    return Entrant(
        name=name,
        run=f"{model}-quick-s0",
        model=model,
        runtime=runtime,
        precision="fp32",
        variant="",
        protocol="quick",
        converged=True,
        energy_j=None if joules is None else Interval(value=joules, low=joules / 2, high=joules * 1.5),
        energy_places=energy_places,
        latency_s=Interval(value=seconds, low=seconds, high=seconds),
        latency_places=latency_places,
    )


def test_a_comparison_shows_places_and_every_pair(make_measurement):
    one, two, three = (Places(first=i, last=i) for i in (1, 2, 3))
    tied = Places(first=1, last=2)
    contest = Contest(
        scenario="one-step",
        steps=1,
        batch=1,
        rate_per_s=None,
        device="cpu",
        device_id="a CPU",
        grid=(48, 96),
        threads=2,
        components=("cpu",),
        entrants=(
            entrant("fno eager", 1.0, 0.03, tied, three),
            entrant("unet eager", 1.1, 0.01, tied, one),
            entrant("tfno eager", None, 0.02, None, two),
        ),
        pairs=(
            Pair(a="fno eager", b="unet eager", energy="undecided", latency="slower"),
            Pair(a="fno eager", b="tfno eager", energy="undecided", latency="slower"),
            Pair(a="unet eager", b="tfno eager", energy="undecided", latency="faster"),
        ),
    )
    text = printed(comparison(Comparison(contests=(contest,))))
    assert "One step, batch 1, 48×96, cpu (2 threads)" in text
    by_energy, by_latency = text.split("Latency")
    assert [row.split()[1] for row in by_energy.splitlines() if " eager " in row] == ["fno", "unet"]
    assert line(by_energy, "1–2", "fno").split()[-2:] == ["1", "·?"]
    assert [row.split()[1] for row in by_latency.splitlines() if " eager " in row] == ["unet", "tfno", "fno"]
    assert line(by_latency, "1", "unet").split()[-1] == "·<<"
    assert line(by_latency, "2", "tfno").split()[-1] == ">·<"
    assert line(by_latency, "3", "fno").split()[-1] == ">>·"
    assert "undecided: intervals overlap" in text

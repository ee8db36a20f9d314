"""Fixtures that every room shares."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from ptprof import plugins
from ptprof.plugins.importing import FILE
from ptprof.records import (
    Accuracy,
    Block,
    Energy,
    EnergyBreakdown,
    Environment,
    EstimateRecord,
    Interval,
    Measurement,
    RunRecord,
    Scores,
    Statistics,
)
from ptprof.runtimes.threads import spin_briefly

# A busy machine is not a mistake of the code: by default an example that takes 200 ms fails.
settings.register_profile("ptprof", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ptprof")
# As the command line does, and before anything loads torch.
spin_briefly(os.environ)
# Energy is modelled in tests, whatever the machine could measure; tests of RAPL bring their own.
os.environ["PTPROF_RAPL_ROOT"] = os.devnull
# Ray reads them when it is loaded and started.
os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}


@pytest.fixture(scope="session")
def require_tool() -> Callable[[str], str]:
    """Give the path of a program, or skip; in CI, where it must be there, fail instead."""

    def require(name: str) -> str:
        path = shutil.which(name)
        if path is None:
            reason = f"{name} is not installed"
            if os.environ.get("PTPROF_FORBID_SKIPS"):
                pytest.fail(f"{reason}, and CI installs it")
            pytest.skip(reason)
        return path

    return require


@pytest.fixture(scope="session")
def fake_nvidia(tmp_path_factory: pytest.TempPathFactory, require_tool: Callable[[str], str]) -> Path:
    """The folder of a stand-in for libnvidia-ml.so.1: for LD_LIBRARY_PATH of a process of its own."""
    folder = tmp_path_factory.mktemp("nvidia")
    source = Path(__file__).parent / "energy" / "fake_nvml.c"
    library = folder / "libnvidia-ml.so.1"
    subprocess.run([require_tool("gcc"), "-shared", "-fPIC", "-O1", "-o", library, source, "-lm"], check=True)
    return folder


def _load(name: str, room: str = "energy") -> ModuleType:
    """A module beside the tests of a room, which no test could import by name."""
    path = Path(__file__).parent / room / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def simulated() -> ModuleType:
    """Sensors over powers that are known for all time, and the clock they go by: ``energy/simulated.py``."""
    return _load("simulated")


@pytest.fixture(scope="session")
def simulated_session(simulated: ModuleType) -> ModuleType:
    """Whole sessions of measuring over simulated sensors: ``energy/simulated_session.py``."""
    return _load("simulated_session")


@pytest.fixture(scope="session")
def pages() -> ModuleType:
    """Pages of the documentation, followed as a reader would: ``docs/pages.py``."""
    return _load("pages", "docs")


@pytest.fixture(scope="module")
def ray_nodes() -> Iterator[Any]:
    """A Ray cluster of two nodes of one core each, on this machine: ``ray.cluster_utils.Cluster``."""
    pytest.importorskip("ray", reason="Ray is not installed")
    from ray.cluster_utils import Cluster

    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("two nodes of one core want two cores")
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    cluster.add_node(num_cpus=1)
    yield cluster
    cluster.shutdown()


@pytest.fixture
def no_plugins(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Begin with no plugin, and leave none behind."""
    monkeypatch.setattr(plugins, "_registry", plugins._Registry())
    # Set first, so that what a test sets goes again.
    monkeypatch.setenv(plugins.VARIABLE, "")
    monkeypatch.delenv(plugins.VARIABLE)
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith(FILE):
            del sys.modules[name]


@pytest.fixture
def written(no_plugins: None, tmp_path: Path) -> Callable[..., Path]:
    """Write a plugin with that body, after ``import ptprof``; give its path."""

    def write(body: str, name: str = "mine.py") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"import ptprof\n{body}", encoding="utf-8")
        return path

    return write


@pytest.fixture(scope="module")
def browser(require_tool: Callable[[str], str]) -> Iterator[Any]:
    """Headless Chromium that keeps what it asked of the network, and what its console said."""
    driver, chromium = require_tool("chromedriver"), require_tool("chromium")
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    options = webdriver.ChromeOptions()
    for argument in (
        "--headless",
        "--no-sandbox",
        "--disable-quic",
        "--disable-background-networking",
        "--disable-gpu",
        "--window-size=1200,1000",
    ):
        options.add_argument(argument)
    options.binary_location = chromium
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    with webdriver.Chrome(options=options, service=webdriver.ChromeService(driver)) as browser:
        yield browser


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs a GPU where there is none, saying so."""
    gpu_tests = [item for item in items if item.get_closest_marker("gpu")]
    if not gpu_tests:
        return
    import torch

    if not torch.cuda.is_available():
        for item in gpu_tests:
            item.add_marker(pytest.mark.skip(reason="needs an NVIDIA GPU, and torch sees none"))


SCORES = Scores(pearson_r={"tracer": 0.9, "pressure": 0.8}, vrmse={"tracer": 0.3, "pressure": 0.5})
MACHINE = Environment(platform="Linux", python="3.11", cpu="a CPU", cpu_cores=2, memory_bytes=8 << 30)


def _energy(joules: float, **changes: Any) -> Energy:
    fields = {"systematic": 0.0, "gain_id": "", "source": "measured", "sensor": "fake", **changes}
    around = fields.pop("half", fields["systematic"] * joules)
    return Energy(joules=joules, low=joules - around, high=joules + around, **fields)


@pytest.fixture
def make_energy() -> Callable[..., Energy]:
    """Build an ``Energy`` of so many joules; ``half`` is the half-width of its interval."""
    return _energy


@pytest.fixture
def make_run() -> Callable[..., RunRecord]:
    """Build the record of a run from its model's name and the energy of its training."""

    def make(model: str, energy: EnergyBreakdown, **changes: Any) -> RunRecord:
        fields: dict[str, Any] = {
            "run": f"{model}-quick-s0",
            "model": model,
            "recipe": "quick",
            "recipe_sha256": "e",
            "seed": 0,
            "parameters": 1_234_567,
            "grid": (48, 96),
            "history": 4,
            "statistics": Statistics(fields=("tracer", "pressure"), mean=(0.0, 0.0), std=(1.0, 1.0)),
            "data_sha256": "d",
            "checkpoint_sha256": "c",
            "epochs": 3,
            "steps": 350,
            "duration_s": 125.0,
            "best_epoch": 2,
            "best_valid_loss": 0.1,
            "energy": energy,
            "accuracy": Accuracy(one_step=SCORES, rollout=(SCORES,) * 10),
            "persistence": Accuracy(one_step=SCORES, rollout=(SCORES,) * 10),
            "device": "cpu",
            "environment": MACHINE,
            "created": "2026-01-01T00:00:00+00:00",
        }
        return RunRecord(**{**fields, **changes})

    return make


@pytest.fixture
def make_estimate() -> Callable[..., EstimateRecord]:
    """Build the record of an estimate from its model's name and the energy of all its epochs."""

    def make(model: str, energy: EnergyBreakdown, **changes: Any) -> EstimateRecord:
        block = Block(start_s=1.0, duration_s=2.0, steps=19, energy=energy)
        fields: dict[str, Any] = {
            "run": f"{model}-quick-s0-estimate",
            "model": model,
            "recipe": "quick",
            "recipe_sha256": "e",
            "seed": 0,
            "parameters": 1_234_567,
            "grid": (48, 96),
            "history": 4,
            "statistics": Statistics(fields=("tracer", "pressure"), mean=(0.0, 0.0), std=(1.0, 1.0)),
            "data_sha256": "synthetic",
            "checkpoint_sha256": "c",
            "epochs": 10,
            "steps": 350,
            "duration_s": 7200.0,
            "energy": energy,
            "device": "cpu",
            "environment": MACHINE,
            "created": "2026-01-01T12:00:00+00:00",
            "duration_interval_s": Interval(value=7200.0, low=7100.0, high=7300.0),
            "train_steps": 35.0,
            "valid_steps": 28.0,
            "warm_up_steps": 9,
            "train_blocks": (block,) * 3,
            "valid_blocks": (block,),
            "sampled_s": 34.0,
            "goal": 0.02,
            "half_width": 0.0184,
            "unmet": None,
            "synthetic_data": True,
        }
        return EstimateRecord(**{**fields, **changes})

    return make


@pytest.fixture
def make_measurement() -> Callable[..., Measurement]:
    """Build a measurement of ``<model>-quick-s0`` from the energy of a query; no raw windows unless given."""

    def make(model: str, energy: EnergyBreakdown, **changes: Any) -> Measurement:
        fields: dict[str, Any] = {
            "run": f"{model}-quick-s0",
            "model": model,
            "runtime": "onnxruntime",
            "provider": "CPUExecutionProvider",
            "device": "cpu",
            "device_id": "a CPU",
            "scenario": "one-step",
            "batch": 1,
            "steps": 1,
            "protocol": "quick",
            "grid": (48, 96),
            "artifact_sha256": "a",
            "latency_s": Interval(value=0.0123, low=0.012, high=0.0126),
            "throughput_per_s": Interval(value=81.3, low=79.4, high=83.3),
            "peak_host_bytes": 300 << 20,
            "peak_device_bytes": None,
            "energy_per_query": energy,
            "idle_power_w": {},
            "windows": (),
            "converged": True,
            "environment": MACHINE,
            "created": "2026-01-02T00:00:00+00:00",
        }
        return Measurement(**{**fields, **changes})

    return make

"""The package of native code: what it computes, what it says, where it is refused, what it leaves behind."""

import json
import subprocess
import sys
import tempfile
import zipfile

import pytest
import torch
from torch import nn

from ptprof.errors import RuntimeUnavailable, StudyError, UsageError
from ptprof.export import DeployableStep
from ptprof.export.pt2 import write_pt2
from ptprof.records import Statistics
from ptprof.runtimes import open_runner
from ptprof.runtimes import pt2 as runtime
from ptprof.runtimes.metadata import Metadata

GRID = (8, 12)
STATISTICS = Statistics(fields=("a", "b"), mean=(0.5, -1.0), std=(0.5, 2.0))


class Shaken(nn.Module):
    """The newest state filtered, with noise added."""

    takes_noise = True

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.filter = nn.Sequential(nn.Conv2d(4, 2, 3, padding=1), nn.BatchNorm2d(2), nn.GELU())

    def forward(self, window, noise):
        return self.filter(window) + 0.1 * noise


@pytest.fixture(scope="module")
def step():
    return DeployableStep(Shaken().eval(), STATISTICS, 2, GRID).eval()


@pytest.fixture(scope="module")
def metadata():
    return Metadata(
        model="small",
        run="small-test-s0",
        recipe="test",
        grid=GRID,
        history=2,
        fields=STATISTICS.fields,
        units=dict.fromkeys(STATISTICS.fields, "1"),
        statistics=STATISTICS,
        checkpoint_sha256="0" * 64,
        sampler="euler",
        nfe=1,
        target=runtime.target("cpu"),
        versions={"torch": torch.__version__},
    )


@pytest.fixture(scope="module")
def temporary(tmp_path_factory):
    """Where everything temporary of the compilation goes."""
    folder = tmp_path_factory.mktemp("temporary")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(folder))
        yield folder


@pytest.fixture(scope="module")
def package(step, metadata, require_tool, temporary, tmp_path_factory):
    require_tool("g++")
    path = tmp_path_factory.mktemp("package") / "model.pt2"
    write_pt2(step, metadata, path)
    return path


@pytest.fixture
def states():
    return lambda count, seed=0: torch.randn(
        count, 2, 2, *GRID, generator=torch.Generator().manual_seed(seed)
    )


@pytest.mark.parametrize("batch", [1, 3])
def test_it_gives_what_the_step_gives_whatever_the_batch(batch, package, step, states):
    noise = torch.randn(batch, 2, *GRID, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = step(states(batch), noise)
    with open_runner("pt2", package) as runner:
        assert (runner.provider, runner.takes_noise, runner.nfe) == ("torch cpu", True, 1)
        for value, wanted in zip(runner.step(states(batch), noise), expected, strict=True):
            torch.testing.assert_close(value, wanted, rtol=1e-5, atol=2e-6)


def test_a_rollout_is_its_steps_one_by_one(package, states):
    noise = torch.randn(2, 4, 2, *GRID, generator=torch.Generator().manual_seed(1))
    state = states(2)
    with open_runner("pt2", package) as runner:
        rollout = runner.rollout(state, 4, noise)
        for lead in range(4):
            following, state = runner.step(state, noise[:, lead])
            assert torch.equal(rollout[:, lead], following)
        assert torch.equal(runner.rollout(states(2), 4)[:, 0], runner.step(states(2))[0])
        with pytest.raises(UsageError, match="does not fit"):
            runner.step(states(1)[..., :-1])


def test_it_holds_its_metadata_and_no_sources_and_nothing_is_left(package, metadata, temporary):
    assert runtime.read_metadata(package) == metadata
    with zipfile.ZipFile(package) as archive:
        assert not [name for name in archive.namelist() if name.endswith((".cpp", ".h", ".o"))]
    assert not [path for path in temporary.rglob("*") if path.is_file()]


@pytest.mark.parametrize("what", ["torch", "device", "system", "processor"])
def test_it_is_refused_where_it_was_not_compiled_for(what, package, monkeypatch):
    here = runtime.target("cpu")
    monkeypatch.setattr(runtime, "target", lambda device: here | {what: "another"})
    with pytest.raises(RuntimeUnavailable, match=f"compiled for {what} .*, and here is another"):
        open_runner("pt2", package)


def test_it_is_refused_before_anything_of_it_is_loaded(package, tmp_path):
    """Its native code would be loaded by torch's compiler, which is not even imported."""
    path = tmp_path / "model.pt2"
    with zipfile.ZipFile(package) as source, zipfile.ZipFile(path, "w") as target:
        for entry in source.infolist():
            content = source.read(entry)
            if entry.filename.endswith("ptprof.json"):
                said = json.loads(content)
                said["target"] = json.dumps(json.loads(said["target"]) | {"processor": "another"})
                content = json.dumps(said).encode()
            target.writestr(entry, content)
    code = (
        "import sys\n"
        "from ptprof.errors import RuntimeUnavailable\n"
        "from ptprof.runtimes import open_runner\n"
        f"try: open_runner('pt2', {str(path)!r})\n"
        "except RuntimeUnavailable as error: print(error)\n"
        "print('torch._inductor.package' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    refusal, loaded = done.stdout.splitlines()
    assert "compiled for processor another" in refusal
    assert loaded == "False"


@pytest.mark.parametrize("share", [0.0, 0.3, 0.95, 0.999])
def test_a_package_that_is_cut(share, package, tmp_path):
    content = package.read_bytes()
    path = tmp_path / "model.pt2"
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(StudyError, match="is cut or not"):
        open_runner("pt2", path)


def test_a_package_of_someone_else_is_not_run(package, tmp_path):
    path = tmp_path / "model.pt2"
    with zipfile.ZipFile(package) as source, zipfile.ZipFile(path, "w") as target:
        for entry in source.infolist():
            if not entry.filename.endswith("ptprof.json"):
                target.writestr(entry, source.read(entry))
    with pytest.raises(StudyError, match="not ptprof's: native code of unknown origin"):
        open_runner("pt2", path)
    with pytest.raises(StudyError, match="is not there"):
        open_runner("pt2", tmp_path / "none.pt2")


def test_another_precision_than_the_file_s_is_refused(package):
    with pytest.raises(UsageError, match="computes in fp32, not bf16"):
        open_runner("pt2", package, precision="bf16")


def test_without_a_compiler_it_says_so(step, metadata, tmp_path, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(RuntimeUnavailable, match="no-such-compiler is not here: install g"):
        write_pt2(step, metadata, tmp_path / "model.pt2")
    assert not list(tmp_path.iterdir())

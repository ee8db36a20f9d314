"""What was served is kept in the study, and told to Prometheus and to every client."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
import tritonclient.http as triton
from prometheus_client.parser import text_string_to_metric_families
from torch import Tensor

from ptprof.amortise.volume import served_queries, served_records
from ptprof.records import ServedRecord
from ptprof.runtimes import open_runner
from ptprof.serve import ServedModel
from ptprof.serve.ledger import open_ledger
from ptprof.serve.price import Price
from ptprof.serve.served import Served
from ptprof.study import Study, read_record


def tensor(state: Tensor) -> triton.InferInput:
    return triton.InferInput("state", list(state.shape), "FP32").set_data_from_numpy(state.numpy())


class Busy:
    """A step that computes for some milliseconds, so that CPU time is counted."""

    @staticmethod
    def of(kind: type) -> ServedModel:
        class Module(kind):  # type: ignore[misc, valid-type]
            def forward(self, state: Tensor) -> tuple[Tensor, Tensor]:
                begun = time.process_time()
                while time.process_time() - begun < 0.02:
                    pass
                return super().forward(state)

        return ServedModel.of(open_runner("eager", Module()), run="fno-quick-s0")


def samples(address: str) -> dict[str, float]:
    text = httpx.get(f"http://{address}/metrics").text
    return {
        f"{sample.name}{sorted(sample.labels.items())}": sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def test_every_answer_says_what_it_cost_and_the_sums_agree(
    serving, small_step: type, state: Tensor, tmp_path: Path
) -> None:
    study, price = Study(tmp_path), Price(1000.0, 1.5)
    served = Served(study)
    said: list[dict[str, object]] = []
    with (
        open_ledger("cpu", 100.0) as ledger,
        serving({"fno": Busy.of(small_step)}, ledger=ledger, price=price, served=served) as address,
        triton.InferenceServerClient(address) as client,
    ):
        for steps in (1, 3):
            answer = client.infer("fno", [tensor(state)], parameters={"rollout_steps": steps})
            said.append(answer.get_response()["parameters"])
        with pytest.raises(triton.InferenceServerException):
            client.infer("fno", [tensor(state[:, :2])])
        metrics = samples(address)
    for steps, figures in zip((1, 3), said, strict=True):
        # 20 ms of a core at 100 W is 2 J a step; whatever else the process did meanwhile comes on top.
        assert 2 * steps <= figures["energy_j"] < 10 * steps
        assert figures["energy_low_j"] < figures["energy_j"] < figures["energy_high_j"]
        assert figures["co2eq_g"] == pytest.approx(figures["energy_j"] / 3.6e6 * 1000 * 1.5)
        assert (figures["energy_source"], figures["energy_components"]) == ("modelled", "cpu")
    joules = sum(figures["energy_j"] for figures in said)
    name = [("model", "fno")]
    source = [("model", "fno"), ("source", "modelled")]
    assert metrics[f"ptprof_energy_joules_total{source}"] == pytest.approx(joules)
    assert metrics[f"ptprof_co2eq_grams_total{source}"] == pytest.approx(joules / 2400)
    assert metrics[f"ptprof_steps_total{name}"] == 8
    assert metrics[f"ptprof_requests_total{[('model', 'fno'), ('status', '200')]}"] == 2
    assert metrics[f"ptprof_requests_total{[('model', 'fno'), ('status', '400')]}"] == 1
    assert metrics[f"ptprof_compute_duration_seconds_count{name}"] == 4
    assert metrics[f"ptprof_batch_states_sum{name}"] == 8
    assert metrics[f"ptprof_request_duration_seconds_count{name}"] == 2
    (total,) = read_record(served.path, ServedRecord).models
    assert (total.model, total.run, total.requests, total.steps) == ("fno", "fno-quick-s0", 2, 8)
    assert total.energy_j == pytest.approx(joules)
    # Two rollouts of two states, four steps together: eight one-step queries, or two of four steps.
    assert served_queries(study) == 8
    assert served_queries(study, steps=4) == 2


def test_headers_tell_curl(serving, small_step: type, state: Tensor) -> None:
    document = {
        "name": "state",
        "datatype": "FP32",
        "shape": list(state.shape),
        "data": state.flatten().tolist(),
    }
    with open_ledger("cpu", 6.0) as ledger, serving({"fno": Busy.of(small_step)}, ledger=ledger) as address:
        response = httpx.post(f"http://{address}/v2/models/fno/infer", json={"inputs": [document]})
    energy = response.json()["parameters"]["energy_j"]
    assert float(response.headers["ptprof-energy-j"]) == pytest.approx(energy, rel=1e-5)
    assert float(response.headers["ptprof-co2eq-g"]) == pytest.approx(energy / 3.6e6 * 445, rel=1e-5)
    assert response.headers["ptprof-energy-source"] == "modelled; cpu"


def test_without_a_sensor_the_answer_says_so(
    serving, small: Callable[[], ServedModel], state: Tensor
) -> None:
    with serving({"fno": small()}) as address, triton.InferenceServerClient(address) as client:
        answer = client.infer("fno", [tensor(state)]).get_response()
    assert answer["parameters"] == {"energy_missing": "not metered"}


def test_the_total_survives_and_several_servers_add_up(
    serving, small: Callable[[], ServedModel], state: Tensor, tmp_path: Path
) -> None:
    study = Study(tmp_path)
    for _ in range(2):
        served = Served(study)
        with (
            serving({"fno": small()}, served=served) as address,
            triton.InferenceServerClient(address) as client,
        ):
            client.infer("fno", [tensor(state)])
            assert not served.path.exists()
    assert len(served_records(study)) == 2
    assert served_queries(study) == 4


def test_who_served_nothing_leaves_nothing(serving, small: Callable[[], ServedModel], tmp_path: Path) -> None:
    study = Study(tmp_path)
    with serving({"fno": small()}, served=Served(study)) as address:
        httpx.get(f"http://{address}/v2")
    assert list(tmp_path.iterdir()) == []


def test_a_study_that_cannot_be_written_to_is_served_all_the_same(
    serving,
    small: Callable[[], ServedModel],
    state: Tensor,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    study = Study(tmp_path)
    (tmp_path / "served").write_text("a file where a folder is to be")
    served = Served(study)
    with (
        serving({"fno": small()}, served=served) as address,
        triton.InferenceServerClient(address) as client,
    ):
        client.infer("fno", [tensor(state)])
        served.write()
        assert client.infer("fno", [tensor(state)]).as_numpy("next") is not None
    assert f"the running total could not be written to {served.path}" in capsys.readouterr().err

"""The page, in a real browser where there is one, and what it asks the server for."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ptprof.runtimes import open_runner
from ptprof.serve import ServedModel
from ptprof.serve.ledger import open_ledger
from ptprof.serve.page import Page
from ptprof.serve.price import Price
from ptprof.serve.served import Served
from ptprof.study import Study
from ptprof.train import data as data_room
from ptprof.train.recipe import load_recipe

GRID = (48, 96)
FIELDS = "tracer, pressure, velocity_x, velocity_y"


class Drifting(nn.Module):
    """The last state moved on by a point in x, at each step: easy to tell in a picture."""

    state_shape = (4, 4, *GRID)

    def forward(self, state: Tensor) -> tuple[Tensor, Tensor]:
        following = torch.roll(state[:, -1], 1, dims=-2)
        return following, torch.cat((state[:, 1:], following.unsqueeze(1)), dim=1)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A study with a few short flows, and nothing trained."""
    study = Study(tmp_path_factory.mktemp("study"))
    quick = load_recipe("quick")
    flows = {
        "settings": ((500.0, 1.0),),
        "n_shear": (2,),
        "n_blobs": (2, 4),
        "width": (2.0, 4.0),
        "steps": 14,
    }
    data_room.generate(study.data, quick.model_copy(update={"data": quick.data.model_copy(update=flows)}))
    return study


@pytest.fixture(scope="module")
def address(serving, study: Study) -> Iterator[str]:
    served, price = Served(study), Price()
    model = ServedModel.of(open_runner("eager", Drifting()), run="fno-quick-s0", fields=FIELDS)
    with (
        open_ledger("cpu", 6.0) as ledger,
        serving({"fno": model}, ledger=ledger, served=served, page=Page(study, served, price)) as address,
    ):
        yield address


def test_the_pages_files_come_from_the_package_and_load_nothing_from_elsewhere(address: str) -> None:
    with httpx.Client(base_url=f"http://{address}") as client:
        for path, kind in (("/", "text/html"), ("/page.js", "text/javascript"), ("/page.css", "text/css")):
            response = client.get(path)
            assert response.status_code == 200
            assert response.headers["content-type"].startswith(kind)
            assert response.headers["content-security-policy"].startswith("default-src 'self'")
            assert "http://" not in response.text
            assert "https://" not in response.text


def test_trajectories_are_the_studys_own(address: str, study: Study) -> None:
    with httpx.Client(base_url=f"http://{address}") as client:
        overview = client.get("/page/overview").json()
        last = overview["trajectories"] - 1
        response = client.get(f"/page/trajectories/{last}?states=5")
        assert response.headers["ptprof-shape"] == "5x4x48x96"
        states = np.frombuffer(response.content, "<f4").reshape(5, 4, *GRID)
        for path, status in (
            (f"/page/trajectories/{overview['trajectories']}?states=1", 404),
            ("/page/trajectories/0?states=0", 400),
            ("/page/trajectories/0?states=65", 400),
            ("/page/trajectories/0?states=-1", 400),
            ("/page/trajectories/0?states=%C2%B2", 400),
            ("/page/trajectories/0", 400),
            ("/page/trajectories/-1?states=1", 404),
            ("/page/trajectories/..%2F..?states=1", 404),
            ("/page/trajectories/99999999999999999999?states=1", 404),
            ("/page.html", 404),
            ("/static/page.js", 404),
        ):
            refused = client.get(path)
            assert refused.status_code == status, path
            assert refused.json()["error"]
    truth = data_room.trajectories(study.data, "test", steps=5)
    assert len(truth) == last + 1
    np.testing.assert_array_equal(states, truth[-1].numpy())


def test_the_overview_without_measurements_says_what_is_missing(address: str) -> None:
    overview = httpx.get(f"http://{address}/page/overview").json()
    assert "ptprof train" in overview["amortised"]["missing"]


def until(what: Callable[[], bool], seconds: float = 30) -> None:
    """Wait for the page."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "the page did not come to it"
        time.sleep(0.05)


def picture(browser: Any, canvas: str) -> np.ndarray:
    """The red, green and blue of a canvas."""
    script = """
        const canvas = document.getElementById(arguments[0]);
        const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        return [canvas.height, canvas.width, Array.from(data)];
    """
    height, width, values = browser.execute_script(script, canvas)
    return np.array(values).reshape(height, width, 4)[..., :3]


def test_from_click_to_picture(browser: Any, address: str, study: Study) -> None:
    """A rollout of seven steps of a drift: the last picture is the first one, seven rows on."""
    browser.get(f"http://{address}/")

    def text(name: str) -> str:
        return str(browser.find_element("id", name).text)

    until(lambda: "fno-quick-s0" in text("models"))
    steps = browser.find_element("id", "steps")
    steps.clear()
    steps.send_keys("7")
    browser.find_element("id", "run").click()
    until(lambda: text("status") == "fno: 7 steps done")
    # Stop the film, and look at its ends.
    show = "const time = document.getElementById('time'); time.value = arguments[0];"
    show += "time.dispatchEvent(new Event('input'));"
    browser.execute_script(show, 0)
    first = picture(browser, "forecast")
    np.testing.assert_array_equal(first, picture(browser, "truth"))
    browser.execute_script(show, 7)
    last = picture(browser, "forecast")
    np.testing.assert_array_equal(last, np.roll(first, 7, axis=0))
    assert len(np.unique(first.reshape(-1, 3), axis=0)) > 20
    # The window's last state and the seven after it are on one scale.
    truth = data_room.trajectories(study.data, "test", limit=1, steps=11)[0, 3:, 0].numpy()
    expected = colours(truth[-1], truth.min(), truth.max())
    np.testing.assert_allclose(picture(browser, "truth"), expected, atol=2)
    assert "modelled (cpu)" in text("cost")
    until(lambda: "Forecast steps\n7" in text("served"))
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []


def colours(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """The page's scale from blue over white to red, done once more."""
    whole = np.round((values - low) / (high - low) * 255) / 255 * 2 - 1
    ends = np.where(whole[..., None] < 0, [33, 102, 172], [178, 24, 43])
    return np.round(247 + (ends - 247) * np.abs(whole)[..., None])

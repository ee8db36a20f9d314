"""What Ray Serve is given: the settings of the deployment, and what each replica is to serve."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest

from ptprof.errors import UsageError
from ptprof.serve import Batching, Limits, Service
from ptprof.study import Study

pytest.importorskip("ray", reason="Ray is not installed")

with warnings.catch_warnings():
    # Ray Serve's own modules warn when they are loaded.
    warnings.simplefilter("ignore")
    from ray.serve import Application

    from ptprof.serve.ray import app, application


def deployed(built: Application) -> tuple[Service, Any]:
    """What replicas are made with, and the deployment."""
    deployment = built._bound_deployment
    (service,) = deployment.init_args
    return service, deployment


def test_arguments_of_a_file_become_a_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PTPROF_TOKEN", "secret")
    given = {
        "study": str(tmp_path),
        "models": ["fno", "unet"],
        "device": "cpu",
        "limits": {"max_queue": 3},
        "batching": {"max_batch_size": 4, "preferred_batch_size": [2, 4]},
        "price": {"intensity_g_per_kwh": 30.0},
        "revision": "2",
    }
    service, deployment = deployed(app(given))
    assert (service.study.root, service.names, service.token) == (tmp_path, ("fno", "unet"), "secret")
    assert service.limits.max_queue == 3
    assert service.batching == Batching(max_batch_size=4, preferred_batch_size=(2, 4))
    assert service.price.intensity_g_per_kwh == 30.0
    assert deployment.name == "ptprof"


def test_arguments_of_the_command_line_are_words(tmp_path: Path) -> None:
    service, _ = deployed(app({"study": str(tmp_path), "models": "fno,unet"}))
    assert service.names == ("fno", "unet")


def test_our_settings_and_the_users(tmp_path: Path) -> None:
    service = Service(
        study=Study(tmp_path),
        device="cuda",
        limits=Limits(max_queue=16, max_response_bytes=1000),
        batching=Batching(max_batch_size=8),
    )
    bound, deployment = deployed(application(service))
    # A replica takes what one model computes at once and its line, and has a GPU to itself.
    assert deployment.max_ongoing_requests == 24
    assert deployment.ray_actor_options["num_gpus"] == 1
    assert bound.limits.max_stream_bytes == 1000
    scaled = {
        "autoscaling_config": {"min_replicas": 1, "max_replicas": 4, "target_ongoing_requests": 2},
        "ray_actor_options": {"num_gpus": 0.5},
        "max_ongoing_requests": 4,
        "max_surge_percent": 100,
    }
    _, deployment = deployed(application(service, scaled))
    assert deployment.max_ongoing_requests == 4
    assert deployment.ray_actor_options == {"num_cpus": 1, "num_gpus": 0.5}
    assert deployment._deployment_config.autoscaling_config.max_replicas == 4
    assert deployment._deployment_config.max_surge_percent == 100


def test_plugins_go_along(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PTPROF_PLUGINS", "/somewhere/vit.py")
    _, deployment = deployed(application(Service(study=Study(tmp_path), device="cpu")))
    told = deployment.ray_actor_options["runtime_env"]["env_vars"]
    assert told == {"PTPROF_PLUGINS": "/somewhere/vit.py"}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"num_replica": 2}, "unknown setting of a deployment 'num_replica' .did you mean 'num_replicas'"),
        ({"name": "other"}, "unknown setting of a deployment 'name'"),
        ({"num_replicas": 0}, "Ray Serve does not take the deployment: num_replicas"),
        ({"max_ongoing_requests": "many"}, "Ray Serve does not take the deployment: max_ongoing_requests"),
        ({"ray_actor_options": {"num_gpu": 1}}, "Ray Serve does not take the deployment"),
    ],
)
def test_settings_that_ray_serve_does_not_take(tmp_path: Path, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words) as refused:
        application(Service(study=Study(tmp_path), device="cpu"), settings)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"study": None}, "study"),
        ({"modles": ["fno"]}, "modles: Extra inputs"),
        ({"limits": {"max_queue": 0}}, "max_queue must be greater than 0"),
        ({"device": "cuda:1"}, "Ray gives each replica its own devices"),
    ],
)
def test_arguments_that_cannot_be(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        app({"study": str(tmp_path), "device": "cpu"} | changes)


def test_options_of_ray_without_it_are_refused(tmp_path: Path) -> None:
    line = [sys.executable, "-m", "ptprof", "serve", "--study", str(tmp_path), "--replicas", "2"]
    done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=120, env=os.environ)
    assert (done.returncode, done.stderr) == (
        2,
        "ptprof: --replicas is of Ray Serve: give --engine ray as well\n",
    )

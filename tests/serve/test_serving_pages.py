"""What the pages on clusters show is what Ray Serve and our own server take."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import yaml

from ptprof.serve import ServedModel, Service
from ptprof.study import Study

pytest.importorskip("ray", reason="Ray is not installed")

with warnings.catch_warnings():
    # Ray Serve's own modules warn when they are loaded.
    warnings.simplefilter("ignore")
    from ray.serve.schema import ServeDeploySchema

    from ptprof.serve.ray import NAME, app, application

CLUSTER, TRITON = "serving-cluster.md", "triton.md"


@pytest.fixture(scope="module")
def written(pages: ModuleType) -> Callable[[str, str], Any]:
    """The document in the YAML block of a page that has this title."""

    def written(page: str, title: str) -> Any:
        (block,) = [block for block in pages.blocks(pages.DOCS / page) if block.title == title]
        return yaml.safe_load(block.text)

    return written


def test_every_yaml_of_the_pages_is_read_here(pages: ModuleType) -> None:
    titles = {
        block.title
        for page in (CLUSTER, TRITON)
        for block in pages.blocks(pages.DOCS / page)
        if block.language == "yaml"
    }
    assert titles == {"deployment.yaml", "serve.yaml", "rayservice.yaml", "triton.yaml", "ptprof.yaml"}


def check_application(document: dict[str, Any]) -> None:
    """It is what Ray Serve reads, of our application, with arguments and settings that it takes."""
    deployed = ServeDeploySchema.model_validate(document)
    (one,) = deployed.applications
    assert one.import_path == "ptprof.serve.ray:app"
    app({**one.args, "device": "cpu"})
    (settings,) = document["applications"][0]["deployments"]
    assert settings.pop("name") == NAME
    application(Service(study=Study(one.args["study"]), device="cpu"), settings)


def test_the_settings_of_a_deployment(written: Callable[[str, str], Any]) -> None:
    settings = written(CLUSTER, "deployment.yaml")
    built = application(Service(study=Study("study"), device="cpu"), settings)
    assert built._bound_deployment.max_ongoing_requests == 8


def test_the_file_for_ray_serve(written: Callable[[str, str], Any]) -> None:
    document = written(CLUSTER, "serve.yaml")
    assert document["http_options"]["host"] == "127.0.0.1"
    check_application(document)


def test_the_ray_service(written: Callable[[str, str], Any]) -> None:
    document = written(CLUSTER, "rayservice.yaml")
    assert (document["apiVersion"], document["kind"]) == ("ray.io/v1", "RayService")
    check_application(yaml.safe_load(document["spec"]["serveConfigV2"]))
    cluster = document["spec"]["rayClusterConfig"]
    (workers,) = cluster["workerGroupSpecs"]
    assert workers["minReplicas"] <= workers["replicas"] <= workers["maxReplicas"]
    for group in (cluster["headGroupSpec"], workers):
        check_pod(group["template"]["spec"], "/study")


def check_pod(pod: dict[str, Any], folder: str) -> None:
    """Its container mounts the study there, from a volume that the pod has."""
    (container,) = pod["containers"]
    mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    assert mounts[folder] in {volume["name"] for volume in pod["volumes"]}
    token = next(variable for variable in container["env"] if variable["name"] == "PTPROF_TOKEN")
    assert set(token["valueFrom"]["secretKeyRef"]) == {"name", "key"}


def test_the_inference_services(written: Callable[[str, str], Any], pages: ModuleType) -> None:
    for title in ("triton.yaml", "ptprof.yaml"):
        document = written(TRITON, title)
        assert document["apiVersion"] == "serving.kserve.io/v1beta1"
        assert document["kind"] == "InferenceService"
    model = written(TRITON, "triton.yaml")["spec"]["predictor"]["model"]
    assert (model["modelFormat"], model["protocolVersion"]) == ({"name": "triton"}, "v2")
    pod = written(TRITON, "ptprof.yaml")["spec"]["predictor"]
    check_pod(pod, "/study")
    (container,) = pod["containers"]
    assert container["name"] == "kserve-container"
    (port,) = container["ports"]
    page = (pages.DOCS / TRITON).read_text()
    (started,) = re.findall(r"^ENTRYPOINT (\[.*\])$", page, re.MULTILINE)
    assert yaml.safe_load(started)[-1] == str(port["containerPort"])
    for probe in ("readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"]["port"] == port["containerPort"]


def test_the_rollout_of_the_client_runs(
    serving: Any, small: Callable[[], ServedModel], pages: ModuleType, tmp_path: Path
) -> None:
    """The page's Python, against a server of the same protocol and a smaller model."""
    (block,) = [block for block in pages.blocks(pages.DOCS / TRITON) if block.language == "python"]
    names: dict[str, Any] = {}
    with serving({"fno": small()}) as address:
        text = block.text.replace("localhost:8000", address).replace(
            "(1, 4, 4, 256, 512)", "(1, 3, 2, 8, 12)"
        )
        exec(text, names)
        names["client"].close()
    assert names["state"].shape == (1, 3, 2, 8, 12)
    assert np.array_equal(names["state"][:, -1], names["following"])
    assert names["following"].any()

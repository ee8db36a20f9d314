"""Which nodes can work together, and what is said of those that cannot."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ptprof.cluster.devices import Facts, Node, check, devices_of
from ptprof.errors import RuntimeUnavailable, StudyError

HERE = Facts("one", "a CPU", frozenset({0, 1}), {"ptprof": "1.0", "torch": "2.13"}, sees=True, writes=True)
NODE = Node("a1", "node a", cpus=1, gpus=0)
OTHER = Node("b2", "node b", cpus=1, gpus=0)


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        (replace(HERE, sees=False), "node b does not see /study: .*`ptprof study merge`"),
        (replace(HERE, writes=False), "node b may not write into /study"),
    ],
)
def test_a_node_without_the_study_is_named(facts, said):
    with pytest.raises(StudyError, match=said):
        check(HERE, [(NODE, HERE), (OTHER, facts)], "/study")


def test_other_versions_are_named():
    other = replace(HERE, versions={"ptprof": "1.1", "torch": "2.13", "openvino": "2026.0"})
    with pytest.raises(RuntimeUnavailable, match=r"node b has openvino 2026.0, this machine none \(1 more"):
        check(HERE, [(NODE, HERE), (OTHER, other)], "/study")


def test_a_machine_does_not_offer_more_than_it_has():
    check(HERE, [(NODE, HERE), (OTHER, HERE)], "/study")
    check(HERE, [(NODE, HERE), (replace(OTHER, cpus=2), replace(HERE, host="two"))], "/study")
    with pytest.raises(RuntimeUnavailable, match=r"node a, node b: 3 CPUs are offered .* 2 cores"):
        check(HERE, [(NODE, HERE), (replace(OTHER, cpus=2), HERE)], "/study")


def test_on_cpus_a_node_is_a_device_and_on_gpus_each_gpu():
    head = Node("h0", "head", cpus=0, gpus=0)
    board = Node("g1", "boards", cpus=9, gpus=4, accelerator="H200")
    assert [d.node for d in devices_of([(head, HERE), (NODE, HERE)], "cpu")] == ["a1"]
    devices = devices_of([(head, HERE), (NODE, HERE), (board, HERE)], "cuda")
    assert [(d.node, d.kind, d.cores, d.gpus) for d in devices] == [("g1", "H200", 2, 1)] * 4


@pytest.mark.parametrize(
    ("found", "on", "said"),
    [
        ([(NODE, HERE)], "cuda", "no GPUs: take --device cpu"),
        ([(replace(NODE, cpus=0), HERE)], "cpu", "no CPUs: start a node with --num-cpus"),
        ([(NODE, HERE), (replace(OTHER, cpus=2), HERE)], "cpu", "a CPU, 1 cores; a CPU, 2 cores"),
        ([(NODE, HERE), (OTHER, replace(HERE, cpu="another"))], "cpu", "differ, .* --num-cpus 0"),
        ([(replace(NODE, gpus=2), HERE)], "cuda", "each GPU wants a core of its own"),
    ],
)
def test_devices_of_one_kind_are_wanted(found, on, said):
    with pytest.raises(RuntimeUnavailable, match=said):
        devices_of(found, on)

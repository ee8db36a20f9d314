"""Threads that wait sleep soon, unless the user says otherwise."""

from __future__ import annotations

import pytest

from ptprof.runtimes.threads import spin_briefly


def test_threads_spin_briefly() -> None:
    environ = {"A": "1"}
    spin_briefly(environ)
    assert environ == {"A": "1", "GOMP_SPINCOUNT": "5000"}


@pytest.mark.parametrize("chosen", [{"OMP_WAIT_POLICY": "active"}, {"GOMP_SPINCOUNT": "7"}])
def test_the_user_s_choice_stands(chosen: dict[str, str]) -> None:
    environ = dict(chosen)
    spin_briefly(environ)
    assert environ == chosen

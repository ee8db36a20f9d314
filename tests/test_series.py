"""The mean of samples that hang together: what it is worth, and how often its interval holds."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptprof.stats import series_mean, t_quantile


def autoregression(rng: np.random.Generator, count: int, r: float) -> list[float]:
    """Samples of mean 100 and deviation 1; r from one to the next."""
    steps = rng.standard_normal(count)
    values = [steps[0]]
    for step in steps[1:]:
        values.append(r * values[-1] + math.sqrt(1 - r * r) * step)
    return [100 + v for v in values]


def test_few_samples_by_hand() -> None:
    """1, 2, 3: deviation 1, t(2) = 4.303; of the next six, the root of 1/3 + 1/6 instead of 1/3."""
    found = series_mean([1.0, 2.0, 3.0])
    assert (found.value, found.std, found.count, found.worth) == (2.0, pytest.approx(1.0), 3, 3.0)
    assert found.half_width() == pytest.approx(4.3027 / math.sqrt(3), rel=1e-4)
    assert found.half_width(future=6) == pytest.approx(4.3027 * math.sqrt(0.5), rel=1e-4)


def test_a_correlation_by_hand() -> None:
    """Deviations -1 -1 -1 -1 1 1 1 1: seven products of neighbours, six of them 1 and one -1, over 8."""
    found = series_mean([9.0] * 4 + [11.0] * 4)
    r = 5 / 8 + (1 + 4 * 5 / 8) / 8 + 1 / math.sqrt(8)
    assert r > 0.9
    worth = 3.0  # 8 · 0.1 / 1.9 is less
    assert found.worth == worth
    assert found.std == pytest.approx(math.sqrt(8 / (8 - 8 / worth)))
    half = t_quantile(worth - 1) * math.sqrt(found.std**2 / worth)
    assert found.half_width() == pytest.approx(half)


def test_one_sample_and_equal_samples() -> None:
    assert series_mean([5.0]).half_width() is None
    assert series_mean([5.0] * 8).half_width() == 0.0
    with pytest.raises(ValueError, match="no samples"):
        series_mean([])
    with pytest.raises(ValueError, match="finite"):
        series_mean([1.0, math.nan])


@given(
    st.lists(st.floats(-1e3, 1e3).map(lambda x: round(x, 3)), min_size=2, max_size=40),
    st.floats(1, 1e6),
    st.floats(0.1, 10),
)
def test_its_properties(samples: list[float], future: float, scale: float) -> None:
    found = series_mean(samples)
    assert found.value == pytest.approx(np.mean(samples), abs=1e-9)
    expected, coming = found.half_width(), found.half_width(future)
    assert expected is not None
    assert coming is not None
    assert coming >= expected
    assert min(3.0, found.count) <= found.worth <= found.count
    scaled = series_mean([scale * s for s in samples]).half_width()
    assert scaled == pytest.approx(scale * expected, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("r", [0.0, 0.3, 0.6])
@pytest.mark.parametrize("future", [40, 2000])
def test_the_coming_mean_is_inside_the_interval(r: float, future: int) -> None:
    """Also where sampling stops as soon as the interval is short enough, at 2 %."""
    rng = np.random.default_rng(1)
    inside = 0
    for _ in range(300):
        samples = autoregression(rng, 60 + future, r)
        count = 8
        while count < 60 and (series_mean(samples[:count]).half_width() or 0.0) > 2.0:
            count += 1
        found = series_mean(samples[:count])
        half = found.half_width(future)
        assert half is not None
        inside += abs(np.mean(samples[count : count + future]) - found.value) <= half
    assert inside >= 0.92 * 300

"""Numbers as people read them: prefixed units, powers of ten, intervals."""

from __future__ import annotations

import math
from collections.abc import Iterable

from ptprof import stats
from ptprof.records import Energy, EnergyBreakdown, Interval

NONE = "–"
_PREFIXES = {-4: "p", -3: "n", -2: "µ", -1: "m", 0: "", 1: "k", 2: "M", 3: "G", 4: "T"}
_SUPERSCRIPTS = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")
_DURATIONS = ((3600, "h"), (60, "min"), (1, "s"))
_BINARY = ("B", "KiB", "MiB", "GiB", "TiB")


def significant(value: float, digits: int = 3) -> str:
    """A number with ``digits`` significant digits, plain: ``0.0123``, ``12.3``, ``1230``."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    decimals = max(0, digits - 1 - _exponent(value, digits))
    return f"{round(value, digits - 1 - _exponent(value, digits)):.{decimals}f}"


def prefixed(value: float | None, unit: str, half_width: float | None = None, digits: int = 3) -> str:
    """A quantity with an SI prefix, ``2.47 kg``, and with its half-width ``2.47 ± 0.50 kg``."""
    if value is None:
        return NONE
    power = _power(value, digits)
    scaled = value / 1000.0**power
    name = f"{_PREFIXES[power]}{unit}"
    if half_width is None:
        return f"{significant(scaled, digits)} {name}"
    decimals = max(0, digits - 1 - _exponent(scaled, digits)) if scaled else 0
    half = f"{half_width / 1000.0**power:.{decimals}f}"
    if half_width > 0 and float(half) == 0:
        half = f"<{10.0**-decimals:.{decimals}f}"
    return f"{scaled:.{decimals}f} ± {half} {name}"


def interval(figure: Interval, unit: str, digits: int = 3) -> str:
    """A figure and the half-width of its interval where it has one."""
    return prefixed(figure.value, unit, None if figure.high is None else figure.high - figure.value, digits)


def paid(figure: Interval) -> str:
    """A cost in grams, or a dash where nothing is paid."""
    return interval(figure, "g") if figure.value else NONE


def seconds(value: float) -> str:
    """A duration: ``1.23 ms``, ``12.3 s``, ``3 min 20 s``, ``2 h 05 min``."""
    if value < 120:
        return prefixed(value, "s")
    minutes = round(value / 60)
    if minutes < 60:
        return f"{round(value) // 60} min {round(value) % 60:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def duration(figure: Interval, digits: int = 3) -> str:
    """A duration (s) and its half-width, in one unit: ``12.3 ± 0.4 min``."""
    unit, name = next((u, n) for u, n in _DURATIONS if figure.value >= 2 * u or u == 1)
    scaled = figure.value / unit
    if figure.high is None:
        return f"{significant(scaled, digits)} {name}"
    decimals = max(0, digits - 1 - _exponent(scaled, digits)) if scaled else 0
    return f"{scaled:.{decimals}f} ± {(figure.high - figure.value) / unit:.{decimals}f} {name}"


def size(value: int | None) -> str:
    """Bytes in binary units: ``12.3 MiB``."""
    if value is None:
        return NONE
    scaled, unit = float(value), 0
    while scaled >= 1000 and unit < len(_BINARY) - 1:
        scaled, unit = scaled / 1024, unit + 1
    return f"{significant(scaled)} {_BINARY[unit]}"


def count(value: float | None, digits: int = 4) -> str:
    """A large number: ``10⁶``, ``1.415×10⁶``; below ten thousand plain."""
    if value is None:
        return NONE
    if value < 10_000:
        return f"{round(value):,}" if value >= 100 else f"{value:.{digits}g}"
    exponent = _exponent(value, digits)
    mantissa = f"{value / 10.0**exponent:.{digits - 1}f}"
    if math.isclose(float(mantissa), value / 10.0**exponent, rel_tol=1e-12):
        mantissa = mantissa.rstrip("0").rstrip(".")
    power = f"10{str(exponent).translate(_SUPERSCRIPTS)}"
    return power if mantissa == "1" else f"{mantissa}×{power}"


def tiny(value: float | None) -> str:
    """A relative error: ``3.1e-07``."""
    return NONE if value is None else f"{value:.1e}"


def listed(names: Iterable[str], last: str = "and") -> str:
    """Names in a sentence: ``a``, ``a and b``, ``a, b and c``."""
    *first, final = list(names) or [NONE]
    return f"{', '.join(first)} {last} {final}" if first else final


def energy(breakdown: EnergyBreakdown, digits: int = 3) -> str:
    """The sum of the components present with its half-width; components err independently."""
    present = breakdown.present.values()
    half = stats.quadrature(max(e.high - e.joules, e.joules - e.low) for e in present)
    return prefixed(breakdown.joules, "J", half, digits)


def sources(energies: Iterable[Energy]) -> str:
    """How figures were obtained: ``measured``, ``measured + modelled``."""
    return " + ".join(dict.fromkeys(e.source for e in energies)) or NONE


def _exponent(value: float, digits: int) -> int:
    """The power of ten of ``value`` rounded to ``digits`` significant digits."""
    return int(f"{abs(value):.{digits - 1}e}".partition("e")[2])


def _power(value: float, digits: int) -> int:
    if value == 0:
        return 0
    return min(max(_exponent(value, digits) // 3, min(_PREFIXES)), max(_PREFIXES))

"""What a user reads when a name is not known."""

from __future__ import annotations

from ptprof.errors import unknown


def test_an_unknown_name_lists_the_known_and_suggests_the_nearest() -> None:
    assert str(unknown("model", "fnoo", ["unet", "fno"])) == (
        "unknown model 'fnoo' (did you mean 'fno'?); known: unet, fno"
    )
    assert "did you mean" not in str(unknown("model", "xyz", ["unet", "fno"]))

"""1797 handwritten digits of 8 x 8 pixels, which scikit-learn carries."""

from __future__ import annotations

from fl_ef21.data.base import Dataset, Raw, build, hold_out


def digits(*, test_fraction: float = 0.2, seed: int = 0) -> Dataset:
    """Features (N, 1, 8, 8) in [0, 1].

    test_fraction: share of every class kept for testing, in [0, 1).
    seed: which ones, >= 0.
    Source: Alpaydin, Kaynak. Optical Recognition of Handwritten Digits. UCI, 1998 (the test part).
    """
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    raw = Raw("data.source", "digits", (images / 16).reshape(-1, 1, 8, 8), labels)
    return build("digits", *hold_out(raw, test_fraction, seed))

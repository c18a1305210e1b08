"""Numbers as a sentence writes them."""

import numpy as np
import pytest

from lib.compare.wording import number, probability


@pytest.mark.parametrize(("value", "text"), [(-0.004, "0.00"), (-1.234, "−1.23"), (0.5, "0.50")])
def test_number(value, text):
    assert number(value) == text


@pytest.mark.parametrize(
    ("p", "text"), [(0, "p < 0.001"), (0.0123, "p = 0.012"), (1.0, "p = 1.000"), (np.nan, "p undefined")]
)
def test_probability(p, text):
    assert probability(p) == text

"""Numbers as a sentence writes them."""

import numpy as np


def number(value: float, digits: int = 2) -> str:
    """With a true minus sign; never "−0.00"."""
    text = f"{value:.{digits}f}"
    return text.removeprefix("-") if float(text) == 0 else text.replace("-", "−")


def probability(p: float) -> str:
    """ "p < 0.001", "p = 0.012", or "p undefined" where nothing varies."""
    if not np.isfinite(p):
        return "p undefined"
    return "p < 0.001" if p < 0.001 else f"p = {min(p, 1):.3f}"

"""The bare products of a model's matrices: what no arrangement of the same arithmetic is faster than."""

from collections.abc import Sequence
from statistics import median
from time import perf_counter
from typing import Any

import torch

from lib.backends.kernels import OWN, PACKED, multiplied, packed_weight

SECONDS, TIMES = 1.0, 5  # of each shape, at least so long, and so many of each kernel


def seconds_of(matrices: Sequence[tuple[torch.Tensor, int]]) -> tuple[float, dict[str, Any]]:
    """Seconds of all products of matrices [out, in] with so many states; microseconds by shape and kernel.

    All matrices of one shape are multiplied by one kernel, then by the other, and so on, as a model's layers
    follow each other; of each shape the faster kernel counts, with the median of its times.
    """
    by_shape: dict[tuple[int, int, int], list[torch.Tensor]] = {}
    for matrix, rows in matrices:
        by_shape.setdefault((matrix.shape[0], matrix.shape[1], rows), []).append(matrix.detach())
    total, shapes = 0.0, {}
    for (out, width, rows), some in by_shape.items():
        found = {kernel: median(times) for kernel, times in _times(some, rows).items()}
        total += min(found.values())
        named = f"{len(some)} of {out} x {width}, {rows} rows"
        shapes[named] = {kernel: round(1e6 * each, 1) for kernel, each in found.items()}
    return total, shapes


@torch.inference_mode()
def _times(matrices: Sequence[torch.Tensor], rows: int) -> dict[str, list[float]]:
    """Seconds that all `matrices` took, again and again, by kernel."""
    states = torch.randn(rows, matrices[0].shape[1]).to(matrices[0].dtype)
    packed = [packed_weight(matrix) for matrix in matrices]

    def own() -> None:
        for matrix in matrices:
            torch.nn.functional.linear(states, matrix)

    def by_packed() -> None:
        for matrix in packed:
            multiplied(states, matrix, None)

    kernels = {OWN: own, PACKED: by_packed}
    times: dict[str, list[float]] = {kernel: [] for kernel in kernels}
    for run in kernels.values():
        run()  # makes its code
    while len(times[PACKED]) < TIMES or sum(map(sum, times.values())) < SECONDS:
        for kernel, run in kernels.items():
            began = perf_counter()
            run()
            times[kernel].append(perf_counter() - began)
    return times

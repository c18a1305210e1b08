"""Which product a matrix gets on a processor: torch's own, or oneDNN's with weights packed once.

torch multiplies float32 matrices with MKL, which leaves half of a recent AMD processor idle and is at home
on Intel's; in half precision it packs the weights anew at every call. Which is faster depends on processor,
shape, dtype and threads, so a short trial decides, once (`lib.backends.agreed`).

Both differ in the last digits of a sum. So that noise decides nothing, packed products are taken unless
torch's own were faster by `MARGIN`, each at its best of several turns: interruptions only make a turn longer.
"""

import platform
from collections.abc import Callable, Iterable
from time import perf_counter

import torch

from lib import machine
from lib.backends import agreed

PACKED, OWN = "packed", "torch"
MARGIN = 1.25  # far more than two trials differed in (docs/notes/scoring.md)
TURNS, SECONDS = 7, 0.03  # at least so many, and so long, of both
LARGEST = 2048  # rows and columns that are tried: the products of a larger matrix are made of such


def chosen(
    shapes: Iterable[tuple[int, int]], dtype: torch.dtype, rows: int | None
) -> dict[tuple[int, int], str]:
    """`PACKED` or `OWN` for products of `rows` states with matrices of each shape (out, in).

    Without `rows`, the kernel that gives a row the same bits whatever is beside it, in float32: `PACKED`.
    """
    named = {_name(shape, dtype, rows): shape for shape in shapes}
    here = (
        f"{machine.processor()}; {' '.join(sorted(machine.instruction_sets()))}; torch {torch.__version__}; "
        f"{torch.get_num_threads()} threads"
    )

    def decide(name: str) -> str:
        return PACKED if rows is None else _decided(_times(named[name], dtype, rows))

    found = agreed.choices(named, here, decide)
    return {named[name]: kernel for name, kernel in found.items()}


def _name(shape: tuple[int, int], dtype: torch.dtype, rows: int | None) -> str:
    return f"{shape[0]} x {shape[1]}, {str(dtype).removeprefix('torch.')}, {rows or 'any'} rows"


def _decided(seconds: dict[str, float]) -> str:
    return OWN if MARGIN * seconds[OWN] < seconds[PACKED] else PACKED


@torch.inference_mode()
def _times(shape: tuple[int, int], dtype: torch.dtype, rows: int) -> dict[str, float]:
    """The seconds of a product by each kernel, at its best of several turns."""
    chance = torch.Generator().manual_seed(0)
    out, width = (min(size, LARGEST) for size in shape)
    weight = torch.randn(out, width, generator=chance).to(dtype)
    states = torch.randn(rows, width, generator=chance).to(dtype)
    packed = packed_weight(weight)
    kernels: dict[str, Callable[[], torch.Tensor]] = {
        OWN: lambda: torch.nn.functional.linear(states, weight),
        PACKED: lambda: multiplied(states, packed, None),
    }
    best = dict.fromkeys(kernels, float("inf"))
    for run in kernels.values():
        run()  # makes its code
    began, turn = perf_counter(), 0
    while turn < TURNS or perf_counter() - began < SECONDS:
        for kernel, run in kernels.items():
            before = perf_counter()
            run()
            best[kernel] = min(best[kernel], perf_counter() - before)
        turn += 1
    return best


def packed_weight(weight: torch.Tensor) -> torch.Tensor:
    """`weight` [out, in] as oneDNN wants it, of use to `multiplied` alone."""
    packed: torch.Tensor = torch.ops.mkldnn._reorder_linear_weight(weight.detach().contiguous(), None)
    return packed


def multiplied(
    x: torch.Tensor, packed: torch.Tensor, bias: torch.Tensor | None, after: tuple[str, str] = ("none", "")
) -> torch.Tensor:
    """x Wᵀ + b, then the function `after` (oneDNN's name of it, and of its form)."""
    found: torch.Tensor = torch.ops.mkldnn._linear_pointwise(x, packed, bias, after[0], [], after[1])
    return found


def multiplies(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether oneDNN multiplies matrices of `dtype` on `device`, at the processor's own speed."""
    if device.type != "cpu" or platform.machine() not in ("x86_64", "AMD64"):
        return False
    if not torch.backends.mkldnn.is_available() or not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return False
    return dtype == torch.float32 or (
        dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    )

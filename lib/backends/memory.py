"""Less resident memory on Linux; elsewhere these do nothing.

Without them the memory of a run grows with every new length of text (benchmarks/README.md).
"""

import ctypes
import mmap
import sys
from pathlib import Path

import torch

_C = ctypes.CDLL(None) if sys.platform == "linux" else None
MADV_PAGEOUT = 21  # of linux/mman.h; unlike MADV_DONTNEED it never loses what a page holds


def page_out(tensor: torch.Tensor) -> None:
    """Give up the memory under `tensor`, whose values the system can read from their file again.

    Weights are mapped from their file; without this they would stay in memory beside packed ones as
    long as any other weight of that file is in use.
    """
    if _C is None:
        return
    first = -(-tensor.data_ptr() // mmap.PAGESIZE) * mmap.PAGESIZE
    length = (tensor.data_ptr() + tensor.nbytes - first) // mmap.PAGESIZE * mmap.PAGESIZE
    if length > 0:
        _C.madvise(ctypes.c_void_p(first), ctypes.c_size_t(length), MADV_PAGEOUT)


def trim(above: float = 0) -> None:
    """Give freed memory back to the system, if this process takes more than `above` bytes.

    Batches differ in length, so their tensors leave gaps in the heap that none of the next fits. But what is
    given back must be asked for again, page by page. Giving back every large block at once, with a lower
    threshold of malloc, cost a quarter of the speed.
    """
    if (trim := getattr(_C, "malloc_trim", None)) and _resident() > above:
        trim(0)


def _resident() -> int:
    """Bytes of memory that this process takes, on Linux."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * mmap.PAGESIZE

"""Linear layers whose weights lie as oneDNN wants them, where that is the faster product.

Packed once, the products of a GPT-2 layer ran 1.3 to 1.9 times as fast in float32 on two cores of an EPYC
(benchmarks/README.md).
"""

import os

import torch
from torch import nn
from transformers.activations import NewGELUActivation
from transformers.models.gpt2.modeling_gpt2 import GPT2MLP
from transformers.pytorch_utils import Conv1D

from lib.backends import kernels, memory
from lib.backends.kernels import PACKED

# oneDNN and torch's layer over it each keep code for the last 1,024 shapes that they multiplied: 3 MB for
# every length of text, for good. One model's products of one length are about five, and in bfloat16 two for
# every block of attention. Read at their first use.
for _cache in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):
    os.environ.setdefault(_cache, "32")

Shape = tuple[int, int]
READING = 256  # states, for the trial: fewer than a batch has, to be quick


class PackedLinear(nn.Module):
    """x Wᵀ + b, and its GELU (in the tanh form of GPT-2) if asked for; for inference only."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None, *, gelu: bool = False) -> None:
        super().__init__()
        self.out_features, self.in_features = weight.shape
        self.packed = kernels.packed_weight(weight)
        memory.page_out(weight)
        memory.trim()  # what transposing took
        self.bias = bias
        self.after = ("gelu", "tanh") if gelu else ("none", "")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return kernels.multiplied(x, self.packed, self.bias, self.after)


def pack(model: nn.Module, dtype: torch.dtype, rows: int | None = READING) -> dict[str, str]:
    """Replace the linear layers within `model`, in place, where that helps; elsewhere do nothing.

    Which product is the faster is tried with `rows` states; None packs all that can be packed, for sums that
    do not depend on their number. Returns what was taken for each shape.

    Also gives GPT-2's activation, eight passes over memory in transformers, as the same function in one, or
    in none where the product before it is packed.
    """
    shapes = {_shape(layer) for layer in model.modules() if packs(layer, dtype)}
    taken = kernels.chosen(shapes, dtype, rows)
    _replace(model, dtype, taken)
    return {f"{out} x {width}": taken[out, width] for out, width in sorted(shapes)}


def _replace(model: nn.Module, dtype: torch.dtype, taken: dict[Shape, str]) -> None:
    # From the head on, the largest: while it is packed it is there twice, and nothing else is yet.
    for name, child in reversed(list(model.named_children())):
        if (
            isinstance(child, GPT2MLP)
            and isinstance(child.act, NewGELUActivation)
            and packs(child.c_fc, dtype)
            and taken[_shape(child.c_fc)] == PACKED
        ):
            setattr(child, "c_fc", PackedLinear(child.c_fc.weight.T, child.c_fc.bias, gelu=True))  # noqa: B010
            child.act = nn.Identity()
        if isinstance(child, NewGELUActivation):
            setattr(model, name, nn.GELU(approximate="tanh"))
        elif isinstance(child, nn.Linear | Conv1D) and packs(child, dtype):
            if taken[_shape(child)] == PACKED:
                setattr(model, name, PackedLinear(_matrix(child), child.bias))
        else:
            _replace(child, dtype, taken)


def packs(layer: nn.Module, dtype: torch.dtype) -> bool:
    """Whether `layer` is a product that oneDNN does here, in `dtype`."""
    if type(layer) not in (nn.Linear, Conv1D):
        return False
    weight: torch.Tensor = layer.weight  # type: ignore[assignment]
    return kernels.multiplies(weight.device, dtype)


def _matrix(layer: nn.Module) -> torch.Tensor:
    """The weights of a linear layer, [out, in]."""
    weight: torch.Tensor = layer.weight  # type: ignore[assignment]
    return weight.T if isinstance(layer, Conv1D) else weight


def _shape(layer: nn.Module) -> Shape:
    out, width = _matrix(layer).shape
    return out, width

"""Linear layers whose weights lie as oneDNN wants them, for processors.

torch multiplies float32 matrices with MKL, which leaves half of a recent AMD processor idle, and
repacks half-precision weights for oneDNN at every call. Packed once, the products of a GPT-2 layer
ran 1.3 to 1.9 times as fast in float32 on two cores of an EPYC (benchmarks/README.md).
"""

import os
import platform

import torch
from torch import nn
from transformers.activations import NewGELUActivation
from transformers.models.gpt2.modeling_gpt2 import GPT2MLP
from transformers.pytorch_utils import Conv1D

from lib.backends import memory

# oneDNN and torch's layer over it each keep code for the last 1,024 shapes that they multiplied: 3 MB for
# every length of text, for good. One model's products of one length are about five, and in bfloat16 two for
# every block of attention. Read at their first use.
for _cache in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):
    os.environ.setdefault(_cache, "32")


class PackedLinear(nn.Module):
    """x Wᵀ + b, and its GELU (in the tanh form of GPT-2) if asked for; for inference only."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None, *, gelu: bool = False) -> None:
        super().__init__()
        self.out_features, self.in_features = weight.shape
        self.packed = torch.ops.mkldnn._reorder_linear_weight(weight.detach().contiguous(), None)
        memory.page_out(weight)
        memory.trim()  # what transposing took
        self.bias = bias
        self.gelu = gelu

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kind, how = ("gelu", "tanh") if self.gelu else ("none", "")
        return torch.ops.mkldnn._linear_pointwise(x, self.packed, self.bias, kind, [], how)


def pack(model: nn.Module, dtype: torch.dtype) -> None:
    """Replace the linear layers within `model`, in place, where that helps; elsewhere do nothing.

    Also gives GPT-2's activation, eight passes over memory in transformers, as the same function in one,
    or in none where the product before it is packed.
    """
    # From the head on, the largest: while it is packed it is there twice, and nothing else is yet.
    for name, child in reversed(list(model.named_children())):
        if (
            isinstance(child, GPT2MLP)
            and isinstance(child.act, NewGELUActivation)
            and packs(child.c_fc, dtype)
        ):
            setattr(child, "c_fc", PackedLinear(child.c_fc.weight.T, child.c_fc.bias, gelu=True))  # noqa: B010
            child.act = nn.Identity()
        if isinstance(child, NewGELUActivation):
            setattr(model, name, nn.GELU(approximate="tanh"))
        elif isinstance(child, nn.Linear | Conv1D) and packs(child, dtype):
            weight = child.weight.T if isinstance(child, Conv1D) else child.weight
            setattr(model, name, PackedLinear(weight, child.bias))
        else:
            pack(child, dtype)


def packs(layer: nn.Module, dtype: torch.dtype) -> bool:
    """Whether `layer` is a product that oneDNN does here, in `dtype`."""
    if type(layer) not in (nn.Linear, Conv1D):
        return False
    weight: torch.Tensor = layer.weight  # type: ignore[assignment]
    return multiplies(weight.device, dtype)


def multiplies(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether oneDNN multiplies matrices of `dtype` on `device`, at the processor's own speed."""
    if device.type != "cpu" or platform.machine() not in ("x86_64", "AMD64"):
        return False
    if not torch.backends.mkldnn.is_available() or not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return False
    return dtype == torch.float32 or (
        dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    )

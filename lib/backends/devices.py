"""Where a model of transformers runs: on a GPU, on Apple's, or on the processor."""

from typing import Any

import torch
from torch import nn

from lib.errors import StudyError
from lib.params import Transformers


def device_for(weights: Transformers) -> torch.device:
    """The device that `weights` name, or for `auto` the best that there is: CUDA, Apple's, the processor.

    Apple's GPU is taken in float32 alone, which is what it was made to agree in. Raises StudyError for a
    device that is not there.
    """
    there = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available() and weights.dtype == "float32",
        "cpu": True,
    }
    if weights.device == "auto":
        return torch.device(next(name for name, found in there.items() if found))
    if not there[weights.device]:
        named = ", ".join(name for name, found in there.items() if found)
        raise StudyError(
            f"`device: {weights.device}` of {weights.model!r} is not there: torch {torch.__version__} finds "
            f"{named} on this machine; name one of these, or leave `device` out."
        )
    return torch.device(weights.device)


def placement(weights: Transformers, device: torch.device) -> dict[str, Any]:
    """How `from_pretrained` is told to load weights straight to where they run.

    On the processor nothing is said: they stay mapped from their file.
    """
    if weights.device_map is not None:
        return {"device_map": weights.device_map}
    if device.type == "cpu" and weights.quantization is None:
        return {}
    return {"device_map": {"": str(device)}}


def devices_of(model: nn.Module) -> str:
    """The devices that the weights of `model` lie on, for the record."""
    return ", ".join(sorted({str(weight.device) for weight in model.parameters()}))

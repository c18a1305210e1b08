"""Adapters of PEFT (LoRA and its kin), merged into the model that they were trained on."""

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import PreTrainedModel

from lib.backends import extras
from lib.backends.weights import adapter_files
from lib.errors import StudyError
from lib.params import Transformers

# What foreign adapters make peft raise.
BROKEN = (
    OSError,
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    ImportError,
    RuntimeError,
    SafetensorError,
)


@torch.inference_mode()
def merged(model: PreTrainedModel, weights: Transformers) -> PreTrainedModel:
    """`model` with the adapter of `weights` in its own matrices: it then runs as any other, and as fast.

    Its tokenizer and chat template stay the model's. Raises StudyError if peft is not installed, the adapter
    is missing, broken, made for another model or of a kind that no matrix can take, or if the merged model
    does not compute what model and adapter do side by side (one adapts a matrix that another shares, say).
    """
    peft = extras.need("peft", "adapters", "Adapters")
    name = weights.adapter
    config_file, file = adapter_files(weights)
    ids = torch.arange(8, device=model.device)[None]
    try:
        beside = _beside(peft, model, config_file.parent, file, str(name))
        expected = beside(input_ids=ids, use_cache=False).logits.float()
        found: PreTrainedModel = beside.merge_and_unload()
        apart = (found(ids, use_cache=False).logits.float() - expected).abs().max()
    except BROKEN as error:
        reason = " ".join(str(error).split())[:200].rstrip(". ") or type(error).__name__
        raise StudyError(
            f"The adapter {name!r} cannot be merged into {weights.model!r} ({reason}); name the model that "
            f"it was trained on, or fetch its files again."
        ) from error
    allowed = (1e-3 if model.dtype == torch.float32 else 3e-2) * expected.abs().max().clamp(min=1.0)
    if not apart <= allowed:  # nor where it is no number
        raise StudyError(
            f"The adapter {name!r} changes {weights.model!r} otherwise once it is merged; save the merged "
            f"model yourself, look at it, and name that folder as `model`."
        )
    return found


def _beside(peft: Any, model: PreTrainedModel, folder: Path, file: Path, name: str) -> Any:
    """`model` with its adapter beside its matrices. Raises StudyError, and whatever peft raises."""
    config = peft.PeftConfig.from_pretrained(str(folder))
    if config.is_prompt_learning:
        raise StudyError(
            f"The adapter {name!r} is of the kind {config.peft_type.value}, which stands before a text and "
            f"in no matrix; name one of LoRA's kind, or a merged model."
        )
    config.inference_mode = True
    found = peft.get_peft_model(model, config)
    given = load_file(file)
    wanted = set(peft.get_peft_model_state_dict(found, save_embedding_layers=False))
    unknown = peft.set_peft_model_state_dict(found, given).unexpected_keys
    if odd := sorted({*(wanted - set(given)), *unknown}):
        raise StudyError(
            f"The weights of the adapter {name!r} are not those that its adapter_config.json speaks of "
            f"({odd[0]}, {len(odd)} in all); name the model that it was trained on, or fetch its files again."
        )
    return found.eval()

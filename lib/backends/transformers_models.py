"""Models and tokenizers of the library transformers, opened safely."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedConfig, PreTrainedModel

from lib import paths
from lib.backends import adapters, quantised
from lib.backends.devices import device_for, placement
from lib.backends.tokens import Tokens
from lib.backends.transformers_gguf import GGUFFile
from lib.backends.weights import commit_of, gguf_of, local_folder
from lib.errors import StudyError
from lib.params import Transformers

# What foreign files make transformers raise: each of them ends in the sentence of `_unloadable`.
BROKEN = (OSError, ValueError, TypeError, KeyError, AttributeError, ImportError, RuntimeError)
# Buffers that old versions of transformers saved and new ones work out by themselves.
WORKED_OUT = ("rotary_emb.inv_freq", ".attn.bias", ".attn.masked_bias", ".attention.bias", "position_ids")


@dataclass(frozen=True)
class Opened:
    """A model in evaluation mode where it runs, and its tokenizer."""

    model: PreTrainedModel
    tokens: Tokens


def load(weights: Transformers) -> Opened:
    """The model, on the device that it runs on, and its tokenizer.

    Weights come from safetensors or a GGUF file only, and a repository's own code runs only where the
    params file says `trust_remote_code: true`. Raises StudyError if they are missing or broken, or are not
    all that the model needs (transformers would draw the rest at random), or the device is not there.
    """
    device = device_for(weights)
    gguf = GGUFFile(file) if (file := gguf_of(weights)) else None
    name, options = _where(weights, gguf)
    tokens = _tokens(weights, name, options, gguf)
    try:
        opened: Any = AutoModelForCausalLM.from_pretrained(
            name,
            dtype=getattr(torch, weights.dtype),
            use_safetensors=True,
            output_loading_info=True,
            **({} if gguf else placement(weights, device)),
            **quantised.options(weights),
            **options,
        )
    except torch.OutOfMemoryError as error:
        raise StudyError(f"There is no memory for the weights of {weights.model!r}.") from error
    except (*BROKEN, SafetensorError, StrictDataclassError) as error:
        raise _unloadable(weights, error) from error
    model: PreTrainedModel = opened[0]
    _check_names(weights.model, opened[1])
    if getattr(model, "_hf_peft_config_loaded", False):
        raise StudyError(
            f"{weights.model!r} holds an adapter, which is no model by itself; write its name as `adapter` "
            f"and the model that it was trained on as `model`."
        )
    if gguf:
        model.to(device)  # type: ignore[arg-type]
    model.eval()
    if weights.adapter is not None:
        model = adapters.merged(model, weights)
    _check_forward(weights.model, model)
    return Opened(model, tokens)


def context_length(config: PreTrainedConfig) -> int | None:
    """How many positions a model of `config` has; None if that does not say it. It may see pictures, too."""
    for part in (config, config.get_text_config()):
        for name in ("max_position_embeddings", "n_positions", "max_seq_len", "n_ctx"):
            if length := getattr(part, name, None):
                return int(length)
    return None


def tokens_of(weights: Transformers) -> Tokens:
    """The tokenizer of `weights` alone. Raises StudyError if it is missing or broken."""
    gguf = GGUFFile(file) if (file := gguf_of(weights)) else None
    return _tokens(weights, *_where(weights, gguf), gguf)


def _where(weights: Transformers, gguf: GGUFFile | None) -> tuple[str, dict[str, Any]]:
    """The folder or name on the hub, and what `from_pretrained` is told besides."""
    if gguf:
        gguf.check()
        return str(gguf.file.parent), gguf.options()
    folder = local_folder(weights)
    if folder:
        _check_json(folder / "generation_config.json")
    options: dict[str, Any] = {"trust_remote_code": weights.trust_remote_code}
    if folder:
        return str(folder), options
    return weights.model, {**options, "revision": commit_of(weights)}


def _check_json(file: Path) -> None:
    """Raise StudyError for a file that is there and no JSON: transformers would go on without it."""
    try:
        if file.exists():
            json.loads(file.read_bytes())
    except ValueError as error:
        raise StudyError(f"{paths.shown(file)} cannot be loaded: it is no JSON ({error}).") from error


def _tokens(weights: Transformers, name: str, options: dict[str, Any], gguf: GGUFFile | None) -> Tokens:
    try:
        tokenizer = AutoTokenizer.from_pretrained(name, **options)
    except Exception as error:
        # The library tokenizers raises nothing but Exception itself.
        if isinstance(error, (*BROKEN, StrictDataclassError)) or type(error) is Exception:
            raise _unloadable(weights, error) from error
        raise
    if gguf:
        gguf.mend(tokenizer)
        return Tokens(tokenizer, weights.model, adds_bos=gguf.adds_bos, marks=gguf.ends(tokenizer))
    _own_marks_only(tokenizer)
    return Tokens(tokenizer, weights.model)


def _own_marks_only(tokenizer: Any) -> None:
    """Take away a BOS or EOS that the vocabulary lacks: its class names one, and a token is added for it.

    A model with more rows than tokens would read it as one that nothing has trained.
    """
    if not tokenizer.is_fast:
        return
    added = tokenizer.init_kwargs.get("added_tokens_decoder", {})
    for which in ("bos_token", "eos_token"):
        token = getattr(tokenizer, which)
        own = token is None or tokenizer.backend_tokenizer.model.token_to_id(token) is not None
        if not own and tokenizer.convert_tokens_to_ids(token) not in added:
            setattr(tokenizer, which, None)


def _unloadable(weights: Transformers, error: Exception) -> StudyError:
    if "ignore_mismatched_sizes" in str(error) or "size mismatch" in str(error):
        reason = "its weights have other shapes than its config.json says"
    else:
        reason = " ".join(str(error).split())[:200].rstrip(". ") or type(error).__name__
    way_out = "fetch its weights again"
    if "Unrecognized configuration class" in reason:
        reason, way_out = "its kind is no language model that goes on from a text", "name another model"
    if weights.model.endswith(".gguf"):
        way_out += f", or write `weights: {{backend: llama_cpp, file: {weights.model}}}` (`make extras`)"
    return quantised.why_not(weights, reason) or StudyError(
        f"The model {weights.model!r} cannot be loaded ({reason}); {way_out}."
    )


def _check_names(name: str, found: dict[str, Any]) -> None:
    """Raise StudyError unless the checkpoint has just the weights that a language model has."""
    missing = sorted(found["missing_keys"])
    more = sorted(key for key in found["unexpected_keys"] if not key.endswith(WORKED_OUT))
    if missing:
        also = f", and has others instead ({_some(more)})" if more else ""
        raise StudyError(
            f"The checkpoint {name!r} lacks {_some(missing)}{also}; it is no whole language model, and what "
            f"it lacks would be drawn at random."
        )
    if more:
        raise StudyError(
            f"The checkpoint {name!r} has weights that its language model does not know ({_some(more)}); "
            f"name one whose names are those of transformers."
        )


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 2} more" if len(names) > 2 else ""
    return ", ".join(names[:2]) + more


@torch.inference_mode()
def _check_forward(name: str, model: PreTrainedModel) -> None:
    """Raise StudyError for a model whose forward pass is not that of a causal language model.

    What comes later must not change what was predicted before it, and no state may be kept but keys and
    values: what is written with such a state was not compared with a plain forward pass.
    """
    if getattr(model, "_is_stateful", False):
        raise StudyError(
            f"{name!r} keeps a state ({model.config.model_type}), and what such models write and read here "
            f"was never compared with a plain forward pass; name a model that attends to keys and values."
        )
    if model.config.model_type == "falcon" and model.config.alibi:
        raise StudyError(
            f"{name!r} is a Falcon with ALiBi, and what was read and written with one here was not what "
            f"a plain forward pass gives; name another model, or ask a server that runs it."
        )
    ids = torch.arange(8, device=model.device)
    changed = torch.cat([ids[:-1], ids[:1]])
    # One after the other: side by side, a sum may differ in its last digit.
    a, b = (model(each[None], use_cache=False).logits[0, :-1].float() for each in (ids, changed))
    if not a.isfinite().all():
        raise StudyError(
            f"The model {name!r} gives no finite logits in {model.dtype}: its weights are damaged, or the "
            f"dtype is too small for them; fetch them again, or set `dtype: float32`."
        )
    if (a - b).abs().max() > 0.01 * a.abs().max():
        raise StudyError(
            f"The attention of {name!r} is not causal: what comes later changes what it predicts before; "
            f"name a language model that reads from left to right."
        )

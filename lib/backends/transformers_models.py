"""Models and tokenizers of the library transformers, opened safely."""

import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from lib.backends.weights import identity, local_folder
from lib.errors import StudyError
from lib.params import Transformers


def load(weights: Transformers) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The model (on the GPU if there is one, in evaluation mode) and its tokenizer.

    Weights come from safetensors only, and a repository's own code runs only where the params file
    says `trust_remote_code: true`. Raises StudyError if they are missing or broken.
    """
    folder = local_folder(weights)
    name, revision = (str(folder), None) if folder else (weights.model, identity(weights))
    options = {"revision": revision, "trust_remote_code": weights.trust_remote_code}
    try:
        tokenizer = AutoTokenizer.from_pretrained(name, **options)
        model = AutoModelForCausalLM.from_pretrained(
            name, dtype=getattr(torch, weights.dtype), use_safetensors=True, **options
        )
    except (OSError, ValueError, ImportError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:200].rstrip(". ")
        raise StudyError(
            f"The model {weights.model!r} cannot be loaded ({reason}); fetch its weights again."
        ) from error
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model.to(torch.device(device)).eval()  # type: ignore[arg-type]
    return model, tokenizer


def begun(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """The ids of `text` with exactly one BOS before them, if the tokenizer has a BOS at all.

    Tokenizers differ in whether they add it, and a chat template may have written it already.
    """
    ids: list[int] = tokenizer.encode(text, add_special_tokens=False)
    bos = tokenizer.bos_token_id
    return ids if bos is None or ids[:1] == [bos] else [bos, *ids]

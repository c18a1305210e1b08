"""Weights in 8 or 4 bits: made so at opening by bitsandbytes, or quantised checkpoints as they are.

transformers does both; here it is told so, and what keeps it from it is said.
"""

import logging
from importlib.util import find_spec
from typing import Any

from transformers import BitsAndBytesConfig

from lib.backends.weights import NEEDS, distribution, quantised_as
from lib.errors import StudyError
from lib.params import Transformers


def options(weights: Transformers) -> dict[str, Any]:
    """What `from_pretrained` is told. Raises StudyError if it needs a package that is not installed."""
    if weights.quantization is None:
        _check_packages(weights)
        return {}
    if find_spec("bitsandbytes") is None:
        raise StudyError(
            f"`quantization: {weights.quantization}` of {weights.model!r} needs the package 'bitsandbytes', "
            f"which is not installed; install it with `make extras` or `pip install -c "
            f"requirements-extras.lock bitsandbytes`, or leave it out."
        )
    if weights.quantization == "8bit":
        logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # it warns at every product
        # With outliers apart, which are looked for in all states together, a token would depend on those
        # after it and on the texts beside its own.
        return {"quantization_config": BitsAndBytesConfig(load_in_8bit=True, llm_int8_threshold=0.0)}
    return {
        "quantization_config": BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_compute_dtype=weights.dtype)
    }


def _check_packages(weights: Transformers) -> None:
    method = quantised_as(weights)
    missing = [distribution(name) for name in NEEDS.get(method or "", ()) if not _installed(name)]
    if missing:
        packages = " ".join(missing)
        raise StudyError(
            f"The checkpoint {weights.model!r} is quantised ({method}), and what reads it is not installed "
            f"({packages}); install it with `pip install {packages}`, have vLLM serve the checkpoint "
            f"(`backend: vllm`), or name the model that it was made of."
        )


def _installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # of the package that it is in
        return False


def why_not(weights: Transformers, reason: str) -> StudyError | None:
    """The sentence where `reason` kept quantised weights from being opened; None for plain ones."""
    if weights.quantization is not None:
        return StudyError(
            f"`quantization: {weights.quantization}` of {weights.model!r} does not run here ({reason}); run "
            f"it on a GPU that bitsandbytes knows, or leave `quantization` out."
        )
    if method := quantised_as(weights):
        return StudyError(
            f"The checkpoint {weights.model!r} is quantised ({method}), and does not run here ({reason}); "
            f"install the package that this names, run it on a GPU, or name the model that it was made of."
        )
    return None

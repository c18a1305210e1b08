"""How many MB weights take once they are loaded, by the headers of their files; nothing is loaded for it."""

from functools import cache
from pathlib import Path

from lib import paths
from lib.errors import StudyError
from lib.machine import MEGABYTE
from lib.params import LlamaCpp, Transformers

BYTES_OF_DTYPE = {"float32": 4, "bfloat16": 2, "float16": 2}
BYTES_OF_QUANTISED = {"8bit": 1, "4bit": 0.5}
UNKNOWN = 2_000  # MB of weights that nobody has fetched yet


def of_llama_cpp(weights: LlamaCpp) -> int:
    """Those of a GGUF file, which llama.cpp keeps as they are."""
    file = paths.resolve(weights.file)
    return file.stat().st_size // MEGABYTE if weights.repo is None and file.is_file() else UNKNOWN


def of_transformers(weights: Transformers) -> int:
    """Those of a folder, of what the hub's cache has, or of a GGUF file, at the precision of `weights`."""
    folder = paths.resolve(weights.model)
    if folder.suffix == ".gguf" and folder.is_file():
        return round(dequantised(folder) * _bytes_each(weights)) // MEGABYTE
    files = list(folder.glob("*.safetensors")) if folder.is_dir() else _cached(weights)
    if not files:
        return UNKNOWN
    half = any(b'"BF16"' in _head(file) or b'"F16"' in _head(file) for file in files)
    bytes_ = sum(file.stat().st_size for file in files)
    return round(bytes_ // (2 if half else 4) * _bytes_each(weights)) // MEGABYTE


@cache
def dequantised(file: Path) -> int:
    """How many numbers the weights of a GGUF `file` are. Raises StudyError for another kind of file."""
    from gguf import GGUFReader

    try:
        return sum(int(tensor.n_elements) for tensor in GGUFReader(file).tensors)
    except (ValueError, IndexError, KeyError) as error:
        raise StudyError(
            f"{paths.shown(file)} is not a whole GGUF file ({error}); fetch it again."
        ) from error


def _bytes_each(weights: Transformers) -> float:
    return BYTES_OF_QUANTISED[weights.quantization] if weights.quantization else BYTES_OF_DTYPE[weights.dtype]


def _head(file: Path) -> bytes:
    """The header of a safetensors file, as far as it stands in the first 64 kB."""
    with file.open("rb") as stream:
        return stream.read(1 << 16)


def _cached(weights: Transformers) -> list[Path]:
    """The weights of a model of the hub as far as they are in the cache."""
    from huggingface_hub.constants import HF_HUB_CACHE

    snapshots = Path(HF_HUB_CACHE) / f"models--{weights.model.replace('/', '--')}" / "snapshots"
    folders = sorted(snapshots.glob(weights.revision or "*"), key=lambda folder: folder.stat().st_mtime)
    return list(folders[-1].glob("*.safetensors")) if folders else []

"""Where weights lie and which ones they are, without loading them."""

from pathlib import Path

from lib import paths, store
from lib.errors import StudyError
from lib.params import LlamaCpp, Transformers

# What of a model's folder decides its texts and scores; the card, say, does not.
DECISIVE = {".safetensors", ".json", ".jinja", ".model", ".txt"}


def of_transformers(weights: Transformers) -> str:
    """A content hash of local weights, or the commit of weights on the hub.

    Raises StudyError if the weights are not there.
    """
    if file := gguf_of(weights):
        return store.file_hash(file)
    if folder := local_folder(weights):
        return _folder_hash(folder)
    return _hub_commit(weights.model, "config.json", weights.revision)


def of_llama_cpp(weights: LlamaCpp) -> str:
    """As `of_transformers`."""
    if weights.repo is None:
        return store.file_hash(gguf_file(weights))
    return _hub_commit(weights.repo, weights.file, weights.revision)


def _folder_hash(folder: Path) -> str:
    decisive = (file for file in sorted(folder.iterdir()) if file.suffix in DECISIVE and file.is_file())
    return store.digest(f"{file.name} {store.file_hash(file)}" for file in decisive)


def gguf_of(weights: Transformers) -> Path | None:
    """The GGUF file that `weights` name in place of a folder, or None. Raises StudyError if it is missing."""
    return _local_file(weights.model) if weights.model.endswith(".gguf") else None


def local_folder(weights: Transformers) -> Path | None:
    """The folder of local weights, or None for a model of the Hugging Face hub.

    Raises StudyError for a folder that is missing or holds no safetensors.
    """
    folder = paths.resolve(weights.model)
    if not folder.exists() and weights.model.count("/") <= 1 and not weights.model.startswith((".", "~")):
        return None
    if not (folder / "config.json").exists():
        raise StudyError(f"There is no model in {paths.shown(folder)}; {_way_to(folder)}")
    if not any(folder.glob("*.safetensors")):
        pickled = next((file.name for file in folder.glob("*.bin")), None)
        if pickled:
            raise StudyError(
                f"{paths.shown(folder)} has its weights as a pickle ({pickled}), which can run code when "
                f"loaded; convert them to safetensors."
            )
        raise StudyError(f"The weights in {paths.shown(folder)} are missing; {_way_to(folder)}")
    return folder


def gguf_file(weights: LlamaCpp) -> Path:
    """The GGUF file of `weights`, fetched from the hub if it is there. Raises StudyError if not."""
    if weights.repo is not None:
        return _hub_file(weights.repo, weights.file, weights.revision)
    return _local_file(weights.file)


def _local_file(name: str) -> Path:
    file = paths.resolve(name)
    if not file.is_file():
        raise StudyError(f"There is no {paths.shown(file)}; {_way_to(file)}")
    return file


def _way_to(path: Path) -> str:
    if path.is_relative_to(paths.root() / "data" / "models"):
        return (
            "the demo models come with the repository (`git checkout -- data/models`) or from `make models`."
        )
    return "put the weights there or correct the path in the params file."


def _hub_commit(repo: str, file: str, revision: str | None) -> str:
    """The commit that `revision` of `repo` stands for (a cached file lies below its commit)."""
    return _hub_file(repo, file, revision).parents[file.count("/")].name


def _hub_file(repo: str, file: str, revision: str | None) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(repo, file, revision=revision))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        reason = (
            str(error).strip().splitlines()[0].rstrip(".") if str(error).strip() else type(error).__name__
        )
        raise StudyError(
            f"{file} of the hub's {repo!r} is neither in the cache nor to be had ({reason}); connect to "
            f"the network, sign in with `hf auth login` if the model asks for it, or correct the name."
        ) from error

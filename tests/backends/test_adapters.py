"""Adapters of PEFT: merged they are what their formula says, and what does not fit is one sentence."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from lib.backends.engines import deciding, identity, open_generator, open_scoring_model
from lib.backends.generating import Request
from lib.errors import StudyError
from lib.params import Sampling, Scoring, Transformers
from lib.surprisal.rows import Text, score_rows
from tests.surprisal.test_scoring import MODELS, double, oracle

peft = pytest.importorskip("peft", reason="peft is not installed (`make extras`)")

BASE = MODELS / "tiny-base"
RANK, ALPHA = 4, 32
TEXTS = ["The list is sorted in place.", " Returns null, né?\n"]


def weights(adapter: Path | str, model: Path | str = BASE, **more: object) -> Transformers:
    return Transformers(backend="transformers", model=str(model), adapter=str(adapter), **more)


def made(folder: Path, modules: tuple[str, ...] = ("q_proj", "down_proj"), model: Path = BASE) -> Path:
    torch.manual_seed(1)
    config = peft.LoraConfig(
        r=RANK, lora_alpha=ALPHA, target_modules=list(modules), init_lora_weights=False, task_type="CAUSAL_LM"
    )
    peft.get_peft_model(AutoModelForCausalLM.from_pretrained(model), config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def adapter(tmp_path_factory) -> Path:
    return made(tmp_path_factory.mktemp("adapter"))


@pytest.fixture
def spoilt(adapter, tmp_path) -> Path:
    return Path(shutil.copytree(adapter, tmp_path / "spoilt"))


def by_hand(adapter: Path, folder: Path) -> Path:
    """W + α/r · B A for each adapted matrix (Hu et al. 2021), added up in float64 without peft."""
    shutil.copytree(BASE, folder)
    matrices, low = load_file(folder / "model.safetensors"), load_file(adapter / "adapter_model.safetensors")
    for name in [key for key in low if key.endswith("lora_A.weight")]:
        a, b = low[name].double(), low[name.replace("lora_A", "lora_B")].double()
        own = name.removeprefix("base_model.model.").replace("lora_A.weight", "weight")
        matrices[own] = (matrices[own].double() + ALPHA / RANK * b @ a).float()
    save_file(matrices, folder / "model.safetensors", {"format": "pt"})
    return folder


def scored(declared: Transformers) -> np.ndarray:
    rows = [Text(str(i), "Sort it.", text) for i, text in enumerate(TEXTS)]
    found = score_rows(open_scoring_model(declared), Scoring(), rows)
    assert not found.not_scored
    return found.tokens.to_pandas()["surprisal"].to_numpy()


def test_a_merged_adapter_is_what_its_formula_says(adapter, tmp_path):
    whole = by_hand(adapter, tmp_path / "whole")
    model = open_scoring_model(weights(adapter))
    texts = score_rows(model, Scoring(), [Text(text, "", text) for text in TEXTS]).tokens.to_pandas()
    for _, tokens in texts.groupby("doc_id"):
        expected = oracle(double(whole), [model.bos, *tokens["token_id"]])
        np.testing.assert_allclose(tokens["surprisal"], expected, atol=1e-3, rtol=0)
    plain = scored(Transformers(backend="transformers", model=str(BASE)))
    assert np.abs(scored(weights(adapter)) - plain).max() > 0.1
    sampling, asked = Sampling(max_tokens=16, temperature=0), [Request("A list is", seed=1)]
    written = open_generator(weights(adapter)).generate(asked, sampling)
    assert written == open_generator(Transformers(backend="transformers", model=str(whole))).generate(
        asked, sampling
    )


def test_the_adapters_files_are_in_the_identity(adapter, spoilt):
    alone = Transformers(backend="transformers", model=str(BASE))
    assert identity(alone) in identity(weights(adapter)) != identity(alone)
    assert identity(weights(adapter)) == identity(weights(spoilt))
    assert deciding(weights(adapter))["adapter"] == str(adapter)
    assert "adapter" not in deciding(alone)
    tensors = load_file(spoilt / "adapter_model.safetensors")
    save_file({key: value * 2 for key, value in tensors.items()}, spoilt / "adapter_model.safetensors")
    assert identity(weights(adapter)) != identity(weights(spoilt))


def test_one_of_the_hub_is_known_by_its_commit(adapter, tmp_path, monkeypatch):
    cached = Path(shutil.copytree(adapter, tmp_path / "snapshots" / "abc123"))
    asked = []

    def fetch(repo: str, name: str, revision: str | None = None) -> str:
        asked.append((repo, name, revision))
        return str(cached / name)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", fetch)
    declared = weights("someone/mine", adapter_revision="v2")
    assert identity(declared).endswith(" with the adapter abc123")
    assert set(asked) == {
        ("someone/mine", name, "v2") for name in ("adapter_config.json", "adapter_model.safetensors")
    }
    np.testing.assert_array_equal(scored(declared), scored(weights(adapter)))


def changed(folder: Path, **declared: object) -> None:
    file = folder / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **declared}))


def renamed(folder: Path, old: str, new: str) -> None:
    file = folder / "adapter_model.safetensors"
    save_file({key.replace(old, new): value for key, value in load_file(file).items()}, file)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda f: renamed(f, "lora_A", "lora_X"), "are not those that its adapter_config"),
        (lambda f: renamed(f, "layers.0", "layers.90"), "are not those that its adapter_config"),
        (lambda f: changed(f, r=2), "cannot be merged"),
        (lambda f: changed(f, target_modules=["c_attn"]), "cannot be merged"),
        (lambda f: changed(f, peft_type="NEW"), "cannot be merged"),
        (lambda f: (f / "adapter_config.json").write_text("{"), "cannot be merged"),
        (lambda f: (f / "adapter_model.safetensors").write_bytes(b"half"), "cannot be merged"),
        (lambda f: (f / "adapter_config.json").unlink(), "There is no adapter in"),
        (lambda f: (f / "adapter_model.safetensors").unlink(), "weights of the adapter in .* are missing"),
        (
            lambda f: (f / "adapter_model.safetensors").rename(f / "adapter_model.bin"),
            "pickle \\(adapter_model.bin\\)",
        ),
    ],
)
def test_an_adapter_that_does_not_fit_is_one_sentence(spoil, said, spoilt):
    spoil(spoilt)
    with pytest.raises(StudyError, match=said) as error:
        open_scoring_model(weights(spoilt))
    assert "\n" not in str(error.value)


def test_one_that_stands_before_a_text_is_refused(tmp_path):
    config = peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3)
    peft.get_peft_model(AutoModelForCausalLM.from_pretrained(BASE), config).save_pretrained(tmp_path)
    with pytest.raises(StudyError, match="kind PROMPT_TUNING, which stands before a text"):
        open_generator(weights(tmp_path))


def test_one_that_adapts_a_matrix_which_another_shares_is_refused(tmp_path):
    """tiny-base reads and foretells by one matrix: merged into the head, the adapter would read, too."""
    with pytest.raises(StudyError, match="otherwise once it is merged"):
        open_scoring_model(weights(made(tmp_path, ("lm_head",))))


def test_an_adapter_given_as_a_model_is_told_in_one_sentence(adapter, spoilt):
    with pytest.raises(StudyError, match=f"holds an adapter.*`model: {BASE}` and `adapter: {adapter}`"):
        open_scoring_model(Transformers(backend="transformers", model=str(adapter)))
    for name in ("config.json", "model.safetensors"):
        shutil.copy(BASE / name, spoilt / name)
    with pytest.raises(StudyError, match="holds an adapter"):
        identity(Transformers(backend="transformers", model=str(spoilt)))


def test_without_peft_the_way_to_it_is_said(adapter, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "peft", None)
    with pytest.raises(StudyError, match=r"Adapters need the package 'peft'.*make extras"):
        open_scoring_model(weights(adapter))

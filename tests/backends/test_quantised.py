"""Quantised weights and models on several devices: passed on to transformers, or told in one sentence."""

import json
import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest

from lib.backends import quantised, sizes
from lib.backends.engines import deciding, engine_of, open_generator, open_scoring_model
from lib.backends.generating import Request
from lib.errors import StudyError
from lib.params import Sampling, Scoring, Transformers
from lib.surprisal.rows import Text, score_rows
from tests.surprisal.test_scoring import MODELS

MODEL = MODELS / "tiny-base"


def weights(model: Path = MODEL, **more: object) -> Transformers:
    return Transformers(backend="transformers", model=str(model), **more)


@pytest.mark.skipif(find_spec("bitsandbytes") is not None, reason="bitsandbytes is installed")
@pytest.mark.parametrize("bits", ["8bit", "4bit"])
def test_without_bitsandbytes_the_way_to_it_is_said(bits):
    for opened in (open_generator, open_scoring_model):
        with pytest.raises(StudyError, match=f"`quantization: {bits}` of .*make extras.*bitsandbytes"):
            opened(weights(quantization=bits))


@pytest.mark.skipif(find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed (`make extras`)")
@pytest.mark.parametrize(("bits", "apart"), [("8bit", 0.15), ("4bit", 1.0)])
def test_quantised_weights_write_and_read_as_the_model_does_but_for_rounding(bits, apart):
    """Neither what comes after a token nor a text beside its own changes its surprisal, but for rounding."""
    prose = "The list is sorted in place, and nothing is returned. "
    texts = [Text("long", "", prose * 5 + "zebra" * 20), Text("short", "", prose)]
    found, exact = (
        score_rows(open_scoring_model(each), Scoring(), texts).tokens.to_pandas().set_index("doc_id")
        for each in (weights(quantization=bits), weights())
    )
    assert found["token"].equals(exact["token"])
    assert 1e-3 < (found["surprisal"] - exact["surprisal"]).abs().mean() < apart
    short = found.loc["short", "surprisal"].to_numpy()[:-1]  # its last token, a blank, is another's there
    # The last digit of a sum may round a state to the next of 255 steps.
    assert abs(found.loc["long", "surprisal"].to_numpy()[: len(short)] - short).max() < 0.1
    generator = open_generator(weights(quantization=bits))
    requests = [Request(prose[: 10 + 3 * i], seed=i) for i in range(9)]
    together = generator.generate(requests, Sampling(max_tokens=8))
    assert together[4] == generator.generate([requests[4]], Sampling(max_tokens=8))[0]


def quantised_checkpoint(folder: Path, **declared: object) -> Path:
    shutil.copytree(MODEL, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "quantization_config": declared}))
    return folder


@pytest.mark.parametrize(
    ("declared", "packages"),
    [
        ({"quant_method": "gptq", "bits": 4, "group_size": 128}, ["optimum", "gptqmodel"]),
        ({"quant_method": "awq", "bits": 4, "group_size": 128}, ["gptqmodel"]),
        ({"quant_method": "compressed-tensors", "config_groups": {}}, ["compressed_tensors"]),
        ({"quant_method": "hqq"}, ["hqq"]),
        ({"quant_method": "torchao"}, ["torchao"]),
        ({"quant_method": "quanto"}, ["optimum-quanto"]),
        ({"quant_method": "auto-round"}, ["auto_round"]),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, ["bitsandbytes"]),
    ],
)
@pytest.mark.parametrize("opened", [open_generator, open_scoring_model])
def test_a_quantised_checkpoint_says_what_it_lacks(opened, declared, packages, tmp_path, monkeypatch):
    monkeypatch.setattr(quantised, "find_spec", lambda name: None)
    folder = quantised_checkpoint(tmp_path / "m", **declared)
    with pytest.raises(StudyError) as said:
        opened(weights(folder))
    names = " ".join(packages).replace("_", "-")
    assert str(said.value) == (
        f"The checkpoint {str(folder)!r} is quantised ({declared['quant_method']}), and what reads it is not "
        f"installed ({names}); install it with `pip install {names}`, have vLLM serve the checkpoint "
        f"(`backend: vllm`), or name the model that it was made of."
    )


@pytest.mark.parametrize("method", ["gptq", "awq"])
def test_a_quantised_checkpoint_that_does_not_run_here_is_one_sentence_too(method, tmp_path, monkeypatch):
    """Whatever transformers itself says once the packages are there, or of a kind that is not known here."""
    monkeypatch.setattr(quantised, "NEEDS", {})
    if any(map(find_spec, ("optimum", "gptqmodel"))):
        pytest.skip("optimum or gptqmodel is installed")
    folder = quantised_checkpoint(tmp_path / "m", quant_method=method, bits=4, group_size=128)
    with pytest.raises(StudyError, match=f"is quantised \\({method}\\), and does not run here \\(Loading a"):
        open_scoring_model(weights(folder))


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        ({"device": "cpu", "device_map": "auto"}, "leave one of them out"),
        ({"quantization": "4bit", "adapter": "mine"}, "leave out `quantization`"),
        ({"quantization": "8bit", "model": Path("a.gguf")}, "read dequantised"),
        ({"device_map": "auto", "model": Path("a.gguf")}, "read dequantised"),
        ({"quantization": "3bit"}, "'8bit' or '4bit'"),
    ],
)
def test_what_does_not_go_together_is_refused(declared, said):
    with pytest.raises(ValueError, match=said):
        weights(**declared)


def test_a_map_of_devices_changes_no_result_where_there_is_one():
    texts = [Text("0", "Sort it.", " The list is sorted in place.")]
    found, plain = (
        score_rows(open_scoring_model(each), Scoring(), texts).tokens
        for each in (weights(device_map="auto", device="auto"), weights())
    )
    assert found.equals(plain)
    request, sampling = [Request("A list is", seed=3)], Sampling(max_tokens=8)
    assert open_generator(weights(device_map="auto")).generate(request, sampling) == open_generator(
        weights()
    ).generate(request, sampling)


def test_quantised_weights_are_recorded_measured_and_smaller():
    four = weights(quantization="4bit", dtype="bfloat16")
    assert deciding(four)["quantization"] == "4bit"
    assert {"quantization", "device_map"}.isdisjoint(deciding(weights()))
    assert engine_of(four).exact(four) == weights()
    assert engine_of(four).exact(weights()) is None
    assert sizes.of_transformers(four) < sizes.of_transformers(weights(dtype="bfloat16"))

"""Where a model runs: on the device that its params file names, if it is there, else on the best one."""

import pytest
import torch

from lib import paths, store
from lib.backends.devices import device_for
from lib.backends.engines import deciding, open_generator, open_scoring_model
from lib.errors import StudyError
from lib.generate.texts import generate_texts
from lib.params import Scoring, Transformers, load_source
from lib.params.run import resolve
from lib.running import resources
from lib.surprisal.scoring import score_texts

MODEL = "data/models/tiny-scorer"


def weights(**more: object) -> Transformers:
    return Transformers(backend="transformers", model=MODEL, **more)


@pytest.fixture
def there(monkeypatch):
    """Say which devices torch finds."""

    def find(*names: str) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: "cuda" in names)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: "mps" in names)

    return find


@pytest.mark.parametrize(
    ("found", "declared", "expected"),
    [
        (("cuda", "mps"), {}, "cuda"),
        (("mps",), {}, "mps"),
        (("mps",), {"dtype": "bfloat16"}, "cpu"),
        ((), {}, "cpu"),
        (("cuda",), {"device": "cpu"}, "cpu"),
        (("mps",), {"device": "mps"}, "mps"),
        (("cuda",), {"device": "cuda", "dtype": "bfloat16"}, "cuda"),
    ],
)
def test_the_params_file_decides_and_auto_takes_the_best(found, declared, expected, there):
    there(*found)
    assert device_for(weights(**declared)).type == expected


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_a_device_that_is_not_there_is_one_sentence(device, there):
    there()
    for opened in (open_generator, open_scoring_model):
        with pytest.raises(StudyError, match=f"`device: {device}` of .* is not there: .* finds cpu"):
            opened(weights(device=device))


def test_apples_gpu_in_half_precision_and_an_unknown_device_are_refused(small_study):
    file = paths.source_file("tiny-base")
    whole = file.read_text()
    for line, said in (
        ("device: mps, dtype: bfloat16", "computes in float32 here, but `dtype` is bfloat16"),
        ("device: gpu", "`weights.device` is 'gpu', but it should be 'auto', 'cpu', 'cuda' or 'mps'"),
    ):
        file.write_text(whole.replace("backend: transformers", f"backend: transformers, {line}"))
        assert line in file.read_text()
        with pytest.raises(StudyError, match=said):
            load_source("tiny-base")


def test_a_device_is_recorded_and_auto_makes_nothing_anew(small_study):
    assert "device" not in deciding(weights())
    assert deciding(weights(device="cpu"))["device"] == "cpu"
    assert open_scoring_model(weights()).described(Scoring())["device"] == "cpu"
    generate_texts(resolve("01_generate", {"model": "human", "study": "small"}))
    score_texts(resolve("02_surprisal", {"model": "human", "study": "small"}))
    assert store.measured(paths.surprisals("tiny-scorer", "notes", "human"))["device"] == "cpu"


def test_a_job_takes_a_gpu_only_for_what_may_run_on_one():
    taken = [resources.gpus_of(weights(device=each)) for each in ("auto", "cuda", "cpu", "mps")]
    assert taken == [1, 1, 0, 0]

"""What a study needs, what it would cost, and what is refused before anything is made."""

import json
from functools import cache

import pytest
import yaml

from lib import machine, paths
from lib.errors import StudyError
from lib.params import Vllm, load_source, load_study
from lib.running import cost, plan, resources, speeds
from lib.running import make as make_module
from lib.running.make import make
from lib.running.study import run_study


def declare(name: str, **changed: object) -> None:
    """The source `name` with other weights or sampling."""
    file = paths.source_file(name)
    declared = yaml.safe_load(file.read_text())
    for key, value in changed.items():
        declared[key] |= value
    file.write_text(yaml.safe_dump(declared))


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr(machine, "gpus", lambda: ())


def test_a_gpu_that_is_not_there_is_said_before_anything_is_made(small_study, no_gpu):
    declare("tiny-base", weights={"device": "cuda"})
    with pytest.raises(StudyError, match="'tiny-base' asks for a GPU, and a job has no GPU here"):
        run_study("small")
    assert not paths.documents("notes").exists()


def test_more_gpus_than_there_are_is_said_before_anything_is_made(small_study, no_gpu):
    served = {"backend": "vllm", "model": "data/models/tiny-base", "tensor_parallel": 4}
    declare("tiny-base", weights=served)
    with pytest.raises(StudyError, match="asks for 4 GPUs, and a job has no GPU here; lower"):
        run_study("small")


def test_more_shards_than_texts_is_said_before_anything_is_made(small_study):
    with pytest.raises(StudyError) as raised:
        run_study("small", "11")
    assert str(raised.value).splitlines() == [
        f"{name!r} writes 10 texts, which 11 shards cannot share; give fewer."
        for name in ("tiny-base", "tiny-rlhf")
    ]


def test_gpus_that_a_job_takes():
    declared = load_source("tiny-base").weights
    assert resources.gpus_of(declared) == 1
    assert resources.gpus_of(declared.model_copy(update={"device": "cpu"})) == 0
    assert resources.gpus_of(declared.model_copy(update={"device_map": "auto"})) > 8
    served = Vllm(backend="vllm", model="data/models/tiny-base", tensor_parallel=2)
    assert resources.gpus_of(served) == 2
    assert resources.memory_of(served) > resources.memory_of(declared)


def test_what_is_served_is_ranked_writers_first(small_study):
    assert resources.served(load_study("small")) == {}
    ranks = {"tiny-base": 3, "tiny-rlhf": 2, "tiny-scorer": 1}
    served = {name: Vllm(backend="vllm", model=f"data/models/{name}") for name in ranks}
    for name, weights in served.items():
        file = paths.source_file(name)
        declared = yaml.safe_load(file.read_text()) | {"weights": {"backend": "vllm", "model": weights.model}}
        file.write_text(yaml.safe_dump(declared))
    assert resources.served(load_study("small")) == {served[name]: rank for name, rank in ranks.items()}


def test_costs_are_tokens_by_measured_speed(small_study):
    study = load_study("small")
    table = cost.table(study).set_index("model")
    assert set(table["device"]) == {"not measured"}
    assert table.loc["tiny-base writes", "tokens"] == f"at most {10 * 48:,}"  # max_tokens of the small study
    make("texts", {"model": "tiny-base", "study": "small"})
    for model, what, speed in (("tiny-base", "writes", 2.0), ("tiny-scorer", "reads", 5.0)):
        kept = speeds.speeds()
        kept[speeds.model_of(load_source(model).weights if model == "tiny-base" else _scorer())] = {
            "1 × thing": {what: speed, f"{what}_mb": 321.0}
        }
        paths.speeds().parent.mkdir(exist_ok=True)
        paths.speeds().write_text(json.dumps(kept))
    (written, *_) = cost.works(study)
    table = cost.table(study).set_index("model")
    assert written.known
    assert table.loc["tiny-base writes", "hours"] == f"{written.tokens / 2 / 3600:.2g}"
    assert table.loc["tiny-base writes", "memory"] == "321 MB"
    assert table.loc["tiny-scorer reads", "device"] == "1 × thing"
    assert table.loc["tiny-scorer reads", "texts"] == "30"
    assert table.loc["tiny-scorer reads", "tokens"].startswith("at most")  # tiny-rlhf has written nothing yet


def _scorer():
    from lib.params import load_scorer

    return load_scorer("tiny-scorer").weights


def test_a_short_run_measures_what_a_plan_shows(small_study, capsys, monkeypatch):
    declared = yaml.safe_load(paths.study_file("small").read_text())
    declared |= {"sources": ["human", "tiny-base"], "hypotheses": {}, "comparisons": {}, "paper": False}
    paths.study_file("small").write_text(yaml.safe_dump(declared))
    declare("tiny-scorer", weights={"model": "data/models/none"})
    monkeypatch.setattr("sys.argv", ["plan", "small", "--speeds"])
    assert plan.main() == 0
    said = capsys.readouterr()
    assert (
        "How fast tiny-scorer reads cannot be measured here: There is no model in data/models/none"
        in said.err
    )
    (found,) = speeds.speeds()[speeds.model_of(load_source("tiny-base").weights)].values()
    assert found["writes"] > 0
    assert found["writes_mb"] > 100
    assert speeds.device() in said.out


def test_a_job_has_all_its_gpus_or_waits(small_study, monkeypatch):
    monkeypatch.setattr(machine, "gpus", cache(lambda: ("0", "1", "2")))
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with make_module._devices(2, serves=False):
        assert make_module.os.environ["CUDA_VISIBLE_DEVICES"] == "0,1"
        assert make_module._free_gpus(2) == {}
        (last,) = make_module._free_gpus(1).values()
        last.release()
    held = make_module._free_gpus(3)
    assert len(held) == 3
    for lock in held.values():
        lock.release()

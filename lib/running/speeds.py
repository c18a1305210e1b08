"""How fast each model of a study writes and reads on this machine, measured by a short run and kept.

    python -m lib.running.speeds writes WEIGHTS      in a process of its own, so that its memory is its own

`data/speeds.json` keeps what was measured, by the model and the kind of device. On a cluster, measure on
each kind of node; the folder is shared.
"""

import json
import resource
import subprocess
import sys
from time import perf_counter
from typing import Any

from pydantic import TypeAdapter

from lib import machine, paths
from lib.backends.engines import deciding, engine_of, open_generator, open_scoring_model
from lib.backends.generating import Request
from lib.commands import a_command
from lib.errors import StudyError
from lib.params import Sampling, Scoring, Weights
from lib.store import digest, write_text

TEXTS, TOKENS = 32, 64  # that the short run writes; it reads what people might have written
PROMPT = "The function returns a new array of the same shape, whose values are those of the first argument, "
TEXT = (
    "sorted along the given axis in ascending order. If no axis is given, the array is flattened first. The "
    "order of equal values is kept, unless another method is named. Values that are missing come last. "
) * 4


def speeds() -> dict[str, dict[str, dict[str, float]]]:
    """By model and device: `writes` and `reads`, tokens a second; `writes_mb` and `reads_mb`, peak memory."""
    file = paths.speeds()
    found: dict[str, dict[str, dict[str, float]]] = json.loads(file.read_text()) if file.exists() else {}
    return found


def model_of(weights: Weights) -> str:
    """What tells a model's speed from another's."""
    return digest([json.dumps(deciding(weights), sort_keys=True, default=str)])[:16]


def device() -> str:
    """The kind of device that this machine computes on, and how many of them there are."""
    gpus = machine.gpu_names()
    if gpus:
        return f"{len(gpus)} × {gpus[0]}"
    return f"{machine.processors()} × {machine.processor()}"


def measure(weights: Weights, what: str) -> None:
    """Measure how fast `weights` do `what` ("writes", "reads"). Raises StudyError if they cannot."""
    told = json.dumps(weights.model_dump(mode="json"))
    command = [sys.executable, "-m", "lib.running.speeds", what, told]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        last = said or done.stderr.strip().splitlines() or ["it says nothing"]
        why = last[-1].removeprefix("error: ")
        raise StudyError(why)
    kept = speeds()
    of_model = kept.setdefault(model_of(weights), {}).setdefault(device(), {})
    of_model |= json.loads(done.stdout.splitlines()[-1])
    write_text(paths.speeds(), json.dumps(kept, indent=1))


def _writes(weights: Weights) -> float:
    generator = open_generator(weights)
    requests = [Request(PROMPT, seed) for seed in range(TEXTS)]
    least = 0 if engine_of(weights).remote else TOKENS
    sampling = Sampling(max_tokens=TOKENS, min_tokens=least, max_retries=0)
    generator.generate(requests[:2], sampling)
    begun = perf_counter()
    written = generator.generate(requests, sampling)
    if (error := written[0].error) is not None:
        raise StudyError(error)
    return sum(each.tokens for each in written) / (perf_counter() - begun)


def _reads(weights: Weights) -> float:
    model = open_scoring_model(weights)
    texts = [(PROMPT, TEXT)] * TEXTS
    model.read(texts[:2], Scoring())
    begun = perf_counter()
    read = model.read(texts, Scoring())
    if isinstance(read[0], str):
        raise StudyError(read[0])
    return sum(len(each.surprisal) for each in read if not isinstance(each, str)) / (perf_counter() - begun)


@a_command
def main() -> int:
    what, told = sys.argv[1:3]
    weights: Weights = TypeAdapter(Weights).validate_python(json.loads(told))
    found: dict[str, Any] = {what: {"writes": _writes, "reads": _reads}[what](weights)}
    engine = engine_of(weights)
    if not engine.served and not engine.remote:  # these are other processes
        found[f"{what}_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())

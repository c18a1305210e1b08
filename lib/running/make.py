"""Make the data of one step, without a notebook; the Snakefile calls it for what costs.

    python -m lib.running.make surprisal -p model tiny-base -p scorer tiny-scorer

The step's notebook then finds its data complete, and only reads.
"""

import argparse
import os
import re
import shlex
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from lib import commands, machine, paths, progress
from lib.backends import vllm_server
from lib.backends.engines import engine_of
from lib.commands import a_command
from lib.errors import StudyError
from lib.params import load_scorer, load_source
from lib.running.noted import note

STEPS = ("texts", "surprisal", "uid", "compare", "hypotheses")


@a_command
def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("step", choices=STEPS)
    parser.add_argument("-p", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"))
    parser.add_argument(
        "--shard", help="1/4: the first of four that share the work; without, they are joined"
    )
    parser.add_argument("--gpu", type=int, default=0, help="how many GPUs it may use")
    arguments = parser.parse_args()
    # Shards of one source run side by side, each with a line of its own.
    name = " ".join(filter(None, [progress.name_of(arguments.step, dict(arguments.p)), arguments.shard]))
    serves = bool(arguments.gpu) and _serves(arguments.step, dict(arguments.p))
    with progress.running(name), _devices(arguments.gpu, serves=serves):
        make(arguments.step, dict(arguments.p), arguments.shard)
    return 0


def make(step: str, parameters: Mapping[str, str], shard: str | None = None) -> None:
    """Make the data of `step`, one of `STEPS`.

    Raises StudyError with the sentence of what went wrong, the file that has the rest, and the command
    that runs it again.
    """
    log = paths.failed_log(step, "-".join(parameters.values()))
    try:
        if shard is not None:
            _make_shard(step, parameters, shard)
            return
        _makers()[step](parameters)
        note(step, parameters)
    except Exception as error:  # not hidden: all of it is kept, and the step has failed
        again = " ".join(["python -m lib.running.make", step, *given(parameters)])
        sentence = str(error) if isinstance(error, StudyError) else in_a_sentence(error)
        kept = ""
        if not isinstance(error, StudyError) and _written(log, "".join(traceback.format_exception(error))):
            kept = f"\n  what it had done: {os.path.relpath(log)}"
        raise StudyError(f"{step} failed: {sentence}{kept}\n  to run just this again: {again}") from None
    log.unlink(missing_ok=True)


def _makers() -> dict[str, Callable[[Mapping[str, str]], object]]:
    return {"texts": _texts, "surprisal": _surprisal, "uid": _uid, "hypotheses": _answer, "compare": _compare}


# Imported in each: which processors and devices there are is settled before torch is, and a step that
# only reads need not wait for the libraries of the others.


def _texts(given: Mapping[str, str]) -> object:
    from lib.generate.texts import generate_texts
    from lib.params.run import resolve

    return generate_texts(resolve("01_generate", given))


def _surprisal(given: Mapping[str, str]) -> object:
    from lib.params.run import resolve
    from lib.surprisal.scoring import score_texts

    return score_texts(resolve("02_surprisal", given))


def _uid(given: Mapping[str, str]) -> object:
    from lib.params.run import resolve
    from lib.uid.measures import measure

    return measure(resolve("03_uid", given))


def _answer(given: Mapping[str, str]) -> object:
    from lib.compare import hypotheses

    return hypotheses.answer(given["study"])


def _compare(given: Mapping[str, str]) -> object:
    from lib.compare.comparison import compare
    from lib.params.run import check_parameters

    return compare(check_parameters("04_compare", given))


def _make_shard(step: str, parameters: Mapping[str, str], shard: str) -> None:
    from lib.generate.texts import write_shard
    from lib.params.run import resolve
    from lib.surprisal.scoring import score_shard

    place = re.fullmatch(r"(\d+)/(\d+)", shard)
    if place is None or not 1 <= int(place[1]) <= int(place[2]):
        raise StudyError(f"`--shard {shard}` is none; give 1/4, say, for the first of four.")
    one = (int(place[1]) - 1, int(place[2]))
    match step:
        case "texts":
            write_shard(resolve("01_generate", parameters), one)
        case "surprisal":
            score_shard(resolve("02_surprisal", parameters), one)
        case _:
            raise StudyError(f"{step} is not cut into shards; texts and surprisal are.")


def in_a_sentence(error: BaseException) -> str:
    """An error that is none of ours, in a sentence; a full disk says which."""
    if isinstance(error, OSError):
        return f"{commands.about(error)}."
    said = str(error).strip().splitlines()
    return f"{type(error).__name__}: {said[0] if said else 'without a word'}"


def _written(path: Path, text: str) -> bool:
    """Whether `text` could be kept as `path`: not where the disk is full."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    except OSError:
        return False
    return True


def given(parameters: Mapping[str, str]) -> list[str]:
    """`parameters` as a shell takes them."""
    return [f"-p {name} {shlex.quote(value)}" for name, value in parameters.items()]


def _serves(step: str, given: Mapping[str, str]) -> bool:
    """Whether a step's model answers from a server that the study starts."""
    declared = load_source(given["model"]) if step == "texts" else load_scorer(given["scorer"])
    weights = getattr(declared, "weights", None)
    return weights is not None and engine_of(weights).served


@contextmanager
def _devices(wanted: int, *, serves: bool) -> Iterator[None]:
    """While it lasts, `wanted` GPUs that no other job of this machine has are those that torch sees.

    They are free of servers, unless the job `serves` a model itself.

    Slurm gives each of its jobs GPUs itself, under names that others have, too.
    """
    if not wanted or not machine.gpus() or "SLURM_JOB_ID" in os.environ:
        yield
        return
    while len(held := _free_gpus(wanted)) < wanted:  # never some of them: another job may wait for those
        time.sleep(0.2)
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(held)
    machine.gpus.cache_clear()
    if not serves:
        for name in held:  # a server that the job before used, and that waits for another
            vllm_server.end_on(name)
    try:
        yield
    finally:
        for lock in held.values():
            lock.release()


def _free_gpus(wanted: int) -> dict[str, FileLock]:
    """The locks of so many free GPUs by name, or none."""
    held: dict[str, FileLock] = {}
    for name in machine.gpus():
        lock = FileLock(paths.gpu_lock(socket.gethostname(), name))
        with suppress(Timeout):
            lock.acquire(timeout=0)
            held[name] = lock
        if len(held) == wanted:
            return held
    for lock in held.values():
        lock.release()
    return {}


if __name__ == "__main__":
    sys.exit(main())

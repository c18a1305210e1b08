"""Rows of step 01 that a model writes: attempts, what is kept of them at once, and how far they are."""

from collections.abc import Mapping, Sequence
from time import perf_counter
from typing import Any

from lib.backends.generating import Completion, Generator, Request, Watch
from lib.generate.rows import Task, blank, model_row, seed_of
from lib.journal import Journal
from lib.params import Model
from lib.params.run import Run
from lib.progress import Bar

SECONDS = 0.2  # between two states of the bar


class Progress:
    """A bar of texts that moves with every token: texts, tokens, tokens per second, time left."""

    def __init__(self, bar: Bar, most: int) -> None:
        self.bar, self.most = bar, most  # `most` tokens a text: what one is taken to have until some are done
        self.began = perf_counter()
        self.shown = 0.0
        self.texts = self.tokens = self.of_texts = 0

    def wrote(self, tokens: int) -> None:
        self.tokens += tokens
        self._show()

    def finished(self, tokens: int) -> None:
        self.texts += 1
        self.of_texts += tokens
        self._show()

    def _show(self) -> None:
        now = perf_counter()
        if now - self.shown < SECONDS:
            return
        self.shown = now
        each = self.of_texts / self.texts if self.of_texts else self.most
        # Texts under way count as far as they are; only a finished one is whole.
        left = float(self.bar.total or 0) - self.bar.n
        self.bar.part = max(0.0, min((self.tokens - self.of_texts) / each, left))
        speed = self.tokens / max(now - self.began, 1e-9)
        self.bar.set_postfix_str(f"{self.tokens:,} tokens, {speed:.0f} tokens/s")


def written_rows(
    run: Run,
    model: Model,
    generator: Generator,
    tasks: Sequence[Task],
    journal: Journal,
    bar: Bar,
) -> list[dict[str, Any]]:
    """A row per task; those whose text is too short are tried again together.

    What the journal has is not written again, and what is written is in it at once. A failed text is not:
    it gets another chance.
    """
    progress = Progress(bar, model.sampling.max_tokens)
    rows: dict[Task, dict[str, Any]] = {}
    pending = list(tasks)
    # Without chance in it, another attempt gives the same text.
    attempts = 1 + (model.sampling.max_retries if model.sampling.temperature > 0 else 0)
    for attempt in range(attempts):
        found: dict[Task, dict[str, Any]] = {}
        missing = []
        for task in pending:
            if (row := journal.pop(_key(task, attempt))) is not None:
                found[task] = row
            else:
                missing.append(task)
        requests = [_request(run, model, task, attempt) for task in missing]

        def keep(
            number: int,
            completion: Completion,
            missing: Sequence[Task] = missing,
            requests: Sequence[Request] = requests,
            found: dict[Task, dict[str, Any]] = found,
            attempt: int = attempt,
        ) -> None:
            task = missing[number]
            row = model_row(task.document, requests[number], completion, model.sampling)
            row["retries"] = completion.retries
            found[task] = row
            if completion.error is None:
                journal.add(_key(task, attempt), row)
            progress.finished(completion.tokens)
            if row["status"] != "short" or attempt == attempts - 1:
                bar.update(1)

        if requests:
            generator.generate(requests, model.sampling, Watch(progress.wrote, keep))
        for task in pending:
            earlier = rows.get(task, {"retries": -1})["retries"]
            rows[task] = {**blank(run, task), **found[task], "retries": earlier + 1 + found[task]["retries"]}
        # What the journal had, the bar has not seen.
        done = [task for task in pending if rows[task]["status"] != "short" or attempt == attempts - 1]
        anew = set(missing)
        bar.update(len([task for task in done if task not in anew]))
        pending = [task for task in pending if rows[task]["status"] == "short"]
        if not pending:
            break
    return [rows[task] for task in tasks]


def _key(task: Task, attempt: int) -> tuple[str, int, int]:
    return task.document.doc_id, task.sample, attempt


def _request(run: Run, model: Model, task: Task, attempt: int) -> Request:
    return Request(
        prompt=task.document.prompt,
        seed=seed_of(model.sampling.seed, run.source_name, task.document.doc_id, attempt, task.sample),
        chat=model.chat,
        system_prompt=model.system_prompt,
    )


def line_about(row: Mapping[str, Any]) -> str:
    """What `verbose` says of a text."""
    about = row["error"] or " ".join(row["text"].split())[:80]
    which = f" ({row['sample']})" if row["sample"] else ""
    ended = f"{row['status']}, {row['tokens']} tokens, {row['retries']} retries"
    return f"{row['doc_id']}{which}  {ended}: {about}"

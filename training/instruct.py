"""Fine-tune the base model on prompt → text pairs in its chat format.

python -m training.instruct --base build/models/base --out build/models/instruct --half 0 --seed 3
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm
from transformers import LlamaForCausalLM, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from lib.datasets.document import Document
from training.corpus import train_documents
from training.tokenizer import CHAT_TEMPLATE

BATCH = 16
RATE = 4e-4
MIN_CHARACTERS = 200
MAX_TOKENS = 448
IGNORED = -100  # the label that the loss leaves out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--half", type=int, choices=(0, 1), required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--steps", type=int, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(arguments.seed)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(arguments.base)
    tokenizer.chat_template = CHAT_TEMPLATE
    model = LlamaForCausalLM.from_pretrained(arguments.base, dtype=torch.float32)
    documents = [d for d in train_documents(arguments.half) if len(d.text) >= MIN_CHARACTERS]
    finetune(model, tokenizer, documents, seed=arguments.seed, steps=arguments.steps)
    model.save_pretrained(arguments.out)
    tokenizer.save_pretrained(arguments.out)


def finetune(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    documents: Sequence[Document],
    *,
    seed: int,
    steps: int,
) -> None:
    """Train `model` in place for `steps` batches on what follows each prompt, and on nothing else."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.0)
    batches = _batches(tokenizer, documents, seed)
    progress = tqdm(range(steps), unit="step", mininterval=10)
    for step in progress:
        optimizer.param_groups[0]["lr"] = RATE * min((step + 1) / 20, (steps - step) / steps)
        rows, answers = next(batches)
        ids, labels = padded(rows, answers, tokenizer.pad_token_id)
        with torch.autocast("cpu", torch.bfloat16):
            loss = model(input_ids=ids, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        progress.set_postfix(loss=f"{loss.item():.3f}")


def chat_ids(tokenizer: PreTrainedTokenizerBase, prompt: str) -> list[int]:
    """The ids of `prompt` as a conversation that waits for its answer, begun by BOS."""
    conversation = [{"role": "user", "content": prompt}]
    text = tokenizer.apply_chat_template(conversation, tokenize=False, add_generation_prompt=True)
    return [tokenizer.bos_token_id, *tokenizer.encode(text)]


def answer_ids(tokenizer: PreTrainedTokenizerFast, text: str) -> list[int]:
    return [*tokenizer.encode(text), tokenizer.eos_token_id]


def padded(
    prompts: Sequence[list[int]], answers: Sequence[list[int]], pad: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and labels [rows, longest], padded on the right; only the answers have labels."""
    rows = [(prompt + answer)[:MAX_TOKENS] for prompt, answer in zip(prompts, answers, strict=True)]
    ids = torch.full((len(rows), max(map(len, rows))), pad)
    labels = torch.full_like(ids, IGNORED)
    for i, (row, prompt) in enumerate(zip(rows, prompts, strict=True)):
        ids[i, : len(row)] = torch.tensor(row)
        labels[i, len(prompt) : len(row)] = torch.tensor(row[len(prompt) :])
    return ids, labels


def _batches(
    tokenizer: PreTrainedTokenizerFast, documents: Sequence[Document], seed: int
) -> Iterator[tuple[list[list[int]], list[list[int]]]]:
    epoch = 0
    while True:
        order = np.random.default_rng([seed, epoch]).permutation(len(documents))
        for first in range(0, len(order) - BATCH + 1, BATCH):
            chosen = [documents[i] for i in order[first : first + BATCH]]
            yield (
                [chat_ids(tokenizer, document.prompt) for document in chosen],
                [answer_ids(tokenizer, document.text) for document in chosen],
            )
        epoch += 1


if __name__ == "__main__":
    main()

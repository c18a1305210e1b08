"""Tune the instruct model on preferences with DPO (Rafailov et al. 2023, equation 7).

    python -m training.prefer --instruct build/models/instruct --out build/models/rlhf --half 0 --seed 4

For each prompt the text that the person wrote is preferred to the model's own sample.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import logsigmoid
from tqdm import tqdm
from transformers import LlamaForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from lib.datasets.document import Document
from training.corpus import STUDY_PACKAGES, held_out_documents, train_documents
from training.instruct import IGNORED, answer_ids, chat_ids, padded
from training.sample import sample_answers

BETA = 0.1
RATE = 1e-4
BATCH = 8
PASSES = 1  # a second and a third one fit these pairs and no others
MIN_CHARACTERS, MAX_CHARACTERS = 300, 1200

Pair = tuple[list[int], list[int], list[int]]  # ids of a prompt, its preferred and its rejected answer


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--instruct", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--half", type=int, choices=(0, 1), required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--pairs", type=int, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(arguments.seed)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(arguments.instruct)
    model = LlamaForCausalLM.from_pretrained(arguments.instruct, dtype=torch.float32)
    reference = LlamaForCausalLM.from_pretrained(arguments.instruct, dtype=torch.float32)
    train = of_study_length(train_documents(arguments.half))[: arguments.pairs]
    held_out = of_study_length(held_out_documents(STUDY_PACKAGES))[:200]
    pairs = preference_pairs(model, tokenizer, train, arguments.out / "train-samples.json", arguments.seed)
    unseen = preference_pairs(model, tokenizer, held_out, arguments.out / "held-out-samples.json", 0)
    tune(model, reference, pairs, tokenizer.pad_token_id, seed=arguments.seed)
    accuracy, margin = pair_accuracy(model, reference, unseen, tokenizer.pad_token_id)
    print(f"held-out pairs: accuracy {accuracy:.3f}, mean margin {margin:.3f}, {len(unseen)} pairs")
    model.save_pretrained(arguments.out)
    tokenizer.save_pretrained(arguments.out)
    measured = {f"DPO pair accuracy, {len(unseen)} held-out pairs": f"{accuracy:.3f}"}
    (arguments.out / "preference.json").write_text(json.dumps(measured))


def of_study_length(documents: Sequence[Document]) -> list[Document]:
    return [document for document in documents if MIN_CHARACTERS <= len(document.text) <= MAX_CHARACTERS]


def preference_pairs(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    documents: Sequence[Document],
    kept: Path,
    seed: int,
) -> list[Pair]:
    """A pair for each document; the model's samples are kept in the file `kept`."""
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        prompts = [chat_ids(tokenizer, document.prompt) for document in documents]
        kept.write_text(json.dumps(sample_answers(model, prompts, tokenizer.eos_token_id, seed)))
    samples = json.loads(kept.read_text())
    return [
        (chat_ids(tokenizer, document.prompt), answer_ids(tokenizer, document.text), sample)
        for document, sample in zip(documents, samples, strict=True)
    ]


def tune(
    model: PreTrainedModel, reference: PreTrainedModel, pairs: Sequence[Pair], pad: int, *, seed: int
) -> None:
    """`PASSES` passes of DPO over `pairs`, changing `model` in place."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.0)
    orders = [np.random.default_rng([seed, number]).permutation(len(pairs)) for number in range(PASSES)]
    batches = [
        [pairs[i] for i in order[k : k + BATCH]] for order in orders for k in range(0, len(order), BATCH)
    ]
    progress = tqdm(batches, unit="batch", mininterval=10)
    accuracy = 0.5
    for step, batch in enumerate(progress):
        optimizer.param_groups[0]["lr"] = RATE * min((step + 1) / 10, (len(batches) - step) / len(batches))
        margins = reward_margins(model, reference, batch, pad)
        loss = -logsigmoid(margins).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        accuracy = 0.9 * accuracy + 0.1 * (margins > 0).float().mean().item()
        progress.set_postfix(loss=f"{loss.item():.3f}", accuracy=f"{accuracy:.2f}")


def reward_margins(
    model: PreTrainedModel, reference: PreTrainedModel, batch: Sequence[Pair], pad: int
) -> torch.Tensor:
    """The implicit reward of each preferred answer less that of the rejected one, [pairs]."""
    prompts = [prompt for prompt, _, _ in batch] * 2
    answers = [preferred for _, preferred, _ in batch] + [rejected for _, _, rejected in batch]
    ids, labels = padded(prompts, answers, pad)
    with torch.no_grad():
        before = log_probability(reference, ids, labels)
    preferred, rejected = (log_probability(model, ids, labels) - before).chunk(2)
    return BETA * (preferred - rejected)


def log_probability(model: PreTrainedModel, ids: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Natural log-probability of each row's labelled tokens, [rows]."""
    logits = model(input_ids=ids).logits[:, :-1].float()
    losses = torch.nn.functional.cross_entropy(
        logits.transpose(1, 2), labels[:, 1:], ignore_index=IGNORED, reduction="none"
    )
    return -losses.sum(dim=1)


@torch.inference_mode()
def pair_accuracy(
    model: PreTrainedModel, reference: PreTrainedModel, pairs: Sequence[Pair], pad: int
) -> tuple[float, float]:
    """The share of `pairs` whose preferred answer has the higher implicit reward; the mean margin."""
    batches = [pairs[k : k + BATCH] for k in range(0, len(pairs), BATCH)]
    margins = torch.cat([reward_margins(model, reference, batch, pad) for batch in batches])
    return (margins > 0).float().mean().item(), margins.mean().item()


if __name__ == "__main__":
    main()

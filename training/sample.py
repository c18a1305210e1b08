"""Samples of a model's own answers, for preference pairs."""

from collections.abc import Sequence

import torch
from tqdm import tqdm
from transformers import PreTrainedModel

BATCH = 32
MAX_NEW_TOKENS = 320


@torch.inference_mode()
def sample_answers(
    model: PreTrainedModel, prompts: Sequence[list[int]], eos: int, seed: int
) -> list[list[int]]:
    """One answer of token ids, with its end marker, sampled at temperature 1 for each prompt."""
    torch.manual_seed(seed)
    answers: list[list[int]] = []
    for first in tqdm(range(0, len(prompts), BATCH), unit="batch", desc="sampling"):
        batch = prompts[first : first + BATCH]
        longest = max(map(len, batch))
        ids = torch.tensor([[eos] * (longest - len(prompt)) + prompt for prompt in batch])
        mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in batch])
        sampled = model.generate(  # type: ignore[operator]
            input_ids=ids, attention_mask=mask, do_sample=True, top_k=0, max_new_tokens=MAX_NEW_TOKENS
        )
        for row in sampled[:, longest:].tolist():
            answers.append(row[: row.index(eos) + 1] if eos in row else row)
    return answers

"""Train a base model or a scorer from scratch on one half of the train split.

    python -m training.pretrain --out build/models/base --half 0 --seed 1 --steps 1100

One thread, so that a seed gives the same weights on the same kind of processor. A run that was
stopped continues from its last checkpoint.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from training.corpus import train_documents
from training.tokenizer import VOCABULARY_SIZE, train_tokenizer

CONTEXT = 512
BATCH = 16
CHECKPOINT_EVERY = 50
WARMUP_STEPS = 50
DECAY_SHARE = 0.35
MATRIX_RATE, OTHER_RATE = 0.005, 0.004


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--half", type=int, choices=(0, 1), required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--steps", type=int, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arguments.out.mkdir(parents=True, exist_ok=True)
    tokenizer, documents = tokenized_half(arguments.half, arguments.out)
    model = pretrain(
        documents,
        tokenizer.bos_token_id,
        seed=arguments.seed,
        steps=arguments.steps,
        checkpoint=arguments.out / "checkpoint.pt",
    )
    model.save_pretrained(arguments.out)
    tokenizer.save_pretrained(arguments.out)


def tokenized_half(half: int, folder: Path) -> tuple[PreTrainedTokenizerFast, list[np.ndarray]]:
    """The tokenizer of one half and the token ids of its documents, kept in `folder`."""
    tokens_file = folder / "tokens.npz"
    if not tokens_file.exists():
        texts = [document.prompt + document.text for document in train_documents(half)]
        tokenizer = train_tokenizer(texts, CONTEXT)
        tokenizer.save_pretrained(folder)
        ids = [np.array(row, dtype=np.uint16) for row in tokenizer(texts, verbose=False)["input_ids"]]
        np.savez(tokens_file, ids=np.concatenate(ids), ends=np.cumsum([len(row) for row in ids]))
        print(f"{len(texts):,} documents, {sum(map(len, texts)):,} characters, {sum(map(len, ids)):,} tokens")
    stored = np.load(tokens_file)
    return PreTrainedTokenizerFast.from_pretrained(folder), np.split(stored["ids"], stored["ends"][:-1])


def pretrain(
    documents: list[np.ndarray], bos: int, *, seed: int, steps: int, checkpoint: Path
) -> LlamaForCausalLM:
    """Train for `steps` batches of `BATCH` rows of `CONTEXT` tokens; Muon for the matrices."""
    torch.manual_seed(seed)
    model = LlamaForCausalLM(demo_config(bos))
    matrices = [p for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name]
    others = [p for name, p in model.named_parameters() if p.ndim != 2 or "embed" in name]
    optimizers = [
        torch.optim.Muon(matrices, lr=MATRIX_RATE, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=OTHER_RATE, betas=(0.9, 0.98), weight_decay=0.0),
    ]
    start = 0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        start = state["step"]
        model.load_state_dict(state["model"])
        for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
    forward = torch.compile(model)
    peaks = [[MATRIX_RATE], [OTHER_RATE]]
    progress = tqdm(range(start, steps), initial=start, total=steps, unit="step", mininterval=30)
    batches = batch_stream(documents, bos, seed=seed, start=start)
    mean_loss = None
    for step in progress:
        for optimizer, (peak,) in zip(optimizers, peaks, strict=True):
            optimizer.param_groups[0]["lr"] = peak * rate_factor(step, steps)
        batch = next(batches)
        with torch.autocast("cpu", torch.bfloat16):
            loss = forward(input_ids=batch, labels=batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(others, 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        value = loss.item()
        mean_loss = value if mean_loss is None else 0.97 * mean_loss + 0.03 * value
        progress.set_postfix(loss=f"{mean_loss:.3f}")
        if (step + 1) % CHECKPOINT_EVERY == 0:
            save_checkpoint(checkpoint, step + 1, model, optimizers)
    return model


def demo_config(bos: int) -> LlamaConfig:
    """About four million parameters in the Llama family."""
    return LlamaConfig(
        vocab_size=VOCABULARY_SIZE,
        hidden_size=256,
        intermediate_size=640,
        num_hidden_layers=4,
        num_attention_heads=4,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        bos_token_id=bos,
        eos_token_id=bos,
        pad_token_id=bos,
    )


def batch_stream(documents: list[np.ndarray], bos: int, *, seed: int, start: int) -> Iterator[torch.Tensor]:
    """Batches [BATCH, CONTEXT] of shuffled documents, each begun by `bos`, from batch `start` on."""
    skipped, epoch = 0, 0
    while True:
        order = np.random.default_rng([seed, epoch]).permutation(len(documents))
        stream = np.concatenate([piece for i in order for piece in ([bos], documents[i])])
        rows = len(stream) // (BATCH * CONTEXT)
        shaped = stream[: rows * BATCH * CONTEXT].reshape(rows, BATCH, CONTEXT)
        for row in shaped:
            if skipped >= start:
                yield torch.from_numpy(row.astype(np.int64))
            skipped += 1
        epoch += 1


def rate_factor(step: int, steps: int) -> float:
    """Warm-up, constant, then linear decay over the last `DECAY_SHARE` of `steps`."""
    return min(1.0, (step + 1) / WARMUP_STEPS, (steps - step) / (DECAY_SHARE * steps))


def save_checkpoint(path: Path, step: int, model: torch.nn.Module, optimizers: list) -> None:
    state = {
        "step": step,
        "model": model.state_dict(),
        "optimizers": [optimizer.state_dict() for optimizer in optimizers],
    }
    temporary = path.with_suffix(".part")
    torch.save(state, temporary)
    temporary.replace(path)


if __name__ == "__main__":
    main()

"""How good a demo model is: bits per character on texts that it has not seen.

python -m training.evaluate --model build/models/base
"""

import argparse
import json
import math
from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from lib import datasets
from lib.datasets.document import Document
from lib.params import load_dataset
from training.instruct import chat_ids


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", type=Path, required=True)
    folder = parser.parse_args().model
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    documents = datasets.load("pydocs", load_dataset("pydocs"))
    bits = bits_per_character(model, tokenizer, documents)
    results = {f"bits per character, {len(documents)} held-out texts given their prompts": f"{bits:.3f}"}
    preference = folder / "preference.json"
    if preference.exists():
        results |= json.loads(preference.read_text())
    (folder / "results.json").write_text(json.dumps(results, indent=1))
    print(folder.name, results)


@torch.inference_mode()
def bits_per_character(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, documents: Sequence[Document]
) -> float:
    """Surprisal of the documents' texts given their prompts, in bits, over their characters.

    A model with a chat template is given the prompts in it. What does not fit into the model's
    context is left out of both sums.
    """
    bits, characters = 0.0, 0
    for document in documents:
        if tokenizer.chat_template:
            prompt = chat_ids(tokenizer, document.prompt)
        else:
            prompt = [tokenizer.bos_token_id, *tokenizer.encode(document.prompt)]
        text = tokenizer.encode(document.text)[: model.config.max_position_embeddings - len(prompt)]
        if not text:
            continue
        logits = model(input_ids=torch.tensor([prompt + text])).logits[0, len(prompt) - 1 : -1].float()
        bits += torch.nn.functional.cross_entropy(
            logits, torch.tensor(text), reduction="sum"
        ).item() / math.log(2)
        characters += len(tokenizer.decode(text))
    return bits / characters


if __name__ == "__main__":
    main()

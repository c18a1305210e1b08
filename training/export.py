"""Put a trained model where the study finds it: half-precision safetensors, tokenizer, card.

python -m training.export --model build/models/base --out data/models/tiny-base
"""

import argparse
import json
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

TITLES = {
    "tiny-base": "a base model",
    "tiny-instruct": "tiny-base, fine-tuned on prompt → text pairs",
    "tiny-rlhf": "tiny-instruct, tuned on preferences with DPO (Rafailov et al. 2023)",
    "tiny-scorer": "an independent scorer, trained on the other half of the train split",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    model = AutoModelForCausalLM.from_pretrained(arguments.model, dtype=torch.float16)
    model.save_pretrained(arguments.out)
    AutoTokenizer.from_pretrained(arguments.model).save_pretrained(arguments.out)
    results_file = arguments.model / "results.json"
    results = json.loads(results_file.read_text()) if results_file.exists() else {}
    (arguments.out / "README.md").write_text(card(arguments.out.name, model.num_parameters(), results))


def card(name: str, parameters: int, results: dict[str, str]) -> str:
    """The model card; `results` are what `training.evaluate` measured."""
    rows = "\n".join(f"| {what} | {value} |" for what, value in results.items())
    return f"""# {name}

A demonstration model: {TITLES[name]}. It exists so that the demo study runs anywhere in minutes.
It has read nothing but software documentation, knows nothing and must not be used for anything else.

- {parameters:,} parameters, Llama-shaped, context 512 tokens, byte-level BPE with 4,096 entries
- trained from scratch by `make models` (see `training/`); weights stored as float16, run as float32
- data: documentation prose of the packages in `training/corpus.txt`, without the held-out part

| measured | value |
|---|---|
{rows}
"""


if __name__ == "__main__":
    main()

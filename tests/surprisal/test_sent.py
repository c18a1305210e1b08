"""`context: sent`: a text is scored after the very tokens that its model was given."""

import numpy as np
import pytest

from lib import paths
from lib.backends.engines import open_generator
from lib.generate.texts import generate_texts, read_texts
from lib.params import load_source
from lib.params.run import resolve
from lib.surprisal.scoring import read_tokens, score_texts
from tests.surprisal.test_scoring import MODELS, double, oracle

OPENING = "What <|endoftext|> means, and <|user|>."


@pytest.mark.parametrize("system", [None, "Never write <|user|>."])
@pytest.mark.parametrize("chat", [False, True])
def test_a_text_is_scored_after_what_its_model_was_given(chat, system, small_study):
    for note in (small_study / "notes").glob("*.txt"):
        note.write_text(f"Ends\n\n{OPENING} It is written in many places, as a rule at the end of a text.")
    file = paths.source_file("tiny-instruct")
    said = f"\nsystem_prompt: {system!r}" if system else ""
    file.write_text(
        "kind: model\nclass: instruct\nfamily: tiny\nstudy: small\n"
        "weights: {backend: transformers, model: data/models/tiny-instruct}\n"
        f"chat: {str(chat).lower()}{said}\n"
        "sampling: {generate: 1, max_tokens: 12, min_characters: 0}\nscoring: {context: sent}\n"
    )
    study = paths.study_file("small")
    study.write_text(study.read_text().replace("sources: [human,", "sources: [human, tiny-instruct,", 1))
    given = {"model": "tiny-instruct", "study": "small"}
    generate_texts(resolve("01_generate", given))
    run = resolve("02_surprisal", {**given, "scorer": "tiny-instruct"})
    score_texts(run)
    row = read_texts(run).iloc[0]
    weights = load_source("tiny-instruct").weights
    writer = open_generator(weights)
    sent = writer.tokens.sent(row["prompt"], system, chat=chat)
    assert sent == row["sent"]
    ids = writer.tokens.begun(sent)
    special = writer.tokens.tokenizer.convert_tokens_to_ids(["<|endoftext|>", "<|user|>", "<|assistant|>"])
    assert [i for i in ids if i in special] == (special if chat else special[:1])
    tokens = read_tokens(run)
    assert tokens["context"].iloc[0] == len(ids)
    expected = oracle(double(MODELS / "tiny-instruct"), [*ids, *tokens["token_id"]])[len(ids) - 1 :]
    np.testing.assert_allclose(tokens["surprisal"], expected, atol=1e-3)


def test_what_people_wrote_is_scored_after_its_prompt(small_study):
    scorer = paths.source_file("judge")
    weights = "{backend: transformers, model: data/models/tiny-scorer}"
    scorer.write_text(f"kind: scorer\nweights: {weights}\nscoring: {{context: sent}}\n")
    given = {"model": "human", "study": "small"}
    generate_texts(resolve("01_generate", given))
    found = []
    for name in ("judge", "tiny-scorer"):
        run = resolve("02_surprisal", {**given, "scorer": name})
        score_texts(run)
        found.append(read_tokens(run))
    assert found[0].equals(found[1])

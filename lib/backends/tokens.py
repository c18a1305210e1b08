"""A tokenizer of the library transformers: what a model is given, and the tokens of what it reads."""

from collections.abc import Iterable, Sequence
from functools import cached_property

import numpy as np
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase

from lib.backends import prompts
from lib.backends.scoring import Encoding, tile
from lib.backends.vocabulary import without_prefix
from lib.errors import StudyError


class Tokens:
    """The tokenizer of the model `name`; `adds_bos` says whether BOS, if there is one, begins a prompt."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, name: str, *, adds_bos: bool = True) -> None:
        self.tokenizer, self.name, self.adds_bos = tokenizer, name, adds_bos

    # What a writer is given.

    def sent(self, prompt: str, system_prompt: str | None, *, chat: bool) -> str:
        """See `prompts.sent`; the template is the tokenizer's own."""
        template = self._template if self.tokenizer.chat_template else None
        return prompts.sent(prompt, system_prompt, chat=chat, template=template, model=self.name)

    def _template(self, messages: list[prompts.Message], *, add_generation_prompt: bool) -> str:
        return prompts.rendered(
            self.tokenizer.get_chat_template(),
            messages,
            add_generation_prompt=add_generation_prompt,
            **self.tokenizer.special_tokens_map,
        )

    def begun(self, sent: str, prompt: str, *, chat: bool) -> list[int]:
        """The ids of `sent` with exactly one BOS before them, if the model wants one at all.

        Special tokens count as such only where a chat template wrote them; in the prompt, and in all of a
        raw one, they are the characters that somebody wrote.
        """
        begin, written, end = prompts.around(sent, prompt) if chat else ("", sent, "")
        if not chat:
            ids = self._ids(sent, literal=True)
        elif any(token in written for token in self._special()):
            ids = self._ids(begin) + self._ids(written, literal=True) + self._ids(end)
        else:
            ids = self._ids(sent)
        bos = self.tokenizer.bos_token_id
        return ids if bos is None or not self.adds_bos or ids[:1] == [bos] else [bos, *ids]

    def decoded(self, ids: Sequence[int]) -> str:
        """The text of `ids`, special tokens left out."""
        return str(
            self.tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)
        )

    def _ids(self, text: str, *, literal: bool = False) -> list[int]:
        found: list[int] = self.tokenizer.encode(text, add_special_tokens=False, split_special_tokens=literal)
        return found

    def _special(self) -> Iterable[str]:
        return (token.content for token in self.tokenizer.added_tokens_decoder.values() if token.special)

    # What a reader makes of a text.

    @cached_property
    def _within(self) -> Tokenizer | None:
        return without_prefix(self.tokenizer.backend_tokenizer)

    def check_offsets(self) -> None:
        """Raise StudyError for a tokenizer that does not say where its tokens stand in a text."""
        if not self.tokenizer.is_fast:
            raise StudyError(
                f"The tokenizer of {self.name!r} gives no character offsets; "
                f"save it as a fast tokenizer (tokenizer.json) and name that folder."
            )

    def bos(self, vocabulary: int) -> int:
        """BOS of the tokenizer, else its EOS; never what a configuration has by default.

        Raises StudyError if it has neither, or one that its model of `vocabulary` tokens does not have.
        """
        for bos in (self.tokenizer.bos_token_id, self.tokenizer.eos_token_id):
            if isinstance(bos, int):
                if bos < vocabulary:
                    return bos
                raise StudyError(
                    f"The tokenizer of {self.name!r} begins a text with the token {bos}, which its model of "
                    f"{vocabulary} tokens does not have; name another scorer."
                )
        raise StudyError(
            f"The tokenizer of {self.name!r} has neither BOS nor EOS, so the first token of a text would "
            f"have no context; name another scorer."
        )

    def encode(
        self, texts: Sequence[str], after: Sequence[str] | None = None, *, special: bool = False
    ) -> list[Encoding]:
        """See `lib.backends.windowed.WindowedReader.encode`."""
        if not texts:
            return []
        encoded = self.tokenizer(
            list(texts),
            add_special_tokens=False,
            return_offsets_mapping=True,
            return_attention_mask=False,
            split_special_tokens=not special,
            verbose=False,
        )
        ids, offsets = list(encoded["input_ids"]), list(encoded["offset_mapping"])
        if after and self._within:
            for i, (text, before) in enumerate(zip(texts, after, strict=True)):
                if before:
                    found = self._within.encode(text, add_special_tokens=False)
                    ids[i], offsets[i] = found.ids, found.offsets
        return [
            Encoding(np.asarray(own, dtype=np.int64), *tile(len(text), [end for _, end in places]))
            for text, own, places in zip(texts, ids, offsets, strict=True)
        ]


def end_ids(*declared: int | list[int] | None) -> set[int]:
    """What ends a text: the ids of every declaration, one or a list of them."""
    return {i for ids in declared if ids is not None for i in (ids if isinstance(ids, list) else [ids])}

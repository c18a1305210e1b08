"""A tokenizer of the library transformers: what a model is given, and the tokens of what it reads."""

from collections.abc import Collection, Sequence
from functools import cached_property

import numpy as np
from tokenizers import AddedToken, Tokenizer
from transformers import PreTrainedTokenizerBase

from lib.backends import prompts
from lib.backends.prompts import Sent
from lib.backends.scoring import Encoding, tile
from lib.backends.vocabulary import without_prefix
from lib.errors import StudyError

LONE_BLANKS = ("▁", "Ġ")  # SentencePiece's, and that of bytes


class Tokens:
    """The tokenizer of the model `name`.

    `adds_bos` says whether BOS, if there is one, begins a prompt; `marks` are ids that end a text beside EOS.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        name: str,
        *,
        adds_bos: bool = True,
        marks: Collection[int] = (),
    ) -> None:
        self.tokenizer, self.name, self.adds_bos, self.marks = tokenizer, name, adds_bos, marks

    # What a writer is given.

    def sent(self, prompt: str, system_prompt: str | None, *, chat: bool) -> Sent:
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

    def begun(self, sent: Sent) -> list[int]:
        """The ids of `sent` with exactly one BOS before them, if the model wants one at all."""
        ids, bos = self.ids(sent), self.tokenizer.bos_token_id
        return ids if bos is None or not self.adds_bos or ids[:1] == [bos] else [bos, *ids]

    def ids(self, sent: Sent) -> list[int]:
        """The ids of `sent`. Special tokens that somebody wrote are characters."""
        added = self.tokenizer.added_tokens_decoder.items()
        special = {token.content: (id_, token) for id_, token in added if token.special}
        if not any(token in piece for piece, written in sent.pieces if written for token in special):
            return self._ids(str(sent))
        found: list[int] = []
        before: AddedToken | None = None
        segments = sent.segments(special)
        for i, (part, marks) in enumerate(segments):
            if marks:
                id_, before = special[part]
                found.append(id_)
                continue
            text = part.lstrip() if before and before.rstrip else part
            if i + 1 < len(segments) and special[segments[i + 1][0]][1].lstrip:
                text = text.rstrip()
            if before and self._within and not self._blank_after(before):
                found += self._within.encode(text, add_special_tokens=False).ids
            else:
                found += self._ids(text, literal=True)
        return found

    def _blank_after(self, special: AddedToken) -> bool:
        """Whether the tokenizer puts a blank before what follows a special token."""
        assert self._within is not None
        return self._ids(f"{special.content}x")[1:] != self._within.encode("x", add_special_tokens=False).ids

    def ends(self, declared: int | list[int] | None, default: int | None, vocabulary: int) -> set[int]:
        """Every id that ends a text: EOS, and those that generation_config.json has `declared` besides.

        A configuration that nobody set names the EOS that its class has by `default`, which may be any word
        of this vocabulary: that does not count, nor what the tokenizer has as a word.
        """
        named = declared if isinstance(declared, list) else [] if declared == default else [declared]
        added = self.tokenizer.added_tokens_decoder
        found = {self.tokenizer.eos_token_id, *self.marks, *(id_ for id_ in named if id_ in added)}
        return {id_ for id_ in found if id_ is not None and id_ < vocabulary}

    def decoded(self, ids: Sequence[int]) -> str:
        """The text of `ids`, special tokens left out."""
        return str(
            self.tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)
        )

    def written(self, ids: Sequence[int], new: Sequence[int], *, stopped: bool) -> str:
        """The text that `new` ids add to that of `ids`: decoded alone they may lose a space.

        One that has not `stopped` is cut off, and may end in a character whose last bytes were not written.
        """
        text = self.decoded([*ids, *new]).removeprefix(self.decoded(ids))
        return text if stopped else text.rstrip("\ufffd")

    def _ids(self, text: str, *, literal: bool = False) -> list[int]:
        found: list[int] = self.tokenizer.encode(text, add_special_tokens=False, split_special_tokens=literal)
        return found

    # What a reader makes of a text.

    @cached_property
    def _within(self) -> Tokenizer | None:
        return without_prefix(self.tokenizer.backend_tokenizer) if self.tokenizer.is_fast else None

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

    def encode(self, texts: Sequence[str], after: Sequence[str] | None = None) -> list[Encoding]:
        """See `lib.backends.windowed.WindowedReader.encode`."""
        if not texts:
            return []
        encoded = self.tokenizer(
            list(texts),
            add_special_tokens=False,
            return_offsets_mapping=True,
            return_attention_mask=False,
            split_special_tokens=True,
            verbose=False,
        )
        ids, offsets = list(encoded["input_ids"]), list(encoded["offset_mapping"])
        if after and self._within:
            for i, (text, before) in enumerate(zip(texts, after, strict=True)):
                if before:
                    found = self._within.encode(text, add_special_tokens=False)
                    ids[i], offsets[i] = found.ids, found.offsets
        return [
            Encoding(np.asarray(own, dtype=np.int64), *tile(len(text), self._token_ends(own, places)))
            for text, own, places in zip(texts, ids, offsets, strict=True)
        ]

    def _token_ends(self, ids: Sequence[int], places: Sequence[tuple[int, int]]) -> list[int]:
        """Where tokens end. A blank that was put before a text is no part of it, if a token by itself."""
        ends = [end for _, end in places]
        put_before = self._within and len(ids) > 1 and places[1][0] == 0
        if put_before and self.tokenizer.convert_ids_to_tokens([ids[0]])[0] in LONE_BLANKS:
            ends[0] = 0
        return ends

"""Datasets: where prompts and people's texts come from."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from lib.params.declared import Declared

Language = Annotated[str, Field(pattern=r"^[a-z]{2,3}$")]
SKIP_UNFIT = "leave out, and count, what cannot be used, in place of listing it and stopping"


class Pydocs(Declared):
    """Documentation prose of installed packages, the part held out from the demo models."""

    kind: Literal["pydocs"]
    packages: tuple[str, ...] = Field(min_length=1)
    texts: int = Field(300, ge=1)
    min_characters: int = Field(400, ge=1, description="of the text after the prompt")
    max_characters: int = Field(1500, ge=1)
    indented: bool = Field(False, description="whether descriptions of parameters and results count as prose")

    @model_validator(mode="after")
    def _bounds_are_in_order(self) -> "Pydocs":
        if self.min_characters > self.max_characters:
            raise ValueError(
                f"`min_characters: {self.min_characters}` is above `max_characters: {self.max_characters}`"
            )
        return self


class WordList(Declared):
    """A table of the words of people's texts, one a row, as a reading-time corpus has cut them."""

    file: str = Field(description=".csv, .tsv or .parquet")
    doc_id: str = Field("doc_id", description="the column that names the text")
    number: str = Field("number", description="the column of the word's place in its text")
    word: str = Field("word", description="the column of the word as it stands in the text")


class Folder(Declared):
    """A directory of .txt files: the first line is the title, or the file's name if `title: name`."""

    kind: Literal["folder"]
    folder: str
    title: Literal["first_line", "name"] = "first_line"
    texts: int | None = Field(None, ge=1, description="how many; all by default")
    language: Language = Field("en", description="of the texts (ISO 639), for where sentences end")
    skip_unfit: bool = Field(False, description=SKIP_UNFIT)
    words: WordList | None = Field(None, description="people's words, cut as somebody else has cut them")


class Rows(Declared):
    """A table: of the Hugging Face hub, or local files (.jsonl, .csv or .parquet, with * for many)."""

    hub: str | None = None
    files: str | None = None
    name: str | None = Field(None, description="the configuration of a dataset on the hub")
    split: str = "train"
    revision: str | None = None

    @model_validator(mode="after")
    def _one_origin(self) -> "Rows":
        if (self.hub is None) == (self.files is None):
            raise ValueError("`rows` names either `hub` or `files`")
        return self


class Opening(Declared):
    """Where the prompt of an article ends: after its first sentence, if that has a fitting length.

    One that is shorter than `shortest` or longer than `longest` gives way to the first `characters`.
    """

    shortest: int = Field(200, ge=0)
    longest: int = Field(500, ge=1)
    characters: int = Field(200, ge=1)


class Corpus(Declared):
    """Rows of a table, shuffled by `seed` (`null` keeps their order), the first `texts` of them."""

    rows: Rows
    id: str | None = Field(None, description="the column of identifiers; a row's number by default")
    texts: int | None = Field(300, ge=1, description="how many rows; all with `null`")
    seed: int | None = Field(0, ge=0)
    skip_unfit: bool = Field(False, description=SKIP_UNFIT)
    words: WordList | None = Field(None, description="people's words, cut as somebody else has cut them")


class Articles(Corpus):
    """One text per row: articles, stories."""

    kind: Literal["articles"]
    text: str = Field("text", description="the column of texts")
    title: str | None = Field(
        None, description="a column whose first line is the title; the text's by default"
    )
    opening: Opening = Opening()
    language: Language = Field("en", description="of the texts (ISO 639), for where sentences end")


class Dialogues(Corpus):
    """A list of turns per row; the prompt quotes the turns so far and asks for the next one."""

    kind: Literal["dialogues"]
    turns: str = Field("dialog", description="the column of turns, a list of texts")
    first_turn: int = Field(5, ge=1, description="how many turns the first prompt of a dialogue quotes")
    every: int = Field(2, ge=1, description="how many more each further one quotes")
    instruction: str = "Help me write the next turn in this dialog with no explanation or format changes."
    join: bool = Field(False, description="one text per dialogue in place of one per prompt")
    language: Language = Field("en", description="of the turns (ISO 639), for where sentences end")


class Chats(Corpus):
    """A list of messages per row; each of the user's turns in `language` is a prompt."""

    kind: Literal["chats"]
    conversation: str = Field("conversation", description="the column of messages (role, content, language)")
    language: str | None = Field("English", description="of the turns to keep; all with `null`")
    join: bool = Field(False, description="one text per conversation in place of one per prompt")


# What tables of chats call the languages, and ISO 639 does.
CODES = {
    "Arabic": "ar",
    "Chinese": "zh",
    "Czech": "cs",
    "Danish": "da",
    "Dutch": "nl",
    "English": "en",
    "Finnish": "fi",
    "French": "fr",
    "German": "de",
    "Greek": "el",
    "Hindi": "hi",
    "Italian": "it",
    "Japanese": "ja",
    "Korean": "ko",
    "Persian": "fa",
    "Polish": "pl",
    "Portuguese": "pt",
    "Russian": "ru",
    "Spanish": "es",
    "Swedish": "sv",
    "Turkish": "tr",
    "Ukrainian": "uk",
    "Vietnamese": "vi",
}
Dataset = Annotated[Pydocs | Folder | Articles | Dialogues | Chats, Field(discriminator="kind")]


def language_of(dataset: Pydocs | Folder | Articles | Dialogues | Chats) -> str:
    """The ISO 639 code of the language in whose way sentences end; English where nobody says."""
    match dataset:
        case Pydocs():
            return "en"
        case Chats(language=named):
            return CODES.get(named or "English", "en")
        case Folder() | Articles() | Dialogues():
            return dataset.language

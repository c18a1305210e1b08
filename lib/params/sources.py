"""Sources and scorers, and where a model's weights are."""

import functools
import json
import operator
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator
from pydantic.fields import FieldInfo

from lib.params.declared import Declared, Slug, TextClass

# Where a model's weights are, one class per backend.

LATER: dict[str, Any] = {"later": True}  # a field that came later: left out, it is not in the record


class Transformers(Declared):
    """Weights that the library transformers loads: a folder or a name on the Hugging Face hub."""

    backend: Literal["transformers"]
    model: str
    revision: str | None = None
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    trust_remote_code: bool = False
    device: Literal["auto", "cpu", "cuda", "mps"] = Field(
        "auto",
        description="where it runs: on a GPU, Apple's in float32, else on the processor",
        json_schema_extra=LATER,
    )
    adapter: str | None = Field(
        None,
        description="of PEFT, merged into the model: a folder or a name on the hub",
        json_schema_extra=LATER,
    )
    adapter_revision: str | None = Field(None, json_schema_extra=LATER)

    device_map: Literal["auto"] | None = Field(
        None, description="spread over all devices that there are", json_schema_extra=LATER
    )
    quantization: Literal["8bit", "4bit"] | None = Field(
        None, description="made so at opening, by bitsandbytes", json_schema_extra=LATER
    )

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        if self.device == "mps" and self.dtype != "float32":
            raise ValueError(
                f"`device: mps` computes in float32 here, but `dtype` is {self.dtype}; leave one of them out"
            )
        if self.device_map and self.device != "auto":
            raise ValueError("`device` names one device and `device_map` all of them; leave one of them out")
        if self.quantization and self.adapter is not None:
            raise ValueError(
                "quantised weights cannot take an `adapter` into them as it is; leave out `quantization`"
            )
        if self.model.endswith(".gguf") and (self.quantization or self.device_map):
            raise ValueError(
                "a GGUF file is read dequantised, on one device; leave out `quantization` and `device_map`"
            )
        return self


class LlamaCpp(Declared):
    """A GGUF file for llama.cpp: a local path, or `file` within the hub repository `repo`."""

    backend: Literal["llama_cpp"]
    file: str
    repo: str | None = None
    revision: str | None = None
    context_length: int = Field(4096, ge=8)
    gpu_layers: int | None = Field(
        None,
        ge=0,
        description="how many layers run on a GPU; as many as have room, where llama.cpp is built for one",
        json_schema_extra=LATER,
    )
    reference: str | None = Field(
        None, description="the same model for transformers, to measure what quantisation does to surprisal"
    )


class OpenAI(Declared):
    """A model behind an OpenAI-compatible server; the key comes from the environment only."""

    backend: Literal["openai"]
    model: str
    base_url: str = "http://localhost:1234/v1"
    api_key_variable: str = "OPENAI_API_KEY"
    concurrency: int = Field(4, ge=1, le=256)
    timeout: float = Field(300, gt=0, description="seconds for one answer")
    seed: bool = Field(True, description="send each text's seed", json_schema_extra=LATER)
    stream: bool = Field(
        False,
        description="have tokens sent as they are written, so that the bar moves with each",
        json_schema_extra=LATER,
    )
    max_completion_tokens: bool = Field(
        False, description="say so in place of max_tokens, which some servers refuse", json_schema_extra=LATER
    )
    extra_body: dict[str, Any] | None = Field(
        None, description="more fields of each question", json_schema_extra=LATER
    )
    reference: str | None = Field(
        None,
        description="the same model for transformers, against which surprisal is checked",
        json_schema_extra=LATER,
    )

    @field_validator("extra_body")
    @classmethod
    def _can_be_sent(cls, value: dict[str, Any] | None) -> dict[str, Any] | None:
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"`extra_body` cannot be sent as JSON ({error}); write text or numbers"
            ) from None
        return value


class Vllm(Declared):
    """Weights that vLLM serves: a folder with safetensors or a name on the hub; a study starts the server."""

    backend: Literal["vllm"]
    model: str
    revision: str | None = None
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    context_length: int | None = Field(None, ge=8, description="tokens; the model's own by default")
    tensor_parallel: int = Field(1, ge=1, description="GPUs that share one model")
    concurrency: int = Field(64, ge=1, le=1024, description="texts at once")
    memory_share: float = Field(0.8, gt=0, le=0.95, description="of a GPU's memory")
    timeout: float = Field(1800, gt=0, description="seconds for one answer, waiting for its turn included")
    options: tuple[str, ...] = Field((), description="more of what `vllm serve` takes, word by word")

    @model_validator(mode="after")
    def _is_served_as_it_is(self) -> Self:
        if self.model.endswith(".gguf"):
            raise ValueError("a GGUF file is for `backend: llama_cpp`; vLLM takes a folder with safetensors")
        return self


Weights = Annotated[Transformers | LlamaCpp | OpenAI | Vllm, Field(discriminator="backend")]
_KINDS: list[type[Declared]] = [Transformers, LlamaCpp, OpenAI, Vllm]


def declare_weights(kind: type[Declared]) -> None:
    """Let `weights` of a source or scorer be of `kind`, too; its field `backend` tells it from others."""
    if kind in _KINDS:
        return
    _KINDS.append(kind)
    allowed: Any = Annotated[functools.reduce(operator.or_, _KINDS), Field(discriminator="backend")]
    for which in (Model, Scorer):
        which.__annotations__["weights"] = allowed
        which.model_fields["weights"] = FieldInfo.from_annotation(allowed)
        which.model_rebuild(force=True)


# Sources and scorers.


class Sampling(Declared):
    """How a model continues the prompts; the defaults are the original study's."""

    generate: int = Field(300, ge=1, description="how many texts")
    temperature: float = Field(0.9, ge=0, le=5)
    top_p: float = Field(1.0, gt=0, le=1)
    max_tokens: int = Field(2048, ge=1, description="new tokens at most")
    min_tokens: int = Field(0, ge=0, description="new tokens before which a text cannot end")
    max_retries: int = Field(3, ge=0, le=100)
    min_characters: int = Field(200, ge=0, description="a shorter text is tried again")
    seed: int = Field(0, ge=0)


class Scoring(Declared):
    """How a scorer reads a text."""

    context: Literal["prompt", "none", "sent"] = Field(
        "prompt",
        description="before the text: its prompt, nothing, or what the model was really sent",
    )
    window: int | None = Field(None, ge=2, description="tokens; the model's context by default")
    stride: int | None = Field(None, ge=1, description="tokens; half the window by default")
    entropy: bool = False


class Human(Declared):
    """Texts that people wrote: the `text` column of each dataset."""

    kind: Literal["human"]
    study: Slug = "demo"
    label: str | None = None
    human_dir: str | None = Field(None, description="a folder of .txt files in place of the dataset")
    generate: int | None = Field(None, ge=1, description="how many texts; the dataset's number by default")

    @property
    def text_class(self) -> TextClass:
        return "human"

    @property
    def family(self) -> str:
        return "human"


class Model(Declared):
    """A language model that continues the prompts."""

    kind: Literal["model"]
    text_class: Literal["base", "instruct", "rlhf"] = Field(alias="class")
    family: str
    weights: Weights
    study: Slug = "demo"
    label: str | None = None
    chat: bool = Field(False, description="send the prompt through the model's chat template")
    system_prompt: str | None = None
    sampling: Sampling = Sampling()
    scoring: Scoring = Scoring()


class Scorer(Declared):
    """A language model that gives every token its surprisal."""

    kind: Literal["scorer"]
    weights: Weights
    label: str | None = None
    scoring: Scoring = Scoring()


Source = Human | Model
AnySource = Annotated[Human | Model | Scorer, Field(discriminator="kind")]

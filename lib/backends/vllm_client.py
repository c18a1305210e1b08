"""What vLLM's writers and readers share: the server, and the tokenizer with which they ask it by ids."""

from typing import Any

from transformers import AutoConfig, GenerationConfig

from lib.backends import vllm_server
from lib.backends.openai_client import Server
from lib.backends.transformers_models import tokens_of
from lib.backends.weights import commit_of, local_folder
from lib.params import OpenAI, Vllm


class Served:
    """A server of `weights`, started if none runs, which is used as long as this object is.

    Raises StudyError if it does not start.
    """

    def __init__(self, weights: Vllm) -> None:
        same = vllm_server.plain(weights)
        self.tokens = tokens_of(same)
        folder = local_folder(same)
        where: dict[str, Any] = {} if folder else {"revision": commit_of(same)}
        self.config = AutoConfig.from_pretrained(folder or weights.model, **where)
        try:
            generation = GenerationConfig.from_pretrained(folder or weights.model, **where)
        except OSError:  # it has none: what its config says
            generation = GenerationConfig.from_model_config(self.config)
        default = getattr(type(self.config), "eos_token_id", None)
        vocabulary = int(self.config.get_text_config().vocab_size)
        self.ends = sorted(self.tokens.ends(generation.eos_token_id, default, vocabulary))
        self.lease = vllm_server.use(weights)
        self.server = Server(
            OpenAI(
                backend="openai",
                model=vllm_server.NAME,
                base_url=self.lease.url,
                concurrency=min(weights.concurrency, 256),
                timeout=weights.timeout,
            ),
            key=self.lease.key,
        )

"""A model's own way from its last states to logits: the head, and what some families do after it."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPast


class _Given(nn.Module):
    """In place of a model's layers: gives back the states that it was given."""

    states: torch.Tensor

    def forward(self, *_: Any, **__: Any) -> BaseModelOutputWithPast:
        return BaseModelOutputWithPast(last_hidden_state=self.states)


def last_step(model: PreTrainedModel) -> Callable[[torch.Tensor], torch.Tensor]:
    """Logits [n, vocabulary] of states [n, width], as `model` itself makes them.

    Gemma 2 caps its logits, Cohere and Granite scale them. Their own forward pass is called, on a copy that
    has the model's head and its settings but no layers.
    """
    given = _Given()
    bare = copy.copy(model)
    bare.__dict__["_modules"] = {**model._modules, model.base_model_prefix: given}

    def logits(states: torch.Tensor) -> torch.Tensor:
        given.states = states[None]
        ids = torch.zeros(1, len(states), dtype=torch.long, device=states.device)
        found: torch.Tensor = bare(input_ids=ids, use_cache=False).logits[0]
        return found

    return logits

"""A causal language model of Transformers: GPT-2's architecture from nothing, or a model of the Hub to go on from.

Axes, as the suffix of a name spells them: B batch, T tokens, S the last of them, P tokens to choose from.
"""

import re
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, GPT2Config, PreTrainedModel

from . import lora
from .config import Config, ModelConfig
from .run import RunError

CPU = torch.device("cpu")


def make_model(config: Config, device: torch.device = CPU) -> PreTrainedModel:
    """The model of a run before its first step: the seed decides the weights, unless they are those of `model.hub`."""
    model = from_hub(config) if config.model.hub else from_nothing(config)
    if config.model.lora_rank > 0:
        lora.adapt(model, config)
    nn.Module.to(model, device)  # in place; that of PreTrainedModel has no usable type
    return model


def from_nothing(config: Config) -> PreTrainedModel:
    """A model with GPT-2's architecture and random weights."""
    torch.manual_seed(config.seed)
    shape = GPT2Config(
        vocab_size=config.data.vocabulary,
        n_positions=config.data.context,
        n_embd=config.model.width,
        n_layer=config.model.depth,
        n_head=config.model.heads,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        resid_pdrop=0.0,
        bos_token_id=None,
        eos_token_id=None,
        tie_word_embeddings=False,
    )
    model: PreTrainedModel = AutoModelForCausalLM.from_config(shape, dtype=torch.float32)
    nn.init.zeros_(model.get_parameter("lm_head.weight"))  # the first loss is then exactly log(vocabulary)
    return model


def from_hub(config: Config) -> PreTrainedModel:
    """The model that `model.hub` names, from the Hub or a folder: safetensors only, and no code that comes with it.

    Raises RunError if it cannot be loaded, or is not of the shape that the configuration states.
    """
    asked = config.model
    check_commit("model.revision", asked.revision, asked.hub)
    try:
        there = AutoConfig.from_pretrained(asked.hub, revision=asked.revision or "main", trust_remote_code=False)
        shape = {
            "model.width": there.hidden_size,
            "model.depth": there.num_hidden_layers,
            "model.heads": there.num_attention_heads,
        }
        stated = {"model.width": asked.width, "model.depth": asked.depth, "model.heads": asked.heads}
        if shape != stated:
            wanted = ", ".join(f"{name} {value}" for name, value in shape.items())
            raise RunError(f"{asked.hub} has another shape than the run states; set {wanted}")
        most = {"data.vocabulary": there.vocab_size, "data.context": there.max_position_embeddings}
        for name, value in {"data.vocabulary": config.data.vocabulary, "data.context": config.data.context}.items():
            if value > most[name]:
                raise RunError(f"{name} ({value}) must be at most {most[name]}, as {asked.hub} has it")
        model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
            asked.hub,
            revision=asked.revision or "main",
            dtype=torch.float32,
            use_safetensors=True,
            trust_remote_code=False,
        )
    except (OSError, ValueError) as error:
        what = str(error).splitlines()[0]
        raise RunError(
            f"model.hub ({asked.hub}) cannot be loaded ({what}); look whether `hf download {asked.hub}` brings it"
        ) from error
    return model


def check_commit(field: str, revision: str, hub: str) -> None:
    """Raise RunError unless a model or a data set is in a folder, or is named by its commit on the Hub."""
    if not Path(hub).is_dir() and not re.fullmatch(r"[0-9a-f]{40}", revision):
        raise RunError(
            f"{field} ({revision!r}) must be the 40 digits of a commit of {hub}, because a branch can change; its page "
            "on the Hub lists them, under History"
        )


def logits_of(model: nn.Module, tokens_BT: Tensor, last: int, config: ModelConfig) -> Tensor:
    """Logits float[B, S, P] of what follows each of the `last` tokens of int[B, T], each in [0, P)."""
    with computing(config, tokens_BT.device):
        logits_BSP: Tensor = model(input_ids=tokens_BT, logits_to_keep=last, use_cache=False).logits
    return logits_BSP.float()


def loss_on(model: nn.Module, tokens_BT: Tensor, labels_BS: Tensor, config: ModelConfig) -> Tensor:
    """The loss of a model on a batch. Compiled as one function, it holds no logits in float32."""
    return loss_of(logits_of(model, tokens_BT, labels_BS.shape[1], config), labels_BS)


def loss_of(logits_BSP: Tensor, labels_BS: Tensor) -> Tensor:
    """Mean cross-entropy in nats of the tokens that follow."""
    return F.cross_entropy(logits_BSP.flatten(0, 1), labels_BS.flatten())


def computing(config: ModelConfig, device: torch.device) -> torch.autocast:
    """Inside, a model computes in the precision of the run."""
    dtype: torch.dtype = getattr(torch, config.precision)
    return torch.autocast(device.type, dtype, enabled=dtype != torch.float32)

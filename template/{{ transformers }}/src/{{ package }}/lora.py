"""Low-rank adaptation (LoRA, arXiv:2106.09685): a model stays as it is, and what is learned is added beside it."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from .config import Config

WEIGHTS = "adapter_model.safetensors"
"""The file of a checkpoint with what was learned, as `PeftModel.from_pretrained` of PEFT loads it."""


def adapt(model: PreTrainedModel, config: Config) -> None:
    """Put two matrices of rank `model.lora_rank` beside each one of the blocks, in place: they alone learn.

    Twice their product is added. One of them is zero at first, and the seed decides the other one.
    """
    from peft import LoraConfig, inject_adapter_in_model  # only here, because the import takes seconds

    asked = config.model
    settings = LoraConfig(
        r=asked.lora_rank,
        lora_alpha=2 * asked.lora_rank,
        target_modules="all-linear",
        fan_in_fan_out=any(isinstance(module, Conv1D) for module in model.modules()),  # as GPT-2 has its matrices
        base_model_name_or_path=asked.hub,
        revision=asked.revision or None,
        task_type="CAUSAL_LM",
    )
    torch.manual_seed(config.seed)
    inject_adapter_in_model(settings, model)


def save(path: Path, model: PreTrainedModel) -> None:
    """Write what was learned, and what it was learned beside, to a folder."""
    settings: Any = model.peft_config
    settings["default"].save_pretrained(path)
    save_file({name: weight.detach().contiguous() for name, weight in learned(model).items()}, path / WEIGHTS)


@torch.no_grad()
def load(path: Path, model: PreTrainedModel) -> None:
    """Load what was learned, in place. Raises RuntimeError if it is of another shape."""
    found, ours = load_file(path / WEIGHTS), learned(model)
    if {name: found[name].shape for name in found} != {name: ours[name].shape for name in ours}:
        raise RuntimeError("other matrices were adapted, or with another rank")
    for name, weight in ours.items():
        weight.copy_(found[name])


def learned(model: PreTrainedModel) -> dict[str, Tensor]:
    """The weights that learn, by the names that PEFT has for them in files."""
    return {
        f"base_model.model.{name.replace('.default.', '.')}": weight
        for name, weight in model.named_parameters()
        if weight.requires_grad
    }


def merge(model: PreTrainedModel) -> None:
    """Add what was learned to the weights that it was learned beside, in place: then it is a model as any other."""
    from peft.tuners.lora import LoraLayer

    for name, module in list(model.named_modules()):
        if isinstance(module, LoraLayer):
            module.merge()
            model.set_submodule(name, module.get_base_layer())

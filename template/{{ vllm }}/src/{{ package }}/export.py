"""The model of a run as a folder that vLLM serves, and that `from_pretrained` of Transformers loads."""

import json
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast
from transformers.convert_slow_tokenizer import bytes_to_unicode

from . import checkpoint, lora
from .config import Config
from .model import make_model
from .run import load_config
from .tokens import load_tokenizer

FOLDER = "model"
SETTINGS = "vllm.yaml"


def export_run(path: Path) -> Path:
    """Write the best checkpoint of the run in the folder `path` to `model/` there, and return where that is.

    Raises RunError if there is none, or `model/` cannot be written; then it is as it was.
    """
    config = load_config(path)
    model = make_model(config)
    checkpoint.load(path, model, best=True)
    if config.model.lora_rank > 0:
        lora.merge(model)
    with checkpoint.writing(path / FOLDER) as partial:
        model.save_pretrained(partial)
        make_tokenizer(config).save_pretrained(partial)
        (partial / SETTINGS).write_text(settings(config), encoding="utf-8")
    return path / FOLDER


def make_tokenizer(config: Config) -> Any:
    """The tokenizer of `model.hub`, or one whose tokens are the bytes of a text."""
    if config.model.hub:
        return load_tokenizer(config)
    # Text comes to a tokenizer as characters: each byte has one, and none is joined to another.
    tokens = {character: byte for byte, character in bytes_to_unicode().items()}
    tokenizer = Tokenizer(models.BPE(vocab=tokens, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, clean_up_tokenization_spaces=False)


def settings(config: Config) -> str:
    """What `vllm serve` takes with `--config`, as YAML. It asks nobody who they are, so only this machine is served."""
    options = {
        "served-model-name": config.name,
        "host": "127.0.0.1",
        "port": 8000,
        "dtype": config.model.precision,
        "max-model-len": config.data.context,
    }
    return "".join(f"{name}: {json.dumps(value)}\n" for name, value in options.items())

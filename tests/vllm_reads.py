"""Has vLLM read the folder of a model as far as it does without a GPU, and prints what it has understood.

    python vllm_reads.py FOLDER

Its parser takes the settings in the folder, its configuration the shape of the model, and its model the weights:
nothing is computed, because the operations of its wheel are for a GPU.
"""

# ruff: noqa: E402 (vLLM looks for a GPU when it is imported)
import json
import sys
from pathlib import Path

import torch
import vllm.platforms
from vllm.platforms.cpu import CpuPlatform

vllm.platforms._current_platform = CpuPlatform()
torch.accelerator.empty_cache = lambda: None
torch.ops._C.gelu_new = None

from safetensors.torch import load_file
from vllm.config import VllmConfig, set_current_vllm_config
from vllm.distributed import init_distributed_environment, initialize_model_parallel
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.entrypoints.cli import serve
from vllm.model_executor.model_loader import get_model
from vllm.tokenizers import get_tokenizer
from vllm.utils.argparse_utils import FlexibleArgumentParser


def main(folder: str) -> None:
    (command,) = serve.cmd_init()
    parser = FlexibleArgumentParser()
    command.subparser_init(parser.add_subparsers())
    asked = parser.parse_args(["serve", folder, "--config", f"{folder}/vllm.yaml"])
    command.validate(asked)
    asked.model = asked.model_tag  # as the command does
    config = AsyncEngineArgs.from_cli_args(asked).create_engine_config()
    tokenizer = get_tokenizer(folder)
    said = {
        "name": asked.served_model_name,
        "host": asked.host,
        "architecture": config.model_config.architecture,
        "dtype": str(config.model_config.dtype),
        "length": config.model_config.max_model_len,
        "tokens": tokenizer.encode("h\u00e9\n"),
        "text": tokenizer.decode([104, 195, 169, 10]),
        "weights": weights(config, folder),
    }
    print(json.dumps(said))


def weights(config: VllmConfig, folder: str) -> dict[str, bool]:
    """Of each tensor of the file or of vLLM's model, whether both have it, and the same: a matrix may be transposed."""
    with set_current_vllm_config(config):
        init_distributed_environment(1, 0, f"file://{Path(folder).absolute()}.store", 0, backend="gloo")
        initialize_model_parallel(1, 1)
        model = get_model(vllm_config=config)
    theirs, ours = dict(model.named_parameters()), load_file(f"{folder}/model.safetensors")
    return {
        name: name in theirs and name in ours and is_same(theirs[name], ours[name]) for name in theirs.keys() | ours
    }


def is_same(theirs: torch.Tensor, ours: torch.Tensor) -> bool:
    return any(torch.equal(theirs, one.to(theirs.dtype)) for one in (ours, ours.t()))


if __name__ == "__main__":
    main(*sys.argv[1:])

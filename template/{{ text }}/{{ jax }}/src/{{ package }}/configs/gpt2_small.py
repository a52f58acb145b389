"""The shape of GPT-2 small, to measure what a GPU does with it: 12 blocks, 768 wide, and GPT-2's 50,257 tokens.

Of those tokens, here padded to 50,304, bytes use the first 256. The head is a matrix of its own, so there are 163
million parameters, of which 124 million multiply, as in GPT-2 (Radford et al., 2019). Every row of its metrics tells
tokens_per_second and, on a GPU that throughput.py knows, model_flops_utilization. No whole run of it has been made.
"""

from ..config import Config, DataConfig, ModelConfig, OptimConfig


def config() -> Config:
    return Config(
        name="gpt2_small",
        seed=0,
        data=DataConfig(
            corpus="", test_fraction=0.1, test_examples=256, context=1_024, vocabulary=50_304, batch_size=480
        ),
        model=ModelConfig(width=768, depth=12, heads=12, precision="bfloat16"),
        optim=OptimConfig(
            steps=10_000,
            accumulation_steps=15,
            lr=6e-4,
            warmup_steps=500,
            beta2=0.95,
            weight_decay=0.1,
            grad_clip=1.0,
        ),
        device="gpu",
        log_every=10,
        eval_every=500,
        save_every=1_000,
        keep_checkpoints=2,
    )

"""Every code path in seconds: a few steps of a tiny model, which logs, evaluates and saves. It learns nothing."""

from ..config import Config, DataConfig, ModelConfig, OptimConfig


def config() -> Config:
    return Config(
        name="debug",
        seed=0,
        data=DataConfig(corpus="", test_fraction=0.1, test_examples=16, context=16, vocabulary=256, batch_size=8),
        model=ModelConfig(width=8, depth=1, heads=2, precision="float32"),
        optim=OptimConfig(
            steps=6, accumulation_steps=1, lr=1e-2, warmup_steps=2, beta2=0.98, weight_decay=0.1, grad_clip=1.0
        ),
        device="auto",
        log_every=1,
        eval_every=3,
        save_every=2,
        keep_checkpoints=2,
    )

"""TODO"""

from ..config import Config, DataConfig, ModelConfig, OptimConfig


def config() -> Config:
    return Config(
        name="baseline",
        seed=0,
        data=DataConfig(modulus=97, train_fraction=0.4, batch_size=512),
        model=ModelConfig(width=64, depth=1, heads=4),
        optim=OptimConfig(steps=1_600, lr=1e-2, warmup_steps=100, beta2=0.98, weight_decay=1.0, grad_clip=1.0),
        log_every=50,
        eval_every=200,
        save_every=400,
        keep_checkpoints=2,
    )

"""Every code path in seconds: a few tiny forests, which are scored, compared and saved. They learn little."""

from ..config import Config, DataConfig, ModelConfig, OptimConfig


def config() -> Config:
    return Config(
        name="debug",
        seed=0,
        data=DataConfig(csv="", target="digit", group="", test_fraction=0.5),
        model=ModelConfig(kind="forest", size=2),
        optim=OptimConfig(steps=6, folds=2),
        save_every=2,
        keep_checkpoints=2,
        jobs=1,
    )

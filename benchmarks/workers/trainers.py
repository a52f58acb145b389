"""Trains the model of a generated repository on its batches, by its own loop or by somebody else's.

    python trainers.py LOOP SIZE STEPS WARMUP_STEPS LOG_EVERY

LOOP is generated, nanogpt (a plain loop with the parts of nanoGPT's), trainer (Hugging Face) or lightning. Everywhere
the same fused AdamW with the same groups, the same learning rates, clipping, and a row of metrics every LOG_EVERY
steps; all else is each one's default. Prints as JSON the milliseconds of a step after the warm-up, from one batch to
the next, and those of the processor.

    python trainers.py costs STEPS

prints the shares of a run of the size middle, in percent, that logging and saving take at the baseline's intervals.
"""

import contextlib
import dataclasses
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from demo import checkpoint, configs
from demo.config import Config
from demo.data import Split
from demo.model import loss_of, make_model
from demo.run import Run
from demo.train import learning_rate, make_optimizer, train
from torch import Tensor, nn

# Width, depth, heads, context and batch size; the first is for mlp.py in place of the transformer.
SIZES = {"mlp": (32, 1, 1, 2, 64), "tiny": (32, 2, 2, 32, 8), "middle": (128, 4, 4, 64, 12)}


def sized(size: str, steps: int, log_every: int) -> Config:
    width, depth, heads, context, batch_size = SIZES[size]
    base = configs.load("baseline")
    data = dataclasses.replace(base.data, batch_size=batch_size)
    if size != "mlp":
        data = dataclasses.replace(data, context=context, test_examples=16)
    model = dataclasses.replace(base.model, width=width, depth=depth, heads=heads)
    optim = dataclasses.replace(base.optim, steps=steps, warmup_steps=steps // 10)
    return dataclasses.replace(
        base, data=data, model=model, optim=optim, log_every=log_every, eval_every=steps, save_every=steps
    )


class WithLoss(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: Tensor, labels: Tensor) -> dict[str, Tensor]:
        return {"loss": loss_of(self.model(inputs, last=labels.shape[1]), labels)}


class Batches(torch.utils.data.IterableDataset[dict[str, Tensor]]):
    """The batches of a run, made when they are asked for."""

    def __init__(self, config: Config) -> None:
        self.config, self.split = config, Split.load(config.data, "train", config.seed)

    def __len__(self) -> int:
        return self.config.optim.steps

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        for step in range(1, self.config.optim.steps + 1):
            inputs, labels = self.split.batch(step, self.config.data.batch_size)
            yield {"inputs": torch.from_numpy(inputs), "labels": torch.from_numpy(labels)}


def schedule(config: Config, optimizer: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LambdaLR:
    return torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda done: learning_rate(done + 1, config.optim) / config.optim.lr
    )


def generated(config: Config, root: Path) -> None:
    train(config, root)


def nanogpt(config: Config, _: Path) -> None:
    """Its batches, its loop, its scaler; fused AdamW, which it takes on a GPU only."""
    split = Split.load(config.data, "train", config.seed)
    size, context, parts = config.data.batch_size, config.data.context, config.optim.accumulation_steps

    def get_batch(step: int) -> tuple[Tensor, Tensor]:
        if not hasattr(split, "tokens"):  # addition has no text to cut from
            inputs, labels = split.batch(step, size)
            return torch.from_numpy(inputs), torch.from_numpy(labels)
        note(step)
        data = split.tokens
        starts = torch.randint(len(data) - context, (size,))
        x = torch.stack([torch.from_numpy(data[i : i + context].astype(np.int64)) for i in starts])
        y = torch.stack([torch.from_numpy(data[i + 1 : i + 1 + context].astype(np.int64)) for i in starts])
        return x, y

    model = make_model(config)
    optimizer = make_optimizer(model, config.optim)
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    x, y = get_batch(1)
    for step in range(1, config.optim.steps + 1):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, config.optim)
        for _ in range(parts):
            with contextlib.nullcontext():
                loss = loss_of(model(x, last=y.shape[1]), y) / parts
            x, y = get_batch(step + 1)
            scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.optim.grad_clip)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad(set_to_none=True)
        if step % config.log_every == 0:
            print(f"iter {step}: loss {loss.item() * parts:.4f}")


def trainer(config: Config, root: Path) -> None:
    import transformers  # noqa: PLC0415 - only here, because the import takes long

    model = WithLoss(make_model(config))
    optimizer = make_optimizer(model, config.optim)
    batches = Batches(config)

    class OnBatches(transformers.Trainer):
        def get_train_dataloader(self) -> Any:
            return self.accelerator.prepare(torch.utils.data.DataLoader(batches, batch_size=None))

    arguments = transformers.TrainingArguments(
        str(root),
        max_steps=config.optim.steps,
        per_device_train_batch_size=config.data.batch_size,
        logging_steps=config.log_every,
        max_grad_norm=config.optim.grad_clip,
        save_strategy="no",
        report_to="none",
        use_cpu=True,
    )
    OnBatches(model, arguments, train_dataset=batches, optimizers=(optimizer, schedule(config, optimizer))).train()


def lightning(config: Config, root: Path) -> None:
    import lightning as L  # noqa: N812, PLC0415 - as everywhere; only here, because the import takes long

    class Lit(L.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = WithLoss(make_model(config))

        def training_step(self, batch: dict[str, Tensor], _: int) -> Tensor:
            loss = self.model(**batch)["loss"]
            self.log("loss", loss)
            return loss

        def configure_optimizers(self) -> Any:
            optimizer = make_optimizer(self.model, config.optim)
            return {
                "optimizer": optimizer,
                "lr_scheduler": {"scheduler": schedule(config, optimizer), "interval": "step"},
            }

    fit = L.Trainer(
        accelerator="cpu",
        devices=1,
        max_steps=config.optim.steps,
        gradient_clip_val=config.optim.grad_clip,
        log_every_n_steps=config.log_every,
        default_root_dir=root,
    )
    fit.fit(Lit(), torch.utils.data.DataLoader(Batches(config), batch_size=None))


clock: dict[int, tuple[float, float]] = {}


def note(step: int) -> None:
    """When a batch is asked for."""
    clock[step] = time.perf_counter(), time.process_time()


def step_times(loop: str, size: str, steps: int, warmup_steps: int, log_every: int) -> dict[str, float]:
    draw = Split.batch

    def batch(self: Split, step: int, size: int, **shards: int) -> Any:
        note(step)
        return draw(self, step, size, **shards)

    Split.batch = batch  # type: ignore[method-assign]
    loops = {"generated": generated, "nanogpt": nanogpt, "trainer": trainer, "lightning": lightning}
    with tempfile.TemporaryDirectory() as root:
        loops[loop](sized(size, steps, log_every), Path(root))
    (begin, begin_cpu), (end, end_cpu) = clock[warmup_steps + 1], clock[steps]
    count = (steps - warmup_steps - 1) / 1_000
    return {"ms": (end - begin) / count, "cpu_ms": (end_cpu - begin_cpu) / count}


def costs(steps: int) -> dict[str, float]:
    """Of the time from the first batch to the end; without the evaluations, of which the corpus decides the length."""
    base = configs.load("baseline")
    config = dataclasses.replace(
        sized("middle", steps, base.log_every), save_every=base.save_every, eval_every=base.eval_every
    )
    took = {"logging": 0.0, "saving": 0.0}

    def timed(what: str, function: Any) -> Any:
        def call(*arguments: Any, **named: Any) -> Any:
            begin = time.perf_counter()
            try:
                return function(*arguments, **named)
            finally:
                took[what] += time.perf_counter() - begin

        return call

    Run.log = timed("logging", Run.log)  # type: ignore[method-assign]
    checkpoint.save = timed("saving", checkpoint.save)
    checkpoint.save_best = timed("saving", checkpoint.save_best)
    with tempfile.TemporaryDirectory() as root:
        begin = time.perf_counter()
        train(config, Path(root))
        whole = time.perf_counter() - begin
    return {what: 100 * seconds / whole for what, seconds in took.items()}


if __name__ == "__main__":
    name, *rest = sys.argv[1:]
    # Rows and progress bars are written, but to nowhere; a traceback is not among them.
    with (
        Path(os.devnull).open("w") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        figures = costs(int(rest[0])) if name == "costs" else step_times(name, rest[0], *map(int, rest[1:]))
    print(json.dumps(figures))

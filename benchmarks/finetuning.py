"""MNIST: LeNet-300-100 and LeNet-5 compressed, then fine-tuned with masks and codebooks fixed; writes FINETUNING.md.

    python benchmarks/finetuning.py [--networks lenet-300-100 lenet-5] [--seeds 5] [--jobs 2] [--write benchmarks/FINETUNING.md]

Needs the group `frameworks` of pyproject.toml. Every network and seed is one process with one thread, and its rows are kept
under build/finetuning as they come: a run that was stopped trains the dense network again and measures what is missing.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import multiprocessing
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import opq
import opq.torch
from benchmarks.finetuning_tables import write_page
from benchmarks.mnist import mnist
from opq.cli.tables import progress

RESULTS = Path(__file__).resolve().parent.parent / "build" / "finetuning"
BATCH = 128
HELD_OUT = 10_000


@dataclass(frozen=True)
class Recipe:
    """How a network is trained, and what it is compressed to. Learning rates fall to 0 along half a cosine.

    l1  of the dense training, times sum |w|: weights that do not matter come close to zero, so one threshold tells them from
        the others
    """

    network: Any
    epochs: int
    rate: float
    l1: float
    bits: int
    tuning_epochs: int
    tuning_rate: float
    sparsities: tuple[float, ...]
    compared: tuple[float, ...]  # sparsities at which masks and codebooks are derived again as well


def lenet_300_100() -> nn.Sequential:
    """266,610 parameters."""
    return nn.Sequential(nn.Linear(784, 300), nn.ReLU(), nn.Linear(300, 100), nn.ReLU(), nn.Linear(100, 10))


def lenet_5() -> nn.Sequential:
    """Caffe's, 431,080 parameters."""
    return nn.Sequential(
        nn.Unflatten(1, (1, 28, 28)), nn.Conv2d(1, 20, 5), nn.MaxPool2d(2), nn.Conv2d(20, 50, 5), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(800, 500), nn.ReLU(), nn.Linear(500, 10),
    ).to(memory_format=torch.channels_last)  # fmt: skip


# Chosen on held-out training images: benchmarks/finetuning_settings.py.
RECIPES = {
    "lenet-300-100": Recipe(
        lenet_300_100, 20, 2e-3, 3e-5, 3, 8, 3e-3, sparsities=(0.93, 0.95, 0.96, 0.97, 0.98, 0.99), compared=(0.96, 0.98)
    ),
    "lenet-5": Recipe(lenet_5, 8, 1e-3, 1e-4, 4, 3, 3e-3, sparsities=(0.96, 0.97, 0.98, 0.99), compared=(0.98, 0.99)),
}


class Trainer:
    """One process's data and random numbers.

    held_out  judge by the last 10,000 training images, of which no training sees any, and leave the test images alone
    """

    def __init__(self, seed: int, held_out: bool = False) -> None:
        torch.set_num_threads(1)
        torch.manual_seed(seed)
        images, labels, self.test_images, self.test_labels = map(torch.from_numpy, mnist())
        if held_out:
            self.test_images, self.test_labels = images[-HELD_OUT:], labels[-HELD_OUT:]
            images, labels = images[:-HELD_OUT], labels[:-HELD_OUT]
        self.images, self.labels = images, labels

    def error(self, module: nn.Module) -> float:
        """Error in per cent of the images to judge by."""
        with torch.no_grad():
            wrong = sum(
                int((module(images).argmax(1) != labels).sum())
                for images, labels in zip(self.test_images.split(1000), self.test_labels.split(1000))
            )
        return 100.0 * wrong / len(self.test_labels)

    def train(self, module: nn.Module, epochs: int, rate: float, l1: float = 0.0, again: Any = None) -> None:
        """Adam on cross entropy + l1 * sum |w|; `again(module)` before every epoch but the first."""
        optimizer = torch.optim.Adam(module.parameters(), rate)
        batches = math.ceil(len(self.images) / BATCH)
        step = 0
        for epoch in range(epochs):
            if again is not None and epoch:
                again(module)
            for index in torch.randperm(len(self.images)).split(BATCH):
                optimizer.param_groups[0]["lr"] = rate * 0.5 * (1.0 + math.cos(math.pi * step / (batches * epochs)))
                optimizer.zero_grad()
                nn.functional.cross_entropy(module(self.images[index]), self.labels[index]).backward()
                for parameter in module.parameters():
                    if l1 and parameter.ndim > 1:
                        parameter.grad.add_(parameter.detach().sign(), alpha=l1)
                optimizer.step()
                step += 1


def budget(sparsity: float, bits: int) -> dict[str, Any]:
    """Options of `opq.compress`. Without channel scales: the channels of a unit that died hold nothing worth a codeword."""
    return {"sparsity": sparsity, "bits": bits, "channel_scale": "none"}


def derive_again(options: dict[str, Any], masks: bool) -> Any:
    """A function that takes masks and codebooks, or codebooks alone, from the module's present weights instead.

    Parameters stay the same objects, so the optimizer goes on.
    """

    def again(module: nn.Module) -> None:
        arrays = {
            name: layer.parametrizations[tensor].original.detach().numpy()
            for name, layer, tensor, _ in opq.torch._projections(module)
        }
        if masks:
            fixed = opq.FixedCompression.of(opq.compress(arrays, **options))
        else:
            before = opq.torch.fixed_compression(module)
            pruned = {name: array * before[name].mask for name, array in arrays.items()}
            fixed = opq.FixedCompression.of(opq.compress(pruned, bits=options["bits"], channel_scale=options["channel_scale"]))
        for name, layer, tensor, _ in opq.torch._projections(module):
            layer.parametrizations[tensor][0] = opq.torch.Projection(fixed[name])

    return again


def row(trainer: Trainer, module: nn.Module, before: tuple[int, float], minutes: float) -> dict[str, Any]:
    """What is told of a fine-tuned module."""
    result = opq.torch.compressed(module)
    totals = result.report["totals"]
    layers = result.report["layers"]
    bits = sum(layer["bits"] * layer["weights"] * (1 - layer["sparsity"]) for layer in layers) / totals["survivors"]
    return {
        "first_bytes": before[0], "first_error": before[1], "bytes": totals["file_bytes"], "error": trainer.error(module),
        "sparsity": totals["sparsity"], "bits": bits, "minutes": minutes,
        **{rate: totals[rate] for rate in ("paper_rate", "packed_rate", "file_rate")},
    }  # fmt: skip


def measure(task: tuple[str, int]) -> None:
    """One network and seed: dense, then every budget, then the comparison with masks and codebooks derived again."""
    name, seed = task
    path = RESULTS / f"{name}-{seed}.json"
    recipe = RECIPES[name]
    runs = [(f"{sparsity}", budget(sparsity, recipe.bits), None) for sparsity in recipe.sparsities]
    for what, masks in (("codebooks", False), ("masks and codebooks", True)):
        for sparsity in recipe.compared:
            options = budget(sparsity, recipe.bits)
            runs.append((f"{what}, {sparsity}", options, derive_again(options, masks)))
    result = json.loads(path.read_text()) if path.exists() else {"rows": {}}
    missing = [run for run in runs if run[0] not in result["rows"]]
    if not missing:
        return
    trainer = Trainer(seed)
    dense = recipe.network()
    started = time.perf_counter()
    trainer.train(dense, recipe.epochs, recipe.rate, recipe.l1)
    result["dense_error"] = trainer.error(dense)
    result["dense_minutes"] = (time.perf_counter() - started) / 60.0
    result["dense_bytes"] = 4 * sum(p.numel() for p in dense.parameters())
    progress(f"{name}, seed {seed}: dense {result['dense_error']:.2f} %")
    for key, options, again in missing:
        torch.manual_seed(seed)  # the batches of every row in the same order, whichever rows were measured before
        module = copy.deepcopy(dense)
        opq.torch.fix(module, **options)
        before = opq.torch.compressed(module).file_bytes, trainer.error(module)
        started = time.perf_counter()
        trainer.train(module, recipe.tuning_epochs, recipe.tuning_rate, again=again)
        told = result["rows"][key] = row(trainer, module, before, (time.perf_counter() - started) / 60.0)
        progress(f"{name}, seed {seed}, {key}: {before[1]:.2f} -> {told['error']:.2f} %, {told['bytes']} bytes")
        keep(path, result)


def keep(path: Path, result: dict[str, Any]) -> None:
    """Write a result whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(result))
    partial.replace(path)


def load_results(name: str, seeds: int) -> list[dict[str, Any]]:
    """What `measure` kept, of the first seeds as far as they are there."""
    paths = [RESULTS / f"{name}-{seed}.json" for seed in range(seeds)]
    return [json.loads(path.read_text()) for path in paths if path.exists()]


def main() -> None:
    """Measure what is missing and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=list(RECIPES), choices=list(RECIPES))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=2, help="processes, of one thread each (default: %(default)s)")
    parser.add_argument("--kept", action="store_true", help="measure nothing: the page of the results that there are")
    parser.add_argument("--write", help="the page; its picture goes to docs/finetuning-mnist.png")
    args = parser.parse_args()
    if not args.kept:
        mnist()  # fetched once, before the processes start
        tasks = [(name, seed) for seed in range(args.seeds) for name in args.networks]
        with multiprocessing.get_context("spawn").Pool(args.jobs) as pool:
            for _ in pool.imap_unordered(measure, tasks, chunksize=1):
                pass
    results = {name: load_results(name, args.seeds) for name in args.networks}
    write_page(
        {name: runs for name, runs in results.items() if runs}, RECIPES, None if args.write is None else Path(args.write)
    )


if __name__ == "__main__":
    main()

"""The settings of benchmarks/finetuning.py, one varied at a time, judged by held-out training images; the test set is not used.

    python benchmarks/finetuning_settings.py [--networks lenet-300-100 lenet-5] [--write benchmarks/FINETUNING_SETTINGS.md]

One thread; 10 to 15 minutes per network. What was measured is kept under
build/finetuning/settings.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import opq.torch
from benchmarks.finetuning import RECIPES, Trainer
from benchmarks.finetuning import RESULTS as FINETUNING
from opq.cli.tables import format_table, progress

RESULTS = FINETUNING / "settings"
HEADER = ["network", "setting", "dense error", "sparsity %", "bytes", "error before", "error after"]


@dataclass(frozen=True)
class Settings:
    """What is varied. Rates are Adam's; `scale` is the option `channel_scale` of `opq.compress`."""

    l1: float = 3e-5
    bits: int = 3
    tuning_epochs: int = 8
    tuning_rate: float = 1e-3
    scale: str = "none"
    seed: int = 1000  # the benchmark's are 0 to 4


# Of LeNet-5 an epoch takes six times as long.
STARTS = {"lenet-300-100": Settings(), "lenet-5": Settings(tuning_epochs=3)}
PROBES = {"lenet-300-100": (0.96, 0.98), "lenet-5": (0.985,)}
VARIANTS: dict[str, list[dict[str, Any]]] = {
    "lenet-300-100": [
        {}, {"l1": 0.0}, {"l1": 1e-5}, {"l1": 1e-4}, {"bits": 2}, {"bits": 4}, {"tuning_rate": 3e-4}, {"tuning_rate": 3e-3},
        {"tuning_epochs": 16}, {"scale": "auto"}, {"l1": 5e-5},
        {"seed": 1001}, {"seed": 1001, "tuning_rate": 3e-3},
    ],
    "lenet-5": [
        {}, {"l1": 0.0}, {"l1": 1e-4}, {"bits": 2}, {"bits": 4}, {"tuning_rate": 3e-4}, {"tuning_rate": 3e-3},
        {"tuning_epochs": 6}, {"l1": 1e-4, "bits": 4}, {"l1": 5e-5, "bits": 4},
    ],
}  # fmt: skip


def measure(name: str) -> list[list[str]]:
    """Rows of the table; those of a variant are kept, and not measured again."""
    recipe, table = RECIPES[name], []
    networks: dict[tuple[int, float], tuple[nn.Module, float]] = {}
    for variant in VARIANTS[name]:
        setting = ", ".join(f"{key} {value}" for key, value in variant.items()) or "start"
        path = RESULTS / f"{name}, {setting}.json"
        if path.exists():
            table += json.loads(path.read_text())
            continue
        rows = []
        settings = replace(STARTS[name], **variant)
        trainer = Trainer(settings.seed, held_out=True)
        if (settings.seed, settings.l1) not in networks:
            module = recipe.network()
            trainer.train(module, recipe.epochs, recipe.rate, settings.l1)
            networks[settings.seed, settings.l1] = module, trainer.error(module)
        dense, dense_error = networks[settings.seed, settings.l1]
        for sparsity in PROBES[name]:
            module = copy.deepcopy(dense)
            opq.torch.fix(module, sparsity=sparsity, bits=settings.bits, channel_scale=settings.scale)
            before = trainer.error(module)
            trainer.train(module, settings.tuning_epochs, settings.tuning_rate)
            size = opq.torch.compressed(module).file_bytes
            cells = [name, setting, f"{dense_error:.2f}", f"{100 * sparsity:g}", f"{size:,}", f"{before:.2f}"]
            rows.append([*cells, f"{trainer.error(module):.2f}"])
            progress(" | ".join(rows[-1]))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(rows))
        table += rows
    return table


def main() -> None:
    """Measure, print, and write the page that is named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=list(RECIPES), choices=list(RECIPES))
    parser.add_argument("--write", type=Path, metavar="FILE")
    args = parser.parse_args()
    rows = [row for name in args.networks for row in measure(name)]
    print(format_table(HEADER, rows))
    if args.write is not None:
        args.write.write_text(page(rows))


def page(rows: list[list[str]]) -> str:
    """The page's text."""
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in [HEADER, ["---"] * len(HEADER), *rows])
    starts = "\n".join(f"* {name}: {start}" for name, start in STARTS.items())
    return f"""# Settings of the fine-tuning on MNIST

From `python benchmarks/finetuning_settings.py --write benchmarks/FINETUNING_SETTINGS.md`, {date.today()}. Training sees the
first 50,000 training images, errors (%) are of the last 10,000; the test images are not looked at. The seeds are
none that [FINETUNING.md](FINETUNING.md) uses. One setting at a time differs from the start:

{starts}

The sampling error of one error is 0.1 to 0.13 points, so most of these settings cannot be told apart.

{table}
"""


if __name__ == "__main__":
    main()

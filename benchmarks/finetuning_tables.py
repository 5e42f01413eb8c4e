"""The page and the picture of benchmarks/finetuning.py."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch

import opq

ROOT = Path(__file__).resolve().parent.parent
PICTURE = ROOT / "docs" / "finetuning-mnist.png"
TITLES = {"lenet-300-100": "LeNet-300-100", "lenet-5": "LeNet-5 (Caffe's)"}
# Han, Mao and Dally, "Deep Compression", 2016, table 1: file bytes, error in % before and after.
DEEP_COMPRESSION = {"lenet-300-100": (27_000, 1.64, 1.58), "lenet-5": (44_000, 0.80, 0.74)}
GOAL_BYTES, GOAL_POINTS, GOAL_SEEDS = 15_000, 0.1, 5

Results = Mapping[str, Sequence[Mapping[str, Any]]]


def write_page(results: Results, recipes: Mapping[str, Any], path: Path | None) -> None:
    """Print the page; write it and the picture if a path is given."""
    text = "\n".join([_head(results, recipes), *(_section(name, runs, recipes[name]) for name, runs in results.items())])
    print(text)
    if path is not None:
        path.write_text(text)
        draw(results, PICTURE)


def _head(results: Results, recipes: Mapping[str, Any]) -> str:
    command = f"python benchmarks/finetuning.py --networks {' '.join(results)} --write benchmarks/FINETUNING.md"
    return f"""# Fine-tuning on MNIST

From `{command}`,
{date.today()}, {platform.machine()} with {os.cpu_count()} CPUs, PyTorch {torch.__version__.split("+")[0]},
opq {opq.__version__}.
Means over the seeds, +- standard deviation. Minutes are of one thread on a machine with other work and are no
benchmark of speed.

The dense networks are trained with Adam on all 60,000 images, with a penalty on the sum of |w|. Masks and codebooks are
decided once, from those weights: `opq.torch.fix(module, sparsity=..., bits=..., channel_scale="none")`. Fine-tuning is Adam
again, without the penalty. Learning rates fall to 0 along half a cosine. Bytes are those of real files, everything included.

{_settings(results, recipes)}

Errors are of the 10,000 test images after the last epoch; nothing was trained or chosen by them. The settings were chosen on
held-out training images: [FINETUNING_SETTINGS.md](FINETUNING_SETTINGS.md). All budgets that were measured are shown. The
sampling error of one test error is about 0.13 points at 1.7 % and 0.1 at 1 %; it is smaller for the difference from the dense
network, which errs on mostly the same images.

![error against bytes](../docs/finetuning-mnist.png)
"""


def _settings(results: Results, recipes: Mapping[str, Any]) -> str:
    """What training took, as a table."""
    lines = [
        "| network | epochs, rate | penalty | bits | epochs, rate of the fine-tuning | seeds |",
        "|---|---|---|---|---|---|",
    ]
    for name, runs in results.items():
        r = recipes[name]
        cells = [
            TITLES[name],
            f"{r.epochs}, {r.rate:g}",
            f"{r.l1:g}",
            str(r.bits),
            f"{r.tuning_epochs}, {r.tuning_rate:g}",
            str(len(runs)),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _section(name: str, runs: Sequence[Mapping[str, Any]], recipe: Any) -> str:
    dense = [run["dense_error"] for run in runs]
    size, published_before, published = DEEP_COMPRESSION[name]
    keys = [str(sparsity) for sparsity in recipe.sparsities]
    lines = [
        f"## {TITLES[name]}", "",
        f"Dense: {runs[0]['dense_bytes']:,} bytes, error {_spread(dense)} %, {recipe.epochs} epochs in"
        f" {_mean(runs, 'dense_minutes'):.1f} minutes. Fine-tuning: {recipe.tuning_epochs} epochs.", "",
        "| sparsity % | bits | paper / packed / file rate | bytes before | error before | bytes | error after | minus dense"
        " | minutes |", "|---|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for key in keys:
        rows = [run["rows"][key] for run in runs]
        rates = " / ".join(f"{_mean(rows, f'{rate}_rate'):.0f}" for rate in ("paper", "packed", "file"))
        lines.append(
            f"| {100 * _mean(rows, 'sparsity'):.1f} | {_mean(rows, 'bits'):.1f} | {rates} | {_mean(rows, 'first_bytes'):,.0f}"
            f" | {_mean(rows, 'first_error'):.2f} | {_mean(rows, 'bytes'):,.0f} | {_spread([r['error'] for r in rows])}"
            f" | {_difference(runs, key)} | {_mean(rows, 'minutes'):.1f} |"
        )
    lines += [
        f"| Deep Compression | | | | | {size:,} | {published:.2f} | {published - published_before:+.2f} | |", "",
        _verdict(runs, keys, float(np.mean(dense))), "",
        "The same training, with masks or codebooks derived again from the trained weights before every epoch but the first:",
        "",
        "| sparsity % | derived again | bytes | error after | minus derived once |", "|---|---|---|---|---|",
    ]  # fmt: skip
    for sparsity in recipe.compared:
        for label in ("nothing", "codebooks", "masks and codebooks"):
            key = str(sparsity) if label == "nothing" else f"{label}, {sparsity}"
            rows = [run["rows"][key] for run in runs]
            spread = _spread([row["error"] for row in rows])
            difference = "" if label == "nothing" else _difference(runs, key, str(sparsity))
            lines.append(f"| {100 * sparsity:g} | {label} | {_mean(rows, 'bytes'):,.0f} | {spread} | {difference} |")
    return "\n".join([*lines, ""])


def _verdict(runs: Sequence[Mapping[str, Any]], keys: Sequence[str], dense: float) -> str:
    """Whether some budget has files of at most 15 KB, on average, with an error at most 0.1 points above the dense one's."""
    small = [[run["rows"][key] for run in runs] for key in keys]
    small = [rows for rows in small if _mean(rows, "bytes") <= GOAL_BYTES]
    reached = [rows for rows in small if _mean(rows, "error") <= dense + GOAL_POINTS]
    goal = (
        f"Goal: at most {GOAL_BYTES:,} bytes, at most {GOAL_POINTS} points above the dense network, mean of {GOAL_SEEDS} seeds."
    )
    if len(runs) < GOAL_SEEDS:
        return f"{goal} These are {len(runs)}: not decided."
    if not small:
        return f"{goal} Not reached: no budget has files that small."
    if not reached:
        best = min(small, key=lambda rows: _mean(rows, "error"))
        points = _mean(best, "error") - dense
        return f"{goal} Not reached: the best of that size is {points:.2f} points above, at {_mean(best, 'bytes'):,.0f} bytes."
    best = min(reached, key=lambda rows: _mean(rows, "bytes"))
    points = _mean(best, "error") - dense
    return f"{goal} Reached; the smallest files are of {_mean(best, 'bytes'):,.0f} bytes, at {points:+.2f} points."


def _mean(rows: Sequence[Mapping[str, Any]], key: str) -> float:
    return float(np.mean([row[key] for row in rows]))


def _difference(runs: Sequence[Mapping[str, Any]], key: str, other: str | None = None) -> str:
    """Error of one row minus that of another of the same seed, or of the dense network: mean and standard deviation."""
    values = [
        run["rows"][key]["error"] - (run["dense_error"] if other is None else run["rows"][other]["error"]) for run in runs
    ]
    return f"{np.mean(values):+.2f} +- {np.std(values):.2f}"


def _spread(values: Sequence[float]) -> str:
    return f"{np.mean(values):.2f} +- {np.std(values):.2f}"


def draw(results: Results, path: Path) -> None:
    """Error against bytes: before fine-tuning, after, the dense network's own, and Deep Compression's point."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5 * len(results), 3.6), layout="constrained")
    panels = figure.subplots(1, len(results), squeeze=False)[0]
    for axes, (name, runs) in zip(panels, results.items()):
        keys = [key for key in runs[0]["rows"] if key[0].isdigit()]
        for label, size, error, style in (
            ("compressed", "first_bytes", "first_error", "--o"), ("fine-tuned", "bytes", "error", "-o"),
        ):  # fmt: skip
            table = [[run["rows"][key] for run in runs] for key in keys]
            kilobytes = [_mean(rows, size) / 1000.0 for rows in table]
            axes.plot(kilobytes, [_mean(rows, error) for rows in table], style, label=label, markersize=4)
        axes.axhline(float(np.mean([run["dense_error"] for run in runs])), color="grey", linewidth=1, label="dense")
        published = DEEP_COMPRESSION[name]
        axes.plot([published[0] / 1000.0], [published[2]], "k*", label="Deep Compression")
        axes.set(title=TITLES[name], xlabel="file, kB", ylabel="test error, %", xscale="log", yscale="log")
        axes.legend(fontsize="small")
    figure.savefig(path, dpi=110, metadata={"Software": None})

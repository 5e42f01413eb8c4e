"""What fine-tuning gets back without labels and without the training set: MobileNet-V1 imitates its own dense outputs.

    python benchmarks/finetune_mobilenet.py --images imagenet.zip [--ratios 8 12 16] [--epochs 6]
                                            [--write benchmarks/FINETUNING_MOBILENET.md]

--images: a folder or zip archive of photographs, with or without ImageNet's labels (see images.py). Four of five are trained
with, their labels unused; the fifth is judged by. With --validate, four of five of the former are trained with and the fifth
of them is judged by: for choosing options. Needs the group `frameworks` of pyproject.toml. One to two minutes per epoch; a
ratio that was measured is kept under build/finetuning.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import opq
from benchmarks.distillation import fine_tuned, imitation, optimizer, set_rates, student
from benchmarks.fidelity_scores import Estimate, Scores, score
from benchmarks.graph_module import GraphModule
from benchmarks.imagenet_networks import NETWORKS
from benchmarks.images import load_images
from opq.cli.tables import format_table, progress

RESULTS = Path(__file__).resolve().parent.parent / "build" / "finetuning"
NETWORK = NETWORKS["mobilenet-v1"]
BATCH, WARM_UP, EVERY = 16, 20, 5
HEADER = ["ratio", "", "bytes", "top-1 %", "agreement %", "KL, nats", "minutes"]

Pixels = npt.NDArray[np.uint8]  # [n, 224, 224, 3]


def distil(module: GraphModule, teacher: GraphModule, pixels: Pixels, args: argparse.Namespace) -> None:
    """Adam on `imitation`, on random cut-outs and mirror images."""
    generator, rng = torch.Generator().manual_seed(0), np.random.default_rng(0)
    adam = optimizer(module, args.weight_rate, args.rate)
    steps = args.epochs * -(-len(pixels) // BATCH)
    step = 0
    for epoch in range(args.epochs):
        losses = []
        for index in torch.randperm(len(pixels), generator=generator).split(BATCH):
            set_rates(adam, step, steps, WARM_UP)
            x = cut_out(torch.from_numpy(NETWORK.prepare(pixels[index.numpy()])), rng)
            adam.zero_grad()
            loss = imitation(module, teacher, x, args.features)
            loss.backward()
            adam.step()
            losses.append(loss.item())
            step += 1
        progress(f"epoch {epoch + 1} of {args.epochs}: loss {np.mean(losses):.4f}")


def cut_out(x: Tensor, rng: np.random.Generator) -> Tensor:
    """A random square of 85 to 100 % of the side, one for the batch, back at full size; mirrored or not."""
    side = int(x.shape[-1] * rng.uniform(0.85, 1.0))
    top, left = rng.integers(0, x.shape[-1] - side + 1, size=2)
    x = functional.interpolate(x[..., top : top + side, left : left + side], x.shape[-2:], mode="bilinear", antialias=True)
    return (x.flip(3) if rng.random() < 0.5 else x).contiguous(memory_format=torch.channels_last)


def answers(model: opq.Model | opq.CompressedModel, pixels: Pixels) -> npt.NDArray[np.float64]:
    """Log probabilities, from opq's own engine."""
    session = opq.Session(model)
    name = session.get_inputs()[0].name
    batches = [pixels[i : i + BATCH] for i in range(0, len(pixels), BATCH)]
    outputs = [session.run(None, {name: NETWORK.prepare(batch)})[0] for batch in batches]
    return NETWORK.log_probabilities(np.concatenate(outputs))


def row(ratio: str, what: str, size: int, scores: Scores, minutes: str = "") -> list[str]:
    """Cells of the table, with intervals."""

    def percent(estimate: Estimate | None) -> str:
        if estimate is None:
            return "-"
        return f"{100 * estimate.mean:.0f} ({100 * estimate.low:.0f} to {100 * estimate.high:.0f})"

    divergence = f"{scores.divergence.mean:.3f} ({scores.divergence.low:.3f} to {scores.divergence.high:.3f})"
    return [ratio, what, f"{size:,}", percent(scores.top1), percent(scores.agreement), divergence, minutes]


def measure(
    ratio: float, model: opq.Model, training: Pixels, judged: Pixels, labels: npt.NDArray[np.int64] | None,
    args: argparse.Namespace,
) -> list[list[str]]:  # fmt: skip
    """Rows of one ratio."""
    dense = answers(model, judged)

    def judge(what: str, compressed: opq.CompressedModel, minutes: str = "") -> list[str]:
        scores = score(dense, answers(compressed, judged), labels)
        cells = row(f"{ratio:g}", what, compressed.file_bytes, scores, minutes)
        progress(" | ".join(cells))
        return cells

    # Nearest codes: they are what the weights project to, and so what the repairs must have been made for.
    first = opq.compress(model, ratio=ratio, rounding="nearest")
    fixed = opq.FixedCompression.of(first)
    start = judge("compressed", first)
    module = student(model, first, fixed)
    started = time.perf_counter()
    distil(module, GraphModule(model).to(memory_format=torch.channels_last), training, args)
    minutes = f"{(time.perf_counter() - started) / 60.0:.0f}"
    result = fine_tuned(model, module, fixed)
    # The least that a user gets with these bytes and without training.
    default = opq.compress(model, size=result.file_bytes)
    return [start, judge("fine-tuned", result, minutes), judge("`opq.compress` at the bytes of the fine-tuned", default)]


def main() -> None:
    """Compress, train, judge; print, and write the page that is named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True, metavar="DIR_OR_ZIP")
    parser.add_argument("--count", type=int, default=500, help="photographs, spread over all of them (default: %(default)s)")
    parser.add_argument("--ratios", nargs="+", type=float, default=[8.0, 12.0, 16.0])
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument(
        "--weight-rate", type=float, default=0.01, help="Adam's, see `distillation.optimizer` (default: %(default)s)"
    )
    parser.add_argument("--rate", type=float, default=5e-4, help="Adam's, of scales and biases (default: %(default)s)")
    parser.add_argument(
        "--features", type=float, default=1.0, help="weight of the loss of the layers' outputs beside KL (default: %(default)s)"
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--validate", action="store_true", help="judge by photographs that are otherwise trained with")
    parser.add_argument("--write", type=Path, metavar="FILE")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    images = load_images(args.images, args.count)
    places = np.arange(len(images))
    judged, training = places[places % EVERY == 0], places[places % EVERY != 0]
    if args.validate:
        judged, training = training[::EVERY], np.delete(training, np.s_[::EVERY])
    labels = None if images.labels is None or NETWORK.first_class is None else images.labels[judged] + NETWORK.first_class
    model = opq.load_onnx(NETWORK.path())
    dense = answers(model, images.pixels[judged])
    rows = [row("", "dense", model.dense_bytes, score(dense, dense, labels))]
    for ratio in args.ratios:
        options = {name: value for name, value in vars(args).items() if name not in ("ratios", "write", "images", "threads")}
        path = RESULTS / f"mobilenet-{'-'.join(str(value) for value in (ratio, *options.values()))}.json"
        if not path.exists():
            kept: Any = measure(ratio, model, images.pixels[training], images.pixels[judged], labels, args)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(kept))
        rows += json.loads(path.read_text())
        print(format_table(HEADER, rows), flush=True)
    if args.write is not None:
        args.write.write_text(page(rows, len(judged), len(training), args))


def page(rows: list[list[str]], judged: int, trained: int, args: argparse.Namespace) -> str:
    """The page's text."""
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in [HEADER, ["---"] * len(HEADER), *rows])
    return f"""# Fine-tuning without the training set

From `python benchmarks/finetune_mobilenet.py --images ... --write benchmarks/FINETUNING_MOBILENET.md`, {date.today()},
PyTorch {torch.__version__.split("+")[0]}, opq {opq.__version__}. MobileNet-V1 with its ImageNet weights is compressed, and
fine-tuned with masks and codebooks fixed to imitate the dense network on {trained} photographs, whose labels are not used;
{judged} others judge it.

**This is no ImageNet result.** The photographs are few and may have been in the network's training set. It says what somebody
without that set can still get back. In brackets: 95 % intervals over the photographs judged; of rows of one ratio they are
wider than what the differences would have, as it is the same photographs.

The loss is KL(dense || compressed) of the class probabilities + {args.features:g} * the mean over the layers of the squared
error of ReLU6's outputs over their variance. Adam, {args.epochs} epochs of batches of {BATCH}, random cut-outs and mirror
images. Rates: {args.weight_rate:g} / sqrt(inputs) of a codebook's step for weights, {args.rate:g} for scales (as ratios) and
biases, with warm-up, falling to 0 along half a cosine. BatchNorm keeps the statistics of the training set, which a batch of
{BATCH} cannot replace: it is the scale and bias of the layer before, repaired by `opq.compress`, and trained from there. The
options were chosen on {trained // EVERY} of the photographs trained with (--validate, at ratio 16). Minutes are those of
{args.threads} thread on a machine with other work.

{table}
"""


if __name__ == "__main__":
    main()

"""What fine-tuning gets back without labels and without the training set: MobileNet-V1 imitates its own dense outputs.

    python benchmarks/finetune_mobilenet.py --images imagenet.zip [--ratios 8 12 16] [--epochs 10]
                                            [--write benchmarks/DISTILLATION.md]

--images: a folder or zip archive of photographs, with or without ImageNet's labels (see images.py). Four of five are trained
with, their labels unused; the fifth is judged by. Needs the group `frameworks` of pyproject.toml. A minute or two per epoch.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from datetime import date
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import opq
import opq.torch
from benchmarks.fidelity_scores import Estimate, Scores, score
from benchmarks.graph_module import GraphModule
from benchmarks.imagenet_networks import NETWORKS
from benchmarks.images import load_images
from opq.cli.tables import format_table, progress

NETWORK = NETWORKS["mobilenet-v1"]
BATCH, JUDGED = 20, 5
HEADER = ["ratio", "", "bytes", "top-1 %", "agreement %", "KL, nats", "minutes"]


def distil(
    student: GraphModule, teacher: GraphModule, pixels: npt.NDArray[np.uint8], epochs: int, rate: float, seed: int = 0
) -> None:
    """Adam on KL(teacher || student), on random crops and mirror images; the rate falls to 0 along half a cosine."""
    generator, rng = torch.Generator().manual_seed(seed), np.random.default_rng(seed)
    # In units of each tensor's root mean square: depthwise weights are 50 times larger than the last pointwise ones.
    sizes = [parameter.detach().square().mean().sqrt().item() for parameter in student.parameters()]
    optimizer = torch.optim.Adam([{"params": [parameter]} for parameter in student.parameters()])
    steps = epochs * -(-len(pixels) // BATCH)
    step = 0
    for epoch in range(epochs):
        losses = []
        for index in torch.randperm(len(pixels), generator=generator).split(BATCH):
            for group, size in zip(optimizer.param_groups, sizes):
                group["lr"] = size * rate * 0.5 * (1.0 + math.cos(math.pi * step / steps))
            x = augmented(torch.from_numpy(NETWORK.prepare(pixels[index.numpy()])), rng)
            with torch.no_grad():
                target = functional.log_softmax(teacher(x), dim=1)
            optimizer.zero_grad()
            loss = functional.kl_div(functional.log_softmax(student(x), dim=1), target, reduction="batchmean", log_target=True)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            step += 1
        progress(f"epoch {epoch + 1} of {epochs}: KL {np.mean(losses):.4f}")


def augmented(x: Tensor, rng: np.random.Generator) -> Tensor:
    """A random square of 70 to 100 % of the side, one for the batch, back at full size; mirrored or not."""
    side = int(x.shape[-1] * rng.uniform(0.7, 1.0))
    top, left = rng.integers(0, x.shape[-1] - side + 1, size=2)
    x = functional.interpolate(x[..., top : top + side, left : left + side], x.shape[-2:], mode="bilinear", antialias=True)
    return x.flip(3) if rng.random() < 0.5 else x


def answers(model: opq.Model | opq.CompressedModel, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """Log probabilities, from opq's own engine."""
    session = opq.Session(model)
    name = session.get_inputs()[0].name
    batches = [pixels[i : i + BATCH] for i in range(0, len(pixels), BATCH)]
    outputs = [session.run(None, {name: NETWORK.prepare(batch)})[0] for batch in batches]
    return NETWORK.log_probabilities(np.concatenate(outputs))


def row(ratio: str, what: str, size: int, scores: Scores, minutes: float | None) -> list[str]:
    """Cells of the table, with intervals."""

    def percent(estimate: Estimate | None) -> str:
        if estimate is None:
            return "-"
        return f"{100 * estimate.mean:.0f} ({100 * estimate.low:.0f} to {100 * estimate.high:.0f})"

    divergence = f"{scores.divergence.mean:.3f} ({scores.divergence.low:.3f} to {scores.divergence.high:.3f})"
    cells = [ratio, what, f"{size:,}", percent(scores.top1), percent(scores.agreement), divergence]
    return [*cells, "" if minutes is None else f"{minutes:.0f}"]


def main() -> None:
    """Compress, train, judge; print, and write the page that is named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True, metavar="DIR_OR_ZIP")
    parser.add_argument("--count", type=int, default=500, help="photographs, spread over all of them (default: %(default)s)")
    parser.add_argument("--ratios", nargs="+", type=float, default=[8.0, 12.0, 16.0])
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument(
        "--rate", type=float, default=1e-4, help="of a tensor's root mean square, per step (default: %(default)s)"
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--write", type=Path, metavar="FILE")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    images = load_images(args.images, args.count)
    judged = np.arange(len(images)) % JUDGED == 0
    labels = None if images.labels is None or NETWORK.first_class is None else images.labels[judged] + NETWORK.first_class
    model = opq.load_onnx(NETWORK.path())
    dense = answers(model, images.pixels[judged])
    teacher = GraphModule(model).eval()
    rows = [row("", "dense", model.dense_bytes, score(dense, dense, labels), None)]
    for ratio in args.ratios:
        # Nearest codes: they are what the weights project to, and so what the repairs must have been made for.
        first = opq.compress(model, ratio=ratio, rounding="nearest")
        fixed = opq.FixedCompression.of(first)
        rows.append(row(f"{ratio:g}", "compressed", first.file_bytes, judge(first, dense, images.pixels[judged], labels), None))
        student = GraphModule(model)
        # From the repaired scales and biases on; the weights are the pre-trained ones.
        student.load_state_dict(
            {n: torch.from_numpy(np.array(model.tensors[n] if n in fixed else t)) for n, t in first.items()}
        )
        opq.torch.fix(student, fixed=fixed)
        started = time.perf_counter()
        distil(student, teacher, images.pixels[~judged], args.epochs, args.rate)
        minutes = (time.perf_counter() - started) / 60.0
        tuned = opq.torch.compressed(student, dense="float32").dense_tensors()
        result = opq.compress(model, fixed=fixed, weights=tuned)
        scores = judge(result, dense, images.pixels[judged], labels)
        rows.append(row(f"{ratio:g}", "fine-tuned", result.file_bytes, scores, minutes))
        print(format_table(HEADER, rows), flush=True)
    if args.write is not None:
        args.write.write_text(page(rows, int(judged.sum()), int((~judged).sum()), args))


def judge(
    model: opq.CompressedModel,
    dense: npt.NDArray[np.float64],
    pixels: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.int64] | None,
) -> Scores:
    return score(dense, answers(model, pixels), labels)


def page(rows: list[list[str]], judged: int, trained: int, args: argparse.Namespace) -> str:
    """The page's text."""
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in [HEADER, ["---"] * len(HEADER), *rows])
    return f"""# Fine-tuning without the training set

From `python benchmarks/finetune_mobilenet.py --images ... --epochs {args.epochs} --write benchmarks/DISTILLATION.md`,
{date.today()}. MobileNet-V1 with its ImageNet weights is compressed, and fine-tuned with masks and codebooks fixed to imitate
its own dense outputs on {trained} photographs, whose labels are not used; {judged} others judge it. Adam at {args.rate:g} of
each tensor's root mean square, {args.epochs} epochs, random crops and mirror images. BatchNorm keeps the statistics of the
training set: its scale and shift are trained, as the scales and biases that opq repaired.

This is no ImageNet result. The photographs are few and may have been in the network's training set; it says what somebody
without that set can still get back. In brackets: 95 % intervals over the photographs. Minutes are those of
{args.threads} thread on a machine with other work.

{table}
"""


if __name__ == "__main__":
    main()

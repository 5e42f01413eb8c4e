"""MobileNet-V1 compressed, then fine-tuned on ImageNet with masks and codebooks fixed.

    python examples/finetune_imagenet.py IMAGENET [--ratio 16] [--epochs 5] [--run build/imagenet] [--resume] [--device cuda]

IMAGENET is a folder with train/<wnid>/*.JPEG and val/<wnid>/*.JPEG; the class of an image is its folder's place in the sorted
order of the 1000 names. Needs PyTorch, onnx and Pillow; the first call fetches the pre-trained weights.

--run is a folder: fixed.opq has masks and codebooks, checkpoint.pt the state after the last whole epoch, and network.opq is the
result. With --resume the training goes on from the checkpoint; the file that comes out is the one of a run that was never
stopped, bit for bit where PyTorch's own arithmetic is.
"""

from __future__ import annotations

import argparse
import io
import math
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import opq
from benchmarks.distillation import fine_tuned, optimizer, set_rates, student
from benchmarks.graph_module import GraphModule
from benchmarks.imagenet_networks import NETWORKS
from benchmarks.images import SIZE, square
from opq.atomic import write_atomically

CLASSES = 1000
WARM_UP = 100


class Folder(Dataset[tuple[Tensor, int]]):
    """Images of one part of ImageNet, prepared for the network, and their classes.

    With `augmented`, image i of epoch e is cut out and mirrored by random numbers of (e, i): the same ones whatever process
    loads it, and whether or not the training was stopped before.
    """

    def __init__(self, path: Path, augmented: bool = False) -> None:
        self.augmented, self.epoch = augmented, 0
        if not path.is_dir():
            raise ValueError(f"{path}: no such folder; expected ImageNet's, with train/<wnid>/*.JPEG and val/<wnid>/*.JPEG")
        self.classes = sorted(folder.name for folder in path.iterdir() if folder.is_dir())
        if len(self.classes) != CLASSES:
            raise ValueError(f"{path}: {len(self.classes)} folders, expected {CLASSES}: their order gives the classes")
        self.images = [(file, i) for i, name in enumerate(self.classes) for file in sorted((path / name).glob("*.JPEG"))]
        if not self.images:
            raise ValueError(f"{path}: no image, expected {path.name}/<wnid>/*.JPEG")

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        file, label = self.images[i]
        with Image.open(file) as image:
            rng = np.random.default_rng((self.epoch, i))
            pixels = np.asarray(cut_out(image, rng)) if self.augmented else square(image)
        network = NETWORKS["mobilenet-v1"]
        return torch.from_numpy(network.prepare(pixels[None])[0]), label + (network.first_class or 0)


def cut_out(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A random part of 25 to 100 % of the area and sides of 3:4 to 4:3, at the network's size, mirrored or not."""
    image = image.convert("RGB")
    area = image.width * image.height * rng.uniform(0.25, 1.0)
    aspect = math.exp(rng.uniform(math.log(3 / 4), math.log(4 / 3)))
    width = min(image.width, round(math.sqrt(area * aspect)))
    height = min(image.height, round(math.sqrt(area / aspect)))
    left, top = int(rng.integers(image.width - width + 1)), int(rng.integers(image.height - height + 1))
    box = (left, top, left + width, top + height)
    image = image.resize((SIZE, SIZE), Image.Resampling.BILINEAR, box=box)
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if rng.random() < 0.5 else image


def top1(module: nn.Module, images: Folder, args: argparse.Namespace) -> float:
    """Share of images whose likeliest class is theirs, in per cent."""
    right = 0
    with torch.no_grad():
        for x, labels in batches(images, args, shuffled=False):
            right += int((module(x).argmax(1) == labels).sum())
    return 100.0 * right / len(images)


def batches(images: Folder, args: argparse.Namespace, shuffled: bool) -> Iterator[tuple[Tensor, Tensor]]:
    """All images once, on the device; the order, if shuffled, is the epoch's."""
    order = torch.Generator().manual_seed(images.epoch)
    loader = DataLoader(images, args.batch, shuffle=shuffled, num_workers=args.workers, generator=order)
    for x, labels in loader:
        yield x.to(args.device, memory_format=torch.channels_last), labels.to(args.device)


def train_epoch(module: GraphModule, adam: torch.optim.Adam, images: Folder, epoch: int, args: argparse.Namespace) -> float:
    """One epoch on cross entropy; its mean."""
    images.epoch = epoch
    per_epoch = math.ceil(len(images) / args.batch)
    losses = []
    for i, (x, labels) in enumerate(batches(images, args, shuffled=True)):
        set_rates(adam, epoch * per_epoch + i, args.epochs * per_epoch, WARM_UP)
        adam.zero_grad()
        loss = functional.cross_entropy(module(x), labels)
        loss.backward()
        adam.step()
        losses.append(loss.item())
    return float(np.mean(losses))


def save_checkpoint(path: Path, module: GraphModule, adam: torch.optim.Adam, epoch: int, args: argparse.Namespace) -> None:
    """The state after `epoch` whole epochs, all of it or nothing."""
    state = {"module": module.state_dict(), "adam": adam.state_dict(), "epoch": epoch, "options": schedule(args)}
    file = io.BytesIO()
    torch.save(state, file)
    write_atomically(path, file.getvalue())


def load_checkpoint(path: Path, module: GraphModule, adam: torch.optim.Adam, args: argparse.Namespace) -> int:
    """How many whole epochs the checkpoint has behind it; module and optimizer are as they were then."""
    state = torch.load(path, map_location=args.device, weights_only=True)
    if state["options"] != schedule(args):
        raise ValueError(f"{path}: the checkpoint is of another training: {state['options']}")
    module.load_state_dict(state["module"])
    adam.load_state_dict(state["adam"])
    return int(state["epoch"])


def schedule(args: argparse.Namespace) -> dict[str, float]:
    """The options that a training must keep to the end."""
    return {name: getattr(args, name) for name in ("ratio", "epochs", "batch", "weight_rate", "rate")}


def main(arguments: Sequence[str] | None = None) -> None:
    """Compress, train, write network.opq."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("imagenet", type=Path)
    parser.add_argument("--ratio", type=float, default=16.0, help="dense bytes over file bytes (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument(
        "--weight-rate", type=float, default=0.01, help="Adam's, see `distillation.optimizer` (default: %(default)s)"
    )
    parser.add_argument("--rate", type=float, default=5e-4, help="Adam's, of scales and biases (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=4, help="processes that load images (default: %(default)s)")
    parser.add_argument("--device", default="cpu", help="PyTorch's name of it (default: %(default)s)")
    parser.add_argument("--run", type=Path, default=Path("build/imagenet"), metavar="DIR")
    parser.add_argument("--resume", action="store_true")
    args = parser.parse_args(arguments)
    try:
        fine_tune(args)
    except (ValueError, OSError) as error:
        sys.exit(f"finetune_imagenet: {error}")


def fine_tune(args: argparse.Namespace) -> None:
    """The whole training. Raises ValueError for a folder that is not ImageNet's and a checkpoint of another training."""
    training, validation = Folder(args.imagenet / "train", augmented=True), Folder(args.imagenet / "val")
    if training.classes != validation.classes:
        raise ValueError(f"{args.imagenet}: train and val have folders of different names")
    args.run.mkdir(parents=True, exist_ok=True)
    checkpoint = args.run / "checkpoint.pt"
    model = opq.load_onnx(NETWORKS["mobilenet-v1"].path())
    # Nearest codes: they are what weights project to, and so what scales and biases must have been repaired for.
    first = opq.compress(model, ratio=args.ratio, rounding="nearest")
    if args.resume and not checkpoint.exists():
        raise ValueError(f"{checkpoint}: no checkpoint to resume from; leave out --resume")
    fixed = opq.FixedCompression.load(args.run / "fixed.opq") if args.resume else opq.FixedCompression.of(first)
    if not args.resume:
        checkpoint.unlink(missing_ok=True)
        fixed.save(args.run / "fixed.opq")
        print(f"dense: top-1 {top1(GraphModule(model).to(args.device), validation, args):.2f} %")
    module = student(model, first, fixed).to(args.device)
    adam = optimizer(module, args.weight_rate, args.rate)
    start = load_checkpoint(checkpoint, module, adam, args) if args.resume else 0
    print(f"after {start} epochs: {first.file_bytes:,} bytes at first, top-1 {top1(module, validation, args):.2f} %")
    for epoch in range(start, args.epochs):
        loss = train_epoch(module, adam, training, epoch, args)
        save_checkpoint(checkpoint, module, adam, epoch + 1, args)
        print(f"epoch {epoch + 1} of {args.epochs}: loss {loss:.4f}, top-1 {top1(module, validation, args):.2f} %", flush=True)
    result = fine_tuned(model, module, fixed)
    result.save(args.run / "network.opq")
    print(f"{args.run / 'network.opq'}: {result.file_bytes:,} bytes")


if __name__ == "__main__":
    main()

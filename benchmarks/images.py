"""Photographs with or without ImageNet's labels: a folder, a zip archive, or the samples that scikit-image carries.

A label is read off where all files have one:

    123_any.jpg            the name starts with the class, 0 to 999
    n01440764/any.JPEG     one folder per class, 1000 of them: a class is its folder's place in their order

Images of 224x224 are taken as they are; of others the shorter side becomes 256 and the centre is cut out.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmarks.real_networks import photographs

SIZE, SHORTER_SIDE, CLASSES = 224, 256, 1000
_SUFFIXES = (".jpg", ".jpeg", ".png")


@dataclass(frozen=True, eq=False)
class Images:
    """pixels: uint8 [n, 224, 224, 3], RGB. labels: the class of each, 0 to 999, or None. source: where they are from."""

    pixels: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64] | None
    source: str

    def __len__(self) -> int:
        return len(self.pixels)


def load_images(path: Path | None, count: int) -> Images:
    """At most `count` images of a folder or zip archive, spread evenly over its sorted names; None: the samples.

    Raises ValueError where there are no images, OSError for what cannot be read.
    """
    if path is None:
        return sample_images()
    if path.is_dir():
        names = [str(file.relative_to(path)) for file in path.rglob("*")]
        return _read(sorted(names), lambda name: (path / name).read_bytes(), path, count)
    with zipfile.ZipFile(path) as archive:
        return _read(sorted(archive.namelist()), archive.read, path, count)


def sample_images() -> Images:
    """scikit-image's photographs, and scikit-learn's where that is installed, each with its mirror image; without labels."""
    samples = list(photographs().values())
    source = "the sample photographs of scikit-image"
    try:
        from sklearn.datasets import load_sample_images
    except ModuleNotFoundError:
        pass
    else:
        samples += load_sample_images().images
        source += " and scikit-learn"
    pixels = np.stack([square(Image.fromarray(sample)) for sample in samples])
    return Images(np.concatenate([pixels, pixels[:, :, ::-1]]), None, f"{source}, each with its mirror image")


def square(image: Image.Image) -> npt.NDArray[np.uint8]:
    """An image as uint8 [224, 224, 3]."""
    image = image.convert("RGB")
    if image.size != (SIZE, SIZE):
        scale = SHORTER_SIDE / min(image.size)
        width, height = (max(SIZE, round(scale * side)) for side in image.size)
        left, top = (width - SIZE) // 2, (height - SIZE) // 2
        resized = image.resize((width, height), Image.Resampling.BILINEAR)
        image = resized.crop((left, top, left + SIZE, top + SIZE))
    return np.asarray(image, dtype=np.uint8)


def _read(names: list[str], read: Callable[[str], bytes], path: Path, count: int) -> Images:
    names = [name for name in names if name.lower().endswith(_SUFFIXES)]
    if not names:
        raise ValueError(f"{path}: no image ({', '.join(_SUFFIXES)})")
    labels = _labels(names)
    chosen = np.unique(np.linspace(0, len(names) - 1, min(count, len(names))).round().astype(np.int64))
    pixels = np.stack([square(Image.open(io.BytesIO(read(names[i])))) for i in chosen])
    source = f"{len(chosen)} of the {len(names)} images of {path.name}"
    return Images(pixels, None if labels is None else labels[chosen], source)


def _labels(names: list[str]) -> npt.NDArray[np.int64] | None:
    numbers = [re.match(r"(\d{1,4})_", Path(name).name) for name in names]
    classes = [int(number[1]) for number in numbers if number is not None and int(number[1]) < CLASSES]
    if len(classes) == len(names):
        return np.array(classes)
    folders = [Path(name).parent.name for name in names]
    order = {folder: i for i, folder in enumerate(sorted(set(folders)))}
    return np.array([order[folder] for folder in folders]) if len(order) == CLASSES else None

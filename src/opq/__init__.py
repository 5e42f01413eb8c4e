"""OPQ, One-shot Pruning-Quantization: compressed networks on plain CPUs.

From the pre-trained weights alone, without data and without search, `compress` decides how much each layer is pruned and how
finely it is quantized; `Session` runs the result on a CPU. See https://arxiv.org/abs/2205.11141 for the method.
"""

from opq import codec
from opq._core import __version__
from opq.allocation import allocate
from opq.codes import quantize
from opq.compressed import CompressedModel, load
from opq.compression import compress
from opq.errors import BudgetError, FormatError, UnsupportedError
from opq.fixed_compression import FixedCompression
from opq.graph import Graph, Node, ValueInfo
from opq.layer_allocation import Allocation, LayerAllocation
from opq.model import Model
from opq.npz_io import load_npz
from opq.onnx_import import load_onnx
from opq.quantization import QuantizedTensor
from opq.safetensors_io import load_safetensors
from opq.session import Session

__all__ = [
    "Allocation",
    "BudgetError",
    "CompressedModel",
    "FixedCompression",
    "FormatError",
    "Graph",
    "LayerAllocation",
    "Model",
    "Node",
    "QuantizedTensor",
    "Session",
    "UnsupportedError",
    "ValueInfo",
    "__version__",
    "allocate",
    "codec",
    "compress",
    "load",
    "load_npz",
    "load_onnx",
    "load_safetensors",
    "quantize",
]

"""Measuring how fast networks run: this engine, layer by layer, and others beside it in the same process and run."""

from opq.benchmark.dense_model import export_dense
from opq.benchmark.engines import PEERS, Inputs, MakeEngine, opq_engine, peer
from opq.benchmark.layers import LayerTiming, layer_timings
from opq.benchmark.timing import Engine, Run, Timing, measure

__all__ = [
    "PEERS",
    "Engine",
    "Inputs",
    "LayerTiming",
    "MakeEngine",
    "Run",
    "Timing",
    "export_dense",
    "layer_timings",
    "measure",
    "opq_engine",
    "peer",
]

"""The tables of fidelity.py, on the terminal and as Markdown."""

from __future__ import annotations

import datetime
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np

import opq
from benchmarks.candidates import TOLERANCE, Candidate
from benchmarks.fidelity_scores import Estimate, Scores
from benchmarks.images import Images
from benchmarks.machine import best_isa, command, cpu_name
from opq.threads import available_cores

Table = tuple[str, list[str], list[list[str]]]  # title, header, cells


@dataclass(frozen=True, eq=False)
class Row:
    """One compressed network. `repaired`: None where there is no choice. `ratio`: None where it cannot be chosen."""

    network: str
    method: str
    setting: str
    ratio: float | None
    repaired: bool | None
    dense_bytes: int
    candidate: Candidate
    scores: Scores
    seconds: float

    @property
    def file_rate(self) -> float:
        """Dense bytes over bytes of the file."""
        return self.dense_bytes / self.candidate.file_bytes


def tables(rows: Sequence[Row], network: str) -> list[Table]:
    """One table per ratio, with the dense network as its first row; files of no chosen size come last, in their own."""
    own = [row for row in rows if row.network == network]
    dense = [row for row in own if row.method == "dense"]
    measured = [row for row in own if row.method != "dense"]
    ratios = sorted({row.ratio for row in measured if row.ratio is not None})
    groups = [(f"{network}, {ratio:g}x", [row for row in measured if row.ratio == ratio]) for ratio in ratios]
    groups.append((f"{network}, files of whatever size", [row for row in measured if row.ratio is None]))
    labelled, yes_or_no = dense[0].scores.top1 is not None, network == "open-nsfw"
    header = ["method", "repairs"]
    header += ["top-1 %", "top-5 %"] if labelled else []
    header += ["agreement %", "KL"]
    header += ["change of probability"] if yes_or_no else []
    header += ["file rate", "packed rate", "paper rate", "zeros %", "seconds", "setting"]
    return [
        (title, header, [cells(row, yes_or_no) for row in [*dense, *group]])
        for title, group in groups
        if group
    ]  # fmt: skip


def cells(row: Row, yes_or_no: bool) -> list[str]:
    """One row as text."""
    scores, candidate = row.scores, row.candidate
    result = [row.method, {None: "-", True: "yes", False: "no"}[row.repaired]]
    if scores.top1 is not None and scores.top5 is not None:
        result += [_percent(scores.top1), f"{100.0 * scores.top5.mean:.1f}"]
    is_dense = row.method == "dense"
    result += ["-", "-"] if is_dense else [_percent(scores.agreement), _interval(scores.divergence)]
    if yes_or_no:
        result.append("-" if is_dense else _interval(scores.change))
    rates = [row.file_rate, candidate.packed_rate, candidate.paper_rate]
    result += ["-" if rate is None else f"{rate:.2f}" for rate in rates]
    result.append("-" if candidate.sparsity is None else f"{100.0 * candidate.sparsity:.1f}")
    return [*result, "-" if is_dense else f"{row.seconds:.1f}", row.setting or "-"]


def _percent(value: Estimate) -> str:
    return f"{100.0 * value.mean:.1f} ({100.0 * value.low:.1f}-{100.0 * value.high:.1f})"


def _interval(value: Estimate) -> str:
    return f"{value.mean:.3g} ({value.low:.3g}-{value.high:.3g})"


def markdown(rows: Sequence[Row], images: Images, threads: int, plots: Mapping[str, Path], folder: Path) -> str:
    """All tables, with what is needed to judge and to repeat them. Links to `plots` are relative to `folder`."""
    versions = ", ".join([
        f"opq {opq.__version__}", f"ONNX Runtime {version('onnxruntime')}", f"Python {platform.python_version()}",
        f"NumPy {np.__version__}",
    ])  # fmt: skip
    lines = [
        "# Fidelity of compressed networks",
        "",
        f"Written by `{command('benchmarks/fidelity.py', sys.argv[1:])}`",
        f"on {datetime.date.today().isoformat()}: {cpu_name()}, {available_cores()} cores, {threads} threads, instruction set",
        f"{best_isa()}; {versions}.",
        "",
        f"Photographs: {images.source}.",
        _LABELLED if images.labels is not None else _UNLABELLED,
        "",
        *_NOTES.format(tolerance=100.0 * TOLERANCE).splitlines(),
    ]
    for network in dict.fromkeys(row.network for row in rows):
        lines += ["", f"## {network}"]
        if network in plots:
            lines += ["", f"![Curves of {network}]({os.path.relpath(plots[network], folder)})"]
        for title, header, body in tables(rows, network):
            lines += ["", f"### {title}", "", f"| {' | '.join(header)} |", "|---" * len(header) + "|"]
            lines += [f"| {' | '.join(row)} |" for row in body]
    return "\n".join(lines) + "\n"


_LABELLED = "They are read for accuracy before against after; no claim about the networks' accuracy is made."
_UNLABELLED = "They have no labels: agreement with the dense network stands in for accuracy."

_NOTES = """\
No fine-tuning anywhere. opq sees no photograph. In parentheses: 95 % intervals by bootstrap over the photographs. KL is the
divergence of the compressed network's class probabilities from the dense one's, in nats. The rates: dense bytes (4 for every
parameter) over the bytes of the file, and over those of the weights in memory; the literature's, which counts survivors only.

Beside opq, all at the same file bytes (within {tolerance:.0f} % below) and with the same entropy coder:

* uniform rate, w = 1: opq's quantizer with another weighting of the layers: equal bits per weight in all, plain squared error.
* uniform sparsity, global magnitude: thresholds by layer or one for all, and a step of max|w| / K per layer.
* k-means: Deep Compression's codebooks, on either pruning. Their file has its float centroids beside the coded indices.
* per-channel int8 and int4: max|w| / K per output channel, nothing pruned; their files have the size they have.
* ONNX Runtime int8: its static quantization, calibrated on 32 of the photographs.

Where a method has settings, the one with the least KL on 50 of the photographs is shown, for every row anew: an advantage
over opq. "repairs" are opq's corrections of scales and biases from BatchNorm's statistics, given to every method; "-" where
that cannot be. Weights are compressed as they are in the file: BatchNorm is still apart in the MobileNets, folded in open-nsfw.
"""

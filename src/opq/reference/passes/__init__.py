"""The passes over the weights of a layer: what `opq.compress` measures, chooses and counts. The core has each under its name.

Weights are float32 [rows, length] in C order and finite, scale is float32 [channels]; row r belongs to channel r % channels, so
that the channel axis may have others before it. A layer without channel scales has one, 1. All look at the magnitudes

    m = |w| / scale[channel]

one float32 division, whose results the core has to the bit, at any number of threads: what is rounded is rounded where it says
so here, and sums have one order (`lane_sums`).
"""

from opq.reference.passes.codes import nearest_codes, squared_error
from opq.reference.passes.rate_aware import count_codes, rate_aware_codes
from opq.reference.passes.row_sums import row_sums
from opq.reference.passes.statistics import all_finite, channel_energies, histogram, moments

__all__ = [
    "all_finite",
    "channel_energies",
    "count_codes",
    "histogram",
    "moments",
    "nearest_codes",
    "rate_aware_codes",
    "row_sums",
    "squared_error",
]

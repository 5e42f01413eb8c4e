"""Pictures of a compression, drawn with matplotlib (the extra `plot`) and without pyplot or any other global state.

Each `draw_...` fills a figure from plain data; `figures` makes empty figures and writes them.
"""

from opq.plotting.figures import check_picture, inline_svg, new_figure, save_figure
from opq.plotting.histogram import draw_histogram
from opq.plotting.layers import draw_layers, layers_height
from opq.plotting.page import report_page
from opq.plotting.pareto import draw_pareto

__all__ = [
    "check_picture",
    "draw_histogram",
    "draw_layers",
    "draw_pareto",
    "inline_svg",
    "layers_height",
    "new_figure",
    "report_page",
    "save_figure",
]

"""The instruction set that the core uses, chosen for a while."""

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def instruction_set(isa: str | None) -> Iterator[None]:
    """`isa` for networks that are loaded inside; None: as it was."""
    before = os.environ.get("OPQ_ISA")
    if isa is not None:
        os.environ["OPQ_ISA"] = isa
    try:
        yield
    finally:
        os.environ.pop("OPQ_ISA", None)
        if before is not None:
            os.environ["OPQ_ISA"] = before

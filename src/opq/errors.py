"""The errors that `opq` raises on purpose. All are `ValueError`s with a one-line message."""


class FormatError(ValueError):
    """A file is damaged, truncated, or not what its name says."""


class UnsupportedError(ValueError):
    """A network or tensor needs something that `opq` does not have."""


class BudgetError(ValueError):
    """A budget (size, ratio, sparsity, bits) is impossible or contradictory."""

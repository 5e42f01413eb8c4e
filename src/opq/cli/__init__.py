"""The command `opq`: one module per sub-command."""

from opq.cli.main import main

__all__ = ["main"]

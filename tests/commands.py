"""The command in this process: quicker than a new interpreter for every call."""

from __future__ import annotations

from typing import Any

from opq.cli import main


def run_command(capsys: Any, *arguments: object, status: int = 0) -> Any:
    """Runs `opq` with these arguments and returns what it wrote to `out` and `err`."""
    capsys.readouterr()
    result = main([str(argument) for argument in arguments])
    written = capsys.readouterr()
    assert result == status, written.err
    return written


def failure(capsys: Any, *arguments: object) -> str:
    """The last line of a command that fails."""
    line: str = run_command(capsys, *arguments, status=1).err.splitlines()[-1]
    assert line.startswith("opq: ")
    return line

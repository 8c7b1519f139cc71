"""Tables on the terminal."""

from collections.abc import Sequence


def columns(rows: Sequence[Sequence[str]]) -> str:
    """Rows of text as lines, padded to columns."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows)


def megabytes(count: int) -> str:
    """Bytes in MB."""
    return f"{count / 1e6:.1f} MB"

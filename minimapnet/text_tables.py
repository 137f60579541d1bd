"""Tables as lines of text."""


def aligned(rows: list[list[str]]) -> str:
    """Write rows of equal length as a table: the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *others in rows:
        cells = [first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True))]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def amount(masked: int | float) -> str:
    """Write a number of tokens as it is, and a share of them in percent."""
    return f"{100 * masked:.0f} %" if 0 < masked < 1 else f"{masked:g}"

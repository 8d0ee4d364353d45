"""Tables for people: rows of text become Markdown with aligned columns."""

from collections.abc import Sequence

from edge_app.statistics.intervals import Figure


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; columns of numbers stand to the right.

    Raises:
        ValueError: a row has another number of cells than the header.
    """
    columns = list(zip(header, *rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    right = [all(map(_is_number, column[1:])) for column in columns]

    def line(cells: Sequence[str]) -> str:
        aligned = [
            cell.rjust(width) if is_right else cell.ljust(width)
            for cell, width, is_right in zip(cells, widths, right, strict=True)
        ]
        return f"| {' | '.join(aligned)} |"

    rule = [
        f"{'-' * (width - 1)}:" if is_right else "-" * width
        for width, is_right in zip(widths, right, strict=True)
    ]
    return "\n".join([line(header), line(rule), *(line(row) for row in rows)])


def short(figure: Figure | None) -> str:
    """Such as `0.991 (0.985 to 0.995)`, or a dash."""
    return f"{figure.value:.3f} ({figure.low:.3f} to {figure.high:.3f})" if figure else "-"


def _is_number(text: str) -> bool:
    try:
        float(text.rstrip("%"))
    except ValueError:
        return False
    return True

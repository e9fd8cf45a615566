"""A report as one HTML page that needs no other file and no network."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #1c2026; max-width: 1120px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.25rem; margin-top: 2.4rem; border-bottom: 1px solid #d8dce2; }
h3 { font-size: 1.05rem; margin: 1.6rem 0 .4rem; }
code { background: #f2f4f7; padding: 0 .25em; overflow-wrap: anywhere; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .88rem; }
th { text-align: right; font-weight: 600; border-bottom: 2px solid #b9c0ca; vertical-align: bottom; }
th, td { padding: .22rem .6rem; white-space: nowrap; }
td { text-align: right; border-bottom: 1px solid #eceff3; }
th:first-child, td:first-child { text-align: left; }
tr.published td { background: #fbf5e6; color: #5b4a1c; font-style: italic; }
tr.published td:last-child { white-space: normal; min-width: 14rem; text-align: left; }
.tag { font: 600 .68rem/1 system-ui, sans-serif; background: #e6cf8b; color: #4a3a0d; border-radius: 3px; }
.tag { padding: .15em .4em; }
td.best { font-weight: 700; }
img { max-width: 100%; height: auto; }
p.note, li.note { color: #555d68; font-size: .88rem; }
""".strip()


@dataclass(frozen=True)
class Line:
    """One line of a table.

    Attributes:
        cells: texts, the name first.
        published: a figure from elsewhere, shown as such.
        best: numbers of the cells that are the best of our lines.
    """

    cells: tuple[str, ...]
    published: bool = False
    best: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Table:
    """A table with its header."""

    header: tuple[str, ...]
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Picture:
    """A matplotlib figure with the name of its file (without ending) and what it shows."""

    name: str
    figure: Any
    caption: str


@dataclass(frozen=True)
class Heading:
    """A heading of level 1 to 3."""

    text: str
    level: int = 2


Block = Heading | Table | Picture | str
"""A page is a sequence of these; a plain text is a paragraph."""


def png(figure: Any) -> bytes:
    """A matplotlib figure as PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150, facecolor="white")
    return buffer.getvalue()


def as_html(title: str, blocks: Sequence[Block]) -> str:
    """The whole page."""
    body = "\n".join(_html(block) for block in blocks)
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{escape(title)}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<style>\n{STYLE}\n</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def as_markdown(blocks: Sequence[Block]) -> str:
    """The same page as Markdown; pictures lie beside it as `<name>.png`."""
    return "\n\n".join(_markdown(block) for block in blocks) + "\n"


def _html(block: Block) -> str:
    if isinstance(block, Heading):
        return f"<h{block.level}>{escape(block.text)}</h{block.level}>"
    if isinstance(block, Picture):
        data = base64.b64encode(png(block.figure)).decode()
        caption = escape(block.caption)
        return f'<p><img alt="{caption}" src="data:image/png;base64,{data}"></p>\n<p class="note">{caption}</p>'
    if isinstance(block, str):
        return f'<p class="note">{escape(block)}</p>'
    header = "".join(f"<th>{escape(text)}</th>" for text in block.header)
    lines = "\n".join(_html_line(line) for line in block.lines)
    return f'<div class="wide"><table>\n<thead><tr>{header}</tr></thead>\n<tbody>\n{lines}\n</tbody>\n</table></div>'


def _html_line(line: Line) -> str:
    cells = []
    for number, text in enumerate(line.cells):
        tag = ' <span class="tag">published</span>' if line.published and number == 0 else ""
        kind = ' class="best"' if number in line.best else ""
        cells.append(f"<td{kind}>{escape(text)}{tag}</td>")
    kind = ' class="published"' if line.published else ""
    return f"<tr{kind}>{''.join(cells)}</tr>"


def _markdown(block: Block) -> str:
    if isinstance(block, Heading):
        return f"{'#' * block.level} {block.text}"
    if isinstance(block, Picture):
        return f"![{block.caption}]({block.name}.png)\n\n{block.caption}"
    if isinstance(block, str):
        return block
    lines = [f"| {' | '.join(block.header)} |", "|" + "---|" * len(block.header)]
    for line in block.lines:
        cells = [text.replace("|", "\\|") for text in line.cells]
        cells = [f"**{text}**" if number in line.best else text for number, text in enumerate(cells)]
        if line.published:
            cells = [f"*{text}*" if text.strip() else text for text in cells]
            cells[0] += " (published)"
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)

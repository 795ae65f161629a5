"""Tables that commands write into a Markdown page, between marks, so that they can be updated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from spatial3d_ros.errors import ConfigError


def write_section(page: Path, mark: str, title: str, text: str) -> None:
    """Write text between the marks `<!-- mark -->` and `<!-- end mark -->`, or without marks at the
    end of the page under a heading.

    Raises ConfigError when the page has the first mark only.
    """
    begin, end = f"<!-- {mark} -->", f"<!-- end {mark} -->"
    old = page.read_text() if page.is_file() else ""
    if begin not in old:
        old = f"{old.rstrip()}\n\n## {title}\n\n{begin}\n{end}\n".lstrip()
    before, rest = old.split(begin, 1)
    if end not in rest:
        raise ConfigError(f"{page}: the mark '{begin}' has no '{end}' after it; add it by hand")
    after = rest.split(end, 1)[1]
    page.write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}")


@dataclass(frozen=True)
class TextTable:
    """A table of texts; the first column names the rows."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]

    def markdown(self) -> str:
        """For a Markdown page, without the title."""
        lines = [self.head, ("---", *["---:"] * (len(self.head) - 1)), *self.rows]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)

    def table(self) -> Table:
        """For the terminal."""
        table = Table(title=self.title, title_justify="left", pad_edge=False)
        for k, heading in enumerate(self.head):
            table.add_column(heading, justify="right" if k else "left")
        for row in self.rows:
            table.add_row(*row)
        return table

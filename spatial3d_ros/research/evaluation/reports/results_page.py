"""Tables that commands write into a page of results, between marks, so that they can be renewed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from spatial3d_ros.errors import ConfigError


def write_section(page: Path, mark: str, title: str, text: str) -> None:
    """Put text between the marks `<!-- mark -->` and `<!-- end mark -->`; without marks, at the end
    under a heading.

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


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table whose first column is words and whose others are figures."""
    lines = [f"| {' | '.join(head)} |", f"|---|{'---:|' * (len(head) - 1)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])

"""Public files as validated records: JSON, JSON lines and CSV, each also gzipped.

A missing field or an invalid value raises ConfigError naming file, entry (for JSON) or line, and
field. Unknown fields are ignored: releases differ in extra fields.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from ast import literal_eval
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    FiniteFloat,
    ValidationError,
)

from spatial3d_ros.errors import ConfigError


class Record(BaseModel):
    """One entry of a public file; numbers may be quoted."""

    model_config = ConfigDict(frozen=True, extra="ignore", coerce_numbers_to_str=True)


def _literal(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return literal_eval(value)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise ValueError(f"'{value[:40]}' is not a Python list") from error


RecordType = TypeVar("RecordType", bound=Record)
Point = tuple[FiniteFloat, FiniteFloat, FiniteFloat]
FiniteSize = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Size = tuple[FiniteSize, FiniteSize, FiniteSize]
TextList = Annotated[tuple[str, ...], BeforeValidator(_literal)]
"""A list of strings, or, in CSV files, its text."""


def read_json(path: str | Path) -> Any:
    """The whole of a JSON file."""
    return _json(_text(path), f"{path}")


def read_entries(path: str | Path, kind: type[RecordType], key: str = "") -> list[RecordType]:
    """The list at the top of a JSON file, or under `key` in it."""
    data = read_json(path)
    if key:
        data = data.get(key) if isinstance(data, dict) else None
    if not isinstance(data, list):
        where = f"under '{key}'" if key else "at the top"
        raise ConfigError(f"{path}: expected a list {where}; is this the right file?")
    return [_record(kind, value, f"{path}: entry {k}") for k, value in enumerate(data)]


def read_lines(path: str | Path, kind: type[RecordType]) -> list[RecordType]:
    """A file with one JSON object per line; empty lines are skipped."""
    records = []
    for number, line in enumerate(_text(path).splitlines(), 1):
        if not line.strip():
            continue
        value = _json(line, f"{path}: line {number}")
        records.append(_record(kind, value, f"{path}: line {number}"))
    return records


def read_table(path: str | Path, kind: type[RecordType], delimiter: str = ",") -> list[RecordType]:
    """A CSV file whose first line names the columns. Fields may span several lines."""
    reader = csv.DictReader(io.StringIO(_text(path), newline=""), delimiter=delimiter, strict=True)
    needed = {name for name, field in kind.model_fields.items() if field.is_required()}
    records = []
    try:
        missing = sorted(needed - set(reader.fieldnames or ()))
        if missing:
            raise ConfigError(
                f"{path}: line 1: no column {', '.join(missing)}; is this the right file?"
            )
        for row in reader:
            filled = {name: value for name, value in row.items() if value not in (None, "")}
            records.append(_record(kind, filled, f"{path}: line {reader.line_num}"))
    except csv.Error as error:
        line = max(reader.line_num, 1)
        raise ConfigError(f"{path}: line {line}: invalid CSV ({error})") from error
    return records


def unique_by(records: Iterable[RecordType], path: str | Path, *names: str) -> None:
    """Raise ConfigError when two records agree in all fields `names`."""
    seen = set()
    for record in records:
        key = tuple(getattr(record, name) for name in names)
        if key in seen:
            duplicate = ", ".join(f"{n} {v}" for n, v in zip(names, key, strict=True))
            raise ConfigError(f"{path}: duplicate {duplicate}; keep one of them")
        seen.add(key)


def _record(kind: type[RecordType], value: Any, where: str) -> RecordType:
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        raise ConfigError(f"{where}: {'; '.join(_messages(error))}") from error


def _messages(error: ValidationError) -> Iterator[str]:
    for one in error.errors()[:3]:
        message = one["msg"].removeprefix("Value error, ")
        if one["loc"]:
            found = "nothing" if one["type"] == "missing" else repr(one["input"])[:60]
            message = f"{'.'.join(map(str, one['loc']))}: {message} (found {found})"
        yield message


def _json(text: str, where: str) -> Any:
    """Raises ConfigError also for excessive nesting and for numbers of thousands of digits."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{where}: invalid JSON ({error})") from error


def _text(path: str | Path) -> str:
    path = Path(path)
    try:
        data = path.read_bytes()
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
        return data.decode("utf-8-sig")
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such file") from error
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({error})") from error

"""Reads files of questions: YAML with `queries`, or one question a line."""

from __future__ import annotations

from pathlib import Path

from spatial3d_ros.errors import ConfigError
from spatial3d_ros.storage import read_yaml


def read_questions(path: Path) -> list[str]:
    """Questions of a YAML file with `queries`, or of a text file with one question a line.

    Raises ConfigError naming the file if it is missing, invalid, or has no question.
    """
    if not path.is_file():
        raise ConfigError(f"{path}: no such file")
    if path.suffix in (".yaml", ".yml"):
        data = read_yaml(path)
        try:
            found = [str(query["text"]) for query in data["queries"]]
        except (KeyError, TypeError) as error:
            raise ConfigError(
                f"{path}: expected `queries:` with a `text` each ({error})"
            ) from error
    else:
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: cannot be read ({error})") from error
        lines = (line.strip() for line in text.splitlines())
        found = [line for line in lines if line and not line.startswith("#")]
    if not found:
        raise ConfigError(f"{path}: no questions")
    return found

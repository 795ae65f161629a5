"""The queries file of a bag: questions, their times and their true answers.

    frame_id: map
    queries:
      - {id: q1, kind: ground, at: end, text: "the blue chair", expect: {center: [1, 2, 0.5],
         size: [0.5, 0.5, 1]}}
      - {id: q2, kind: distance, at: 12.5, text: "how far is the lamp from the sofa",
         expect: {distance: 2.31, measure: center}}
      - {id: q3, kind: ask, at: end, text: "what colour is the lamp", expect: {text: [blue]}}
      - {id: q4, kind: layout, at: end, text: "move the chair 0.5 m towards the window", expect:
         {before: {center: [1, 2, 0.5], size: [0.5, 0.5, 1]},
          after: {center: [1.5, 2, 0.5], size: [0.5, 0.5, 1]}}}
      - {id: q5, kind: layout, at: end, text: "put the bed on the lamp", expect: {possible: false}}

`at` counts seconds from the first message of the bag. All lengths are metres, all positions are in
`frame_id`. Without `expect` the answer is reported and not judged. "describe the lamp" asks for a
caption. For a layout, only the keys given in `expect` are checked.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from spatial3d_ros.errors import ConfigError
from spatial3d_ros.geometry.box import Box3D, vector
from spatial3d_ros.storage import read_yaml

MAX_M = 100.0  # a larger number is probably in centimetres
KINDS = ("ground", "distance", "ask", "layout")
SHOWN = 4  # problems in one message

Coordinate = Annotated[float, Field(allow_inf_nan=False)]
Length = Annotated[float, Field(ge=0, le=MAX_M, allow_inf_nan=False)]
Size = Annotated[float, Field(gt=0, le=MAX_M, allow_inf_nan=False)]
Words = Annotated[str, Field(min_length=1, pattern=r"\S")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class ExpectedBox(_Strict):
    """An upright box along the axes of the frame, or `no_target: true`: no object matches."""

    center: list[Coordinate] | None = Field(None, min_length=3, max_length=3)
    size: list[Size] | None = Field(None, min_length=3, max_length=3)
    no_target: bool = False

    @model_validator(mode="after")
    def _one_of_both(self) -> ExpectedBox:
        given = (self.center is not None, self.size is not None)
        if given != (not self.no_target,) * 2:
            raise ValueError("needs center and size, or no_target: true alone")
        return self

    @property
    def box(self) -> Box3D | None:
        """The true box; None if no object matches."""
        if self.center is None or self.size is None:
            return None
        return Box3D(vector(self.center), vector(self.size))


class ExpectedDistance(_Strict):
    """Metres between the centers, or between the nearest points, of two objects."""

    distance: Length
    measure: Literal["center", "surface"] = "center"


class ExpectedText(_Strict):
    """Answers that count as right."""

    text: list[Words] = Field(min_length=1)


class UprightBox(_Strict):
    """An upright box along the axes of the frame."""

    center: list[Coordinate] = Field(min_length=3, max_length=3)
    size: list[Size] = Field(min_length=3, max_length=3)

    @property
    def box(self) -> Box3D:
        """As a Box3D."""
        return Box3D(vector(self.center), vector(self.size))


class ExpectedEdit(_Strict):
    """Whether the edit is possible, and the box of the changed object before and after it."""

    possible: bool = True
    before: UprightBox | None = None
    after: UprightBox | None = None

    @model_validator(mode="after")
    def _check_keys(self) -> ExpectedEdit:
        if not self.model_fields_set:
            raise ValueError("is empty; give some of possible, before and after, or leave it out")
        if self.after and not self.possible:
            raise ValueError("possible: false has no after")
        return self


class _Query(_Strict):
    id: Words
    at: Annotated[float, Field(ge=0, allow_inf_nan=False)] | Literal["end"] = "end"
    text: Words

    @property
    def seconds(self) -> float:
        """Seconds after the first message; infinite for the end."""
        return float("inf") if self.at == "end" else float(self.at)


class GroundQuery(_Query):
    """The object of a description."""

    kind: Literal["ground"]
    expect: ExpectedBox | None = None


class DistanceQuery(_Query):
    """The distance between two objects."""

    kind: Literal["distance"]
    expect: ExpectedDistance | None = None


class AskQuery(_Query):
    """A question with a free-form answer."""

    kind: Literal["ask"]
    expect: ExpectedText | None = None


class LayoutQuery(_Query):
    """A change of the layout; the edit is proposed, never applied."""

    kind: Literal["layout"]
    expect: ExpectedEdit | None = None


Query = GroundQuery | DistanceQuery | AskQuery | LayoutQuery


class NamedObject(_Strict):
    """An upright object with its label; `what` tells objects of one label apart for people."""

    label: Words
    what: str = ""
    center: list[Coordinate] = Field(min_length=3, max_length=3)
    size: list[Size] = Field(min_length=3, max_length=3)
    yaw: Annotated[float, Field(allow_inf_nan=False)] = 0.0

    @property
    def box(self) -> Box3D:
        """As a Box3D."""
        return Box3D(vector(self.center), vector(self.size), self.yaw)


class NamesFile(_Strict):
    """True objects of a recording: their labels and boxes in `frame_id`."""

    frame_id: Words
    objects: list[NamedObject] = Field(min_length=1)


class QueryFile(_Strict):
    """All questions about a bag, in the order of the file."""

    frame_id: Words
    queries: list[Annotated[Query, Field(discriminator="kind")]] = Field(min_length=1)

    @model_validator(mode="after")
    def _ids_differ(self) -> QueryFile:
        ids = [query.id for query in self.queries]
        twice = sorted({name for name in ids if ids.count(name) > 1})
        if twice:
            raise ValueError(f"id {', '.join(twice)} is used more than once")
        return self

    def by_time(self) -> list[Query]:
        """In the order of their times; queries of the same time in the order of the file."""
        return sorted(self.queries, key=lambda query: query.seconds)


def read_queries(path: str | Path) -> QueryFile:
    """Read and check a file. Raises ConfigError that names file, question and key."""
    return _read(Path(path), QueryFile)


def read_names(path: str | Path) -> NamesFile:
    """Read and check a file of true objects. Raises ConfigError that names file, object and key."""
    return _read(Path(path), NamesFile)


File = TypeVar("File", bound=BaseModel)


def _read(path: Path, kind: type[File]) -> File:
    data = read_yaml(path)
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        problems = list(dict.fromkeys(_problem(dict(item), data) for item in error.errors()))
        more = f"; and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        raise ConfigError(f"{path}: {'; '.join(problems[:SHOWN])}{more}") from error


def _problem(error: dict[str, Any], data: Any) -> str:
    """A validation error as text: question or object, key, value and what is expected."""
    where = list(error["loc"])
    name = ""
    if where[:1] in (["queries"], ["objects"]) and len(where) > 1:
        number = where[1]
        entry = data[where[0]][number]
        key, noun = ("id", "question") if where[0] == "queries" else ("label", "object")
        known = isinstance(entry, dict) and isinstance(entry.get(key), str)
        name = f"{entry[key] if known else f'{noun} {number + 1}'}: "
        where = where[2:]
        if where[:1] and where[0] in KINDS:  # the kind it was validated as
            where = where[1:]
        if where[:1] == ["at"]:  # pydantic adds the two possible types
            where = where[:1]
    key = ".".join(map(str, where))
    return f"{name}{key + ': ' if key else ''}{_explanation(error, key)}"


def _explanation(error: dict[str, Any], key: str) -> str:
    kind, value = error["type"], error["input"]
    metric = "center" in key or "size" in key or key == "expect.distance"
    if kind == "missing":
        return "is missing"
    if kind == "extra_forbidden":
        return "unknown key; `spatial3d evaluate bag --help` shows the format"
    if kind.startswith("union_tag"):
        return f"kind must be {', '.join(KINDS[:-1])} or {KINDS[-1]}"
    if kind == "value_error":
        return str(error["ctx"]["error"])
    if kind == "less_than_equal" and metric:
        return f"{value!r} is more than {MAX_M:.0f} m; lengths are metres, not centimetres"
    if metric and isinstance(value, str):
        return f"{value!r} is not a number; give metres without a unit, such as 2.31"
    if key == "at":
        return f"{value!r} is neither seconds (a number from 0 on, without a unit) nor `end`"
    if kind in ("model_type", "model_attributes_type", "list_type"):
        return f"{value!r} is not {'a list' if kind == 'list_type' else 'keys with values'}"
    if kind == "string_type":
        return f"{value!r} is not text; put it in quotes"
    return f"{value!r}: {error['msg'][0].lower()}{error['msg'][1:]}"

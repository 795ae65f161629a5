"""The file of questions for a bag: what is asked, when, and what the answer should be.

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

`at` counts seconds from the first message of the bag. All lengths are metres, all positions in
`frame_id`. Of a question without `expect` the answer is only reported. Captions are asked for with
"describe the lamp"; of a layout, what is not told in `expect` may be anything.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from spatial3d_ros.errors import ConfigError
from spatial3d_ros.geometry.box import Box3D
from spatial3d_ros.storage import read_yaml

MAX_M = 100.0  # no room is larger: a larger number is one of centimetres
KINDS = ("ground", "distance", "ask", "layout")
SHOWN = 4  # problems named at once

Coordinate = Annotated[float, Field(allow_inf_nan=False)]
Length = Annotated[float, Field(ge=0, le=MAX_M, allow_inf_nan=False)]
Size = Annotated[float, Field(gt=0, le=MAX_M, allow_inf_nan=False)]
Words = Annotated[str, Field(min_length=1, pattern=r"\S")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class ExpectedBox(_Strict):
    """An upright box along the axes of the frame, or `no_target: true`: nothing fits."""

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
        """The true box; None when nothing fits."""
        if self.center is None or self.size is None:
            return None
        return Box3D(tuple(self.center), tuple(self.size))


class ExpectedDistance(_Strict):
    """Metres between the centres, or between the nearest points, of two things."""

    distance: Length
    measure: Literal["center", "surface"] = "center"


class ExpectedText(_Strict):
    """Answers that count as right."""

    text: list[Words] = Field(min_length=1)


class Place(_Strict):
    """An upright box along the axes of the frame."""

    center: list[Coordinate] = Field(min_length=3, max_length=3)
    size: list[Size] = Field(min_length=3, max_length=3)

    @property
    def box(self) -> Box3D:
        """The same as a box."""
        return Box3D(tuple(self.center), tuple(self.size))


class ExpectedEdit(_Strict):
    """What changes, where it stands then, and whether there is room for it at all."""

    possible: bool = True
    before: Place | None = None
    after: Place | None = None

    @model_validator(mode="after")
    def _after_needs_room(self) -> ExpectedEdit:
        if not self.model_fields_set:
            raise ValueError("is empty; tell some of possible, before and after, or leave it out")
        if self.after and not self.possible:
            raise ValueError("of what is not possible there is no after")
        return self


class _Query(_Strict):
    id: Words
    at: Annotated[float, Field(ge=0, allow_inf_nan=False)] | Literal["end"] = "end"
    text: Words

    @property
    def seconds(self) -> float:
        """When it is asked; infinite for the end."""
        return float("inf") if self.at == "end" else float(self.at)


class GroundQuery(_Query):
    """Which object does a description mean?"""

    kind: Literal["ground"]
    expect: ExpectedBox | None = None


class DistanceQuery(_Query):
    """How far are two things apart?"""

    kind: Literal["distance"]
    expect: ExpectedDistance | None = None


class AskQuery(_Query):
    """Any question, answered in words."""

    kind: Literal["ask"]
    expect: ExpectedText | None = None


class LayoutQuery(_Query):
    """How should the furniture stand? The edit is proposed, never applied."""

    kind: Literal["layout"]
    expect: ExpectedEdit | None = None


Query = GroundQuery | DistanceQuery | AskQuery | LayoutQuery


class QueryFile(_Strict):
    """All questions about a bag, in the order of the file."""

    frame_id: Words
    queries: list[Annotated[Query, Field(discriminator="kind")]] = Field(min_length=1)

    @model_validator(mode="after")
    def _ids_differ(self) -> QueryFile:
        ids = [query.id for query in self.queries]
        twice = sorted({name for name in ids if ids.count(name) > 1})
        if twice:
            raise ValueError(f"id {', '.join(twice)} stands there more than once")
        return self

    def in_time(self) -> list[Query]:
        """In the order in which they are asked; of one moment, as in the file."""
        return sorted(self.queries, key=lambda query: query.seconds)


def read_queries(path: str | Path) -> QueryFile:
    """Read and check a file. Raises ConfigError that names file, question and key."""
    path = Path(path)
    data = read_yaml(path)
    try:
        return QueryFile.model_validate(data)
    except ValidationError as error:
        problems = list(dict.fromkeys(_problem(item, data) for item in error.errors()))
        more = f"; and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        raise ConfigError(f"{path}: {'; '.join(problems[:SHOWN])}{more}") from error


def _problem(error: dict[str, Any], data: Any) -> str:
    """One finding of pydantic in words: where, what stands there, and the way out."""
    where = list(error["loc"])
    name = ""
    if where[:1] == ["queries"] and len(where) > 1:
        number = where[1]
        entry = data["queries"][number]
        known = isinstance(entry, dict) and isinstance(entry.get("id"), str)
        name = f"{entry['id'] if known else f'question {number + 1}'}: "
        where = where[2:]
        if where[:1] and where[0] in KINDS:  # which kind it was read as
            where = where[1:]
        if where[:1] == ["at"]:  # the two forms it may have follow
            where = where[:1]
    key = ".".join(map(str, where))
    return f"{name}{key + ': ' if key else ''}{_words(error, key)}"


def _words(error: dict[str, Any], key: str) -> str:
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

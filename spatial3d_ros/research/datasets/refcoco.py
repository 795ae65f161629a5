"""RefCOCO, RefCOCO+ and RefCOCOg: referring expressions for boxes of a photograph.

Read from JSON, in either form that is public:

- `instances.json` (COCO: images, annotations, categories) with a list of references
  {ref_id, ann_id, image_id, split, sentences: [{sent}]}. The release has these as a pickle,
  `refs(unc).p`, which is refused: reading a pickle runs the code in it.
- Rows with {file_name, ref_id, split, sentences, raw_anns, raw_image_info} as exported from the
  Hugging Face data sets, a JSON list or JSON lines. Boxes of a picture are those that any of its
  rows refers to.

`write_refcoco` writes the first form.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spatial3d_ros.errors import ConfigError
from spatial3d_ros.research.datasets.files import Record, read_entries, read_lines

Corners = tuple[float, float, float, float]
CONVERSION = (
    'convert it where you trust the file: python -c "import json, pickle, sys; '
    "json.dump(pickle.load(open(sys.argv[1], 'rb')), open('refs.json', 'w'))\" 'refs(unc).p'"
)


@dataclass(frozen=True)
class Reference:
    """An annotation of a picture, by its place in `Photograph.boxes`, and what it is called."""

    target: int
    sentences: tuple[str, ...]


@dataclass(frozen=True)
class Photograph:
    """A picture with all its boxes: pixels (left, top, right, bottom), and the category of each, ""
    where it is not known.
    """

    file: str
    size: tuple[int, int]
    boxes: tuple[Corners, ...]
    labels: tuple[str, ...]
    references: tuple[Reference, ...]


class _Sentence(Record):
    sent: str = ""
    raw: str = ""

    @property
    def text(self) -> str:
        return self.sent or self.raw


class _Reference(Record):
    ann_id: int
    image_id: int
    split: str
    sentences: tuple[_Sentence, ...]


class _Row(Record):
    file_name: str
    split: str
    sentences: tuple[_Sentence, ...]
    raw_anns: str
    raw_image_info: str


class _Image(Record):
    id: int
    file_name: str
    width: int
    height: int


class _Annotation(Record):
    id: int
    image_id: int
    category_id: int = -1
    bbox: Corners


class _Category(Record):
    id: int
    name: str


def read_refcoco(
    references: str | Path, instances: str | Path | None = None, split: str | None = None
) -> list[Photograph]:
    """The pictures of a split ("val", "testA", ...), or of all. `instances` is needed for the first
    form. Raises ConfigError naming file, entry and field, for pickles and Parquet with the
    conversion that is needed, and where a split has no references.
    """
    path = Path(references)
    if path.suffix in (".p", ".pkl", ".pickle"):
        raise ConfigError(f"{path}: a pickle, and reading one runs the code in it; {CONVERSION}")
    if path.suffix == ".parquet":
        raise ConfigError(
            f"{path}: Parquet; convert it to JSON lines: pandas.read_parquet('{path.name}')"
            ".to_json('refs.jsonl', orient='records', lines=True)"
        )
    if instances is None:
        found, splits = _from_rows(path, split)
    else:
        found, splits = _from_instances(path, Path(instances), split)
    if not found:
        there = f"; there are {', '.join(sorted(splits))}" if splits else ""
        raise ConfigError(f"{path}: no references of split {split}{there}")
    return found


def _from_instances(
    path: Path, instances: Path, split: str | None
) -> tuple[list[Photograph], set[str]]:
    refs = read_entries(path, _Reference)
    images = {one.id: one for one in read_entries(instances, _Image, "images")}
    names = {one.id: one.name for one in read_entries(instances, _Category, "categories")}
    boxes: dict[int, dict[int, _Annotation]] = {}
    for one in read_entries(instances, _Annotation, "annotations"):
        boxes.setdefault(one.image_id, {})[one.id] = one
    of_image: dict[int, list[_Reference]] = {}
    for k, ref in enumerate(refs):
        if ref.image_id not in images or ref.ann_id not in boxes.get(ref.image_id, {}):
            raise ConfigError(
                f"{path}: entry {k}: annotation {ref.ann_id} of image {ref.image_id} is not in "
                f"{instances}; take both files of one release"
            )
        if split in (None, ref.split):
            of_image.setdefault(ref.image_id, []).append(ref)
    made = []
    for image_id, asked in of_image.items():
        own, image = list(boxes[image_id].values()), images[image_id]
        place = {one.id: k for k, one in enumerate(own)}
        made.append(
            Photograph(
                image.file_name, (image.width, image.height),
                tuple(_corners(one.bbox) for one in own),
                tuple(names.get(one.category_id, "") for one in own),
                tuple(Reference(place[r.ann_id], _texts(r.sentences)) for r in asked),
            )
        )  # fmt: skip
    return made, {ref.split for ref in refs}


def _from_rows(path: Path, split: str | None) -> tuple[list[Photograph], set[str]]:
    lines = ".jsonl" in path.suffixes
    rows = read_lines(path, _Row) if lines else read_entries(path, _Row)
    of_image: dict[str, list[_Row]] = {}
    for row in rows:
        info = _inside(_Image, row.raw_image_info, path, "raw_image_info")
        of_image.setdefault(info.file_name, []).append(row)
    made = []
    for file, some in of_image.items():
        info = _inside(_Image, some[0].raw_image_info, path, "raw_image_info")
        own = {}
        asked: list[tuple[int, tuple[str, ...]]] = []
        for row in some:
            annotation = _inside(_Annotation, row.raw_anns, path, "raw_anns")
            own[annotation.id] = annotation
            if split in (None, row.split):
                asked.append((annotation.id, _texts(row.sentences)))
        place = {key: k for k, key in enumerate(own)}
        if asked:
            made.append(
                Photograph(
                    file, (info.width, info.height),
                    tuple(_corners(one.bbox) for one in own.values()), ("",) * len(own),
                    tuple(Reference(place[key], texts) for key, texts in asked),
                )
            )  # fmt: skip
    return made, {row.split for row in rows}


def _inside(kind: Any, text: str, path: Path, name: str) -> Any:
    """A record that is written as JSON in a field of another."""
    try:
        return kind.model_validate_json(text)
    except ValueError as error:
        raise ConfigError(f"{path}: {name}: {str(error).splitlines()[0]}") from error


def _corners(box: Corners) -> Corners:
    """COCO's left, top, width, height as corners."""
    return box[0], box[1], box[0] + box[2], box[1] + box[3]


def _texts(sentences: Sequence[_Sentence]) -> tuple[str, ...]:
    return tuple(one.text for one in sentences if one.text.strip())


def write_refcoco(folder: Path, photographs: Sequence[Photograph], split: str) -> None:
    """Write `instances.json` and `refs.json` of pictures whose files are in the folder."""
    names = sorted({label for one in photographs for label in one.labels})
    images, annotations, refs = [], [], []
    for image_id, one in enumerate(photographs):
        width, height = one.size
        images.append({"id": image_id, "file_name": one.file, "width": width, "height": height})
        first = len(annotations)
        for (left, top, right, bottom), label in zip(one.boxes, one.labels, strict=True):
            annotations.append({
                "id": len(annotations), "image_id": image_id, "category_id": names.index(label),
                "bbox": [left, top, right - left, bottom - top],
            })  # fmt: skip
        for reference in one.references:
            refs.append({
                "ref_id": len(refs), "ann_id": first + reference.target, "image_id": image_id,
                "split": split, "sentences": [{"sent": text} for text in reference.sentences],
            })  # fmt: skip
    categories = [{"id": k, "name": name} for k, name in enumerate(names)]
    instances = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "instances.json").write_text(json.dumps(instances) + "\n")
    (folder / "refs.json").write_text(json.dumps(refs) + "\n")

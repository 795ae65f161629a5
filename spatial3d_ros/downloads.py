"""Weights that are too large to ship: their names, repositories and verified download.

Only `spatial3d download NAME` downloads; no node imports this module. huggingface_hub transfers the
files: it resumes interrupted ones and renames them when they are complete.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from spatial3d_ros.errors import CheckpointError

Progress = Callable[[str, int, int], None]
"""Called with (file, bytes received, bytes in total)."""


@dataclass(frozen=True)
class Source:
    """A repository of the Hugging Face hub and the patterns of the files that a model needs.

    `license` is that of the weights and `megabytes` about their size, both as the hub lists them;
    the data they were trained on has terms of its own.
    """

    repository: str
    description: str
    license: str
    megabytes: int
    patterns: tuple[str, ...] = (
        "*.json", "*.safetensors", "merges.txt", "vocab.txt", "*.model", "LICENSE*", "README.md",
    )  # fmt: skip
    revision: str = "main"


ZERO_SHOT = "finds what questions name; recogniser or detector"
CLOSED_SET = "recogniser"
EMBEDDINGS = "image-text embeddings for words that no recogniser knows"
SOURCES = {
    "llava_video_7b": Source(
        "lmms-lab/LLaVA-Video-7B-Qwen2",
        "SigLIP so400m and Qwen2-7B after video training; the base of the large network",
        "Apache-2.0",
        16_000,
    ),
    "owlv2_base": Source(
        "google/owlv2-base-patch16-ensemble", f"OWLv2: {ZERO_SHOT}", "Apache-2.0", 620
    ),
    "grounding_dino_tiny": Source(
        "IDEA-Research/grounding-dino-tiny", f"Grounding DINO: {ZERO_SHOT}", "Apache-2.0", 690
    ),
    "rtdetr_r50": Source(
        "PekingU/rtdetr_r50vd_coco_o365",
        f"RT-DETR, boxes of 80 classes: {CLOSED_SET}",
        "Apache-2.0",
        172,
    ),
    "dfine_small_obj365": Source(
        "ustc-community/dfine-small-obj365",
        f"D-FINE, boxes of 365 classes: {CLOSED_SET}",
        "Apache-2.0",
        45,
    ),
    "upernet_convnext_tiny": Source(
        "openmmlab/upernet-convnext-tiny",
        f"UPerNet, a class of 150 for every pixel: {CLOSED_SET}",
        "MIT",
        240,
    ),
    "siglip_base": Source(
        "google/siglip-base-patch16-224", f"SigLIP: {EMBEDDINGS}", "Apache-2.0", 815
    ),
    "clip_b32": Source("laion/CLIP-ViT-B-32-laion2B-s34B-b79K", f"CLIP: {EMBEDDINGS}", "MIT", 605),
    "sam2_tiny": Source(
        "facebook/sam2.1-hiera-tiny",
        "SAM 2.1: masks of the detections of detector_node",
        "Apache-2.0",
        156,
    ),
}


@dataclass(frozen=True)
class RemoteFile:
    """A file and its checksum: SHA-256 of its bytes, or the git blob hash of small files."""

    name: str
    size: int
    digest: str
    is_git: bool

    def matches(self, path: Path) -> bool:
        """Whether a local file has the size and checksum of the hub's."""
        if not path.is_file() or path.stat().st_size != self.size:
            return False
        digest = hashlib.sha1(b"blob %d\0" % self.size) if self.is_git else hashlib.sha256()
        with path.open("rb") as file:
            while block := file.read(2**22):
                digest.update(block)
        return digest.hexdigest() == self.digest


def download(
    name: str,
    folder: Path,
    *,
    progress: Progress = lambda *_: None,
    endpoint: str | None = None,
) -> list[Path]:
    """Download a model into `folder` and verify every file; complete files are kept.

    `endpoint` is the address of another server with the hub's interface. Raises CheckpointError
    for an unknown name, a full disk, an unreachable hub or a damaged file.
    """
    source = SOURCES.get(name)
    if source is None:
        raise CheckpointError(f"download: '{name}' is unknown; known: {', '.join(SOURCES)}")
    with _hub_errors(name, folder):
        commit, files = _list(source, endpoint)
    missing = [file for file in files if not file.matches(folder / file.name)]
    _check_disk(folder, sum(file.size for file in missing))
    for file in missing:
        path = folder / file.name
        path.unlink(missing_ok=True)
        with _hub_errors(name, folder):
            _transfer(source, commit, file, folder, progress, endpoint)
        if not file.matches(path):
            path.unlink(missing_ok=True)
            raise CheckpointError(
                f"{path}: damaged (its checksum differs from the hub's) and removed; run the "
                "same command again"
            )
    return [folder / file.name for file in files]


def _list(source: Source, endpoint: str | None) -> tuple[str, list[RemoteFile]]:
    """The newest commit and its files that match the patterns."""
    from huggingface_hub import HfApi

    info = HfApi(endpoint=endpoint).model_info(
        source.repository, revision=source.revision, files_metadata=True
    )
    files = []
    for entry in info.siblings or ():
        if any(fnmatch(entry.rfilename, pattern) for pattern in source.patterns):
            digest = entry.lfs.sha256 if entry.lfs else entry.blob_id
            if entry.size is None or digest is None:
                raise CheckpointError(f"{entry.rfilename}: the hub gives no size or checksum")
            files.append(RemoteFile(entry.rfilename, entry.size, digest, not entry.lfs))
    return info.sha or source.revision, files


def _transfer(
    source: Source,
    commit: str,
    file: RemoteFile,
    folder: Path,
    progress: Progress,
    endpoint: str | None,
) -> None:
    from huggingface_hub import hf_hub_download
    from tqdm import tqdm

    class Bar(tqdm):
        """Forwards the progress of huggingface_hub; draws nothing."""

        def __init__(self, *args: Any, **options: Any) -> None:
            self.received = options.get("initial") or 0
            super().__init__(*args, **options | {"disable": True})

        def update(self, n: float | None = 1) -> None:
            self.received += int(n or 0)
            progress(file.name, self.received, file.size)

    hf_hub_download(
        source.repository,
        file.name,
        revision=commit,
        local_dir=folder,
        endpoint=endpoint,
        tqdm_class=Bar,
    )


def _check_disk(folder: Path, needed: int) -> None:
    existing = next(
        path for path in (folder.absolute(), *folder.absolute().parents) if path.exists()
    )
    free = shutil.disk_usage(existing).free
    if needed > free:
        raise CheckpointError(
            f"{folder}: {needed / 2**30:.1f} GiB are needed, but {free / 2**30:.1f} GiB are free; "
            "free space, or choose another --folder"
        )


@contextmanager
def _hub_errors(name: str, folder: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # huggingface_hub does not wrap errors of its transport
        reason = str(error).strip().partition("\n")[0]
        raise CheckpointError(
            f"download of '{name}' stopped: {type(error).__name__}: {reason}. Is this computer "
            f"online? Received files stay in {folder}: run the same command again to resume, or "
            "copy the folder from a computer that is online"
        ) from error

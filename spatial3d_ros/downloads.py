"""Weights that are too large to ship: what they are called, where they lie, and that they arrived
whole.

Only a person downloads (`spatial3d download NAME`); nothing that runs on a robot imports this file.
The hub's own library transfers: an interrupted file is taken up where it stopped and gets its name
when it is complete.
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
"""Told (file, bytes here, bytes in all)."""


@dataclass(frozen=True)
class Source:
    """A repository of the model hub, and which of its files a model needs."""

    repository: str
    about: str
    patterns: tuple[str, ...] = ("*.json", "*.safetensors", "merges.txt", "LICENSE*", "README.md")
    revision: str = "main"


SOURCES = {
    "llava_video_7b": Source(
        "lmms-lab/LLaVA-Video-7B-Qwen2",
        "SigLIP so400m and Qwen2-7B after video training; the base of the large network",
    ),
    "owlv2_base": Source(
        "google/owlv2-base-patch16-ensemble",
        "OWLv2, a detector for any word, for detector_node",
    ),
    "sam2_tiny": Source(
        "facebook/sam2.1-hiera-tiny",
        "SAM 2.1, masks of what detector_node found",
    ),
}


@dataclass(frozen=True)
class RemoteFile:
    """A file and its checksum: sha256 of its bytes, or git's hash for small ones."""

    name: str
    size: int
    digest: str
    is_git: bool

    def matches(self, path: Path) -> bool:
        """Whether these are the bytes that the hub has."""
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
    """Bring a model into `folder` and check every byte of it; what is there already stays.

    `endpoint` is the address of another server with the hub's interface. Raises CheckpointError
    when the name is unknown, the disk too small, the hub not reachable, or a file damaged.
    """
    source = SOURCES.get(name)
    if source is None:
        raise CheckpointError(f"download: '{name}' is unknown; known: {', '.join(SOURCES)}")
    with _explained(name, folder):
        commit, files = _list(source, endpoint)
    missing = [file for file in files if not file.matches(folder / file.name)]
    _check_disk(folder, sum(file.size for file in missing))
    for file in missing:
        path = folder / file.name
        path.unlink(missing_ok=True)
        with _explained(name, folder):
            _transfer(source, commit, file, folder, progress, endpoint)
        if not file.matches(path):
            path.unlink(missing_ok=True)
            raise CheckpointError(
                f"{path}: arrived damaged (its checksum is not the hub's) and was removed; run the "
                "same command again"
            )
    return [folder / file.name for file in files]


def _list(source: Source, endpoint: str | None) -> tuple[str, list[RemoteFile]]:
    """The newest commit and its files that are wanted."""
    from huggingface_hub import HfApi

    info = HfApi(endpoint=endpoint).model_info(
        source.repository, revision=source.revision, files_metadata=True
    )
    files = [
        RemoteFile(entry.rfilename, entry.size, entry.lfs.sha256, False)
        if entry.lfs
        else RemoteFile(entry.rfilename, entry.size, entry.blob_id, True)
        for entry in info.siblings or ()
        if any(fnmatch(entry.rfilename, pattern) for pattern in source.patterns)
    ]
    return info.sha, files


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
        """Hands on what the hub's library tells; draws nothing."""

        def __init__(self, *args: Any, **options: Any) -> None:
            self.here = options.get("initial") or 0
            super().__init__(*args, **options | {"disable": True})

        def update(self, n: float | None = 1) -> None:
            self.here += int(n or 0)
            progress(file.name, self.here, file.size)

    hf_hub_download(
        source.repository,
        file.name,
        revision=commit,
        local_dir=folder,
        endpoint=endpoint,
        tqdm_class=Bar,
    )


def _check_disk(folder: Path, needed: int) -> None:
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(there).free
    if needed > free:
        raise CheckpointError(
            f"{folder}: {needed / 2**30:.1f} GiB are to come, but {free / 2**30:.1f} GiB are free; "
            "make room, or choose another --folder"
        )


@contextmanager
def _explained(name: str, folder: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # the library lets those of its transport through
        reason = str(error).strip().partition("\n")[0]
        raise CheckpointError(
            f"download of '{name}' stopped: {type(error).__name__}: {reason}. Is this computer "
            f"online? What has arrived stays in {folder}: run the same command again to go on, or "
            "bring the folder from a computer that is online"
        ) from error

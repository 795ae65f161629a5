"""Point clouds of the Point Cloud Library (PCD v0.7): ascii, binary and LZF-compressed files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spatial3d_ros.errors import BagError

_KINDS = {f"{kind}{size}" for kind in "iu" for size in (1, 2, 4, 8)} | {"f4", "f8"}


@dataclass(frozen=True, eq=False)
class PointCloud:
    """An organised cloud of H rows and W columns (H = 1 when it is not organised).

    ``xyz`` (H, W, 3) float32 in the file's unit, NaN where nothing was measured; ``rgb`` (H, W, 3)
    uint8 or None; ``label`` (H, W) int32 or None.
    """

    xyz: np.ndarray
    rgb: np.ndarray | None
    label: np.ndarray | None


def read_pcd(path: str | Path) -> PointCloud:
    """Reads a PCD file with fields x, y, z and optionally rgb or rgba, and label.

    Raises BagError when the file is no PCD file, is cut short, or lacks a coordinate.
    """
    try:
        return _read(Path(path).read_bytes(), path)
    except (ValueError, TypeError, IndexError, OverflowError) as error:  # damage shows anywhere
        raise BagError(f"{path}: damaged ({error}); copy the file again") from error


def _read(raw: bytes, path: str | Path) -> PointCloud:
    header, start = _header(raw, path)
    names = header["FIELDS"]
    kinds = [k.lower() + s for k, s in zip(header["TYPE"], header["SIZE"], strict=True)]
    odd = sorted(set(kinds) - _KINDS)
    if odd:
        raise BagError(f"{path}: TYPE and SIZE make {odd[0]!r}, which is no number of a PCD file")
    counts = [int(c) for c in header.get("COUNT", ["1"] * len(names))]
    width, height = int(header["WIDTH"][0]), int(header["HEIGHT"][0])
    layout = np.dtype(
        [
            (f"_{i}" if n == "_" else n, f"<{k}", (c,))  # "_" is padding and may come twice
            for i, (n, k, c) in enumerate(zip(names, kinds, counts, strict=True))
        ]
    )
    columns = _columns(raw[start:], header["DATA"][0], layout, width * height, path)
    missing = {"x", "y", "z"} - set(columns)
    if missing:
        raise BagError(f"{path}: no field {sorted(missing)}; a cloud needs x, y and z")
    shape = (height, width)
    xyz = np.stack([columns[c].astype(np.float32).reshape(shape) for c in "xyz"], axis=-1)
    packed = next((columns[c] for c in ("rgb", "rgba") if c in columns), None)
    rgb = None
    if packed is not None:
        bgra = np.ascontiguousarray(packed).view(np.uint8).reshape(height, width, 4)
        rgb = bgra[..., 2::-1].copy()
    label = columns.get("label")
    return PointCloud(xyz, rgb, None if label is None else label.astype(np.int32).reshape(shape))


def _header(raw: bytes, path: str | Path) -> tuple[dict[str, list[str]], int]:
    """The words after each header keyword, and where the data starts."""
    header: dict[str, list[str]] = {}
    start = 0
    while "DATA" not in header:
        end = raw.find(b"\n", start)
        if end < 0 or end - start > 4096:
            raise BagError(f"{path}: no PCD header; expected lines FIELDS, SIZE, TYPE ... DATA")
        words = raw[start:end].decode("ascii", "replace").split()
        if words and not words[0].startswith("#"):
            header[words[0]] = words[1:]
        start = end + 1
    absent = {"FIELDS", "SIZE", "TYPE", "WIDTH", "HEIGHT"} - set(header)
    if absent:
        raise BagError(f"{path}: the PCD header lacks {sorted(absent)}")
    return header, start


def _columns(
    body: bytes, encoding: str, layout: np.dtype, rows: int, path: str | Path
) -> dict[str, np.ndarray]:
    """Field name -> its values, one after the other."""
    if encoding == "ascii":
        table = np.loadtxt(body.decode("ascii").splitlines(), ndmin=2)
        starts = np.cumsum([0] + [layout[n].shape[0] for n in layout.names])
        return {
            n: table[:rows, i].astype(layout[n].base)
            for n, i in zip(layout.names, starts, strict=False)
        }
    if encoding == "binary_compressed":
        packed, full = np.frombuffer(body, "<u4", 2)
        body = decompress_lzf(body[8 : 8 + int(packed)], int(full))
    if len(body) < rows * layout.itemsize:
        raise BagError(f"{path}: cut short, {len(body)} of {rows * layout.itemsize} bytes")
    if encoding == "binary":
        table = np.frombuffer(body, layout, rows)
        return {n: table[n][:, 0] for n in layout.names}
    columns, offset = {}, 0
    for name in layout.names:  # compressed files hold one field after the other
        base, count = layout[name].base, layout[name].shape[0]
        values = np.frombuffer(body, base, rows * count, offset)
        columns[name] = values.reshape(rows, count)[:, 0]
        offset += values.nbytes
    return columns


def decompress_lzf(data: bytes, size: int) -> bytes:
    """Undoes LZF: a control byte below 32 announces literal bytes, any other a copy from the
    output.

    Raises BagError when the result has not ``size`` bytes.
    """
    out = bytearray()
    i, end = 0, len(data)
    try:
        while i < end:
            control = data[i]
            i += 1
            if control < 32:
                out += data[i : i + control + 1]
                i += control + 1
                continue
            length = control >> 5
            if length == 7:
                length += data[i]
                i += 1
            start = len(out) - ((control & 31) << 8) - data[i] - 1
            i += 1
            length += 2
            span = len(out) - start
            chunk = out[start : start + min(length, span)]
            out += chunk if length <= span else (chunk * (length // span + 1))[:length]
    except IndexError:
        raise BagError("compressed cloud cut short; copy the file again") from None
    if len(out) != size:
        raise BagError(f"compressed cloud unpacks to {len(out)} bytes, its header says {size}")
    return bytes(out)

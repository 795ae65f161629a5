"""Every error this package raises on purpose. Each message names the culprit and the way out."""

from __future__ import annotations


class Spatial3DError(Exception):
    """Base of all errors raised on purpose; catch this one to keep a node alive."""


class FrameError(Spatial3DError):
    """An image, depth image, calibration or pose that cannot be used."""


class QueryError(Spatial3DError):
    """A question that cannot be asked: empty, too long, or not in words."""


class NotFoundError(QueryError):
    """A question about a thing that is not in the room as far as it was seen."""


class LocationError(Spatial3DError):
    """A place in text that cannot be read, or that text cannot hold."""


class UnreadableError(Spatial3DError):
    """The network wrote something that is no answer to the question."""


class NoSceneError(Spatial3DError):
    """A question before anything was seen."""


class NotAvailableError(Spatial3DError):
    """The loaded model has no part for this task."""


class CheckpointError(Spatial3DError):
    """Weights that are missing, damaged, or of another model."""


class ConfigError(Spatial3DError):
    """An unknown key or an impossible value in a configuration."""


class BagError(Spatial3DError):
    """A recording that cannot be read, or that lacks a topic."""


class StorageError(Spatial3DError):
    """A file that cannot be written."""


class Cancelled(Spatial3DError):
    """The caller took the question back while it was being answered."""

"""The errors of this package. Each message names the cause and how to fix it."""

from __future__ import annotations


class Spatial3DError(Exception):
    """Base class; catch it to keep a node running."""


class FrameError(Spatial3DError):
    """An image, depth image, calibration or pose that cannot be used."""


class QueryError(Spatial3DError):
    """A question that is empty, too long, or not understood."""


class NotFoundError(QueryError):
    """No object of the map matches a phrase of the question."""


class LocationError(Spatial3DError):
    """A coordinate in text that is malformed or out of range."""


class UnreadableError(Spatial3DError):
    """The generated text is not an answer to the question."""


class NoSceneError(Spatial3DError):
    """A question before the first view was processed."""


class NotAvailableError(Spatial3DError):
    """The loaded model, or the state of the node, does not support the request."""


class CheckpointError(Spatial3DError):
    """Weights that are missing, damaged, or do not fit the configuration."""


class FeatureCollapseError(Spatial3DError):
    """Training stopped because the projected features no longer depend on the images."""


class RecognitionError(Spatial3DError):
    """The output of a recogniser that does not fit its description."""


class ConfigError(Spatial3DError):
    """An unknown key or an impossible value in a configuration."""


class BagError(Spatial3DError):
    """A recording that cannot be read, or that lacks a topic."""


class StorageError(Spatial3DError):
    """A file that cannot be written."""


class MemoryFileError(Spatial3DError):
    """A memory that cannot be opened or changed: in use, damaged, newer, of another frame."""


class Cancelled(Spatial3DError):
    """The caller cancelled the question."""

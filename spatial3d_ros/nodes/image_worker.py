"""Processes the newest image of a topic on a thread of its own."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sensor_msgs.msg import CompressedImage, Image

from spatial3d_ros.errors import Spatial3DError
from spatial3d_ros.nodes import qos
from spatial3d_ros.runtime.runtime_stats import Throttle
from spatial3d_ros.sensors.frame_builder import COLOR_DECODERS

if TYPE_CHECKING:
    import numpy as np
    from rclpy.node import Node

LOG_PERIOD_S = 5.0  # the same kind of error is logged once in this time


class ImageWorker:
    """Calls `process(header, rgb)` with images (H, W, 3) uint8 of `rgb/image`.

    Images that arrive while one is processed are dropped but for the newest, and at most `max_hz`
    are processed. An error is logged, and the next image is processed: the node stays up. While
    `ready` is false images are left.
    """

    def __init__(
        self,
        node: Node,
        transport: str,
        max_hz: float,
        process: Callable[[Any, np.ndarray], None],
        ready: Callable[[], bool] = lambda: True,
    ) -> None:
        self._logger = node.get_logger()
        self._process, self._ready = process, ready
        self._period_s = 1.0 / max(max_hz, 0.01)
        self._decode = COLOR_DECODERS[transport]
        self._may_log = Throttle(LOG_PERIOD_S)
        raw = transport == "raw"
        topic = "rgb/image" if raw else "rgb/image/compressed"
        node.create_subscription(
            Image if raw else CompressedImage, topic, self._take, qos.sensor(1)
        )
        self._newest: Any = None
        self._received, self._stopped = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="recogniser", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop the thread, after the image it processes."""
        self._stopped.set()
        self._received.set()
        self._thread.join()

    def log(self, error: Exception) -> None:
        """Log an error in its `except` block; the same kind once in LOG_PERIOD_S."""
        if not self._stopped.is_set() and self._may_log(type(error).__name__):
            if isinstance(error, MemoryError) or "out of memory" in str(error):
                text = f"out of memory ({error}); use a smaller model, or the parameter device"
            else:
                known = isinstance(error, Spatial3DError)
                text = str(error) if known else traceback.format_exc()
            self._logger.error(text)

    def _take(self, message: Any) -> None:
        self._newest = message
        self._received.set()

    def _run(self) -> None:
        """Never raises, because an exception would end the thread without a log line."""
        while not self._stopped.is_set():
            self._received.wait()
            self._received.clear()
            message = self._newest
            if message is None or self._stopped.is_set() or not self._ready():
                continue
            started = time.monotonic()
            try:
                self._process(message.header, self._decode(message, "rgb/image"))
            except Exception as error:
                self.log(error)
            self._stopped.wait(max(0.0, self._period_s - (time.monotonic() - started)))

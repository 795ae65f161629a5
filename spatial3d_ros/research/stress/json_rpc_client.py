"""The other end of `nodes.orders`: a process that does what it is told."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Iterable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import IO, Any

from spatial3d_ros.errors import NotAvailableError

ORDER_S = 60.0


class JsonRpcClient:
    """Gives orders to a process through its pipes; may be used from any thread."""

    def __init__(self, name: str, orders: IO[bytes], replies: Iterable[bytes]) -> None:
        self.name = name
        self._orders = orders
        self._numbers = itertools.count()
        self._open: dict[int, Future] = {}
        self._lock = threading.Lock()
        threading.Thread(target=self._read, args=(replies,), daemon=True).start()

    def tell(self, order: str, within_s: float = ORDER_S, **options: Any) -> Any:
        """The result of an order.

        Raises NotAvailableError when it failed, when the process ended, or after `within_s`.
        """
        try:
            return self.start(order, **options).result(within_s)
        except FutureTimeoutError:
            raise NotAvailableError(
                f"{self.name}: {order} is not done after {within_s:.0f} s"
            ) from None

    def start(self, order: str, **options: Any) -> Future:
        """Give an order and do not wait."""
        future: Future = Future()
        with self._lock:
            number = next(self._numbers)
            self._open[number] = future
            try:
                line = json.dumps({"id": number, "do": order, "with": options})
                self._orders.write(f"{line}\n".encode())
                self._orders.flush()
            except OSError:
                self._fail(number, "has ended")
        return future

    def _read(self, replies: Iterable[bytes]) -> None:
        for line in replies:
            reply = json.loads(line)
            if "error" in reply:
                self._fail(reply["id"], reply["error"])
            else:
                self._open.pop(reply["id"]).set_result(reply["result"])
        with self._lock:
            for number in list(self._open):
                self._fail(number, "has ended")

    def _fail(self, number: int, problem: str) -> None:
        self._open.pop(number).set_exception(NotAvailableError(f"{self.name}: {problem}"))

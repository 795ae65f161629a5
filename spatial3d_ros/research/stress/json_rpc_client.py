"""The client of `nodes.json_rpc`: calls functions of another process over its pipes."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Iterable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import IO, Any

from spatial3d_ros.errors import NotAvailableError

CALL_S = 60.0


class JsonRpcClient:
    """Calls methods of a process through its pipes; thread-safe."""

    def __init__(self, name: str, requests: IO[bytes], replies: Iterable[bytes]) -> None:
        self.name = name
        self._requests = requests
        self._ids = itertools.count()
        self._pending: dict[int, Future[Any]] = {}
        self._lock = threading.Lock()
        threading.Thread(target=self._read, args=(replies,), daemon=True).start()

    def call(self, method: str, within_s: float = CALL_S, **params: Any) -> Any:
        """The result of a method.

        Raises NotAvailableError if it failed, if the process ended, or after `within_s`.
        """
        try:
            return self._send(method, params).result(within_s)
        except FutureTimeoutError:
            raise NotAvailableError(
                f"{self.name}: no result of {method} after {within_s:.0f} s"
            ) from None

    def _send(self, method: str, params: dict[str, Any]) -> Future[Any]:
        future: Future[Any] = Future()
        with self._lock:
            number = next(self._ids)
            self._pending[number] = future
            try:
                line = json.dumps({"id": number, "method": method, "params": params})
                self._requests.write(f"{line}\n".encode())
                self._requests.flush()
            except OSError:
                self._fail(number, "has ended")
        return future

    def _read(self, replies: Iterable[bytes]) -> None:
        for line in replies:
            reply = json.loads(line)
            if "error" in reply:
                self._fail(reply["id"], reply["error"])
            else:
                self._pending.pop(reply["id"]).set_result(reply["result"])
        with self._lock:
            for number in list(self._pending):
                self._fail(number, "has ended")

    def _fail(self, number: int, problem: str) -> None:
        self._pending.pop(number).set_exception(NotAvailableError(f"{self.name}: {problem}"))

"""A process that does what it is told, a line of JSON at a time: {"id", "do", "with"} on stdin.

Every order runs on a thread of its own and is answered on stdout with {"id", "result"} or
{"id", "error"}, in the order in which they end. So whoever gives orders needs no ROS.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

THREADS = 16


def serve(orders: Mapping[str, Callable[..., Any]]) -> None:
    """Carry out orders until stdin ends."""
    writing = threading.Lock()

    def answer(reply: dict[str, Any]) -> None:
        with writing:
            sys.stdout.write(f"{json.dumps(reply)}\n")
            sys.stdout.flush()

    def carry_out(order: dict[str, Any]) -> None:
        try:
            result = orders[order["do"]](**order["with"])
        except Exception as error:
            answer({"id": order["id"], "error": f"{type(error).__name__}: {error}"})
        else:
            answer({"id": order["id"], "result": result})

    with ThreadPoolExecutor(THREADS) as pool:
        for line in sys.stdin:
            pool.submit(carry_out, json.loads(line))

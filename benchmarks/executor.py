"""A ClientApp that stays loaded: `python -m benchmarks.executor HOST:PORT`, for a SuperNode with --isolation process.

Flower starts a process for every message, in which loading torch takes longer than the links that are to be measured.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any

PAUSE = 0.05  # seconds between two questions for work


def main(address: str) -> None:
    """Until the SuperNode is gone."""
    import httpx
    from flwr.proto.runtime_pb2 import AcquireTaskRequest
    from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor
    from flwr.supercore.runtime import RuntimeHttpClient
    from flwr.supernode.runtime import run_clientapp as flower

    ends = list[Callable[[], None]]()

    def keep(**given: Any) -> None:
        ends[:] = given["exit_handlers"]

    def end(**_: Any) -> None:
        for one in ends:
            one()

    flower.register_signal_handlers = keep
    flower.flwr_exit = end
    flower.install_from_fab = lru_cache(maxsize=1)(flower.install_from_fab)
    version = RuntimeVersionHttpInterceptor(component_name="SuperExec")
    client = RuntimeHttpClient.from_server_address(
        server_address=address, insecure=True, root_certificates=None, interceptors=[version]
    )
    begun = False
    while True:
        try:
            found = client.AcquireTask(AcquireTaskRequest(supported_task_types=["flwr-clientapp"]))
        except httpx.HTTPError:
            if begun:
                return
            time.sleep(0.5)
            continue
        begun = True
        if found.HasField("task") and found.token:
            flower.run_clientapp(runtime_api_address=address, token=found.token, insecure=True)
        time.sleep(PAUSE)


if __name__ == "__main__":
    main(sys.argv[1])

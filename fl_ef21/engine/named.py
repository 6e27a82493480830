"""A ClientApp that every process imports by its name, instead of being sent a copy.

A copy would carry copies of what its functions refer to, and its module could not be found in a worker.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

from flwr.app import Context, Message
from flwr.clientapp import ClientApp


def find(folder: str, name: str) -> Any:
    """What "package.module:attribute" names, modules in `folder` first.

    Raises: whatever the import raises; AttributeError where the module has no such name.
    """
    if sys.path[:1] != [folder]:
        sys.path[:] = [folder, *(other for other in sys.path if other != folder)]
    module, _, attributes = name.partition(":")
    found: Any = import_module(module)
    for attribute in attributes.split("."):
        found = getattr(found, attribute)
    return found


class NamedApp(ClientApp):
    """The ClientApp that is called `name` in `folder`, an absolute path that every worker has."""

    def __init__(self, folder: str, name: str) -> None:
        super().__init__()
        self._place = folder, name
        self._app: ClientApp = find(folder, name)

    def __call__(self, message: Message, context: Context) -> Message:
        return self._app(message, context)

    def __reduce__(self) -> tuple[type[NamedApp], tuple[str, str]]:
        return NamedApp, self._place

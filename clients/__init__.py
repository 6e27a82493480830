"""Client half of each method. `flower.py` is the only file that speaks to Flower."""

from __future__ import annotations

from typing import Any

from clients.compressed_sgd import CompressedSGD
from clients.ef14 import EF14
from clients.ef21 import EF21SGD, EF21SGDM
from clients.ef21_sgd2m import EF21SGD2M
from clients.sgdm import SGDM
from fl_ef21 import plugins
from fl_ef21.plugins import Registry
from fl_ef21.types import ClientHalf

OURS: dict[str, type[ClientHalf[Any]]] = {
    "sgdm": SGDM,
    "compressed-sgd": CompressedSGD,
    "ef14": EF14,
    "ef21-sgd": EF21SGD,
    "ef21-sgdm": EF21SGDM,
    "ef21-sgd2m": EF21SGD2M,
}
METHODS = Registry(plugins.METHODS, OURS)

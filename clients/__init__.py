"""Client half of each method. `flower.py` is the only file that speaks to Flower."""

from __future__ import annotations

from typing import Any

from clients.beer import BEER
from clients.compressed_sgd import CompressedSGD
from clients.econtrol import EControl
from clients.ef14 import EF14, EF14Momentum
from clients.ef21 import EF21SGD, EF21SGDM
from clients.ef21_abs import EF21SGD2MAbs, EF21SGDAbs, EF21SGDMAbs
from clients.ef21_ideal import EF21SGDIdeal, EF21SGDMIdeal
from clients.ef21_mvr import EF21MVR
from clients.ef21_page import EF21PAGE
from clients.ef21_plus import EF21Plus
from clients.ef21_pp import EF21PP
from clients.ef21_sgd2m import EF21SGD2M
from clients.neolithic import Neolithic
from clients.sgdm import SGDM

METHODS: dict[str, type[Any]] = {
    "sgdm": SGDM,
    "compressed-sgd": CompressedSGD,
    "ef14": EF14,
    "ef21-sgd": EF21SGD,
    "ef21-sgdm": EF21SGDM,
    "ef21-sgd2m": EF21SGD2M,
    "ef21-sgd-abs": EF21SGDAbs,
    "ef21-sgdm-abs": EF21SGDMAbs,
    "ef21-sgd2m-abs": EF21SGD2MAbs,
    "ef21-sgd-ideal": EF21SGDIdeal,
    "ef21-sgdm-ideal": EF21SGDMIdeal,
    "ef21-mvr": EF21MVR,
    "ef21-page": EF21PAGE,
    "ef21-pp": EF21PP,
    "ef21-plus": EF21Plus,
    "ef14-momentum": EF14Momentum,
    "neolithic": Neolithic,
    "econtrol": EControl,
    "beer": BEER,
}

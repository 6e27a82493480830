"""Client half of each method. `flower.py` is the only file that speaks to Flower."""

from __future__ import annotations

from typing import Any

from clients.compressed_sgd import CompressedSGD
from clients.ef14 import EF14
from clients.ef21 import EF21SGD, EF21SGDM
from clients.ef21_bidirectional import EF21BC, EF21P
from clients.ef21_hb import EF21HB
from clients.ef21_muon import EF21Muon
from clients.ef21_prox import EF21Prox
from clients.ef21_sgd2m import EF21SGD2M
from clients.ef21_w import EF21W
from clients.normalised import EF21IGTNorm, EF21MVRNorm, EF21SGDMNorm
from clients.sgdm import SGDM
from fl_ef21.types import ClientHalf

METHODS: dict[str, type[ClientHalf[Any]]] = {
    "sgdm": SGDM,
    "compressed-sgd": CompressedSGD,
    "ef14": EF14,
    "ef21-sgd": EF21SGD,
    "ef21-sgdm": EF21SGDM,
    "ef21-sgd2m": EF21SGD2M,
    "ef21-hb": EF21HB,
    "ef21-sgdm-norm": EF21SGDMNorm,
    "ef21-igt-norm": EF21IGTNorm,
    "ef21-mvr-norm": EF21MVRNorm,
    "ef21-prox": EF21Prox,
    "ef21-w": EF21W,
    "ef21-muon": EF21Muon,
    "ef21-bc": EF21BC,
    "ef21-p": EF21P,
}

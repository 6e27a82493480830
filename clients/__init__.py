"""Client half of each method. `flower.py` is the only file that speaks to Flower."""

from __future__ import annotations

from typing import Any

from clients.compressed_sgd import CompressedSGD
from clients.dasha import DASHA, DASHAMVR
from clients.dasha_pp import DASHAPP, DASHAPPMVR
from clients.diana import DIANA, EFBV
from clients.ef14 import EF14
from clients.ef21 import EF21SGD, EF21SGDM
from clients.ef21_sgd2m import EF21SGD2M
from clients.fed_ef import FedEF
from clients.fedavg import FedAvg, FedProx
from clients.marina import MARINA
from clients.scafcom import SCAFCOM, SCAFFOLD, SCALLION
from clients.sgdm import SGDM
from fl_ef21.types import ClientHalf

METHODS: dict[str, type[ClientHalf[Any]]] = {
    "sgdm": SGDM,
    "compressed-sgd": CompressedSGD,
    "ef14": EF14,
    "ef21-sgd": EF21SGD,
    "ef21-sgdm": EF21SGDM,
    "ef21-sgd2m": EF21SGD2M,
    "fedavg": FedAvg,
    "fedprox": FedProx,
    "fed-ef": FedEF,
    "scaffold": SCAFFOLD,
    "scallion": SCALLION,
    "scafcom": SCAFCOM,
    "diana": DIANA,
    "ef-bv": EFBV,
    "marina": MARINA,
    "dasha": DASHA,
    "dasha-mvr": DASHAMVR,
    "dasha-pp": DASHAPP,
    "dasha-pp-mvr": DASHAPPMVR,
}

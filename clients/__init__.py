"""Client half of each method. `flower.py` is the only file that speaks to Flower."""

from __future__ import annotations

from typing import Any

from clients.beer import BEER
from clients.compressed_sgd import CompressedSGD
from clients.dasha import DASHA, DASHAMVR
from clients.dasha_pp import DASHAPP, DASHAPPMVR
from clients.diana import DIANA, EFBV
from clients.econtrol import EControl
from clients.ef14 import EF14, EF14Momentum
from clients.ef21 import EF21SGD, EF21SGDM
from clients.ef21_abs import EF21SGD2MAbs, EF21SGDAbs, EF21SGDMAbs
from clients.ef21_bidirectional import EF21BC, EF21P
from clients.ef21_hb import EF21HB
from clients.ef21_ideal import EF21SGDIdeal, EF21SGDMIdeal
from clients.ef21_muon import EF21Muon
from clients.ef21_mvr import EF21MVR
from clients.ef21_page import EF21PAGE
from clients.ef21_plus import EF21Plus
from clients.ef21_pp import EF21PP
from clients.ef21_prox import EF21Prox
from clients.ef21_sgd2m import EF21SGD2M
from clients.ef21_w import EF21W
from clients.fed_ef import FedEF
from clients.fedavg import FedAvg, FedProx
from clients.marina import MARINA
from clients.neolithic import Neolithic
from clients.normalised import EF21IGTNorm, EF21MVRNorm, EF21SGDMNorm
from clients.scafcom import SCAFCOM, SCAFFOLD, SCALLION
from clients.sgdm import SGDM
from fl_ef21 import plugins
from fl_ef21.plugins import Registry

OURS: dict[str, type[Any]] = {
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
METHODS = Registry(plugins.METHODS, OURS)

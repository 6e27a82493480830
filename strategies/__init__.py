"""Server half of each method. `flower.py` is the only file that speaks to Flower."""

from __future__ import annotations

from typing import Any

from fl_ef21.types import ServerHalf
from strategies.ef14 import EF14
from strategies.ef21 import EF21
from strategies.ef_bv import DIANA, EFBV
from strategies.heavy_ball import HeavyBall
from strategies.mean import Mean
from strategies.muon import Muon
from strategies.normalised import Normalised
from strategies.scafcom import SCAFCOM

SERVERS: dict[str, type[ServerHalf[Any]]] = {
    "ef21": EF21,
    "mean": Mean,
    "ef14": EF14,
    "scafcom": SCAFCOM,
    "diana": DIANA,
    "ef-bv": EFBV,
    "ef21-hb": HeavyBall,
    "normalised": Normalised,
    "ef21-muon": Muon,
}

"""Whether a compressor is what it says: contractive, unbiased, of bounded error."""

from __future__ import annotations

import torch
from torch import Tensor

from fl_ef21.checking.tiles import draw, keys
from fl_ef21.messages import Compressed
from fl_ef21.types import Compressor

DRAWS = 3000  # of one vector, for means
SOME = 500  # for means of one number
DEVIATIONS = 5  # of a mean from what it should be


class Broken(AssertionError):
    """A compressor or a method that does not keep a promise. The text says which vector or client shows it."""


def require(holds: bool, told: str) -> None:
    """Raises: Broken."""
    if not holds:
        raise Broken(told)


def lost(c: Compressed, u: Tensor) -> Tensor:
    """|C(u) - u|^2 / |u|^2 of each row, in float64; 0 for a row of zeros."""
    u = u.double()
    size = u.abs().amax(dim=1, keepdim=True).clamp(min=1e-300)
    return ((c.dense().double() - u) / size).square().sum(1) / (u / size).square().sum(1).clamp(min=1e-300)


def draws(C: Compressor, dim: int) -> bool:
    """Whether its keys matter."""
    u = draw(1, 3, dim)
    return any(not torch.equal(C(u, keys(3)).dense(), C(u, keys(3, round)).dense()) for round in (1, 2))


def contracts(C: Compressor, u: Tensor) -> None:
    """Every row: |C(u) - u|^2 <= (1 - alpha) |u|^2."""
    alpha = C.alpha(u.shape[1])
    worst = float(lost(C(u, keys(len(u))), u).max())
    require(alpha is not None and worst <= 1 - alpha + 1e-6, f"loses {worst:.6f} of |u|^2, alpha = {alpha} claimed")


def contracts_on_average(C: Compressor, u: Tensor) -> None:
    """The same in the mean over keys, of the first row."""
    alpha = C.alpha(u.shape[1])
    each = lost(C(u[:1].expand(SOME, -1), keys(SOME)), u[:1].expand(SOME, -1))
    mean, room = float(each.mean()), 4 * float(each.std()) / SOME**0.5
    told = f"loses {mean:.6f} of |u|^2 on average, alpha = {alpha} claimed"
    require(alpha is not None and mean <= 1 - alpha + room + 1e-9, told)


def has_mean_u(C: Compressor, u: Tensor) -> None:
    """E C(u) = u and E|C(u) - u|^2 <= omega |u|^2, for the first row."""
    omega, u = C.omega(u.shape[1]), u[:1].expand(DRAWS, -1)
    c = C(u, keys(DRAWS))
    ratio, dense = lost(c, u), c.dense().double()
    mean, room = float(ratio.mean()), 4 * float(ratio.std()) / DRAWS**0.5 + 1e-9
    told = f"E|C(u) - u|^2 = {mean:.4f} |u|^2, omega = {omega} claimed"
    require(omega is not None and mean <= omega + room, told)
    spread = dense.std(dim=0).clamp(min=0.02 * float(u[0].double().norm()))  # rare events have not shown theirs
    off = (dense.mean(dim=0) - u[0].double()).abs() / spread * DRAWS**0.5
    told = f"the mean of coordinate {int(off.argmax())} is {float(off.max()):.1f} deviations from u; unbiased claimed"
    require(bool((off <= DEVIATIONS).all()), told)


def stays_below_its_bound(C: Compressor, u: Tensor) -> None:
    """|C(u) - u|^2 <= Delta^2, where `absolute` says one."""
    bound = getattr(C, "absolute", lambda dim: None)(u.shape[1])
    if bound is not None:
        error = (C(u, keys(len(u))).dense().double() - u.double()).square().sum(dim=1)
        require(bool((error <= bound).all()), f"|C(u) - u|^2 = {float(error.max()):.6g}, at most {bound:.6g} claimed")


def its_figures_belong_together(C: Compressor, u: Tensor) -> None:
    """alpha in (0, 1] where contractive, omega >= 0 where unbiased, None elsewhere; bits are a number or None."""
    d = u.shape[1]
    alpha, omega, bits = C.alpha(d), C.omega(d), C.bits(d)
    require(C.contractive == (alpha is not None), f"contractive is {C.contractive}, alpha({d}) is {alpha}")
    require(C.unbiased == (omega is not None), f"unbiased is {C.unbiased}, omega({d}) is {omega}")
    require(alpha is None or 0 < alpha <= 1, f"alpha({d}) = {alpha} is not in (0, 1]")
    require(omega is None or omega >= 0, f"omega({d}) = {omega} is negative")
    require(bits is None or bits > 0, f"bits({d}) = {bits} is not positive")

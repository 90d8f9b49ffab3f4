"""The dictionary between losses and decoders: which model a weighted loss trains.

A loss "error + weight · KL" is, up to a factor that no optimum feels, minus the ELBO of a decoder
with one fixed scale. The factor is chosen so that the KL stands alone; what then stands in front of
the error is the scale.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Reduction = Literal["sum", "mean"]


@dataclass(frozen=True)
class Reading:
    """The decoder that a loss trains, with the KL weight 1 that makes it a bound.

    Attributes:
        family: "Gaussian" for squared errors, "Laplace" for absolute ones.
        scale: σ of the Gaussian, b of the Laplace distribution, in the units of the data.
        beta: the weight of the KL beside ½ · (sum of squares), the loss at σ = 1; for the Laplace
            decoder beside the sum of absolute errors, the loss at b = 1.
        multiple: the loss is `multiple` times minus the ELBO of this decoder, up to a constant.
    """

    family: Literal["Gaussian", "Laplace"]
    scale: float
    beta: float
    multiple: float

    def __str__(self) -> str:
        name = "σ" if self.family == "Gaussian" else "b"
        return f"{self.family} decoder with {name} = {self.scale:.4g}, β = {self.beta:.4g}"


def beta_from_sigma(sigma: float) -> float:
    """The weight β for which ½ Σ(x − m)² + β KL has the optima of the decoder N(m, σ² I).

    β = σ²

    Equation: eq-sigma-beta.

    Args:
        sigma: standard deviation of the decoder.

    Raises:
        ValueError: if `sigma` is not positive and finite.

    Source: Rybkin, Daniilidis and Levine (2021), section 3; Lucas and others (2019).

    >>> beta_from_sigma(0.5)
    0.25
    """
    _check(sigma=sigma)
    return sigma**2


def sigma_from_beta(beta: float) -> float:
    """The σ of the decoder that ½ Σ(x − m)² + β KL trains, √β.

    Equation: eq-sigma-beta.

    Args:
        beta: weight of the KL beside half the sum of squares.

    Raises:
        ValueError: if `beta` is not positive and finite.

    Source: as `beta_from_sigma`.

    >>> sigma_from_beta(0.25)
    0.5
    """
    _check(beta=beta)
    return math.sqrt(beta)


def read_loss(
    *,
    data_dim: int,
    latent_dim: int,
    error: Literal["squared", "absolute"] = "squared",
    error_weight: float = 1.0,
    error_reduction: Reduction = "sum",
    kl_weight: float = 1.0,
    kl_reduction: Reduction = "sum",
) -> Reading:
    """Which decoder does this loss train?

    c · Σ_j (x_j − m_j)² + w · KL: σ² = w / (2c), and β = σ²
    c · Σ_j |x_j − m_j| + w · KL: b = w / c, and β = b

    c is `error_weight`, divided by D for a mean; w is `kl_weight`, divided by d for a mean. What is
    averaged over the batch is averaged in both terms, and drops out.

    Equations: eq-read-loss, eq-read-loss-laplace.

    Args:
        data_dim: D.
        latent_dim: d.
        error: squared or absolute.
        error_weight: the factor in front of the error.
        error_reduction: what the code does with the D errors of one example.
        kl_weight: the factor in front of the KL.
        kl_reduction: what the code does with the d terms of the KL.

    Raises:
        ValueError: for a weight that is not positive and finite, a dimension below 1 or an unknown
            word.

    Source: the log-densities of Gaussian and Laplace distribution, multiplied by w.

    >>> print(read_loss(data_dim=784, latent_dim=20, error_reduction="mean"))
    Gaussian decoder with σ = 19.8, β = 392
    >>> print(read_loss(data_dim=12_288, latent_dim=128, error_reduction="mean",
    ...                 kl_weight=0.00025))
    Gaussian decoder with σ = 1.239, β = 1.536
    """
    _check(error_weight=error_weight, kl_weight=kl_weight)
    for name, dim in (("data_dim", data_dim), ("latent_dim", latent_dim)):
        if dim < 1:
            raise ValueError(f"{name} must be at least 1, got {dim}")
    if error not in ("squared", "absolute"):
        raise ValueError(f"error must be 'squared' or 'absolute', got {error!r}")
    c = error_weight * _share("error_reduction", error_reduction, data_dim)
    w = kl_weight * _share("kl_reduction", kl_reduction, latent_dim)
    if error == "squared":
        beta = w / (2 * c)
        return Reading("Gaussian", sigma_from_beta(beta), beta, w)
    return Reading("Laplace", w / c, w / c, w)


def _share(name: str, reduction: str, dim: int) -> float:
    if reduction not in ("sum", "mean"):
        raise ValueError(f"{name} must be 'sum' or 'mean', got {reduction!r}")
    return 1 / dim if reduction == "mean" else 1.0


def _check(**numbers: float) -> None:
    for name, value in numbers.items():
        if not 0 < value < math.inf:
            raise ValueError(f"{name} must be positive and finite, got {value}")

"""Reading a loss: which decoder a weighted sum of an error and a KL stands for."""

from __future__ import annotations

import math
from dataclasses import dataclass

from vae_tutorial.distributions import check_count, in_full


@dataclass(frozen=True)
class Reading:
    """A decoder's law and its scale, for which a loss is a multiple of −ELBO plus a constant.

    Args:
        law: "Gaussian" or "Laplace".
        scale: σ of the Gaussian, b of the Laplace law, in the unit of x.
    """

    law: str
    scale: float

    def beta(self, scale: float) -> float:
        """The factor of the KL when the same loss is read with another scale.

        Only the ratio counts. σ with β = 1 and σ₀ with β = σ²/σ₀² have the same gradient, up to a
        factor; for the Laplace law, β = b/b₀.

        Equation: eq-sigma-beta.

        Args:
            scale: σ₀ or b₀, positive.

        Raises:
            ValueError: if the scale is not positive and finite.

        Source: both readings divide the error by the same number.

        >>> Reading("Gaussian", 2.0).beta(1.0)
        4.0
        """
        _check_positive("scale", scale)
        ratio = self.scale / scale
        return ratio**2 if self.law == "Gaussian" else ratio

    def __str__(self) -> str:
        return f"{self.law}, {'σ' if self.law == 'Gaussian' else 'b'} = {self.scale:.3g}"


def read_loss(
    error: str,
    *,
    error_weight: float = 1.0,
    error_mean_over: int = 1,
    kl_weight: float = 1.0,
    kl_mean_over: int = 1,
) -> Reading:
    """Which decoder does `error_weight · error + kl_weight · KL` stand for?

    With sums over the D entries and the d latents, divide the loss by the KL's factor w and
    compare with −ELBO = SSE/(2σ²) + KL + const, or Σ|x − μ|/b + KL + const:

    a · SSE + w · KL: σ² = w / (2a),  a · Σ|x − μ| + w · KL: b = w / a

    A mean over D divides a by D, a mean over d divides w by d. How the batch is reduced does not
    matter, as long as both terms are reduced alike.

    Equation: eq-sigma-beta.

    Args:
        error: "squared" for (x − μ)², "absolute" for |x − μ|.
        error_weight: factor of the error.
        error_mean_over: D if the error is averaged over the entries; 1 if it is summed.
        kl_weight: factor of the KL.
        kl_mean_over: d if the KL is averaged over the latents; 1 if it is summed.

    Returns:
        law and scale, with β = 1.

    Raises:
        ValueError: for another error, a weight that is not positive and finite, or a count that is
            no whole number of at least 1.

    Source: the log-densities of the two laws.

    >>> str(read_loss("squared", error_mean_over=12_288, kl_weight=0.00025))
    'Gaussian, σ = 1.24'
    """
    laws = {"squared": "Gaussian", "absolute": "Laplace"}
    if error not in laws:
        raise ValueError(f"error must be 'squared' or 'absolute', got {error!r}")
    check_count("error_mean_over", error_mean_over)
    check_count("kl_mean_over", kl_mean_over)
    _check_positive("error_weight", error_weight)
    if kl_weight == 0:
        raise ValueError("kl_weight must be positive, got 0: without a KL this is an autoencoder")
    _check_positive("kl_weight", kl_weight)
    ratio = (kl_weight / kl_mean_over) / (error_weight / error_mean_over)
    return Reading(laws[error], math.sqrt(ratio / 2) if error == "squared" else ratio)


def _check_positive(name: str, value: float) -> None:
    if not 0 < value < math.inf:
        raise ValueError(f"{name} must be positive and finite, got {in_full(value)}")

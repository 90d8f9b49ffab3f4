"""Chapter 6's figure: noise goes in, draws come out, and a parameter moves each draw."""

from typing import ClassVar

import traitlets

from vae_tutorial.explore.figure import Figure, Positive

FAMILIES = ("exponential", "logistic", "Gumbel", "Gaussian", "log-normal", "coin")


class Reparameterize(Figure):
    """A histogram of noise, the curve z = g(noise), a histogram of z, and one draw with its slope.

    The page computes, for uniform noise u and a parameter φ: the exponential -log(1 - u)/φ, the
    logistic φ log(u/(1 - u)), the Gumbel -φ log(-log u) and the coin, 1 if u < φ. For the Gaussian
    the noise is eps ~ N(0, 1) and z = φ eps, for the log-normal z = exp(φ eps). Each slope dz/dφ
    is at fixed noise; that of the coin is 0.

    Equations: eq-inverse-cdf, eq-location-scale, eq-composition.

    Args:
        family: one of "exponential", "logistic", "Gumbel", "Gaussian", "log-normal" and "coin".
        parameter: φ, a rate, a scale or the probability of the coin, positive.
        height: the share of noise below the marked draw, between 0 and 1.

    >>> Reparameterize(family="logistic")
    Reparameterize()
    """

    figure: ClassVar[str] = "reparameterize"
    stored: ClassVar[tuple[str, ...]] = ("family", "parameter", "height")
    alt: ClassVar[str] = (
        "Below: a flat histogram of uniform noise u from 0 to 1. Above it the curve "
        "z = −log(1 − u)/φ for φ = 1, flat on the left and steep on the right. At its right edge "
        "the histogram of the draws z lies on its side, long at zero and thin above. One draw "
        "is marked: u = 0.8 goes up to the curve at z = 1.61 and right to the histogram, and an "
        "arrow at it points down: its slope in φ is −1.61."
    )

    family = traitlets.Enum(FAMILIES, "exponential").tag(sync=True)
    parameter = Positive(1.0).tag(sync=True)
    height = traitlets.Float(0.8).tag(sync=True)

    @traitlets.validate("height")
    def _share(self, proposal: dict) -> float:
        """Refuse a share that is not between 0 and 1."""
        if not 0 < proposal["value"] < 1:
            raise traitlets.TraitError(f"height must lie between 0 and 1, got {proposal['value']}")
        return proposal["value"]

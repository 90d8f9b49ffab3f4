"""Chapter 2's figure: the exact posterior over z as the observation moves in the plane."""

from typing import ClassVar

import traitlets

from vae_tutorial.explore.figure import Figure


class CurvePosterior(Figure):
    """Drag x in the plane of the curve R2, and watch p(z|x) and log p(x) on a grid.

    The page computes, for z ~ N(0, 1) and x|z ~ N(m(z), sigma^2 I) on 4,001 points from -6 to 6,
    log p(x) = log sum_g p(x|z_g) p(z_g) dz in nats and p(z|x) = p(x|z) p(z) / p(x).

    Args:
        x1: first coordinate of the observation.
        x2: second coordinate of the observation.
        sigma: standard deviation of the noise, at least 0.02.

    >>> CurvePosterior(x1=1.1, x2=0.45)
    CurvePosterior()
    """

    figure: ClassVar[str] = "curve_posterior"
    stored: ClassVar[tuple[str, ...]] = ("x1", "x2", "sigma")
    alt: ClassVar[str] = (
        "Left: an S-shaped curve in the plane and an observation x between two of its arms. "
        "Beads on the curve show which places explain x: some on the middle arm, some on the "
        "upper arm. Right: over z, the bell of the prior and the posterior of x, two narrow peaks "
        "of nearly equal height at z = 0.07 and z = 2.11. Below: log p(x) = -7.37 nats."
    )

    x1 = traitlets.Float(0.0).tag(sync=True)
    x2 = traitlets.Float(0.85).tag(sync=True)
    sigma = traitlets.Float(0.15).tag(sync=True)

    @traitlets.validate("sigma")
    def _wide_enough(self, proposal: dict) -> float:
        """Refuse a standard deviation that the grid does not resolve."""
        if not proposal["value"] >= 0.02:
            raise traitlets.TraitError(f"sigma must be at least 0.02, got {proposal['value']}")
        return proposal["value"]

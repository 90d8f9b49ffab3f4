"""Chapter 4's figure: reconstruction, KL and gap trade places under a line that does not move."""

from typing import ClassVar

import traitlets

from vae_tutorial.explore.figure import Figure, Positive


class ElboBar(Figure):
    """Drag q(z) and watch rec - KL + gap = log p(x) for the linear-Gaussian model R1.

    The page computes, for z ~ N(0, 1), x | z ~ N(1.5 z, 0.5) and q = N(mu, sigma^2),
    rec = -1/2 log(2 pi s^2) - ((x - w mu)^2 + w^2 sigma^2) / (2 s^2),
    KL = 1/2 (mu^2 + sigma^2 - 1 - log sigma^2) and gap = KL(q || p(z|x)), all in nats.

    Args:
        mu: the mean of q.
        sigma: the standard deviation of q, positive.
        x: the observation.

    >>> ElboBar(mu=1.0, sigma=0.5)
    ElboBar()
    """

    figure: ClassVar[str] = "elbo_bar"
    stored: ClassVar[tuple[str, ...]] = ("mu", "sigma", "x", "weight", "variance")
    alt: ClassVar[str] = (
        "Left: over z, the densities of the prior, of the posterior and, between them, of a "
        "movable q. Right: three bars in nats that hang from zero: the reconstruction goes down, "
        "minus the KL goes further down to the ELBO, and the gap climbs back up to a fixed line, "
        "log p(x) = -1.607. For every q the three add up to that line."
    )

    mu = traitlets.Float(-0.2).tag(sync=True)
    sigma = Positive(0.35).tag(sync=True)
    x = traitlets.Float(1.0).tag(sync=True)
    weight = traitlets.Float(1.5, read_only=True).tag(sync=True)
    variance = traitlets.Float(0.5, read_only=True).tag(sync=True)

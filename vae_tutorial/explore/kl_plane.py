"""Chapter 3's figure: every Gaussian is a point of a plane, and the KL is the height there."""

from typing import ClassVar

import traitlets

from vae_tutorial.explore.figure import Figure, Positive


class KlPlane(Figure):
    """Put q = N(mu, sigma^2) somewhere, let it go, and see in which minimum of the KL it ends.

    The page computes KL(q||p) and KL(p||q), in nats, for two targets: "bumps", an equal mixture of
    N(-2, 0.6^2) and N(2, 0.6^2), and "step", exp(-z^2/2) sigmoid(20 z + 4), normalized.

    Args:
        mu: the mean of q.
        sigma: the standard deviation of q, positive.
        target: "bumps" or "step".
        direction: "reverse" for KL(q||p), "forward" for KL(p||q): the height of the plane.

    >>> KlPlane(target="step")
    KlPlane()
    """

    figure: ClassVar[str] = "kl_plane"
    stored: ClassVar[tuple[str, ...]] = ("mu", "sigma", "target", "direction")
    alt: ClassVar[str] = (
        "Left: a map with contour lines of KL(q||p), in nats. Across is the mean of q, upwards its "
        "standard deviation. Two deep valleys lie at means -2 and 2 and standard deviation 0.6, a "
        "shallow one between them, higher up, at 1.8. A dot on the map is the present q. Right: "
        "the target with two bumps, and the q of the dot as a curve over it. Below: both "
        "directions of the KL as numbers."
    )

    mu = traitlets.Float(-0.7).tag(sync=True)
    sigma = Positive(0.9).tag(sync=True)
    target = traitlets.Enum(["bumps", "step"], "bumps").tag(sync=True)
    direction = traitlets.Enum(["reverse", "forward"], "reverse").tag(sync=True)

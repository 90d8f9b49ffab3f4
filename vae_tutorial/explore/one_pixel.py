"""Chapter 8's figure: one pixel, and what four likelihoods say about it."""

from typing import ClassVar

import traitlets

from vae_tutorial.explore.figure import Figure, Positive


class OnePixel(Figure):
    """Log-likelihoods of one grey pixel against the number that each decoder has to guess.

    The pixel is level k of 17, x = k/16. Curves: the Bernoulli in pi (the grey cross-entropy,
    turned over), the continuous Bernoulli in lambda, the Gaussian in its mean, and the discretized
    logistic in its centre; the last two have the standard deviation sigma. Dots mark the maxima.

    Equations: eq-bernoulli-log-pmf, eq-continuous-bernoulli, eq-normal-log-density,
    eq-discretized-logistic.

    Args:
        level: k, from 0 to 16.
        sigma: standard deviation of Gaussian and logistic law, positive.

    >>> OnePixel(level=16)
    OnePixel()
    """

    figure: ClassVar[str] = "one_pixel"
    stored: ClassVar[tuple[str, ...]] = ("level", "sigma")
    alt: ClassVar[str] = (
        "Log-likelihoods of a pixel with the grey value 0.25 as curves over the decoder's "
        "parameter from 0 to 1. Gaussian and discretized logistic are narrow hills at 0.25, the "
        "Gaussian 1.4 nats high, the logistic's top below zero. The Bernoulli is a flat hill with "
        "its top at 0.25, at minus 0.56. The continuous Bernoulli rises slowly to the left and "
        "has its top near 0.03."
    )

    level = traitlets.Int(4, min=0, max=16).tag(sync=True)
    sigma = Positive(0.1).tag(sync=True)

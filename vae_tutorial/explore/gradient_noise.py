"""Chapter 5's figure: two estimators of one slope, and which of them is noisier."""

from typing import ClassVar

import traitlets

from vae_tutorial.explore.figure import Figure, Positive


class GradientNoise(Figure):
    """Running means of the score function and of the pathwise gradient for f(z) = sin(omega z).

    The page draws z = sigma eps and estimates dE[f]/dmu at mu = 0. The exact slope is
    omega exp(-u/2), and the variances of one draw are omega^2 (1 - exp(-u))^2 / 2 along the path
    and (1 - (1 - 4u) exp(-2u)) / (2 sigma^2) - omega^2 exp(-u) for the score function, with
    u = omega^2 sigma^2. The bands are two standard errors wide on each side.

    Equation: eq-sine-variance.

    Args:
        omega: the frequency of f, positive.
        sigma: the standard deviation of q, positive.
        draws: L, the number of draws.
        seed: which draws.

    >>> GradientNoise(omega=3.0)
    GradientNoise()
    """

    figure: ClassVar[str] = "gradient_noise"
    stored: ClassVar[tuple[str, ...]] = ("omega", "sigma", "draws", "seed")
    alt: ClassVar[str] = (
        "Running means of two estimators of one slope over 500 draws, for the sine with frequency "
        "3 and a standard deviation of 1. Both wander around the level line of the exact slope, "
        "0.03. The pathwise mean wanders widely, in a broad band that narrows to the right; the "
        "mean of the score function stays in a band a third as wide."
    )

    omega = Positive(3.0).tag(sync=True)
    sigma = Positive(1.0).tag(sync=True)
    draws = traitlets.Int(500, min=1).tag(sync=True)
    seed = traitlets.Int(3).tag(sync=True)

"""Chapter 9's figure: the residuals of a VAE, a Gaussian over them, and what its σ decides."""

import json
from functools import cache
from typing import Any, ClassVar

import traitlets

from vae_tutorial.explore.figure import Figure, Positive
from vae_tutorial.explore.page import HERE

PIXELS = ("all", "ink", "background")


@cache
def _stored() -> dict[str, Any]:
    return json.loads((HERE / "residual_sigma.json").read_text(encoding="utf8"))


class ResidualSigma(Figure):
    """Residuals x − m(z) as a histogram, N(0, σ²) over it, and the cost of a pixel against σ.

    The residuals are those of the checkpoint `mnist_gaussian_shared` on MNIST's test images, one z
    for each; only their densities, mean squares and numbers are stored. `eigenvalues` are the 40
    largest of the training images' covariance.

    Equations: eq-gaussian-nll, eq-optimal-sigma, eq-sigma-beta.

    Args:
        sigma: σ of the decoder, positive; the slider goes from 0.01 to 3.
        pixels: whose residuals, "all", "ink" (above 0.1) or "background".
        dimensions: D, over which a mean squared error averages.

    >>> ResidualSigma(sigma=0.1).histograms["all"]["n"]
    7840000
    """

    figure: ClassVar[str] = "residual_sigma"
    stored: ClassVar[tuple[str, ...]] = (
        "sigma", "pixels", "dimensions", "histograms", "window", "eigenvalues",
    )  # fmt: skip
    alt: ClassVar[str] = (
        "Left: the density of the residuals between minus 1 and 1 on a logarithmic axis, a spike "
        "at 0 with wide tails on both sides; over it a Gaussian with standard deviation 1, almost "
        "a level line between 0.24 and 0.4, far below the spike and far above the tails. Right: "
        "what a pixel costs against the logarithm of sigma: a wall on the left, a lowest place at "
        "0.108, and a gentle slope to the right, on which a dot stands at 1."
    )

    sigma = Positive(1.0).tag(sync=True)
    pixels = traitlets.Enum(PIXELS, "all").tag(sync=True)
    dimensions = traitlets.Int(784, min=1).tag(sync=True)
    histograms = traitlets.Dict(read_only=True).tag(sync=True)
    window = traitlets.List(read_only=True).tag(sync=True)
    eigenvalues = traitlets.List(read_only=True, maxlen=40).tag(sync=True)

    @traitlets.default("histograms")
    def _count(self) -> dict[str, Any]:
        return _stored()["histograms"]

    @traitlets.default("window")
    def _ends(self) -> list[float]:
        return _stored()["window"]

    @traitlets.default("eigenvalues")
    def _directions(self) -> list[float]:
        return _stored()["eigenvalues"]

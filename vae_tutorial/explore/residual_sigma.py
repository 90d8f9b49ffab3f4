"""Chapter 9's figure: the residuals of a network, and the σ that is claimed for them."""

import json
from functools import cache
from typing import Any, ClassVar

import traitlets

from vae_tutorial.explore.figure import Figure, Positive
from vae_tutorial.explore.page import HERE


@cache
def _stored() -> dict[str, Any]:
    return json.loads((HERE / "residual_sigma.json").read_text(encoding="utf8"))


class ResidualSigma(Figure):
    """Residuals x − m(z) of a Gaussian decoder, one σ for them, and its other names.

    Histograms and mean squared errors are those of the checkpoint mnist_gaussian_shared on the
    dequantized test images of MNIST, one z ~ q(z|x) each; "ink" are the pixels above 0.1. The
    eigenvalues belong to the covariance of the training images. No pixel is stored.

    Equations: eq-gaussian-nll, eq-optimal-sigma, eq-sigma-beta.

    Args:
        sigma: standard deviation of the decoder, from 0.01 to 3.
        which: "all", "ink" or "background".

    >>> ResidualSigma(which="ink")
    ResidualSigma()
    """

    figure: ClassVar[str] = "residual_sigma"
    stored: ClassVar[tuple[str, ...]] = (
        "sigma", "which", "histograms", "mse", "eigenvalues", "dimensions",
    )  # fmt: skip
    alt: ClassVar[str] = (
        "Left, a histogram of residuals from minus 1 to 1 on a logarithmic density axis: a sharp "
        "spike at 0 with long tails on both sides. The Gaussian with a standard deviation of 1 is "
        "a nearly flat line across it. Right, the cost of a pixel against σ: a curve that falls "
        "steeply from the left to its smallest value at 0.108 and rises slowly to the right, where "
        "a dot marks σ = 1. Two thin curves of the same shape are lowest elsewhere: ink to the "
        "right of it, background to the left."
    )

    sigma = Positive(1.0).tag(sync=True)
    which = traitlets.Enum(["all", "ink", "background"], "all").tag(sync=True)
    histograms = traitlets.Dict(read_only=True).tag(sync=True)
    mse = traitlets.Dict(read_only=True).tag(sync=True)
    eigenvalues = traitlets.List(read_only=True).tag(sync=True)
    dimensions = traitlets.Int(784, read_only=True).tag(sync=True)

    @traitlets.default("histograms")
    def _densities(self) -> dict[str, list[float]]:
        return _stored()["histograms"]

    @traitlets.default("mse")
    def _mean_squared_errors(self) -> dict[str, float]:
        return _stored()["mse"]

    @traitlets.default("eigenvalues")
    def _variances(self) -> list[float]:
        return _stored()["eigenvalues"]

    @traitlets.validate("sigma")
    def _within_the_axis(self, proposal: dict) -> float:
        """Refuse a σ that the figure's axis does not reach."""
        if not 0.01 <= proposal["value"] <= 3:
            raise traitlets.TraitError(f"sigma must lie in [0.01, 3], got {proposal['value']}")
        return proposal["value"]

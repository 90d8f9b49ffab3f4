"""Interactive figures: one Python class and one ES module each.

The classes are loaded when they are first asked for, because they need anywidget.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from vae_tutorial.explore import page
from vae_tutorial.explore.live import sliders
from vae_tutorial.explore.page import page_html, stored_figures

if TYPE_CHECKING:
    from vae_tutorial.explore.bubbles import Bubbles
    from vae_tutorial.explore.code_map import CodeMap
    from vae_tutorial.explore.curve_posterior import CurvePosterior
    from vae_tutorial.explore.draw_digit import DrawDigit
    from vae_tutorial.explore.elbo_bar import ElboBar
    from vae_tutorial.explore.figure import Figure
    from vae_tutorial.explore.gradient_noise import GradientNoise
    from vae_tutorial.explore.kl_plane import KlPlane
    from vae_tutorial.explore.latent_map import LatentMap
    from vae_tutorial.explore.one_pixel import OnePixel
    from vae_tutorial.explore.reparameterize import Reparameterize
    from vae_tutorial.explore.residual_sigma import ResidualSigma

FIGURES = {
    "ElboBar": "elbo_bar",
    "DrawDigit": "draw_digit",
    "Bubbles": "bubbles",
    "CurvePosterior": "curve_posterior",
    "KlPlane": "kl_plane",
    "GradientNoise": "gradient_noise",
    "Reparameterize": "reparameterize",
    "CodeMap": "code_map",
    "OnePixel": "one_pixel",
    "ResidualSigma": "residual_sigma",
    "LatentMap": "latent_map",
}

__all__ = [
    "FIGURES",
    "Bubbles",
    "CodeMap",
    "CurvePosterior",
    "DrawDigit",
    "ElboBar",
    "Figure",
    "GradientNoise",
    "KlPlane",
    "LatentMap",
    "OnePixel",
    "Reparameterize",
    "ResidualSigma",
    "page_html",
    "refresh",
    "sliders",
    "static_html",
    "stored_figures",
]


def static_html(name: str) -> str:
    """Return a figure in its first state as HTML, for a page that is not a notebook (the cover).

    Args:
        name: the name of the class.

    Raises:
        ValueError: there is no figure of that name.

    >>> static_html("ElboBar").startswith('<div class="vf" data-vaefig="')
    True
    """
    if name not in FIGURES:
        raise ValueError(
            f"there is no interactive figure {name!r}: choose one of {', '.join(FIGURES)}"
        )
    return __getattr__(name)().static_html()


def refresh(nb: Mapping[str, Any]) -> int:
    """Bring the stored figures of a notebook up to date, without a kernel; return how many moved.

    Module, style, poster, alternative text and the traits that no reader can set (weights, say)
    become those of the package. The traits that a cell may set stay as they are stored.

    Args:
        nb: a notebook as `nbformat` or `json` read it; changed in place.

    >>> nb = {"cells": [{"outputs": [{"data": {"text/html": static_html("ElboBar")}}]}]}
    >>> refresh(nb)
    0
    """

    def present(module: str) -> tuple[dict[str, Any], str]:
        name = next(name for name, known in FIGURES.items() if known == module)
        figure = __getattr__(name)()
        fixed = [key for key in figure.stored if figure.traits()[key].read_only]
        return {key: getattr(figure, key) for key in fixed}, figure.alt

    return page.refresh(nb, present)


def __getattr__(name: str) -> Any:
    """Import the class of a figure at its first use."""
    from importlib import import_module

    module = "figure" if name == "Figure" else FIGURES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{module}"), name)


def __dir__() -> list[str]:
    """List the lazy names too."""
    return sorted(__all__)

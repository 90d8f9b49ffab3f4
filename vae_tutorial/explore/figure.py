"""The base class of the interactive figures: one ES module, two hosts."""

import sys
from typing import Any, ClassVar

import anywidget
import traitlets

from vae_tutorial.explore.page import module_source, page_html, style_source


class Positive(traitlets.Float):
    """A number above zero; a TraitError names the trait and what was given.

    >>> Positive(1.0).validate(None, 2)
    2.0
    """

    def validate(self, obj: Any, value: Any) -> float:
        """Return the value as a float, or raise TraitError."""
        value = super().validate(obj, value)
        if not value > 0:
            raise traitlets.TraitError(f"{self.name} must be positive, got {value}")
        return value


class Figure(anywidget.AnyWidget):
    """An interactive figure that lives in a kernel and, from the same module, in the built book.

    A subclass names its module (`figure`), the traits that the page needs (`stored`) and its
    alternative text (`alt`). With a running kernel the figure is a widget whose traits Python can
    read and set; stored in a notebook it is self-contained HTML; where no script runs it is its
    poster, a picture with alternative text.

    >>> from vae_tutorial.explore import ElboBar
    >>> issubclass(ElboBar, Figure)
    True
    """

    figure: ClassVar[str] = ""
    stored: ClassVar[tuple[str, ...]] = ()
    alt: ClassVar[str] = ""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Give the subclass its module and style before anywidget looks for them."""
        if "figure" in cls.__dict__:
            cls._esm, cls._css = module_source(cls.figure), style_source()
        super().__init_subclass__(**kwargs)

    def __repr__(self) -> str:
        """Return a text without an address, so that a stored output is the same at each run."""
        return f"{type(self).__name__}()"

    def static_html(self) -> str:
        """Return the figure as HTML that needs neither kernel nor network.

        >>> from vae_tutorial.explore import ElboBar
        >>> ElboBar().static_html() == ElboBar().static_html()
        True
        """
        return page_html(self.figure, {key: getattr(self, key) for key in self.stored}, self.alt)

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """Return the live view, the stored HTML, which holds the poster, and one line of text.

        ipywidgets 7 (Colab) displays a widget by itself and never asks; should Colab ask, it gets
        the live view alone, so that nothing depends on which of several forms it would prefer.
        """
        bundle = super()._repr_mimebundle_(**kwargs)
        if bundle is None or "google.colab" in sys.modules:
            return bundle
        data, metadata = bundle
        data["text/html"] = self.static_html()
        return data, metadata

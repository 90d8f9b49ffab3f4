"""Sliders for a picture that Python draws: for what needs a kernel and cannot run in the page.

The stored output is the picture in its first state and one line of text. No `interact` and no
`Output` widget: what they show cannot be compared when a notebook is run again.
"""

import base64
import html
import io
import sys
from collections.abc import Callable
from typing import Any

POINTS = 72  # of an inch: a picture is as wide on the screen as the book shows it

# Read aloud, not seen: a picture widget has no alternative text of its own.
_HIDDEN = "position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)"


class Sliders:
    """A picture with its controls; made by `sliders`, shown as the last line of a cell.

    `controls` maps each name to its widget, `picture` is the image that is redrawn, `values` what
    the controls stand on; `close()` takes all of it away.
    """

    def __init__(self, draw: Callable[..., Any], alt: str, controls: dict[str, Any]) -> None:
        """Build the widgets and draw once."""
        import ipywidgets

        self.draw, self.alt, self.controls = draw, alt, controls
        self.picture = ipywidgets.Image(format="png")
        spoken = f'<span style="{_HIDDEN}">Picture: {html.escape(alt)}</span>'
        self.words = ipywidgets.HTML(spoken)
        self.box = ipywidgets.VBox([*controls.values(), self.picture, self.words])
        self.redraw()
        for control in controls.values():
            control.observe(self.redraw, "value")

    @property
    def values(self) -> dict[str, Any]:
        """What the controls stand on now."""
        return {name: control.value for name, control in self.controls.items()}

    def redraw(self, _: Any = None) -> None:
        """Draw for the present values and put the picture in its place."""
        png, width = _png(self.draw(**self.values))
        self.picture.layout.width, self.picture.layout.max_width = f"{width}px", "100%"
        self.picture.value = png

    def __repr__(self) -> str:
        """Return the line that is stored with the picture: no address, no random id."""
        shown = ", ".join(
            f"{name} = {value:g}" if isinstance(value, float) else f"{name} = {value}"
            for name, value in self.values.items()
        )
        return f"[sliders: {shown}] {self.alt}"

    def bundle(self) -> dict[str, Any]:
        """Return the live view, the picture and the line of text; a page shows the picture."""
        view = {"version_major": 2, "version_minor": 0, "model_id": self.box.model_id}
        return {
            "application/vnd.jupyter.widget-view+json": view,
            "image/png": base64.b64encode(self.picture.value).decode(),
            "text/plain": repr(self),
        }

    def _ipython_display_(self) -> None:
        """Show the bundle; Colab shows the widgets itself, and with its own metadata."""
        from IPython.display import display

        if "google.colab" in sys.modules:
            display(self.box)
        else:
            display(self.bundle(), raw=True)

    def close(self) -> None:
        """Take the controls and the picture away; nothing is redrawn from now on."""
        for control in self.controls.values():
            control.unobserve(self.redraw, "value")
        for widget in (*self.controls.values(), self.picture, self.words, self.box):
            widget.close()


def sliders(draw: Callable[..., Any], /, *, alt: str, **controls: Any) -> Sliders:
    """Return a picture with sliders that the kernel draws again whenever one of them moves.

    Use it where the picture needs torch; what can be computed in a page is a `Figure`. Tag the
    cell `live-only`: the page then shows the picture and says that the sliders need a kernel.

    Args:
        draw: called as `draw(name=value, …)` with every control; returns the Axes or the Figure.
        alt: the alternative text: what is to be seen in the first picture.
        controls: for each argument of `draw` either `(low, high, start)` or
            `(low, high, start, step)`, all whole numbers or not, or a widget that has a `value`.

    Raises:
        ValueError: there is no alternative text or no control, or a control is none of these.
        TypeError: `draw` returns neither Axes nor Figure.

    >>> import matplotlib.pyplot as plt
    >>> def draw_power(k):
    ...     _, ax = plt.subplots()
    ...     ax.plot([x**k for x in range(5)])
    ...     return ax
    >>> shown = sliders(draw_power, alt="a parabola through 0, 1, 4, 9 and 16", k=(1, 5, 2))
    >>> shown
    [sliders: k = 2] a parabola through 0, 1, 4, 9 and 16
    >>> shown.controls["k"].value = 3
    >>> shown.values
    {'k': 3}
    >>> shown.close()
    """
    if not alt.strip():
        raise ValueError(f"sliders need an alternative text that says what is seen, got {alt!r}")
    if not controls:
        raise ValueError("sliders need at least one control, such as mu=(-3.0, 3.0, 0.0)")
    return Sliders(draw, alt, {name: _control(name, given) for name, given in controls.items()})


def _control(name: str, given: Any) -> Any:
    """Return the widget of one control."""
    import ipywidgets

    if isinstance(given, ipywidgets.Widget):
        if not given.has_trait("value"):
            raise ValueError(f"{name} is a {type(given).__name__}, which has no value to draw for")
        return given
    accepted = f"{name} must be (low, high, start), (low, high, start, step) or a widget"
    numbers = isinstance(given, tuple) and all(isinstance(v, int | float) for v in given)
    if not numbers or len(given) not in (3, 4):
        raise ValueError(f"{accepted}, got {given!r}")
    low, high, start, *step = given
    if not low < high or not low <= start <= high or (step and not step[0] > 0):
        raise ValueError(f"{accepted} with low <= start <= high and step > 0, got {given!r}")
    whole = all(isinstance(v, int) for v in given)
    kind = ipywidgets.IntSlider if whole else ipywidgets.FloatSlider
    step = step[0] if step else 1 if whole else (high - low) / 100
    return kind(value=start, min=low, max=high, step=step, description=name)


def _png(drawn: Any) -> tuple[bytes, int]:
    """Return a drawing as a PNG on its whole canvas, and its width on the screen in pixels."""
    import matplotlib.pyplot as plt
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, FigureBase

    figure = drawn.figure if isinstance(drawn, Axes) else drawn
    if not isinstance(figure, FigureBase):
        raise TypeError(f"draw must return the Axes or the Figure that it has drawn, got {drawn!r}")
    while not isinstance(figure, Figure):
        figure = figure.figure
    out = io.BytesIO()
    figure.savefig(out, format="png", bbox_inches=None, metadata={"Software": None})
    plt.close(figure)  # else the notebook shows it a second time, below the cell
    return out.getvalue(), round(POINTS * figure.get_figwidth())

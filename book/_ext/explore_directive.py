"""Interactive figures on pages that are not notebooks: the directive `explore`.

    :::{explore} DrawDigit
    A caption, in Markdown (optional).
    :::

shows the figure as its class makes it without arguments: alive on an HTML page, as its poster in
every other builder. With `:poster: 07_vae#sampling` the page shows the poster alone, as a link to
that place.
"""

import os
import posixpath
import struct
from html import escape
from urllib.parse import quote

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.util.docutils import SphinxDirective

SHARED = ("__init__.py", "figure.py", "page.py", "lib.js", "host.js", "figure.css")


class explore_figure(nodes.General, nodes.Element):
    """Holds an ordinary figure (poster and caption), and what an HTML page shows in its place."""


def dependencies(module):
    """The files that a figure is made of: if one of them changes, the page is built again."""
    from vae_tutorial.explore.page import HERE

    files = [HERE / name for name in SHARED]
    files += [path for path in HERE.glob(f"{module}*") if path.is_file()]
    files.append(HERE / "posters" / f"{module}.png")
    weights = HERE.parent / "checkpoints" / f"{module}.npz"
    if weights.exists():
        files += [weights, weights.with_name("manifest.json")]
    return sorted(files)


class Explore(SphinxDirective):
    """`:::{explore} Name` shows an interactive figure of the package."""

    required_arguments = 1
    has_content = True
    option_spec = {"poster": directives.unchanged_required}  # noqa: RUF012 (docutils reads it so)

    def run(self):
        """Called by the parser: one node, complete for every builder."""
        from vae_tutorial import explore
        from vae_tutorial.explore.page import HERE, POSTER_SCALE

        name = self.arguments[0].strip()
        target, hash_sign, place = self.options.get("poster", "").partition("#")
        if name not in explore.FIGURES:
            known = ", ".join(explore.FIGURES)
            raise self.error(f"there is no interactive figure {name!r}: choose one of {known}")
        if target and target not in self.env.found_docs:
            raise self.error(f"the poster of {name} is to link to {target!r}, which is no page")
        module = explore.FIGURES[name]
        for path in dependencies(module):
            self.env.note_dependency(str(path))

        poster = HERE / "posters" / f"{module}.png"
        png = poster.read_bytes()
        width, height = (round(side / POSTER_SCALE) for side in struct.unpack(">II", png[16:24]))
        # Sphinx reads a leading slash as the book's folder; the posters stand beside it.
        address = "/" + os.path.relpath(poster, self.env.srcdir).replace(os.sep, "/")
        figure = nodes.figure("", nodes.image(uri=address, alt=getattr(explore, name).alt))
        if self.content:
            (paragraph, *rest) = self.parse_content_to_nodes()
            if rest or not isinstance(paragraph, nodes.paragraph):
                raise self.error(f"the caption of {name} is to be one paragraph")
            figure += nodes.caption("", "", *paragraph.children)
        node = explore_figure(
            html=None if target else explore.static_html(name),
            target=target,
            fragment=hash_sign + place,
            page=self.env.docname,
            size=(width, height),
        )
        self.set_source_info(node)
        node += figure
        return [node]


def visit_html(translator, node):
    """Write the live figure, or its poster as a link, and then the caption."""
    (figure,) = node.children
    image, *caption = figure.children
    parts = ['<figure class="explore align-default">']
    if node["html"]:
        parts.append(node["html"])
    else:
        builder = translator.builder
        there = builder.get_relative_uri(node["page"], node["target"]) + node["fragment"]
        source = posixpath.join(builder.imgpath, quote(builder.images[image["uri"]]))
        width, height = node["size"]
        parts.append(
            f'<a class="reference internal" href="{escape(there)}"><img src="{source}" '
            f'alt="{escape(image["alt"])}" width="{width}" height="{height}"></a>'
        )
    translator.body.append("\n".join(parts))
    for words in caption:
        translator.body.append("<figcaption><p>")
        for child in words.children:
            child.walkabout(translator)
        translator.body.append("</p></figcaption>")
    translator.body.append("</figure>\n")
    raise nodes.SkipNode


def visit_elsewhere(translator, node):
    """Every other builder writes the ordinary figure: the poster and the caption."""


def setup(app):
    """Called by Sphinx once."""
    through = (visit_elsewhere, visit_elsewhere)
    others = dict.fromkeys(("latex", "text", "man", "texinfo"), through)
    app.add_node(explore_figure, html=(visit_html, None), **others)
    app.add_directive("explore", Explore)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

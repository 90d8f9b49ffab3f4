"""Folded cells that assert the numbers of a section: their summary says how many held."""

import re

PROOF = re.compile(
    r'(<div class="cell [^"]*\btag_claims\b[^"]*">\s*<details[^>]*>\s*<summary[^>]*>)'
    r".*?(</summary>)(.*?)(?=</details>)",
    re.DOTALL,
)
# A line of `claim`, or the last line of a `claim_table`, which counts for many.
MARK = re.compile(r"^(?:<[^>]*>)*([✓·✗])  (?:(\d+) numbers?\b)?", re.MULTILINE)


def summary(output):
    """What the summary of a folded proof says, from what the cell has printed.

    >>> summary("<pre>✓  KL, nats: 0.5 ± 0.1\\n✓  a: 1 ± 1\\n</pre>")
    '2 numbers checked: all hold'
    """
    count = {"✓": 0, "·": 0, "✗": 0}
    for mark, number in MARK.findall(output):
        count[mark] += int(number or 1)
    total = sum(count.values())
    numbers = f"{total} number{'s' * (total != 1)}"
    if count["✗"]:
        return f"{numbers}, of which {count['✗']} not as the book has them"
    if count["·"]:
        return f"{numbers}, of which {count['·']} not checked"
    return f"{numbers} checked: {'all hold' if total != 1 else 'it holds'}"


def name_proofs(app, pagename, templatename, context, doctree):
    """Called by Sphinx for each page, after the repairs of its markup."""
    context["body"] = PROOF.sub(
        lambda match: f"{match[1]}{summary(match[3])}{match[2]}{match[3]}",
        context.get("body", ""),
    )


def setup(app):
    """Called by Sphinx once."""
    app.connect("html-page-context", name_proofs, priority=910)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

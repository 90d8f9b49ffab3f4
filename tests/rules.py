"""Rules about the whole house, as functions, so that the guards can be tried on planted faults."""

import ast
import json
import re
from collections import Counter
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# ------------------------------------------------------------------------------ labels
LABEL = r"eq-[a-z0-9]+(?:-[a-z0-9]+)*"
DEFINED = re.compile(rf"\$\$[ \t]*\(({LABEL})\)")
REFERRED = re.compile(rf"\]\([^)\s]*#({LABEL})\)|\{{eq\}}`(?:[^`<]*<)?({LABEL})>?`")
NAMED = re.compile(rf"(?<![\w-])({LABEL})(?![\w*\[{{-])")
NO_TESTS = {"conftest.py", "rules.py", "test_guards.py"}  # these name labels that need not exist


def prose(path):
    """What a page says: the text of a Markdown file, or the Markdown and captions of a notebook."""
    text = path.read_text(encoding="utf8")
    if path.suffix != ".ipynb":
        return text
    parts = []
    for cell in json.loads(text)["cells"]:
        if cell["cell_type"] == "markdown":
            parts.append("".join(cell["source"]))
        parts.append(cell["metadata"].get("mystnb", {}).get("figure", {}).get("caption", ""))
    return "\n\n".join(parts)


def label_problems(root):
    """Equation labels join prose, docstrings and tests: what does not join, as sentences."""
    pages = {
        p: prose(p) for p in sorted((root / "book").glob("*")) if p.suffix in (".md", ".ipynb")
    }
    code = sorted((root / "vae_tutorial").rglob("*.py"))
    tests = [p for p in sorted((root / "tests").glob("*.py")) if p.name not in NO_TESTS]
    defined = Counter(label for text in pages.values() for label in DEFINED.findall(text))
    found = [f"{label} is defined {n} times" for label, n in sorted(defined.items()) if n > 1]
    for page, text in pages.items():
        for label in sorted({a or b for a, b in REFERRED.findall(text)} - set(defined)):
            found.append(f"{page.name} refers to {label}, which no page defines")
    tested = set()
    for path in [*code, *tests]:
        named = set(NAMED.findall(path.read_text(encoding="utf8")))
        tested |= named if path in tests else set()
        for label in sorted(named - set(defined)):
            found.append(f"{path.relative_to(root)} names {label}, which no page defines")
    for label in sorted(set(defined) - tested):
        if not label.startswith("eq-def-"):
            found.append(f"{label} is named by no test")
    return found


# ------------------------------------------------------------------------------ arrows
# A module may import what stands in a lower layer or, without a circle, in its own.
LAYERS = [
    {"distributions", "data", "claims"},
    {"exact", "dictionary", "inference", "objectives", "gradients", "reparameterization"},
    {"models", "decoders", "inputs", "training", "diagnostics", "autoencoders", "conditional"},
    {"checkpoints"},
    {"plotting", "explore", "checks"},
]
ROOFS = LAYERS[-1]  # nothing imports them
OUTSIDE = {"book", "tests", "tools", "benchmarks", "conftest"}  # the package never imports these


def imports(path, package):
    """Every module that a file imports, at the top or inside a function, as dotted names."""
    where = (package.name, *path.relative_to(package).parent.parts)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = where[: len(where) - node.level + 1] if node.level else ()
            module = ".".join((*base, *([node.module] if node.module else [])))
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)
        elif (
            isinstance(node, ast.Call)
            and getattr(node.func, "attr", getattr(node.func, "id", "")) in _IMPORTERS
            and node.args
            and isinstance(node.args[0], ast.Constant)
        ):
            yield str(node.args[0].value)


_IMPORTERS = {"import_module", "__import__"}


def arrow_problems(package):
    """Imports of the package that point up, in a circle, or out of it, as sentences."""
    layer = {module: n for n, modules in enumerate(LAYERS) for module in modules}
    files = {
        path: path.relative_to(package).with_suffix("").parts[0] for path in package.rglob("*.py")
    }
    modules = set(files.values()) - {"__init__"}
    found = [
        f"{module} has no layer yet: give it one in tests/rules.py and in the architecture"
        for module in sorted(modules - set(layer))
    ]
    graph = {module: set() for module in modules}
    for path, module in sorted(files.items()):
        for name in imports(path, package):
            first, *rest = name.split(".")
            if first in OUTSIDE:
                found.append(f"{module} imports {first}, which is outside the package")
            if first != package.name or not rest or rest[0] == module or rest[0] not in modules:
                continue
            target = rest[0]
            if module == "__init__":
                found.append(f"__init__ imports {target}: importing the package loads nothing")
                continue
            graph[module].add(target)
            if target in ROOFS:
                found.append(f"{module} imports {target}, which nothing may import")
            elif layer.get(target, 0) > layer.get(module, len(LAYERS)):
                found.append(f"{module} imports {target}, which stands above it")
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        found.append(f"imports in a circle: {' -> '.join(error.args[1])}")
    return sorted(set(found))

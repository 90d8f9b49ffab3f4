"""The address of the repository, said once in `_config.yml`, and every link that follows from it.

python tools/repo_links.py              check that every file agrees and every target exists
python tools/repo_links.py --set URL    write another address everywhere, for instance a fork's:
                                        --set "$(git remote get-url origin)"
"""

import argparse
import re
import subprocess
import sys

from notebooks import ROOT, repository

BRANCH = re.compile(r"^  branch: *(\S+)", re.M)
NAME = r"([\w.-]+/[\w.-]+?)"
# What a link to a repository looks like: owner/name, then for some the branch and a path.
LINKS = {
    "the package, installed from git": re.compile(
        rf"git\+https://github\.com/{NAME}(?=[\"'\s`@\\])"
    ),
    "git clone": re.compile(rf"git clone https://github\.com/{NAME}(?:\.git)?(?=[\s`]|$)", re.M),
    "a page on Colab": re.compile(
        rf"colab\.research\.google\.com/github/{NAME}/blob/([\w.-]+)/([^\s\"')>\]#?]+)"
    ),
    "Binder": re.compile(rf"mybinder\.org/v2/gh/{NAME}/([\w.-]+)"),
    "the citation": re.compile(rf"^(?:repository-code|url): https://github\.com/{NAME}$", re.M),
    "a file or an issue": re.compile(
        rf"https://github\.com/{NAME}/(?:blob|tree|issues|discussions|actions)\b"
    ),
}
# Links of the last kind may well lead to somebody else's repository.
OTHERS_ALLOWED = {"a file or an issue"}
SUFFIXES = {".md", ".ipynb", ".cff", ".toml", ".yml", ".yaml", ".py", ".txt"}


def owner_and_name(address):
    """`owner/name` of an address in https or ssh form.

    >>> owner_and_name("git@github.com:ada/vae.git"), owner_and_name("https://github.com/ada/vae/")
    ('ada/vae', 'ada/vae')
    """
    found = re.fullmatch(
        rf"(?:https://(?:[^@/]+@)?github\.com/|(?:ssh://)?git@github\.com[:/]){NAME}(?:\.git)?/?",
        address.strip(),
    )
    if not found:
        raise ValueError(
            f"address must be a repository on GitHub, https://github.com/OWNER/NAME or "
            f"git@github.com:OWNER/NAME.git, got {address!r}"
        )
    return found[1]


def files(root):
    """The text files that may hold such a link: those that git knows, or else all."""
    git = subprocess.run(
        ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        capture_output=True,
        text=True,
    )
    names = git.stdout.split("\0") if git.returncode == 0 else []
    paths = [root / name for name in names if name] or [
        path
        for path in root.rglob("*")
        if not {".venv", "_build", ".git"} & set(path.relative_to(root).parts)
    ]
    # Tests of this file hold wrong links on purpose.
    return sorted(
        path
        for path in paths
        if path.suffix in SUFFIXES and path.is_file() and path.parent.name not in {"tests", "tools"}
    )


def problems(root=ROOT, address=None):
    """One sentence for each link that disagrees with `_config.yml` or leads nowhere."""
    here = owner_and_name(address or repository())
    branch = BRANCH.search((root / "_config.yml").read_text(encoding="utf8"))[1]
    found = []
    for path in files(root):
        text, name = path.read_text(encoding="utf8"), path.relative_to(root)
        for kind, pattern in LINKS.items():
            for match in pattern.finditer(text):
                repo, *rest = match.groups()
                if repo != here:
                    if kind not in OTHERS_ALLOWED:
                        found.append(f"{name}: {kind} says {repo}, _config.yml says {here}")
                    continue
                if rest and rest[0] != branch:
                    found.append(f"{name}: {kind} is on branch {rest[0]}, not {branch}")
                if len(rest) > 1 and not (root / rest[1]).is_file():
                    found.append(f"{name}: {kind} leads to {rest[1]}, which does not exist")
    return found


def rewrite(address, root=ROOT, old=None):
    """Write the address into every file that holds the old one; returns the files changed."""
    old, new = owner_and_name(old or repository()), owner_and_name(address)
    changed = []
    for path in files(root):
        text = path.read_text(encoding="utf8")
        fresh = re.sub(
            rf"((?:github\.com|/github|/gh)/){re.escape(old)}(?![\w-]|\.(?!git\b)\w)",
            rf"\g<1>{new}",
            text,
        )
        if fresh != text:
            path.write_text(fresh, encoding="utf8")
            changed.append(path)
    return changed


def main(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--set", metavar="URL", help="the repository's address from now on")
    args = parser.parse_args(argv)
    if args.set:
        try:
            for path in rewrite(args.set):
                print("wrote", path.relative_to(ROOT))
        except ValueError as error:
            parser.error(str(error))
    found = problems()
    print("\n".join(found) or f"every link agrees with {repository()}")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())

"""`make book`: from nothing when something has changed, not at all when nothing has."""

import pytest

import book


@pytest.fixture
def checkout(tmp_path):
    (tmp_path / "book").mkdir()
    (tmp_path / "vae_tutorial").mkdir()
    for name in ("book/a.md", "vae_tutorial/a.py", "_config.yml", "_toc.yml", "requirements.txt"):
        (tmp_path / name).write_text("old")
    return tmp_path


def builds(root, status=0):
    """What a build would run, with a page left over from an earlier one if it were kept."""
    done = []

    def run(command):
        done.append(command)
        html = root / "_build" / "html"
        html.mkdir(parents=True, exist_ok=True)
        done.append(sorted(path.name for path in html.iterdir()))
        (html / "index.html").write_text("page")
        (html / "stale.html").write_text("equation (7)")
        return status

    assert book.build(root, run) == status
    return done


def test_nothing_changed_and_nothing_is_built(checkout):
    assert builds(checkout)
    assert builds(checkout) == []


@pytest.mark.parametrize("name", ["book/a.md", "vae_tutorial/a.py", "_toc.yml", "book/new.md"])
def test_a_change_builds_everything_from_nothing(checkout, name):
    builds(checkout)
    (checkout / "_build" / ".typeset.json").write_text("{}")
    (checkout / name).write_text("new")
    command, left = builds(checkout)
    assert left == []  # no page with an old number
    assert (checkout / "_build" / ".typeset.json").exists()  # but the formulas that were set
    assert command[1:3] == ["build", str(checkout / "book")]
    assert {"-W", "-n"} <= set(command)


def test_a_build_that_failed_is_tried_again(checkout):
    assert builds(checkout, status=1)
    assert builds(checkout)
    assert builds(checkout) == []


def test_without_its_pages_a_build_is_not_up_to_date(checkout):
    builds(checkout)
    (checkout / "_build" / "html" / "index.html").unlink()
    assert builds(checkout)


def test_what_python_leaves_behind_is_no_change(checkout):
    builds(checkout)
    (checkout / "book" / "__pycache__").mkdir()
    (checkout / "book" / "__pycache__" / "a.pyc").write_text("x")
    assert builds(checkout) == []

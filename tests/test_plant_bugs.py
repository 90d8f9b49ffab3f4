"""The tool that plants mistakes: every place it names exists, and an uncaught bug is reported."""

import ast
from pathlib import Path

import plant_bugs
import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "vae_tutorial"


@pytest.mark.parametrize("bug", plant_bugs.BUGS, ids=lambda bug: bug.key)
def test_the_place_is_still_there(bug):
    """Planting changes the program, in exactly one place, and leaves it valid Python."""
    text = (PACKAGE / f"{bug.module}.py").read_text()
    planted = bug.plant(text)
    assert ast.dump(ast.parse(planted)) != ast.dump(ast.parse(text))
    assert (Path(__file__).parent / f"test_{bug.suite}.py").exists()


def test_there_are_enough_and_each_is_its_own():
    assert len(plant_bugs.BUGS) >= 20
    assert len({bug.key for bug in plant_bugs.BUGS}) == len(plant_bugs.BUGS)
    with pytest.raises(ValueError, match="occurs 0 times"):
        plant_bugs.BUGS[0].plant("another text")


def test_a_caught_and_an_uncaught_bug(monkeypatch, capsys):
    """A real bug ends with the test that saw it; a change that no test can see ends with 1."""
    real = plant_bugs.Bug("nan-passes", "NaN passes", "claims", "abs(", "-abs(", "claims")
    harmless = plant_bugs.Bug("comment", "a comment", "claims", '"""', '# nothing\n"""', "claims")
    text = (PACKAGE / "claims.py").read_text()
    monkeypatch.setattr(
        plant_bugs.Bug, "plant", lambda self, text: text.replace(self.old, self.new, 1)
    )
    assert "abs(" in text
    monkeypatch.setattr(plant_bugs, "BUGS", [real, harmless])
    assert plant_bugs.main([]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert "tests/test_claims.py::" in lines[0]
    assert lines[1].endswith("NOT CAUGHT")
    assert lines[2] == "1 not caught"

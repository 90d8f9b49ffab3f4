"""The checks of chapter 11: independent answers, and the bug hunt bug by bug."""

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import distributions as td
from torch import nn

from vae_tutorial import checks
from vae_tutorial.checks.hunt import BUGS, HINTS

BOOK = Path(__file__).resolve().parent.parent / "book"


# ------------------------------------------------------------------------------ the references
@pytest.mark.parametrize("inputs", checks.conditional_bound.inputs()[:5])
def test_conditional_bound_agrees_with_torch(inputs):
    """eq-cvae-elbo"""
    model, v2, q, r, z = inputs
    p = td.Independent(td.Normal(z @ model.weight.T + model.bias, model.sigma), 1)
    q, r = (td.Independent(td.Normal(law.loc, law.scale), 1) for law in (q, r))
    expected = p.log_prob(v2).mean(0) - td.kl_divergence(q, r)
    torch.testing.assert_close(checks.conditional_bound.reference(*inputs), expected)


@pytest.mark.parametrize("inputs", checks.first_objective.inputs())
def test_first_objective_agrees_with_quadrature(inputs):
    """eq-def-bottleneck-objective, eq-bottleneck-jensen"""
    w, s, mu, sigma, v2 = (float(value) for value in inputs)
    t, weights = np.polynomial.hermite_e.hermegauss(60)
    weights = weights / weights.sum()

    def log_p(z):
        return -0.5 * ((v2 - w * z) / s) ** 2 - math.log(s) - 0.5 * math.log(2 * math.pi)

    z = mu + sigma * t
    kl = td.kl_divergence(td.Normal(mu, sigma), td.Normal(0.0, 1.0)).item()
    expected = [
        weights @ log_p(z) - kl,
        math.log(weights @ np.exp(log_p(z))),
        math.log(weights @ np.exp(log_p(t))),
    ]
    found = checks.first_objective.reference(*inputs)
    assert found.tolist() == pytest.approx(expected, abs=2e-3)
    assert found[0] < found[1:].min()


def test_the_two_quantities_take_turns(seed):
    found = [checks.first_objective.reference(*i) for i in checks.first_objective.inputs()]
    larger = [bool(values[1] > values[2]) for values in found]
    assert 3 <= sum(larger) <= 17


@pytest.mark.parametrize("inputs", checks.interval_coverage.inputs()[:5])
def test_coverage_agrees_with_numpy(inputs):
    """eq-coverage"""
    draws, v2, level = (value.numpy() for value in inputs)
    low = np.quantile(draws, (1 - level) / 2, axis=0)
    high = np.quantile(draws, (1 + level) / 2, axis=0)
    expected = ((low <= v2) & (v2 <= high)).mean()
    assert float(checks.interval_coverage.reference(*inputs)) == pytest.approx(expected, abs=1e-6)
    assert 0.2 < expected < 0.98


def test_other_right_forms_pass():
    def by_torch(model, v2, q, r, z):
        q, r = (td.Independent(td.Normal(law.loc, law.scale), 1) for law in (q, r))
        each = td.Normal(z @ model.weight.T + model.bias, model.sigma).log_prob(v2)
        return each.sum(-1).mean(0) - td.kl_divergence(q, r)

    def with_torch(w, s, mu, sigma, v2):
        fit = td.Normal(w * mu, s).log_prob(v2) - 0.5 * (w * sigma / s) ** 2
        kl = td.kl_divergence(td.Normal(mu, sigma), td.Normal(0 * mu, 1 + 0 * mu))
        predictive = td.Normal(w * mu, (s**2 + (w * sigma) ** 2).sqrt()).log_prob(v2)
        marginal = td.Normal(0 * w, (s**2 + w**2).sqrt()).log_prob(v2)
        return torch.stack([fit - kl, predictive, marginal])

    def with_floats(draws, v2, level):
        tail = (1 - float(level)) / 2
        low, high = torch.quantile(draws, tail, dim=0), torch.quantile(draws, 1 - tail, dim=0)
        return float(((low < v2) & (v2 < high)).float().mean())

    assert checks.conditional_bound.check(by_torch).passed
    assert checks.first_objective.check(with_torch).passed
    assert checks.interval_coverage.check(with_floats).passed


# ------------------------------------------------------------------------------ the hunt
NAMES = [bug.about for bug in BUGS]


def stage(*mended, **special):
    """The class of the exercise with some of its nine bugs mended; `special` sets a part itself."""
    good = set(mended)

    def pick(about, right, wrong):
        return special.get(about.replace(" ", "_"), right if about in good else wrong)

    class Net(nn.Module):
        def __init__(self, inputs, hidden, outputs):
            super().__init__()
            self.layer = nn.Linear(inputs, hidden)
            self.mean, self.logvar = nn.Linear(hidden, outputs), nn.Linear(hidden, outputs)
            self.act = nn.Tanh()

        def forward(self, x):
            h = pick("activation", self.act, torch.relu)(self.layer(x))
            return self.mean(h), self.logvar(h)

    class Stage(nn.Module):
        def __init__(self, dim_1, dim_2, hidden, d):
            super().__init__()
            self.encode, self.decode = Net(dim_1, hidden, d), Net(d, hidden, dim_2)
            constant = pick("constant", math.log(2 * math.pi), math.log2(math.pi))
            self.constant = pick("precision", lambda c: c, lambda c: torch.tensor([c]))(constant)

        def log_prob(self, v2, mu, logvar):
            square = (v2 - mu) ** 2 / logvar.exp()
            combine = pick(
                "proportion",
                lambda c, s, m: 0.5 * (c + s + m),
                lambda c, s, m: c + s + 0.5 * m,
            )
            value = combine(self.constant, logvar, square)
            value = pick("sign", torch.neg, torch.clone)(value)
            return pick("reductions", lambda t: t.sum(-1), lambda t: t)(value)

        def kl(self, mu, logvar):
            each = 0.5 * (mu**2 + logvar.exp() - 1 - logvar)
            return pick("reductions", lambda t: t.sum(-1), lambda t: t.sum())(each)

        def forward(self, v1, eps, v2=None):
            mu, logvar = self.encode(v1)
            mean, logvar_2 = self.decode(mu + (0.5 * logvar).exp() * eps)
            sigma = (0.5 * logvar_2).exp() * pick("σ handed on", 1.0, 2**0.5)
            bound = pick("no v₂", None, 0)
            if v2 is not None:
                both = pick("bound", lambda p, kl: p - kl, lambda p, kl: -kl)
                bound = both(self.log_prob(v2, mean, logvar_2), self.kl(mu, logvar))
            return mean, sigma, bound

    return Stage


def test_the_hunt_has_nine_bugs_and_a_hint_order():
    assert len(set(NAMES)) == 9
    assert sorted(HINTS) == sorted(NAMES)


@pytest.mark.parametrize("count", [0, 1, 2, 7, 8])
def test_each_bug_is_scored_by_itself(count):
    """Whatever the state of the others: no probe leans on another mend."""
    for mended in itertools.combinations(NAMES, count):
        scores = checks.bug_hunt.scores(stage(*mended))
        assert [about for about, hint in scores.items() if not hint] == list(mended), mended


def test_the_mended_class_passes():
    result = checks.bug_hunt.check(stage(*NAMES))
    assert result.passed, result.hint
    assert "9 of 9" in result.hint


def test_the_verdict_counts_names_and_hints_once():
    result = checks.bug_hunt.check(stage("sign", "bound"))
    assert not result.passed
    assert result.hint.startswith("2 of 9 mended (sign, bound); next: without v₂")
    hints = checks.bug_hunt.scores(stage())
    assert len(set(hints.values())) == 9
    assert all(hint[0] in "`" or hint[0] == hint[0].lower() for hint in hints.values())


LOG_2PI = math.log(2 * math.pi)


def others(about):
    return [name for name in NAMES if name != about]


@pytest.mark.parametrize(
    ("about", "part", "words"),
    [
        ("constant", math.log2(2 * math.pi), "the logarithm the natural one"),
        ("constant", math.log(math.pi), "is it that of 2π"),
        ("constant", 0.0, "the constant is gone"),
        ("constant", 1.0, "which one is it"),
        ("proportion", lambda c, s, m: c + 0.5 * (s + m), "what about the constant"),
        ("proportion", lambda c, s, m: c + s + m, "lost its ½"),
        ("proportion", lambda c, s, m: 0.5 * (c + s + 0.5 * m), "halved twice"),
        ("proportion", lambda c, s, m: c + 2 * s + m, "another proportion"),
        ("bound", lambda p, kl: kl - p, "a loss now"),
        ("bound", lambda p, kl: p + kl, "with which sign"),
        ("bound", lambda p, kl: p, "lost its KL"),
        ("bound", lambda p, kl: p - 2 * kl, "not `log_prob` minus `kl`"),
        ("bound", lambda p, kl: 0.0, "the bound is a float"),
        ("bound", lambda p, kl: (p - kl).mean(), "the bound has not"),
        ("reductions", lambda t: t.mean(-1), "mean over the entries"),
        ("reductions", lambda t: t.sum(), "one number for the whole batch"),
        ("reductions", lambda t: t, "`kl` has a number for each entry"),
        ("reductions", lambda t: t.sum(0), "has the shape (4,)"),
        ("activation", torch.sigmoid, "no tanh"),
        ("no v₂", 0.0, "looks like a perfect one"),
        ("no v₂", torch.zeros(6), "looks like a perfect one"),
        ("no v₂", torch.ones(6), "should be None"),
        ("σ handed on", 2.0, "does not belong"),
    ],
)
def test_half_mended_is_named(about, part, words):
    made = stage(*others(about), **{about.replace(" ", "_"): part})
    # a bound of another shape spoils the reductions too: that is the fault it is named for
    name = "reductions" if words == "the bound has not" else about
    hints = checks.bug_hunt.scores(made)
    assert words in hints[name]
    assert all(not hint for other, hint in hints.items() if other not in (name, "reductions"))


@pytest.mark.parametrize(
    ("change", "words"),
    [(lambda s: s**2, "a variance now"), (lambda s: 2 * s.log(), "a log-variance now")],
)
def test_another_sigma_is_named(change, words):
    class Other(stage(*NAMES)):
        def forward(self, v1, eps, v2=None):
            mean, sigma, bound = super().forward(v1, eps, v2)
            return mean, change(sigma), bound

    assert words in checks.bug_hunt.scores(Other)["σ handed on"]


def test_a_buffer_is_as_good_as_a_number():
    class Other(stage(*NAMES)):
        def __init__(self, *sizes):
            super().__init__(*sizes)
            del self.constant
            self.register_buffer("constant", torch.tensor(LOG_2PI))

    assert checks.bug_hunt.check(Other).passed


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (None, "no answer yet"),
        (3.0, "hand in your class"),
        (nn.Linear(1, 1), "the class itself, not an object"),
        (lambda: 1, "raised TypeError"),
        (lambda *sizes: 1, "should make a Module"),
        (lambda *sizes: nn.Linear(2, 2), "of 9 mended (precision); next: the probe stopped"),
    ],
)
def test_what_is_no_stage_is_explained(answer, words):
    assert words in checks.bug_hunt.check(answer).hint


def cells(tag):
    notebook = json.loads((BOOK / "11_conditional.ipynb").read_text(encoding="utf8"))
    found = [
        "".join(cell["source"])
        for cell in notebook["cells"]
        if tag in cell["metadata"].get("tags", []) and cell["cell_type"] == "code"
    ]
    return "\n\n".join(text for text in found if "MyNet" in text or "MyStage" in text)


def test_the_book_hands_out_nine_bugs_and_mends_nine(capsys):
    names = {"nn": nn, "torch": torch, "math": math, "checks": checks}
    exec(cells("exercise"), names)
    assert [bool(hint) for hint in checks.bug_hunt.scores(names["MyStage"]).values()] == [True] * 9
    exec(cells("solution"), names)
    assert "✅" in capsys.readouterr().out.splitlines()[-1]

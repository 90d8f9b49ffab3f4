"""The page "Which likelihood": its lines run in their order, and each bold number is computed."""

import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import optimize, special, stats
from torch.nn import functional as F

from vae_tutorial import models
from vae_tutorial.distributions import Bernoulli, ContinuousBernoulli
from vae_tutorial.objectives import elbo_terms

PAGE = (Path(__file__).parent.parent / "book" / "which_likelihood.md").read_text("utf8")
LINES = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def states():
    """What the names of the page stand for after each of its blocks."""
    found, names = [], {}
    with torch.random.fork_rng():
        torch.manual_seed(0)  # the page is short: it draws from the global generator
        for block in LINES:
            exec(compile(block, "which_likelihood.md", "exec"), names)
            found.append(dict(names))
    return found


def test_every_line_runs_and_scores_each_row(states):
    assert len(states) == 13
    for state in states[1:]:
        assert state["log_p"].shape == (8,)
        assert state["log_p"].isfinite().all()


def test_every_decoder_goes_into_a_vae(states):
    first = {id(state["decoder"]): state for state in reversed(states[1:])}
    assert len(first) == 8
    for state in first.values():
        vae = models.VAE(state["encoder"], state["decoder"])
        terms = elbo_terms(vae, state["x"], vae.encode(state["x"]), samples=3)
        assert terms.elbo.shape == (8,)
        assert terms.elbo.isfinite().all()


def test_only_seen_entries_count(states):
    """Missing entries: the sum over the rest, whatever is filled in."""
    state = next(s for s in states if "seen" in s)
    x, seen, p = state["x"], state["seen"], state["p"]
    for row in range(len(x)):
        keep = seen[row]
        law = stats.norm(p.loc[row, keep].detach(), p.scale[row, keep].detach())
        expected = law.logpdf(x[row, keep]).sum()
        assert state["log_p"][row].item() == pytest.approx(expected, rel=1e-4)


def test_the_change_of_variable_is_a_density(states):
    """Numbers between two ends: N(v) / (x (1 − x)) integrates to one over x."""
    x = torch.linspace(1e-4, 1 - 1e-4, 200_001, dtype=torch.float64)[:, None]
    law = stats.norm(0.4, 1.3)
    density = law.pdf(torch.logit(x)) / (x * (1 - x)).numpy()
    assert np.trapezoid(density[:, 0], x[:, 0]) == pytest.approx(1, abs=1e-3)


# ------------------------------------------------------------------ the numbers, in their order
def nats(law, value):
    return -law.logpmf(value) if hasattr(law, "logpmf") else -law.logpdf(value)


def negative_binomial(mean, r):
    return stats.nbinom(r, r / (r + mean))


def filled_bit():
    """The best prediction of a bit with mean .8 whose missing half is scored as 0."""
    cost = lambda a: special.xlogy(0.4, 1) + np.logaddexp(0, a) - 0.4 * a  # noqa: E731
    return special.expit(optimize.minimize_scalar(cost).x)


def best_kind():
    """The constant with the least squared error on kinds 0 and 2."""
    return optimize.minimize_scalar(lambda m: 0.5 * m**2 + 0.5 * (2 - m) ** 2).x


def clamp_gain():
    black = torch.zeros(633, dtype=torch.float64)
    low, high = (
        ContinuousBernoulli(torch.full((633,), -a, dtype=torch.float64)).log_prob(black)
        for a in (13.8155, 16.0)
    )
    return (high - low).item()


def twice(a):
    return Bernoulli(torch.sigmoid(torch.tensor([a]))).probs.item()


def stretched():
    """−log p of a Gaussian for 784 pixels, before and after x ↦ 2x − 1."""
    x = np.linspace(0, 1, 784)
    before = stats.norm(0.3, 0.2).logpdf(x).sum()
    return before - stats.norm(2 * 0.3 - 1, 2 * 0.2).logpdf(2 * x - 1).sum()


def mean_squared_error_sigma(dim=784):
    """The σ at which ½ (x/σ)² summed equals the mean of x²."""
    error = torch.linspace(-1, 1, dim, dtype=torch.float64)
    mse = F.mse_loss(error, 0 * error)
    return (error.square().sum() / (2 * mse)).sqrt().item()


shares = np.array([0.5, 0.3, 0.2])
NUMBERS = [
    ("0.50", twice(-40.0)),
    ("0.73", twice(40.0)),
    ("543.4 nats", -Bernoulli(torch.zeros(784)).log_prob(torch.ones(784)).item()),
    ("0.69 nats", stats.bernoulli(0.5).entropy()),
    ("1", best_kind()),
    ("0.69 nats", stats.entropy([0.5, 0, 0.5])),
    ("93 nats", clamp_gain()),
    ("60", negative_binomial(10, 2).var()),
    ("5.6 nats", nats(negative_binomial(10, 2), 30)),
    ("15.6 nats", nats(stats.poisson(10), 30)),
    ("0.45", negative_binomial(2, 0.5).pmf(0)),
    ("0.14", stats.poisson(2).pmf(0)),
    ("19.8", mean_squared_error_sigma()),
    ("34.5 nats", 5 * (nats(stats.norm(0, 1000.0), 700.0) - nats(stats.norm(0, 1.0), 0.7))),
    ("50.9 nats", nats(stats.norm, 10)),
    ("8.1 nats", nats(stats.t(3), 10)),
    ("0.08 nats", nats(stats.t(3), 0) - nats(stats.norm, 0)),
    ("31 %", 100 * stats.norm(0.9, 0.2).sf(1)),
    ("4.6 nats", -math.log(0.01 * 0.99)),
    (
        "−100",
        F.binary_cross_entropy_with_logits(torch.tensor([-100.0]), torch.tensor([-1.0])).item(),
    ),
    ("543.4 nats", stretched()),
    ("1.03 nats", stats.entropy(shares)),
    ("0.40", filled_bit()),
    ("50 nats", nats(stats.norm, 10) - nats(stats.norm, 0)),
    ("0.69 nats", stats.bernoulli(0.5).entropy()),
]
BOLD = re.findall(r"\*\*(−?\d[^*]*)\*\*", PAGE)


def test_every_bold_number_has_a_computation():
    assert [shown for shown, _ in NUMBERS] == BOLD


@pytest.mark.parametrize(("shown", "value"), NUMBERS)
def test_each_number_rounds_to_what_the_page_says(shown, value):
    digits = shown.split()[0].replace("−", "-")
    places = len(digits.partition(".")[2])
    assert f"{value:.{places}f}" == digits


def test_the_classes_of_the_page_are_the_laws_they_say(states):
    """Student's t and Dirichlet against SciPy, at the parameters that their networks give."""
    z = torch.zeros(1, 2)
    t = states[-1]["StudentDecoder"](2, [8], 5)(z)
    value = torch.linspace(-3, 12, 5)
    expected = stats.t(3, t.mean[0].detach(), 1.0).logpdf(value).sum()
    assert t.log_prob(value).item() == pytest.approx(expected, rel=1e-4)
    p = states[-1]["DirichletDecoder"](2, [8], 3)(z)
    expected = stats.dirichlet(p.concentration[0].detach().double().numpy()).logpdf(shares)
    assert p.log_prob(torch.tensor(shares).float()).item() == pytest.approx(expected, rel=1e-4)


def test_each_row_of_the_first_table_leads_to_a_section():
    headings = re.findall(r"^## (.+)$", PAGE, re.MULTILINE)
    anchors = {re.sub(r"[^a-z0-9 ]", "", h.lower()).replace(" ", "-") for h in headings}
    targets = re.findall(r"\[↓\]\(#(.+?)\)", PAGE)
    assert len(targets) == 10
    assert set(targets) <= anchors

"""What the cover, the notation and the glossary say in numbers or in code."""

import doctest
import math
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vae_tutorial import distributions, objectives
from vae_tutorial.data import load_mnist, mnist_is_here

BOOK = Path(__file__).resolve().parent.parent / "book"
COVER = (BOOK / "index.md").read_text(encoding="utf8")
NOTATION = (BOOK / "notation.md").read_text(encoding="utf8")
GLOSSARY = (BOOK / "glossary.md").read_text(encoding="utf8")


def test_the_code_on_the_cover_runs_and_prints_what_the_cover_shows():
    parser, runner = doctest.DocTestParser(), doctest.DocTestRunner()
    blocks = [b for b in re.findall(r"```python\n(.*?)```", COVER, re.DOTALL) if ">>>" in b]
    assert len(blocks) == 2
    for block in blocks:
        result = runner.run(parser.get_doctest(block, {}, "index.md", "index.md", 0))
        assert result.attempted >= 3
        assert result.failed == 0


def test_halfway_between_two_samples():
    z = np.random.default_rng(0).standard_normal((2, 20000, 20))
    halfway = z.mean(0)
    length = np.linalg.norm(z[0], axis=-1).mean(), np.linalg.norm(halfway, axis=-1).mean()
    assert length == pytest.approx((4.42, 3.12), abs=0.02)
    # log-density, halfway minus end: (E‖z‖² − E‖halfway‖²) / 2 = (20 − 10) / 2
    gain = 0.5 * ((z[0] ** 2).sum(-1) - (halfway**2).sum(-1)).mean()
    assert gain == pytest.approx(5, abs=0.15)
    assert "on average by 5 nats, a factor of about 150" in COVER
    assert math.exp(5) == pytest.approx(150, abs=5)
    share = (np.linalg.norm(z[1], axis=-1) < length[1]).mean()
    assert share == pytest.approx(1 / 36, abs=0.004)
    assert "One sample in 36" in COVER


def test_a_mean_over_784_pixels_is_a_gaussian_with_that_sigma():
    assert "$\\sigma^2 = 784/2 = 392$" in COVER
    assert f"a standard deviation of {math.sqrt(392):.1f}," in COVER
    x, y = np.random.default_rng(0).uniform(size=(2, 784))
    log_density = -((x - y) ** 2).sum() / (2 * 392)
    assert -((x - y) ** 2).mean() == pytest.approx(log_density)


@pytest.mark.skipif(not mnist_is_here(), reason="MNIST is not here: `make data` fetches it")
def test_no_image_of_mnist_is_further_from_the_mean_image_than_the_cover_says():
    images = load_mnist().train.double()
    radius_squared = float((images - images.mean(0)).square().sum(1).max())
    assert 149 < radius_squared < 150
    assert "$R^2 < 150$ on MNIST" in COVER


@given(st.integers(0, 10**6), st.floats(0, 3), st.floats(0, 1))
def test_no_decoder_beats_the_mean_image_where_sigma_is_at_least_the_radius(seed, size, used):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((7, 3)) ** 3
    x -= x.mean(0)
    sigma2 = (x**2).sum(1).max()  # R², the limit of what the proof allows
    u = size * math.sqrt(sigma2) * rng.standard_normal((5, 3))  # what five values of z draw
    p = rng.dirichlet(np.full(5, 0.1 + used))
    r = np.exp(x @ u.T / sigma2 - (u**2).sum(1) / (2 * sigma2)) @ p
    assert r.mean() <= 1 + 1e-9
    assert np.log(np.maximum(r, 1e-300)).mean() <= 1e-9


def test_the_collapse_is_a_matter_of_sigma():
    x = np.array([[-1.0], [1.0]])  # two points at radius 1, and a decoder that knows both
    u, p = x, np.array([0.5, 0.5])

    def gain(sigma2):
        r = np.exp(x @ u.T / sigma2 - (u**2).sum(1) / (2 * sigma2)) @ p
        return float(np.log(r).mean())

    assert gain(1.0) < 0 < gain(0.25)


def test_one_nat_in_bits():
    bits = f"$1/\\log 2 = {1 / math.log(2):.4f}$ bits"
    assert bits in NOTATION
    assert bits in GLOSSARY


def test_the_names_that_the_notation_promises_exist():
    for name in ("kl_normal", "kl_standard_normal", "Normal", "Bernoulli"):
        assert f"`{name}(" in NOTATION
        assert hasattr(distributions, name)
    for name in ("elbo_terms", "log_p_x"):
        assert f"`{name}(" in NOTATION
        assert hasattr(objectives, name)


def test_the_glossary_is_in_order_and_names_no_term_twice():
    terms = re.findall(r"^(?![:#\s])(.+)\n  \S", GLOSSARY, flags=re.MULTILINE)
    assert len(terms) > 30
    assert terms == sorted(terms, key=str.lower)
    assert len(terms) == len(set(terms))

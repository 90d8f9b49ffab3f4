"""Reading losses: the scale found is the one whose ELBO has a parallel gradient, by autograd."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import distributions as td

from vae_tutorial.dictionary import Reading, read_loss

positive = st.floats(1e-3, 1e3)
LAWS = {"squared": td.Normal, "absolute": td.Laplace}
ERRORS = {"squared": lambda r: r.square(), "absolute": lambda r: r.abs()}


def gradient(loss, *leaves):
    return torch.cat([g.ravel() for g in torch.autograd.grad(loss, leaves, retain_graph=True)])


@settings(derandomize=True, deadline=None, database=None, max_examples=60)
@given(
    st.sampled_from(sorted(LAWS)),
    positive,
    positive,
    st.booleans(),
    st.booleans(),
    st.floats(0.1, 5),
)
def test_the_loss_is_a_multiple_of_an_elbo(error, a, w, mean_over_pixels, mean_over_latents, guess):
    """eq-sigma-beta: parallel gradients, with σ read off, and with any other scale and its β."""
    g = torch.Generator().manual_seed(0)
    x = torch.randn(7, generator=g, dtype=torch.float64)
    m = torch.randn(7, generator=g, dtype=torch.float64).requires_grad_()
    mu = torch.randn(3, generator=g, dtype=torch.float64).requires_grad_()
    errors = ERRORS[error](x - m)
    kl = td.kl_divergence(td.Normal(mu, 0.5), td.Normal(0.0, 1.0))  # (d,)
    loss = a * (errors.mean() if mean_over_pixels else errors.sum())
    loss = loss + w * (kl.mean() if mean_over_latents else kl.sum())
    reading = read_loss(
        error,
        error_weight=a,
        error_mean_over=7 if mean_over_pixels else 1,
        kl_weight=w,
        kl_mean_over=3 if mean_over_latents else 1,
    )
    found = gradient(loss, m, mu)
    for scale in (reading.scale, guess):
        law = LAWS[error](m, torch.tensor(scale, dtype=torch.float64))
        minus_elbo = -law.log_prob(x).sum() + reading.beta(scale) * kl.sum()
        cosine = torch.cosine_similarity(found, gradient(minus_elbo, m, mu), dim=0)
        assert cosine.item() == pytest.approx(1, abs=1e-9)
    assert reading.beta(reading.scale) == pytest.approx(1)


def test_the_numbers_of_the_page():
    assert read_loss("squared", error_mean_over=784).scale ** 2 == pytest.approx(392)
    assert read_loss("squared", error_weight=0.5).scale == pytest.approx(1)
    assert read_loss("squared").scale == pytest.approx(math.sqrt(0.5))
    reading = read_loss("squared", error_mean_over=12_288, kl_weight=0.00025)
    assert reading.scale**2 == pytest.approx(1.536)
    assert str(reading) == "Gaussian, σ = 1.24"
    assert str(read_loss("absolute", kl_weight=1e-6)) == "Laplace, b = 1e-06"


def test_a_loss_that_cannot_be_read_is_refused(reader_errors):
    start = "from vae_tutorial.dictionary import read_loss, Reading\n"
    errors = reader_errors(
        [
            start + "read_loss('cubic')",
            start + "read_loss('squared', kl_weight=0)",
            start + "read_loss('squared', kl_weight=-1.0)",
            start + "read_loss('squared', error_weight=float('nan'))",
            start + "read_loss('squared', error_mean_over=0)",
            start + "read_loss('squared', kl_mean_over=2.5)",
            start + "Reading('Gaussian', 1.0).beta(0.0)",
        ]
    )
    assert errors == [
        "ValueError: error must be 'squared' or 'absolute', got 'cubic'",
        "ValueError: kl_weight must be positive, got 0: without a KL this is an autoencoder",
        "ValueError: kl_weight must be positive and finite, got -1",
        "ValueError: error_weight must be positive and finite, got nan",
        "ValueError: error_mean_over must be at least 1, got 0",
        "ValueError: kl_mean_over must be a whole number, got 2.5",
        "ValueError: scale must be positive and finite, got 0",
    ]


def test_beta_goes_with_the_square_for_a_gaussian_only():
    assert Reading("Gaussian", 0.1).beta(1.0) == pytest.approx(0.01)
    assert Reading("Laplace", 0.1).beta(1.0) == pytest.approx(0.1)

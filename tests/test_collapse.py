"""Collapse, β and rate–distortion: theory against exact models, quadrature, autograd and NumPy."""

import math
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vae_tutorial import checkpoints
from vae_tutorial.data import load_digits
from vae_tutorial.decoders import PoissonDecoder
from vae_tutorial.diagnostics import (
    active_units,
    better_picture,
    collapse_kind,
    critical_kl_weight,
    escape_rate,
    predict_collapse,
)
from vae_tutorial.distributions import Normal, kl_standard_normal
from vae_tutorial.exact import LinearGaussian, linear_rate_distortion, ppca_fixed_noise
from vae_tutorial.models import VAE, GaussianDecoder, GaussianEncoder, bernoulli_vae
from vae_tutorial.objectives import free_bits, kl_floor, kl_per_dimension
from vae_tutorial.training import fit, warm_up


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def digits():
    return load_digits().train


@pytest.fixture
def data():
    scales = torch.tensor([2.0, 1.5, 0.8, 0.3], dtype=torch.float64)
    return torch.randn(400, 4, generator=seeded(), dtype=torch.float64) * scales + 1


# ------------------------------------------------------------------------------ linear
@pytest.mark.parametrize("d", [1, 2, 4])
@pytest.mark.parametrize("sigma", [0.2, 1.0, 1.7, 5.0])
def test_the_prediction_is_what_the_exact_linear_model_pays(data, sigma, d):
    """eq-linear-collapse, eq-linear-rate-distortion"""
    found = predict_collapse(data, sigma, latent_dim=d)
    model = ppca_fixed_noise(data, d, sigma)
    posterior = model.posterior(data)
    q = Normal(posterior.mean, posterior.variance.sqrt())
    torch.testing.assert_close(  # the posterior is diagonal, so q is exact
        posterior.covariance_matrix[0], torch.diag(posterior.variance[0])
    )
    assert kl_standard_normal(q).mean() == pytest.approx(found.kl, abs=1e-9)
    assert (model.weight.norm(dim=0) > 1e-6).sum() == found.kept
    rate, distortion = linear_rate_distortion(found.eigenvalues, sigma, d=d)
    assert rate == pytest.approx(found.kl)
    assert rate + distortion == pytest.approx(-float(model.log_p_x(data).mean()))


def test_the_eigenvalues_are_numpys(data):
    found = predict_collapse(data, 1.0).eigenvalues
    expected = np.linalg.eigvalsh(np.cov(data.numpy().T, bias=True))[::-1]
    np.testing.assert_allclose(found.numpy(), expected)


def test_no_other_weight_does_better(data):
    """eq-linear-collapse: a gradient of zero where a direction is kept, no gain elsewhere."""
    best = ppca_fixed_noise(data, 3, 1.0)
    top = best.log_p_x(data).mean()
    for seed in range(20):
        step = torch.randn(best.weight.shape, generator=seeded(seed), dtype=torch.float64)
        for size in (0.01, 0.3, 2.0):
            other = LinearGaussian(best.weight + size * step, best.bias, 1.0)
            assert other.log_p_x(data).mean() <= top + 1e-12


def test_beta_is_a_larger_sigma(data):
    two = predict_collapse(data, 0.7, kl_weight=2.0)
    one = predict_collapse(data, 0.7 * math.sqrt(2))
    assert (two.kept, two.kl, two.level) == pytest.approx((one.kept, one.kl, one.level))


@pytest.mark.parametrize("beta", [0.3, 1.0, 2.5])
def test_slope_and_envelope_of_the_linear_curve(data, beta):
    """eq-rate-slope"""
    spectrum = predict_collapse(data, 1.0).eigenvalues

    def cost(b):
        rate, distortion = linear_rate_distortion(spectrum, 0.6, b)
        return distortion + b * rate

    h = 1e-4
    (r1, d1), (r2, d2) = (linear_rate_distortion(spectrum, 0.6, beta + s) for s in (-h, h))
    assert (d2 - d1) / (r2 - r1) == pytest.approx(-beta, rel=1e-3)
    rate = linear_rate_distortion(spectrum, 0.6, beta)[0]
    assert (cost(beta + h) - cost(beta - h)) / (2 * h) == pytest.approx(rate, rel=1e-4)


@given(st.integers(0, 10**6), st.floats(0.05, 3), st.floats(0.01, 3))
def test_the_best_of_any_set_of_models_obey_the_chord(seed, first, more):
    """eq-rate-chord"""
    rng = np.random.default_rng(seed)
    rate, distortion = rng.exponential(5, 30), rng.normal(0, 10, 30)
    one, two = (int(np.argmin(distortion + b * rate)) for b in (first, first + more))
    bought = distortion[two] - distortion[one]
    saved = rate[one] - rate[two]
    assert saved >= 0
    assert first * saved - 1e-9 <= bought <= (first + more) * saved + 1e-9


def test_the_networks_of_the_sweep_obey_the_chord():
    """eq-rate-chord, on what the stored networks measured on the test images."""
    weights = {0.1: "01", 0.5: "05", 1.0: "1", 2.0: "2", 4.0: "4"}
    points = []
    for beta, name in weights.items():
        numbers = checkpoints.numbers(f"digits_kl_{name}")
        points.append((beta, numbers["test_kl"], -numbers["test_reconstruction"]))
    for (b1, r1, d1), (b2, r2, d2) in pairwise(points):
        assert b1 < (d2 - d1) / (r1 - r2) < b2


# ------------------------------------------------------------------------------ near and far
def gain_of(x, sigma, beta, direction, size):
    """Average gain of an affine decoder with one latent and the best q, by quadrature over z."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    z = torch.tensor(nodes)[:, None]
    log_w = torch.tensor(weights / weights.sum()).log()
    mean = x.mean(0)
    if sigma is None:
        start = torch.logit(mean)

        def log_p(a):
            return x @ a.T - torch.nn.functional.softplus(a).sum(1)
    else:
        start = mean / sigma**2

        def log_p(a):
            return x @ a.T - 0.5 * sigma**2 * a.square().sum(1)

    moved = log_p(start + size * z * direction)  # (N, G)
    gain = torch.logsumexp(moved / beta + log_w, 1) * beta - log_p(start[None])[:, 0]
    return float(gain.mean())


@pytest.mark.parametrize("sigma", [None, 0.7])
def test_the_critical_weight_is_where_the_second_derivative_changes_its_sign(sigma):
    """eq-critical-weight, by quadrature over z with the best q of any shape."""
    base = torch.rand(200, 5, generator=seeded(3), dtype=torch.float64)
    x = 0.3 * base + 0.7 * base[:, :1]
    star = critical_kl_weight(x, sigma=sigma)
    mean = x.mean(0)
    claimed = mean * (1 - mean) if sigma is None else torch.full_like(mean, sigma**2)
    white = (x - mean) / claimed.sqrt()
    top = torch.linalg.eigh(white.T @ white / len(x)).eigenvectors[:, -1] / claimed.sqrt()
    assert gain_of(x, sigma, 0.95 * star, top, 0.02) > 0
    assert gain_of(x, sigma, 1.05 * star, top, 0.02) < 0
    for seed in range(10):  # above β* no direction gains
        other = torch.randn(5, generator=seeded(seed), dtype=torch.float64)
        assert gain_of(x, sigma, 1.05 * star, other / other.norm(), 0.02) < 0


def test_independent_coins_have_the_critical_weight_one():
    coins = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 5)
    assert critical_kl_weight(coins) == pytest.approx(1)


def test_pixels_that_never_vary_have_no_say(digits):
    wide = torch.cat([digits, torch.zeros(len(digits), 3), torch.ones(len(digits), 2)], 1)
    assert critical_kl_weight(wide) == pytest.approx(critical_kl_weight(digits))


@given(st.integers(0, 10**6), st.floats(0, 4), st.floats(0.2, 3))
def test_under_the_radius_no_decoder_gains(seed, size, beta):
    """eq-collapse-radius, eq-collapse-condition"""
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(7, 3, generator=g, dtype=torch.float64) ** 3
    radius = float((x - x.mean(0)).norm(dim=1).max())
    sigma = radius / math.sqrt(beta) * 1.0001
    assert predict_collapse(x, sigma, kl_weight=beta).kind == "optimum"
    assert better_picture(x, sigma=sigma, kl_weight=beta)[0] < 1e-9
    u = size * radius * torch.randn(5, 3, generator=g, dtype=torch.float64)
    share = torch.rand(5, generator=g, dtype=torch.float64).softmax(0)
    log_r = ((x - x.mean(0)) @ u.T - 0.5 * u.square().sum(1)) / (beta * sigma**2)
    assert float(torch.logsumexp(log_r + share.log(), 1).mean()) <= 1e-9


@pytest.mark.parametrize("beta", [1.0, 1.6])
@pytest.mark.parametrize("sigma", [None, 0.8])
def test_a_better_picture_makes_a_better_model(sigma, beta):
    """eq-collapse-condition: drawn for a small share of the prior, it beats the mean image."""
    x = torch.full((100, 8), 0.02, dtype=torch.float64)
    x[0] = 0.98 if sigma is None else 5.0
    value, a = better_picture(x, sigma=sigma, kl_weight=beta)
    assert value > 0.01
    mean = x.mean(0)
    if sigma is None:
        log_p = [
            torch.distributions.Bernoulli(p, validate_args=False).log_prob(x).sum(1)
            for p in (a, mean)
        ]
    else:
        log_p = [torch.distributions.Normal(p, sigma).log_prob(x).sum(1) for p in (a, mean)]
    log_r = (log_p[0] - log_p[1]) / beta
    assert torch.logsumexp(log_r, 0) - math.log(100) == pytest.approx(value, abs=1e-6)
    tiny = 1e-4 * math.exp(-value)
    gain = torch.log1p(tiny * torch.expm1(log_r)).mean()
    assert gain > 0


def test_the_search_finds_what_a_grid_finds():
    """eq-collapse-condition"""
    x = torch.tensor([0.0] * 97 + [4.0, 4.5, 6.0], dtype=torch.float64)[:, None]
    u = torch.linspace(-3, 8, 20001, dtype=torch.float64)
    centred = x - x.mean()
    on_grid = (torch.logsumexp(u * centred - 0.5 * u**2, 0) - math.log(100)).max()
    assert better_picture(x, sigma=1.0)[0] == pytest.approx(float(on_grid), abs=1e-5)


def test_the_counter_example_is_a_trap():
    x = torch.zeros(100, 1)
    x[0] = 5.0
    found = predict_collapse(x, 1.0)
    assert float(found.eigenvalues[0]) == pytest.approx(0.2475)
    assert (found.kept, found.kind) == (0, "trap")
    assert "local optimum and not the best" in str(found)


@pytest.mark.parametrize(("sigma", "kind"), [(0.99, "saddle"), (1.0, "optimum"), (1.5, "optimum")])
def test_two_points_have_no_trap(sigma, kind):
    x = torch.tensor([[-1.0], [1.0]], dtype=torch.float64)
    assert predict_collapse(x, sigma).kind == kind


def test_verdicts_name_their_numbers(digits):
    assert "keeps 2 latents" in str(predict_collapse(digits, math.sqrt(0.6)))
    assert "keeps 1 latent with" in str(predict_collapse(digits, math.sqrt(0.6), latent_dim=1))
    assert predict_collapse(digits, 1.0).kind == "open"
    assert "it is open" in str(predict_collapse(digits, 1.0))
    with pytest.raises(AttributeError):
        predict_collapse(digits, 1.0).kept = 3


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sigma": 0.0}, "sigma must be positive"),
        ({"sigma": math.nan}, "sigma must be positive"),
        ({"kl_weight": -1.0}, "kl_weight must be positive"),
        ({"latent_dim": 0}, "latent_dim"),
        ({"latent_dim": 5}, "between 1 and D = 4, got 5"),
        ({"x": torch.ones(1, 4)}, "N ≥ 2"),
        ({"x": torch.ones(3, 4)}, "all 3 rows are equal"),
        ({"x": torch.full((3, 4), math.nan)}, "finite"),
    ],
)
def test_bad_input_is_named(change, words):
    given = {"x": torch.rand(9, 4, generator=seeded()), "sigma": 1.0, **change}
    with pytest.raises(ValueError, match=words):
        predict_collapse(**given)


def test_bad_input_of_the_others():
    x = torch.rand(9, 4, generator=seeded())
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        critical_kl_weight(x + 1)
    with pytest.raises(ValueError, match="rows are equal"):
        critical_kl_weight(torch.full((3, 2), 0.5))
    with pytest.raises(ValueError, match="kl_weight must be positive"):
        better_picture(x, kl_weight=0.0)
    for bad in ({"eigenvalue": -1.0, "sigma": 1.0}, {"eigenvalue": 1.0, "sigma": 0.0}):
        with pytest.raises(ValueError, match="must be positive"):
            escape_rate(**bad)
    with pytest.raises(ValueError, match="encoder_speed must be positive"):
        escape_rate(1.0, 1.0, encoder_speed=0.0)
    spectrum = torch.tensor([1.0, 0.5])
    for bad, words in (
        ({"sigma": 0.0}, "sigma"),
        ({"sigma": 1.0, "beta": 0.0}, "beta"),
        ({"sigma": 1.0, "d": 3}, "between 1 and 2"),
    ):
        with pytest.raises(ValueError, match=words):
            linear_rate_distortion(spectrum, **bad)
    with pytest.raises(ValueError, match="negative"):
        linear_rate_distortion(-spectrum, 1.0)
    for bad in ({"d": 0, "sigma": 1.0}, {"d": 1, "sigma": -1.0}):
        with pytest.raises(ValueError, match="must"):
            ppca_fixed_noise(x, **bad)


# ------------------------------------------------------------------------------ a trained model
def test_the_verdict_on_stored_networks(digits):
    four = collapse_kind(checkpoints.load("digits_kl_4"), digits, kl_weight=4.0)
    assert (four.kind, round(four.critical, 2)) == ("optimum", 3.36)
    assert abs(four.excess) < 0.05
    two = collapse_kind(checkpoints.load("digits_kl_2"), digits, kl_weight=2.0)
    assert two.kind == "alive"
    assert two.excess == pytest.approx(-0.79, abs=0.1)
    # The collapsed network of β = 4 is a saddle of β = 2.
    again = collapse_kind(checkpoints.load("digits_kl_4"), digits, kl_weight=2.0)
    assert again.kind == "accident"


@pytest.mark.parametrize(("sigma", "kind"), [(0.5, "accident"), (1.0, "trap"), (9.0, "optimum")])
def test_the_verdict_on_gaussian_decoders(sigma, kind):
    x = torch.zeros(200, 1)
    x[:2] = 5.0
    vae = VAE(GaussianEncoder(1, [], 1), GaussianDecoder(1, [], 1, sigma=sigma))
    with torch.no_grad():
        for p in vae.parameters():
            p.zero_()
    sigma_kind = {"accident": 0.49}.get(kind, sigma)
    vae.decoder.set_sigma(torch.tensor(sigma_kind))
    assert collapse_kind(vae, x).kind == kind


def test_other_decoders_are_refused():
    x = torch.rand(9, 4, generator=seeded())
    with pytest.raises(TypeError, match="PoissonDecoder"):
        collapse_kind(VAE(GaussianEncoder(4, [], 1), PoissonDecoder(1, [], 4)), x)
    wide = GaussianDecoder(1, [], 4, scale="per-pixel")
    with pytest.raises(ValueError, match="one σ"):
        collapse_kind(VAE(GaussianEncoder(4, [], 1), wide), x)
    with pytest.raises(ValueError, match="threshold"):
        collapse_kind(bernoulli_vae(4, [], 1), x, threshold=0.0)


# ------------------------------------------------------------------------------ speeds
@pytest.mark.parametrize("speed", [0.1, 1.0, 7.0])
@pytest.mark.parametrize(("lam", "variance"), [(0.7, 0.6), (0.5, 0.6), (3.0, 0.5)])
def test_the_rate_is_the_eigenvalue_of_the_bounds_own_gradient(lam, variance, speed):
    """eq-lagging-rates, with the Jacobian from autograd of the exact bound."""
    x = torch.tensor([[-1.0], [1.0]], dtype=torch.float64) * math.sqrt(lam)

    def bound(w, a):
        model = LinearGaussian(w.reshape(1, 1), torch.zeros(1, dtype=w.dtype), math.sqrt(variance))
        return model.elbo(x, Normal(a * x, torch.ones_like(x))).mean()

    zero = torch.zeros((), dtype=torch.float64)
    hessian = torch.autograd.functional.hessian(bound, (zero, zero))
    jacobian = np.array([[float(h) for h in row] for row in hessian])
    jacobian[1] *= speed
    rate = np.linalg.eigvals(jacobian).max()
    found = escape_rate(lam, math.sqrt(variance), encoder_speed=speed)
    assert found == pytest.approx(rate)
    assert (found > 0) == (lam > variance)


def test_a_very_fast_encoder_is_one_at_its_best():
    fast = escape_rate(0.7, math.sqrt(0.6), encoder_speed=1e7)
    assert fast == pytest.approx(escape_rate(0.7, math.sqrt(0.6), encoder_speed=math.inf), rel=1e-5)


# ------------------------------------------------------------------------------ counts
@given(st.integers(0, 10**6))
def test_a_latents_kl_is_at_least_half_the_variance_of_its_mean(seed):
    """eq-unit-kl"""
    g = torch.Generator().manual_seed(seed)
    mu = torch.randn(6, 3, generator=g, dtype=torch.float64) * 2
    sigma = torch.rand(6, 3, generator=g, dtype=torch.float64) * 3 + 0.01
    kl = kl_per_dimension(Normal(mu, sigma))
    assert (kl >= 0.5 * mu.var(0, correction=0) - 1e-12).all()


def test_the_kl_of_each_dimension_is_torchs(digits):
    """eq-kl-standard-normal"""
    model = checkpoints.load("digits_kl_1")
    with torch.no_grad():
        q = model.encode(digits)
        found = kl_per_dimension(q)
        theirs = torch.distributions.kl_divergence(
            torch.distributions.Normal(q.loc, q.scale), torch.distributions.Normal(0.0, 1.0)
        ).mean(0)
    torch.testing.assert_close(found, theirs, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(found, active_units(model, digits).kl, rtol=1e-4, atol=1e-6)


# ------------------------------------------------------------------------------ holding it up
def test_free_bits_pull_only_above_the_floor():
    """eq-free-bits"""
    loc = torch.tensor([[1.5, 0.1], [-1.5, 0.2]], requires_grad=True)
    scale = torch.tensor([[0.5, 0.9], [0.5, 0.9]], requires_grad=True)
    q = Normal(loc, scale)
    kl = kl_per_dimension(q)
    assert kl[1] < 0.1 < kl[0]
    value = free_bits(q, 0.1)
    assert float(value.detach()) == pytest.approx(float(kl[0].detach()) + 0.1)
    gradient = torch.autograd.grad(value, [loc, scale], retain_graph=True)
    plain = torch.autograd.grad(kl.sum(), [loc, scale])
    for found, full in zip(gradient, plain, strict=True):
        assert (found[:, 1] == 0).all()
        torch.testing.assert_close(found[:, 0], full[:, 0])


def test_the_floor_lets_one_dimension_carry_all():
    """eq-kl-floor"""
    loc = torch.tensor([[2.0, 0.0], [-2.0, 0.0]], requires_grad=True)
    q = Normal(loc, torch.ones(2, 2))  # KL 2 nats, all in the first dimension
    assert float(kl_floor(q, 1.0).detach()) == pytest.approx(2.0)
    assert float(kl_floor(q, 3.0).detach()) == pytest.approx(3.0)
    (gradient,) = torch.autograd.grad(kl_floor(q, 3.0), loc)
    assert (gradient == 0).all()
    assert float(free_bits(q, 1.0).detach()) == pytest.approx(3.0)


@pytest.mark.parametrize("cost", [free_bits, kl_floor])
def test_floors_refuse_nonsense(cost):
    q = Normal(torch.zeros(2, 2), torch.ones(2, 2))
    with pytest.raises(ValueError, match="floor must be finite and not negative"):
        cost(q, -0.1)
    with pytest.raises(ValueError, match=r"q must be \(B, d\)"):
        cost(Normal(torch.zeros(2), torch.ones(2)), 0.1)


def test_warm_up_is_a_straight_line_to_one():
    """eq-warm-up"""
    beta = warm_up(0.4, start=0.2)
    times = np.linspace(0, 1, 11)
    expected = np.interp(times, [0, 0.4, 1], [0.2, 1, 1])
    np.testing.assert_allclose([beta(t) for t in times], expected)
    for bad in ({"share": 0.0}, {"share": 1.5}, {"share": 0.5, "start": 2.0}):
        with pytest.raises(ValueError, match="must lie in"):
            warm_up(**bad)


def small(seed=0):
    return bernoulli_vae(4, [6], 2, generator=seeded(seed))


OPTIONS = {"epochs": 3, "batch_size": 10, "show_progress": False}


def test_a_schedule_is_asked_once_for_each_step_of_both():
    shares = []

    def weight(t):
        shares.append(t)
        return 1.0

    x = torch.rand(25, 4, generator=seeded())
    fit(small(), x, kl_weight=weight, generator=seeded(), **OPTIONS)
    assert shares[1:] == pytest.approx([k / 9 for k in range(9)])  # the first call is the check


def test_a_constant_schedule_and_the_plain_cost_change_nothing():
    x = torch.rand(25, 4, generator=seeded())
    plain = fit(small(), x, kl_weight=0.7, generator=seeded(), **OPTIONS)
    same = fit(
        small(),
        x,
        kl_weight=lambda t: 0.7,
        kl_cost=kl_standard_normal,
        generator=seeded(),
        **OPTIONS,
    )
    assert plain.loss == same.loss


def test_a_cost_below_its_floor_lets_the_kl_grow():
    x = torch.rand(60, 4, generator=seeded())
    options = {**OPTIONS, "epochs": 40, "lr": 1e-2}
    plain = fit(small(), x, generator=seeded(), **options)
    floor = fit(small(), x, kl_cost=partial(free_bits, floor=0.5), generator=seeded(), **options)
    assert floor.kl[-1] > plain.kl[-1] + 0.3


def test_steps_of_the_encoder_leave_the_decoder_alone():
    """With a decoder that never moves, more steps of the encoder bring it nearer its best."""
    x = torch.rand(60, 4, generator=seeded())
    results = {}
    for steps in (0, 4):
        model = small()
        before = [p.clone() for p in model.decoder.parameters()]
        model.decoder.requires_grad_(False)
        history = fit(model, x, encoder_steps=steps, generator=seeded(), **OPTIONS)
        results[steps] = history.kl[-1]
        for old, new in zip(before, model.decoder.parameters(), strict=True):
            assert torch.equal(old, new)
    assert results[4] != results[0]


def test_the_decoder_takes_as_many_steps_with_a_quick_encoder(monkeypatch):
    taken = []
    step = torch.optim.Adam.step

    def counted(self, *args, **kwargs):
        taken.append(len(self.param_groups[0]["params"]))
        return step(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.Adam, "step", counted)
    x = torch.rand(20, 4, generator=seeded())
    fit(small(), x, encoder_steps=3, generator=seeded(), **{**OPTIONS, "epochs": 1})
    assert taken == [4, 4, 4, 8] * 2  # tensors of the encoder, of both


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"kl_weight": -1.0}, "kl_weight must be finite and not negative, got -1.0"),
        ({"kl_weight": lambda t: math.nan}, "kl_weight must be finite"),
        ({"encoder_steps": -2}, "encoder_steps"),
    ],
)
def test_fit_names_a_bad_option(change, words):
    with pytest.raises(ValueError, match=words):
        fit(small(), torch.rand(9, 4, generator=seeded()), **change, **OPTIONS)

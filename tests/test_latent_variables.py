"""Chapter 2's models against SciPy, scikit-learn, brute force and numerical integration."""

import math
from itertools import pairwise

import numpy as np
import pytest
import scipy.integrate
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture as SklearnMixture

from vae_tutorial.data import load_digits
from vae_tutorial.distributions import Normal
from vae_tutorial.exact import (
    Curve,
    GaussianMixture,
    LinearGaussian,
    linear_gaussian_r1,
    mixture_em_step,
    ppca_maximum_likelihood,
    prior_sampling,
)

F64 = torch.float64
PLACES = [(0.0, 0.25), (1.1, 0.45), (0.0, 0.85), (1.5, -1.0)]  # A, B, C and D of the chapter


def normal(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


def all_digits():
    data = load_digits()
    return torch.cat([data.train, data.test]).double()


def curve_mean(z):
    return np.array([1.2 * np.sin(1.4 * z), 0.5 * z + 0.25 * np.cos(2.8 * z)])


def curve_joint(z, x, sigma=0.15):
    likelihood = scipy.stats.norm.pdf(np.array(x) - curve_mean(z), 0, sigma).prod()
    return likelihood * scipy.stats.norm.pdf(z)


# ------------------------------------------------------------------------ the curve, on a grid
def integral_over_z(f):
    """Adaptive quadrature, piece by piece, so that no narrow peak is missed."""
    edges = np.linspace(-6, 6, 49)
    return sum(scipy.integrate.quad(f, a, b, epsabs=0, epsrel=1e-9)[0] for a, b in pairwise(edges))


@pytest.mark.parametrize("x", PLACES)
def test_evidence_on_the_grid_is_the_integral(x):
    """eq-grid-evidence and eq-def-evidence, by adaptive quadrature."""
    exact = math.log(integral_over_z(lambda z: curve_joint(z, x)))
    assert Curve().log_p_x(torch.tensor([x])).item() == pytest.approx(exact, abs=2e-4)


@pytest.mark.parametrize("x", PLACES)
def test_posterior_on_the_grid_is_bayes_rule(x):
    """eq-bayes: mean and variance of z by adaptive quadrature of the joint density."""
    evidence = integral_over_z(lambda z: curve_joint(z, x))
    mean = integral_over_z(lambda z: z * curve_joint(z, x)) / evidence
    variance = integral_over_z(lambda z: (z - mean) ** 2 * curve_joint(z, x)) / evidence
    curve = Curve()
    density = curve.posterior_on_grid(torch.tensor([x]))[0].double() * curve.step
    z = curve.grid.double()
    assert density.sum().item() == pytest.approx(1, abs=1e-5)
    assert (density * z).sum().item() == pytest.approx(mean, abs=1e-4)
    assert (density * (z - mean) ** 2).sum().item() == pytest.approx(variance, rel=2e-3)


def test_an_observation_can_widen_the_posterior_of_the_curve_and_never_that_of_a_line():
    curve = Curve()
    density = curve.posterior_on_grid(torch.tensor([[0.0, 0.85]]))[0] * curve.step
    mean = (density * curve.grid).sum()
    assert (density * (curve.grid - mean) ** 2).sum() > 1.02  # the prior has variance 1
    line = LinearGaussian(normal(5, 3, seed=0), normal(5, seed=1), 0.8)
    assert (line.posterior(normal(1, 5, seed=2)).variance < 1).all()


def test_on_average_an_observation_never_widens_the_posterior():
    """E Var(z|x) = Var(z) − Var(E z|x): both sides from exact posteriors of drawn x."""
    curve, generator = Curve(), torch.Generator().manual_seed(0)
    z = curve.prior.sample(4000, generator=generator)
    x = curve.decode(z).sample(generator=generator)
    density = curve.posterior_on_grid(x).double() * curve.step
    grid = curve.grid.double()
    mean = density @ grid
    variance = density @ grid**2 - mean**2
    total = variance + mean**2  # averages to E z² = 1
    assert abs(total.mean() - 1) < 4 * total.std() / math.sqrt(4000)
    assert variance.mean() < 0.1


# ------------------------------------------------------------------ Bayes' rule, at any z
def test_the_evidence_at_any_z():
    """eq-evidence-any-z: joint minus posterior is log p(x) at every z, in all three models."""
    line = LinearGaussian(normal(4, 2, seed=0), normal(4, seed=1), 0.6)
    x, z = normal(3, 4, seed=2), normal(7, 1, 2, seed=3)
    right = line.decode(z).log_prob(x) + line.prior.log_prob(z) - line.posterior(x).log_prob(z)
    covariance = (line.weight @ line.weight.T).numpy() + 0.36 * np.eye(4)
    exact = scipy.stats.multivariate_normal(line.bias.numpy(), covariance).logpdf(x.numpy())
    torch.testing.assert_close(right, torch.from_numpy(exact).expand(7, 3))

    mixture, y = random_mixture(3, 2, seed=4), normal(5, 2, seed=5)
    right = mixture.log_joint(y) - mixture.responsibilities(y).log()  # (5, 3)
    torch.testing.assert_close(right, brute_force(mixture, y)[:, None].expand(5, 3))

    curve, place = Curve(), torch.tensor([PLACES[2]])
    right = curve.log_joint_on_grid(place) - curve.posterior_on_grid(place).log()
    likely = curve.posterior_on_grid(place) > 1e-6
    torch.testing.assert_close(
        right[likely], curve.log_p_x(place).expand(int(likely.sum())), rtol=0, atol=2e-4
    )


@given(seed=st.integers(0, 10**6), d=st.integers(1, 4), sigma=st.floats(0.2, 2))
def test_the_best_bound_is_the_evidence(seed, d, sigma):
    """The optimal bound: at q = posterior, E_q[log p(x, z) − log q(z)] is log p(x) (eq-elbo)."""
    model = LinearGaussian(normal(d, d, seed=seed).tril().diag().diag(), normal(d, seed=1), sigma)
    x = normal(2, d, seed=seed + 1)
    posterior = model.posterior(x)  # W is diagonal here, and so is the posterior
    q = Normal(posterior.mean, posterior.stddev)
    torch.testing.assert_close(model.elbo(x, q), model.log_p_x(x))
    nudged = Normal(q.loc + 0.1, q.scale * 1.1)
    assert (model.elbo(x, nudged) < model.log_p_x(x)).all()


def test_the_log_likelihood_of_independent_examples_is_a_sum():
    """eq-log-likelihood-sum: the joint density of all rows, as one Gaussian of N·D numbers."""
    model, x = LinearGaussian(normal(3, 1, seed=0), normal(3, seed=1), 0.7), normal(4, 3, seed=2)
    one = (model.weight @ model.weight.T).numpy() + 0.49 * np.eye(3)
    whole = scipy.stats.multivariate_normal(
        np.tile(model.bias.numpy(), 4), np.kron(np.eye(4), one)
    ).logpdf(x.numpy().ravel())
    assert model.log_p_x(x).sum().item() == pytest.approx(whole)


# ------------------------------------------------------------------------------- pPCA
@pytest.mark.parametrize(("d", "log_p"), [(2, 0.0057), (5, 8.9076), (10, 17.4519)])
def test_ppca_maximum_from_eigenvalues_alone(d, log_p):
    """eq-ppca-maximum against SciPy's density at the fitted parameters."""
    x = all_digits().numpy()
    eigenvalues = np.linalg.eigvalsh(np.cov(x.T, bias=True))[::-1]
    variance = eigenvalues[d:].mean()
    logs = np.log(eigenvalues[:d]).sum() + (64 - d) * math.log(variance)
    maximum = -0.5 * (64 * math.log(2 * math.pi) + 64 + logs)
    model = ppca_maximum_likelihood(torch.from_numpy(x), d)
    covariance = (model.weight @ model.weight.T).numpy() + model.sigma**2 * np.eye(64)
    scipy_mean = scipy.stats.multivariate_normal(x.mean(0), covariance).logpdf(x).mean()
    assert maximum == pytest.approx(scipy_mean, abs=1e-8)
    assert maximum == pytest.approx(log_p, abs=5e-5)


@pytest.mark.parametrize(
    ("d", "theirs", "ours"), [(2, 0.05415, 0.05412), (5, 0.03622, 0.03620), (10, 0.02276, 0.02275)]
)
def test_the_noise_of_scikit_learn_has_n_minus_one(d, theirs, ours):
    x = all_digits()
    assert PCA(d).fit(x.numpy()).noise_variance_ == pytest.approx(theirs, abs=5.1e-6)
    assert ppca_maximum_likelihood(x, d).sigma ** 2 == pytest.approx(ours, abs=5.1e-6)


@pytest.mark.parametrize(("d", "nats"), [(2, 2.51), (5, 6.48), (10, 12.80)])
def test_information_of_the_linear_model(d, nats):
    """eq-linear-gaussian-information against the mean KL(posterior‖prior) of torch."""
    x = all_digits()
    model = ppca_maximum_likelihood(x, d)
    prior = torch.distributions.MultivariateNormal(torch.zeros(d, dtype=F64), torch.eye(d).double())
    kl = torch.distributions.kl_divergence(model.posterior(x), prior).mean().item()
    information = -0.5 * torch.logdet(model.posterior(x[:1]).covariance_matrix[0]).item()
    assert information == pytest.approx(kl, abs=1e-8)  # exact at the maximum, on its own data
    assert information == pytest.approx(nats, abs=0.005)


# ---------------------------------------------------------------------------- mixtures
def random_mixture(k, d, seed):
    factor = normal(k, d, d, seed=seed)
    return GaussianMixture(
        torch.softmax(normal(k, seed=seed + 1), 0),
        2 * normal(k, d, seed=seed + 2),
        factor @ factor.mT + 0.3 * torch.eye(d).double(),
    )


def brute_force(mixture, x):
    """log p(x) as a sum of SciPy's densities."""
    terms = [
        weight * scipy.stats.multivariate_normal(mean, covariance).pdf(x.numpy())
        for weight, mean, covariance in zip(
            mixture.weights.tolist(),
            mixture.means.numpy(),
            mixture.covariances.numpy(),
            strict=True,
        )
    ]
    return torch.from_numpy(np.log(np.sum(terms, axis=0)))


def sklearn_copy(mixture):
    other = SklearnMixture(len(mixture.weights), covariance_type="full")
    other.weights_, other.means_ = mixture.weights.numpy(), mixture.means.numpy()
    other.covariances_ = mixture.covariances.numpy()
    other.precisions_cholesky_ = np.linalg.cholesky(np.linalg.inv(other.covariances_))
    return other


@given(seed=st.integers(0, 10**6), k=st.integers(1, 5), d=st.integers(1, 4))
def test_mixture_evidence(seed, k, d):
    """eq-mixture-evidence against a sum of SciPy's densities."""
    mixture, x = random_mixture(k, d, seed), normal(4, d, seed=seed + 3)
    torch.testing.assert_close(mixture.log_p_x(x), brute_force(mixture, x))


def test_responsibilities():
    """eq-responsibilities against scikit-learn, and each row sums to 1."""
    mixture, x = random_mixture(4, 3, seed=0), 2 * normal(50, 3, seed=9)
    expected = torch.from_numpy(sklearn_copy(mixture).predict_proba(x.numpy()))
    torch.testing.assert_close(mixture.responsibilities(x), expected)
    torch.testing.assert_close(mixture.responsibilities(x).sum(1), torch.ones(50).double())
    far = torch.full((1, 3), 1e3, dtype=F64)  # every density underflows to 0 there
    assert mixture.responsibilities(far).sum().item() == pytest.approx(1)


def test_mixture_decodes_and_draws_its_components():
    mixture = random_mixture(3, 2, seed=1)
    labels = torch.tensor([2, 0, 2])
    assert torch.equal(mixture.decode(labels).mean, mixture.means[labels])
    torch.testing.assert_close(mixture.prior.probs, mixture.weights)


def test_mixture_m_step():
    """eq-mixture-m-step against one round of scikit-learn's EM."""
    x = torch.cat([normal(60, 2, seed=0), 0.5 * normal(40, 2, seed=1) + 2])
    start = random_mixture(3, 2, seed=2)
    new = mixture_em_step(start, x)
    theirs = SklearnMixture(3, covariance_type="full", reg_covar=0)
    _, log_r = sklearn_copy(start)._e_step(x.numpy())
    theirs._m_step(x.numpy(), log_r)
    torch.testing.assert_close(new.weights, torch.from_numpy(theirs.weights_))
    torch.testing.assert_close(new.means, torch.from_numpy(theirs.means_))
    torch.testing.assert_close(new.covariances, torch.from_numpy(theirs.covariances_))


@given(seed=st.integers(0, 10**6), k=st.integers(1, 4))
def test_em_for_mixtures_never_goes_down(seed, k):
    """eq-em-monotone, from arbitrary starts."""
    x = torch.cat([normal(40, 2, seed=seed), normal(40, 2, seed=seed + 1) + 3])
    mixture = random_mixture(k, 2, seed=seed + 2)
    before = mixture.log_p_x(x).sum()
    for _ in range(4):
        mixture = mixture_em_step(mixture, x)
        assert mixture.weights.sum().item() == pytest.approx(1)
        after = mixture.log_p_x(x).sum()
        assert after >= before - 1e-9
        before = after


def test_em_for_mixtures_stops_at_the_top_of_scikit_learn():
    x = torch.cat([normal(200, 2, seed=0), 0.5 * normal(100, 2, seed=1) + 3])
    theirs = SklearnMixture(2, tol=1e-12, max_iter=2000, reg_covar=0, random_state=0).fit(x)
    mixture = GaussianMixture(
        torch.tensor([0.5, 0.5]).double(), x[[0, -1]], torch.eye(2).double().repeat(2, 1, 1)
    )
    for _ in range(300):
        mixture = mixture_em_step(mixture, x)
    assert mixture.log_p_x(x).mean().item() == pytest.approx(theirs.score(x.numpy()), abs=1e-7)


def test_what_is_no_mixture_is_refused(reader_errors):
    start = (
        "import torch; from vae_tutorial.exact import GaussianMixture;"
        "w, m, c = torch.ones(2) / 2, torch.zeros(2, 3), torch.eye(3).repeat(2, 1, 1);"
    )
    cases = {
        "GaussianMixture(w, m, c[:, :2])": "weights must be (K,), means (K, D)",
        "GaussianMixture(w, m[0], c)": "weights must be (K,), means (K, D)",
        "GaussianMixture(w, m[None], c)": "weights must be (K,), means (K, D)",
        "GaussianMixture(w[:1], m, c)": "weights must be (K,), means (K, D)",
        "GaussianMixture(2 * w, m, c)": "weights must be positive with sum 1, got [1.0, 1.0]",
        "GaussianMixture(torch.tensor([1.5, -0.5]), m, c)": "weights must be positive",
        "GaussianMixture(w, m, c + torch.ones(3, 3).triu(1))": "covariances must be symmetric",
        "GaussianMixture(w, m, 0 * c)": "covariances must be positive definite",
        "GaussianMixture(w, m, c).log_p_x(torch.zeros(4, 2))": "x must be (B, 3), got (4, 2)",
    }
    for (code, words), error in zip(
        cases.items(), reader_errors([start + code for code in cases]), strict=True
    ):
        assert error.startswith(f"ValueError: {words}"), (code, error)


def test_a_component_that_collapses_onto_one_point_is_reported():
    """The likelihood of a mixture has no maximum: EM from a narrow start falls into the hole."""
    x = normal(20, 2, seed=0)
    mixture = GaussianMixture(
        torch.tensor([0.5, 0.5]).double(),
        torch.stack([x[0], x.mean(0)]),
        torch.stack([1e-6 * torch.eye(2).double(), torch.eye(2).double()]),
    )

    def many_rounds(model):
        for _ in range(20):
            model = mixture_em_step(model, x)

    with pytest.raises(ValueError, match="positive definite"):
        many_rounds(mixture)


def test_a_component_without_a_point_is_reported():
    mixture = GaussianMixture(
        torch.tensor([0.5, 0.5]).double(),
        torch.tensor([[0.0], [1e6]]).double(),
        torch.ones(2, 1, 1).double(),
    )
    with pytest.raises(ValueError, match="responsible for no point"):
        mixture_em_step(mixture, normal(10, 1, seed=0))


# ------------------------------------------------------------------------ sums of products
@given(seed=st.integers(0, 10**6), d=st.integers(1, 10))
def test_a_sum_of_products_is_a_product_of_sums(seed, d):
    """eq-sum-of-products: 2^d terms one by one against d factors."""
    table = normal(d, 2, seed=seed).exp()
    bits = torch.cartesian_prod(*[torch.arange(2)] * d).reshape(-1, d)
    terms = table[torch.arange(d), bits].prod(1)
    assert len(terms) == 2**d
    torch.testing.assert_close(terms.sum(), table.sum(1).prod())


# ---------------------------------------------------------------------------- prior sampling
@pytest.mark.parametrize("model", [linear_gaussian_r1(F64), Curve(0.3)], ids=["R1", "R2"])
def test_prior_sampling_is_right_on_average(model):
    """eq-prior-sampling: the mean of many estimates is p(x), within 4 standard errors."""
    width = 1 if isinstance(model, LinearGaussian) else 2
    x = torch.full((1, width), 0.5, dtype=model.prior.loc.dtype)
    generator = torch.Generator().manual_seed(0)
    ratio = torch.stack(
        [prior_sampling(model, x, samples=50, generator=generator)[0] for _ in range(2000)]
    )
    ratio = (ratio - model.log_p_x(x)).exp()
    assert abs(ratio.mean() - 1) < 4 * ratio.std() / math.sqrt(2000)
    assert ratio.log().mean() < 0  # and its logarithm is too low


def test_prior_sampling_of_a_batch_and_of_nothing():
    model, generator = linear_gaussian_r1(F64), torch.Generator().manual_seed(0)
    x = torch.tensor([[0.0], [1.0], [300.0]], dtype=F64)  # the last underflows without logsumexp
    estimate = prior_sampling(model, x, samples=100_000, generator=generator)
    torch.testing.assert_close(estimate[:2], model.log_p_x(x[:2]), rtol=0, atol=0.02)
    assert estimate[2].isfinite()
    with pytest.raises(ValueError, match="samples must be at least 1, got 0"):
        prior_sampling(model, x, samples=0, generator=generator)


@given(x=st.floats(-3, 3), w=st.floats(0.2, 2), s=st.floats(0.4, 2))
def test_prior_sampling_variance(x, w, s):
    """eq-prior-sampling-variance and eq-linear-gaussian-second-moment by the trapezoidal rule."""
    nodes = np.linspace(-12, 12, 20_001)
    p, prior = scipy.stats.norm.pdf(x, w * nodes, s), scipy.stats.norm.pdf(nodes)
    mean, square = (prior * p).sum() * 0.0012, (prior * p**2).sum() * 0.0012
    model = LinearGaussian(torch.tensor([[w]], dtype=F64), torch.zeros(1, dtype=F64), s)
    variance = model.prior_sampling_variance(torch.tensor([[x]], dtype=F64)).item()
    assert variance == pytest.approx(square / mean**2 - 1, rel=1e-7, abs=1e-9)


def test_prior_sampling_variance_in_more_dimensions_by_simulation():
    model, x = LinearGaussian(normal(3, 2, seed=0), normal(3, seed=1), 0.8), normal(2, 3, seed=2)
    z = model.prior.sample(400_000, generator=torch.Generator().manual_seed(3))
    ratio = (model.decode(z[:, None]).log_prob(x) - model.log_p_x(x)).exp()  # (n, 2)
    square = (ratio - 1) ** 2
    error = square.std(0) / math.sqrt(len(z))
    assert ((square.mean(0) - model.prior_sampling_variance(x)).abs() < 4 * error).all()
    with pytest.raises(ValueError, match=r"x must be \(B, 3\)"):
        model.prior_sampling_variance(x[:, :2])


@pytest.mark.parametrize(("d", "draws"), [(1, 104.8467), (5, 3506.993), (20, 169_270_364)])
def test_draws_for_ten_percent(d, draws):
    """The numbers of the chapter: copies of R1, by one-dimensional quadrature to the power d."""
    model = LinearGaussian(1.5 * torch.eye(d, dtype=F64), torch.zeros(d, dtype=F64), math.sqrt(0.5))

    def moment(power):
        def f(z):
            return (
                scipy.stats.norm.pdf(z) * scipy.stats.norm.pdf(1, 1.5 * z, math.sqrt(0.5)) ** power
            )

        return scipy.integrate.quad(f, -10, 10, epsabs=0, epsrel=1e-12)[0]

    expected = 100 * ((moment(2) / moment(1) ** 2) ** d - 1)
    computed = 100 * model.prior_sampling_variance(torch.ones(1, d, dtype=F64)).item()
    assert computed == pytest.approx(expected, rel=1e-7)
    assert computed == pytest.approx(draws, rel=1e-5)


@given(lam=st.floats(1.0, 50), s2=st.floats(0.01, 0.05))
def test_the_rule_of_the_typical_observation(lam, s2):
    """One axis with x² = λ ≫ σ²: log(1 + v) is I + ½ − ½ log 2, to first order in σ²/λ."""
    w = math.sqrt(lam - s2)
    model = LinearGaussian(torch.tensor([[w]], dtype=F64), torch.zeros(1, dtype=F64), math.sqrt(s2))
    v = model.prior_sampling_variance(torch.tensor([[math.sqrt(lam)]], dtype=F64)).item()
    rule = 0.5 * math.log(lam / s2) + 0.5 - 0.5 * math.log(2)
    assert math.log1p(v) == pytest.approx(rule, abs=s2 / lam)

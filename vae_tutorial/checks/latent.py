"""Checks of the exercises of "Latent-variable models you can integrate"."""

from __future__ import annotations

import math

import torch

from vae_tutorial.checks.base import Draw, Exercise, Mistake
from vae_tutorial.checks.quiz import Lines
from vae_tutorial.distributions import LOG_2PI, Normal
from vae_tutorial.exact import LinearGaussian

_NEGATIVE = "the sign is wrong: this is minus the answer"


# ------------------------------------------------------------------------ posterior on a grid
def _grid_posterior(log_likelihood, log_prior, step):
    return torch.softmax(log_likelihood + log_prior, dim=1) / step


def _draw_grid(d: Draw) -> tuple:
    rows, points = d.integer(2, 4), d.integer(6, 9)
    log_likelihood = d.tensor(rows, points, low=-4.0, high=-0.3)
    # exp() underflows in a third of the cases, and in another third in every second row only.
    kind = d.integer(1, 3)
    if kind == 1:
        log_likelihood = log_likelihood - 1000.0
    elif kind == 2:
        log_likelihood = log_likelihood - 1000.0 * (torch.arange(rows) % 2)[:, None]
    return log_likelihood, d.tensor(points, low=-3.0, high=-0.4), d.number(0.1, 0.5)


def _by_exp(log_joint, step):
    joint = log_joint.exp()
    return joint / (joint.sum(1, keepdim=True) * step)


grid_posterior = Exercise(
    "grid_posterior",
    _grid_posterior,
    _draw_grid,
    [
        Mistake(
            "each row sums to 1, so these are the masses of the cells: a density integrates to 1; "
            "divide by the step",
            lambda log_likelihood, log_prior, step: torch.softmax(log_likelihood + log_prior, 1),
        ),
        Mistake(
            "the step is on the wrong side: the sum times the step must be 1, so divide by it",
            lambda log_likelihood, log_prior, step: (
                torch.softmax(log_likelihood + log_prior, 1) * step
            ),
        ),
        Mistake(
            "the prior is missing: this is the likelihood, normalized",
            lambda log_likelihood, log_prior, step: torch.softmax(log_likelihood, 1) / step,
        ),
        Mistake(
            "the likelihood is missing: this is the prior, and x has taught you nothing",
            lambda log_likelihood, log_prior, step: (torch.softmax(log_prior, 0) / step).expand(
                log_likelihood.shape
            ),
        ),
        Mistake(
            "the prior comes in as a density among logarithms: add its logarithm",
            lambda log_likelihood, log_prior, step: (
                torch.softmax(log_likelihood + log_prior.exp(), 1) / step
            ),
        ),
        Mistake(
            "this is the joint density p(x, z): divide by p(x), so that each row integrates to 1",
            lambda log_likelihood, log_prior, step: (log_likelihood + log_prior).exp(),
        ),
        Mistake(
            "this is the logarithm of the posterior: the density itself was asked for",
            lambda log_likelihood, log_prior, step: (
                torch.log_softmax(log_likelihood + log_prior, 1) - torch.log(step)
            ),
        ),
        Mistake(
            "you normalize over the examples (axis 0): each example has a posterior of its own, "
            "over the grid (axis 1)",
            lambda log_likelihood, log_prior, step: (
                torch.softmax(log_likelihood + log_prior, 0) / step
            ),
        ),
        Mistake(
            "you divide by one evidence for the whole batch: each row has its own p(x)",
            lambda log_likelihood, log_prior, step: (
                torch.softmax((log_likelihood + log_prior).flatten(), 0).reshape(
                    log_likelihood.shape
                )
                / step
            ),
        ),
        Mistake(
            "you divide by the largest value: the highest point is 1, but the area is not",
            lambda log_likelihood, log_prior, step: (
                (log_likelihood + log_prior) - (log_likelihood + log_prior).amax(1, keepdim=True)
            ).exp(),
        ),
        Mistake(
            "right for large densities, but exp(−1000) is 0 and 0/0 is no number: subtract the "
            "largest logarithm of the row first, as torch.softmax does",
            lambda log_likelihood, log_prior, step: _by_exp(log_likelihood + log_prior, step),
        ),
        Mistake(
            "you take out one maximum for the whole batch: where another row is hundreds of nats "
            "lower, all of it still becomes 0; take each row's own",
            lambda log_likelihood, log_prior, step: _by_exp(
                log_likelihood + log_prior - (log_likelihood + log_prior).max(), step
            ),
        ),
    ],
)


# ------------------------------------------------------------------------------------- pPCA
def _draw_ppca(d: Draw) -> tuple:
    return (
        d.tensor(4, 2, low=0.4, high=1.5, signed=True),
        d.tensor(4, low=0.3, high=1.2, signed=True),
        d.number(0.4, 0.8),
        d.tensor(d.integer(3, 5), 4, low=0.2, high=2.0, signed=True),
    )


def _model(weight, bias, sigma):
    return LinearGaussian(weight.double(), bias.double(), float(sigma))


def _ppca_log_p_x(weight, bias, sigma, x):
    return _model(weight, bias, sigma).log_p_x(x.double())


def _log_det(weight, bias, sigma):
    return torch.logdet(_model(weight, bias, sigma).marginal.covariance_matrix)


def _at_posterior_mean(weight, bias, sigma, x):
    model = _model(weight, bias, sigma)
    return model, model.posterior(x.double()).mean


ppca_log_p_x = Exercise(
    "ppca_log_p_x",
    _ppca_log_p_x,
    _draw_ppca,
    [
        Mistake(
            "`sigma` is the standard deviation of the noise, but you use it as the variance: the "
            "covariance is WWᵀ + σ² I",
            lambda weight, bias, sigma, x: _ppca_log_p_x(weight, bias, sigma.sqrt(), x),
        ),
        Mistake(
            "b is missing: the mean of x is b, not 0",
            lambda weight, bias, sigma, x: _ppca_log_p_x(weight, 0 * bias, sigma, x),
        ),
        Mistake(
            "this is log p(x|z) at z = 0: the integral over z puts WWᵀ into the covariance",
            lambda weight, bias, sigma, x: Normal(
                bias, torch.full_like(bias, float(sigma))
            ).log_prob(x),
        ),
        Mistake(
            "this is log p(x|z) at the posterior mean: one good z, and not the average over all z",
            lambda weight, bias, sigma, x: (lambda model, z: model.decode(z).log_prob(x.double()))(
                *_at_posterior_mean(weight, bias, sigma, x)
            ),
        ),
        Mistake(
            "this is log p(x, z) at the posterior mean: z has to be integrated out",
            lambda weight, bias, sigma, x: (
                lambda model, z: model.decode(z).log_prob(x.double()) + model.prior.log_prob(z)
            )(*_at_posterior_mean(weight, bias, sigma, x)),
        ),
        Mistake(
            "you keep only the diagonal of WWᵀ + σ² I: the pixels are correlated through z",
            lambda weight, bias, sigma, x: Normal(
                bias, (weight.square().sum(1) + sigma**2).sqrt().float()
            ).log_prob(x),
        ),
        Mistake(
            "the ½ in front of log det is missing",
            lambda weight, bias, sigma, x: (
                _ppca_log_p_x(weight, bias, sigma, x) - 0.5 * _log_det(weight, bias, sigma)
            ),
        ),
        Mistake(
            "½ log det has the wrong sign: a wide density is a low one",
            lambda weight, bias, sigma, x: (
                _ppca_log_p_x(weight, bias, sigma, x) + _log_det(weight, bias, sigma)
            ),
        ),
        Mistake(
            "½ log det of the covariance is missing",
            lambda weight, bias, sigma, x: (
                _ppca_log_p_x(weight, bias, sigma, x) + 0.5 * _log_det(weight, bias, sigma)
            ),
        ),
        Mistake(
            "the constant −½ D log 2π is missing",
            lambda weight, bias, sigma, x: (
                _ppca_log_p_x(weight, bias, sigma, x) + 0.5 * x.shape[1] * LOG_2PI
            ),
        ),
        Mistake(
            "the constant counts the latent dimensions: x has D numbers, so it is −½ D log 2π",
            lambda weight, bias, sigma, x: (
                _ppca_log_p_x(weight, bias, sigma, x)
                + 0.5 * (x.shape[1] - weight.shape[1]) * LOG_2PI
            ),
        ),
        Mistake(
            "the ½ in front of the square is missing",
            lambda weight, bias, sigma, x: (
                2 * _ppca_log_p_x(weight, bias, sigma, x)
                + 0.5 * x.shape[1] * LOG_2PI
                + 0.5 * _log_det(weight, bias, sigma)
            ),
        ),
        Mistake(
            "this is one number for the whole batch: keep one value per example",
            lambda weight, bias, sigma, x: _ppca_log_p_x(weight, bias, sigma, x).mean(),
        ),
        Mistake(
            "this is the sum over the batch: keep one value per example",
            lambda weight, bias, sigma, x: _ppca_log_p_x(weight, bias, sigma, x).sum(),
        ),
        Mistake(
            _NEGATIVE,
            lambda weight, bias, sigma, x: -_ppca_log_p_x(weight, bias, sigma, x),
        ),
    ],
    tolerances={"": (5e-4, 5e-4)},
)


def _ppca_posterior_mean(weight, bias, sigma, x):
    return _model(weight, bias, sigma).posterior(x.double()).mean


def _precision(weight, noise_variance, prior=1.0):
    return prior * torch.eye(weight.shape[1]) + weight.T @ weight / noise_variance


def _solve(precision, weight, centred, noise_variance):
    return torch.linalg.solve(precision, weight.T @ centred.T / noise_variance).T


ppca_posterior_mean = Exercise(
    "ppca_posterior_mean",
    _ppca_posterior_mean,
    _draw_ppca,
    [
        Mistake(
            "this is least squares: the I in S⁻¹ = I + WᵀW/σ², which comes from the prior, is "
            "missing",
            lambda weight, bias, sigma, x: _solve(
                weight.T @ weight, weight, x - bias, torch.tensor(1.0)
            ),
        ),
        Mistake(
            "`sigma` is the standard deviation of the noise, but you use it as the variance",
            lambda weight, bias, sigma, x: _ppca_posterior_mean(weight, bias, sigma.sqrt(), x),
        ),
        Mistake(
            "b is missing: subtract it from x first",
            lambda weight, bias, sigma, x: _ppca_posterior_mean(weight, 0 * bias, sigma, x),
        ),
        Mistake(
            "the 1/σ² in front is missing: the mean is S Wᵀ(x − b)/σ²",
            lambda weight, bias, sigma, x: _ppca_posterior_mean(weight, bias, sigma, x) * sigma**2,
        ),
        Mistake(
            "the 1/σ² is counted twice: (WᵀW + σ² I)⁻¹ Wᵀ(x − b) contains it already",
            lambda weight, bias, sigma, x: _ppca_posterior_mean(weight, bias, sigma, x) / sigma**2,
        ),
        Mistake(
            "σ is missing in S: S⁻¹ = I + WᵀW/σ²",
            lambda weight, bias, sigma, x: _solve(
                _precision(weight, 1.0), weight, x - bias, (sigma**2).float()
            ),
        ),
        Mistake(
            "σ is missing everywhere: this is the answer for noise of variance 1",
            lambda weight, bias, sigma, x: _solve(
                _precision(weight, 1.0), weight, x - bias, torch.tensor(1.0)
            ),
        ),
        Mistake(
            "this is Wᵀ(x − b)/σ²: multiply by the covariance S of the posterior",
            lambda weight, bias, sigma, x: (x - bias) @ weight / sigma.float() ** 2,
        ),
        Mistake(
            "this is Wᵀ(x − b), a projection: multiply by S/σ²",
            lambda weight, bias, sigma, x: (x - bias) @ weight,
        ),
        Mistake(
            "you multiply by S⁻¹, the precision, where its inverse S belongs",
            lambda weight, bias, sigma, x: (
                (x - bias) @ weight @ _precision(weight, (sigma**2).float()) / sigma.float() ** 2
            ),
        ),
        Mistake(
            "this is the decoded mean Wz + b, which has the shape of x: the mean of z was asked "
            "for",
            lambda weight, bias, sigma, x: (lambda model, z: model.decode(z).loc)(
                *_at_posterior_mean(weight, bias, sigma, x)
            ),
        ),
        Mistake(
            _NEGATIVE,
            lambda weight, bias, sigma, x: -_ppca_posterior_mean(weight, bias, sigma, x),
        ),
    ],
    tolerances={"": (5e-4, 5e-4)},
)


# ----------------------------------------------------------------------------- prior sampling
def _gauss(x, variance):
    return torch.exp(-0.5 * x**2 / variance) / torch.sqrt(2 * math.pi * variance)


def _moments(w, s, x):  # E p(x|z)² and p(x) of one copy
    square = _gauss(x, w**2 + s**2 / 2) / torch.sqrt(4 * math.pi * s**2)
    return square, _gauss(x, w**2 + s**2)


def _ratio(w, s, x):
    square, p = _moments(w, s, x)
    return square / p**2


def _prior_draws(d, w, s, x, error):
    return (_ratio(w, s, x) ** d - 1) / error**2


prior_draws = Exercise(
    "prior_draws",
    _prior_draws,
    lambda d: (
        d.integer(2, 6),
        d.number(0.6, 1.6),
        d.number(0.4, 0.8),
        d.number(0.2, 1.5, signed=True),
        d.number(0.05, 0.3),
    ),
    [
        Mistake(
            "the −1 is missing: E[p(x|z)²]/p(x)² is the second moment, and v is that minus 1",
            lambda d, w, s, x, error: _ratio(w, s, x) ** d / error**2,
        ),
        Mistake(
            "the error is not squared: it is a standard deviation, and n divides the variance",
            lambda d, w, s, x, error: (_ratio(w, s, x) ** d - 1) / error,
        ),
        Mistake(
            "you use 100, which is 1/error² for 10 % only: n = v/error²",
            lambda d, w, s, x, error: (_ratio(w, s, x) ** d - 1) * 100,
        ),
        Mistake(
            "you round up: return the number without rounding it",
            lambda d, w, s, x, error: _prior_draws(d, w, s, x, error).ceil(),
        ),
        Mistake(
            "you round to a whole number: return it without rounding",
            lambda d, w, s, x, error: _prior_draws(d, w, s, x, error).round(),
        ),
        Mistake(
            "you take the root of v: n = v/error², with the variance itself",
            lambda d, w, s, x, error: (_ratio(w, s, x) ** d - 1).sqrt() / error,
        ),
        Mistake(
            "v does not add up over the copies: densities multiply, so 1 + v is raised to the "
            "power d",
            lambda d, w, s, x, error: d * (_ratio(w, s, x) - 1) / error**2,
        ),
        Mistake(
            "you raise v to the power d: it is 1 + v that multiplies; subtract the 1 at the end",
            lambda d, w, s, x, error: (_ratio(w, s, x) - 1) ** d / error**2,
        ),
        Mistake(
            "this is the answer for one copy: with d copies 1 + v is raised to the power d",
            lambda d, w, s, x, error: (_ratio(w, s, x) - 1) / error**2,
        ),
        Mistake(
            "this is 1/error², as if v were 1: v depends on the model and on x",
            lambda d, w, s, x, error: 1 / error**2,
        ),
        Mistake(
            "this is the absolute variance: the error is relative, so divide by p(x)²",
            lambda d, w, s, x, error: (
                (_moments(w, s, x)[0] ** d - _moments(w, s, x)[1] ** (2 * d)) / error**2
            ),
        ),
        Mistake(
            "`s` is a standard deviation, but you use it as the variance of the noise",
            lambda d, w, s, x, error: _prior_draws(d, w, s.sqrt(), x, error),
        ),
        Mistake(
            "the noise is not halved: the square of a Gaussian has half its variance",
            lambda d, w, s, x, error: (
                ((_gauss(x, w**2 + s**2) / torch.sqrt(4 * math.pi * s**2)) ** d
                 / _gauss(x, w**2 + s**2) ** (2 * d) - 1) / error**2
            ),
        ),
        Mistake(
            "the constant (4πs²)^(−½) of the squared Gaussian is missing",
            lambda d, w, s, x, error: (
                ((_ratio(w, s, x) * torch.sqrt(4 * math.pi * s**2)) ** d - 1) / error**2
            ),
        ),
        Mistake(
            "this is the average of v over all x: here x is given",
            lambda d, w, s, x, error: ((1 + w**2 / s**2) ** d - 1) / error**2,
        ),
    ],
    digits=6,
)  # fmt: skip


# --------------------------------------------------------------------------------- EM, by halves
def _responsibilities(log_density, weights):
    return torch.softmax(log_density + weights.log(), dim=1)


def _draw_responsibilities(d: Draw) -> tuple:
    rows, k = d.integer(5, 7), d.integer(2, 4)
    log_density = d.tensor(rows, k, low=-3.0, high=-0.2)
    if d.integer(1, 2) == 1:  # far from every component: exp() underflows
        log_density = log_density - 1000.0 * (torch.arange(rows) % 2)[:, None]
    raw = d.tensor(k, low=0.2, high=1.0) * torch.arange(1, k + 1)
    return log_density, raw / raw.sum()


responsibilities = Exercise(
    "responsibilities",
    _responsibilities,
    _draw_responsibilities,
    [
        Mistake(
            "the weights π are missing: a frequent component answers for more",
            lambda log_density, weights: torch.softmax(log_density, 1),
        ),
        Mistake(
            "you add π to a logarithm: add log π",
            lambda log_density, weights: torch.softmax(log_density + weights, 1),
        ),
        Mistake(
            "you multiply the log-densities by π: multiply the densities, or add log π",
            lambda log_density, weights: torch.softmax(log_density * weights, 1),
        ),
        Mistake(
            "you weight the normalized densities and leave it at that: the weights belong in "
            "before the division, so that each row sums to 1",
            lambda log_density, weights: torch.softmax(log_density, 1) * weights,
        ),
        Mistake(
            "this is the joint density p(x, z = k): divide by p(x), the sum of the row",
            lambda log_density, weights: log_density.exp() * weights,
        ),
        Mistake(
            "you normalize over the points (axis 0): for each point the K numbers sum to 1",
            lambda log_density, weights: torch.softmax(log_density + weights.log(), 0),
        ),
        Mistake(
            "this gives each point wholly to its best component (K-means does): keep the shares",
            lambda log_density, weights: torch.nn.functional.one_hot(
                (log_density + weights.log()).argmax(1), len(weights)
            ).float(),
        ),
        Mistake(
            "this is the logarithm of the responsibilities",
            lambda log_density, weights: torch.log_softmax(log_density + weights.log(), 1),
        ),
        Mistake(
            "right for points near a component, but exp(−1000) is 0 and 0/0 is no number: let "
            "torch.softmax take the largest out first",
            lambda log_density, weights: (
                log_density.exp() * weights / (log_density.exp() * weights).sum(1, keepdim=True)
            ),
        ),
    ],
)


def _weighted_covariances(x, r):
    return _scatter(x, r, (r.T @ x) / r.sum(0)[:, None]) / r.sum(0)[:, None, None]


def _scatter(x, r, means):
    centred = x[:, None] - means  # (N, K, D)
    return torch.einsum("nk,nki,nkj->kij", r, centred, centred)


def _draw_m_step(d: Draw) -> tuple:
    rows, k = d.integer(7, 9), d.integer(2, 3)
    raw = d.tensor(rows, k, low=0.1, high=1.0)
    return d.tensor(rows, 2, low=0.2, high=2.0, signed=True) + 0.5, raw / raw.sum(1, keepdim=True)


def _means(x, r):
    return (r.T @ x) / r.sum(0)[:, None]


def _hard(r):
    return torch.nn.functional.one_hot(r.argmax(1), r.shape[1]).to(r.dtype)


weighted_covariances = Exercise(
    "weighted_covariances",
    _weighted_covariances,
    _draw_m_step,
    [
        Mistake(
            "you divide by N: component k has N_k = Σ r_nk points",
            lambda x, r: _scatter(x, r, _means(x, r)) / len(x),
        ),
        Mistake(
            "you divide by N_k − 1: the maximum of the likelihood has N_k",
            lambda x, r: _scatter(x, r, _means(x, r)) / (r.sum(0) - 1)[:, None, None],
        ),
        Mistake(
            "you do not divide: this is the scatter, N_k times the covariance",
            lambda x, r: _scatter(x, r, _means(x, r)),
        ),
        Mistake(
            "you subtract the mean of all points: each component has its own, weighted mean",
            lambda x, r: _scatter(x, r, x.mean(0)) / r.sum(0)[:, None, None],
        ),
        Mistake(
            "you subtract no mean: this is the second moment E[x xᵀ]",
            lambda x, r: _scatter(x, r, 0 * x[0]) / r.sum(0)[:, None, None],
        ),
        Mistake(
            "the weights enter squared: multiply one of the two factors by r, not both",
            lambda x, r: _scatter(x, r**2, _means(x, r)) / r.sum(0)[:, None, None],
        ),
        Mistake(
            "the points are not weighted: each must count with its r_nk",
            lambda x, r: _scatter(x, torch.ones_like(r), _means(x, r)) / len(x),
        ),
        Mistake(
            "each point is given wholly to one component: weight it with r_nk",
            lambda x, r: (
                _scatter(x, _hard(r), _means(x, _hard(r))) / _hard(r).sum(0)[:, None, None]
            ),
        ),
        Mistake(
            "these are the variances only: the dimensions of x are correlated within a component",
            lambda x, r: torch.diagonal(_weighted_covariances(x, r), dim1=1, dim2=2),
        ),
        Mistake(
            "you keep only the diagonal: the dimensions of x are correlated within a component",
            lambda x, r: torch.diag_embed(
                torch.diagonal(_weighted_covariances(x, r), dim1=1, dim2=2)
            ),
        ),
    ],
)


# -------------------------------------------------------------------------- what is intractable
intractable = Lines(
    "intractable",
    {
        2: "ask of each distribution whether it was chosen or has to be computed",
        5: "ask what stands below the line in Bayes' rule",
        6: "ask whether a sum with many terms must be done term by term",
        9: "ask what the likelihood is a function of, and whether a sample occurs in it",
    },
    {
        1: "we wrote p(z) down ourselves; that no z was ever seen does not matter",
        3: "z goes through the network, and x into the log-density that comes out",
        4: "p(x) does not contain z, so it is a constant factor of the posterior",
        7: "independent densities multiply, and their logarithms add",
        8: "an average over draws from p(z) is unbiased for each n; how far a single one is off is "
        "another question",
    },
    "lines 2, 5, 6 and 9: the prior is chosen; one value of the posterior needs p(x), the whole "
    "integral; sums with structure need not be done term by term; the likelihood asks how probable "
    "the data are, not how close a sample is",
)

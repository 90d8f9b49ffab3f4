"""Checks of the exercises of "The ELBO, three ways"."""

from __future__ import annotations

import math

import torch
from torch.distributions import kl_divergence

from vae_tutorial.checks.base import Draw, Exercise, Mistake, Unusable
from vae_tutorial.checks.quiz import Lines, Order, Step
from vae_tutorial.distributions import LOG_2PI, Normal, kl_normal, kl_standard_normal
from vae_tutorial.exact import LinearGaussian
from vae_tutorial.objectives import importance_weighted_bound as _importance_weighted_bound

# ------------------------------------------------------------------------ the proof in order
derivation_order = Order(
    "derivation_order",
    [
        Step("D", 4, "", "writes a KL as an average of log-ratios; here the step is another one"),
        Step(
            "B",
            1,
            "it has no log p(z|x) any more, so the posterior must have been written out before",
            "is Bayes' rule: it makes a log p(z|x) disappear",
        ),
        Step(
            "E",
            2,
            "log p(x) already stands outside the average; inside it must have come first",
            "takes a constant out of the average",
        ),
        Step(
            "G",
            6,
            "the joint has already been split into prior and likelihood here; one line still has "
            "the joint, and comes before",
            "splits the joint into likelihood and prior",
        ),
        Step(
            "A",
            3,
            "it has KL(q‖p(z)), so log q(z) − log p(z) must stand alone in one average before",
            "reads an average of log-ratios as a KL to the prior",
        ),
        Step(
            "F",
            7,
            "it solves an equation for log p(x), so that equation must have its last form before",
            "only moves terms to the other side",
        ),
        Step(
            "C",
            5,
            "it is an inequality, the last word: first the equality, then what is dropped from it",
            "drops a term, and turns = into ≥",
        ),
    ],
    {
        "H": "line H does not belong here: it exchanges logarithm and average, which are not equal "
        "(Jensen: the log of the average is the larger)"
    },
    "the lines and their reasons are in order",
)

three_errors = Lines(
    "three_errors",
    {
        2: "ask of each term what Bayes' rule, p(z|x) = p(x|z) p(z) / p(x), turns it into",
        5: "ask which two distributions stand in the KL that the sentence describes",
        7: "ask which of the two logarithms contains θ",
    },
    {
        1: "it is the definition of KL",
        3: "log p(x) is a constant for the average, and the rest is the definition of KL",
        4: "it drops a term that is never negative",
        6: "it is form A: the sum of the differences, divided by the number of draws",
        8: "moving ∇φ inside the average would ignore that φ moves the draws",
    },
    "lines 2, 5 and 7: the last term of 2 must be log p(x); the KL of 5 is from the prior, "
    "there is no true z in it; the gradient of 7 is that of log p(x, z), as written it is zero",
)


# ------------------------------------------------------------------------- closed-form ELBO
def _elbo(mu, sigma, w, s, x):
    def column(value):
        return torch.as_tensor(value, dtype=torch.float64).reshape(1, 1)

    model = LinearGaussian(column(w), torch.zeros(1, dtype=torch.float64), float(s))
    return model.elbo(column(x), Normal(column(mu), column(sigma)))[0]


def _reconstruction(mu, sigma, w, s, x):
    square = (x - w * mu) ** 2 + (w * sigma) ** 2
    return -0.5 * (LOG_2PI + 2 * torch.log(s)) - square / (2 * s**2)


def _kl(mu, sigma):
    return 0.5 * (mu**2 + sigma**2 - 1) - torch.log(sigma)


def _draw_elbo(d: Draw) -> tuple:
    return (
        d.number(0.3, 1.5, signed=True),
        d.number(0.3, 0.8),
        d.number(1.2, 2.0, signed=True),
        d.number(0.4, 0.8),
        d.number(0.3, 2.0, signed=True),
    )


elbo_closed_form = Exercise(
    "elbo_closed_form",
    _elbo,
    _draw_elbo,
    [
        Mistake(
            "the term w²σ² is missing: you put z = μ into the likelihood, but E_q (x − wz)² is "
            "larger than (x − wμ)² by the variance of wz",
            lambda mu, sigma, w, s, x: _reconstruction(mu, 0 * sigma, w, s, x) - _kl(mu, sigma),
        ),
        Mistake(
            "the variance of wz is w²σ², not σ²: w scales the standard deviation",
            lambda mu, sigma, w, s, x: _reconstruction(mu, sigma / w, w, s, x) - _kl(mu, sigma),
        ),
        Mistake(
            "the variance of wz is w²σ², not wσ²: w is squared, too",
            lambda mu, sigma, w, s, x: (
                _reconstruction(mu, 0 * sigma, w, s, x) - w * sigma**2 / (2 * s**2) - _kl(mu, sigma)
            ),
        ),
        Mistake(
            "`s` is the standard deviation of x given z, but you use it as the variance: s² "
            "belongs where you have s",
            lambda mu, sigma, w, s, x: _reconstruction(mu, sigma, w, s.sqrt(), x) - _kl(mu, sigma),
        ),
        Mistake(
            "`sigma` is the standard deviation of q, but you use it as the variance",
            lambda mu, sigma, w, s, x: (
                _reconstruction(mu, sigma.sqrt(), w, s, x) - _kl(mu, sigma.sqrt())
            ),
        ),
        Mistake(
            "the KL has the wrong sign: the bound pays for it",
            lambda mu, sigma, w, s, x: _reconstruction(mu, sigma, w, s, x) + _kl(mu, sigma),
        ),
        Mistake(
            "the KL is missing: this is the reconstruction term alone",
            _reconstruction,
        ),
        Mistake(
            "the ½ of the KL is missing: you subtract it twice",
            lambda mu, sigma, w, s, x: _reconstruction(mu, sigma, w, s, x) - 2 * _kl(mu, sigma),
        ),
        Mistake(
            "the −1 in the KL is missing: at q = prior the KL must be zero",
            lambda mu, sigma, w, s, x: _reconstruction(mu, sigma, w, s, x) - _kl(mu, sigma) - 0.5,
        ),
        Mistake(
            "the logarithm in the KL has the wrong sign: a narrow q costs more, not less",
            lambda mu, sigma, w, s, x: (
                _reconstruction(mu, sigma, w, s, x) - _kl(mu, sigma) - 2 * torch.log(sigma)
            ),
        ),
        Mistake(
            "the logarithm in the KL is halved: ½ log σ² is log σ, and `sigma` is σ",
            lambda mu, sigma, w, s, x: (
                _reconstruction(mu, sigma, w, s, x) - _kl(mu, sigma) - 0.5 * torch.log(sigma)
            ),
        ),
        Mistake(
            "the logarithm in the KL is doubled: with its ½, log σ² becomes log σ",
            lambda mu, sigma, w, s, x: (
                _reconstruction(mu, sigma, w, s, x) - _kl(mu, sigma) + torch.log(sigma)
            ),
        ),
        Mistake(
            "the ½ in front of the square of the reconstruction is missing",
            lambda mu, sigma, w, s, x: (
                _reconstruction(mu, sigma, w, s, x)
                - _kl(mu, sigma)
                - ((x - w * mu) ** 2 + (w * sigma) ** 2) / (2 * s**2)
            ),
        ),
        Mistake(
            "the constant −½ log 2πs² of the likelihood is missing",
            lambda mu, sigma, w, s, x: (
                _reconstruction(mu, sigma, w, s, x)
                + 0.5 * (LOG_2PI + 2 * torch.log(s))
                - _kl(mu, sigma)
            ),
        ),
        Mistake(
            "the constant −½ log 2π is missing",
            lambda mu, sigma, w, s, x: (
                _reconstruction(mu, sigma, w, s, x) + 0.5 * LOG_2PI - _kl(mu, sigma)
            ),
        ),
        Mistake(
            "this is log p(x) itself, which does not depend on q: the bound lies below it",
            lambda mu, sigma, w, s, x: torch.distributions.Normal(
                0.0, torch.sqrt(w**2 + s**2)
            ).log_prob(x),
        ),
        Mistake(
            "this is the negative ELBO, the loss: turn the sign",
            lambda mu, sigma, w, s, x: -_elbo(mu, sigma, w, s, x),
        ),
    ],
    tolerances={"": (1e-5, 1e-5)},
)


# ----------------------------------------------------------------------- estimators A and B
AVERAGE = "averaged exactly over q"
SPREAD = "standard deviation over draws, with q at the posterior"


def _draw_model(d: Draw) -> tuple:
    rows, draws = d.integer(3, 5), d.integer(6, 8)  # d = 2, D = 3, B and L: all different
    model = LinearGaussian(
        d.tensor(3, 2, low=0.4, high=1.5, signed=True), d.tensor(3, low=0.2, high=1.0), 0.7
    )
    q = Normal(
        d.tensor(rows, 2, low=0.2, high=1.2, signed=True), d.tensor(rows, 2, low=0.3, high=0.8)
    )
    x = d.tensor(rows, 3, low=0.2, high=2.0, signed=True)
    return model, x, q, d.tensor(draws, rows, 2, low=0.2, high=1.5, signed=True)


OWN_DRAWS = (
    "your function does not average over the draws `z` that were handed in: use them, and draw "
    "none of your own"
)


def _require_given_draws(call, inputs, value) -> None:
    """Stop at a function that draws for itself: no two of its values could be compared."""
    model, x, q, z = inputs
    if not torch.equal(call(model, x, q, z), value):
        raise Unusable(OWN_DRAWS)
    at_mean = model.decode(q.loc).log_prob(x) - kl_standard_normal(q)  # has a hint of its own
    unmoved = torch.equal(call(model, x, q, z + 0.5), value)
    if unmoved and not torch.allclose(value.detach(), at_mean, rtol=1e-4, atol=1e-4):
        raise Unusable(OWN_DRAWS)


def _observe_estimator(call, inputs) -> dict:
    model, x, q, z = inputs
    seen = {"": call(model, x, q, z)}
    if seen[""].shape != (len(x),):
        return seen
    _require_given_draws(call, inputs, seen[""])
    # z = μ ± σ: two points whose mean and variance are those of q, so that the average of every
    # quadratic function is exact, and with it the expectation of both estimators.
    signs = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    seen[AVERAGE] = call(model, x, q, q.loc + q.scale * signs[:, None])
    # One latent dimension: there the posterior is a diagonal Gaussian, as q is.
    line = LinearGaussian(model.weight[:, :1], model.bias, model.sigma)
    posterior = line.posterior(x)
    exact = Normal(posterior.mean, posterior.stddev)
    draws = exact.loc + exact.scale * torch.tensor([-1.5, -0.2, 1.1])[:, None, None]
    values = torch.stack([call(line, x, exact, draw[None]) for draw in draws])  # one draw each
    seen[SPREAD] = values.std(0)
    return seen


def _joint(model, x, z):
    return model.decode(z).log_prob(x) + model.prior.log_prob(z)


def _log_posterior(model, x, z):
    return model.posterior(x).log_prob(z)


def _a_terms(model, x, q, z):
    return _joint(model, x, z) - q.log_prob(z)  # (L, B)


def _form_a(model, x, q, z):
    return _a_terms(model, x, q, z).mean(0)


def _rec(model, x, z):
    return model.decode(z).log_prob(x).mean(0)


def _form_b(model, x, q, z):
    return _rec(model, x, z) - kl_standard_normal(q)


def _kl_to_posterior(model, x, q):
    q_joint = torch.distributions.MultivariateNormal(q.loc, torch.diag_embed(q.scale**2))
    return kl_divergence(q_joint, model.posterior(x))


_BATCH = "this is one number for the whole batch: average over the draws (axis 0) only"
_AXIS = "you average over the examples, and get one value per draw: the draws are axis 0"
_SUM = "you add the draws up instead of averaging them: divide by L"
_NEGATIVE = "this is the negative estimate, a loss: turn the sign"

_ESTIMATOR_CASES = 8
_ESTIMATOR_TOLERANCES = {AVERAGE: (1e-3, 1e-3), SPREAD: (1e-3, 2e-3)}

estimator_a = Exercise(
    "estimator_a",
    _form_a,
    _draw_model,
    [
        Mistake(_SUM, lambda model, x, q, z: _a_terms(model, x, q, z).sum(0)),
        Mistake(
            "this is the log of the mean of the weights, the importance-weighted bound: form A is "
            "the mean of the logs",
            lambda model, x, q, z: torch.logsumexp(_a_terms(model, x, q, z), 0) - math.log(len(z)),
        ),
        Mistake(
            "log q(z) has the wrong sign: it is subtracted",
            lambda model, x, q, z: (_joint(model, x, z) + q.log_prob(z)).mean(0),
        ),
        Mistake(
            "the prior is forgotten: the joint is log p(x|z) + log p(z)",
            lambda model, x, q, z: (model.decode(z).log_prob(x) - q.log_prob(z)).mean(0),
        ),
        Mistake(
            "log q(z) is forgotten: this is the average of log p(x, z) alone",
            lambda model, x, q, z: _joint(model, x, z).mean(0),
        ),
        Mistake(
            "this is form B: right on average, but at the posterior it varies from draw to draw, "
            "and A does not",
            _form_b,
        ),
        Mistake(
            "the KL is counted twice: log p(z) − log q(z) is its estimate already",
            lambda model, x, q, z: _form_a(model, x, q, z) - kl_standard_normal(q),
        ),
        Mistake(
            "you use the posterior where the prior belongs: p(x, z) = p(x|z) p(z)",
            lambda model, x, q, z: (
                model.decode(z).log_prob(x) + _log_posterior(model, x, z) - q.log_prob(z)
            ).mean(0),
        ),
        Mistake(_AXIS, lambda model, x, q, z: _a_terms(model, x, q, z).mean(1)),
        Mistake(_BATCH, lambda model, x, q, z: _a_terms(model, x, q, z).mean()),
        Mistake(
            "nothing is averaged yet: these are the values of the single draws",
            _a_terms,
        ),
        Mistake(_NEGATIVE, lambda model, x, q, z: -_form_a(model, x, q, z)),
    ],
    observe=_observe_estimator,
    cases=_ESTIMATOR_CASES,
    tolerances=_ESTIMATOR_TOLERANCES,
    success=f"agrees on {_ESTIMATOR_CASES} random cases; its average over q is the ELBO; at the "
    "posterior its value does not vary at all",
)

estimator_b = Exercise(
    "estimator_b",
    _form_b,
    _draw_model,
    [
        Mistake(
            "you add the draws up instead of averaging them: divide the reconstruction by L",
            lambda model, x, q, z: model.decode(z).log_prob(x).sum(0) - kl_standard_normal(q),
        ),
        Mistake(
            "the KL has the wrong sign: the bound pays for it",
            lambda model, x, q, z: _rec(model, x, z) + kl_standard_normal(q),
        ),
        Mistake(
            "the KL is missing: this is the reconstruction term alone",
            lambda model, x, q, z: _rec(model, x, z),
        ),
        Mistake(
            "this is form A: right on average, but its KL is an estimate from the same draws, and "
            "B has it in closed form",
            _form_a,
        ),
        Mistake(
            "the prior is counted twice: KL(q‖p(z)) contains log p(z) already",
            lambda model, x, q, z: _joint(model, x, z).mean(0) - kl_standard_normal(q),
        ),
        Mistake(
            "you subtract the KL to the posterior, which is the gap: the bound has the KL to the "
            "prior",
            lambda model, x, q, z: _rec(model, x, z) - _kl_to_posterior(model, x, q),
        ),
        Mistake(
            "the KL is the wrong way round: KL(q‖p(z)), with the average over q",
            lambda model, x, q, z: _rec(model, x, z) - kl_normal(model.prior, q),
        ),
        Mistake(
            "you decode the mean of q: average over the draws z that were handed in",
            lambda model, x, q, z: model.decode(q.loc).log_prob(x) - kl_standard_normal(q),
        ),
        Mistake(
            "the KL is summed over the batch before it is subtracted: each example pays its own",
            lambda model, x, q, z: _rec(model, x, z) - kl_standard_normal(q).sum(),
        ),
        Mistake(
            "the KL is averaged over the batch before it is subtracted: each example pays its own",
            lambda model, x, q, z: _rec(model, x, z) - kl_standard_normal(q).mean(),
        ),
        Mistake(_BATCH, lambda model, x, q, z: _form_b(model, x, q, z).mean()),
        Mistake(
            "nothing is averaged yet: these are the values of the single draws",
            lambda model, x, q, z: model.decode(z).log_prob(x) - kl_standard_normal(q),
        ),
        Mistake(_NEGATIVE, lambda model, x, q, z: -_form_b(model, x, q, z)),
    ],
    observe=_observe_estimator,
    cases=_ESTIMATOR_CASES,
    tolerances=_ESTIMATOR_TOLERANCES,
    success=f"agrees on {_ESTIMATOR_CASES} random cases; its average over q is the ELBO; at the "
    "posterior its value still varies",
)


# ------------------------------------------------------------------ importance-weighted bound
def _draw_weights(d: Draw) -> tuple:
    draws, rows = d.integer(6, 9), d.integer(2, 5)
    log_w = d.tensor(draws, rows, low=-4.0, high=-0.5)
    # A quarter of the cases lies where exp() underflows to 0, as it does for images; in another
    # quarter every second example does, so that no one number can be taken out of the whole batch.
    # The rest has one draw far above the others, where a mean taken out is not enough.
    kind = d.integer(1, 4)
    if kind == 1:
        return (log_w - 1000.0,)
    if kind == 4:
        return (log_w + 300.0 * (torch.arange(draws) == 0)[:, None],)
    return (log_w - 1000.0 * (torch.arange(rows) % 2) if kind == 2 else log_w,)


importance_weighted_bound = Exercise(
    "importance_weighted_bound",
    lambda log_w: _importance_weighted_bound(log_w),
    _draw_weights,
    [
        Mistake(
            "this is the mean of the logs, the ELBO: the bound is the log of the mean",
            lambda log_w: log_w.mean(0),
        ),
        Mistake(
            "−log K is missing: this is the log of the sum, not of the mean",
            lambda log_w: torch.logsumexp(log_w, 0),
        ),
        Mistake(
            "log K has the wrong sign: dividing by K subtracts log K",
            lambda log_w: torch.logsumexp(log_w, 0) + math.log(len(log_w)),
        ),
        Mistake(
            "right for small numbers, but exp(−1000) is 0 and log 0 is −∞: let torch.logsumexp "
            "take the largest weight out first",
            lambda log_w: log_w.exp().mean(0).log(),
        ),
        Mistake(
            "you take out one maximum for the whole batch: where another example is hundreds of "
            "nats lower, its weights still become 0; take each example's own, along axis 0",
            lambda log_w: (log_w - log_w.max()).exp().mean(0).log() + log_w.max(),
        ),
        Mistake(
            "you take out the mean: where one weight lies 100 nats above it, exp() overflows; take "
            "out the largest, as torch.logsumexp does",
            lambda log_w: (log_w - log_w.mean(0)).exp().mean(0).log() + log_w.mean(0),
        ),
        Mistake(
            "exp(−1000) is 0 and log 0 is −∞: use torch.logsumexp; and −log K is missing too",
            lambda log_w: log_w.exp().sum(0).log(),
        ),
        Mistake(
            "you reduce over the examples (axis 1): the K samples are axis 0",
            lambda log_w: torch.logsumexp(log_w, 1) - math.log(log_w.shape[1]),
        ),
        Mistake(
            "you subtract the log of the batch size: K is the length of axis 0",
            lambda log_w: torch.logsumexp(log_w, 0) - math.log(log_w.shape[1]),
        ),
        Mistake(
            "you divide the log by K: dividing the sum of the weights by K subtracts log K from "
            "its logarithm",
            lambda log_w: torch.logsumexp(log_w, 0) / len(log_w),
        ),
        Mistake(
            "this is one number for the whole batch: keep one value per example",
            lambda log_w: (torch.logsumexp(log_w, 0) - math.log(len(log_w))).mean(),
        ),
        Mistake(
            "this is the largest log-weight: a good guess, but the others count too",
            lambda log_w: log_w.amax(0),
        ),
        Mistake(_NEGATIVE, lambda log_w: math.log(len(log_w)) - torch.logsumexp(log_w, 0)),
    ],
    gradients=("log_w",),
)

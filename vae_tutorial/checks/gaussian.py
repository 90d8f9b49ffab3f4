"""Checks of the exercises of "Gaussian decoders"."""

from __future__ import annotations

import math

import torch
from torch.nn import functional as F

from vae_tutorial.checks.base import Draw, Exercise, Mistake
from vae_tutorial.checks.quiz import Number, Slip
from vae_tutorial.distributions import LOG_2PI, LowRankNormal


def _flag(value: bool) -> torch.Tensor:
    return torch.tensor(float(value))


# ------------------------------------------------------------------ the published loss, repaired
def _gaussian_nll(mu, logvar, x):
    return 0.5 * (LOG_2PI + logvar + (x - mu).square() / logvar.exp()).sum(-1)


def _draw_nll(d: Draw) -> tuple:
    rows, entries = d.integer(2, 4), d.integer(3, 6)
    return (
        d.tensor(rows, entries, low=0.2, high=1.5, signed=True),
        d.tensor(rows, entries, low=0.2, high=1.5, signed=True),
        d.tensor(rows, entries, low=1.7, high=3.0, signed=True),
    )


def _nll(constant=LOG_2PI, half_logvar=0.5, square=lambda r, s: r.square() / s.exp(), reduce=None):
    """The loss with one of its parts replaced; the constant stands inside the ½."""
    reduce = reduce or (lambda each: each.sum(-1))

    def wrong(mu, logvar, x):
        each = 0.5 * constant + half_logvar * logvar + 0.5 * square(x - mu, logvar)
        return reduce(each)

    return wrong


gaussian_nll = Exercise(
    "gaussian_nll",
    _gaussian_nll,
    _draw_nll,
    [
        Mistake(
            "three slips are left of the published line: the ½ belongs to the log-variance and "
            "the constant too, the logarithm is natural and of 2π, and the entries are summed",
            lambda mu, logvar, x: math.log2(math.pi) + logvar + (x - mu) ** 2 / (2 * logvar.exp()),
        ),
        Mistake(
            "two slips are left of the published line: the ½ belongs to the log-variance and the "
            "constant too, and the logarithm is natural and of 2π",
            lambda mu, logvar, x: (
                math.log2(math.pi) + logvar + (x - mu) ** 2 / (2 * logvar.exp())
            ).sum(-1),
        ),
        Mistake(
            "the ½ is missing on the log-variance and on the constant: it stands before the whole "
            "bracket",
            _nll(constant=2 * LOG_2PI, half_logvar=1.0),
        ),
        Mistake(
            "the ½ is missing on the log-variance: σ² would be learned as half the squared error",
            _nll(half_logvar=1.0),
        ),
        Mistake(
            "the ½ is missing on the constant: ½ log 2π, once for each entry",
            _nll(constant=2 * LOG_2PI),
        ),
        Mistake("the ½ is missing on the square", _nll(square=lambda r, s: 2 * r**2 / s.exp())),
        Mistake(
            "the ½ is missing: your value is exactly twice −log p",
            lambda mu, logvar, x: 2 * _gaussian_nll(mu, logvar, x),
        ),
        Mistake(
            "the logarithm of 2π is taken to base 2: nats need the natural one",
            _nll(constant=math.log2(2 * math.pi)),
        ),
        Mistake(
            "the constant is log₂ π: it should be the natural logarithm of 2π",
            _nll(constant=math.log2(math.pi)),
        ),
        Mistake("the constant is log π: a 2 is missing, log 2π", _nll(constant=math.log(math.pi))),
        Mistake(
            "the constant log 2π is left out: the gradient is right, the number is no density",
            _nll(constant=0.0),
        ),
        Mistake(
            "the constant stands there once for all entries: each of the D has its own ½ log 2π",
            lambda mu, logvar, x: (
                0.5 * LOG_2PI + 0.5 * (logvar + (x - mu) ** 2 / logvar.exp()).sum(-1)
            ),
        ),
        Mistake(
            "this is one value per entry: independent entries add up, so sum over the last "
            "dimension",
            _nll(reduce=lambda each: each),
        ),
        Mistake(
            "this is the mean over the entries: independent entries add up, so sum",
            _nll(reduce=lambda each: each.mean(-1)),
        ),
        Mistake(
            "this is one number for the whole batch: keep one value per example",
            _nll(reduce=lambda each: each.sum(-1).mean()),
        ),
        Mistake(
            "this is the sum over the whole batch: keep one value per example",
            _nll(reduce=lambda each: each.sum()),
        ),
        Mistake(
            "the square is divided by exp(½ log σ²) = σ: it is measured in units of σ²",
            _nll(square=lambda r, s: r.square() / (0.5 * s).exp()),
        ),
        Mistake(
            "the square is multiplied by σ²: it is divided by it",
            _nll(square=lambda r, s: r.square() * s.exp()),
        ),
        Mistake(
            "the log-variance is read as log σ: its exponential is σ² already",
            _nll(half_logvar=1.0, square=lambda r, s: r.square() / (2 * s).exp()),
        ),
        Mistake(
            "the log-variance is used as the variance: take its exponential under the square",
            _nll(square=lambda r, s: r.square() / s),
        ),
        Mistake(
            "the error is not squared: |x − μ| belongs to a Laplace law",
            _nll(square=lambda r, s: r.abs() / s.exp()),
        ),
        Mistake(
            "the sign is turned: this is log p, and a loss is minus it",
            lambda mu, logvar, x: -_gaussian_nll(mu, logvar, x),
        ),
        Mistake(
            "the sign of the log-variance is turned: a wide Gaussian is low, so it costs",
            _nll(half_logvar=-0.5),
        ),
        Mistake(
            "these are bits: in nats the logarithm is natural",
            lambda mu, logvar, x: _gaussian_nll(mu, logvar, x) / math.log(2),
        ),
    ],
    gradients=("mu", "logvar"),
    success="all 20 random cases agree with the reference, values and gradients",
)


# ------------------------------------------------------------------ the best shared σ
def _optimal_sigma(x, mean):
    return (x - mean).square().mean().sqrt()


def _draw_residuals(d: Draw) -> tuple:
    rows, entries = d.integer(2, 4), d.integer(4, 6)
    mean = d.tensor(rows, entries, low=0.2, high=1.0, signed=True)
    # Residuals whose mean is not 0, so that taking it out shows.
    return mean + d.tensor(rows, entries, low=-0.4, high=1.2), mean


optimal_sigma = Exercise(
    "optimal_sigma",
    _optimal_sigma,
    _draw_residuals,
    [
        Mistake(
            "this is σ²: the standard deviation is its root",
            lambda x, mean: (x - mean).square().mean(),
        ),
        Mistake(
            "the mean residual is taken out first: σ is measured around the decoder's mean, and a "
            "mean that is off by a constant costs too",
            lambda x, mean: (x - mean).std(correction=0),
        ),
        Mistake(
            "the mean residual is taken out first, and N − 1 counted: σ is measured around the "
            "decoder's mean, whose residuals need not have mean 0",
            lambda x, mean: (x - mean).std(),
        ),
        Mistake(
            "divided by N − 1: maximum likelihood divides by the number of squares",
            lambda x, mean: ((x - mean).square().sum() / (x.numel() - 1)).sqrt(),
        ),
        Mistake(
            "this is one σ for each example: one for all is asked for, so average the squares over "
            "the examples too",
            lambda x, mean: (x - mean).square().mean(-1).sqrt(),
        ),
        Mistake(
            "this is one σ for each entry: one for all is asked for",
            lambda x, mean: (x - mean).square().mean(0).sqrt(),
        ),
        Mistake(
            "the average of σ over the examples: average the squares first, take the root last",
            lambda x, mean: (x - mean).square().mean(-1).sqrt().mean(),
        ),
        Mistake(
            "the squares are summed over the entries and averaged over the examples only: divide "
            "by D as well",
            lambda x, mean: (x - mean).square().sum(-1).mean().sqrt(),
        ),
        Mistake(
            "the squares are summed, not averaged",
            lambda x, mean: (x - mean).square().sum().sqrt(),
        ),
        Mistake(
            "this is the mean absolute error: that is the best b of a Laplace law",
            lambda x, mean: (x - mean).abs().mean(),
        ),
        Mistake(
            "half of the mean square under the root: that is what the published loss learns, whose "
            "log-variance lacks its ½",
            lambda x, mean: ((x - mean).square().mean() / 2).sqrt(),
        ),
        Mistake(
            "this is log σ²: the standard deviation is asked for",
            lambda x, mean: (x - mean).square().mean().log(),
        ),
        Mistake(
            "this is the spread of x: the decoder's mean is forgotten", lambda x, mean: x.std()
        ),
        Mistake(
            "this is the root mean square of x: the decoder's mean is forgotten",
            lambda x, mean: x.square().mean().sqrt(),
        ),
    ],
    success="all 20 random cases agree with the reference: the root of the mean squared error",
)


# ------------------------------------------------------------------ σ and the KL weight
COSINE = "the cosine between the gradients of the two losses"


def _kl_weight(sigma, dimensions):
    return 2 * sigma**2 / dimensions


def _observe_weight(call, inputs) -> dict:
    """The weight itself, and the angle between two gradients by autograd, where it can be had."""
    sigma, dimensions = inputs
    w = call(sigma, dimensions)
    if w.ndim > 0:
        return {"": w}
    # A squared error of 3 and a KL of 2: as functions of a point, e(t) = 3t₁ and k(t) = 2t₂ + t₁.
    t = torch.ones(2, dtype=torch.float64, requires_grad=True)
    error, kl = 3 * t[0].square(), 2 * t[1].exp() + t[0]
    (ours,) = torch.autograd.grad(
        error / dimensions + w.detach().double() * kl, t, retain_graph=True
    )
    (elbo,) = torch.autograd.grad(error / (2 * sigma**2) + kl, t)
    return {"": w, COSINE: F.cosine_similarity(ours, elbo, dim=0)}


kl_weight_of_sigma = Exercise(
    "kl_weight_of_sigma",
    _kl_weight,
    lambda d: (d.number(0.05, 3.0), d.integer(5, 900)),
    [
        Mistake(
            "this is the weight beside half the *sum* of squares: the mean over D and the missing "
            "½ change it",
            lambda sigma, dimensions: sigma**2,
        ),
        Mistake(
            "this is the weight beside the *sum* of squares: with the mean it is divided by D",
            lambda sigma, dimensions: 2 * sigma**2,
        ),
        Mistake(
            "a 2 is missing: beside the mean of squares without a ½ it is 2σ²/D",
            lambda sigma, dimensions: sigma**2 / dimensions,
        ),
        Mistake(
            "multiplied by D where D divides: the mean makes the error small, so the KL needs a "
            "small weight",
            lambda sigma, dimensions: 2 * sigma**2 * dimensions,
        ),
        Mistake(
            "this is the factor of the error when the KL has none: the KL's factor is one over it",
            lambda sigma, dimensions: dimensions / (2 * sigma**2),
        ),
        Mistake(
            "σ enters by its square: −log p has 1/(2σ²) before the error",
            lambda sigma, dimensions: 2 * sigma / dimensions,
        ),
        Mistake(
            "half of it, and half again: −ELBO has 1/(2σ²) before the sum, so multiply by 2σ²/D",
            lambda sigma, dimensions: sigma**2 / (2 * dimensions),
        ),
        Mistake(
            "this is σ² for a weight of 1: the weight for a given σ is asked for",
            lambda sigma, dimensions: dimensions / 2,
        ),
        Mistake(
            "the ½ went to the wrong side: this is 1/(2σ²) over D",
            lambda sigma, dimensions: 1 / (2 * sigma**2 * dimensions),
        ),
    ],
    observe=_observe_weight,
    success="all 20 random cases agree, and the gradients of the two losses are parallel",
)


# ------------------------------------------------------------------ which σ is in this loss
wild_sigma = Number(
    "wild_sigma",
    2.479,
    0.006,
    [
        Slip(6.144, "that is σ²: take its root", 0.006),
        Slip(3.505, "a ½ is missing: −log p has 1/(2σ²) before the sum of squares", 0.006),
        Slip(12.288, "that is w D, which is 2σ²: divide by 2 and take the root", 0.006),
        Slip(1.239, "that is the σ of 9.4, for 64 × 64 × 3: D is four times that here", 0.006),
        Slip(0.0158, "that is √w: the mean over D entries is forgotten", 0.0003),
        Slip(0.0112, "that is √(w/2), for a sum: here the error is a mean over D", 0.0003),
        Slip(0.00025, "that is w itself: compare with 1/(2σ²) before the sum", 1e-5),
        Slip(0.000125, "that is w/2, σ² for a sum: here the error is a mean over D", 1e-5),
        Slip(3.072, "that is w D/4: σ² is w D/2, and σ its root", 0.006),
        Slip(1.7527, "that is √(w D)/2: σ² is w D/2, so the 2 stands under the root", 0.004),
        Slip(0.1628, "that is 1/σ²: divide the loss by w, not by the factor of the error", 0.001),
        Slip(0.4034, "that is 1/σ: divide the loss by w, not by the factor of the error", 0.001),
        Slip(156.77, "the weight is forgotten: √(D/2) is σ for w = 1", 0.1),
    ],
    nudge="divide the loss by w: the factor of the sum of squares, 1/(w D), is 1/(2σ²)",
    success="σ² = w D/2 = 6.144, σ = 2.48: the same weight as in 9.4, and twice its σ",
)


# ------------------------------------------------------------------ a σ that cannot run away
FLOOR = 0.01
ONE_EACH = "whether there is one σ for each input"
FINITE = "whether every output is finite, at inputs of ±10,000 too"
ABOVE = "whether every output is at least 0.01"
NEAR = "whether very negative inputs come near 0.01"
GROWS = "whether larger inputs give a larger σ"
WIDE = "whether an input of 10 gives a σ of at least 5"
SLOPE = "whether a gradient passes everywhere from −10 to 10"

_RANGE = torch.linspace(-10, 10, 81)


def _observe_floor(call, inputs) -> dict:
    """What is asked for, and not the values: many functions are right."""
    saw = call(_RANGE)
    slope = call.gradients.get("s")
    if saw.shape != _RANGE.shape:
        flags = dict.fromkeys((FINITE, ABOVE, NEAR, GROWS, WIDE, SLOPE), False)
    else:
        far = call(torch.tensor([-1e4, -100.0, 100.0, 1e4]))
        flags = {
            FINITE: bool(saw.isfinite().all() & far.isfinite().all()),
            ABOVE: bool((saw >= FLOOR * 0.999).all() & (far >= FLOOR * 0.999).all()),
            NEAR: bool(far[0] < 1.1 * FLOOR),
            GROWS: bool((saw.diff() >= 0).all() & (saw[-1] > saw[0])),
            WIDE: bool(saw[-1] >= 5),
            SLOPE: slope is not None and bool((slope > 0).all()),
        }
    flags = {ONE_EACH: saw.shape == _RANGE.shape, **flags}
    return {label: _flag(value) for label, value in flags.items()}


bounded_sigma = Exercise(
    "bounded_sigma",
    lambda s: FLOOR + F.softplus(s),
    lambda d: (d.tensor(4, low=0.1, high=3.0, signed=True),),
    [
        Mistake(
            "nothing holds σ above 0.01, so that on an entry that is reproduced exactly it runs to "
            "zero; and at large inputs the exponential overflows",
            lambda s: s.exp(),
        ),
        Mistake(
            "nothing holds σ above 0.01: it is positive, but as near to zero as training likes",
            F.softplus,
        ),
        Mistake(
            "a clamp holds σ, and below the limit the gradient is zero: an entry that got there "
            "never comes back. And at large inputs the exponential overflows",
            lambda s: s.exp().clamp(min=FLOOR),
        ),
        Mistake(
            "somewhere between −10 and 10 the gradient is zero (a clamp, a ReLU): an entry that "
            "got there never comes back. Add the floor to a function that grows everywhere",
            lambda s: F.softplus(s).clamp(min=FLOOR),
        ),
        Mistake(
            "the floor is there, but the exponential overflows at large inputs: softplus grows "
            "like s itself",
            lambda s: FLOOR + s.exp(),
        ),
        Mistake(
            "σ falls and rises again, so that the network cannot learn which way to go: use a "
            "function that grows everywhere",
            lambda s: FLOOR + s.square(),
        ),
        Mistake(
            "σ is bounded above as well: a σ of 5 can never be said. Softplus has no upper end",
            lambda s: FLOOR + s.sigmoid(),
        ),
        Mistake("this σ does not depend on s", lambda s: FLOOR + 0 * s),
        Mistake("one σ for each entry of s is asked for", lambda s: FLOOR + F.softplus(s).sum()),
    ],
    observe=_observe_floor,
    gradients=("s",),
    cases=1,
    success="finite, at least 0.01, growing, and with a gradient wherever training may be",
)


# ------------------------------------------------------------------ entries that vary together
def _low_rank(x, loc, factor, scale):
    return LowRankNormal(loc, factor, scale).log_prob(x)


def _draw_low_rank(d: Draw) -> tuple:
    rows, entries, rank = d.integer(2, 3), d.integer(4, 5), d.integer(1, 2)
    return (
        d.tensor(rows, entries, low=0.2, high=1.5, signed=True),
        d.tensor(rows, entries, low=0.2, high=1.5, signed=True),
        d.tensor(rows, entries, rank, low=0.3, high=1.2, signed=True),
        d.tensor(rows, entries, low=0.4, high=0.9),
    )


def _with_covariance(covariance, half=0.5, log_det=1.0, constant=1.0):
    """The density by a full covariance, with one of its parts replaced."""

    def wrong(x, loc, factor, scale):
        sigma = covariance(factor, scale)
        e = (x - loc)[..., None]
        square = (e.mT @ torch.linalg.solve(sigma, e))[..., 0, 0]
        found = square + log_det * torch.logdet(sigma) + constant * x.shape[-1] * LOG_2PI
        return -half * found

    return wrong


def _sum(factor, scale):
    return factor @ factor.mT + torch.diag_embed(scale.square())


low_rank_density = Exercise(
    "low_rank_density",
    _low_rank,
    _draw_low_rank,
    [
        Mistake(
            "the factor is forgotten: this is the diagonal Gaussian",
            _with_covariance(lambda f, s: torch.diag_embed(s.square())),
        ),
        Mistake(
            "`scale` is used as a variance: its square stands on the diagonal",
            _with_covariance(lambda f, s: f @ f.mT + torch.diag_embed(s)),
        ),
        Mistake(
            "only the diagonal of F Fᵀ is used: entries vary together through the others",
            _with_covariance(
                lambda f, s: torch.diag_embed(f.square().sum(-1)) + torch.diag_embed(s.square())
            ),
        ),
        Mistake("the logarithm of the determinant is missing", _with_covariance(_sum, log_det=0.0)),
        Mistake(
            "the logarithm of the determinant lacks its ½: it stands before the whole bracket",
            _with_covariance(_sum, log_det=2.0),
        ),
        Mistake(
            "the determinant is that of the diagonal alone: that of F Fᵀ + diag σ² is larger",
            lambda x, loc, factor, scale: (
                _with_covariance(_sum, log_det=0.0)(x, loc, factor, scale) - scale.log().sum(-1)
            ),
        ),
        Mistake(
            "the sign of the log-determinant is turned: a wide Gaussian is low",
            _with_covariance(_sum, log_det=-1.0),
        ),
        Mistake("the constant D log 2π is missing", _with_covariance(_sum, constant=0.0)),
        Mistake(
            "the constant stands there once: it is D log 2π",
            lambda x, loc, factor, scale: (
                _with_covariance(_sum, constant=0.0)(x, loc, factor, scale) - 0.5 * LOG_2PI
            ),
        ),
        Mistake(
            "the ½ is missing: it stands before the whole bracket", _with_covariance(_sum, 1.0)
        ),
        Mistake(
            "the sign is turned: this is −log p",
            lambda *inputs: -_low_rank(*inputs),
        ),
        Mistake(
            "this is the density: its logarithm is asked for",
            lambda *inputs: _low_rank(*inputs).exp(),
        ),
        Mistake(
            "this is one number for the whole batch: keep one value per example",
            lambda *inputs: _low_rank(*inputs).sum(),
        ),
        Mistake(
            "the columns of F are added up into one: F Fᵀ is the sum of their outer products",
            _with_covariance(
                lambda f, s: (
                    f.sum(-1)[..., :, None] * f.sum(-1)[..., None, :] + torch.diag_embed(s.square())
                )
            ),
        ),
    ],
    gradients=("factor", "scale"),
    success="all 20 random cases agree with the reference, values and gradients",
)

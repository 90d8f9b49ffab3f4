"""Checks of the exercises of "Inside the latent space"."""

from __future__ import annotations

import math

import torch

from vae_tutorial.checks.base import Draw, Exercise, Mistake
from vae_tutorial.checks.quiz import Lines, Number, Slip
from vae_tutorial.distributions import Normal

# ------------------------------------------------------------------------------ nine frames
ENDS = "whether the ends are start and end, to the last bit"


def _interpolation(start, end, frames):
    t = torch.linspace(0, 1, frames, dtype=start.dtype)[:, None]
    return (1 - t) * start + t * end


def _draw_ends(d: Draw) -> tuple:
    dims = d.integer(2, 5)
    # The ends are far from each other in size, so that start + (end − start) rounds.
    return (
        d.tensor(dims, low=0.5, high=3.0, signed=True) * 1000,
        d.tensor(dims, low=0.5, high=3.0, signed=True),
        d.integer(4, 9),
    )


def _observe_frames(call, inputs) -> dict:
    start, end, _ = inputs
    value = call(*inputs)
    saw = {"": value, **{f"gradient {name}": g for name, g in call.gradients.items()}}
    exact = value.ndim == 2 and torch.equal(value[0], start) and torch.equal(value[-1], end)
    return {**saw, ENDS: torch.tensor(float(exact))}


def _at(times):
    def path(start, end, frames):
        t = times(frames).to(start.dtype)[:, None]
        return (1 - t) * start + t * end

    return path


def _on_the_sphere(start, end, frames):
    cosine = (start @ end) / (start.norm() * end.norm())
    angle = torch.acos(cosine.clamp(-1, 1))
    t = torch.linspace(0, 1, frames, dtype=start.dtype)[:, None]
    return (torch.sin((1 - t) * angle) * start + torch.sin(t * angle) * end) / torch.sin(angle)


interpolation = Exercise(
    "interpolation",
    _interpolation,
    _draw_ends,
    [
        Mistake(
            "the last frame is not `end`: F frames are F − 1 steps, so divide by frames − 1",
            _at(lambda n: torch.arange(n) / n),
        ),
        Mistake(
            "there is one frame too many: frames counts the pictures, not the steps",
            _at(lambda n: torch.linspace(0, 1, n + 1)),
        ),
        Mistake(
            "both ends are missing: the first frame is `start`, the last one `end`",
            _at(lambda n: torch.linspace(0, 1, n + 2)[1:-1]),
        ),
        Mistake(
            "start and end have changed places: at t = 0 the weight of `start` is 1",
            _at(lambda n: torch.linspace(1, 0, n)),
        ),
        Mistake(
            "the last frame is `end` up to rounding only: start + t (end − start) rounds twice, "
            "(1 − t) start + t end is exact at both ends",
            lambda start, end, frames: (
                start + torch.linspace(0, 1, frames, dtype=start.dtype)[:, None] * (end - start)
            ),
        ),
        Mistake(
            "this is the great circle: the straight line is asked for",
            _on_the_sphere,
        ),
        Mistake(
            "this is (d, frames): frames come first",
            lambda start, end, frames: _interpolation(start, end, frames).T,
        ),
    ],
    observe=_observe_frames,
    gradients=("start", "end"),
    success="right number of frames, equal steps, and both ends exactly, in 20 random cases",
)


# ------------------------------------------------------------------------------ the middle
midpoint_length = Number(
    "midpoint_length",
    4.0,
    0.005,
    [
        Slip(math.sqrt(32), "that is the length of a sample, √d: the middle is shorter", 0.01),
        Slip(16.0, "that is the mean square, d/2: take its root", 0.01),
        Slip(32.0, "that is d, the mean square length of a sample", 0.01),
        Slip(
            math.sqrt(32) / 2,
            "half of √d would be right for two equal samples: independent ones do not line up; "
            "add the variances of z/2 and z'/2",
            0.01,
        ),
        Slip(8.0, "that is for the sum of the two, √(2d): halve it", 0.01),
        Slip(0.0, "the mean vector is 0, its length is not", 0.01),
    ],
    nudge="each coordinate of (z + z')/2 has variance ¼ + ¼",
    success="√(d/2) = √16 = 4, against √32 = 5.66 for a sample: the middle lies deep in the ball",
)


# ------------------------------------------------------------------------------ information
BELOW = "whether no value exceeds log N"


def _log_table(mu, sigma, z):
    return Normal(mu, sigma).log_prob(z[:, None])  # [n, m]: z_n under x_m


def _information(mu, sigma, z):
    log_q = _log_table(mu, sigma, z)
    return log_q.diagonal() - log_q.logsumexp(1) + math.log(len(z))


def _draw_codes(d: Draw) -> tuple:
    n, dims = d.integer(4, 7), d.integer(2, 4)
    mu = d.tensor(n, dims, low=0.2, high=2.0, signed=True)
    sigma = d.tensor(n, dims, low=0.3, high=0.9)
    return mu, sigma, mu + sigma * d.tensor(n, dims, low=0.1, high=1.5, signed=True)


def _far_codes() -> tuple:
    mu = 500 * torch.arange(4.0)[:, None].expand(4, 2).contiguous()
    return mu, torch.full((4, 2), 0.1), mu + 4.0  # densities that underflow


FAR = "whether codes far apart give log N"


def _observe_information(call, inputs) -> dict:
    value = call(*inputs)
    saw = {"": value, **{f"gradient {name}": g for name, g in call.gradients.items()}}
    below = bool((value <= math.log(len(inputs[0])) + 1e-5).all())
    far = call(*_far_codes())
    # In float32 the terms are −1,600 and cancel to about 4 digits.
    right = far.shape == (4,) and torch.allclose(far, torch.full((4,), math.log(4)), atol=1e-2)
    return {
        **saw,
        BELOW: torch.tensor(float(below)),
        FAR: torch.tensor(float(right)),
    }


def _without_own(mu, sigma, z):
    log_q = _log_table(mu, sigma, z)
    others = log_q.clone().fill_diagonal_(-math.inf)
    return log_q.diagonal() - others.logsumexp(1) + math.log(len(z) - 1)


information = Exercise(
    "information",
    _information,
    _draw_codes,
    [
        Mistake(
            "the 1/N of the mixture is missing: q(z) is an average, so subtract log N from the "
            "logsumexp",
            lambda mu, sigma, z: _information(mu, sigma, z) - math.log(len(z)),
        ),
        Mistake(
            "divided by N twice, as minibatch-weighted sampling does: values above log N",
            lambda mu, sigma, z: _information(mu, sigma, z) + math.log(len(z)),
        ),
        Mistake(
            "the own image is left out of the mixture: then values can exceed log N",
            _without_own,
        ),
        Mistake(
            "the sum runs over the draws in place of the images: row n of the table is z_n under "
            "all N posteriors",
            lambda mu, sigma, z: (
                _log_table(mu, sigma, z).diagonal()
                - _log_table(mu, sigma, z).logsumexp(0)
                + math.log(len(z))
            ),
        ),
        Mistake(
            "this is the average of the logarithms: q(z) is the average of the densities, and the "
            "logarithm comes last",
            lambda mu, sigma, z: (
                _log_table(mu, sigma, z).diagonal() - _log_table(mu, sigma, z).mean(1)
            ),
        ),
        Mistake(
            "right where the densities are moderate: for codes far apart exp underflows, and the "
            "logarithm is that of 0 or of what you added to it. Use logsumexp",
            lambda mu, sigma, z: (
                _log_table(mu, sigma, z).diagonal() - _log_table(mu, sigma, z).exp().mean(1).log()
            ),
        ),
        Mistake(
            "sigma is read as a variance: it is a standard deviation",
            lambda mu, sigma, z: _information(mu, sigma.sqrt(), z),
        ),
        Mistake(
            "the latents are not summed: log q of a code is the sum of its d logarithms",
            lambda mu, sigma, z: (
                torch.distributions.Normal(mu, sigma).log_prob(z)
                - torch.distributions.Normal(mu, sigma).log_prob(z[:, None]).logsumexp(1)
                + math.log(len(z))
            ),
        ),
        Mistake(
            "this is one number: one value for each image is asked for",
            lambda mu, sigma, z: _information(mu, sigma, z).mean(),
        ),
        Mistake(
            "this is the KL to the prior, log q(z|x) − log p(z): the mixture belongs in its place",
            lambda mu, sigma, z: (
                _log_table(mu, sigma, z).diagonal()
                - Normal(torch.zeros_like(z), torch.ones_like(z)).log_prob(z)
            ),
        ),
        Mistake(
            "the sign is turned",
            lambda mu, sigma, z: -_information(mu, sigma, z),
        ),
    ],
    observe=_observe_information,
    success="all 20 random cases agree, no value exceeds log N, and codes far apart reach it",
)


# ------------------------------------------------------------------------------ one Gaussian
def _between(mu, n=None):
    centred = mu - mu.mean(0)
    return centred.T @ centred / (n or len(mu))


aggregate_covariance = Exercise(
    "aggregate_covariance",
    lambda mu, sigma: _between(mu) + torch.diag(sigma.square().mean(0)),
    lambda d: _draw_codes(d)[:2],
    [
        Mistake(
            "the spread within is missing: the mean of σ² belongs on the diagonal",
            lambda mu, sigma: _between(mu),
        ),
        Mistake(
            "the spread between is missing: the means differ",
            lambda mu, sigma: torch.diag(sigma.square().mean(0)),
        ),
        Mistake(
            "the standard deviations are averaged as they are: variances add up, so square them",
            lambda mu, sigma: _between(mu) + torch.diag(sigma.mean(0)),
        ),
        Mistake(
            "the square is taken after the mean: it is the mean of σ²",
            lambda mu, sigma: _between(mu) + torch.diag(sigma.mean(0).square()),
        ),
        Mistake(
            "divided by N − 1: this mixture is the whole population, divide by N",
            lambda mu, sigma: _between(mu, len(mu) - 1) + torch.diag(sigma.square().mean(0)),
        ),
        Mistake(
            "the means are not centred: subtract their average",
            lambda mu, sigma: mu.T @ mu / len(mu) + torch.diag(sigma.square().mean(0)),
        ),
        Mistake(
            "these are the variances alone: the covariances between dimensions belong to it",
            lambda mu, sigma: _between(mu).diagonal() + sigma.square().mean(0),
        ),
        Mistake(
            "the spread within lies on every entry: each q has independent dimensions, so it "
            "belongs on the diagonal alone",
            lambda mu, sigma: _between(mu) + sigma.square().mean(0),
        ),
        Mistake(
            "the off-diagonal entries are missing: codes of different dimensions are correlated",
            lambda mu, sigma: torch.diag(_between(mu).diagonal() + sigma.square().mean(0)),
        ),
    ],
    success="within plus between: all 20 random cases agree with the reference",
)


# ------------------------------------------------------------------------------ the audit
latent_claims = Lines(
    "latent_claims",
    {
        2: "look for a term of the bound that asks for causes",
        3: "compare what epochs did and what the weight of the KL did",
        4: "look at the σ of pure noise in section 10.9",
        6: "look at the moments of a mixture of Gaussians",
    },
    {
        1: "a continuous function of a continuous road is continuous; which is why a smooth film "
        "proves nothing",
        5: "the information cannot exceed log N, so the rest is mismatch; what that says about the "
        "model is another question",
    },
    "2, 3, 4 and 6 are contradicted: no term asks for causes, a mismatch is not mended by epochs, "
    "noise had the smaller σ, and a mixture of Gaussians is no Gaussian",
)

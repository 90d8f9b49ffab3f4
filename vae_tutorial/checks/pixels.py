"""Checks of the exercises of "Bernoulli decoders and their relatives"."""

from __future__ import annotations

import math

import torch
from torch.nn import functional as F

from vae_tutorial.checks.base import Draw, Exercise, Mistake
from vae_tutorial.checks.quiz import Number, Slip
from vae_tutorial.distributions import (
    DiscretizedLogistic,
    continuous_bernoulli_log_constant,
    grey_levels,
)


def _flag(value: bool) -> torch.Tensor:
    return torch.tensor(float(value))


def _agrees(found, expected) -> bool:
    """Whether a second, special observation is right; the first one explains wrong shapes."""
    return found.shape == expected.shape and torch.allclose(
        found.detach().double(), expected.double(), rtol=1e-4, atol=1e-6
    )


# ------------------------------------------------------------------ cross-entropy from logits
FINITE = "whether logits of ±10,000 give a finite value"
RIGHT = "whether they give the right one"
FAR_SLOPE = "whether a gradient passes there"

_FAR = torch.tensor([[1e4, -1e4, 1e4, -1e4, 200.0]])
_FAR_X = torch.tensor([[0.0, 0.0, 1.0, 1.0, 0.25]])


def _stable_bce(logits, x):
    return (F.softplus(logits) - x * logits).sum(-1)


def _draw_pixels(d: Draw) -> tuple:
    rows, pixels = d.integer(3, 5), d.integer(6, 9)
    x = torch.cat([d.tensor(rows, pixels, low=0.0, high=1.0), torch.eye(rows, 2)], 1)
    return d.tensor(rows, pixels + 2, low=0.3, high=3.0, signed=True), x


def _observe_bce(call, inputs) -> dict:
    value = call(*inputs)
    saw = {"": value, **{f"gradient {name}": g for name, g in call.gradients.items()}}
    far = call(_FAR, _FAR_X)
    slope = call.gradients.get("logits")
    passes = slope is None or _agrees(slope, _FAR.sigmoid() - _FAR_X)
    return {
        **saw,
        FINITE: _flag(bool(far.isfinite().all())),
        RIGHT: _flag(_agrees(far, _stable_bce(_FAR, _FAR_X))),
        FAR_SLOPE: _flag(passes),
    }


def _on_probabilities(clip):
    """The form on π, with something done to π or to the logarithms against the infinities."""

    def wrong(logits, x):
        return -clip(logits.sigmoid(), x).sum(-1)

    return wrong


stable_bce = Exercise(
    "stable_bce",
    _stable_bce,
    _draw_pixels,
    [
        Mistake(
            "right while the logits are small, but at ±10,000 it is infinite or NaN: eᵃ overflows, "
            "or the sigmoid rounds to 0 or 1 and log 0 is −∞. Use log(1 + eᵃ) − x a with "
            "F.softplus",
            _on_probabilities(lambda pi, x: x * pi.log() + (1 - x) * (1 - pi).log()),
        ),
        Mistake(
            "right while the logits are small, but at ±10,000 it is clipped: finite, wrong, and "
            "without a gradient. Stay with the logits, log(1 + eᵃ) − x a, and F.softplus",
            _on_probabilities(
                lambda pi, x: (
                    x * pi.clamp(1e-7, 1 - 1e-7).log() + (1 - x) * (1 - pi).clamp(1e-7, 1).log()
                )
            ),
        ),
        Mistake(
            "the sigmoid is applied twice: the formula on logits takes them as they are",
            lambda logits, x: _stable_bce(logits.sigmoid(), x),
        ),
        Mistake(
            "the logits are used as if they were probabilities",
            lambda logits, x: -(x * logits.log() + (1 - x) * (1 - logits).log()).sum(-1),
        ),
        Mistake(
            "this is the mean over the pixels: independent pixels add up, so sum",
            lambda logits, x: _stable_bce(logits, x) / x.shape[-1],
        ),
        Mistake(
            "this is one number for the whole batch: keep one value per image",
            lambda logits, x: _stable_bce(logits, x).mean(),
        ),
        Mistake(
            "this is the sum over the whole batch: keep one value per image",
            lambda logits, x: _stable_bce(logits, x).sum(),
        ),
        Mistake(
            "this is one value per pixel: sum over the last dimension",
            lambda logits, x: F.softplus(logits) - x * logits,
        ),
        Mistake(
            "the sign is turned: this is the log-probability, and the cross-entropy is minus it",
            lambda logits, x: -_stable_bce(logits, x),
        ),
        Mistake(
            "x and 1 − x have changed places: white has the probability σ(a)",
            lambda logits, x: _stable_bce(logits, 1 - x),
        ),
        Mistake(
            "the term of the black pixels is missing: −x log π alone",
            lambda logits, x: (x * F.softplus(-logits)).sum(-1),
        ),
        Mistake(
            "these are bits: in nats the logarithm is natural",
            lambda logits, x: _stable_bce(logits, x) / math.log(2),
        ),
    ],
    observe=_observe_bce,
    gradients=("logits",),
    success="all 20 random cases agree with the reference, and so do logits of ±10,000",
)


# ------------------------------------------------------------------ an average over bits
squared_error_of_bits = Number(
    "squared_error_of_bits",
    0.21,
    0.0005,
    [
        Slip(0.0, "the square is not linear in b: expand (b − y)² and average each term", 0.0005),
        Slip(0.09, "that is x², the square of the mean: E[b²] is E[b], as b is 0 or 1", 0.0005),
        Slip(0.3, "that is E[b²] alone: subtract x², the square of the mean", 0.0005),
        Slip(0.7, "that is the probability of black", 0.0005),
        Slip(0.49, "that is (1 − x)²: what is asked is Var(b) = E[b²] − E[b]²", 0.0005),
        Slip(0.42, "twice too much: Var(b) is x (1 − x)", 0.0005),
        Slip(0.4583, "that is the standard deviation of b: the squared error is in squares", 0.001),
        Slip(0.6109, "that is the entropy of the coin: the squared error adds a variance", 0.001),
        Slip(-0.21, "the average is larger, not smaller: E[(b − y)²] = (x − y)² + Var(b)", 0.0005),
    ],
    nudge="E[(b − y)²] = (E[b] − y)² + Var(b)",
    success="x (1 − x) = 0.21, whatever y is: the squared error of bits is that of grey values "
    "plus a constant, so its value differs and its gradient does not",
)


# ------------------------------------------------------------------ the missing constant
AT_ZERO = "whether the value at 0 is right"
NEAR_SLOPE = "whether the slope at 0.001 is right"
FAR_VALUE = "whether the value at ±10,000 is right"


def _observe_constant(call, inputs) -> dict:
    value = call(*inputs)
    saw = {"": value, **{f"gradient {name}": g for name, g in call.gradients.items()}}
    zero = call(torch.zeros(2))
    call(torch.tensor([1e-3, -1e-3]))
    slope = call.gradients.get("logits")
    near = torch.tensor([1e-3 / 6, -1e-3 / 6])
    far = call(torch.tensor([1e4, -1e4]))
    return {
        **saw,
        AT_ZERO: _flag(_agrees(zero, torch.full((2,), math.log(2)))),
        NEAR_SLOPE: _flag(slope is None or torch.allclose(slope, near, rtol=0.01, atol=0)),
        FAR_VALUE: _flag(_agrees(far, torch.full((2,), math.log(1e4)))),
    }


def _in_lambda(logits):
    u = 1 - 2 * logits.sigmoid()
    return (2 * torch.atanh(u) / u).log()


log_constant = Exercise(
    "log_constant",
    continuous_bernoulli_log_constant,
    lambda d: (d.tensor(d.integer(3, 6), low=0.3, high=4.0, signed=True),),
    [
        Mistake(
            "right away from 0 and ±10,000: with λ, 1 − 2λ loses its digits near ½ and artanh(1) "
            "is infinite. In logits C is a / tanh(a/2); near 0 use the series",
            _in_lambda,
        ),
        Mistake(
            "right away from 0: at 0 it is 0/0, and near 0 the slope loses its digits. Use the "
            "series log 2 + a²/12 − … for small |a|",
            lambda logits: (logits / torch.tanh(logits / 2)).log(),
        ),
        Mistake(
            "the value is right everywhere, but near 0 the slope has lost its digits: one point "
            "is not enough, use the series log 2 + a²/12 − … for |a| below about 0.1",
            lambda logits: torch.where(
                logits.abs() < 1e-6,
                math.log(2) + 0 * logits,
                (
                    torch.where(logits.abs() < 1e-6, 1.0, logits)
                    / torch.tanh(torch.where(logits.abs() < 1e-6, 1.0, logits) / 2)
                ).log(),
            ),
        ),
        Mistake(
            "right near 0 and for moderate logits, but not at ±10,000: eᵃ overflows. a / tanh(a/2) "
            "does not",
            lambda logits: torch.where(
                logits.abs() < 0.1,
                continuous_bernoulli_log_constant(logits),
                ((logits * (1 + logits.exp())) / torch.expm1(logits)).log(),
            ),
        ),
        Mistake(
            "this is C: its logarithm is asked for",
            lambda logits: continuous_bernoulli_log_constant(logits).exp(),
        ),
        Mistake(
            "this is the logarithm of the integral: the constant is one over it",
            lambda logits: -continuous_bernoulli_log_constant(logits),
        ),
        Mistake(
            "a factor 2 is missing: C(0) = 2, and its logarithm there is log 2",
            lambda logits: continuous_bernoulli_log_constant(logits) - math.log(2),
        ),
        Mistake(
            "tanh takes a/2, not a",
            lambda logits: (logits / torch.tanh(logits)).log(),
        ),
        Mistake(
            "these are bits: in nats the logarithm is natural",
            lambda logits: continuous_bernoulli_log_constant(logits) / math.log(2),
        ),
        Mistake(
            "this is one number: one value for each logit is asked for",
            lambda logits: continuous_bernoulli_log_constant(logits).sum(),
        ),
        Mistake(
            "you read the logits as probabilities λ: they are log(λ / (1 − λ))",
            lambda logits: (2 * torch.atanh(1 - 2 * logits) / (1 - 2 * logits)).log(),
        ),
    ],
    observe=_observe_constant,
    gradients=("logits",),
    success="value and slope are right, at 0, near it, and at ±10,000",
)


# ------------------------------------------------------------------ the discretized logistic
TOTAL = "the sum of the probabilities of all levels"
TAIL_FINITE = "whether the value far from loc is finite"
TAIL = "whether it is right"


def _discretized(x, loc, scale, levels):
    one = DiscretizedLogistic(loc[:, None], scale[:, None], levels)
    return one.log_prob(x[:, None])


def _draw_levels(d: Draw) -> tuple:
    levels = d.integer(5, 12)
    inner = [d.integer(1, levels - 2) for _ in range(d.integer(3, 5))]
    x = torch.tensor([0, levels - 1, *inner]) / (levels - 1)
    n = len(x)
    return x, d.tensor(n, low=0.1, high=0.9), d.tensor(n, low=0.1, high=0.4), levels


def _observe_levels(call, inputs) -> dict:
    x, loc, scale, levels = inputs
    value = call(x, loc, scale, levels)
    saw = {"": value, **{f"gradient {name}": g for name, g in call.gradients.items()}}
    every = grey_levels(levels, x)
    total = call(every, loc[0].expand(levels), scale[0].expand(levels), levels).exp().sum()
    far = every[1:2], torch.ones(1), torch.full((1,), 1e-3), levels
    tail = call(*far)
    return {
        **saw,
        TOTAL: total.detach(),
        TAIL_FINITE: _flag(bool(tail.isfinite().all())),
        TAIL: _flag(_agrees(tail, _discretized(*far))),
    }


def _borders(x, loc, scale, levels, half=0.5, bins=None):
    width = half / (bins or levels - 1)
    return (x - width - loc) / scale, (x + width - loc) / scale


def _difference(cdf, *, edges=True, half=0.5, bins=lambda levels: levels - 1, floor=0.0):
    """log of a difference of CDFs at the borders, in the plain way."""

    def wrong(x, loc, scale, levels):
        lower, upper = _borders(x, loc, scale, levels, half, bins(levels))
        below, above = cdf(lower), cdf(upper)
        if edges:
            below = torch.where(x < 0.5 / (levels - 1), 0.0, below)
            above = torch.where(x > 1 - 0.5 / (levels - 1), 1.0, above)
        return (above - below).clamp(min=floor).log()

    return wrong


discretized_logistic = Exercise(
    "discretized_logistic",
    _discretized,
    _draw_levels,
    [
        Mistake(
            "right near loc, but far from it the two sigmoids round to the same number and the "
            "logarithm is −∞: use log σ(hi) + log σ(−lo) + log(1 − e^−(hi − lo))",
            _difference(torch.sigmoid),
        ),
        Mistake(
            "right near loc, but far from it there is a floor under the probability: finite, "
            "wrong, and without a gradient. Use log σ(hi) + log σ(−lo) + log(1 − e^−(hi − lo))",
            _difference(torch.sigmoid, floor=1e-12),
        ),
        Mistake(
            "the edge bins are forgotten: the lowest reaches to −∞, the highest to +∞, or the "
            "probabilities do not add up to one",
            _difference(torch.sigmoid, edges=False),
        ),
        Mistake(
            "the edge bins are forgotten: all three terms stand in the lowest and the highest bin "
            "too, so the probabilities do not add up to one",
            lambda x, loc, scale, levels: _three_terms(x, loc, scale, levels),
        ),
        Mistake(
            "this is density times width, at the centre of the bin: integrate over the bin",
            lambda x, loc, scale, levels: (
                F.logsigmoid((x - loc) / scale)
                + F.logsigmoid((loc - x) / scale)
                - (scale * (levels - 1)).log()
            ),
        ),
        Mistake(
            "this is the density of the logistic law at x: a level has the probability of its bin",
            lambda x, loc, scale, levels: (
                F.logsigmoid((x - loc) / scale) + F.logsigmoid((loc - x) / scale) - scale.log()
            ),
        ),
        Mistake(
            "the bins have the width 1/K: K levels from 0 to 1 are 1/(K − 1) apart",
            _difference(torch.sigmoid, bins=lambda levels: levels),
        ),
        Mistake(
            "the bins reach a whole step to each side and overlap: half a step is right",
            _difference(torch.sigmoid, half=1.0),
        ),
        Mistake(
            "these are the bins of a Gaussian: the logistic law has the sigmoid as its CDF",
            _difference(lambda value: torch.special.ndtr(value)),
        ),
        Mistake(
            "`scale` is used as a standard deviation, which is π/√3 times the scale",
            lambda x, loc, scale, levels: _discretized(
                x, loc, scale * math.sqrt(3) / math.pi, levels
            ),
        ),
        Mistake(
            "this is the probability: its logarithm is asked for",
            lambda x, loc, scale, levels: _discretized(x, loc, scale, levels).exp(),
        ),
        Mistake(
            "the sign is turned: this is −log P",
            lambda x, loc, scale, levels: -_discretized(x, loc, scale, levels),
        ),
        Mistake(
            "this is the sum over the pixels: here one value for each is asked for",
            lambda x, loc, scale, levels: _discretized(x, loc, scale, levels).sum(),
        ),
        Mistake(
            "only the lowest bin takes its tail: the highest reaches to +∞",
            lambda x, loc, scale, levels: torch.where(
                x > 0.5,
                _three_terms(x, loc, scale, levels),
                _discretized(x, loc, scale, levels),
            ),
        ),
        Mistake(
            "only the highest bin takes its tail: the lowest reaches to −∞",
            lambda x, loc, scale, levels: torch.where(
                x < 0.5,
                _three_terms(x, loc, scale, levels),
                _discretized(x, loc, scale, levels),
            ),
        ),
    ],
    observe=_observe_levels,
    gradients=("loc", "scale"),
    success="all 20 random cases agree with the reference, add up to one, and stay exact in the "
    "tail",
)


def _three_terms(x, loc, scale, levels):
    lower, upper = _borders(x, loc, scale, levels)
    return F.logsigmoid(upper) + F.logsigmoid(-lower) + torch.log(-torch.expm1(-(upper - lower)))


# ------------------------------------------------------------------ one scale
def _bits(nats, dimensions, levels):
    return nats / (dimensions * math.log(2)) + math.log2(levels)


discrete_bits = Exercise(
    "discrete_bits",
    _bits,
    lambda d: (float(d.number(20, 90, signed=True)), d.integer(16, 80), d.integer(5, 40)),
    [
        Mistake(
            "the bins are missing: a density of y lives on bins of width 1/K, which adds log₂ K "
            "bits for each dimension",
            lambda nats, dimensions, levels: nats / (dimensions * math.log(2)),
        ),
        Mistake(
            "log₂ K has the wrong sign: P(k) is about density times 1/K, so −log₂ P is larger",
            lambda nats, dimensions, levels: nats / (dimensions * math.log(2)) - math.log2(levels),
        ),
        Mistake(
            "log K is in nats: in bits it is log₂ K",
            lambda nats, dimensions, levels: nats / (dimensions * math.log(2)) + math.log(levels),
        ),
        Mistake(
            "the nats were not turned into bits: divide by log 2",
            lambda nats, dimensions, levels: nats / dimensions + math.log2(levels),
        ),
        Mistake(
            "log₂ K is added to the whole image: each of the D dimensions has its own bin",
            lambda nats, dimensions, levels: (nats / math.log(2) + math.log2(levels)) / dimensions,
        ),
        Mistake(
            "these are bits per image: divide by D",
            lambda nats, dimensions, levels: nats / math.log(2) + dimensions * math.log2(levels),
        ),
        Mistake(
            "you multiplied by log 2: one bit is log 2 = 0.69 nats, so divide",
            lambda nats, dimensions, levels: nats * math.log(2) / dimensions + math.log2(levels),
        ),
        Mistake(
            "that is log₂(K − 1): y = (k + u)/K has K bins",
            lambda nats, dimensions, levels: (
                nats / (dimensions * math.log(2)) + math.log2(levels - 1)
            ),
        ),
        Mistake(
            "the density has the wrong sign: `nats` is minus its logarithm already",
            lambda nats, dimensions, levels: -nats / (dimensions * math.log(2)) + math.log2(levels),
        ),
    ],
)


# ------------------------------------------------------------------ two bugs
def _grey_loss(out, x):
    return F.binary_cross_entropy_with_logits(out, (x + 1) / 2, reduction="none").sum(-1)


def _loss_of(prediction, target, reduce=lambda loss: loss.sum(-1)):
    return lambda out, x: reduce(
        F.binary_cross_entropy_with_logits(prediction(out), target(x), reduction="none")
    )


def _draw_out(d: Draw) -> tuple:
    rows, pixels = d.integer(3, 5), d.integer(6, 9)
    x = torch.cat(
        [d.tensor(rows, pixels, low=0.1, high=1.0, signed=True), torch.eye(rows, 2) * 2 - 1], 1
    )
    return d.tensor(rows, pixels + 2, low=0.3, high=2.0, signed=True), x


def _same(value):
    return value


def _to_unit(x):
    return (x + 1) / 2


two_bugs = Exercise(
    "two_bugs",
    _grey_loss,
    _draw_out,
    [
        Mistake(
            "both bugs are still there: the sigmoid is applied twice, and images in [−1, 1] are "
            "scored as if they were in [0, 1]",
            _loss_of(torch.sigmoid, _same),
        ),
        Mistake(
            "one bug is left: the images are in [−1, 1], where this loss has no lower end; "
            "(x + 1)/2 brings them to [0, 1]",
            _loss_of(_same, _same),
        ),
        Mistake(
            "one bug is left: the sigmoid is applied twice, as …_with_logits applies its own",
            _loss_of(torch.sigmoid, _to_unit),
        ),
        Mistake(
            "clamping at 0 throws away all that is darker than mid-grey: (x + 1)/2 keeps it",
            _loss_of(_same, lambda x: x.clamp(0, 1)),
        ),
        Mistake(
            "the absolute value makes black as bright as white: (x + 1)/2 keeps the order",
            _loss_of(_same, torch.abs),
        ),
        Mistake("x + 1 reaches to 2: divide by 2", _loss_of(_same, lambda x: x + 1)),
        Mistake("x/2 reaches from −½ to ½: add 1 first", _loss_of(_same, lambda x: x / 2)),
        Mistake(
            "both bugs are mended, but black and white have changed places",
            _loss_of(_same, lambda x: (1 - x) / 2),
        ),
        Mistake(
            "both bugs are mended, but this is the mean over the pixels: sum",
            _loss_of(_same, _to_unit, lambda loss: loss.mean(-1)),
        ),
        Mistake(
            "both bugs are mended, but this is one number: keep one value per image",
            _loss_of(_same, _to_unit, torch.mean),
        ),
        Mistake(
            "both bugs are mended, but this is one value per pixel: sum over the last dimension",
            _loss_of(_same, _to_unit, _same),
        ),
        Mistake(
            "both bugs are mended, but the sign is turned: this is the log-probability",
            lambda out, x: -_grey_loss(out, x),
        ),
    ],
    gradients=("out",),
    success="both bugs are mended: the loss is a cross-entropy again, and a pixel can be black",
)

"""Checks of the exercises of "Gradients of expectations"."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from vae_tutorial.checks.base import Draw, Exercise, Failure, Mistake, Result
from vae_tutorial.checks.quiz import Lines
from vae_tutorial.distributions import LOG_2PI

_PER_DRAW = "this is one number: return one estimate for each draw, and leave the mean to others"
_NEGATIVE = "the sign is turned: this is the gradient of −f"
_NO_GRADIENT = "z must require a gradient: z = (mu + sigma * eps).requires_grad_()"


class Differentiated(Exercise):
    """An exercise whose answer calls autograd; PyTorch's complaint about a bare z is translated."""

    def _look(self, function: Callable, inputs: tuple) -> dict[str, Any]:
        saw = super()._look(function, inputs)
        failure = saw.get("")
        if isinstance(failure, Failure) and "does not require grad" in failure.hint:
            saw[""] = Failure(_NO_GRADIENT, failure.error)
        return saw


# --------------------------------------------------------------------------- both estimators
class _Function:
    """f(z) = a + b z + c z² + sin(kz), which no formula for a special f fits."""

    def __init__(self, a: float, b: float, c: float, k: float) -> None:
        self.numbers = (a, b, c, k)

    def __call__(self, z: Tensor) -> Tensor:
        a, b, c, k = self.numbers
        return a + b * z + c * z**2 + torch.sin(k * z)


def _slope(f, z: Tensor) -> Tensor:
    z = z.detach().requires_grad_()
    return torch.autograd.grad(f(z).sum(), z)[0]


def _draw_function(d: Draw) -> tuple:
    f = _Function(*(float(d.number(0.5, 2.0, signed=True)) for _ in range(4)))
    mu, sigma = d.number(0.4, 1.5, signed=True), d.number(0.3, 0.8)
    return f, mu, sigma, d.tensor(d.integer(5, 8), low=0.2, high=2.0, signed=True).double()


def _draw_with_baseline(d: Draw) -> tuple:
    return *_draw_function(d), d.number(0.5, 2.0, signed=True)


def _score_function(f, mu, sigma, eps, baseline):
    return (f(mu + sigma * eps) - baseline) * (eps**2 - 1)


def _density(sigma, eps):
    return torch.exp(-0.5 * eps**2) / (sigma * math.sqrt(2 * math.pi))


score_function = Exercise(
    "score_function",
    _score_function,
    _draw_with_baseline,
    [
        Mistake(
            "this is the gradient with respect to μ: the score for log σ is (z − μ)²/σ² − 1",
            lambda f, mu, sigma, eps, baseline: (f(mu + sigma * eps) - baseline) * eps / sigma,
        ),
        Mistake(
            "this is the gradient with respect to σ: for log σ it is multiplied by σ",
            lambda f, mu, sigma, eps, baseline: (
                _score_function(f, mu, sigma, eps, baseline) / sigma
            ),
        ),
        Mistake(
            "this is the gradient with respect to log σ²: that of log σ is twice as large",
            lambda f, mu, sigma, eps, baseline: _score_function(f, mu, sigma, eps, baseline) / 2,
        ),
        Mistake(
            "the baseline is not used: right on average, and noisier than it need be",
            lambda f, mu, sigma, eps, baseline: _score_function(f, mu, sigma, eps, 0.0),
        ),
        Mistake(
            "the baseline is subtracted from the product: then the mean is off by it. It belongs "
            "to f, before the score multiplies",
            lambda f, mu, sigma, eps, baseline: _score_function(f, mu, sigma, eps, 0.0) - baseline,
        ),
        Mistake(
            "the baseline has the wrong sign: right on average, but it adds noise",
            lambda f, mu, sigma, eps, baseline: _score_function(f, mu, sigma, eps, -baseline),
        ),
        Mistake(
            "the −1 of the score is missing: a score has mean zero, (z − μ)²/σ² has mean 1",
            lambda f, mu, sigma, eps, baseline: (f(mu + sigma * eps) - baseline) * eps**2,
        ),
        Mistake(
            "the score measures the distance of z from μ: you have z²/σ² in place of (z − μ)²/σ²",
            lambda f, mu, sigma, eps, baseline: (
                (f(mu + sigma * eps) - baseline) * ((mu / sigma + eps) ** 2 - 1)
            ),
        ),
        Mistake(
            "you divide (z − μ)² by σ: the score has σ² there",
            lambda f, mu, sigma, eps, baseline: (
                (f(mu + sigma * eps) - baseline) * (sigma * eps**2 - 1)
            ),
        ),
        Mistake(
            "you draw z = μ + σ²ε: `sigma` is the standard deviation, so the noise is scaled by σ",
            lambda f, mu, sigma, eps, baseline: (f(mu + sigma**2 * eps) - baseline) * (eps**2 - 1),
        ),
        Mistake(
            "you draw z = μ + σ²ε, and the score suffers, too: the noise is scaled by σ",
            lambda f, mu, sigma, eps, baseline: (
                (f(mu + sigma**2 * eps) - baseline) * ((sigma * eps) ** 2 - 1)
            ),
        ),
        Mistake(
            "you multiply by log q(z): the score is its derivative",
            lambda f, mu, sigma, eps, baseline: (
                (f(mu + sigma * eps) - baseline) * _density(sigma, eps).log()
            ),
        ),
        Mistake(
            "you divide the derivative of q by log q: the derivative of log q is that of q, "
            "divided by q",
            lambda f, mu, sigma, eps, baseline: (
                _score_function(f, mu, sigma, eps, baseline)
                * _density(sigma, eps)
                / _density(sigma, eps).log()
            ),
        ),
        Mistake(
            "you multiply by the derivative of q, not of log q: q is in it once too often",
            lambda f, mu, sigma, eps, baseline: (
                _score_function(f, mu, sigma, eps, baseline) * _density(sigma, eps)
            ),
        ),
        Mistake(
            "this is the pathwise estimate: the score function does not differentiate f",
            lambda f, mu, sigma, eps, baseline: _pathwise(f, mu, sigma, eps),
        ),
        Mistake(
            _PER_DRAW,
            lambda f, mu, sigma, eps, baseline: _score_function(f, mu, sigma, eps, baseline).mean(),
        ),
        Mistake(
            _NEGATIVE,
            lambda f, mu, sigma, eps, baseline: -_score_function(f, mu, sigma, eps, baseline),
        ),
    ],
    success="every draw of 20 random cases agrees with the reference",
)


def _pathwise(f, mu, sigma, eps):
    return _slope(f, mu + sigma * eps) * sigma * eps


pathwise = Differentiated(
    "pathwise",
    _pathwise,
    _draw_function,
    [
        Mistake(
            "this is the gradient with respect to μ: with log σ, z moves by σε",
            lambda f, mu, sigma, eps: _slope(f, mu + sigma * eps),
        ),
        Mistake(
            "this is the gradient with respect to σ: with log σ, z moves by σε, not by ε",
            lambda f, mu, sigma, eps: _slope(f, mu + sigma * eps) * eps,
        ),
        Mistake(
            "this is the gradient with respect to log σ²: that of log σ is twice as large",
            lambda f, mu, sigma, eps: _pathwise(f, mu, sigma, eps) / 2,
        ),
        Mistake(
            "the noise is missing from ∂z/∂ log σ: it is σε, another number for each draw",
            lambda f, mu, sigma, eps: _slope(f, mu + sigma * eps) * sigma,
        ),
        Mistake(
            "you multiply by f, not by its slope: the path needs f′(z)",
            lambda f, mu, sigma, eps: f(mu + sigma * eps) * sigma * eps,
        ),
        Mistake(
            "the slope is taken at μ: it belongs to the draw, f′(z)",
            lambda f, mu, sigma, eps: _slope(f, mu + 0 * eps) * sigma * eps,
        ),
        Mistake(
            "you draw z = μ + σ²ε: `sigma` is the standard deviation, so the noise is scaled by σ",
            lambda f, mu, sigma, eps: _slope(f, mu + sigma**2 * eps) * sigma * eps,
        ),
        Mistake(
            "the path is μ + σ²ε in your code, and so is its slope: the noise is scaled by σ",
            lambda f, mu, sigma, eps: _slope(f, mu + sigma**2 * eps) * 2 * sigma**2 * eps,
        ),
        Mistake(
            "z = μ + σ²ε in your code, so z − μ is σ²ε, too: the noise is scaled by σ in both",
            lambda f, mu, sigma, eps: _slope(f, mu + sigma**2 * eps) * sigma**2 * eps,
        ),
        Mistake(
            "this is the score function: the path differentiates f",
            lambda f, mu, sigma, eps: _score_function(f, mu, sigma, eps, 0.0),
        ),
        Mistake(_PER_DRAW, lambda f, mu, sigma, eps: _pathwise(f, mu, sigma, eps).mean()),
        Mistake(_NEGATIVE, lambda f, mu, sigma, eps: -_pathwise(f, mu, sigma, eps)),
    ],
    success="every draw of 20 random cases agrees with the reference",
)


# --------------------------------------------------------------------------- the exact slope
def _of_mean(phi, *, mu_slope=None):
    mu, sigma = phi**3, math.exp(phi)
    mu_slope = 3 * phi**2 if mu_slope is None else mu_slope
    return (2 * mu + math.exp(-(sigma**2) / 2) * math.cos(mu)) * mu_slope


def _damping_slope(phi):  # what the derivative of e^(−σ²/2) contributes
    mu, sigma = phi**3, math.exp(phi)
    return -(sigma**2) * math.exp(-(sigma**2) / 2) * math.sin(mu)


def _exact_slope(phi):
    phi = float(phi)
    return _of_mean(phi) + 2 * math.exp(2 * phi) + _damping_slope(phi)


exact_slope = Exercise(
    "exact_slope",
    _exact_slope,
    lambda d: (d.number(0.3, 0.9, signed=True),),
    [
        Mistake(
            "φ also sets σ: the derivative through σ = e^φ is missing",
            lambda phi: _of_mean(float(phi)),
        ),
        Mistake(
            "φ also sets μ: the derivative through μ = φ³ is missing",
            lambda phi: _exact_slope(phi) - _of_mean(float(phi)),
        ),
        Mistake(
            "this is f′(μ) times the derivative of μ, the slope at ε = 0: f is bent, so averages "
            "differ from the value at μ",
            lambda phi: (2 * phi**3 + math.cos(phi**3)) * 3 * phi**2,
        ),
        Mistake(
            "the average of sin z is not sin μ: the spread of z damps it by e^(−σ²/2)",
            lambda phi: (2 * phi**3 + math.cos(phi**3)) * 3 * phi**2 + 2 * math.exp(2 * float(phi)),
        ),
        Mistake(
            "the damping e^(−σ²/2) depends on φ, too, and you treat it as a constant",
            lambda phi: _exact_slope(phi) - _damping_slope(float(phi)),
        ),
        Mistake(
            "the derivative of e^(−σ²/2) has a minus: a wider q damps more",
            lambda phi: _exact_slope(phi) - 2 * _damping_slope(float(phi)),
        ),
        Mistake(
            "the inner derivative ∂σ/∂φ = e^φ is missing: you differentiate with respect to σ",
            lambda phi: (
                _of_mean(float(phi))
                + (2 * math.exp(2 * phi) + _damping_slope(float(phi))) / math.exp(phi)
            ),
        ),
        Mistake(
            "the inner derivative ∂μ/∂φ = 3φ² is missing: you differentiate with respect to μ",
            lambda phi: (
                _exact_slope(phi) - _of_mean(float(phi)) + _of_mean(float(phi), mu_slope=1.0)
            ),
        ),
        Mistake(
            "σ = e^φ is the standard deviation, but you use it as the variance",
            lambda phi: (
                (2 * phi**3 + math.exp(-math.exp(phi) / 2) * math.cos(phi**3)) * 3 * phi**2
                + math.exp(phi)
                - 0.5 * math.exp(phi) * math.exp(-math.exp(phi) / 2) * math.sin(phi**3)
            ),
        ),
        Mistake(
            "the square is missing: this is the slope of E[sin z] alone",
            lambda phi: _exact_slope(phi) - 2 * phi**3 * 3 * phi**2 - 2 * math.exp(2 * float(phi)),
        ),
        Mistake(
            "this is the average of f itself: its derivative is asked for",
            lambda phi: (
                phi**6
                + math.exp(2 * float(phi))
                + math.exp(-math.exp(2 * float(phi)) / 2) * math.sin(phi**3)
            ),
        ),
    ],
    tolerances={"": (1e-5, 1e-5)},
    digits=7,
)

# --------------------------------------------------------------------- four errors, nine lines
four_errors = Lines(
    "four_errors",
    {
        2: "write down the derivative of log u, and look where the logarithm is afterwards",
        5: "ask for the mean of both estimators, then for their scatter",
        6: "ask what the standard deviation of z is, drawn as it is written",
        8: "ask which of the two logarithms of the ELBO contains θ",
    },
    {
        1: "only the density contains φ, and the two conditions are those for moving the "
        "derivative inside",
        3: "∫ q dz = 1 for every φ, so its derivative is zero",
        4: "the constant times the score averages to zero",
        7: "f′(z) ∂z/∂μ with ∂z/∂μ = 1",
        9: "a step has slope zero almost everywhere, which is why the estimate is wrong",
    },
    "lines 2 (divide by q), 5 (noisy, unbiased), 6 (σ, not σ²), 8 (log p(x, z))",
)


# -------------------------------------------------------------------- let the score function win
_GRID = torch.arange(-32_000, 32_001, dtype=torch.float64) / 4000  # −8 to 8, with 0


def _average(values: Tensor) -> float:
    weights = torch.exp(-0.5 * (_GRID.square() + LOG_2PI))
    return torch.trapezoid(weights * values, _GRID).item()


def _value_and_slope(call, inputs) -> dict[str, Tensor]:
    z = inputs[0].detach().requires_grad_()
    value = call(z)
    slope = torch.zeros_like(z)
    if value.requires_grad:
        (found,) = torch.autograd.grad(value.sum(), z, allow_unused=True)
        slope = slope if found is None else found
    return {"": value.detach(), "slope": slope.detach()}


_CONSTANT = "f is constant: there is no slope to estimate"
_EVEN = (
    "the slope at μ = 0 is as good as zero: f is even, or wiggles so fast that it averages out. "
    "Leave something to be estimated"
)
_JUMP = (
    "the pathwise mean is not the slope of E[f]: f jumps, or torch finds no derivative in it. Make "
    "it steep, but continuous"
)
_FINITE = "f or its slope is not finite somewhere between −8 and 8"


class ScoreWins(Exercise):
    """Any f under which the score function is the quieter one, both variances by quadrature."""

    def _judge(self, answer: Any) -> Result:
        complaint = self._not_a_function(answer)
        if complaint:
            return Result(False, complaint)
        saw = self._look(answer, (_GRID,))
        for label in ("nothing", ""):
            if isinstance(saw.get(label), Failure):
                return Result(False, saw[label].hint)
        if "mutated" in saw:
            return Result(False, saw["mutated"].hint)
        value, slope = saw[""], saw["slope"]
        if value.shape != _GRID.shape:
            return Result(
                False,
                f"your function returned shape {tuple(value.shape)}, but one value for each of "
                f"the {len(_GRID)} entries of z was expected",
            )
        return Result(*self._compare(value.double(), slope))

    def _compare(self, value: Tensor, slope: Tensor) -> Sequence:
        if not (torch.isfinite(value).all() and torch.isfinite(slope).all()):
            return False, _FINITE
        if value.max() - value.min() < 1e-9:
            return False, _CONSTANT
        weighted = value * _GRID  # the score for μ at μ = 0, σ = 1 is z
        exact, mean = _average(weighted), _average(slope)
        score_variance = _average(weighted**2) - exact**2
        size = math.sqrt(_average(weighted**2))
        if abs(exact - mean) > 0.01 * size:
            return False, _JUMP
        if abs(exact) < 1e-3 * size:
            return False, _EVEN
        path_variance = max(0.0, round(_average(slope**2) - mean**2, 9))
        if score_variance < path_variance:
            return True, self.success
        return False, (
            f"the path is quieter: variance {path_variance:.3g} against {score_variance:.3g} for "
            "the score function. Make f lower, or steeper"
        )


score_wins = ScoreWins(
    "score_wins",
    lambda z: torch.tanh(20 * z),
    lambda d: (_GRID,),
    [
        Mistake(_CONSTANT, lambda z: 0 * z + 3),
        Mistake(_EVEN, lambda z: torch.cos(9 * z)),
        Mistake(_JUMP, lambda z: (z > 0).double()),
        Mistake(_FINITE, lambda z: 1 / z),
    ],
    observe=_value_and_slope,
    cases=1,
    success="the score function has the smaller variance, and the pathwise mean is right",
)


# ---------------------------------------------------------------------------- drop the score
AT_POSTERIOR = "at the posterior of R1"


class _LogJoint:
    """log p(x, z) of a one-dimensional linear-Gaussian model, (n,) to (n,), up to a constant."""

    def __init__(self, w: float, variance: float, x: float) -> None:
        self.numbers = (w, variance, x)

    def __call__(self, z: Tensor) -> Tensor:
        w, variance, x = self.numbers
        return -0.5 * ((x - w * z) ** 2 / variance + z**2)


def _draw_log_joint(d: Draw) -> tuple:
    log_joint = _LogJoint(
        float(d.number(0.5, 2.0, signed=True)),
        float(d.number(0.3, 0.8)),
        float(d.number(0.5, 2.0, signed=True)),
    )
    mu, sigma = d.number(0.4, 1.5, signed=True), d.number(0.3, 0.8)
    return log_joint, mu, sigma, d.tensor(d.integer(5, 8), low=0.2, high=2.0, signed=True).double()


def _observe_landing(call, inputs) -> dict[str, Tensor]:
    seen = {"": call(*inputs)}
    number = torch.tensor([3 / 5.5, 1 / 5.5], dtype=torch.float64)
    seen[AT_POSTERIOR] = call(_LogJoint(1.5, 0.5, 1.0), number[0], number[1].sqrt(), inputs[-1])
    return seen


def _landing(log_joint, mu, sigma, eps):
    return _slope(log_joint, mu + sigma * eps) + eps / sigma


landing = Differentiated(
    "landing",
    _landing,
    _draw_log_joint,
    [
        Mistake(
            "this is the slope of log p(x, z) alone, which is form A: either log q(z) is missing, "
            "or the gradient flows through the mu inside it, and the two cancel",
            lambda log_joint, mu, sigma, eps: _slope(log_joint, mu + sigma * eps),
        ),
        Mistake(
            "log q(z) has the wrong sign: it is subtracted",
            lambda log_joint, mu, sigma, eps: _slope(log_joint, mu + sigma * eps) - eps / sigma,
        ),
        Mistake(
            "this is minus the score, the term to drop: let the gradient flow through z, not "
            "through the mu inside log q",
            lambda log_joint, mu, sigma, eps: -eps / sigma,
        ),
        Mistake(
            "this is the slope of −log q(z) alone: log p(x, z) is missing",
            lambda log_joint, mu, sigma, eps: eps / sigma,
        ),
        Mistake(
            "`sigma` is the standard deviation of q, but inside log q you use it as the variance",
            lambda log_joint, mu, sigma, eps: _slope(log_joint, mu + sigma * eps) + eps,
        ),
        Mistake(
            "you divide ε by σ²: the score is (z − μ)/σ², and that is ε/σ",
            lambda log_joint, mu, sigma, eps: _slope(log_joint, mu + sigma * eps) + eps / sigma**2,
        ),
        Mistake(
            "the ½ in log q is missing",
            lambda log_joint, mu, sigma, eps: _slope(log_joint, mu + sigma * eps) + 2 * eps / sigma,
        ),
        Mistake(
            "you draw z = μ + σ²ε: `sigma` is the standard deviation, so the noise is scaled by σ",
            lambda log_joint, mu, sigma, eps: _slope(log_joint, mu + sigma**2 * eps) + eps,
        ),
        Mistake(
            "this is the gradient with respect to log σ: with μ, z moves by 1",
            lambda log_joint, mu, sigma, eps: _landing(log_joint, mu, sigma, eps) * sigma * eps,
        ),
        Mistake(
            "you subtract the prior where q belongs: log p(x, z) contains log p(z) already",
            lambda log_joint, mu, sigma, eps: (
                _slope(log_joint, mu + sigma * eps) + mu + sigma * eps
            ),
        ),
        Mistake(
            _PER_DRAW, lambda log_joint, mu, sigma, eps: _landing(log_joint, mu, sigma, eps).mean()
        ),
        Mistake(
            "this is the gradient of the negative bound, a loss: turn the sign",
            lambda log_joint, mu, sigma, eps: -_landing(log_joint, mu, sigma, eps),
        ),
    ],
    observe=_observe_landing,
    success="agrees on 20 random cases; at the posterior every draw is zero",
)

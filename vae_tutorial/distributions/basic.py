"""Two distributions, Gaussian and Bernoulli, their divergences by hand, and the shared checks."""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

LOG_2PI = math.log(2 * math.pi)


class UndefinedDensityError(ValueError):
    """There is no number to return: NaN among the parameters, or no density (σ = 0).

    It is what a diverging network returns; `training.fit` says in which step, and what to try.
    """


@dataclass(frozen=True)
class Normal:
    """Gaussian with diagonal covariance, N(loc, diag(scale²)), over the last dimension.

    Args:
        loc: mean, `(*batch, d)`.
        scale: standard deviation, positive, the shape of `loc` (or broadcastable to it). Zero, an
            underflow, is a point mass: its KL is infinite, and `log_prob` is not defined.

    Raises:
        ValueError: if the shapes do not agree or a standard deviation is negative.
        UndefinedDensityError: a ValueError, if a parameter is NaN.

    >>> Normal(torch.zeros(5, 2), torch.ones(5, 2)).log_prob(torch.zeros(5, 2)).shape
    torch.Size([5])
    """

    loc: Float[Tensor, "*batch d"]
    scale: Float[Tensor, "*#batch #d"]

    def __post_init__(self) -> None:
        shape = self.scale.shape
        if shape != self.loc.shape:
            try:
                shape = torch.broadcast_shapes(self.loc.shape, shape)
            except RuntimeError:
                shape = None
        if self.loc.ndim == 0 or shape != self.loc.shape:
            raise ValueError(
                "loc and scale must agree, with the event as last dimension: got loc "
                f"{tuple(self.loc.shape)} and scale {tuple(self.scale.shape)}"
            )
        # One pass over each: the smallest entry is NaN if any is, and `not` sees that.
        if self.scale.numel() and not self.scale.detach().min().item() >= 0:
            raise _scale_error(self.scale)
        if _any_nan(self.loc):
            raise UndefinedDensityError(f"loc must not be NaN, got {_nans(self.loc)}")
        if self.scale.shape != self.loc.shape:
            object.__setattr__(self, "scale", self.scale.expand_as(self.loc))

    @property
    def mean(self) -> Tensor:
        """The mean, `(*batch, d)`."""
        return self.loc

    def log_prob(self, value: Float[Tensor, "*value d"]) -> Float[Tensor, "*batch"]:
        """Log-density of `value`, summed over the last dimension.

        log N(x; μ, diag σ²) = −½ Σ_j [ (x_j − μ_j)²/σ_j² + log σ_j² + log 2π ]

        Equation: eq-normal-log-density.

        Args:
            value: `(*batch, d)`, broadcast against the parameters.

        Returns:
            nats, `(*batch,)`.

        Raises:
            ValueError: if the last dimension of `value` is not d.
            UndefinedDensityError: a ValueError, if a result is NaN.

        Source: Bishop (2006), section 2.3.

        >>> Normal(torch.zeros(1), torch.ones(1)).log_prob(torch.zeros(1))
        tensor(-0.9189)
        """
        check_event(value, self.loc)
        standardized = (value - self.loc) / self.scale
        log_density = -(0.5 * (standardized.square() + LOG_2PI) + self.scale.log()).sum(-1)
        if _any_nan(log_density):
            point = bool((self.scale == 0).any())
            problem = "a scale is 0, and a point mass has no density" if point else "∞ − ∞"
            raise _undefined(value, problem)
        return log_density

    def rsample(
        self, n: int | None = None, *, generator: torch.Generator | None = None
    ) -> Float[Tensor, "*sample d"]:
        """Draw z = μ + σ ε with ε ~ N(0, I): differentiable in μ and σ.

        Equation: eq-reparameterize.

        Args:
            n: number of draws; None gives one draw without a leading dimension.
            generator: source of ε; None uses torch's global generator.

        Returns:
            `(n, *batch, d)`, or `(*batch, d)` for `n=None`.

        Raises:
            ValueError: if `n` is less than 1.

        Source: Kingma and Welling (2014), section 2.4.

        >>> q = Normal(torch.zeros(5, 2), torch.ones(5, 2))
        >>> q.rsample(3, generator=torch.Generator().manual_seed(0)).shape
        torch.Size([3, 5, 2])
        """
        check_generator(generator)
        shape = sample_shape(n, self.loc)
        eps = torch.randn(shape, generator=generator, dtype=self.loc.dtype, device=self.loc.device)
        return self.loc + self.scale * eps

    def sample(
        self, n: int | None = None, *, generator: torch.Generator | None = None
    ) -> Float[Tensor, "*sample d"]:
        """Draw as `rsample` does, without a gradient."""
        with torch.no_grad():
            return self.rsample(n, generator=generator)

    def entropy(self) -> Float[Tensor, "*batch"]:
        """Differential entropy, Σ_j [ log σ_j + ½ log 2πe ], in nats, `(*batch,)`."""
        return (self.scale.log() + 0.5 * (LOG_2PI + 1)).sum(-1)

    def detach(self) -> Normal:
        """The same distribution, cut from the graph that computed its parameters."""
        return Normal(self.loc.detach(), self.scale.detach())


@dataclass(frozen=True)
class Bernoulli:
    """Independent Bernoulli pixels over the last dimension, parameterized by logits.

    Args:
        logits: log(π / (1 − π)), `(*batch, D)`; any finite size is safe.

    >>> Bernoulli(torch.zeros(4)).log_prob(torch.ones(4))     # −4 log 2
    tensor(-2.7726)
    """

    logits: Float[Tensor, "*batch D"]

    @property
    def probs(self) -> Tensor:
        """π = 1 / (1 + exp(−logits)), `(*batch, D)`."""
        return self.logits.sigmoid()

    @property
    def mean(self) -> Tensor:
        """The mean image, which for a Bernoulli is π, `(*batch, D)`."""
        return self.probs

    def log_prob(self, value: Float[Tensor, "*value D"]) -> Float[Tensor, "*batch"]:
        """Log-probability of `value`, summed over the pixels.

        log p(x) = Σ_j [ x_j a_j − softplus(a_j) ] with logits a. For grey values it is the
        expected log-probability of the image binarized with P(b_j = 1) = x_j: minus the
        cross-entropy, not a density.

        Equation: eq-bernoulli-log-pmf.

        Args:
            value: pixels in [0, 1], `(*batch, D)`, broadcast against the logits.

        Returns:
            nats, `(*batch,)`.

        Raises:
            ValueError: if a pixel lies outside [0, 1] or is NaN, or if the last dimension of
                `value` is not D.
            UndefinedDensityError: a ValueError, if a logit is NaN, or infinite with an undefined
                result.

        Source: Kingma and Welling (2014), appendix C.1, on logits instead of probabilities.

        >>> Bernoulli(torch.tensor([1e4, -1e4])).log_prob(torch.tensor([0.0, 0.0]))
        tensor(-10000.)
        """
        check_event(value, self.logits)
        check_unit_interval(value)
        x, logits = torch.broadcast_tensors(value, self.logits)
        # The library's form of x·a − softplus(a): exact at both ends, and one fused pass.
        log_p = -F.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(-1)
        if _any_nan(log_p):
            raise _undefined(value, "logits must be finite, got NaN or infinity")
        return log_p

    def sample(
        self, n: int | None = None, *, generator: torch.Generator | None = None
    ) -> Float[Tensor, "*sample D"]:
        """Draw images of zeros and ones, `(n, *batch, D)`, or `(*batch, D)` for `n=None`."""
        check_generator(generator)
        probs = self.probs.detach().expand(sample_shape(n, self.logits))
        return torch.bernoulli(probs, generator=generator)


def standard_normal(d: int, **tensor_options) -> Normal:
    """The prior N(0, I) in d dimensions.

    >>> standard_normal(2).loc
    tensor([0., 0.])
    """
    check_count("d", d)
    zeros = torch.zeros(d, **tensor_options)
    return Normal(zeros, zeros + 1)


def kl_normal(q: Normal, p: Normal) -> Float[Tensor, "*batch"]:
    """KL divergence KL(q‖p) between two diagonal Gaussians.

    KL(q‖p) = ½ Σ_j [ (σ_q² + (μ_q − μ_p)²)/σ_p² − 1 − log(σ_q²/σ_p²) ]_j

    Equation: eq-kl-normal.

    Args:
        q, p: Gaussians with the same last dimension d; batch dimensions broadcast.

    Returns:
        nats, `(*batch,)`, never negative.

    Raises:
        ValueError: if the event dimensions differ.

    Source: Kingma and Welling (2014), appendix B, for p = N(0, I).

    >>> kl_normal(Normal(torch.ones(1), torch.ones(1)), Normal(torch.zeros(1), torch.ones(1)))
    tensor(0.5000)
    """
    check_event(q.loc, p.loc)
    log_ratio = q.scale.log() - p.scale.log()
    mean_term = ((q.loc - p.loc) / p.scale).square()
    return (0.5 * (torch.expm1(2 * log_ratio) + mean_term) - log_ratio).sum(-1)


def kl_standard_normal(q: Normal) -> Float[Tensor, "*batch"]:
    """KL divergence KL(q‖N(0, I)) of a diagonal Gaussian from the standard normal.

    KL(q‖N(0, I)) = ½ Σ_j [ μ_j² + σ_j² − 1 − log σ_j² ]

    Equation: eq-kl-standard-normal.

    Args:
        q: Gaussian over the last dimension.

    Returns:
        nats, `(*batch,)`, zero if and only if q is the standard normal.

    Source: Kingma and Welling (2014), appendix B.

    >>> kl_standard_normal(Normal(torch.zeros(3, 2), torch.ones(3, 2)))
    tensor([0., 0., 0.])
    """
    return (0.5 * (q.loc.square() + q.scale.square() - 1) - q.scale.log()).sum(-1)


def check_unit_interval(images: Tensor, name: str = "images") -> None:
    """Raise ValueError unless every value of `images` lies in [0, 1]; NaN does not.

    Args:
        images: values of any shape; an empty tensor passes.
        name: what the message calls them.

    Raises:
        ValueError: naming the smallest or largest offender.

    Source: the support of a Bernoulli distribution, and of its expectation.

    >>> check_unit_interval(torch.tensor([0.0, 0.5, 1.0]))
    """
    if images.numel() == 0:
        return
    low, high = torch.aminmax(images.detach())
    if low >= 0 and high <= 1:
        return
    if bool(low.isnan() | high.isnan()):
        raise ValueError(f"{name} must lie in [0, 1] for a Bernoulli decoder, got NaN")
    offender = f"min {in_full(low)}" if low < 0 else f"max {in_full(high)}"
    raise ValueError(
        f"{name} must lie in [0, 1] for a Bernoulli decoder, got {offender}: "
        "rescale, or use a Gaussian decoder"
    )


def all_finite(values: Tensor) -> bool:
    """Whether no value is NaN or infinite, in one pass: smallest and largest are NaN if one is.

    Args:
        values: of any shape; an empty tensor is finite.

    Source: `torch.aminmax` passes NaN on. `isfinite().all()` says the same, but writes masks first.

    >>> all_finite(torch.tensor([0.0, 1.0])), all_finite(torch.tensor([0.0, torch.nan]))
    (True, False)
    """
    return values.numel() == 0 or all(bool(end.isfinite()) for end in torch.aminmax(values))


def check_event(value: Tensor, parameter: Tensor) -> None:
    """Raise ValueError unless `value` has the event dimension of `parameter`, the last one.

    Args:
        value: `(*batch, d)`.
        parameter: `(*batch, d)`, of a distribution over the last dimension.

    Raises:
        ValueError: naming the shape that is needed and the one given.

    Source: the last dimension is the event, in all of this package.

    >>> check_event(torch.zeros(5, 2), torch.zeros(2))
    """
    if value.ndim == 0 or value.shape[-1] != parameter.shape[-1]:
        raise ValueError(
            f"value must have {parameter.shape[-1]} entries in its last dimension, "
            f"got shape {tuple(value.shape)}"
        )


def sample_shape(n: int | None, parameter: Tensor) -> tuple[int, ...]:
    """The shape of n draws, `(n, *batch, d)`; of one draw, `(*batch, d)`, for `n=None`.

    Args:
        n: number of draws, at least 1, or None.
        parameter: `(*batch, d)`.

    Raises:
        ValueError: if `n` is less than 1, or no whole number.

    Source: the leading dimension counts draws, in all of this package.

    >>> sample_shape(3, torch.zeros(5, 2))
    (3, 5, 2)
    """
    if n is None:
        return tuple(parameter.shape)
    check_count("n", n, "or None")
    return (n, *parameter.shape)


def check_count(name: str, value: object, otherwise: str = "") -> None:
    """Raise ValueError unless `value` is a whole number of at least 1.

    Args:
        name: of the argument.
        value: what was given.
        otherwise: what else is accepted, for the message.

    Raises:
        ValueError: naming the argument and what was given.

    Source: epochs, samples and batches are counted, in all of this package.

    >>> check_count("epochs", 20)
    """
    otherwise = otherwise and f" {otherwise}"
    try:
        whole = operator.index(value)
    except TypeError:
        raise ValueError(f"{name} must be a whole number{otherwise}, got {value!r}") from None
    if whole < 1:
        raise ValueError(f"{name} must be at least 1{otherwise}, got {value}")


def check_generator(generator: torch.Generator | None) -> None:
    """Raise TypeError unless `generator` is a `torch.Generator` or None; a bare seed is neither.

    Args:
        generator: what was given.

    Raises:
        TypeError: with the line that makes a generator.

    Source: randomness is an explicit generator, in all of this package.

    >>> check_generator(torch.Generator().manual_seed(0))
    """
    if generator is not None and not isinstance(generator, torch.Generator):
        seed = generator if isinstance(generator, int) else 0
        raise TypeError(
            f"generator must be a torch.Generator or None, got {generator!r}: "
            f"generator=torch.Generator().manual_seed({seed})"
        )


def in_full(number: Tensor | float) -> str:
    """The shortest text that tells a number from every other of its kind, for messages.

    Rounded, 1.0000001 would read "must lie in [0, 1], got 1".

    Args:
        number: a Python number, or a tensor with one entry.

    Source: `str` of Python and NumPy, which end where the precision of the dtype ends.

    >>> in_full(torch.tensor(1.0000001)), in_full(-1.0)
    ('1.0000001', '-1')
    """
    if isinstance(number, Tensor):
        entry = number.detach().cpu()
        number = entry.item() if entry.dtype == torch.bfloat16 else entry.numpy()
    return str(number).removesuffix(".0")


def kind_of(value: object) -> str:
    """The class of a value, with its article, for messages.

    Args:
        value: what was given.

    Source: none.

    >>> kind_of([]), kind_of(1)
    ('a list', 'an int')
    """
    name = type(value).__name__
    return f"an {name}" if name[0] in "AEIOUaeiou" else f"a {name}"


def _scale_error(scale: Tensor) -> ValueError:
    """Negative is a mistake in the code; NaN is what training does to a network."""
    if scale.isnan().any():
        return UndefinedDensityError(f"scale must be positive, got {_nans(scale)}")
    return ValueError(
        f"scale must be positive, got min {in_full(scale.min())}: it is a standard deviation, "
        "not a logarithm"
    )


def _check_scale(p: Any) -> None:
    """For laws with `loc` and `scale`: shapes that agree, positive scales, no NaN.

    Then the scale has the shape of loc. (A `Normal` may have a scale of 0, and checks itself.)
    """
    try:
        shape = torch.broadcast_shapes(p.loc.shape, p.scale.shape)
    except RuntimeError:
        shape = None
    if p.loc.ndim == 0 or shape != p.loc.shape:
        raise ValueError(
            "loc and scale must agree, with the event as last dimension: got loc "
            f"{tuple(p.loc.shape)} and scale {tuple(p.scale.shape)}"
        )
    if p.scale.numel() and not p.scale.detach().min().item() >= 0:
        raise _scale_error(p.scale)
    if p.scale.numel() and (p.scale == 0).any():
        raise UndefinedDensityError("scale must be positive, got 0: bound it from below")
    if _any_nan(p.loc):
        raise UndefinedDensityError(f"loc must not be NaN, got {_nans(p.loc)}")
    object.__setattr__(p, "scale", p.scale.expand_as(p.loc))


def _any_nan(values: Tensor) -> bool:
    """One pass: the smallest entry is NaN if any is."""
    return values.numel() > 0 and math.isnan(values.detach().min().item())


def _nans(values: Tensor) -> str:
    return f"NaN in {int(values.isnan().sum())} of {values.numel()} entries"


def _undefined(value: Tensor, problem: str) -> UndefinedDensityError:
    if value.isnan().any():
        problem = f"value must not be NaN, got {_nans(value)}"
    return UndefinedDensityError(f"log_prob is not defined: {problem}")

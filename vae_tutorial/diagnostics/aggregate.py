"""The mixture of all encodings, and what it says about the prior and about the data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from vae_tutorial.distributions import (
    LOG_2PI,
    Normal,
    check_count,
    check_event,
    check_generator,
    kl_normal,
)
from vae_tutorial.models import VAE

CHUNK = 1_000_000  # entries of a table (values, encodings) at once: 8 MB, which malloc gives again


@dataclass(frozen=True)
class AggregatePosterior:
    """q(z) = (1/N) Σ_n N(z; μ_n, diag σ_n²): where the decoder was trained, exactly.

    Equation: eq-def-aggregate-posterior.

    Args:
        loc: posterior means of N examples, `(N, d)`.
        scale: their standard deviations, `(N, d)`, positive.

    Raises:
        ValueError: if the shapes are not `(N, d)` with N ≥ 1 or a scale is not positive.

    Source: Hoffman and Johnson (2016).

    >>> q = AggregatePosterior(torch.tensor([[-1.0], [1.0]]), torch.ones(2, 1))
    >>> q.std                                  # within: 1, between: 1
    tensor([1.4142])
    """

    loc: Float[Tensor, "N d"]
    scale: Float[Tensor, "N d"]

    def __post_init__(self) -> None:
        if self.loc.ndim != 2 or self.loc.shape != self.scale.shape or len(self.loc) == 0:
            raise ValueError(
                "loc and scale must be (N, d) with N ≥ 1, got "
                f"{tuple(self.loc.shape)} and {tuple(self.scale.shape)}"
            )
        if not self.scale.min().item() > 0:
            raise ValueError(
                f"scale must be positive, got {self.scale.min().item():g}: points have no density"
            )

    @property
    def components(self) -> Normal:
        """The N Gaussians q(z|x_n)."""
        return Normal(self.loc, self.scale)

    @property
    def mean(self) -> Float[Tensor, "d"]:
        """E[z], the average of the means."""
        return self.loc.mean(0)

    @property
    def covariance(self) -> Float[Tensor, "d d"]:
        """Cov[z] = average of diag σ_n² (within) + covariance of the μ_n (between).

        Equation: eq-aggregate-moments.
        """
        within = torch.diag(self.scale.square().mean(0))
        centred = self.loc - self.mean
        return within + centred.T @ centred / len(self.loc)

    @property
    def std(self) -> Float[Tensor, "d"]:
        """Standard deviation of each z_j; 1 for a mixture that matches the prior."""
        return self.covariance.diagonal().sqrt()

    @property
    def scale_factor(self) -> float:
        """1 / standard deviation of all entries of z, pooled: z times this has unit variance.

        Equation: eq-scale-factor.

        Source: Rombach et al. (2022), appendix G.
        """
        second = self.covariance.diagonal() + self.mean.square()
        return float((second.mean() - self.mean.mean().square()).rsqrt())

    def log_prob(self, value: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]:
        """log (1/N) Σ_n q(z|x_n), nats, all N components counted.

        Equation: eq-def-aggregate-posterior.

        Args:
            value: points of the latent space, `(*batch, d)`.

        Returns:
            nats, `(*batch,)`, computed in float64 and returned in the dtype of `value`.

        Raises:
            ValueError: if the last dimension is not d.

        >>> q = AggregatePosterior(torch.zeros(3, 1), torch.ones(3, 1))   # three times N(0, 1)
        >>> q.log_prob(torch.zeros(1))
        tensor(-0.9189)
        """
        check_event(value, self.loc)
        points = value.reshape(-1, self.loc.shape[1])
        rows = max(1, CHUNK // len(self.loc))
        parts = [self._log_joint(part).logsumexp(1) for part in points.split(rows)]
        mixture = torch.cat(parts) if parts else points.new_zeros(0)
        return (mixture.to(value.dtype) - math.log(len(self.loc))).reshape(value.shape[:-1])

    def sample(self, n: int, *, generator: torch.Generator | None = None) -> Float[Tensor, "n d"]:
        """Draw n points: an example at random, then z from its posterior.

        Raises:
            ValueError: if n is less than 1.

        >>> AggregatePosterior(torch.zeros(3, 2), torch.ones(3, 2)).sample(5).shape
        torch.Size([5, 2])
        """
        check_count("n", n)
        check_generator(generator)
        which = torch.randint(len(self.loc), (n,), generator=generator)
        return Normal(self.loc[which], self.scale[which]).sample(generator=generator)

    def _log_joint(self, points: Tensor) -> Tensor:
        """log q(z_m|x_n), `(M, N)`: the square multiplied out, so that it is a matrix product.

        In float64, because μ²/σ² and z²/σ² are large and nearly cancel.
        """
        centre = self.loc.mean(0).double()
        z, mu = points.double() - centre, self.loc.double() - centre
        precision = self.scale.double().pow(-2)
        constant = (mu.square() * precision - precision.log()).sum(1) + mu.shape[1] * LOG_2PI
        square = z.square() @ precision.T - 2 * z @ (mu * precision).T
        return -0.5 * (square + constant)


class Information(NamedTuple):
    """An estimate of the mutual information in nats, and its standard error."""

    value: float
    error: float


class KlSplit(NamedTuple):
    """The average KL to the prior and its two parts, nats.

    kl = information + mismatch, up to the Monte Carlo error of the two parts
    """

    kl: float
    information: float
    mismatch: float
    error: float


@torch.no_grad()
def aggregate_posterior(model: VAE, x: Float[Tensor, "N D"]) -> AggregatePosterior:
    """Encode all of x and keep the N Gaussians as one mixture.

    Equation: eq-def-aggregate-posterior.

    Args:
        model: the VAE.
        x: data, `(N, D)`.

    Raises:
        ValueError: if there is no example.

    Source: Hoffman and Johnson (2016).

    >>> from vae_tutorial.models import bernoulli_vae
    >>> aggregate_posterior(bernoulli_vae(4, [8], 2), torch.rand(64, 4)).loc.shape
    torch.Size([64, 2])
    """
    if len(x) == 0:
        raise ValueError("x must hold at least one example, got none")
    q = model.encode(x)
    return AggregatePosterior(q.loc, q.scale)


@torch.no_grad()
def mutual_information(
    q: AggregatePosterior,
    *,
    how: Literal["exact", "batch", "stratified", "weighted"] = "exact",
    batch_size: int = 128,
    samples: int = 1,
    generator: torch.Generator | None = None,
) -> Information:
    """I(n; z): how many nats a code z carries about which of the N examples it came from.

    I = (1/N) Σ_n E_q(z|x_n)[ log q(z|x_n) − log q(z) ] ≤ log N

    The expectation is an average over draws. What differs is the mixture in the denominator:

    exact       all N components; every draw is at most log N
    batch       the components of the batch, each 1/M: a lower bound, at most log M
    stratified  the own component 1/N, the others of the batch share the rest: an upper bound
    weighted    as batch, but divided by N M: batch + log N, so never below log N on average

    Equations: eq-mutual-information, eq-information-bounds.

    Args:
        q: the N encodings.
        how: the estimator.
        batch_size: M, for all but "exact"; a last batch that is not full is left out.
        samples: draws of z for each example.
        generator: source of the order of the examples and of the draws.

    Returns:
        nats, and the standard error from the draws (of a batch estimate: over batches).

    Raises:
        ValueError: for another `how`, samples < 1, or a batch_size that is not in 2…N.

    Source: Hoffman and Johnson (2016); Chen et al. (2018), appendix C; Poole et al. (2019).

    >>> apart = AggregatePosterior(100 * torch.eye(8), torch.ones(8, 8))   # eight islands
    >>> round(mutual_information(apart).value, 4), round(math.log(8), 4)
    (2.0794, 2.0794)
    """
    check_count("samples", samples)
    check_generator(generator)
    n = len(q.loc)
    if how == "exact":
        z = q.components.sample(samples, generator=generator)  # (samples, N, d)
        ratio = q.components.log_prob(z) - q.log_prob(z)
        return _average(ratio.double().mean(0))
    if how not in ("batch", "stratified", "weighted"):
        raise ValueError(f"how must be exact, batch, stratified or weighted, got {how!r}")
    if not 2 <= batch_size <= n:
        raise ValueError(f"batch_size must lie in 2…N = {n}, got {batch_size}")
    estimates = []
    for _ in range(samples):
        order = torch.randperm(n, generator=generator)
        for index in order[: n - n % batch_size].split(batch_size):
            part = AggregatePosterior(q.loc[index], q.scale[index])
            z = part.components.sample(generator=generator)  # (M, d)
            log_q = part._log_joint(z)  # (M, M)
            own = log_q.diagonal()
            if how == "stratified":
                others = math.log((n - 1) / (n * (batch_size - 1)))
                log_weight = torch.full_like(log_q, others).fill_diagonal_(-math.log(n))
            else:
                log_weight = -math.log(batch_size * (n if how == "weighted" else 1))
            estimates.append((own - (log_q + log_weight).logsumexp(1)).mean())
    return _average(torch.stack(estimates))


@torch.no_grad()
def split_kl(
    q: AggregatePosterior,
    prior: Normal,
    *,
    samples: int = 10,
    generator: torch.Generator | None = None,
) -> KlSplit:
    """(1/N) Σ_n KL(q(z|x_n)‖p) = I(n; z) + KL(q(z)‖p), each part from the exact mixture.

    The left side is in closed form; the two parts on the right are averages over the same draws,
    so that their sum is a check.

    Equation: eq-elbo-surgery.

    Args:
        q: the N encodings.
        prior: p(z), over `(d,)`.
        samples: draws of z for each example.
        generator: source of the draws.

    Returns:
        the three numbers in nats, and the standard error of information + mismatch.

    Raises:
        ValueError: if samples < 1.

    Source: Hoffman and Johnson (2016).

    >>> q = AggregatePosterior(torch.zeros(4, 1), torch.ones(4, 1))     # collapsed: q(z|x) = p(z)
    >>> from vae_tutorial.distributions import standard_normal
    >>> abs(split_kl(q, standard_normal(1)).mismatch) < 1e-5
    True
    """
    check_count("samples", samples)
    check_generator(generator)
    components = q.components
    z = components.sample(samples, generator=generator)  # (samples, N, d)
    log_mixture = q.log_prob(z)
    information = (components.log_prob(z) - log_mixture).double().mean(0)
    mismatch = (log_mixture - prior.log_prob(z)).double().mean(0)
    return KlSplit(
        kl=float(kl_normal(components, prior).mean()),
        information=float(information.mean()),
        mismatch=float(mismatch.mean()),
        error=_within(components, prior, z),
    )


@torch.no_grad()
def hole_share(
    q: AggregatePosterior,
    z: Float[Tensor, "M d"],
    *,
    reference: Float[Tensor, "K d"],
    level: float = 0.01,
) -> float:
    """Share of the points z that lie where q(z) is lower than at all but `level` of the reference.

    share = (1/M) #{ m : log q(z_m) < t },  t = the `level` quantile of log q over the reference

    With z from the prior this is the share of the prior's samples that fall into holes. The
    reference is best taken from q(z|x) of images that are not among the N: their draws say how low
    q(z) is where the decoder does know its way. Draws of the reference itself give `level`.

    Equation: eq-hole-share.

    Args:
        q: the N encodings.
        z: the points in question, usually draws of the prior, `(M, d)`.
        reference: draws of encodings, `(K, d)`.
        level: share of the reference that counts as outside, in (0, 1).

    Raises:
        ValueError: if level is not in (0, 1), or z or the reference is empty.

    Source: the complement of a highest-density region.

    >>> q = AggregatePosterior(torch.zeros(1, 2), 0.1 * torch.ones(1, 2))
    >>> g = torch.Generator().manual_seed(0)
    >>> hole_share(q, torch.ones(5, 2), reference=q.sample(1000, generator=g))
    1.0
    """
    if not 0 < level < 1:
        raise ValueError(f"level must lie in (0, 1), got {level}")
    if len(z) == 0 or len(reference) == 0:
        raise ValueError(f"z and reference must not be empty, got {len(z)} and {len(reference)}")
    threshold = q.log_prob(reference).double().quantile(level)
    return float((q.log_prob(z) < threshold).double().mean())


def _average(values: Tensor) -> Information:
    error = values.std() / math.sqrt(len(values)) if len(values) > 1 else torch.tensor(math.nan)
    return Information(float(values.mean()), float(error))


def _within(components: Normal, prior: Normal, z: Tensor) -> float:
    """Standard error of the average of log q(z|x_n) − log p(z), over draws at given examples."""
    log_ratio = (components.log_prob(z) - prior.log_prob(z)).double()  # (samples, N)
    if len(z) < 2:
        return math.nan
    variance = log_ratio.var(0) / len(z)  # of each example's average
    return float(variance.sum().sqrt() / z.shape[1])

"""Posterior collapse: predicted from the data alone, and judged in a trained model.

A model is *collapsed* where q(z|x) = p(z) for every x, and the decoder always draws one picture,
the mean m of the data. Two questions decide what such a model is. Is it a maximum among its
neighbours? Eigenvalues answer that. Is it the best of all? An average of density ratios answers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from vae_tutorial.distributions import (
    Bernoulli,
    Normal,
    all_finite,
    check_count,
    check_unit_interval,
    kind_of,
    kl_standard_normal,
)
from vae_tutorial.exact import linear_rate_distortion
from vae_tutorial.models import VAE, BernoulliDecoder, GaussianDecoder

STARTS = 32  # pictures from which `better_picture` climbs
STEPS = 200
GAIN = 1e-6  # nats above 0 that count as a gain


@dataclass(frozen=True)
class CollapsePrediction:
    """What the data say about a Gaussian VAE with a fixed σ before anything is trained.

    Attributes:
        sigma: σ of the decoder.
        beta: factor of the KL.
        latent_dim: d.
        eigenvalues: of the covariance of the data (divided by N), largest first, `(D,)`.
        kept: how many latents a linear VAE uses: those of the d largest λ with λ > βσ².
        kl: the KL that a linear VAE pays on average, nats.
        radius2: R², the largest squared distance of an example from the mean.
        gain: largest log E_x[(density of another picture / of the mean)^(1/β)] found, nats;
            above 0, some decoder beats the collapsed one. None where λ or R has decided before.
    """

    sigma: float
    beta: float
    latent_dim: int
    eigenvalues: Float[Tensor, "D"] = field(repr=False)
    kept: int
    kl: float
    radius2: float
    gain: float | None

    @property
    def level(self) -> float:
        """βσ²: a principal direction must vary more than that to be worth a latent."""
        return self.beta * self.sigma**2

    @property
    def kind(self) -> str:
        """What the collapsed model would be: "saddle", "optimum", "trap" or "open".

        "saddle": better models lie next to it, linear ones. "optimum": no decoder of any kind has
        a better bound. "trap": a local maximum, and some decoder far away has a higher
        log-likelihood. "open": a local maximum, and no better picture was found.
        """
        if self.kept:
            return "saddle"
        if self.radius2 <= self.level:
            return "optimum"
        return "trap" if self.gain is not None and self.gain > GAIN else "open"

    @property
    def verdict(self) -> str:
        """The prediction as one sentence."""
        largest, level = float(self.eigenvalues[0]), self.level
        top = f"largest eigenvalue {largest:.3g}, level βσ² = {level:.3g}"
        if self.kind == "saddle":
            latents = "1 latent" if self.kept == 1 else f"{self.kept} latents"
            return (
                f"collapse is not the optimum ({top}): a linear VAE keeps {latents} with a KL of "
                f"{self.kl:.2f} nats, and any decoder that contains the linear ones can do as well"
            )
        if self.kind == "optimum":
            return (
                f"collapse is the optimum for every decoder (R² = {self.radius2:.3g} ≤ βσ² = "
                f"{level:.3g}): no network and no training will change it, only another σ or β"
            )
        if self.kind == "trap":
            return (
                f"collapse is a local optimum and not the best ({top}): a linear VAE keeps "
                "nothing, but a decoder that bends, or q of another shape, can gain"
            )
        return (
            f"a linear VAE collapses ({top}); for other decoders it is open: R² = "
            f"{self.radius2:.3g} exceeds βσ², and no better picture was found"
        )

    def __str__(self) -> str:
        return self.verdict


@torch.no_grad()
def predict_collapse(
    x: Float[Tensor, "N D"], sigma: float, *, latent_dim: int | None = None, kl_weight: float = 1.0
) -> CollapsePrediction:
    """Which latents will a Gaussian VAE with this σ use? Asked of the data, before training.

    For the linear VAE exact: of the d largest eigenvalues those with λ_j > βσ² are kept, and
    KL = ½ Σ log(λ_j/βσ²). For any decoder that contains the linear ones, λ₁ > βσ² excludes
    collapse as an optimum, even a local one. For every decoder there is, R² ≤ βσ² makes collapse
    the optimum. In between, `better_picture` looks for a decoder that wins.

    Equations: eq-linear-collapse, eq-collapse-condition, eq-collapse-radius.

    Args:
        x: the training data as the network will see them, `(N, D)`, N ≥ 2.
        sigma: σ of the decoder, in the unit of x; `dictionary.read_loss` finds it in a loss.
        latent_dim: d; None for as many as there are directions.
        kl_weight: β.

    Returns:
        the prediction; printed, it is one sentence.

    Raises:
        ValueError: if x is not `(N, D)` with two rows or more, not finite or not floating-point;
            if all rows are equal; if a number is not positive and finite, or latent_dim not from
            1 to D.

    Source: Tipping and Bishop (1999) for the eigenvalues; Hoeffding's lemma for the radius.

    >>> x = torch.tensor([[2.0, 0.0], [-2.0, 0.0], [0.0, 0.5], [0.0, -0.5]])     # λ = 2 and 1/8
    >>> print(predict_collapse(x, 2.0))
    collapse is the optimum for every decoder (R² = 4 ≤ βσ² = 4): no network and no training \
will change it, only another σ or β
    >>> predict_collapse(x, 1.0).kept
    1
    """
    _check_data(x)
    _check_positive("sigma", sigma)
    _check_positive("kl_weight", kl_weight)
    dims = x.shape[1]
    d = dims if latent_dim is None else latent_dim
    check_count("latent_dim", d)
    if d > dims:
        raise ValueError(f"latent_dim must lie between 1 and D = {dims}, got {d}")
    x = x.double()
    centred = x - x.mean(0)
    radius2 = float(centred.square().sum(1).max())
    if radius2 == 0:
        raise ValueError(f"x must vary, but all {len(x)} rows are equal")
    eigenvalues = torch.linalg.eigvalsh(centred.T @ centred / len(x)).flip(0).clamp_min(0)
    level = kl_weight * sigma**2
    kept = int((eigenvalues[:d] > level).sum())
    kl, _ = linear_rate_distortion(eigenvalues, sigma, kl_weight, d=d)
    gain = None
    if kept == 0 and radius2 > level:
        gain = better_picture(x, sigma=sigma, kl_weight=kl_weight)[0]
    return CollapsePrediction(sigma, kl_weight, d, eigenvalues, kept, kl, radius2, gain)


@torch.no_grad()
def critical_kl_weight(x: Float[Tensor, "N D"], *, sigma: float | None = None) -> float:
    """The β above which a collapsed model is a local maximum, and below which it is a saddle.

    β* = largest eigenvalue of V^(−½) C V^(−½), with C the covariance of the data and V the
    variance that the collapsed decoder claims: σ² for a Gaussian one, m(1 − m) for a Bernoulli
    one at the mean image m. Pixels that never vary have no say.

    Equation: eq-critical-weight.

    Args:
        x: data, `(N, D)`; for a Bernoulli decoder in [0, 1].
        sigma: σ of a Gaussian decoder; None for a Bernoulli decoder.

    Returns:
        β*, a number without unit.

    Raises:
        ValueError: if x is not `(N, D)` with two rows or more, not finite, does not vary, or, for
            a Bernoulli decoder, lies outside [0, 1]; if sigma is not positive and finite.

    Source: the second derivative of the bound at the collapsed point, as Lucas et al. (2019) take
        it for linear decoders.

    >>> x = torch.tensor([[0.0, 0.0], [1.0, 1.0]])      # two pixels that say the same
    >>> round(critical_kl_weight(x), 6), round(critical_kl_weight(x, sigma=0.5), 6)
    (2.0, 2.0)
    """
    _check_data(x)
    if sigma is None:
        check_unit_interval(x, "x")
    else:
        _check_positive("sigma", sigma)
    x = x.double()
    mean = x.mean(0)
    varies = (x - x[0]).abs().amax(0) > 0
    if not bool(varies.any()):
        raise ValueError(f"x must vary, but all {len(x)} rows are equal")
    centred = (x - mean)[:, varies]
    claimed = (mean * (1 - mean))[varies] if sigma is None else torch.tensor(sigma**2).double()
    white = centred / claimed.sqrt()
    return float(torch.linalg.eigvalsh(white.T @ white / len(x))[-1])


@torch.no_grad()
def better_picture(
    x: Float[Tensor, "N D"], *, sigma: float | None = None, kl_weight: float = 1.0
) -> tuple[float, Float[Tensor, "D"]]:
    """Search for a picture a whose average density ratio to the mean image exceeds 1.

    maximize over a: log (1/N) Σ_n [p_a(x_n)/p_m(x_n)]^(1/β)

    If no picture gives more than 0, no decoder of any kind has a better bound than the collapsed
    one. If one does, a decoder that draws it for a small share of the z has a higher log p(x), or
    for β ≠ 1 a higher E_q[log p(x|z)] − β KL with the best q of any shape. The search climbs from
    some examples by a ← Σ_n w_n x_n with weights proportional to the ratios, which never lowers
    the value; a maximum that it misses is possible.

    Equation: eq-collapse-condition.

    Args:
        x: data, `(N, D)`; for a Bernoulli decoder in [0, 1].
        sigma: σ of a Gaussian decoder; None for a Bernoulli decoder.
        kl_weight: β.

    Returns:
        the largest value found, in nats (0 for the mean image itself), and its picture, `(D,)`.

    Raises:
        ValueError: as `critical_kl_weight`, and if kl_weight is not positive and finite.

    Source: the step is that of EM for one more component of vanishing weight.

    >>> x = torch.zeros(100, 1)
    >>> x[0] = 5.0                                       # 1 % of the points at 5, the rest at 0
    >>> gain, picture = better_picture(x, sigma=1.0)
    >>> round(gain, 2), round(picture.item(), 2)
    (7.65, 5.0)
    """
    _check_data(x)
    _check_positive("kl_weight", kl_weight)
    if sigma is None:
        check_unit_interval(x, "x")
    else:
        _check_positive("sigma", sigma)
    x = x.double()
    mean = x.mean(0)
    far = (x - mean).square().sum(1).argsort(descending=True, stable=True)
    picks = torch.cat([far[: STARTS // 2], far[:: -(-len(x) // (STARTS // 2))]])
    pictures = torch.cat([mean[None], x[picks]])
    at_mean = _log_density(x, mean[None], sigma)
    value = torch.full((len(pictures),), -math.inf, dtype=x.dtype)
    for _ in range(STEPS):
        log_ratio = (_log_density(x, pictures, sigma) - at_mean) / kl_weight  # (N, S)
        before, value = value, log_ratio.logsumexp(0) - math.log(len(x))
        if bool((value - before < 1e-10).all()):
            break
        pictures = log_ratio.softmax(0).T @ x
    best = int(value.argmax())
    return float(value[best].clamp_min(0)), pictures[best]


def escape_rate(eigenvalue: float, sigma: float, *, encoder_speed: float = 1.0) -> float:
    """How fast a linear VAE leaves (or, below 0, approaches) the collapsed point, one direction.

    Near w = a = 0 gradient ascent follows w' = (λa − w)/σ², a' = κλ(w/σ² − a), with w the
    decoder's and a the encoder's weight. The rate is the larger eigenvalue of this system.

    Equation: eq-lagging-rates.

    Args:
        eigenvalue: λ, variance of the data along the direction.
        sigma: σ of the decoder.
        encoder_speed: κ, how much faster the encoder moves; `math.inf` for an encoder that is
            always at its best.

    Returns:
        growth per unit of the decoder's time; positive exactly where λ > σ².

    Raises:
        ValueError: if a number is not positive (or, but for κ, not finite).

    Source: linearized gradient ascent on the bound.

    >>> round(escape_rate(0.7, math.sqrt(0.5), encoder_speed=math.inf), 6)      # (λ/σ² − 1)/σ²
    0.8
    """
    _check_positive("eigenvalue", eigenvalue)
    _check_positive("sigma", sigma)
    if not encoder_speed > 0:
        raise ValueError(f"encoder_speed must be positive, got {encoder_speed}")
    variance = sigma**2
    if encoder_speed == math.inf:
        return (eigenvalue / variance - 1) / variance
    trace = -1 / variance - encoder_speed * eigenvalue
    determinant = encoder_speed * eigenvalue / variance * (1 - eigenvalue / variance)
    return 0.5 * (trace + math.sqrt(trace**2 - 4 * determinant))


def _log_density(x: Tensor, pictures: Tensor, sigma: float | None) -> Tensor:
    """log p(x_n|picture s) up to what is the same for all pictures, `(N, S)`."""
    if sigma is not None:
        inner = x @ pictures.T
        return (inner - 0.5 * pictures.square().sum(1)) / sigma**2
    tiny = 1e-12
    pictures = pictures.clamp(tiny, 1 - tiny)
    return x @ torch.logit(pictures).T + torch.log1p(-pictures).sum(1)


@dataclass(frozen=True)
class CollapseVerdict:
    """What a trained model that may have collapsed is.

    Attributes:
        kl: average KL on the data, nats.
        beta: the factor that it was trained with.
        critical: β*, above which the collapsed point is a local maximum.
        excess: (β KL − reconstruction) minus the cost of the mean image, nats; below 0 for a
            model that has learned something.
        kind: "alive"; "accident", better models lie next to it; "trap", a local maximum, and some
            decoder is better; "optimum", nothing better lies near, and none was found (for a
            Gaussian with R² ≤ βσ² none exists).
    """

    kl: float
    beta: float
    critical: float
    excess: float
    kind: str


@torch.no_grad()
def collapse_kind(
    model: VAE,
    x: Float[Tensor, "N D"],
    *,
    kl_weight: float = 1.0,
    threshold: float = 0.01,
    generator: torch.Generator | None = None,
) -> CollapseVerdict:
    """Has this model collapsed, and if so, as an optimum or by accident?

    With an average KL below `threshold` the model is compared with what the data allow: if
    β < β*, the collapsed point is a saddle, and training stopped too early or was held there.

    Equations: eq-critical-weight, eq-collapse-condition.

    Args:
        model: a VAE with a `BernoulliDecoder`, or a `GaussianDecoder` whose σ is one number.
        x: the training data, `(N, D)`.
        kl_weight: β that it was trained with.
        threshold: nats of KL below which a model counts as collapsed.
        generator: source of z for the excess.

    Raises:
        TypeError: for another decoder.
        ValueError: for a σ that is not one number, and as `critical_kl_weight`.

    Source: the second derivative of the bound at the collapsed point.

    >>> from vae_tutorial.models import bernoulli_vae
    >>> x = torch.eye(4).repeat(8, 1)
    >>> collapse_kind(bernoulli_vae(4, [8], 1), x, kl_weight=50.0, threshold=10.0).kind
    'optimum'
    """
    _check_positive("threshold", threshold)
    sigma = _sigma_of(model)
    q = model.encode(x)
    kl = float(kl_standard_normal(q).mean())
    critical = critical_kl_weight(x, sigma=sigma)
    reconstruction = model.decode(q.sample(generator=generator)).log_prob(x).mean()
    mean = x.mean(0)
    flat = (
        Bernoulli(torch.logit(mean.clamp(1e-7, 1 - 1e-7)))
        if sigma is None
        else Normal(mean, torch.full_like(mean, sigma))
    )
    excess = float(kl_weight * kl - reconstruction + flat.log_prob(x).mean())
    if kl > threshold:
        kind = "alive"
    elif critical > kl_weight:
        kind = "accident"
    else:
        gain, _ = better_picture(x, sigma=sigma, kl_weight=kl_weight)
        kind = "trap" if gain > GAIN else "optimum"
    return CollapseVerdict(kl, kl_weight, critical, excess, kind)


def _sigma_of(model: VAE) -> float | None:
    decoder = model.decoder
    if isinstance(decoder, BernoulliDecoder):
        return None
    if not isinstance(decoder, GaussianDecoder):
        raise TypeError(
            f"collapse_kind knows BernoulliDecoder and GaussianDecoder, got {kind_of(decoder)}"
        )
    if decoder.scale not in ("fixed", "shared"):
        raise ValueError(
            f"the decoder must have one σ (scale 'fixed' or 'shared'), got {decoder.scale!r}"
        )
    return float(decoder.min_sigma + decoder.log_excess.exp())


def _check_data(x: Tensor) -> None:
    if x.ndim != 2 or len(x) < 2:
        raise ValueError(f"x must be (N, D) with N ≥ 2, got {tuple(x.shape)}")
    if not x.is_floating_point():
        raise ValueError(f"x must be a floating-point tensor, got {x.dtype}")
    if not all_finite(x):
        raise ValueError("x must be finite, got NaN or infinity")


def _check_positive(name: str, value: float) -> None:
    if not 0 < value < math.inf:
        raise ValueError(f"{name} must be positive and finite, got {value}")

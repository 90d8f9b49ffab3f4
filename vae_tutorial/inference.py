"""Gaussians in place of a density that is known up to a constant, found without any network.

A target is a function `log_density(z)` from `(*batch, d)` to `(*batch,)`, in nats; its integral
need not be 1. Laplace's method looks at the target in one point, the reverse fit averages it over
q, and moment matching averages over the target itself, which takes the integral that the others
avoid: here it is a sum over a grid, so that every answer can be compared with the exact one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import MultivariateNormal

from vae_tutorial.distributions import LOG_2PI, Normal

LogDensity = Callable[[Tensor], Tensor]

_NODES = {1: 401, 2: 101, 3: 41}  # points per dimension of the average over q, from −8σ to 8σ


@dataclass(frozen=True)
class GridDensity:
    """A density whose integrals are sums over a grid: exact in one or two dimensions.

    Args:
        z: grid points, `(G, d)`.
        log_p: normalized log-density at each of them, nats, `(G,)`.
        cell: the volume that belongs to one point.
        log_normalizer: log Z, what was subtracted from the log-density that was handed in.

    Source: the trapezoidal rule; the density is negligible at the edges.

    >>> target = on_grid(lambda z: -(z**2).sum(-1) / 2, [(-8, 8)])
    >>> round(target.log_normalizer, 6)      # ½ log 2π
    0.918939
    """

    z: Float[Tensor, "G d"]
    log_p: Float[Tensor, "G"]
    cell: float
    log_normalizer: float

    @property
    def density(self) -> Float[Tensor, "G"]:
        """p at every grid point; its sum times `cell` is 1."""
        return self.log_p.exp()

    @property
    def mean(self) -> Float[Tensor, "d"]:
        """E_p[z], `(d,)`."""
        return (self.density * self.cell) @ self.z

    @property
    def covariance(self) -> Float[Tensor, "d d"]:
        """Cov_p[z], `(d, d)`."""
        centred = self.z - self.mean
        return centred.T @ (centred * (self.density * self.cell)[:, None])

    def reverse_kl(self, q: Normal | MultivariateNormal) -> float:
        """KL(q‖p): the average is taken under q.

        Equation: eq-def-kl.

        Args:
            q: anything with a `log_prob` over `(d,)`.

        Returns:
            nats.

        Raises:
            ValueError: if q leaves the grid, or is too narrow for it.

        Source: Kullback and Leibler's divergence, as a sum over the grid.

        >>> target = on_grid(lambda z: -(z**2).sum(-1) / 2, [(-8, 8)])
        >>> one = torch.ones(1, dtype=torch.float64)
        >>> round(target.reverse_kl(Normal(one, one)), 6)
        0.5
        """
        log_q = self._log_q(q)
        weight = log_q.exp() * self.cell
        return float(torch.where(weight > 0, weight * (log_q - self.log_p), 0.0).sum())

    def forward_kl(self, q: Normal | MultivariateNormal) -> float:
        """KL(p‖q): the average is taken under the target.

        Equation: eq-def-kl.

        Args:
            q: anything with a `log_prob` over `(d,)`.

        Returns:
            nats.

        Raises:
            ValueError: if q leaves the grid, or is too narrow for it.

        Source: Kullback and Leibler's divergence, as a sum over the grid.

        >>> target = on_grid(lambda z: -(z**2).sum(-1) / 2, [(-8, 8)])
        >>> one = torch.ones(1, dtype=torch.float64)
        >>> round(target.forward_kl(Normal(0 * one, one / 2)), 4)    # log ½ + 2 − ½
        0.8069
        """
        weight = self.density * self.cell
        log_ratio = self.log_p - self._log_q(q)
        return float(torch.where(weight > 0, weight * log_ratio, 0.0).sum())

    def _log_q(self, q: Normal | MultivariateNormal) -> Tensor:
        log_q = q.log_prob(self.z)
        mass = float(log_q.exp().sum() * self.cell)
        if not abs(mass - 1) < 1e-4:
            raise ValueError(
                f"q must lie on the grid and be wider than its cells, but its sum is {mass} "
                "instead of 1: use a wider or finer grid"
            )
        return log_q


def on_grid(
    log_density: LogDensity, bounds: Sequence[tuple[float, float]], points: int = 2001
) -> GridDensity:
    """Normalize a log-density on a grid, in float64.

    log p(z) = log p̃(z) − log Z, with Z the sum of p̃ over the grid times the volume of a cell.

    Args:
        log_density: log p̃, from `(G, d)` to `(G,)`, nats.
        bounds: one pair (low, high) for each dimension, at most two of them.
        points: grid points per dimension.

    Raises:
        ValueError: if there are more than two dimensions, a pair is out of order, or the density
            is not negligible at the edges.

    Source: the trapezoidal rule.

    >>> two = on_grid(lambda z: -(z**2).sum(-1) / 2, [(-8, 8), (-8, 8)], points=201)
    >>> round(two.log_normalizer, 6)         # log 2π
    1.837877
    """
    if not 1 <= len(bounds) <= 2:
        raise ValueError(f"bounds must name one or two dimensions, got {len(bounds)}")
    if any(not low < high for low, high in bounds):
        raise ValueError(f"bounds must be pairs (low, high) with low < high, got {list(bounds)}")
    axes = [torch.linspace(low, high, points, dtype=torch.float64) for low, high in bounds]
    mesh = torch.meshgrid(*axes, indexing="ij")
    z = torch.stack([axis.reshape(-1) for axis in mesh], -1)  # (G, d)
    log_p = log_density(z)
    _check_values(log_p, z)
    at_edge = torch.zeros_like(log_p, dtype=torch.bool)
    for axis, (low, high) in zip(z.T, bounds, strict=True):
        at_edge |= (axis == low) | (axis == high)
    ratio = float((log_p[at_edge].max() - log_p.max()).exp())
    if not ratio < 1e-6:
        raise ValueError(
            "the grid must reach to where the density is negligible, but at its edge the density "
            f"is {ratio} of its maximum: use wider bounds"
        )
    cell = math.prod((high - low) / (points - 1) for low, high in bounds)
    log_z = float(torch.logsumexp(log_p, 0)) + math.log(cell)
    return GridDensity(z, log_p - log_z, cell, log_z)


def laplace(
    log_density: LogDensity, start: Float[Tensor, "d"], *, steps: int = 200
) -> MultivariateNormal:
    """Laplace's approximation: a Gaussian with the mode and the curvature of the target.

    N(z*, H⁻¹) with ∇ log p̃(z*) = 0 and H = −∇∇ log p̃(z*); the mode is found by Newton's method.

    Equation: eq-laplace.

    Args:
        log_density: log p̃, from `(d,)` to a number, twice differentiable.
        start: where to begin to climb, `(d,)`.
        steps: the largest number of Newton steps.

    Returns:
        a Gaussian over `(d,)`, in float64.

    Raises:
        ValueError: if no maximum is found, or the target is not curved there.

    Source: Bishop (2006), section 4.4.

    >>> q = laplace(lambda z: 3 * z.sum(-1) - z.exp().sum(-1), torch.zeros(1))
    >>> [round(float(v), 4) for v in (q.mean, q.variance)]      # mode log 3, variance 1/3
    [1.0986, 0.3333]
    """
    z = start.detach().double().clone()
    for _ in range(steps):
        value, gradient, curvature = _derivatives(log_density, z)
        eigenvalues, vectors = torch.linalg.eigh(curvature)
        # Uphill in every direction, also where the target is not concave.
        move = vectors @ ((vectors.T @ gradient) / eigenvalues.abs().clamp_min(1e-6))
        if move.abs().max() < 1e-12 * (1 + z.abs().max()):
            break
        length = 1.0
        while length > 1e-9 and not float(log_density(z + length * move)) >= value - 1e-14:
            length /= 2
        z = z + length * move
    _, gradient, curvature = _derivatives(log_density, z)
    if not (gradient.abs().max() < 1e-6 and torch.linalg.eigvalsh(curvature).min() > 1e-9):
        raise ValueError(
            f"no maximum with a curvature was found from the start {start.tolist()}: "
            "try another start, or look at the target"
        )
    return MultivariateNormal(z, precision_matrix=curvature)


def _derivatives(log_density: LogDensity, z: Tensor) -> tuple[float, Tensor, Tensor]:
    """Value, gradient `(d,)` and negative Hessian `(d, d)` of the log-density at z."""
    value = float(log_density(z))
    gradient = torch.autograd.functional.jacobian(log_density, z)
    curvature = -torch.autograd.functional.hessian(log_density, z)
    if not (math.isfinite(value) and gradient.isfinite().all() and curvature.isfinite().all()):
        raise ValueError(f"log_density must be finite with its derivatives, at z = {z.tolist()}")
    return value, gradient, curvature


def standard_nodes(d: int) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n"]]:
    """Points ε and weights with which a sum is the average under N(0, I).

    A regular grid from −8 to 8 with the Gaussian as weight: for smooth functions the error of the
    trapezoidal rule falls exponentially with the number of points.

    Args:
        d: dimension, 1 to 3.

    Returns:
        points `(n, d)` and weights `(n,)` that sum to 1, float64.

    Raises:
        ValueError: if d is not 1, 2 or 3: in more dimensions an average has to be sampled.

    Source: the trapezoidal rule, which converges exponentially for functions analytic in a strip.

    >>> eps, weight = standard_nodes(1)
    >>> round(float(weight @ eps[:, 0] ** 4), 9)
    3.0
    """
    if d not in _NODES:
        raise ValueError(f"d must be 1, 2 or 3, got {d}: in more dimensions draw samples")
    axis = torch.linspace(-8, 8, _NODES[d], dtype=torch.float64)
    mesh = torch.meshgrid(*[axis] * d, indexing="ij")
    eps = torch.stack([values.reshape(-1) for values in mesh], -1)
    return eps, torch.softmax(-0.5 * eps.square().sum(-1), 0)


def reverse_kl_objective(
    log_density: LogDensity, loc: Float[Tensor, "d"], log_scale: Float[Tensor, "d"]
) -> Tensor:
    """E_q[log q(z) − log p̃(z)] for a diagonal Gaussian q: KL(q‖p) up to the constant log Z.

    Equation: eq-kl-unnormalized.

    Args:
        log_density: log p̃, from `(n, d)` to `(n,)`, nats.
        loc: mean of q, `(d,)`.
        log_scale: logarithm of its standard deviations, `(d,)`.

    Returns:
        nats, a number with a gradient.

    Raises:
        ValueError: if d is above 3, or the log-density does not return one value per point.

    Source: Bishop (2006), section 10.1.

    >>> zero = torch.zeros(1, dtype=torch.float64)
    >>> value = reverse_kl_objective(lambda z: -(z**2).sum(-1) / 2, zero, zero)
    >>> round(float(value), 6)               # −log Z = −½ log 2π: the KL itself is 0
    -0.918939
    """
    eps, weight = standard_nodes(len(loc))
    z = loc + log_scale.exp() * eps  # (n, d)
    log_p = log_density(z)
    _check_values(log_p, z)
    entropy = log_scale.sum() + 0.5 * len(loc) * (LOG_2PI + 1)
    return -entropy - weight.to(log_p.dtype) @ log_p


def fit_reverse_kl(log_density: LogDensity, start: Normal, *, steps: int = 300) -> Normal:
    """The diagonal Gaussian at a local minimum of KL(q‖p), found from a start by L-BFGS.

    There E_q[∂_j log p̃(z)] = 0 and 1/σ_j² = −E_q[∂_j² log p̃(z)] (eq-reverse-stationary). Which
    minimum is found depends on the start. In d > 1 this is the mean-field Gaussian.

    Equation: eq-kl-unnormalized.

    Args:
        log_density: log p̃, from `(n, d)` to `(n,)`, differentiable, nats.
        start: the first q, over `(d,)`, d at most 3.
        steps: the largest number of iterations.

    Returns:
        q over `(d,)`, in float64.

    Raises:
        ValueError: if the start is not over `(d,)`, or no minimum is reached.

    Source: Bishop (2006), section 10.1; Opper and Archambeau (2009) for the conditions.

    >>> start = Normal(torch.ones(1), torch.ones(1))
    >>> q = fit_reverse_kl(lambda z: 3 * z.sum(-1) - z.exp().sum(-1), start)
    >>> [round(float(v), 4) for v in (q.loc, q.scale**2)]       # mean log 3 − 1/6, variance 1/3
    [0.9319, 0.3333]
    """
    if start.loc.ndim != 1:
        raise ValueError(f"start must be one Gaussian over (d,), got {tuple(start.loc.shape)}")
    loc = start.loc.detach().double().clone().requires_grad_()
    log_scale = start.scale.detach().double().log().requires_grad_()
    optimizer = torch.optim.LBFGS(
        [loc, log_scale],
        max_iter=steps,
        tolerance_grad=1e-11,
        tolerance_change=1e-15,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = reverse_kl_objective(log_density, loc, log_scale)
        value.backward()
        return value

    closure()  # a log-density that is wrong at the start says so here, in its own words
    lost = "no minimum was reached from the start: {}; is the density normalizable?"
    try:
        optimizer.step(closure)
        closure()
    except ValueError as error:
        raise ValueError(lost.format(f"on the way {error}")) from error
    steepest = float(torch.cat([loc.grad, log_scale.grad]).abs().max())
    if not steepest < 1e-5:
        raise ValueError(lost.format(f"the slope is still {steepest:.2g}"))
    return Normal(loc.detach(), log_scale.detach().exp())


def moment_match(target: GridDensity) -> Normal:
    """The diagonal Gaussian that minimizes KL(p‖q): it has the means and variances of p.

    Equation: eq-moment-match.

    Args:
        target: the density p on its grid.

    Returns:
        q over `(d,)`.

    Source: Bishop (2006), section 10.7.

    >>> half = on_grid(lambda z: z.sum(-1) - z.exp().sum(-1), [(-30, 6)])
    >>> float(moment_match(half).loc.round(decimals=4))         # −Euler's constant
    -0.5772
    """
    return Normal(target.mean, target.covariance.diagonal().sqrt())


def mean_field(target: MultivariateNormal) -> Normal:
    """The diagonal Gaussian that minimizes KL(q‖p) for a Gaussian p: variances 1/P_ii.

    P is the precision matrix, the inverse of the covariance.

    Equation: eq-mean-field-variance.

    Args:
        target: p, over `(d,)`.

    Returns:
        q over `(d,)`, with the mean of p.

    Source: Bishop (2006), section 10.1.2.

    >>> p = MultivariateNormal(torch.zeros(2), torch.tensor([[1.0, 0.9], [0.9, 1.0]]))
    >>> mean_field(p).scale ** 2
    tensor([0.1900, 0.1900])
    """
    return Normal(target.mean, target.precision_matrix.diagonal(dim1=-2, dim2=-1).rsqrt())


def mean_field_gap(precision: Float[Tensor, "d d"]) -> Float[Tensor, ""]:
    """KL(q‖p) of the best diagonal Gaussian q for a Gaussian p: ½ (Σ log P_ii − log det P).

    Equation: eq-mean-field-gap.

    Args:
        precision: P, symmetric and positive definite, `(d, d)`; not the covariance.

    Returns:
        nats, zero if and only if P is diagonal.

    Raises:
        ValueError: if P is not a symmetric, positive definite matrix.

    Source: the KL between Gaussians, eq-kl-mvn, at the variances 1/P_ii.

    >>> mean_field_gap(torch.linalg.inv(torch.tensor([[1.0, 0.9], [0.9, 1.0]])))
    tensor(0.8304)
    """
    if precision.ndim != 2 or precision.shape[0] != precision.shape[1]:
        raise ValueError(f"precision must be (d, d), got {tuple(precision.shape)}")
    if not torch.allclose(precision, precision.T, rtol=1e-4, atol=1e-6):
        raise ValueError("precision must be symmetric")
    factor, failed = torch.linalg.cholesky_ex(precision)
    if failed:
        raise ValueError("precision must be positive definite")
    return 0.5 * precision.diagonal().log().sum() - factor.diagonal().log().sum()


def coordinate_ascent(
    target: MultivariateNormal, start: Float[Tensor, "d"], sweeps: int
) -> Float[Tensor, "n d"]:
    """The means of a mean-field q while one factor after the other is set to its best.

    m_i ← μ_i − (1/P_ii) Σ_{j≠i} P_ij (m_j − μ_j); the variances are 1/P_ii from the first step on.

    Equation: eq-mean-field-update.

    Args:
        target: the Gaussian p, over `(d,)`.
        start: the first means, `(d,)`.
        sweeps: how often each factor gets its turn.

    Returns:
        the start and the means after each single update, `(1 + sweeps · d, d)`.

    Raises:
        ValueError: if the start is not `(d,)`.

    Source: Bishop (2006), section 10.1.2.

    >>> p = MultivariateNormal(torch.zeros(2), torch.tensor([[1.0, 0.9], [0.9, 1.0]]))
    >>> coordinate_ascent(p, torch.tensor([0.0, 1.0]), 1)
    tensor([[0.0000, 1.0000],
            [0.9000, 1.0000],
            [0.9000, 0.8100]])
    """
    mean, precision = target.mean, target.precision_matrix
    if start.shape != mean.shape:
        raise ValueError(f"start must be {tuple(mean.shape)}, got {tuple(start.shape)}")
    now, path = start.clone(), [start.clone()]
    for _ in range(sweeps):
        for i in range(len(mean)):
            pull = precision[i] @ (now - mean) - precision[i, i] * (now[i] - mean[i])
            now[i] = mean[i] - pull / precision[i, i]
            path.append(now.clone())
    return torch.stack(path)


def mean_field_update(log_p: Float[Tensor, "A B"], other: Float[Tensor, "B"]) -> Float[Tensor, "A"]:
    """The best first factor of q = q₁ q₂ for a joint table: q₁ ∝ exp E_{q₂}[log p(z₁, z₂)].

    Equation: eq-mean-field-update.

    Args:
        log_p: log p̃ for each pair of values, `(A, B)`; a constant more or less does not matter.
        other: the probabilities of the second factor, `(B,)`.

    Returns:
        the probabilities of the first factor, `(A,)`.

    Raises:
        ValueError: if `other` is not one probability per column.

    Source: Bishop (2006), section 10.1.1.

    >>> mean_field_update(torch.zeros(2, 3), torch.tensor([0.2, 0.3, 0.5]))
    tensor([0.5000, 0.5000])
    """
    if other.shape != log_p.shape[1:] or not abs(float(other.sum()) - 1) < 1e-4:
        raise ValueError(
            f"other must be {log_p.shape[1]} probabilities that sum to 1, got shape "
            f"{tuple(other.shape)} with sum {float(other.sum()):.4g}"
        )
    return torch.softmax(log_p @ other, 0)


def _check_values(log_p: Tensor, z: Tensor) -> None:
    if log_p.shape != z.shape[:-1]:
        raise ValueError(
            f"log_density must return one value per point, {tuple(z.shape[:-1])} for z "
            f"{tuple(z.shape)}, got {tuple(log_p.shape)}: sum over the last dimension"
        )
    if log_p.isnan().any() or (log_p == math.inf).any():
        raise ValueError("log_density must not be NaN or +∞")

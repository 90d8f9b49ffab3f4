"""From one code to another: the straight line, the great circle, and the way where codes lie."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from vae_tutorial.diagnostics.aggregate import AggregatePosterior
from vae_tutorial.distributions import check_count

STEPS = 33  # points of a way while it is bent


def prior_grid(n: int) -> Float[Tensor, "cells 2"]:
    """The middles of n × n cells of the plane, each of which holds 1/n² of N(0, I): z = Φ⁻¹(u).

    Along each axis u = (i + ½)/n, i = 0, …, n − 1. Row 0 is at the top, z₂ largest.

    Equation: eq-inverse-cdf-grid.

    Args:
        n: rows and columns.

    Returns:
        z, `(n·n, 2)`, row after row.

    Raises:
        ValueError: if n < 1.

    Source: Kingma and Welling (2014), appendix A.

    >>> prior_grid(2)
    tensor([[-0.6745,  0.6745],
            [ 0.6745,  0.6745],
            [-0.6745, -0.6745],
            [ 0.6745, -0.6745]])
    """
    check_count("n", n)
    u = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    z = torch.special.ndtri(u).float()
    down, across = torch.meshgrid(z.flip(0), z, indexing="ij")
    return torch.stack([across, down], dim=-1).reshape(-1, 2)


def lerp(
    start: Float[Tensor, "*batch d"], end: Float[Tensor, "*batch d"], frames: int
) -> Float[Tensor, "frames *batch d"]:
    """The straight line from `start` to `end`: (1 − t) a + t b, t = 0, 1/(F−1), …, 1.

    F frames are F − 1 steps. The first frame is `start` and the last one `end`, exactly.

    Equation: eq-lerp.

    Args:
        start, end: codes, `(*batch, d)`.
        frames: F, at least 2.

    Raises:
        ValueError: if frames < 2 or the shapes differ.

    >>> lerp(torch.zeros(1), torch.ones(1), 5)[:, 0]
    tensor([0.0000, 0.2500, 0.5000, 0.7500, 1.0000])
    """
    t = _times(start, end, frames)
    return (1 - t) * start + t * end


def slerp(
    start: Float[Tensor, "*batch d"], end: Float[Tensor, "*batch d"], frames: int
) -> Float[Tensor, "frames *batch d"]:
    """The great circle from `start` to `end`, seen from the origin, with lengths in between.

    ( sin((1 − t)Ω) a + sin(tΩ) b ) / sin Ω,  cos Ω = a·b / (‖a‖ ‖b‖)

    For codes of one length every frame has that length. Codes in line with the origin (Ω = 0) have
    no circle of their own: there it is the straight line.

    Equation: eq-slerp.

    Args:
        start, end: codes, `(*batch, d)`, not zero.
        frames: F, at least 2.

    Raises:
        ValueError: if frames < 2, the shapes differ, a code is zero or two codes are opposite.

    Source: White (2016).

    >>> slerp(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]), 3)[1]
    tensor([0.7071, 0.7071])
    """
    t = _times(start, end, frames)
    lengths = start.norm(dim=-1, keepdim=True) * end.norm(dim=-1, keepdim=True)
    if not (lengths > 0).all():
        raise ValueError("start and end must not be zero: the origin lies on no circle around it")
    cosine = ((start * end).sum(-1, keepdim=True) / lengths).clamp(-1, 1)
    if (cosine < -1 + 1e-6).any():
        raise ValueError("start and end must not be opposite: every great circle joins them")
    angle = torch.acos(cosine)
    straight = angle < 1e-3
    sine = torch.where(straight, torch.ones_like(angle), torch.sin(angle))
    a = torch.where(straight, 1 - t, torch.sin((1 - t) * angle) / sine)
    b = torch.where(straight, t.expand_as(a), torch.sin(t * angle) / sine)
    path = a * start + b * end
    return torch.cat([start[None], path[1:-1], end[None]])  # the ends exactly


def path_cost(
    q: AggregatePosterior,
    path: Float[Tensor, "F d"],
    *,
    typical: float,
    price: float = 1.0,
) -> Tensor:
    """Length of a way on which a step through thin air counts more.

    cost = ∫ 1 + price · max(0, typical − log q(z)) dℓ

    Where q(z) is as high as `typical` a step costs its length; k nats below, it costs 1 + k·price
    lengths. The integral is the sum over segments, each weighed at its middle.

    Equation: eq-path-cost.

    Args:
        q: the N encodings.
        path: corners of the way, `(F, d)`, F ≥ 2.
        typical: log-density in nats from where on nothing is charged: the median of log q over
            encodings, say.
        price: per nat below `typical`.

    Returns:
        a length in units of z, `()`; differentiable in `path`.

    Raises:
        ValueError: if there are fewer than two corners or price < 0.

    Source: shortest paths in a conformal metric; Arvanitidis et al. (2018) for the decoder's own.

    >>> q = AggregatePosterior(torch.zeros(1, 1), torch.ones(1, 1))
    >>> path_cost(q, torch.tensor([[0.0], [1.0]]), typical=-99.0)          # dense enough everywhere
    tensor(1.)
    """
    if len(path) < 2:
        raise ValueError(f"path must have at least two corners, got {len(path)}")
    if price < 0:
        raise ValueError(f"price must not be negative, got {price}")
    middle = (path[1:] + path[:-1]) / 2
    charge = 1 + price * (typical - q.log_prob(middle)).clamp_min(0)
    return (charge * (path[1:] - path[:-1]).norm(dim=-1)).sum()


def resample(path: Float[Tensor, "K d"], frames: int) -> Float[Tensor, "frames d"]:
    """Frames at equal distances along a way given by its corners; the ends stay exactly.

    Args:
        path: corners, `(K, d)`, K ≥ 2.
        frames: F, at least 2.

    Raises:
        ValueError: if frames < 2 or there are fewer than two corners.

    >>> resample(torch.tensor([[0.0], [1.0], [4.0]]), 3)[:, 0]
    tensor([0., 2., 4.])
    """
    if frames < 2 or len(path) < 2:
        raise ValueError(f"need frames ≥ 2 and two corners, got {frames} and {len(path)}")
    steps = (path[1:] - path[:-1]).norm(dim=-1)
    at = torch.cat([steps.new_zeros(1), steps.cumsum(0)])
    wish = torch.linspace(0, 1, frames, dtype=path.dtype) * at[-1]
    right = torch.searchsorted(at, wish).clamp(1, len(path) - 1)
    length = (at[right] - at[right - 1]).clamp_min(torch.finfo(path.dtype).tiny)
    share = ((wish - at[right - 1]) / length).clamp(0, 1)[:, None]
    inner = (1 - share) * path[right - 1] + share * path[right]
    return torch.cat([path[:1], inner[1:-1], path[-1:]])


def density_path(
    q: AggregatePosterior,
    start: Float[Tensor, "d"],
    end: Float[Tensor, "d"],
    *,
    typical: float,
    price: float = 1.0,
    nodes: int = 200,
    neighbours: int = 10,
    steps: int = 60,
    lr: float = 0.03,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "33 d"]:
    """A cheap way from `start` to `end` through the places where encodings lie.

    Two guesses are bent until their `path_cost` stops falling, and the cheaper one is returned:
    the straight line, and the shortest path through a graph that joins draws of q(z) with their
    nearest neighbours. The cost has many local minima, so this is a good way and not proven the
    best; it never costs more than the straight line.

    Equation: eq-path-cost.

    Args:
        q: the N encodings.
        start, end: codes, `(d,)`.
        typical, price: as for `path_cost`.
        nodes: draws of q(z) in the graph.
        neighbours: edges that leave each node.
        steps, lr: Adam's, on the 31 inner points.
        generator: source of the draws.

    Returns:
        33 points at equal distances, `(33, d)`; `resample` picks fewer.

    Raises:
        ValueError: if a count is less than 1, and as `path_cost`.

    Source: Dijkstra's algorithm on a graph of neighbours, then gradient descent.

    >>> q = AggregatePosterior(torch.zeros(1, 2), torch.ones(1, 2))
    >>> density_path(q, torch.zeros(2), torch.ones(2), typical=-9.0, nodes=20).shape
    torch.Size([33, 2])
    """
    for name, count in (("nodes", nodes), ("neighbours", neighbours), ("steps", steps)):
        check_count(name, count)
    straight = lerp(start, end, STEPS)
    points = torch.cat([straight, q.sample(nodes, generator=generator)])
    walked = _shortest(q, points, typical=typical, price=price, neighbours=neighbours)
    found = [straight]
    for guess in (straight, resample(walked, STEPS)):
        found.append(_bend(q, guess, typical=typical, price=price, steps=steps, lr=lr))
    costs = [float(path_cost(q, path, typical=typical, price=price)) for path in found]
    return found[costs.index(min(costs))]


@torch.no_grad()
def _shortest(
    q: AggregatePosterior, points: Tensor, *, typical: float, price: float, neighbours: int
) -> Tensor:
    """The cheapest way through the graph, from points[0] to points[STEPS − 1]."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import dijkstra

    distance = torch.cdist(points, points).fill_diagonal_(math.inf)
    near = distance.topk(min(neighbours, len(points) - 1), largest=False).indices
    rows = torch.arange(len(points)).repeat_interleave(near.shape[1])
    along = torch.arange(STEPS - 1)  # the straight line stays a way, so one always exists
    rows, columns = torch.cat([rows, along]), torch.cat([near.flatten(), along + 1])
    # Two places on each edge: a long one may cross a hole between two dense ends.
    t = torch.tensor([0.25, 0.75], dtype=points.dtype)[:, None, None]
    middles = (1 - t) * points[rows] + t * points[columns]
    charge = 1 + price * (typical - q.log_prob(middles)).clamp_min(0)
    cost = charge.mean(0) * (points[rows] - points[columns]).norm(dim=-1)
    shape = (len(points), len(points))
    # Both directions of a pair have one cost; `tocsr` would add them up.
    pair = torch.stack([torch.minimum(rows, columns), torch.maximum(rows, columns)])
    pair, first = torch.unique(pair, dim=1, return_inverse=True)
    single = torch.zeros(pair.shape[1], dtype=cost.dtype).scatter_(0, first, cost)
    graph = coo_matrix((single.double().numpy(), pair.numpy()), shape=shape).tocsr()
    _, before = dijkstra(graph, directed=False, indices=0, return_predecessors=True)
    way = [STEPS - 1]
    while way[-1] != 0:
        way.append(int(before[way[-1]]))
    return points[way[::-1]]


def _bend(
    q: AggregatePosterior, path: Tensor, *, typical: float, price: float, steps: int, lr: float
) -> Tensor:
    """Move the inner points downhill, and keep the distances between them equal."""
    inner = path[1:-1].clone().requires_grad_()
    optimizer = torch.optim.Adam([inner], lr=lr)
    for _ in range(steps):
        whole = torch.cat([path[:1], inner, path[-1:]])
        cost = path_cost(q, whole, typical=typical, price=price)
        (inner.grad,) = torch.autograd.grad(cost, [inner])
        optimizer.step()
        with torch.no_grad():
            inner.copy_(resample(torch.cat([path[:1], inner, path[-1:]]), len(path))[1:-1])
    return torch.cat([path[:1], inner.detach(), path[-1:]])


def _times(start: Tensor, end: Tensor, frames: int) -> Tensor:
    """t for each frame, `(F, 1, …, 1)`."""
    if frames < 2:
        raise ValueError(f"frames must be at least 2, the two ends, got {frames}")
    if start.shape != end.shape:
        raise ValueError(
            f"start and end must have one shape, got {tuple(start.shape)} and {tuple(end.shape)}"
        )
    return torch.linspace(0, 1, frames, dtype=start.dtype).reshape(-1, *[1] * start.ndim)

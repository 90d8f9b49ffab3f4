"""Are samples like data, and is all of the data among them? Two questions, two numbers."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor


class Fidelity(NamedTuple):
    """Shares in [0, 1]: of samples that look real, and of real examples that were reached."""

    precision: float
    coverage: float


@torch.no_grad()
def precision_and_coverage(
    samples: Float[Tensor, "M D"], real: Float[Tensor, "N D"], *, neighbours: int = 3
) -> Fidelity:
    """Compare samples with held-out data by balls around the data.

    Each real example has a ball that reaches to its k-th nearest real neighbour.

    precision = share of the samples that lie in some ball: do they look real?
    coverage  = share of the balls that hold some sample: is all of the data reached?

    Neither sees what the other sees. A sampler that repeats one real image has precision 1 and
    almost no coverage, and samples too smooth to be real lie in many balls. Coverage grows with M,
    so compare equal M only.

    Equation: eq-precision-coverage.

    Args:
        samples: `(M, D)`.
        real: examples that no part of the sampler has seen, `(N, D)`.
        neighbours: k, less than N.

    Raises:
        ValueError: if there is no sample or k is not in 1…N − 1.

    Source: Kynkäänniemi et al. (2019) for precision, Naeem et al. (2020) for coverage.

    >>> real = torch.tensor([[0.0], [1.0], [2.0], [9.0]])
    >>> precision_and_coverage(torch.tensor([[0.1], [40.0]]), real, neighbours=1)
    Fidelity(precision=0.5, coverage=0.5)
    """
    if len(samples) == 0:
        raise ValueError("samples must hold at least one example, got none")
    if not 1 <= neighbours < len(real):
        raise ValueError(f"neighbours must lie in 1…N − 1 = {len(real) - 1}, got {neighbours}")
    between = torch.cdist(real, real).fill_diagonal_(0.0)
    radius = between.kthvalue(neighbours + 1, dim=1).values  # the nearest is the example itself
    inside = torch.cdist(samples, real) <= radius  # (M, N)
    return Fidelity(
        precision=float(inside.any(1).double().mean()),
        coverage=float(inside.any(0).double().mean()),
    )

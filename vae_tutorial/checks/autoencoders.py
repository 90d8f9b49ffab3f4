"""Checks of the exercises of "Autoencoders and what they cannot do"."""

from __future__ import annotations

import torch

from vae_tutorial import autoencoders
from vae_tutorial.checks.base import Draw, Exercise, Mistake
from vae_tutorial.checks.quiz import Lines

_NEGATIVE = "the sign is wrong: this is minus the answer"


# ------------------------------------------------------------------------------ the same plane
def _q(a):
    return torch.linalg.qr(a).Q


def _cosines(a, b):
    return torch.linalg.svdvals(_q(a).T @ _q(b)).clamp(0, 1)


def _unit(a):
    return a / a.norm(dim=0)


def _angles(cosines):
    return cosines.clamp(-1, 1).acos()


def _draw_planes(d: Draw) -> tuple:
    rows, columns = d.integer(4, 6), d.integer(2, 3)
    # float64: in float32 the arc cosine gives a zero angle as 0.0003, and degrees as 0.02
    a = d.tensor(rows, columns, low=0.2, high=2.0, signed=True).double()
    if d.integer(1, 4) == 1:  # other columns, the same plane
        mixture = torch.eye(columns) + d.tensor(columns, columns, low=0.1, high=0.3, signed=True)
        return a, a @ mixture.double()
    return a, d.tensor(rows, columns, low=0.2, high=2.0, signed=True).double()


subspace_angles = Exercise(
    "subspace_angles",
    autoencoders.principal_angles,
    _draw_planes,
    [
        Mistake(
            "right but for the order: from the smallest angle to the largest",
            lambda a, b: autoencoders.principal_angles(a, b).flip(0),
        ),
        Mistake(
            "these are the cosines: take the arc cosine",
            lambda a, b: _cosines(a, b),
        ),
        Mistake(
            "these are degrees: radians were asked for",
            lambda a, b: torch.rad2deg(autoencoders.principal_angles(a, b)),
        ),
        Mistake(
            "you took the arc sine of the cosines: these angles are 90° minus the right ones",
            lambda a, b: _cosines(a, b).asin(),
        ),
        Mistake(
            "the columns are not orthonormal: singular values of aᵀb are no cosines; take an "
            "orthonormal basis of each plane first, by QR",
            lambda a, b: _angles(torch.linalg.svdvals(a.T @ b)),
        ),
        Mistake(
            "columns of length one are not enough, they must also be at right angles: QR does both",
            lambda a, b: _angles(torch.linalg.svdvals(_unit(a).T @ _unit(b))),
        ),
        Mistake(
            "you compare column with column: the same plane has many bases, so take the singular "
            "values of the whole product",
            lambda a, b: _angles((_unit(a) * _unit(b)).sum(0).abs()).sort().values,
        ),
        Mistake(
            "you take the diagonal of QₐᵀQ_b: its singular values do not depend on the two bases",
            lambda a, b: _angles(torch.diagonal(_q(a).T @ _q(b)).abs()).sort().values,
        ),
        Mistake(
            "you take eigenvalues of QₐᵀQ_b, which change with the bases: take singular values",
            lambda a, b: _angles(torch.linalg.eigvals(_q(a).T @ _q(b)).abs()).sort().values,
        ),
        Mistake(
            "this is the largest angle alone: return all of them",
            lambda a, b: autoencoders.principal_angles(a, b)[-1],
        ),
    ],
    tolerances={"": (2e-3, 2e-3)},
)


# ---------------------------------------------------------------------------- taking noise off
def _variance(covariance, sigma):
    return (sigma**2).to(covariance.dtype) * torch.eye(len(covariance))


def _wiener(covariance, sigma):
    return covariance @ torch.linalg.inv(covariance + _variance(covariance, sigma))


def _each_pixel(covariance, sigma):
    variances = torch.diagonal(covariance)
    return variances / (variances + (sigma**2).float())


def _draw_noise(d: Draw) -> tuple:
    size = d.integer(3, 4)
    factor = d.tensor(size, size, low=0.3, high=1.2, signed=True)
    if d.integer(1, 3) == 1:  # the last pixel is never inked, so C has no inverse
        factor = torch.cat([factor[:-1], torch.zeros(1, size)])
    return factor @ factor.T, d.number(0.3, 0.8)


wiener = Exercise(
    "wiener",
    _wiener,
    _draw_noise,
    [
        Mistake(
            "`sigma` is the standard deviation of the noise, but you add it as the variance",
            lambda covariance, sigma: _wiener(covariance, sigma.sqrt()),
        ),
        Mistake(
            "this is the identity, which copies: its error is the whole noise, Dσ²",
            lambda covariance, sigma: torch.eye(len(covariance)),
        ),
        Mistake(
            "this is σ²(C + σ²I)⁻¹, what has to be taken away: the answer is I minus it",
            lambda covariance, sigma: torch.eye(len(covariance)) - _wiener(covariance, sigma),
        ),
        Mistake(
            "this is the filter upside down, I + σ²C⁻¹: it makes the noise larger",
            lambda covariance, sigma: (
                (covariance + _variance(covariance, sigma)) @ torch.linalg.pinv(covariance)
            ),
        ),
        Mistake(
            "each pixel is cleaned by itself: the other pixels tell about it too, so keep the "
            "covariances",
            lambda covariance, sigma: torch.diag(_each_pixel(covariance, sigma)),
        ),
        Mistake(
            "the noise is missing: CC⁻¹ copies what the data vary in",
            lambda covariance, sigma: covariance @ torch.linalg.pinv(covariance),
        ),
        Mistake(
            "this is (C + σ²I)⁻¹: multiply by C",
            lambda covariance, sigma: torch.linalg.inv(covariance + _variance(covariance, sigma)),
        ),
        Mistake(
            "this is the covariance of the noisy x: multiply C by its inverse",
            lambda covariance, sigma: covariance + _variance(covariance, sigma),
        ),
        Mistake(
            "you divide entry by entry: a matrix is divided by multiplying with its inverse",
            lambda covariance, sigma: covariance / (covariance + _variance(covariance, sigma)),
        ),
        Mistake(
            "you add σ² to every entry of C: the noise of two pixels is independent, so only the "
            "diagonal grows",
            lambda covariance, sigma: (
                covariance @ torch.linalg.inv(covariance + (sigma**2).float())
            ),
        ),
        Mistake(
            "the target is the clean x: this weights as if C + σ²I were the covariance of x",
            lambda covariance, sigma: (
                (covariance + _variance(covariance, sigma))
                @ torch.linalg.inv(covariance + 2 * _variance(covariance, sigma))
            ),
        ),
        Mistake(_NEGATIVE, lambda covariance, sigma: -_wiener(covariance, sigma)),
    ],
    tolerances={"": (1e-3, 1e-3)},
)


def _wiener_error(covariance, sigma):
    return torch.trace(covariance - _wiener(covariance, sigma) @ covariance)


def _lost(covariance, sigma):
    rest = torch.eye(len(covariance)) - _wiener(covariance, sigma)
    return torch.trace(rest @ covariance @ rest.T)


wiener_error = Exercise(
    "wiener_error",
    _wiener_error,
    _draw_noise,
    [
        Mistake(
            "`sigma` is the standard deviation of the noise, but you use it as the variance",
            lambda covariance, sigma: _wiener_error(covariance, sigma.sqrt()),
        ),
        Mistake(
            "this is tr M, the sum of the gains λ/(λ + σ²): each leaves the error λσ²/(λ + σ²)",
            lambda covariance, sigma: torch.trace(_wiener(covariance, sigma)),
        ),
        Mistake(
            "this is tr (C − M): the factor C behind M is missing, tr (C − MC)",
            lambda covariance, sigma: torch.trace(covariance - _wiener(covariance, sigma)),
        ),
        Mistake(
            "this is the mean over the pixels: the error is summed over them",
            lambda covariance, sigma: _wiener_error(covariance, sigma) / len(covariance),
        ),
        Mistake(
            "this is Dσ², the error of copying: the best map does better",
            lambda covariance, sigma: len(covariance) * (sigma**2).float(),
        ),
        Mistake(
            "this is tr C, the error of always answering with the mean",
            lambda covariance, sigma: torch.trace(covariance),
        ),
        Mistake(
            "this is what the filter takes from the clean x only: the noise that passes through "
            "is missing, σ² tr MMᵀ",
            _lost,
        ),
        Mistake(
            "this is the noise that passes through only: what the filter takes from the clean x is "
            "missing, tr (I − M)C(I − M)ᵀ",
            lambda covariance, sigma: _wiener_error(covariance, sigma) - _lost(covariance, sigma),
        ),
        Mistake(
            "each pixel is cleaned by itself here: use the eigenvalues of C, not its diagonal",
            lambda covariance, sigma: (_each_pixel(covariance, sigma) * (sigma**2).float()).sum(),
        ),
        Mistake(
            "this is the root of the error: it is an average of squares",
            lambda covariance, sigma: _wiener_error(covariance, sigma).sqrt(),
        ),
        Mistake(_NEGATIVE, lambda covariance, sigma: -_wiener_error(covariance, sigma)),
    ],
    tolerances={"": (1e-3, 1e-3)},
)


# ------------------------------------------------------------------------------------- holes
def _all_distances(images, to):
    return (images[:, None] - to).square().sum(-1).sqrt()


def _nearest(images, to):
    return _all_distances(images, to).min(1).values


def _share(distance, threshold):
    return (distance > threshold).float().mean()


def _hole_fraction(decoded, train, held_out):
    return _share(_nearest(decoded, train), _nearest(held_out, train).quantile(0.95))


def _among(train):  # each training picture to its nearest other one
    return _all_distances(train, train).fill_diagonal_(torch.inf).min(1).values


def _draw_pictures(d: Draw) -> tuple:
    width = d.integer(3, 4)
    decoded = d.tensor(d.integer(36, 44), width, low=0.0, high=1.8)
    train = d.tensor(d.integer(18, 22), width, low=0.0, high=1.0)
    return decoded, train, d.tensor(d.integer(26, 34), width, low=0.0, high=1.1)


hole_fraction = Exercise(
    "hole_fraction",
    _hole_fraction,
    _draw_pictures,
    [
        Mistake(
            "this is the share of pictures that are no holes: a hole is farther than the threshold",
            lambda decoded, train, held_out: 1 - _hole_fraction(decoded, train, held_out),
        ),
        Mistake(
            "the threshold comes from the decoded pictures themselves, so 5 % are always holes: "
            "take it from the held-out ones",
            lambda decoded, train, held_out: _share(
                _nearest(decoded, train), _nearest(decoded, train).quantile(0.95)
            ),
        ),
        Mistake(
            "the threshold comes from training pictures among themselves: each is its own nearest, "
            "at distance 0",
            lambda decoded, train, held_out: _share(_nearest(decoded, train), torch.tensor(0.0)),
        ),
        Mistake(
            "the threshold comes from each training picture and its nearest other one: take it "
            "from the held-out ones, which the model has not seen",
            lambda decoded, train, held_out: _share(
                _nearest(decoded, train), _among(train).quantile(0.95)
            ),
        ),
        Mistake(
            "the threshold comes from all pairs of training pictures: take the held-out ones, each "
            "with its nearest training picture",
            lambda decoded, train, held_out: _share(
                _nearest(decoded, train), _all_distances(train, train).quantile(0.95)
            ),
        ),
        Mistake(
            "the threshold is the quantile 0.05: 95 % of the held-out pictures must be nearer",
            lambda decoded, train, held_out: _share(
                _nearest(decoded, train), _nearest(held_out, train).quantile(0.05)
            ),
        ),
        Mistake(
            "the threshold is the median: half of the real pictures would be holes",
            lambda decoded, train, held_out: _share(
                _nearest(decoded, train), _nearest(held_out, train).median()
            ),
        ),
        Mistake(
            "the threshold is the mean distance: take the quantile 0.95",
            lambda decoded, train, held_out: _share(
                _nearest(decoded, train), _nearest(held_out, train).mean()
            ),
        ),
        Mistake(
            "you use 0.95 as a distance: it is a share, so take that quantile of the held-out "
            "distances",
            lambda decoded, train, held_out: _share(_nearest(decoded, train), 0.95),
        ),
        Mistake(
            "you take the farthest training picture: the nearest one decides",
            lambda decoded, train, held_out: _share(
                _all_distances(decoded, train).max(1).values,
                _all_distances(held_out, train).max(1).values.quantile(0.95),
            ),
        ),
        Mistake(
            "you take the mean distance to all training pictures: the nearest one decides",
            lambda decoded, train, held_out: _share(
                _all_distances(decoded, train).mean(1),
                _all_distances(held_out, train).mean(1).quantile(0.95),
            ),
        ),
        Mistake(
            "you measure the decoded pictures against the held-out ones: those are the control; "
            "measure both against the training pictures",
            lambda decoded, train, held_out: _share(
                _nearest(decoded, held_out), _nearest(held_out, train).quantile(0.95)
            ),
        ),
        Mistake(
            "for each *training* picture you take the nearest decoded one: it is the other way "
            "round (the minimum goes over the training pictures)",
            lambda decoded, train, held_out: _share(
                _nearest(train, decoded), _nearest(train, held_out).quantile(0.95)
            ),
        ),
        Mistake(
            "this is the number of holes: divide by the number of decoded pictures",
            lambda decoded, train, held_out: (
                _hole_fraction(decoded, train, held_out) * len(decoded)
            ),
        ),
        Mistake(
            "this is one value for each picture: return their mean",
            lambda decoded, train, held_out: (
                _nearest(decoded, train) > _nearest(held_out, train).quantile(0.95)
            ).float(),
        ),
    ],
)


# ------------------------------------------------------------------------------------- the slips
autoencoder_slips = Lines(
    "autoencoder_slips",
    {
        2: "read the bar in each density: what is given, and what comes out?",
        4: "ask what the network of section 1.4 with 128 numbers has learned",
        6: "ask what kind of thing a density returns",
        8: "ask what section 1.7 found in the holes",
    },
    {
        1: "given x, the code: q(z|x)",
        3: "that is the whole training of a plain autoencoder",
        5: "the error sees only the product of the two matrices, so any invertible mixture of the "
        "code is as good",
        7: "for a fixed linear decoder no code, however found, beats the projection onto its plane",
        9: "to compress, nothing more is needed; to invent pictures, it is",
    },
    "lines 2, 4, 6 and 8: the decoder is p(x|z); a long code learns what noise or a price on "
    "slopes asks for; densities return numbers, not pictures; some holes have a "
    "smaller error than real digits",
)

"""The checks of chapter 1: the references agree with SciPy; other right and wrong ways."""

import numpy as np
import pytest
import scipy.linalg
import scipy.spatial
import torch

from vae_tutorial import checks


# ------------------------------------------------------------- the references, independently
@pytest.mark.parametrize("inputs", checks.subspace_angles.inputs()[:10])
def test_angles_agree_with_scipy(inputs):
    a, b = (value.double().numpy() for value in inputs)
    expected = np.sort(scipy.linalg.subspace_angles(a, b))
    found = checks.subspace_angles.reference(*inputs)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_the_same_plane_is_drawn_too():
    largest = [
        float(checks.subspace_angles.reference(*i).max()) for i in checks.subspace_angles.inputs()
    ]
    assert min(largest) < 1e-3 < 0.3 < max(largest)


@pytest.mark.parametrize("inputs", checks.wiener.inputs()[:10])
def test_wiener_is_the_regression_on_a_covariance(inputs):
    """Least squares of x on y for the joint covariance, as a stack of square roots."""
    c, sigma = (value.double().numpy() for value in inputs)
    values, vectors = np.linalg.eigh(c)
    root = vectors * np.sqrt(values.clip(0))  # rootᵀ has rows whose covariance is C
    clean = np.vstack([root.T, np.zeros_like(c)])
    noisy = np.vstack([root.T, float(sigma) * np.eye(len(c))])
    weights, *_ = np.linalg.lstsq(noisy, clean, rcond=None)
    np.testing.assert_allclose(checks.wiener.reference(*inputs), weights.T, atol=1e-4)
    left = ((clean - noisy @ weights) ** 2).sum()
    assert float(checks.wiener_error.reference(*inputs)) == pytest.approx(left, abs=1e-3)


def test_dead_pixels_are_drawn_and_others_too():
    smallest = [float(i[0].diagonal().min()) for i in checks.wiener.inputs()]
    assert min(smallest) == 0 < max(smallest)


@pytest.mark.parametrize("inputs", checks.hole_fraction.inputs()[:10])
def test_hole_fraction_by_a_tree(inputs):
    decoded, train, held_out = (value.double().numpy() for value in inputs)
    tree = scipy.spatial.KDTree(train)
    threshold = np.quantile(tree.query(held_out)[0], 0.95)
    expected = (tree.query(decoded)[0] > threshold).mean()
    assert float(checks.hole_fraction.reference(*inputs)) == pytest.approx(expected, abs=1e-6)


# ---------------------------------------------------------------------- other right solutions
def by_arc_cosine(a, b):
    qa, qb = torch.linalg.qr(a).Q, torch.linalg.qr(b).Q
    return torch.linalg.svdvals(qa.T @ qb).clamp(-1, 1).acos()


def by_svd(a, b):
    ua, ub = (torch.linalg.svd(m, full_matrices=False).U for m in (a, b))
    return torch.acos(torch.linalg.svd(ub.T @ ua).S.clamp(max=1))


def by_eigenvalues(covariance, sigma):
    lam, u = torch.linalg.eigh(covariance)
    return (u * (lam / (lam + sigma.float() ** 2))) @ u.T


def by_solve(covariance, sigma):
    return torch.linalg.solve(
        covariance + float(sigma) ** 2 * torch.eye(len(covariance)), covariance
    )


def error_by_eigenvalues(covariance, sigma):
    lam = torch.linalg.eigvalsh(covariance).clamp_min(0)
    return (lam * float(sigma) ** 2 / (lam + float(sigma) ** 2)).sum()


def error_as_trace(covariance, sigma):
    return float(sigma) ** 2 * torch.trace(by_solve(covariance, sigma))


def by_squares(decoded, train, held_out):
    near = torch.cdist(decoded, train).amin(1)
    edge = torch.quantile(torch.cdist(held_out, train).amin(1), 0.95)
    return float((near > edge).sum()) / len(decoded)


RIGHT = [
    (checks.subspace_angles, by_arc_cosine),
    (checks.subspace_angles, by_svd),
    (checks.wiener, by_eigenvalues),
    (checks.wiener, by_solve),
    (checks.wiener_error, error_by_eigenvalues),
    (checks.wiener_error, error_as_trace),
    (checks.hole_fraction, by_squares),
]


@pytest.mark.parametrize(("exercise", "solution"), RIGHT, ids=[s.__name__ for _, s in RIGHT])
def test_other_ways_to_be_right_pass(exercise, solution, seed):
    assert exercise.check(solution) == checks.Result(True, exercise.success)


# ------------------------------------------------- mistakes, made as a reader makes them
def degrees_of_arc_cosines(a, b):
    return by_arc_cosine(a, b) * 180 / torch.pi


def without_the_covariance(covariance, sigma):
    return torch.trace(covariance) - torch.trace(by_solve(covariance, sigma))


def between_training_pictures(decoded, train, held_out):
    second = torch.cdist(train, train).kthvalue(2, dim=1).values  # the first is the picture itself
    return (torch.cdist(decoded, train).min(1).values > second.quantile(0.95)).float().mean()


def between_all_training_pictures(decoded, train, held_out):
    edge = torch.cdist(train, train).flatten().quantile(0.95)
    return (torch.cdist(decoded, train).min(1).values > edge).float().mean()


def training_pictures_to_themselves(decoded, train, held_out):
    edge = torch.cdist(train, train).min(1).values.quantile(0.95)
    return (torch.cdist(decoded, train).min(1).values > edge).float().mean()


WRONG = [
    (checks.subspace_angles, degrees_of_arc_cosines, "these are degrees"),
    (checks.wiener_error, without_the_covariance, "this is tr (C − M)"),
    (checks.hole_fraction, between_training_pictures, "the threshold comes from each training"),
    (checks.hole_fraction, between_all_training_pictures, "the threshold comes from all pairs"),
    (checks.hole_fraction, training_pictures_to_themselves, "the threshold comes from training"),
]


@pytest.mark.parametrize(
    ("exercise", "solution", "words"), WRONG, ids=[w[1].__name__ for w in WRONG]
)
def test_mistakes_are_named_in_other_words_too(exercise, solution, words, seed):
    result = exercise.check(solution)
    assert not result.passed
    assert result.hint.startswith(words)


# ------------------------------------------------------------------------------------ the quiz
def test_the_quiz_knows_its_lines():
    quiz = checks.autoencoder_slips
    assert quiz.check([2, 4, 6, 8]).passed
    assert quiz.check("8 6 4 2").passed
    assert not quiz.check(...).passed
    for line in (1, 3, 5, 7, 9):
        hint = quiz.check([2, line]).hint
        assert hint == f"line {line} is right: {quiz.right[line]}"
    for left_out in (2, 4, 6, 8):
        hint = quiz.check([n for n in (2, 4, 6, 8) if n != left_out]).hint
        assert hint == f"3 of 4 found; for the next one {quiz.wrong[left_out]}"

"""Chapter 1's functions against scikit-learn, SciPy, least squares, torch.func and brute force."""

from itertools import pairwise

import numpy as np
import pytest
import scipy.linalg
import scipy.spatial
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.decomposition import PCA
from torch import nn

from vae_tutorial.autoencoders import (
    Autoencoder,
    TiedLinear,
    contraction,
    contractive_gains,
    covariance,
    fit_autoencoder,
    nearest_distance,
    pca,
    principal_angles,
    reconstruction_error,
    wiener,
    wiener_error,
)
from vae_tutorial.data import load_digits
from vae_tutorial.training import NonFiniteLossError

F64 = torch.float64
SEEDS = st.integers(0, 10**6)


def normal(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


def correlated(n, d, seed):
    return normal(n, d, seed=seed) @ normal(d, d, seed=seed + 1) + normal(d, seed=seed + 2)


@pytest.fixture(scope="module")
def digits():
    return load_digits().train.double()


# ------------------------------------------------------------------------------- PCA
@pytest.mark.parametrize("d", [1, 2, 8, 32])
def test_pca_is_that_of_scikit_learn(digits, d):
    """eq-pca: reconstructions, planes and the error as a sum of eigenvalues."""
    theirs, ours = PCA(d).fit(digits.numpy()), pca(digits, d)
    expected = theirs.inverse_transform(theirs.transform(digits.numpy()))
    np.testing.assert_allclose(ours(digits), expected, atol=1e-8)
    angles = scipy.linalg.subspace_angles(theirs.components_.T, ours.basis.numpy())
    assert angles.max() < 1e-6
    eigenvalues = np.linalg.eigvalsh(np.cov(digits.numpy().T, bias=True))[::-1]
    error = reconstruction_error(ours, digits).mean().item()
    assert error == pytest.approx(eigenvalues[d:].sum(), abs=1e-10)


@given(seed=SEEDS, d=st.integers(1, 4))
def test_no_other_plane_and_no_other_code_beats_pca(seed, d):
    """eq-pca: any decoder with the best encoder for it (least squares), and any other encoder."""
    x = correlated(30, 5, seed)
    best = reconstruction_error(pca(x, d), x).mean()
    weight, bias = normal(5, d, seed=seed + 3), x.mean(0) + 0.3 * normal(5, seed=seed + 4)
    codes = torch.linalg.lstsq(weight, (x - bias).T).solution.T
    assert (x - codes @ weight.T - bias).square().sum(1).mean() >= best - 1e-9
    bent = torch.tanh(x @ normal(5, d, seed=seed + 5))  # a nonlinear encoder before a linear map
    design = torch.cat([bent, torch.ones(30, 1, dtype=F64)], 1)
    fitted = design @ torch.linalg.lstsq(design, x).solution
    assert (x - fitted).square().sum(1).mean() >= best - 1e-9


@given(seed=SEEDS)
def test_the_error_never_rises_with_the_length_of_the_code(seed):
    """eq-reconstruction-error of nested planes, and exactly zero when d = D."""
    x = correlated(20, 4, seed)
    errors = [reconstruction_error(pca(x, d), x).mean() for d in range(1, 5)]
    assert all(b <= a + 1e-9 for a, b in pairwise(errors))
    assert errors[-1] < 1e-9 * covariance(x).trace()


@given(seed=SEEDS, d=st.integers(1, 3))
def test_any_mixture_of_the_code_is_as_good(seed, d):
    """eq-linear-autoencoder: W = UA, V = A⁻¹Uᵀ give the reconstructions of PCA."""
    x = correlated(20, 4, seed)
    best, mixture = pca(x, d), normal(d, d, seed=seed) + 3 * torch.eye(d, dtype=F64)
    weight, back = best.basis @ mixture, torch.linalg.inv(mixture) @ best.basis.T
    torch.testing.assert_close((x - best.bias) @ back.T @ weight.T + best.bias, best(x))
    angles = principal_angles(weight, best.basis)
    assert angles.max() < 1e-6


def test_a_trained_linear_autoencoder_finds_the_plane():
    """eq-linear-autoencoder, by Adam, on data with clear eigenvalues."""
    scales = torch.tensor([3.0, 2.0, 0.5, 0.3])
    g = torch.Generator().manual_seed(0)
    x = torch.randn(500, 4, generator=g) * scales + 1
    model = Autoencoder(4, [], 2, generator=g)
    fit_autoencoder(model, x, epochs=200, lr=0.02, generator=g)
    best = pca(x, 2)
    angles = principal_angles(model.decoder[0].weight.detach(), best.basis)
    assert angles.max() < 0.02
    error = reconstruction_error(model, x).mean() / reconstruction_error(best, x).mean()
    assert error.item() == pytest.approx(1, abs=5e-3)


@given(seed=SEEDS, factor=st.floats(0.05, 20))
def test_the_code_is_free(seed, factor):
    """eq-code-freedom: an invertible map between encoder and decoder changes no error."""
    x = correlated(10, 4, seed)
    g = torch.Generator().manual_seed(seed)
    model = Autoencoder(4, [6], 2, generator=g).double()

    def warped(x):  # h(z) = factor · sinh(z), bent but invertible
        code = factor * model.encode(x).sinh()
        return model.decode(torch.asinh(code / factor))

    torch.testing.assert_close(
        reconstruction_error(warped, x), reconstruction_error(model, x), rtol=1e-6, atol=1e-9
    )


def test_reconstruction_error_is_a_sum_over_pixels():
    """eq-reconstruction-error: one value per example, summed and not averaged."""
    x = torch.arange(6.0).reshape(2, 3)
    found = reconstruction_error(lambda x: x + 2, x)
    assert found.tolist() == [12.0, 12.0]


# ------------------------------------------------------------------------------- denoising
@given(seed=SEEDS, sigma=st.floats(0.1, 2))
def test_wiener_is_least_squares(seed, sigma):
    """eq-wiener and eq-wiener-error: regression of x on x + σε, with exact moments."""
    x = correlated(12, 4, seed)
    x = x - x.mean(0)
    # Rows whose second moments are exactly those of (x, x + σε), with independent noise.
    root = np.sqrt(12) * sigma * np.eye(4)
    clean, noisy = np.vstack([x, np.zeros((4, 4))]), np.vstack([x, root])
    weights, *_ = np.linalg.lstsq(noisy, clean, rcond=None)
    c = covariance(x)
    np.testing.assert_allclose(wiener(c, sigma), weights.T, atol=1e-8)
    left = ((clean - noisy @ weights) ** 2).sum() / 12
    assert wiener_error(torch.linalg.eigvalsh(c), sigma).item() == pytest.approx(left, rel=1e-8)


@given(seed=SEEDS, sigma=st.floats(0.1, 2))
def test_wiener_beats_every_other_matrix(seed, sigma):
    """eq-denoising for linear maps: the error of M, multiplied out, is least at eq-wiener."""
    c = covariance(correlated(12, 3, seed))

    def error(m):
        return torch.trace((torch.eye(3) - m) @ c @ (torch.eye(3) - m).T + sigma**2 * m @ m.T)

    best = wiener(c, sigma)
    assert error(best).item() == pytest.approx(
        wiener_error(torch.linalg.eigvalsh(c), sigma).item(), rel=1e-9
    )
    assert error(best + 0.1 * normal(3, 3, seed=seed + 9)) > error(best)


def test_wiener_of_two_pixels():
    """The numbers on the page, in exact fractions by hand: C(C + ½I)⁻¹."""
    found = wiener(torch.tensor([[2.0, 0.6], [0.6, 0.5]], dtype=F64), 0.5**0.5)
    by_hand = torch.tensor([[1.64, 0.30], [0.30, 0.89]], dtype=F64) / 2.14
    torch.testing.assert_close(found, by_hand)


def test_a_trained_denoiser_is_the_wiener_filter():
    """eq-denoising, trained by Adam with an overcomplete code, against eq-wiener."""
    g = torch.Generator().manual_seed(1)
    x = torch.randn(2000, 2, generator=g) @ torch.tensor([[1.4, 0.4], [0.0, 0.6]])
    x = x - x.mean(0)
    model = Autoencoder(2, [], 5, generator=g)
    fit_autoencoder(model, x, epochs=120, lr=0.01, noise=0.7, generator=g)
    learned = (model.decoder[0].weight @ model.encoder[0].weight).detach()
    torch.testing.assert_close(learned, wiener(covariance(x), 0.7), rtol=0, atol=0.03)
    copier = Autoencoder(2, [], 5, generator=g)
    fit_autoencoder(copier, x, epochs=60, lr=0.01, generator=g)
    learned = (copier.decoder[0].weight @ copier.encoder[0].weight).detach()
    torch.testing.assert_close(learned, torch.eye(2), rtol=0, atol=0.01)


def test_the_noise_is_added_to_the_input_only():
    """With a model that ignores its input, noise changes nothing but the order of the draws."""

    class Constant(nn.Module):
        def __init__(self):
            super().__init__()
            self.value = nn.Parameter(torch.zeros(3))
            self.seen = []

        def encode(self, x):
            self.seen.append(x.detach())
            return x

        def decode(self, z):
            return self.value.expand(len(z), 3)

    x = torch.tensor([[1.0, 2.0, 3.0]]).expand(256, 3)
    model = Constant()
    losses = fit_autoencoder(
        model, x, epochs=1, batch_size=256, noise=0.5, generator=torch.Generator().manual_seed(0)
    )
    assert losses[0] == pytest.approx(14.0)
    spread = (model.seen[0] - x).std().item()
    assert spread == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(2 * 768))


# ------------------------------------------------------------------------------- contraction
@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh, nn.Sigmoid])
def test_contraction_is_the_squared_norm_of_the_jacobian(activation):
    """eq-contractive: against torch.func's Jacobian of each row, and finite differences."""
    g = torch.Generator().manual_seed(0)
    model = Autoencoder(5, [7], 3, activation=activation, generator=g).double()
    x = normal(4, 5, seed=2)
    found = contraction(model.encode, x)
    jacobians = torch.func.vmap(torch.func.jacrev(model.encode))(x)
    torch.testing.assert_close(found, jacobians.square().sum((1, 2)))
    step = 1e-6
    columns = [
        (model.encode(x + step * unit) - model.encode(x - step * unit)) / (2 * step)
        for unit in torch.eye(5, dtype=F64)
    ]
    torch.testing.assert_close(found, torch.stack(columns).square().sum((0, 2)), rtol=1e-5, atol=0)


def test_contraction_can_be_trained():
    """eq-contractive: the gradient of the penalty against finite differences."""
    g = torch.Generator().manual_seed(0)
    model = Autoencoder(3, [4], 2, activation=nn.Tanh, generator=g).double()
    x, weight = normal(5, 3, seed=1), model.encoder[0].weight
    contraction(model.encode, x).mean().backward()
    step, before = 1e-6, weight.grad[1, 2].item()
    values = []
    for sign in (1, -1):
        with torch.no_grad():
            weight[1, 2] += sign * step
        values.append(contraction(model.encode, x).mean().item())
        with torch.no_grad():
            weight[1, 2] -= sign * step
    assert before == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-5)


@given(seed=SEEDS, penalty=st.floats(0.01, 3))
def test_contractive_gains_are_optimal(seed, penalty):
    """eq-contractive-linear: each gain minimizes λ(1 − s)² + γs on a grid; no other G is better."""
    lam = normal(4, seed=seed).square().sort(descending=True).values
    gains = contractive_gains(lam, penalty)
    s = torch.linspace(0, 1, 2001, dtype=F64)
    cost = lam[:, None] * (1 - s) ** 2 + penalty * s
    torch.testing.assert_close(gains, s[cost.argmin(1)], rtol=0, atol=6e-4)

    def total(a):
        rest = torch.eye(4) - a.T @ a
        return torch.trace(rest @ torch.diag(lam) @ rest) + penalty * a.square().sum()

    a = torch.diag(gains.sqrt())
    for k in range(5):
        assert total(a + 0.1 * normal(4, 4, seed=seed + k)) >= total(a) - 1e-9


def test_a_trained_tied_autoencoder_has_these_gains():
    """eq-contractive-linear: fit_autoencoder with the penalty by autograd."""
    g = torch.Generator().manual_seed(0)
    x = torch.randn(1000, 3, generator=g) * torch.tensor([2.0, 1.0, 0.4])
    model = TiedLinear(3, 3, generator=g)
    fit_autoencoder(model, x, epochs=100, lr=0.02, penalty=1.0, generator=g)
    eigenvalues, vectors = torch.linalg.eigh(covariance(x))
    learned = vectors.T @ (model.weight.T @ model.weight).detach() @ vectors
    expected = torch.diag(contractive_gains(eigenvalues, 1.0))
    torch.testing.assert_close(learned, expected, rtol=0, atol=0.02)
    assert expected[0, 0] == 0


def test_untied_weights_escape_the_penalty():
    """eq-code-freedom and eq-contractive: the code in other units, the same pictures."""
    g = torch.Generator().manual_seed(0)
    model = Autoencoder(4, [6], 2, generator=g).double()
    x = normal(8, 4, seed=1)
    before, price = model(x), contraction(model.encode, x)
    with torch.no_grad():
        model.encoder[-1].weight *= 0.1
        model.encoder[-1].bias *= 0.1
        model.decoder[0].weight *= 10
    torch.testing.assert_close(model(x), before)
    torch.testing.assert_close(contraction(model.encode, x), price / 100)


# ------------------------------------------------------------------------------- distances
@given(seed=SEEDS, d=st.integers(1, 3))
def test_principal_angles_are_those_of_scipy(seed, d):
    a, b = normal(5, d, seed=seed), normal(5, d, seed=seed + 1)
    expected = np.sort(scipy.linalg.subspace_angles(a.numpy(), b.numpy()))
    np.testing.assert_allclose(principal_angles(a, b), expected, atol=1e-7)


def test_nearest_distance_is_that_of_a_tree():
    images, to = normal(40, 6, seed=0), normal(60, 6, seed=1)
    expected, _ = scipy.spatial.KDTree(to.numpy()).query(images.numpy())
    np.testing.assert_allclose(nearest_distance(images, to), expected, rtol=1e-9)


# ------------------------------------------------------------------------------- messages
def test_errors_name_the_argument(reader):
    x = torch.zeros(4, 3)
    with pytest.raises(ValueError, match="d must lie between 1 and D = 3, got 4"):
        pca(x, 4)
    with pytest.raises(ValueError, match="sigma must be positive, got 0"):
        wiener(torch.eye(2), 0.0)
    model = Autoencoder(3, [], 2)
    for options, message in [
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"epochs": 1, "batch_size": 0}, "batch_size must be at least 1"),
        ({"epochs": 1, "noise": -1.0}, "noise ≥ 0"),
        ({"epochs": 1, "lr": 0.0}, "need lr > 0"),
    ]:
        with pytest.raises(ValueError, match=message):
            fit_autoencoder(model, x, **options)
    with pytest.raises(NonFiniteLossError, match="lower lr"):
        fit_autoencoder(model, torch.full((4, 3), 1e30), epochs=1)
    for bad, message in [(x * torch.nan, "NaN or infinity"), (x[:0], "an empty data set")]:
        with pytest.raises(ValueError, match=f"at least one example and finite.*{message}"):
            fit_autoencoder(model, bad, epochs=1)
    done = reader(  # without the shape checks of the tests
        "import torch; from vae_tutorial.autoencoders import Autoencoder, principal_angles\n"
        "m = Autoencoder(3, [], 2)\n"
        "for f in (lambda: m.encode(torch.zeros(1, 4)), lambda: m.decode(torch.zeros(1, 3)),\n"
        "          lambda: principal_angles(torch.eye(3), torch.eye(4))):\n"
        "    try: f()\n"
        "    except ValueError as error: print(error)"
    )
    assert "x must be (*batch, 3), got (1, 4)" in done.stdout
    assert "z must be (*batch, 2), got (1, 3)" in done.stdout
    assert "a and b must have one shape" in done.stdout


def test_one_epoch_of_batches_of_one_is_allowed():
    x = torch.rand(3, 4, generator=torch.Generator().manual_seed(0))
    model = Autoencoder(4, [], 1, generator=torch.Generator().manual_seed(1))
    losses = fit_autoencoder(model, x, epochs=1, batch_size=1, generator=torch.Generator())
    assert len(losses) == 1


def test_the_step_size_ends_at_zero_with_a_smaller_last_batch(monkeypatch):
    """Ten examples in batches of four are three steps: the schedule is as long as the run."""
    schedules = []
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR

    def noted(*args):
        schedules.append(cosine(*args))
        return schedules[-1]

    monkeypatch.setattr(torch.optim.lr_scheduler, "CosineAnnealingLR", noted)
    model = Autoencoder(4, [3], 1, generator=torch.Generator().manual_seed(0))
    fit_autoencoder(model, torch.rand(10, 4), epochs=2, batch_size=4, show_progress=False)
    assert schedules[0].T_max == 6
    assert schedules[0].get_last_lr()[0] == pytest.approx(0, abs=1e-12)

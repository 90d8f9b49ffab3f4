"""`fit` against a loop written out by hand, an exact optimum, and everything that can go wrong."""

import math

import pytest
import torch
from torch import nn

from vae_tutorial.data import load_digits
from vae_tutorial.exact import ppca_maximum_likelihood
from vae_tutorial.models import VAE, GaussianDecoder, GaussianEncoder, bernoulli_vae
from vae_tutorial.training import History, NonFiniteLossError, calibrate, evaluate, fit, progress


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def small(seed=0):
    return bernoulli_vae(4, [8], 2, generator=seeded(seed))


def patterns(n=300):
    return torch.rand(n, 4, generator=seeded(9)).round()


@pytest.mark.parametrize("one_cycle", [False, True])
def test_fit_is_the_loop_written_out(one_cycle):
    """eq-minibatch-elbo: torch.distributions, the same noise and Adam give the same weights.

    The one-cycle schedule has as many steps as the run: 2 epochs of 3 batches.
    """
    x, model, twin = patterns(), small(), small()
    fit(model, x, epochs=2, batch_size=128, lr=1e-2, one_cycle=one_cycle, generator=seeded(1),
        show_progress=False)  # fmt: skip

    g = seeded(1)
    adam = torch.optim.Adam(twin.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.ConstantLR(adam, factor=1.0)
    if one_cycle:
        schedule = torch.optim.lr_scheduler.OneCycleLR(adam, 1e-2, total_steps=6)
    for _ in range(2):
        for index in torch.randperm(300, generator=g).split(128):
            batch = x[index]
            loc, logvar = twin.encoder.net(batch).chunk(2, -1)
            q = torch.distributions.Normal(loc, (logvar / 2).exp())
            z = loc + q.scale * torch.randn(1, len(batch), 2, generator=g)
            p = torch.distributions.Bernoulli(logits=twin.decoder.net(z))
            prior = torch.distributions.Normal(torch.zeros(2), torch.ones(2))
            kl = torch.distributions.kl_divergence(q, prior).sum(-1)
            loss = (kl - p.log_prob(batch).sum(-1)).mean()
            adam.zero_grad()
            loss.backward()
            adam.step()
            schedule.step()
    for a, b in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


def test_a_linear_vae_reaches_probabilistic_pca():
    """The ELBO of a linear VAE peaks at the exact maximum likelihood: a test with a known end."""
    x = load_digits().train
    x = x[:, x.std(0) > 0.2][:, :8]  # 8 lively pixels, for speed
    D = x.shape[1]
    g = seeded(2)
    vae = VAE(
        GaussianEncoder(D, [], 2, generator=g),
        GaussianDecoder(2, [], D, scale="shared", sigma=0.3, generator=g),
    )
    fit(vae, x, epochs=120, batch_size=100, lr=2e-2, one_cycle=True, samples=4, generator=g,
        show_progress=False)  # fmt: skip
    exact = ppca_maximum_likelihood(x.double(), 2).log_p_x(x.double()).mean().item()
    elbo = evaluate(vae, x, samples=50, generator=g).elbo.mean().item()
    assert exact - 0.05 < elbo < exact + 0.01


def test_history_is_measured_on_the_batches():
    """With a vanishing step each entry is the loss of the initial weights, last batch and all."""
    x, model = patterns(), small()  # batches of 128, 128 and 44
    history = fit(
        model, x, epochs=3, batch_size=128, lr=1e-9, generator=seeded(), show_progress=False
    )
    assert len(history.reconstruction) == len(history.kl) == 3
    exact = -evaluate(model, x, samples=500, generator=seeded()).elbo.mean().item()
    assert history.loss[0] == pytest.approx(exact, abs=0.1)
    assert history.loss == [k - r for r, k in zip(history.reconstruction, history.kl, strict=True)]


def test_training_lowers_the_loss():
    x = patterns()
    history = fit(small(), x, epochs=30, lr=1e-2, generator=seeded(), show_progress=False)
    assert history.loss[-1] < history.loss[0] - 0.1


def test_same_generator_same_weights():
    x, a, b = patterns(), small(), small()
    for model in (a, b):
        fit(model, x, epochs=2, binarize=True, generator=seeded(4), show_progress=False)
    for p, q in zip(a.parameters(), b.parameters(), strict=True):
        assert torch.equal(p, q)


def test_kl_weight_zero_lets_the_kl_grow_and_a_large_one_ends_it():
    x, free, tied = patterns(), small(), small()
    for model, weight in ((free, 0.0), (tied, 100.0)):
        fit(model, x, epochs=60, lr=1e-2, kl_weight=weight, generator=seeded(), show_progress=False)
    assert evaluate(tied, x).kl.mean() < 0.01 < 1 < evaluate(free, x).kl.mean()


def test_one_cycle_ends_with_a_vanishing_step():
    """The last epoch of a one-cycle run barely moves the weights; without it they still move."""
    moved = []
    for one_cycle in (True, False):
        model, snapshots = small(), []
        fit(model, patterns(), epochs=40, lr=1e-2, one_cycle=one_cycle, generator=seeded(),
            show_progress=False,
            on_epoch=lambda e, h, m=model, s=snapshots: s.append(
                nn.utils.parameters_to_vector(m.parameters()).detach().clone()))  # fmt: skip
        moved.append((snapshots[-1] - snapshots[-2]).norm())
    assert moved[0] < 0.05 * moved[1]


@pytest.mark.parametrize("kl_weight", [0.0, 5.0])
def test_the_history_shows_the_kl_without_its_weight(kl_weight):
    x, model = patterns(), small()
    history = fit(
        model, x, epochs=1, lr=1e-9, kl_weight=kl_weight, generator=seeded(), show_progress=False
    )
    assert history.kl[0] == pytest.approx(evaluate(model, x).kl.mean().item(), rel=1e-4)


def test_binarize_draws_anew():
    """Each batch is zeros and ones with the grey value as their probability, and never twice."""
    seen = []

    class Watching(VAE):
        def encode(self, x):
            seen.append(x)
            return super().encode(x)

    grey = torch.full((500, 4), 0.3)
    parts = small()
    fit(Watching(parts.encoder, parts.decoder), grey, epochs=3, batch_size=500, binarize=True,
        generator=seeded(), show_progress=False)  # fmt: skip
    for batch in seen:
        assert set(batch.unique().tolist()) == {0.0, 1.0}
        assert (batch.mean() - 0.3).abs() < 4 * math.sqrt(0.3 * 0.7 / 2000)
    assert not torch.equal(seen[0], seen[1])
    assert (grey == 0.3).all()  # the caller's tensor is not touched
    for binarize in (False, True):
        with pytest.raises(ValueError, match=r"images must lie in \[0, 1\] .* got max 1.5: resca"):
            fit(small(), grey * 5, epochs=1, binarize=binarize, show_progress=False)


def test_arguments_are_not_changed():
    x = patterns()
    before = x.clone()
    fit(small(), x, epochs=1, generator=seeded(), show_progress=False)
    assert torch.equal(x, before)


def test_non_finite_loss_stops_with_an_explanation():
    """The error says when and which term, and the weights are those before the bad step."""
    g = seeded()
    decoder = GaussianDecoder(2, [8], 4, sigma=1e-2, min_sigma=1e-3, generator=g)
    model = VAE(GaussianEncoder(4, [8], 2, generator=g), decoder)
    x = patterns() * 1e25
    before = [p.clone() for p in model.parameters()]
    with pytest.raises(NonFiniteLossError) as error:
        fit(model, x, epochs=1, generator=seeded(), show_progress=False)
    assert "epoch 1, step 1" in str(error.value)
    assert "p(x|z), from the decoder: loc must not be NaN" in str(error.value)
    assert "lr=0.001" in str(error.value)
    for p, old in zip(model.parameters(), before, strict=True):
        assert torch.equal(p, old)


def interrupted(model, exception, **options):
    """Stop in the first step of the third epoch, in the middle of the forward pass."""
    calls = []

    class Stopping(type(model.decoder)):
        def forward(self, z):
            calls.append(len(z))
            if len(calls) == 7:  # 3 batches in each epoch
                raise exception
            return super().forward(z)

    model.decoder.__class__ = Stopping
    with pytest.raises(type(exception)) as error:
        fit(model, patterns(), epochs=5, generator=seeded(), **options)
    assert len(calls) == 7
    return error.value


@pytest.mark.parametrize("exception", [KeyboardInterrupt(), RuntimeError("out of memory")])
def test_an_interruption_keeps_history_and_model(exception):
    """Two epochs are finished: their history, their weights, a mode as before, no gradient."""
    model, twin = small().eval(), small()
    error = interrupted(model, exception, show_progress=False)
    history = fit(twin, patterns(), epochs=2, generator=seeded(), show_progress=False)
    assert error.history == history
    assert error.__notes__[0].startswith("fit had finished 2 of 5 epochs")
    assert "sys.last_value.history" in error.__notes__[0]
    for a, b in zip(model.parameters(), twin.parameters(), strict=True):
        assert torch.equal(a, b)
        assert a.grad is b.grad is None
    assert not any(module.training for module in model.modules())
    more = fit(model, patterns(), epochs=1, generator=seeded(), show_progress=False)
    assert more.loss[0] < history.loss[0]


def test_ctrl_c_in_a_script(reader):
    """A real signal: the program stops, and says how much was done."""
    done = reader(
        "import signal, torch\n"
        "from vae_tutorial.models import bernoulli_vae\n"
        "from vae_tutorial.training import fit\n"
        "def stop(epoch, history):\n"
        "    if epoch == 2: signal.raise_signal(signal.SIGINT)\n"
        "try:\n"
        "    fit(bernoulli_vae(4, [3], 1), torch.ones(8, 4), epochs=9, on_epoch=stop)\n"
        "except KeyboardInterrupt as error:\n"
        "    print(len(error.history.loss))\n"
        "    raise\n"
    )
    assert done.returncode != 0
    assert done.stdout.splitlines() == ["epoch 1/9, 0 s left", "2"]
    assert "fit had finished 2 of 9 epochs" in done.stderr.splitlines()[-1]


def test_a_loss_that_breaks_keeps_the_history_too():
    model = small()

    def poison(epoch, history):
        if epoch == 2:
            with torch.no_grad():
                model.decoder.net[-1].bias.fill_(math.inf)

    with pytest.raises(NonFiniteLossError, match="epoch 3, step 1: log_prob") as error:
        fit(model, patterns(), epochs=5, generator=seeded(), show_progress=False, on_epoch=poison)
    assert len(error.value.history.loss) == 2
    assert all(map(math.isfinite, error.value.history.loss))


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (
            lambda m: m.encoder.net[-1].bias.fill_(math.nan),
            r"step 1: q\(z\|x\), from the encoder: scale",
        ),
        (lambda m: m.encoder.net[-1].bias[2:].fill_(-300), "the KL overflowed"),
        (lambda m: m.decoder.net[-1].bias.fill_(math.nan), "log_prob is not defined: logits must"),
    ],
)
def test_the_culprit_is_named(break_it, message):
    """NaN in the encoder, a σ that underflows to zero (exp(−150), an infinite KL), NaN behind."""
    model = small()
    with torch.no_grad():
        break_it(model)
    with pytest.raises(NonFiniteLossError, match=message):
        fit(model, patterns(), epochs=1, generator=seeded(), show_progress=False)


class Clock:
    """A second passes with each look at it."""

    def __init__(self):
        self.now = 0

    def __call__(self):
        self.now += 1
        return self.now


def shown(capsys, items, monkeypatch, *, terminal=False, notebook=False):
    monkeypatch.setattr("time.perf_counter", Clock())
    monkeypatch.setattr("sys.stdout.isatty", lambda: terminal)
    if notebook:
        monkeypatch.setattr("builtins.__IPYTHON__", True, raising=False)
    assert list(progress(range(items), "epoch")) == list(range(items))
    return capsys.readouterr().out


@pytest.mark.parametrize("where", ["terminal", "notebook"])
def test_progress_writes_one_line_over(capsys, monkeypatch, where):
    """After k of 4 items k seconds have passed, so 4 − k are left."""
    out = shown(capsys, 4, monkeypatch, **{where: True})
    first, *rest = out.split("\r")
    assert first == ""
    assert [line.rstrip() for line in rest] == [
        *(f"epoch {k}/4, {4 - k} s left" for k in range(1, 5)),
        "epoch 4/4 done",
    ]
    assert out.count("\n") == 1
    longest = max(len(line.rstrip("\n")) for line in rest)
    assert len(rest[-1].rstrip("\n")) >= longest - 3  # nothing of the line before is left


def test_progress_prints_whole_lines_in_a_log(capsys, monkeypatch):
    lines = [f"epoch {k}/4, {4 - k} s left" for k in range(1, 4)]
    assert shown(capsys, 4, monkeypatch).splitlines() == [*lines, "epoch 4/4 done"]
    many = shown(capsys, 205, monkeypatch)
    assert "\r" not in many
    assert 15 <= len(many.splitlines()) <= 21
    assert many.splitlines()[-1] == "epoch 205/205 done"
    assert shown(capsys, 1, monkeypatch) == "epoch 1/1 done\n"


def test_progress_leaves_one_fixed_line(capsys):
    fit(small(), patterns(), epochs=2, generator=seeded())
    out = capsys.readouterr().out
    assert out.splitlines()[-1] == "epoch 2/2 done"
    assert list(progress("ab", "x", show=False)) == ["a", "b"]
    assert capsys.readouterr().out == ""


def test_evaluate_samples_as_in_training():
    """eq-amortized-elbo: the mean over many draws is the ELBO, and μ alone is too good."""
    x, model = patterns(), small()
    fit(model, x, epochs=50, lr=1e-2, generator=seeded(), show_progress=False)
    one = evaluate(model, x, generator=seeded()).elbo
    many = evaluate(model, x, samples=200, generator=seeded(1)).elbo
    assert one.shape == (300,)
    assert (one.mean() - many.mean()).abs() < 4 * one.std() / math.sqrt(300)
    forgot = model.decode(model.encode(x).loc).log_prob(x) - evaluate(model, x).kl
    assert forgot.mean() > many.mean()
    for batch_size in (1, 7, 300, 1000):
        split = evaluate(model, x, batch_size=batch_size, generator=seeded())
        assert split.reconstruction.shape == (300,)
        torch.testing.assert_close(split.kl, evaluate(model, x).kl)


def test_the_smallest_run_is_allowed():
    """One epoch, one example, one sample, batches of one: the limits themselves are accepted."""
    x, model = patterns(1), small()
    history = fit(model, x, epochs=1, batch_size=1, samples=1, kl_weight=0.0, show_progress=False)
    assert len(history.loss) == 1
    assert evaluate(model, x, samples=1, batch_size=1).elbo.shape == (1,)


def test_bad_arguments_are_named():
    x, model = patterns(), small()
    for name in ("epochs", "batch_size", "samples"):
        with pytest.raises(ValueError, match=f"{name} must be at least 1, got -3"):
            fit(model, x, **{"epochs": 1, name: -3})
        with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
            fit(model, x, **{"epochs": 1, name: 0})
    with pytest.raises(ValueError, match="lr must be positive and finite, got 0"):
        fit(model, x, epochs=1, lr=0.0)
    with pytest.raises(ValueError, match="kl_weight must be finite and not negative, got -1"):
        fit(model, x, epochs=1, kl_weight=-1.0)
    with pytest.raises(ValueError, match="got an empty data set"):
        fit(model, x[:0], epochs=1)
    with pytest.raises(ValueError, match=r"\(N, 4\), got \(300, 3\)$"):
        fit(model, x[:, :3], epochs=1)
    bad = x.clone()
    bad[3, 2] = math.nan
    with pytest.raises(ValueError, match="got 1 values that are NaN or infinite"):
        fit(model, bad, epochs=1)
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        evaluate(model, x, batch_size=0)
    assert History().loss == []


def test_readers_see_these_messages_too(reader_errors):
    """Without the shape hook of the tests: whole numbers, images that were not flattened."""
    start = (
        "import torch; from vae_tutorial.models import bernoulli_vae\n"
        "from vae_tutorial.training import fit\nm = bernoulli_vae(784, [8], 2)\n"
    )
    images, integers = reader_errors(
        [
            start + "fit(m, torch.zeros(5, 28, 28), epochs=1)",
            start + "fit(m, torch.zeros(5, 784, dtype=torch.uint8), epochs=1)",
        ]
    )
    assert images.endswith("(N, 784), got (5, 28, 28): flatten the images, x.flatten(1)")
    assert integers.endswith("floating-point tensor, got torch.uint8: divide by 255")


# ------------------------------------------------------------------ the best σ, after training
def gaussian(scale, data_dim=4, **options):
    g = torch.Generator().manual_seed(0)
    return VAE(
        GaussianEncoder(data_dim, [8], 2, generator=g),
        GaussianDecoder(2, [8], data_dim, scale=scale, generator=g, **options),
    )


@pytest.mark.parametrize("scale", ["fixed", "shared", "per-dimension", "optimal"])
def test_calibrate_finds_the_best_sigma(scale):
    """eq-optimal-sigma: on the same draws, no other σ gives a higher ELBO."""
    x = torch.randn(300, 4, generator=torch.Generator().manual_seed(1)) * torch.arange(1, 5)
    model = gaussian(scale)
    before = [p.clone() for p in model.encoder.parameters()]
    sigma = calibrate(model, x, batch_size=300, generator=torch.Generator().manual_seed(2))
    assert all(torch.equal(a, b) for a, b in zip(before, model.encoder.parameters(), strict=True))
    assert model.training
    with torch.no_grad():
        model.eval()
        z = model.encode(x).rsample(generator=torch.Generator().manual_seed(2))
        squares = (x - model.decode(z).mean).square()
        expected = squares.mean(0).sqrt() if scale == "per-dimension" else squares.mean().sqrt()
        torch.testing.assert_close(torch.as_tensor(sigma), expected)
        best = model.decode(z).log_prob(x).mean()
        for factor in (0.9, 1.1):
            model.decoder.set_sigma(factor * torch.as_tensor(sigma))
            assert model.decode(z).log_prob(x).mean() < best


def test_calibrate_does_not_depend_on_the_batches():
    x = torch.randn(300, 4, generator=torch.Generator().manual_seed(1))
    found = [
        calibrate(gaussian("shared"), x, batch_size=b, generator=torch.Generator().manual_seed(2))
        for b in (300, 300, 7)
    ]
    assert found[0] == found[1]
    assert found[2] == pytest.approx(found[0], rel=0.05)  # other draws of z


def test_an_optimal_scale_trains_and_says_what_it_needs_to_be_evaluated():
    g = torch.Generator().manual_seed(3)
    x = torch.randn(200, 4, generator=g) * 0.2 + torch.randn(200, 1, generator=g)
    model = gaussian("optimal")
    options = {"batch_size": 20, "lr": 1e-2, "show_progress": False}
    history = fit(model, x, epochs=60, **options, generator=g)
    assert history.loss[-1] < history.loss[0] - 1
    with pytest.raises(ValueError, match="calibrate"):
        evaluate(model, x)
    sigma = calibrate(model, x, generator=g)
    assert sigma == pytest.approx(0.25, abs=0.1)
    assert evaluate(model, x, generator=g).elbo.isfinite().all()


def test_calibrate_names_what_it_cannot_calibrate():
    x = torch.rand(10, 4)
    with pytest.raises(TypeError, match="needs a GaussianDecoder, got a BernoulliDecoder"):
        calibrate(bernoulli_vae(4, [8], 1), x)
    with pytest.raises(ValueError, match="a per-pixel σ is the network's output"):
        calibrate(gaussian("per-pixel"), x)
    with pytest.raises(ValueError, match=r"above min_sigma = 0\.5"):
        calibrate(gaussian("shared", sigma=1.0, min_sigma=0.5), torch.zeros(10, 4))

"""Checks of the exercises of "The variational autoencoder, assembled"."""

from __future__ import annotations

import inspect
import math

import torch
from torch import nn
from torch.nn import functional as F

from vae_tutorial.checks.base import Draw, Exercise, Mistake, Unusable
from vae_tutorial.checks.quiz import Number, Slip
from vae_tutorial.distributions import (
    Bernoulli,
    Normal,
    kl_normal,
    standard_normal,
)
from vae_tutorial.distributions import kl_standard_normal as _kl_standard_normal
from vae_tutorial.objectives import importance_weighted_bound

# ------------------------------------------------------------------------- reparameterize
ROWS, CALLS = 200, 100


def _reparameterize(mu, logvar, generator=None):
    eps = torch.randn(mu.shape, generator=generator, dtype=mu.dtype, device=mu.device)
    return mu + torch.exp(0.5 * logvar) * eps


def _draw_latents(d: Draw) -> tuple:
    # |log σ²| ≥ 1.2 keeps σ, σ², 1/σ and 1 apart; different dimensions have different signs.
    logvar = d.tensor(3, low=1.2, high=2.0) * torch.tensor([1.0, -1.0, 1.0])
    mu = d.tensor(3, low=1.0, high=2.0, signed=True)
    return mu.expand(ROWS, 3), logvar.expand(ROWS, 3)


def _takes_generator(call) -> bool:
    try:
        return "generator" in inspect.signature(call.function).parameters
    except (TypeError, ValueError):
        return False


def _observe_noise(call, inputs) -> dict:
    """What makes noise right: its mean, spread, independence, gradient, in training and not."""
    mu, logvar = inputs
    seeded = _takes_generator(call)

    def draw(seed):
        keywords = {"generator": torch.Generator().manual_seed(seed)} if seeded else {}
        z = call(mu, logvar, **keywords)
        if z.shape != mu.shape:
            raise Unusable(
                f"your function returned shape {tuple(z.shape)}, but z has the shape of mu, "
                f"{tuple(mu.shape)}"
            )
        return z

    first = draw(0)
    gradients = call.gradients
    with torch.no_grad():
        z = torch.stack([draw(seed) for seed in range(1, CALLS + 1)])  # (calls, rows, d)
        plain = call(mu, logvar) if not seeded else call(mu, logvar, generator=None)
        again = [draw(7), draw(7)] if seeded else [z[0], z[0]]
    first, plain = first.detach(), plain.detach()
    if plain.shape != mu.shape:
        raise Unusable("without a generator your function returns another shape")

    pooled = first - mu if not (z - mu).abs().max() > 0 else z - mu  # eval without noise
    flat = pooled.reshape(-1, 3)
    spread = flat.std(0)
    safe = spread.clamp_min(1e-12)
    eps = (flat - flat.mean(0)) / safe
    corr = (eps.T @ eps / len(eps))[torch.triu_indices(3, 3, 1).unbind()]
    noise = first - mu
    share = (gradients.get("logvar", torch.zeros(())) * noise).sum(0) / (
        noise.square().sum(0).clamp_min(1e-12)
    )
    unit = gradients.get("mu", torch.zeros(mu.shape)).mean(0)
    return {
        "standard deviation of z": spread,
        "mean of z": flat.mean(0) + mu[0],
        "spread over the batch, as a share of the whole": (
            pooled.reshape(-1, ROWS, 3).std(1).mean(0) / safe
        ),
        "spread from call to call, as a share of the whole": (z - mu).std(0).mean(0) / safe,
        "correlation between the dimensions": corr,
        "dz/dμ": unit,
        "dz/d log σ², as a share of z − μ": share,
        "spread without gradients, as a share of the whole": (plain - mu).std(0) / safe,
        "largest difference of two calls with equal generators": (again[0] - again[1]).abs().max(),
    }


def _noise(mu, generator):
    return torch.randn(mu.shape, generator=generator)


def _sd(logvar):
    return torch.exp(0.5 * logvar)


def _fixed_seed(mu, logvar, generator=None):
    return mu + _sd(logvar) * _noise(mu, torch.Generator().manual_seed(0))


def _mean_in_evaluation(mu, logvar, generator=None):
    if not torch.is_grad_enabled():
        return mu
    return _reparameterize(mu, logvar, generator)


reparameterize = Exercise(
    "reparameterize",
    _reparameterize,
    _draw_latents,
    [
        Mistake(
            "there is no noise: you return μ",
            lambda mu, logvar, generator=None: mu * 1,
        ),
        Mistake(
            "exp(logvar) is the variance σ²: ε is scaled by σ = exp(½ logvar)",
            lambda mu, logvar, generator=None: mu + logvar.exp() * _noise(mu, generator),
        ),
        Mistake(
            "you use logvar itself as the standard deviation: σ = exp(½ logvar)",
            lambda mu, logvar, generator=None: mu + logvar * _noise(mu, generator),
        ),
        Mistake(
            "the noise is not scaled: z = μ + σε, not μ + ε",
            lambda mu, logvar, generator=None: mu + _noise(mu, generator) + 0 * logvar,
        ),
        Mistake(
            "the mean is missing: z = μ + σε",
            lambda mu, logvar, generator=None: _sd(logvar) * _noise(mu, generator) + 0 * mu,
        ),
        Mistake(
            "μ and σ have changed places: z = μ + σε",
            lambda mu, logvar, generator=None: _sd(logvar) + mu * _noise(mu, generator),
        ),
        Mistake(
            "torch.rand is uniform on [0, 1]: ε is normal, torch.randn",
            lambda mu, logvar, generator=None: (
                mu + _sd(logvar) * torch.rand(mu.shape, generator=generator)
            ),
        ),
        Mistake(
            "one number of noise serves the whole batch and all dimensions: draw ε in the shape of "
            "mu",
            lambda mu, logvar, generator=None: (
                mu + _sd(logvar) * torch.randn((), generator=generator)
            ),
        ),
        Mistake(
            "all examples of the batch share one noise vector: draw ε in the shape of mu, (B, d)",
            lambda mu, logvar, generator=None: (
                mu + _sd(logvar) * torch.randn(mu.shape[-1], generator=generator)
            ),
        ),
        Mistake(
            "all dimensions of an example share one noise: draw ε in the shape of mu, (B, d)",
            lambda mu, logvar, generator=None: (
                mu + _sd(logvar) * torch.randn(len(mu), 1, generator=generator)
            ),
        ),
        Mistake(
            "the noise is the same in every call: no fixed seed inside the function",
            _fixed_seed,
        ),
        Mistake(
            "the samples are right, but no gradient passes through them: write μ + σε, outside of "
            "no_grad, without .detach() and without torch.normal(μ, σ)",
            lambda mu, logvar, generator=None: _reparameterize(mu, logvar, generator).detach(),
        ),
        Mistake(
            "the gradient reaches `mu` but not `logvar`: the noise is detached together with σ",
            lambda mu, logvar, generator=None: _reparameterize(mu, logvar.detach(), generator),
        ),
        Mistake(
            "without gradients you return μ: evaluation needs the sample too, the bound is an "
            "average over q in every mode",
            _mean_in_evaluation,
        ),
        Mistake(
            "`generator` is ignored: hand it on to torch.randn, so that a run can be repeated",
            lambda mu, logvar, generator=None: _reparameterize(mu, logvar),
        ),
    ],
    observe=_observe_noise,
    gradients=("mu", "logvar"),
    cases=2,
    tolerances={
        "standard deviation of z": (0.25, 0.02),
        "mean of z": (0.0, 0.5),
        "spread over the batch, as a share of the whole": (0.0, 0.35),
        "spread from call to call, as a share of the whole": (0.0, 0.35),
        "correlation between the dimensions": (0.0, 0.4),
        "dz/dμ": (0.0, 0.1),
        "dz/d log σ², as a share of z − μ": (0.0, 0.1),
        "spread without gradients, as a share of the whole": (0.0, 0.35),
        "largest difference of two calls with equal generators": (0.0, 1e-6),
    },
    digits=1,
    success="mean, spread, independence and gradient of z are right, in training and in evaluation",
)


# ------------------------------------------------------------------------------- the KL term
def _kl_terms(mu, logvar):
    return 0.5 * (mu**2 + logvar.exp() - logvar - 1)  # (B, d)


def _kl(mu, logvar):
    return _kl_standard_normal(Normal(mu, torch.exp(0.5 * logvar)))


def _reverse_kl(mu, logvar):
    q = Normal(mu, torch.exp(0.5 * logvar))
    return kl_normal(standard_normal(mu.shape[-1]), q)


def _draw_kl(d: Draw) -> tuple:
    rows, columns = d.integer(2, 3), d.integer(4, 6)
    if d.integer(1, 2) == 1:
        rows, columns = columns, rows
    logvar = d.tensor(rows, columns, low=0.3, high=1.5, signed=True)
    return d.tensor(rows, columns, low=0.3, high=1.5, signed=True), logvar


kl_standard_normal = Exercise(
    "kl_standard_normal",
    _kl,
    _draw_kl,
    [
        Mistake(
            "the ½ is missing: your value is exactly twice the KL",
            lambda mu, logvar: 2 * _kl(mu, logvar),
        ),
        Mistake(
            "you sum over the batch as well: keep one value per example, the mean over the batch "
            "comes later",
            lambda mu, logvar: _kl(mu, logvar).sum(),
        ),
        Mistake(
            "you average over the batch already: keep one value per example",
            lambda mu, logvar: _kl(mu, logvar).mean(),
        ),
        Mistake(
            "you sum over the examples (axis 0), and get one value per latent: the latents are the "
            "last axis",
            lambda mu, logvar: _kl_terms(mu, logvar).sum(0),
        ),
        Mistake(
            "you average over the latents: the KLs of independent dimensions add up",
            lambda mu, logvar: _kl_terms(mu, logvar).mean(-1),
        ),
        Mistake(
            "you average over everything: sum over the latents, keep one value per example",
            lambda mu, logvar: _kl_terms(mu, logvar).mean(),
        ),
        Mistake("nothing is summed yet: this is one value per latent", _kl_terms),
        Mistake(
            "the sign is turned: a KL is never negative",
            lambda mu, logvar: -_kl(mu, logvar),
        ),
        Mistake(
            "σ stands where σ² belongs: the variance is exp(logvar), not exp(½ logvar)",
            lambda mu, logvar: 0.5 * (mu**2 + torch.exp(0.5 * logvar) - logvar - 1).sum(-1),
        ),
        Mistake(
            "you read logvar as log σ: it is log σ², so the variance is exp(logvar)",
            lambda mu, logvar: _kl(mu, 2 * logvar),
        ),
        Mistake(
            "log σ stands where log σ² belongs: logvar is log σ² already, and enters whole",
            lambda mu, logvar: 0.5 * (mu**2 + logvar.exp() - 0.5 * logvar - 1).sum(-1),
        ),
        Mistake(
            "the −1 is missing: at μ = 0, σ = 1 the KL must be zero",
            lambda mu, logvar: 0.5 * (mu**2 + logvar.exp() - logvar).sum(-1),
        ),
        Mistake(
            "logvar has the wrong sign: a narrow q costs more, not less",
            lambda mu, logvar: 0.5 * (mu**2 + logvar.exp() + logvar - 1).sum(-1),
        ),
        Mistake(
            "logvar is missing: without −log σ² nothing keeps σ from zero",
            lambda mu, logvar: 0.5 * (mu**2 + logvar.exp() - 1).sum(-1),
        ),
        Mistake(
            "μ is not squared",
            lambda mu, logvar: 0.5 * (mu + logvar.exp() - logvar - 1).sum(-1),
        ),
        Mistake(
            "this is the reverse divergence, KL(N(0, I)‖q): the average runs over q",
            _reverse_kl,
        ),
        Mistake(
            "these are bits: in nats the logarithm is natural",
            lambda mu, logvar: _kl(mu, logvar) / math.log(2),
        ),
    ],
    gradients=("mu", "logvar"),
)


# -------------------------------------------------------------------------- the negative ELBO
def _cross_entropy(logits, x):
    return F.binary_cross_entropy_with_logits(logits, x, reduction="none")  # (B, D)


def _negative_elbo(logits, x, mu, logvar):
    return (_kl(mu, logvar) - Bernoulli(logits).log_prob(x)).mean()


def _draw_batch(d: Draw) -> tuple:
    rows, pixels, latents = d.integer(5, 7), d.integer(10, 14), d.integer(2, 4)
    return (
        d.tensor(rows, pixels, low=0.3, high=2.0, signed=True),
        d.tensor(rows, pixels, low=0.0, high=1.0),
        d.tensor(rows, latents, low=0.3, high=1.5, signed=True),
        d.tensor(rows, latents, low=0.3, high=1.5, signed=True),
    )


def _loss_with(reconstruction, kl):
    """The loss with another reduction of its two terms, each given `(B, …)`."""
    return lambda logits, x, mu, logvar: (
        reconstruction(_cross_entropy(logits, x)) + kl(_kl_terms(mu, logvar))
    )


def _right(terms):
    return terms.sum(-1).mean()


negative_elbo = Exercise(
    "negative_elbo",
    _negative_elbo,
    _draw_batch,
    [
        Mistake(
            "the reconstruction is averaged over the pixels (the default of "
            "binary_cross_entropy): the KL now weighs D times too much; sum over the pixels",
            _loss_with(torch.mean, _right),
        ),
        Mistake(
            "the KL is averaged over the latents: it weighs d times too little; sum over the "
            "latents",
            _loss_with(_right, torch.mean),
        ),
        Mistake(
            "pixels and latents are both averaged: the KL weighs D/d times too much; sum over both",
            _loss_with(torch.mean, torch.mean),
        ),
        Mistake(
            "everything is summed, over the batch too: the loss grows with the batch, and with it "
            "the step; average over the batch",
            _loss_with(torch.sum, torch.sum),
        ),
        Mistake(
            "the KL is summed over the batch before it is added: it weighs B times too much",
            _loss_with(_right, torch.sum),
        ),
        Mistake(
            "the reconstruction is summed over the batch, the KL averaged: the KL weighs B times "
            "too little",
            _loss_with(torch.sum, _right),
        ),
        Mistake(
            "the KL is summed over the whole batch and added to each pixel before the mean: it "
            "weighs B·D times too much",
            _loss_with(torch.mean, torch.sum),
        ),
        Mistake(
            "this is one value per example: `backward()` needs one number, the mean over the batch",
            lambda logits, x, mu, logvar: _cross_entropy(logits, x).sum(-1) + _kl(mu, logvar),
        ),
        Mistake(
            "the KL has the wrong sign: the loss pays for it",
            _loss_with(_right, lambda terms: -_right(terms)),
        ),
        Mistake(
            "the KL is missing: this is the loss of an autoencoder",
            _loss_with(_right, lambda terms: 0.0),
        ),
        Mistake(
            "the reconstruction is missing: this is the KL alone",
            _loss_with(lambda terms: 0.0, _right),
        ),
        Mistake(
            "the ½ of the KL is missing",
            _loss_with(_right, lambda terms: 2 * _right(terms)),
        ),
        Mistake(
            "the sigmoid is applied twice: binary_cross_entropy_with_logits takes the logits as "
            "they are",
            lambda logits, x, mu, logvar: (
                _cross_entropy(logits.sigmoid(), x).sum(-1) + _kl(mu, logvar)
            ).mean(),
        ),
        Mistake(
            "the reconstruction has the wrong sign: the loss is minus log p(x|z), plus the KL",
            _loss_with(lambda terms: -_right(terms), _right),
        ),
        Mistake(
            "this is the ELBO, which rises: the loss is minus the ELBO",
            lambda logits, x, mu, logvar: -_negative_elbo(logits, x, mu, logvar),
        ),
    ],
    gradients=("logits", "mu", "logvar"),
)


# ---------------------------------------------------------- the evaluation that forgot to sample
class _Wide(nn.Module):
    """A VAE in miniature whose q is wide and whose decoder is steep: here z and μ differ much."""

    def __init__(self, encoder, decoder, scale) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.Parameter(encoder), nn.Parameter(decoder)
        self.scale = nn.Parameter(scale)

    @property
    def prior(self):
        return standard_normal(self.decoder.shape[0])

    def encode(self, x):
        return Normal(x @ self.encoder, self.scale.expand(len(x), -1))

    def decode(self, z):
        return Bernoulli(z @ self.decoder)


def _draw_evaluation(d: Draw) -> tuple:
    model = _Wide(
        d.tensor(12, 2, low=0.2, high=0.6, signed=True),
        d.tensor(2, 12, low=1.0, high=2.0, signed=True),
        d.tensor(2, low=0.4, high=0.6),
    )
    return model, d.tensor(4000, 12, low=0.0, high=1.0).round()


REPEATS = 4
VARIES = "whether two generators give two values"


def _observe_evaluation(call, inputs) -> dict:
    model, x = inputs
    values = []
    for seed in range(REPEATS):
        torch.default_generator.manual_seed(seed)
        value = call(model, x, torch.Generator().manual_seed(seed)).detach()
        values.append(value)
        if value.ndim:
            return {"": value, VARIES: torch.zeros(())}
    values = torch.stack(values)
    return {"": values.mean(), VARIES: (values.std() > 1e-6).float()}


def _evaluation_loss(model, x, generator):
    q = model.encode(x)
    z = q.sample(generator=generator)
    return (_kl_standard_normal(q) - model.decode(z).log_prob(x)).mean()


def _evaluate_with(loss):
    """An evaluation with q and the noise ε handed to `loss(model, x, q, eps)`."""

    def wrong(model, x, generator):
        q = model.encode(x)
        return loss(model, x, q, torch.randn(q.loc.shape, generator=generator))

    return wrong


evaluation_loss = Exercise(
    "evaluation_loss",
    _evaluation_loss,
    _draw_evaluation,
    [
        Mistake(
            "z is still the mean of q: the bound is an average over q, and decoding the mean alone "
            "makes the number too good",
            _evaluate_with(
                lambda model, x, q, eps: (
                    _kl_standard_normal(q) - model.decode(q.loc).log_prob(x)
                ).mean()
            ),
        ),
        Mistake(
            "z is sampled now, but the KL is gone: without it the number is no bound",
            _evaluate_with(
                lambda model, x, q, eps: -model.decode(q.loc + q.scale * eps).log_prob(x).mean()
            ),
        ),
        Mistake(
            "z is sampled with σ² in place of σ: q.scale is the standard deviation",
            _evaluate_with(
                lambda model, x, q, eps: (
                    _kl_standard_normal(q) - model.decode(q.loc + q.scale**2 * eps).log_prob(x)
                ).mean()
            ),
        ),
        Mistake(
            "z is drawn from the prior: to score x it comes from q(z|x)",
            _evaluate_with(
                lambda model, x, q, eps: (
                    _kl_standard_normal(q) - model.decode(eps).log_prob(x)
                ).mean()
            ),
        ),
        Mistake(
            "the KL has the wrong sign: the loss pays for it",
            _evaluate_with(
                lambda model, x, q, eps: (
                    -_kl_standard_normal(q) - model.decode(q.loc + q.scale * eps).log_prob(x)
                ).mean()
            ),
        ),
        Mistake(
            "this is the ELBO: the loss is minus the ELBO",
            _evaluate_with(
                lambda model, x, q, eps: (
                    model.decode(q.loc + q.scale * eps).log_prob(x) - _kl_standard_normal(q)
                ).mean()
            ),
        ),
        Mistake(
            "this is the sum over the test set: return the mean over the images",
            _evaluate_with(
                lambda model, x, q, eps: (
                    _kl_standard_normal(q) - model.decode(q.loc + q.scale * eps).log_prob(x)
                ).sum()
            ),
        ),
    ],
    observe=_observe_evaluation,
    cases=2,
    tolerances={"": (0.005, 0.15)},
    digits=2,
    success="z is sampled in evaluation too, and the number agrees with the reference",
)

unreduced_loss = Number(
    "unreduced_loss",
    128 * 784,
    0.5,
    [
        Slip(
            128, "that is B, from summing the KL over the batch; the mean runs over the pixels too"
        ),
        Slip(
            784,
            "that is D, from the mean over the pixels; but the KL is also summed over the batch",
        ),
        Slip(
            1 / (128 * 784), "that is how much too little the reconstruction weighs; turn it", 1e-7
        ),
        Slip(
            39.2,
            "that is D/d, from means over pixels and over latents: here the KL is summed",
            0.05,
        ),
        Slip(
            128 * 784 * 20,
            "B and D are right, but d is not in it: over the latents the KL is summed, rightly",
        ),
        Slip(128 + 784, "the two effects multiply"),
        Slip(1, "follow one image: by what is its cross-entropy divided, and by what its KL?"),
        Slip(128 * 20, "the number of latents is not in it: over them the KL is summed, rightly"),
    ],
    nudge="by what is the sum of all cross-entropies divided, and by what the sum of all KLs?",
    success="B·D = 100,352: the mean divides each cross-entropy by B·D and the KL by nothing, so "
    "the KL weighs B·D times what it should",
)


# ------------------------------------------------------------------ log p(x) from K samples
class _Images:
    """A Bernoulli decoder on 150 pixels: its likelihoods underflow in float32."""

    def __init__(self, weight, bias) -> None:
        self.weight, self.bias = weight, bias

    @property
    def prior(self):
        return standard_normal(self.weight.shape[0])

    def decode(self, z):
        return Bernoulli(z @ self.weight + self.bias)


def _draw_images(d: Draw) -> tuple:
    rows, draws = d.integer(3, 4), d.integer(5, 7)
    model = _Images(
        d.tensor(2, 900, low=0.02, high=0.12, signed=True),  # log p(x) below −800: exp() is 0 in
        d.tensor(900, low=1.0, high=3.0, signed=True),  # double precision too
    )
    x = d.tensor(rows, 900, low=0.0, high=1.0).round()
    q = Normal(
        d.tensor(rows, 2, low=0.2, high=1.0, signed=True), d.tensor(rows, 2, low=0.3, high=0.8)
    )
    return model, x, q, d.tensor(draws, rows, 2, low=0.2, high=1.5, signed=True)


def _log_w(model, x, q, z):
    return model.decode(z).log_prob(x) + model.prior.log_prob(z) - q.log_prob(z)  # (K, B)


def _log_mean(log_w):
    return importance_weighted_bound(log_w)


log_p_x = Exercise(
    "log_p_x",
    lambda model, x, q, z: _log_mean(_log_w(model, x, q, z)),
    _draw_images,
    [
        Mistake(
            "this is the mean of the log-weights, the ELBO: take the log of the mean weight",
            lambda model, x, q, z: _log_w(model, x, q, z).mean(0),
        ),
        Mistake(
            "−log K is missing: this is the log of the sum, not of the mean",
            lambda model, x, q, z: torch.logsumexp(_log_w(model, x, q, z), 0),
        ),
        Mistake(
            "exp() of an image's log-likelihood underflows to 0, and log 0 is −∞: use "
            "torch.logsumexp",
            lambda model, x, q, z: _log_w(model, x, q, z).exp().mean(0).log(),
        ),
        Mistake(
            "the prior is forgotten: the weight is p(x|z) p(z) / q(z)",
            lambda model, x, q, z: _log_mean(model.decode(z).log_prob(x) - q.log_prob(z)),
        ),
        Mistake(
            "the proposal is forgotten: the samples come from q, so each is divided by q(z)",
            lambda model, x, q, z: _log_mean(model.decode(z).log_prob(x) + model.prior.log_prob(z)),
        ),
        Mistake(
            "prior and proposal are both forgotten: the average of p(x|z) is p(x) only for samples "
            "from the prior",
            lambda model, x, q, z: _log_mean(model.decode(z).log_prob(x)),
        ),
        Mistake(
            "log q(z) has the wrong sign: the weight divides by q(z)",
            lambda model, x, q, z: _log_mean(
                model.decode(z).log_prob(x) + model.prior.log_prob(z) + q.log_prob(z)
            ),
        ),
        Mistake(
            "the KL in closed form does not belong inside the weights: each sample needs its own "
            "log p(z) − log q(z)",
            lambda model, x, q, z: _log_mean(model.decode(z).log_prob(x) - _kl_standard_normal(q)),
        ),
        Mistake(
            "you reduce over the images (axis 1): the K samples are axis 0",
            lambda model, x, q, z: _log_mean(_log_w(model, x, q, z).T),
        ),
        Mistake(
            "this is one number for the whole batch: keep one value per image",
            lambda model, x, q, z: _log_mean(_log_w(model, x, q, z)).mean(),
        ),
        Mistake(
            "the sign is turned: this is −log p(x)",
            lambda model, x, q, z: -_log_mean(_log_w(model, x, q, z)),
        ),
    ],
    cases=8,
)

# ------------------------------------------------------------------------------ the first loss
initial_loss = Number(
    "initial_loss",
    784 * math.log(2),
    0.5,
    [
        Slip(784 * 0.5, "you added up ½ for each pixel: the price of a pixel is −log ½"),
        Slip(784, "that is in bits, with log₂: in nats each pixel costs ln 2"),
        Slip(math.log(2), "that is the price of one pixel: an image has 784", 0.01),
        Slip(1, "that is one pixel in bits: an image has 784 pixels, each costs ln 2 nats", 0.01),
        Slip(-784 * math.log(2), "that is the log-likelihood: the loss is minus it", 1.0),
        Slip(128 * 784 * math.log(2), "that is a batch of 128: the loss is per image", 20.0),
        Slip(784 * math.log10(2), "that is with the logarithm of base 10: nats are natural", 0.5),
        Slip(
            549.5,
            "so much a freshly initialized network shows, because it is not quite undecided: the "
            "question is about exactly ½ everywhere",
            1.5,
        ),
        Slip(205.8, "that is the best fixed picture, the mean image: ½ everywhere costs more", 1.0),
        Slip(0, "only a perfect prediction of a black-and-white image costs nothing", 0.01),
    ],
    nudge="each of the 784 pixels costs −log ½, whatever its value is",
    success="784 ln 2 = 543.4 nats; a fresh network shows 549 to 550",
)

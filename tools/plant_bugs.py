"""Do the tests catch mistakes? Plant known ones in a copy of the package, one at a time, and see.

    python tools/plant_bugs.py            all of them; prints the table bug → failing test
    python tools/plant_bugs.py KEY …      these

Every mistake is one that was published or that students make. A bug that no test catches ends the
run with an error. The copy is thrown away; the working tree is not touched.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Bug:
    """Replace `old` by `new` in a module; the tests of `suite` must notice."""

    key: str
    what: str
    module: str
    old: str
    new: str
    suite: str

    def plant(self, text: str) -> str:
        """The module's text with the bug in it; ValueError if the place is not found once."""
        if text.count(self.old) != 1:
            raise ValueError(f"{self.key}: {self.old!r} occurs {text.count(self.old)} times")
        return text.replace(self.old, self.new)


B, D, O, T, X, G = (
    "distributions/basic",
    "distributions",
    "objectives",
    "training",
    "exact",
    "diagnostics",
)
A, R = "autoencoders", "reparameterization"
F, I = "distributions/folding", "inputs"
PX, PT = "distributions/pixels", "distributions_pixels"
GA, GT = "distributions/gaussian", "distributions_gaussian"
GL, AG, PA, SA, AT = (
    "diagnostics/ledger",
    "diagnostics/aggregate",
    "diagnostics/paths",
    "diagnostics/samples",
    "diagnostics_aggregate",
)
CT, CS = "distributions/counts", "distributions_counts"
KL0 = "(0.5 * (q.loc.square() + q.scale.square() - 1) - q.scale.log()).sum(-1)"
BUGS = [
    Bug("kl-half", "KL without its ½", B, KL0, KL0.replace("0.5 * ", "1.0 * "), D),
    Bug("kl-log", "½ missing on the logarithm only", B, KL0, KL0.replace("- q.scale.log()", "- 2 * q.scale.log()"), D),
    Bug("kl-variance", "σ where σ² belongs", B, KL0, KL0.replace("q.scale.square()", "q.scale"), D),
    Bug("kl-mean", "mean over latent dimensions", B, KL0, KL0.replace("sum(-1)", "mean(-1)"), D),
    Bug("kl-axis", "sum over the batch", B, KL0, KL0.replace("sum(-1)", "sum(0)"), D),
    Bug("kl-one", "the −1 forgotten", B, KL0, KL0.replace(" - 1)", ")"), D),
    Bug("kl-swapped", "KL(p‖q) for KL(q‖p)", B, "    check_event(q.loc, p.loc)\n", "    q, p = p, q\n    check_event(q.loc, p.loc)\n", D),
    Bug("log2", "log₂ of π in place of log 2π", B, "LOG_2PI = math.log(2 * math.pi)", "LOG_2PI = math.log2(math.pi)", D),
    Bug("density-half", "½ missing on the square", B, "0.5 * (standardized.square() + LOG_2PI)", "(standardized.square() + 0.5 * LOG_2PI)", D),
    Bug("density-log", "½ missing on log σ²", B, "+ self.scale.log()).sum(-1)\n        if", "+ 2 * self.scale.log()).sum(-1)\n        if", D),
    Bug("density-pixels", "mean over the pixels of a Gaussian", B, "+ self.scale.log()).sum(-1)\n        if", "+ self.scale.log()).mean(-1)\n        if", D),
    Bug("sample-variance", "z = μ + σ² ε", B, "return self.loc + self.scale * eps", "return self.loc + self.scale**2 * eps", D),
    Bug("sample-shared", "one ε for the whole batch", B, "torch.randn(shape, generator", "torch.randn(shape[-1:], generator", D),
    Bug("sample-detached", "the sample cut from the graph", B, "return self.loc + self.scale * eps", "return (self.loc + self.scale * eps).detach()", D),
    Bug("bce-mean", "cross-entropy averaged over pixels", B, 'reduction="none").sum(-1)', 'reduction="none").mean(-1)', D),
    Bug("bce-swapped", "targets and logits swapped", B, "with_logits(logits, x,", "with_logits(x, logits,", D),
    Bug("range", "images outside [0, 1] accepted", B, "    if low >= 0 and high <= 1:\n", "    if True:\n", D),
    Bug("elbo-sign", "reconstruction + KL", O, "return self.reconstruction - self.kl", "return self.reconstruction + self.kl", O),
    Bug("a-no-prior", "log p(z) forgotten in form A", O, " + model.prior.log_prob(z) - q.log_prob(z)", " - q.log_prob(z)", O),
    Bug("a-sign", "+ log q(z) in form A", O, " + model.prior.log_prob(z) - q.log_prob(z)", " + model.prior.log_prob(z) + q.log_prob(z)", O),
    Bug("a-detached", "q's density without gradient in form A", O, "- q.log_prob(z)", "- q.detach().log_prob(z)", O),
    Bug("no-1-over-l", "sum over samples without 1/L", O, "_log_p_x_given_z(model, x, z).mean(0)", "_log_p_x_given_z(model, x, z).sum(0)", O),
    Bug("iw-mean-log", "mean of logs for log of mean", O, "torch.logsumexp(log_w, dim=0) - math.log(len(log_w))", "log_w.mean(0)", O),
    Bug("iw-no-k", "−log K forgotten", O, "torch.logsumexp(log_w, dim=0) - math.log(len(log_w))", "torch.logsumexp(log_w, dim=0)", O),
    Bug("iw-overflow", "exp before log", O, "torch.logsumexp(log_w, dim=0) - math.log(len(log_w))", "log_w.exp().mean(0).log()", O),
    Bug("logvar", "exp(logvar) for σ", "models", "(0.5 * logvar).exp())  #", "logvar.exp())  #", "models"),
    Bug("eval-mean", "evaluation with z = μ", T, "        elbo_terms(model, part, model.encode(part), samples", "        elbo_terms(model, part, type(model.prior)(model.encode(part).loc, 1e-9 * model.encode(part).scale), samples", T),
    Bug("fit-sum", "sum over the batch: a step 128 times too long", T, "terms.reconstruction).mean()  #", "terms.reconstruction).sum()  #", T),
    Bug("fit-zero-grad", "gradients never reset", T, "                optimizer.zero_grad()\n                loss", "                loss", T),
    Bug("fit-kl-weight", "the KL weight on the wrong term", T, "(kl_weight * terms.kl - terms.reconstruction)", "(terms.kl - kl_weight * terms.reconstruction)", T),
    Bug("history", "the last, smaller batch weighs as much as the others", T, "(totals / len(x)).tolist()", "(totals / (steps * batch_size)).tolist()", T),
    Bug("nan", "a NaN loss trains on", T, "if not torch.isfinite(loss):", "if False:", T),
    Bug("posterior-prior", "the prior's 1 missing in the posterior precision", X, "precision = eye + self.weight.T", "precision = self.weight.T", X),
    Bug("marginal-variance", "σ for σ² in the marginal", X, "self.sigma**2 * eye)", "self.sigma * eye)", X),
    Bug("elbo-spread", "the spread of z forgotten in the expected square", X, "+ (q.scale**2 @ self.weight.T**2).sum(-1)", "", X),
    Bug("em-covariance", "E zzᵀ without the covariance", X, "ezz = ez.T @ ez + posterior.covariance_matrix.sum(0)", "ezz = ez.T @ ez", X),
    Bug("bits", "log₁₀ for log 2 in bits per dimension", GL, "nats / (dimensions * math.log(2))", "nats / (dimensions * math.log(10))", G),
    Bug("refine-model", "refinement that keeps a gap: σ never moves", GL, "[loc, log_scale])\n        optimizer.step()", "[loc, log_scale])\n        log_scale.grad = None\n        optimizer.step()", G),
    Bug("ae-mean", "error averaged over the pixels", A, "(x - model(x)).square().sum(-1)", "(x - model(x)).square().mean(-1)", A),
    Bug("pca-smallest", "the smallest eigenvalues for the largest", A, "vectors[:, -d:].flip(1)", "vectors[:, :d]", A),
    Bug("wiener-sigma", "σ for σ² in the Wiener filter", A, "covariance + sigma**2 * torch.eye(", "covariance + sigma * torch.eye(", A),
    Bug("denoise-target", "the denoiser's target is noisy as well", A, "(batch - model.decode(model.encode(seen)))", "(seen - model.decode(model.encode(seen)))", A),
    Bug("contract-mean", "slopes averaged over the pixels", A, "torch.stack(slopes).square().sum((0, 2))", "torch.stack(slopes).square().sum(0).mean(-1)", A),
    Bug("nearest", "the farthest digit for the nearest", A, "torch.cdist(images, to).min(1)", "torch.cdist(images, to).max(1)", A),
    Bug("lower", "Σ ε where L ε belongs", R, "(self.scale_tril @ eps[..., None])", "(self.covariance @ eps[..., None])", R),
    Bug("logdet-half", "log|Σ| without its 2", R, "return 2 * self.scale_tril.diagonal", "return self.scale_tril.diagonal", R),
    Bug("kl-d", "−d forgotten in the KL of a full covariance", R, "0.5 * (squares - q.loc.shape[-1] - q.log_det)", "0.5 * (squares - q.log_det)", R),
    Bug("exp-rate", "exponential: times the rate", R, "return -torch.log1p(-u) / rate\n\n\ndef cauchy", "return -torch.log1p(-u) * rate\n\n\ndef cauchy", R),
    Bug("implicit-sign", "implicit slope with the wrong sign", R, "return z - (height", "return z + (height", R),
    Bug("no-exp", "a diagonal of L that may touch zero", R, "torch.diag_embed(diagonal.exp())", "torch.diag_embed(diagonal.abs() + 1e-3)", R),
    Bug("gumbel-heat", "temperature on the logits only", R, "torch.softmax((logits + gumbel(u)) / temperature, -1)", "torch.softmax(logits / temperature + gumbel(u), -1)", R),
    Bug("fold-order", "samples and batch swapped when unfolded", F, "value.reshape(*batch, *value.shape[1:]))", "value.reshape(*batch[::-1], *value.shape[1:]).transpose(0, len(batch) - 1))", "folding"),
    Bug("fold-drop", "the sample axis dropped when unfolded", "models", "unfold(p, z.shape[:-1])", "unfold(p, z.shape[1:-1])", "folding"),
    Bug("fold-samples", "only the first sample is decoded", "models", "rows = z.reshape(-1, self.latent_dim)", "rows = z[:1].reshape(-1, self.latent_dim)", "folding"),
    Bug("fold-rows", "a foreign density read column by column", F, "value.expand(shape).reshape(*extra, rows, self.dim)", "value.expand(shape).transpose(-2, -3).reshape(*extra, rows, self.dim)", "folding"),
    Bug("torch-variance", "torch's variance taken for its σ", F, "Normal(inner.loc, inner.scale)", "Normal(inner.loc, inner.variance)", "own_networks"),
    Bug("torch-probs", "probabilities taken for logits", F, "Bernoulli(inner.logits)", "Bernoulli(inner.probs)", "folding"),
    Bug("pixel-scores", "a number for each pixel is averaged", O, "    if value.shape != expected:\n", "    if False:\n", "own_networks"),
    Bug("nan-density", "a point mass has the density NaN", B, "        if _any_nan(log_density):\n", "        if False:\n", D),
    Bug("scale-named", "the largest scale blamed", B, "in_full(scale.min())", "in_full(scale.max())", D),
    Bug("rounded", "1.0000001 reads 1", B, 'return str(number).removesuffix(".0")', 'return f"{float(number):.4g}"', D),
    Bug("one-by-one", "no batches of one", B, "    if whole < 1:\n", "    if whole <= 1:\n", T),
    Bug("binarize", "pixels thresholded, not drawn", T, "batch = torch.bernoulli(batch, generator=generator)", "batch = (batch > 0.5).to(batch.dtype)", T),
    Bug("history-weight", "a history whose KL carries its weight", T, "terms.kl.sum()]).detach()", "kl_weight * terms.kl.sum()]).detach()", T),
    Bug("one-cycle", "a schedule longer than the run", T, "total_steps=epochs * steps)", "total_steps=epochs * steps + 1)", T),
    Bug("time-left", "the time of all epochs as the time left", T, "/ k * (total - k)", "/ k * total", T),
    Bug("lost-history", "an interruption loses the history", T, "        error.history = history\n", "", T),
    Bug("dropout", "evaluation with dropout and batch statistics", T, "with _mode(model, training=False):", "with _mode(model, training=True):", "own_networks"),
    Bug("mode-kept", "the mode of the model is not given back", T, "            module.training = mode\n", "            pass\n", "own_networks"),
    Bug("no-grad", "fit under no_grad fails in the library", I, "    if not torch.is_grad_enabled():\n", "    if False:\n", I),
    Bug("dtype", "float64 data fail in the library", I, "    if theirs and x.dtype not in theirs:\n", "    if False:\n", I),
    Bug("cb-constant", "the continuous Bernoulli's constant forgotten", PX, "(bernoulli + continuous_bernoulli_log_constant(logits)).sum(-1)", "bernoulli.sum(-1)", PT),
    Bug("cb-half", "tanh(a) for tanh(a/2)", PX, "a.log() - torch.tanh(a / 2).log()", "a.log() - torch.tanh(a).log()", PT),
    Bug("cb-series", "no series near ½", PX, "    small = logits.abs() < _SERIES_BELOW\n    # Each", "    small = logits.abs() < 1e-9\n    # Each", PT),
    Bug("cb-mean", "λ taken for the mean", PX, "return continuous_bernoulli_mean(self.logits)", "return self.logits.sigmoid()", PT),
    Bug("cb-mirror", "draws of the mirrored pixel", PX, "torch.where(a > 0, 1 - x, x)", "torch.where(a > 0, x, 1 - x)", PT),
    Bug("level-norm", "categorical logits not normalized", PX, "log_p = self.logits.log_softmax(-1)", "log_p = self.logits.clone()", PT),
    Bug("level-axis", "a softmax over the pixels", PX, "return self.logits.softmax(-1)", "return self.logits.softmax(-2)", PT),
    Bug("edge-low", "no tail in the lowest bin", PX, "above = torch.where(first, 0.0, F.logsigmoid(-lower))", "above = F.logsigmoid(-lower)", PT),
    Bug("edge-high", "no tail in the highest bin", PX, "below = torch.where(last, 0.0, F.logsigmoid(upper))", "below = F.logsigmoid(upper)", PT),
    Bug("bin-width", "bins of the width 1/K", PX, "return 0.5 / (self.levels - 1)", "return 0.5 / self.levels", PT),
    Bug("bin-round", "draws rounded down", PX, "(y.clamp(0, 1) * (self.levels - 1)).round()", "(y.clamp(0, 1) * (self.levels - 1)).floor()", PT),
    Bug("poisson-rate", "the rate forgotten", CT, "k * log_rate - log_rate.exp() - torch", "k * log_rate - torch", CS),
    Bug("poisson-factorial", "k! forgotten", CT, "log_rate.exp() - torch.lgamma(k + 1)", "log_rate.exp() - 0 * k", CS),
    Bug("nb-overflow", "log Γ at every dispersion", CT, "large = r >= _STIRLING_FROM", "large = r >= 1e12", CS),
    Bug("nb-dispersion", "dispersion for its inverse", CT, "rate = -(log_r.exp() + k) * F.logsigmoid(log_r - log_mean)", "rate = -((-log_r).exp() + k) * F.logsigmoid(log_r - log_mean)", CS),
    Bug("nb-draws", "Poisson draws for the negative binomial", CT, "torch._standard_gamma(r, generator=generator) / r", "torch.ones_like(r)", CS),
    Bug("zinb-zero", "zeros of one kind only", CT, "torch.where(k == 0, torch.logaddexp(F.logsigmoid(a), kept), kept)", "torch.where(k == 0, F.logsigmoid(a), kept)", CS),
    Bug("zinb-rest", "1 − π forgotten on positive counts", CT, "kept = F.logsigmoid(-a) + _negative_binomial(", "kept = _negative_binomial(", CS),
    Bug("zinb-mean", "the mean with the extra zeros left out", CT, "torch.sigmoid(-self.zero_logits) * self.log_mean.exp()", "self.log_mean.exp()", CS),
    Bug("bits-bins", "the bins of a density forgotten", GL, 'bits + math.log2(levels) if of == "dequantized" else bits', "bits", G),
    Bug("grey-floor", "a floor of the white pixels alone", GL, "(torch.xlogy(x, x) + torch.special.xlog1py(1 - x, -x))", "torch.xlogy(x, x)", G),
    Bug("mean-image", "the test images' own mean", GL, "mean = train.mean(0)", "mean = test.mean(0)", G),
    Bug("grid-step", "a sum over z without its step", X, "prior.log_prob(z) + math.log(2 * half_width / (points - 1))", "prior.log_prob(z)", "count_model"),
    Bug("agg-n", "a sum of the posteriors, not their average", AG, "(mixture.to(value.dtype) - math.log(len(self.loc)))", "mixture.to(value.dtype)", AT),
    Bug("agg-variance", "1/σ for 1/σ² in the mixture", AG, "self.scale.double().pow(-2)", "self.scale.double().pow(-1)", AT),
    Bug("agg-within", "moments without the spread within", AG, "return within + centred.T", "return 0 * within + centred.T", AT),
    Bug("agg-scale", "the scale factor without the spread of the means", AG, "- self.mean.mean().square()).rsqrt()", "- self.mean.square().mean()).rsqrt()", AT),
    Bug("info-weighted", "the batch divided by N in place of N M", AG, "batch_size * (n if how", "1 * (n if how", AT),
    Bug("info-own", "the own component weighed like the others", AG, ".fill_diagonal_(-math.log(n))", "", AT),
    Bug("split-prior", "the mismatch against the posterior", AG, "mismatch = (log_mixture - prior.log_prob(z))", "mismatch = (log_mixture - components.log_prob(z))", AT),
    Bug("hole-sign", "the share of points above the threshold", AG, "(q.log_prob(z) < threshold)", "(q.log_prob(z) > threshold)", AT),
    Bug("grid-edges", "a grid through the edges of the cells", PA, "+ 0.5) / n", "+ 1.0) / (n + 1)", AT),
    Bug("slerp-angle", "cosine for angle", PA, "angle = torch.acos(cosine)", "angle = 1 - cosine", AT),
    Bug("cost-sign", "dense places charged", PA, "(typical - q.log_prob(middle))", "(q.log_prob(middle) - typical)", AT),
    Bug("path-ends", "frames that never arrive", PA, "torch.linspace(0, 1, frames, dtype=start.dtype)", "torch.arange(frames, dtype=start.dtype) / frames", AT),
    Bug("ball-self", "balls that reach one neighbour less", SA, "kthvalue(neighbours + 1", "kthvalue(neighbours", AT),
    Bug("coverage", "coverage and precision exchanged", SA, "inside.any(0)", "inside.any(1)", AT),
    Bug("optimal-sum", "a sum of squares for their mean", GA, "variance = squares.mean()", "variance = squares.sum(-1).mean()", GT),
    Bug("optimal-half", "log σ² without its ½", GA, "-0.5 * (squares / variance + variance.log() + LOG_2PI).sum(-1)", "-(0.5 * squares / variance + variance.log() + 0.5 * LOG_2PI).sum(-1)", GT),
    Bug("optimal-floor", "an exact fit without a floor", GA, "squares.mean().clamp(min=self.min_sigma**2)", "squares.mean()", GT),
    Bug("laplace-two", "log b for log 2b", GA, "(2 * self.scale).log()).sum(-1)", "self.scale.log()).sum(-1)", GT),
    Bug("laplace-square", "a squared error under a Laplace law", GA, "(value - self.loc).abs() / self.scale", "(value - self.loc).square() / self.scale", GT),
    Bug("laplace-draws", "draws of one sign", GA, "* (up - down)", "* up", GT),
    Bug("rank-variance", "σ² for σ in the factor", GA, "(self.factor / self.scale[..., None]).double()", "(self.factor / self.scale[..., None].square()).double()", GT),
    Bug("rank-det", "the determinant of the diagonal alone", GA, "(lower.diagonal(dim1=-2, dim2=-1).log().sum(-1) + self.scale.log().sum(-1))", "(0 * lower.diagonal(dim1=-2, dim2=-1).log().sum(-1) + self.scale.log().sum(-1))", GT),
    Bug("rank-ridge", "the strengths of the directions for free", GA, "square().sum(-1) + w.square().sum((-2, -1))", "square().sum(-1)", GT),
    Bug("rank-draws", "draws without the common directions", GA, "loc + (factor @ common)[..., 0]", "loc + 0 * (factor @ common)[..., 0]", GT),
    Bug("read-half", "σ² = w/a", "dictionary", "math.sqrt(ratio / 2)", "math.sqrt(ratio)", "dictionary"),
    Bug("read-mean", "a mean over D that multiplies", "dictionary", "(error_weight / error_mean_over)", "(error_weight * error_mean_over)", "dictionary"),
    Bug("read-latents", "a mean over d forgotten", "dictionary", "(kl_weight / kl_mean_over)", "kl_weight", "dictionary"),
    Bug("read-beta", "β = σ/σ₀ for a Gaussian", "dictionary", 'ratio**2 if self.law == "Gaussian" else ratio', "ratio", "dictionary"),
    Bug("dequantize-k", "K − 1 bins for K levels", "data", "torch.minimum((k + u) / levels,", "torch.minimum((k + u) / (levels - 1),", "data"),
    Bug("dequantize-up", "rounding into the next bin", "data", "torch.minimum((k + u) / levels, torch.nextafter((k + 1) / levels, 0 * k))", "(k + u) / levels", "data"),
    Bug("calibrate-sum", "σ² summed over the entries", T, "variance = variance.mean()", "variance = variance.sum()", T),
    Bug("calibrate-mu", "σ from reconstructions at z = μ", T, "z = model.encode(part).rsample(generator=generator)", "z = model.encode(part).loc", T),
    Bug("set-floor", "the floor added twice", "models", "(sigma - self.min_sigma).log()", "sigma.log()", "models"),
    Bug("sheet-root", "sin(z_u) for sin(√2 z_u)", X, "torch.sin(math.sqrt(2) * z_u)", "torch.sin(z_u)", "sheet"),
    Bug("sheet-pull", "the prior's pull forgotten", X, "z_u = u[:, None] / variance +", "z_u = u[:, None] +", "sheet"),
    Bug("sheet-across", "the direction across forgotten", X, "(u.square() + v.square()) / variance", "u.square() / variance", "sheet"),
]  # fmt: skip


def run(bug: Bug, folder: Path) -> str | None:
    """Plant the bug in a fresh copy of the package; the name of a test that fails, or None."""
    module = folder / "vae_tutorial" / f"{bug.module}.py"
    original = (ROOT / "vae_tutorial" / f"{bug.module}.py").read_text(encoding="utf8")
    module.write_text(bug.plant(original), encoding="utf8")
    command = [sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "-p", "no:xdist"]
    command += ["-p", "no:nbval", "-o", "addopts=", f"tests/test_{bug.suite}.py"]
    env = os.environ | {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(folder)}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
    module.write_text(original, encoding="utf8")
    failed = re.search(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.M)
    if done.returncode == 1 and failed:
        return failed[1]
    if done.returncode == 0:
        return None
    raise RuntimeError(f"{bug.key}: pytest ended with {done.returncode}\n{done.stdout[-2000:]}")


def main(argv: list[str] | None = None) -> int:
    """Plant the named bugs (default all), print the table; 1 if one was not caught."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("keys", nargs="*", help="default: all")
    keys = parser.parse_args(argv).keys
    known = {bug.key: bug for bug in BUGS}
    if unknown := set(keys) - set(known):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(known)}")
    missed = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in ("vae_tutorial", "tests"):
            ignore = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / part, folder / part, ignore=ignore)
        for part in ("conftest.py", "pyproject.toml", "requirements.txt", "tools"):
            copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
            copy(ROOT / part, folder / part)
        for bug in BUGS if not keys else [known[key] for key in keys]:
            test = run(bug, folder)
            missed += [] if test else [bug.key]
            print(f"{bug.key:<18}{bug.what:<54}{test or 'NOT CAUGHT'}", flush=True)
    print(f"{len(missed)} not caught" if missed else "every planted bug was caught")
    return bool(missed)


if __name__ == "__main__":
    sys.exit(main())

"""Speed, side by side: what the book's code costs against what a reader would write instead.

    make bench                     the table, and _build/bench.json
    python benchmarks/bench.py --small    a size at which it cannot rot unseen (a test runs it)

Contestants of one comparison run interleaved in one process and on one thread; the table shows
medians of process CPU time, and ratios. Only ratios mean something: machines differ.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from vae_tutorial.models import VAE, bernoulli_vae
from vae_tutorial.objectives import log_p_x
from vae_tutorial.training import evaluate, fit

ROOT = Path(__file__).resolve().parent.parent
SIZES = (784, 400, 20)  # D, hidden width, d
BATCH = 128


# ---- training: the classic loop, the book's, and the matrix products that both must do ----


def to_tensor(picture: Image.Image) -> torch.Tensor:
    """A picture of any mode as (channels, height, width), bytes scaled to [0, 1].

    What torchvision's `ToTensor` does, which the classic loop uses and the book does not need: it
    has to ask each picture for its mode, size and bands, and takes a little longer still.
    """
    kinds = {"I": np.int32, "I;16": np.int16, "F": np.float32}
    pixels = torch.from_numpy(np.array(picture, kinds.get(picture.mode, np.uint8), copy=True))
    width, height = picture.size
    pixels = pixels.view(height, width, len(picture.getbands())).permute((2, 0, 1)).contiguous()
    return pixels.to(torch.get_default_dtype()).div(255) if pixels.dtype == torch.uint8 else pixels


class PictureFiles(Dataset):
    """Bytes and labels, handed out one PIL picture at a time, as torchvision's MNIST is."""

    def __init__(self, x: torch.Tensor) -> None:
        self.data = (255 * x).round().to(torch.uint8).reshape(-1, 28, 28)
        self.targets = torch.zeros(len(x), dtype=torch.int64)

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        picture, label = Image.fromarray(self.data[i].numpy()), int(self.targets[i])
        return to_tensor(picture), label


class ClassicVAE(nn.Module):
    """784-400-20 with probabilities at the output, as the classic example has it."""

    def __init__(self) -> None:
        super().__init__()
        D, hidden, d = SIZES
        self.inner, self.mean, self.logvar = (
            nn.Linear(D, hidden),
            nn.Linear(hidden, d),
            nn.Linear(hidden, d),
        )
        self.outer, self.pixels = nn.Linear(d, hidden), nn.Linear(hidden, D)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        h = F.relu(self.inner(x))
        mu, logvar = self.mean(h), self.logvar(h)
        z = mu + torch.exp(0.5 * logvar) * torch.randn_like(mu)
        return torch.sigmoid(self.pixels(F.relu(self.outer(z)))), mu, logvar


def classic_epoch(model: ClassicVAE, adam: torch.optim.Optimizer, loader: DataLoader) -> float:
    """One epoch as in the classic example: BCE on probabilities, `.item()` at every step."""
    total = 0.0
    for batch, _ in loader:
        x = batch.view(-1, SIZES[0])
        adam.zero_grad()
        p, mu, logvar = model(x)
        bce = F.binary_cross_entropy(p, x, reduction="sum")
        loss = bce - 0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
        loss.backward()
        total += loss.item()
        adam.step()
    return total / len(loader.dataset)


@torch.no_grad()
def classic_test(model: ClassicVAE, x: torch.Tensor) -> float:
    """Test −ELBO of the classic model, nats, one sample of z."""
    p, mu, logvar = model(x)
    bce = F.binary_cross_entropy(p, x, reduction="none").sum(1)
    return float((bce - 0.5 * (1 + logvar - mu.square() - logvar.exp()).sum(1)).mean())


def floor_epoch(n: int) -> None:
    """The matrix products of one epoch and nothing else: forward, and both gradients."""
    D, hidden, d = SIZES
    layers = [(D, hidden), (hidden, 2 * d), (d, hidden), (hidden, D)]
    tensors = [(torch.ones(BATCH, a), torch.ones(b, a), torch.ones(BATCH, b)) for a, b in layers]
    for _ in range(-(-n // BATCH)):
        for k, (x, w, y) in enumerate(tensors):
            x @ w.T
            y.T @ x
            if k:  # the data need no gradient
                y @ w


# ---- measuring ----


def interleaved(contestants: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median CPU seconds of each contestant, one after the other in every round."""
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, run in contestants.items():
            start = time.process_time()
            run()
            seconds[name].append(time.process_time() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def bench_epoch(x: torch.Tensor, rounds: int) -> list[dict]:
    """One epoch of training: the classic loop, `fit`, and the floor."""
    torch.manual_seed(0)
    classic = ClassicVAE()
    adam = torch.optim.Adam(classic.parameters(), lr=1e-3)
    loader = DataLoader(PictureFiles(x), batch_size=BATCH, shuffle=True)
    g = torch.Generator().manual_seed(0)
    ours = bernoulli_vae(SIZES[0], [SIZES[1]], SIZES[2], generator=g)
    fit(ours, x[:BATCH], epochs=1, generator=g, show_progress=False)  # Adam's import is not timed
    seconds = interleaved(
        {
            "classic loop": lambda: classic_epoch(classic, adam, loader),
            "fit": lambda: fit(ours, x, epochs=1, generator=g, show_progress=False),
            "matrix products": lambda: floor_epoch(len(x)),
        },
        rounds,
    )
    return [
        ratio("one epoch", "classic loop", "fit", seconds, "at least 2", lambda r: r >= 2),
        ratio("one epoch", "fit", "matrix products", seconds, "at most 1.8", lambda r: r <= 1.8),
    ]


def bench_target(x: torch.Tensor, test: torch.Tensor, target: float, limit: int) -> list[dict]:
    """Time to a test −ELBO: epochs of the classic loop against one-cycle `fit`."""
    torch.manual_seed(0)
    classic = ClassicVAE()
    adam = torch.optim.Adam(classic.parameters(), lr=1e-3)
    loader = DataLoader(PictureFiles(x), batch_size=BATCH, shuffle=True)
    slow, reached, epochs = 0.0, math.inf, 0
    while reached > target and epochs < limit:
        start = time.process_time()
        classic_epoch(classic, adam, loader)
        slow += time.process_time() - start
        epochs += 1
        reached = classic_test(classic, test)

    g = torch.Generator().manual_seed(0)
    ours = bernoulli_vae(SIZES[0], [SIZES[1]], SIZES[2], generator=g)
    start = time.process_time()
    fit(ours, x, epochs=4, lr=1e-2, one_cycle=True, generator=g, show_progress=False)
    fast = time.process_time() - start
    final = -float(evaluate(ours, test, generator=g).elbo.mean())
    name = f"to a test −ELBO of {target:g}: {epochs} classic epochs ({reached:.2f}), "
    name += f"4 one-cycle ({final:.2f})"
    seconds = {"classic loop": slow, "one-cycle fit": fast}
    good = final <= target
    row = ratio(name, "classic loop", "one-cycle fit", seconds, "at least 4", lambda r: r >= 4)
    return [row | {"met": row["met"] and good and reached <= target}]


@torch.no_grad()
def naive_log_p_x(model: VAE, x: torch.Tensor, samples: int) -> torch.Tensor:
    """All images times all samples at once, as one would write it first."""
    q = model.encode(x)
    expanded = x.expand(samples, *x.shape)
    z = q.loc + q.scale * torch.randn(samples, *q.loc.shape)
    prior = torch.distributions.Normal(torch.zeros_like(q.loc), torch.ones_like(q.loc))
    log_w = -F.binary_cross_entropy_with_logits(
        model.decode(z).logits, expanded, reduction="none"
    ).sum(-1)
    log_w += prior.log_prob(z).sum(-1)
    log_w -= torch.distributions.Normal(q.loc, q.scale).log_prob(z).sum(-1)
    return torch.logsumexp(log_w, 0) - math.log(samples)


def bench_log_p_x(x: torch.Tensor, samples: int, rounds: int) -> list[dict]:
    """log p(x) by importance sampling, per row of the decoder."""
    g = torch.Generator().manual_seed(0)
    model = bernoulli_vae(SIZES[0], [SIZES[1]], SIZES[2], generator=g)
    with torch.no_grad():
        q = model.encode(x)
    seconds = interleaved(
        {
            "naive expand": lambda: naive_log_p_x(model, x, samples),
            "log_p_x": lambda: log_p_x(model, x, q, samples=samples, generator=g),
        },
        rounds,
    )
    rows = len(x) * samples
    name = f"log p(x), {len(x)} images × {samples} samples, per row"
    per_row = {key: value / rows for key, value in seconds.items()}
    return [ratio(name, "naive expand", "log_p_x", per_row, "at least 1", lambda r: r >= 1)]


def bench_import(rounds: int) -> list[dict]:
    """`import vae_tutorial` with its core modules against `import torch`, wall seconds."""
    core = "from vae_tutorial import distributions, exact, models, objectives, training"
    seconds: dict[str, list[float]] = {"import torch": [], "import vae_tutorial": []}
    for _ in range(rounds):
        for name, code in (
            ("import torch", "import torch"),
            ("import vae_tutorial", f"import torch; import vae_tutorial; {core}"),
        ):
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
            seconds[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    return [
        ratio(
            "import",
            "import vae_tutorial",
            "import torch",
            medians,
            "at most 1.25",
            lambda r: r <= 1.25,
        )
    ]


# Moves the pen along a circle, one pointer event a frame. For each: the time of the handlers, and
# the time until the frame after it has begun, when the pixels are on their way.
STROKE = """async () => {
  const pad = document.querySelector('.vf .vf-pad'), box = pad.getBoundingClientRect();
  const at = (k) => ({clientX: box.left + box.width * (0.5 + 0.3 * Math.cos(k / 8)),
    clientY: box.top + box.height * (0.5 + 0.3 * Math.sin(k / 8)),
    pointerId: 1, bubbles: true, isPrimary: true, button: 0, buttons: 1});
  pad.setPointerCapture = () => {}; pad.hasPointerCapture = () => true;
  const frame = () => new Promise(requestAnimationFrame), out = [];
  pad.dispatchEvent(new PointerEvent('pointerdown', at(0)));
  for (let k = 1; k <= 60; k++) {
    await frame();
    const start = performance.now();
    pad.dispatchEvent(new PointerEvent('pointermove', at(k)));
    const handled = performance.now() - start;
    await frame();
    out.push([handled, performance.now() - start]);
  }
  pad.dispatchEvent(new PointerEvent('pointerup', at(60)));
  return out;
}"""


def bench_figure() -> list[dict]:
    """From a move of the pen to pixels, in the page's own figure; needs Chromium."""
    path = shutil.which("chromium")
    if path is None:
        print("Chromium is not here: no time from input to pixels")
        return []
    from playwright.sync_api import sync_playwright

    from vae_tutorial.explore import DrawDigit

    page_html = "<!doctype html><meta charset=utf-8>" + DrawDigit().static_html()
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "figure.html")
        file.write_text(page_html, encoding="utf8")
        browser = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page()
        page.goto(file.as_uri())
        page.wait_for_selector(".vf[data-live]")
        times = page.evaluate(STROKE)
        browser.close()
    handled, shown = (statistics.median(column) / 1000 for column in zip(*times, strict=True))
    seconds = {"input handled": handled, "one frame (1/60 s)": 1 / 60}
    name = f"draw a digit: input to next frame {1000 * shown:.1f} ms"
    aim = "at most 0.5"
    return [ratio(name, "input handled", "one frame (1/60 s)", seconds, aim, lambda r: r <= 0.5)]


def ratio(
    name: str, above: str, below: str, seconds: dict[str, float], aim: str, met: Callable
) -> dict:
    """A row of the table: `above` divided by `below`, and whether that is what we aim at."""
    value = seconds[above] / seconds[below]
    return {
        "what": name,
        "ratio": f"{above} / {below}",
        "value": value,
        "seconds": {above: seconds[above], below: seconds[below]},
        "aim": aim,
        "met": bool(met(value)),
    }


def table(rows: list[dict]) -> str:
    """The rows as text, aligned."""
    lines = [("what", "ratio", "", "aim", "seconds")]
    for r in rows:
        seconds = ", ".join(f"{v:.3g}" for v in r["seconds"].values())
        mark = "✓" if r["met"] else "✗"
        lines.append((r["what"], r["ratio"], f"{r['value']:.2f}", f"{mark} {r['aim']}", seconds))
    widths = [max(len(line[i]) for line in lines) for i in range(5)]
    return "\n".join(
        "  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def main(argv: list[str] | None = None) -> list[dict]:
    """Run the comparisons, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="seconds instead of minutes")
    parser.add_argument("--json", type=Path, default=ROOT / "_build" / "bench.json")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)

    from vae_tutorial.data import load_mnist

    mnist = load_mnist()
    x = mnist.train[:1024] if args.small else mnist.train
    rows = bench_epoch(x, rounds=3 if args.small else 5)
    rows += bench_log_p_x(
        mnist.test[: 4 if args.small else 100], samples=500, rounds=3 if args.small else 5
    )
    rows += bench_import(rounds=3 if args.small else 5)
    rows += bench_figure()
    if not args.small:
        if mnist.is_mnist:
            rows += bench_target(x, mnist.test, target=105.6, limit=15)
        else:
            print("MNIST is not here: no time to a test −ELBO of 105.6")
    print(table(rows))
    args.json.parent.mkdir(parents=True, exist_ok=True)
    args.json.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n")
    return rows


if __name__ == "__main__":
    main()

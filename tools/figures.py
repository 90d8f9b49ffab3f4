"""Posters of the interactive figures, and stored figures brought up to date without a kernel.

    python tools/figures.py points                   encode the backdrop of DrawDigit (needs MNIST)
    python tools/figures.py codes                    train the network of CodeMap
    python tools/figures.py map                      encode the codes of LatentMap (needs MNIST)
    python tools/figures.py residuals                histograms of ResidualSigma (needs MNIST)
    python tools/figures.py posters [ElboBar …]      redraw the posters (needs Chromium)
    python tools/figures.py refresh [NOTEBOOK …]     write the present modules into notebooks
    python tools/figures.py check [NOTEBOOK …]       fail if a stored figure is stale

Without names: all figures, and all notebooks of the book. After a change of a module, of `lib.js`
or of `figure.css`: posters, then refresh.
"""

import argparse
import io
import json
import os
import pathlib
import shutil
import statistics
import sys

import nbformat
from PIL import Image, ImageColor

from vae_tutorial import explore
from vae_tutorial.explore import page as stored
from vae_tutorial.plotting import COLOURS

ROOT = pathlib.Path(__file__).resolve().parents[1]
POSTERS = ROOT / "vae_tutorial" / "explore" / "posters"
WIDTH, PALETTE = 704, 96


def chromium() -> str | None:
    """Return the path of Chromium, or None where there is none."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)


def quantise(png: bytes) -> bytes:
    """Return a PNG with an opaque white ground and a small palette, the book's colours among it.

    Left to itself a small palette merges colours that cover few pixels, such as the marks of a
    ledger: reconstruction and ELBO would become one.
    """
    image = Image.open(io.BytesIO(png)).convert("RGBA")
    ground = Image.new("RGBA", image.size, "white")
    ground.alpha_composite(image)
    ground = ground.convert("RGB")
    fixed = [ImageColor.getrgb(colour) for colour in ("white", "black", *COLOURS.values())]
    small = ground.quantize(PALETTE - len(fixed), kmeans=8, dither=Image.Dither.NONE)
    channels = small.getpalette()
    others = [tuple(channels[3 * index : 3 * index + 3]) for _, index in small.getcolors()]
    # What nearly is one of them becomes that one: paper is white, not almost white.
    near = {
        c for c in others for f in fixed if max(abs(a - b) for a, b in zip(c, f, strict=True)) < 8
    }
    book = [channel for c in [*fixed, *(c for c in others if c not in near)] for channel in c]
    palette = Image.new("P", (1, 1))
    palette.putpalette(book)
    small = ground.quantize(palette=palette, dither=Image.Dither.NONE)
    out = io.BytesIO()
    small.save(out, "PNG", optimize=True)
    return out.getvalue()


def posters(names: list[str]) -> None:
    """Draw each figure in its first state, as it prints, and store the picture as its poster."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        for name in names or list(explore.FIGURES):
            path = POSTERS / f"{explore.FIGURES[name]}.png"
            if not path.exists():
                path.write_bytes(quantise(_blank()))
            page = browser.new_page(
                viewport={"width": WIDTH + 16, "height": 1600},
                device_scale_factor=stored.POSTER_SCALE,
            )
            page.emulate_media(media="print", reduced_motion="reduce")
            # The note explains how the figure works, not what the picture shows.
            style = "body{margin:8px}.vf .vf-note{display:none}"
            page.set_content(
                f"<!doctype html><style>{style}</style><body>{explore.static_html(name)}</body>"
            )
            page.wait_for_selector("div.vf[data-live] .vf-box")
            page.wait_for_timeout(4000)  # slow work in the page has come to rest
            path.write_bytes(quantise(page.locator(".vf-box").screenshot()))
            page.close()
            print(f"{name}: {path.relative_to(ROOT)}, {path.stat().st_size / 1024:.0f} KB")
        browser.close()


def points() -> dict:
    """Encode the first 300 test digits with the checkpoint of DrawDigit; no pixel is stored."""
    from vae_tutorial import checkpoints
    from vae_tutorial.data import load_mnist
    from vae_tutorial.explore.draw_digit import on_grid

    data, n = load_mnist(), 300
    if not data.is_mnist:
        sys.exit("the backdrop needs MNIST: run `make data` where there is a network")
    model = checkpoints.load("draw_digit")
    loc = model.encode(data.test[:n]).loc.tolist()
    gaps = [on_grid(model, x)[1] for x in data.test[:n]]
    labels = data.test_labels[:n].tolist()
    return {
        "what": f"mean of q(z|x) and label of the first {n} test digits of MNIST; "
        "median of KL(q(z|x)||p(z|x)) over them, nats, by a grid",
        "median_gap": round(statistics.median(gaps), 2),
        "points": [
            [round(a, 2), round(b, 2), label] for (a, b), label in zip(loc, labels, strict=True)
        ],
    }


def codes() -> dict:
    """Train the network of CodeMap, chapter 1's with two code numbers; return what it stores.

    The decoder is rounded to half precision, and the codes to two decimals. The hole map says for
    each cell of the window whether its decoded centre is farther from every training digit than
    95 % of the held-out digits are.
    """
    import base64

    import numpy as np
    import torch
    from torch import nn

    from vae_tutorial.autoencoders import Autoencoder, fit_autoencoder, nearest_distance
    from vae_tutorial.data import load_digits
    from vae_tutorial.explore.code_map import HIDDEN, decode

    cells = 48  # of the hole map, on each side
    digits, generator = load_digits(), torch.Generator().manual_seed(1)
    model = Autoencoder(64, [HIDDEN], 2, generator=generator)
    fit_autoencoder(model, digits.train, epochs=150, lr=3e-3, generator=generator)
    tensors = [
        p.detach() for m in model.decoder if isinstance(m, nn.Linear) for p in (m.weight, m.bias)
    ]
    flat = torch.cat([t.flatten() for t in tensors]).numpy().astype("<f2").tobytes()
    places = model.encode(digits.train).detach()
    low, high = places.min(0).values, places.max(0).values
    margin = 0.08 * (high - low)
    window = [[round(float(v), 2) for v in edge] for edge in (low - margin, high + margin)]
    threshold = float(nearest_distance(digits.test, digits.train).quantile(0.95))
    (a, b), (c, d) = window
    across = a + (c - a) * (torch.arange(cells) + 0.5) / cells
    up = b + (d - b) * (torch.arange(cells) + 0.5) / cells
    z = torch.cartesian_prod(up, across).flip(1)  # row after row, from the bottom
    holes = nearest_distance(decode(flat, z), digits.train) > threshold
    return {
        "what": "decoder 2-256-64 (ReLU, float16) of the autoencoder of chapter 1, trained on the "
        "1,400 training digits; their codes and labels; the window; the hole map, row after row "
        "from the bottom",
        "weights": base64.b64encode(flat).decode(),
        "codes": [
            [round(p, 2), round(q, 2), k]
            for (p, q), k in zip(places.tolist(), digits.train_labels.tolist(), strict=True)
        ],
        "window": window,
        "threshold": round(threshold, 4),
        "holes": base64.b64encode(np.packbits(holes.numpy()).tobytes()).decode(),
    }


def latent_map() -> dict:
    """Encode the first 2,000 training images for LatentMap: their q(z), on a grid too."""
    import base64

    import torch

    from vae_tutorial import checkpoints
    from vae_tutorial.data import load_mnist
    from vae_tutorial.diagnostics import aggregate_posterior
    from vae_tutorial.explore.latent_map import cell_middles, mixture

    mnist = load_mnist()
    if not mnist.is_mnist:
        sys.exit("the codes are MNIST's: run `make data` where there is a network")
    model, window = checkpoints.load("draw_digit"), [-3.2, 3.2]
    q = aggregate_posterior(model, mnist.train[:2000])
    codes = torch.cat([q.loc, q.scale], 1).numpy().astype("<f2").tobytes()
    density = mixture(codes)
    test = aggregate_posterior(model, mnist.test).components
    test = test.sample(generator=torch.Generator().manual_seed(0))
    return {
        "what": "mean and standard deviation of q(z|x) for the first 2,000 training images of "
        "MNIST (checkpoint draw_digit, float16); log of their mixture in the middle of each of 64 "
        "by 64 cells, row after row from the bottom (float16); its median over test codes",
        "codes": base64.b64encode(codes).decode(),
        "table": base64.b64encode(
            density.log_prob(cell_middles(window)).clamp_min(-40).numpy().astype("<f2").tobytes()
        ).decode(),
        "window": window,
        "typical": round(float(density.log_prob(test).median()), 4),
    }


def residuals() -> dict:
    """Histograms of the residuals of mnist_gaussian_shared, and the data's eigenvalues."""
    import torch

    from vae_tutorial import checkpoints
    from vae_tutorial.data import dequantize, load_mnist

    mnist, bins = load_mnist(), 100
    if not mnist.is_mnist:
        sys.exit("the residuals are MNIST's: run `make data` where there is a network")
    x, y = (
        dequantize(images, levels=256, generator=torch.Generator().manual_seed(seed))
        for images, seed in ((mnist.test, 8), (mnist.train, 7))
    )
    model = checkpoints.load("mnist_gaussian_shared")
    with torch.no_grad():
        z = model.encode(x).sample(generator=torch.Generator().manual_seed(1))
        residual = x - model.decode(z).mean
    ink = x > 0.1
    parts = {"all": residual.ravel(), "ink": residual[ink], "background": residual[~ink]}
    variances = torch.linalg.eigvalsh(torch.cov(y.T.double(), correction=0)).flip(0)
    return {
        "what": f"density of the residuals x - m(z) in {bins} bins from -1 to 1, their mean squares"
        " (checkpoint mnist_gaussian_shared, dequantized test images of MNIST, one z each; ink: "
        "pixels above 0.1); eigenvalues of the covariance of the dequantized training images",
        "histograms": {
            name: [
                round(float(h) * bins / 2 / len(r), 5)
                for h in torch.histc(r, bins=bins, min=-1, max=1)
            ]
            for name, r in parts.items()
        },
        "mse": {name: round(float(r.square().mean()), 7) for name, r in parts.items()},
        "eigenvalues": [float(f"{v:.4g}") for v in variances],
    }


def _blank() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (2, 2), "white").save(out, "PNG")
    return out.getvalue()


def notebooks(paths: list[str], *, write: bool) -> int:
    """Refresh or check notebooks; return how many stored figures were stale."""
    stale = 0
    for path in map(pathlib.Path, paths or sorted(map(str, (ROOT / "book").glob("*.ipynb")))):
        nb = nbformat.read(path, as_version=4)
        moved = explore.refresh(nb)
        stale += moved
        if moved and write:
            nbformat.write(nb, path)
        if moved:
            print(f"{path}: {moved} {'refreshed' if write else 'stale'}")
    return stale


def main(argv: list[str]) -> int:
    """Run one of the seven commands."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "command", choices=["points", "codes", "map", "residuals", "posters", "refresh", "check"]
    )
    parser.add_argument("names", nargs="*")
    given = parser.parse_args(argv)
    if given.command == "points":
        path = POSTERS.parent / "draw_digit_points.json"
        path.write_text(json.dumps(points(), separators=(",", ":")) + "\n", encoding="utf8")
        return 0
    if given.command == "codes":
        path = POSTERS.parent / "code_map.json"
        path.write_text(json.dumps(codes(), separators=(",", ":")) + "\n", encoding="utf8")
        return 0
    if given.command == "map":
        path = POSTERS.parent / "latent_map.json"
        path.write_text(json.dumps(latent_map(), separators=(",", ":")) + "\n", encoding="utf8")
        return 0
    if given.command == "residuals":
        path = POSTERS.parent / "residual_sigma.json"
        path.write_text(json.dumps(residuals(), separators=(",", ":")) + "\n", encoding="utf8")
        return 0
    if given.command == "posters":
        posters(given.names)
        return 0
    stale = notebooks(given.names, write=given.command == "refresh")
    return int(bool(stale) and given.command == "check")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

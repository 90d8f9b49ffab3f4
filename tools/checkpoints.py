"""Train the book's checkpoints again and write down what the stored weights measure.

    python tools/checkpoints.py             all of them
    python tools/checkpoints.py NAME …      these
    python tools/checkpoints.py --list      what there is

A recipe is a function that builds and trains a model, and a function that measures it. To add one,
write both at the end of the list below; nothing else has to know. Same seed, same bits on the same
kind of processor; elsewhere the numbers of a training run differ by some tenths of a nat.
"""

import argparse
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from vae_tutorial import checkpoints
from vae_tutorial.data import ImageData, binarize, dequantize, load_digits, load_mnist
from vae_tutorial.decoders import ContinuousBernoulliDecoder
from vae_tutorial.diagnostics import active_units, discrete_bits_per_dimension
from vae_tutorial.models import (
    VAE,
    BernoulliDecoder,
    GaussianDecoder,
    GaussianEncoder,
    bernoulli_vae,
)
from vae_tutorial.training import calibrate, evaluate, fit


@dataclass(frozen=True)
class Number:
    """A measured number, and by how much a second measurement of the same weights may differ."""

    value: float
    tolerance: float
    unit: str
    what: str


@dataclass(frozen=True)
class Recipe:
    """How one checkpoint comes about.

    Args:
        about: architecture, optimizer, epochs and seed, in one sentence.
        data: loads what it is trained and measured on.
        train: data → the trained model, and its history: lists with one value per epoch.
        measure: model, data → its numbers; called again by the tests on the stored weights.
    """

    about: str
    data: Callable[[], ImageData]
    train: Callable[[ImageData], tuple[VAE, dict[str, list[float]]]]
    measure: Callable[[VAE, ImageData], dict[str, Number]]


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def train_bernoulli(
    data: ImageData, hidden: list[int], latent_dim: int, *, epochs: int, seed: int, **options
) -> tuple[VAE, dict[str, list[float]]]:
    """The book's default network."""
    generator = seeded(seed)
    model = bernoulli_vae(data.train.shape[1], hidden, latent_dim, generator=generator)
    return trained(model, data, epochs=epochs, generator=generator, **options)


def trained(
    model: VAE, data: ImageData, *, epochs: int, generator: torch.Generator, **options
) -> tuple[VAE, dict[str, list[float]]]:
    """The model after `fit`, with the test −ELBO (one sample) after each epoch."""
    test = []

    def on_epoch(epoch, history):
        test.append(-float(evaluate(model, data.test, generator=seeded(1)).elbo.mean()))

    history = fit(
        model, data.train, epochs=epochs, generator=generator, on_epoch=on_epoch, **options
    )
    return model, {
        "train_minus_elbo": history.loss,
        "train_kl": history.kl,
        "test_minus_elbo": test,
    }


@torch.no_grad()
def measure_bernoulli(model: VAE, data: ImageData) -> dict[str, Number]:
    """ELBO and its terms on the test images, with z sampled and, wrongly, with z at the mean."""
    samples = max(10, 100_000 // len(data.test))
    terms = evaluate(model, data.test, samples=samples, generator=seeded(1))
    at_mean = torch.cat(
        [model.decode(model.encode(x).loc).log_prob(x) for x in data.test.split(1000)]
    )
    on = f"on the {len(data.test):,} test images of {data.name}"
    sampled = f"{on}, average over {samples} samples of z each, generator seed 1"
    # The same weights and the same noise give the same number to 1e-3. The tolerance of 0.1 leaves
    # room for a library that draws other noise: for MNIST it is seven standard errors (0.015).
    return {
        "test_minus_elbo": Number(-terms.elbo.mean().item(), 0.1, "nats", f"−ELBO {sampled}"),
        "test_reconstruction": Number(
            terms.reconstruction.mean().item(), 0.1, "nats", f"E_q[log p(x|z)] {sampled}"
        ),
        "test_kl": Number(terms.kl.mean().item(), 0.005, "nats", f"KL(q(z|x)‖p(z)) {on}, exact"),
        "test_minus_elbo_at_mean": Number(
            (terms.kl - at_mean).mean().item(),
            0.005,
            "nats",
            f"−ELBO {on}, evaluated wrongly, at z = μ(x) instead of samples",
        ),
        "active_units": Number(
            active_units(model, data.test).active.sum().item(),
            0,
            "dimensions of z",
            f"dimensions whose posterior mean varies by more than 0.01 {on}",
        ),
    }


def thresholded(data: ImageData) -> ImageData:
    """Each pixel black or white, white above ½."""
    return replace(
        data,
        train=(data.train > 0.5).float(),
        test=(data.test > 0.5).float(),
        name=f"{data.name}, thresholded at ½",
    )


def binarized_test(data: ImageData) -> ImageData:
    """Training images as they are; each pixel of the test images drawn once from Bernoulli(x)."""
    test = binarize(data.test, generator=seeded(0))
    return replace(data, test=test, name=f"{data.name}, binarized once with seed 0")


def train_continuous_bernoulli(data: ImageData) -> tuple[VAE, dict[str, list[float]]]:
    """The default network, its decoder read as a density on [0, 1]."""
    generator = seeded(0)
    model = VAE(
        GaussianEncoder(784, [400], 20, generator=generator),
        ContinuousBernoulliDecoder(20, [400], 784, generator=generator),
    )
    return trained(model, data, epochs=20, generator=generator)


def train_draw_digit(data: ImageData) -> tuple[VAE, dict[str, list[float]]]:
    """Two latent dimensions, and small enough to travel inside a page."""
    generator = seeded(0)
    model = VAE(
        GaussianEncoder(784, [56, 56], 2, generator=generator),
        BernoulliDecoder(2, [64, 80], 784, generator=generator),
    )
    history = fit(model, data.train, epochs=60, lr=3e-3, one_cycle=True, generator=generator)
    return model, {"train_minus_elbo": history.loss, "train_kl": history.kl}


def weighted_kl(kl_weight: float) -> Recipe:
    """One of chapter 10's digits networks: the same start, the same noise, another KL weight."""

    def train(data: ImageData) -> tuple[VAE, dict[str, list[float]]]:
        model = bernoulli_vae(64, [128, 128], 8, generator=seeded(0))
        history = fit(
            model,
            data.train,
            epochs=200,
            batch_size=100,
            lr=3e-3,
            one_cycle=True,
            kl_weight=kl_weight,
            generator=seeded(1),
        )
        return model, {"train_minus_elbo": history.loss}

    return Recipe(
        about=(
            "64-128-128-8-128-128-64, ReLU, Bernoulli decoder on grey pixels, KL weighted by "
            f"{kl_weight:g}; 200 epochs of the 1,400 training digits, Adam with one cycle of the "
            "step size up to 3e-3, batches of 100, one sample of z, seeds 0 and 1"
        ),
        data=load_digits,
        train=train,
        measure=measure_bernoulli,
    )


def dequantized(data: ImageData) -> ImageData:
    """Grey levels spread over their bins, once: seeds 7 for training and 8 for test images."""
    train, test = (
        dequantize(x, levels=256, generator=seeded(s)) for x, s in ((data.train, 7), (data.test, 8))
    )
    return replace(data, train=train, test=test, name=f"{data.name}, dequantized")


@torch.no_grad()
def measure_gaussian(model: VAE, data: ImageData) -> dict[str, Number]:
    """ELBO and its terms on the dequantized test images, error and σ of the decoder."""
    data = dequantized(data)
    terms = evaluate(model, data.test, samples=10, generator=seeded(1))
    generator = seeded(1)
    errors, scales = [], []
    for x in data.test.split(1000):
        p = model.decode(model.encode(x).sample(generator=generator))
        errors.append((x - p.mean).square().mean(-1))
        scales.append(p.scale.median())
    loss = -terms.elbo.mean().item()
    bits = discrete_bits_per_dimension(loss, 784, levels=256, of="dequantized")
    on = f"on the {len(data.test):,} test images of {data.name}"
    sampled = f"{on}, average over 10 samples of z each, generator seed 1"
    return {
        "test_minus_elbo": Number(loss, 0.3, "nats", f"−ELBO {sampled}"),
        "test_reconstruction": Number(
            terms.reconstruction.mean().item(), 0.3, "nats", f"E_q[log p(x|z)] {sampled}"
        ),
        "test_kl": Number(terms.kl.mean().item(), 0.01, "nats", f"KL(q(z|x)‖p(z)) {on}, exact"),
        "bits_per_dimension": Number(
            bits, 0.001, "bits", f"−ELBO in bits per pixel of 256 levels {sampled}"
        ),
        "rmse": Number(
            torch.cat(errors).mean().sqrt().item(),
            0.0005,
            "grey scale",
            f"root of the mean squared error {on}, one sample of z each",
        ),
        "sigma": Number(
            torch.stack(scales).median().item(),
            0.0005,
            "grey scale",
            f"median σ of all pixels {on}",
        ),
        "active_units": Number(
            active_units(model, data.test).active.sum().item(),
            0,
            "dimensions of z",
            f"dimensions whose posterior mean varies by more than 0.01 {on}",
        ),
    }


def gaussian(about: str, **decoder) -> Recipe:
    """One of chapter 9's MNIST networks: everything equal but the decoder's σ and mean."""

    def train(data: ImageData) -> tuple[VAE, dict[str, list[float]]]:
        generator = seeded(0)
        data = dequantized(data)
        model = VAE(
            GaussianEncoder(784, [200], 20, generator=generator),
            GaussianDecoder(20, [200], 784, generator=generator, **decoder),
        )
        options = {"epochs": 20, "lr": 3e-3, "one_cycle": True}
        history = fit(model, data.train, generator=generator, **options)
        if decoder["scale"] == "shared":
            calibrate(model, data.train, generator=generator)
        return model, {"train_minus_elbo": history.loss, "train_kl": history.kl}

    return Recipe(
        about=(
            f"784-200-20-200-784, ReLU, Gaussian decoder, {about}; 20 epochs of MNIST's 60,000 "
            "training images, dequantized once with seed 7, Adam with one cycle of the step size "
            "up to 3e-3, batches of 128, one sample of z, seed 0"
        ),
        data=load_mnist,
        train=train,
        measure=measure_gaussian,
    )


# One entry per checkpoint. Interactive figures and chapters add theirs here.
RECIPES: dict[str, Recipe] = {
    "mnist_784_400_20": Recipe(
        about=(
            "784-400-20-400-784, ReLU, Bernoulli decoder on grey pixels; 20 epochs of MNIST's "
            "60,000 training images, Adam, step size 1e-3, batches of 128, one sample of z, seed 0"
        ),
        data=load_mnist,
        train=lambda data: train_bernoulli(data, [400], 20, epochs=20, seed=0),
        measure=measure_bernoulli,
    ),
    "mnist_threshold": Recipe(
        about=(
            "as mnist_784_400_20, on images whose pixels are 1 above the grey value ½ and 0 "
            "elsewhere"
        ),
        data=load_mnist,
        train=lambda data: train_bernoulli(thresholded(data), [400], 20, epochs=20, seed=0),
        measure=lambda model, data: measure_bernoulli(model, thresholded(data)),
    ),
    "mnist_dynamic": Recipe(
        about=(
            "as mnist_784_400_20, each pixel drawn from Bernoulli(grey value) anew at every step; "
            "measured on test images that are drawn once"
        ),
        data=load_mnist,
        train=lambda data: train_bernoulli(
            binarized_test(data), [400], 20, epochs=20, seed=0, binarize=True
        ),
        measure=lambda model, data: measure_bernoulli(model, binarized_test(data)),
    ),
    "mnist_continuous_bernoulli": Recipe(
        about=(
            "as mnist_784_400_20, with a continuous Bernoulli decoder, a density of grey pixels, "
            "whose logits are clamped at ±16"
        ),
        data=load_mnist,
        train=train_continuous_bernoulli,
        measure=measure_bernoulli,
    ),
    "draw_digit": Recipe(
        about=(
            "encoder 784-56-56-2, decoder 2-64-80-784, ReLU, Bernoulli decoder on grey pixels; 60 "
            "epochs of MNIST's 60,000 training images, Adam with one cycle of the step size up to "
            "3e-3, batches of 128, one sample of z, seed 0. The interactive figure DrawDigit runs "
            "it in the page"
        ),
        data=load_mnist,
        train=train_draw_digit,
        measure=measure_bernoulli,
    ),
    "digits_kl_4": weighted_kl(4.0),
    "digits_kl_2": weighted_kl(2.0),
    "digits_kl_1": weighted_kl(1.0),
    "digits_kl_05": weighted_kl(0.5),
    "digits_kl_01": weighted_kl(0.1),
    "digits_kl_001": weighted_kl(0.01),
    "digits_kl_0": weighted_kl(0.0),
    "mnist_gaussian_1": gaussian("linear mean, σ = 1", scale="fixed", sigma=1.0),
    "mnist_gaussian_01": gaussian("linear mean, σ = 0.1", scale="fixed", sigma=0.1),
    "mnist_gaussian_shared": gaussian(
        "linear mean, one learned σ, at its optimum after the last epoch", scale="shared", sigma=0.3
    ),
    "mnist_gaussian_pixel": gaussian(
        "linear mean, a σ above 1e-3 for each pixel from the network", scale="per-pixel", sigma=0.3
    ),
    "mnist_gaussian_shared_sigmoid": gaussian(
        "sigmoid mean, one learned σ, at its optimum after the last epoch",
        scale="shared",
        sigma=0.3,
        mean="sigmoid",
    ),
    "mnist_gaussian_pixel_sigmoid": gaussian(
        "sigmoid mean, a σ above 1e-3 for each pixel from the network",
        scale="per-pixel",
        sigma=0.3,
        mean="sigmoid",
    ),
}


def build(name: str) -> None:
    recipe = RECIPES[name]
    data = recipe.data()
    if recipe.data is load_mnist and not data.is_mnist:
        sys.exit(f"{name} needs MNIST: run `make data` where there is a network")
    print(f"{name}: {recipe.about}")
    start = time.perf_counter()
    model, history = recipe.train(data)
    print(f"trained in {time.perf_counter() - start:.0f} s")
    before = recipe.measure(model, data)
    after = recipe.measure(checkpoints.round_to_float16(model), data)
    about = checkpoints.save(
        checkpoints.FOLDER / f"{name}.npz",
        model,
        {
            "command": f"python tools/checkpoints.py {name}",
            "recipe": recipe.about,
            "data": repr(data),
            "trained_with": f"torch {torch.__version__.partition('+')[0]}, Python "
            f"{platform.python_version()}",
            "numbers": {
                key: {
                    "value": round(number.value, 4),
                    "tolerance": number.tolerance,
                    "unit": number.unit,
                    "what": number.what,
                }
                for key, number in after.items()
            },
            "before_rounding": {key: round(number.value, 4) for key, number in before.items()},
            "history": {key: [round(v, 3) for v in values] for key, values in history.items()},
        },
    )
    stored = recipe.measure(checkpoints.load(name), data)
    if stored != after:
        sys.exit(f"{name}: the stored weights do not measure what was written down")
    for key, number in after.items():
        print(f"  {key}: {number.value:.4f} {number.unit} (float32: {before[key].value:.4f})")
    print(f"  {about['file']}: {about['bytes']:,} bytes")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Train the book's checkpoints again.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="which; all by default")
    parser.add_argument("--list", action="store_true", help="list the recipes and stop")
    args = parser.parse_args(argv)
    unknown = [name for name in args.names if name not in RECIPES]
    if unknown:
        parser.error(f"no recipe {', '.join(unknown)}; there are: {', '.join(RECIPES)}")
    if args.list:
        for name, recipe in RECIPES.items():
            print(f"{name}: {recipe.about}")
        return
    torch.set_num_threads(1)  # the same bits, and no quarrel with whatever else is running
    for name in args.names or RECIPES:
        build(name)


if __name__ == "__main__":
    main()

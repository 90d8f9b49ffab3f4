"""The kinds of things that readers hand to `fit`: a tensor, or the line that makes one."""

import math
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from vae_tutorial.data import load_digits
from vae_tutorial.inputs import as_data, check_model, check_trainable
from vae_tutorial.models import bernoulli_vae

MODEL = bernoulli_vae(4, [3], 2, generator=torch.Generator().manual_seed(0))
X = torch.rand(6, 4, generator=torch.Generator().manual_seed(1))


def test_a_tensor_passes_as_it_is():
    assert as_data(MODEL, X) is X
    assert as_data(MODEL, X[:1]).shape == (1, 4)


def test_an_array_becomes_a_tensor_that_shares_its_memory():
    array = X.numpy().copy()
    data = as_data(MODEL, array)
    assert data.dtype == torch.float32
    assert torch.equal(data, X)
    assert data.data_ptr() == array.ctypes.data


@pytest.mark.parametrize(
    "odd",
    [
        pytest.param(lambda a: np.asfortranarray(a), id="columns first"),
        pytest.param(lambda a: a[::-1], id="backwards"),
        pytest.param(lambda a: a.astype(">f4"), id="big-endian"),
        pytest.param(lambda a: np.repeat(a, 2, axis=1)[:, ::2], id="strided"),
    ],
)
def test_arrays_of_every_layout_are_read(odd):
    array = odd(X.numpy().copy())
    assert as_data(MODEL, array).tolist() == array.tolist()


def test_a_read_only_array_is_copied_without_a_warning():
    array = X.numpy().copy()
    array.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = as_data(MODEL, array)
    assert torch.equal(data, X)
    assert data.data_ptr() != array.ctypes.data


class Frame:
    """As pandas and others have it."""

    def to_numpy(self, dtype=None):
        return X.numpy()


class Pairs(Dataset):
    def __len__(self):
        return len(X)

    def __getitem__(self, i):
        return X[i], 0


OTHERS = [
    (DataLoader(TensorDataset(X), batch_size=2), "a DataLoader: x = (.*)", {"loader"}),
    (TensorDataset(X), "a TensorDataset: x = (.*)", {"dataset"}),
    (Pairs(), "a Pairs: x = (.*)", {"dataset"}),
    (list(X), r"a list: (torch.stack\(x\))", {"x"}),
    (tuple(X), r"a tuple: (torch.stack\(x\))", {"x"}),
    ((X, torch.zeros(6)), r"a tuple: hand in the images alone, (x\[0\])", {"x"}),
    (X.tolist(), r"a list: (torch.tensor\(x\))", {"x"}),
    (Frame(), r"a Frame: torch.as_tensor\(x\)|a Frame: (x.to_numpy\(dtype='float32'\))", {"x"}),
]


@pytest.mark.parametrize(("given", "message", "names"), OTHERS, ids=lambda v: type(v).__name__)
def test_the_line_in_the_message_does_what_it_says(given, message, names):
    """The line is run, and what it gives is taken."""
    import re

    with pytest.raises(TypeError, match=r"x must be a tensor or a NumPy array \(N, 4\)") as error:
        as_data(MODEL, given)
    line = re.search(message, str(error.value))[1]
    made = eval(line, {"torch": torch, **dict.fromkeys(names, given)})
    assert torch.equal(as_data(MODEL, made), X)


def test_what_is_nothing_of_the_kind_is_named():
    with pytest.raises(TypeError, match=r"\(N, 4\), got a NoneType$"):
        as_data(MODEL, None)
    with pytest.raises(TypeError, match=r"got an ImageData: hand in its images, .train or .test"):
        as_data(MODEL, load_digits())
    with pytest.raises(TypeError, match=r"array of numbers, got dtype object: np.asarray\(x, dty"):
        as_data(MODEL, np.array([[None] * 4]))
    with pytest.raises(TypeError, match="got dtype complex128"):
        as_data(MODEL, np.ones((2, 4), dtype=complex))


@pytest.mark.parametrize(
    ("shape", "line"),
    [
        ((6, 2, 2), "flatten the images, x.flatten(1)"),
        ((6, 1, 2, 2), "flatten the images, x.flatten(1)"),
        ((4,), "one example is a row, x.reshape(1, -1)"),
        ((2, 2), "one example is a row, x.reshape(1, -1)"),
        ((6, 3), None),
        ((6, 1, 3), None),
        ((), None),
    ],
)
def test_wrong_shapes(shape, line):
    for x in (torch.zeros(shape), np.zeros(shape, dtype="float32")):
        with pytest.raises(ValueError, match=r"x must be \(N, D\) = \(N, 4\), got") as error:
            as_data(MODEL, x)
        assert str(error.value).endswith(f"got {shape}" + (f": {line}" if line else ""))


def test_wrong_kinds_of_numbers():
    for x, message in [
        (X.mul(255).byte(), "floating-point tensor, got torch.uint8: divide by 255"),
        (X.mul(255).byte().numpy(), "floating-point tensor, got torch.uint8: divide by 255"),
        (X > 0.5, r"got torch.bool: x.float\(\)"),
        (X.double(), r"got x float64 and the model's parameters float32: x.to\(torch.float32\)"),
        (X.double().numpy(), r"got x float64 and .* float32: x.astype\('float32'\)"),
        (X.half(), "got x float16 and the model's parameters float32"),
        (X[:0], "at least one example, got an empty data set"),
        (X / 0, "x must be finite, got 24 values that are NaN or infinite"),
        (X * math.nan, "got 24 values"),
    ]:
        with pytest.raises(ValueError, match=message):
            as_data(MODEL, x)
    double = bernoulli_vae(4, [3], 2).double()
    assert as_data(double, X.double()).dtype == torch.float64
    with pytest.raises(ValueError, match=r"got x float32 and .* float64: x.to\(torch.float64\)"):
        as_data(double, X)


def test_a_model_must_be_a_vae_of_one_kind():
    with pytest.raises(TypeError, match=r"a Sequential without encode, .*: VAE\(encoder, decoder"):
        check_model(nn.Sequential())
    with pytest.raises(TypeError, match=r"got a DataParallel without encode.*: hand in model.modu"):
        check_model(nn.DataParallel(MODEL))
    mixed = bernoulli_vae(4, [3], 2)
    mixed.decoder.double()
    with pytest.raises(ValueError, match="must have one dtype, got float32 and float64"):
        check_model(mixed)
    split = bernoulli_vae(4, [3], 2)
    split.decoder.to("meta")
    with pytest.raises(ValueError, match="must have one device, got cpu and meta"):
        as_data(split, X)


def test_there_must_be_something_to_train():
    check_trainable(MODEL)
    with torch.no_grad(), pytest.raises(RuntimeError, match=r"got torch.no_grad\(\): call fit out"):
        check_trainable(MODEL)
    with torch.inference_mode():
        with pytest.raises(RuntimeError, match=r"got torch.inference_mode\(\): call fit outside"):
            check_trainable(MODEL)
        made = bernoulli_vae(4, [3], 2)
    with pytest.raises(RuntimeError, match=r"model was made under torch.inference_mode"):
        check_trainable(made)
    with pytest.raises(ValueError, match="a parameter to train, got none"):
        check_trainable(nn.Identity())
    frozen = bernoulli_vae(4, [3], 2).requires_grad_(False)
    with pytest.raises(ValueError, match=r"got 8 that are all frozen \(encoder.net.0.weight, …\)"):
        check_trainable(frozen)
    frozen.decoder.requires_grad_(True)
    check_trainable(frozen)

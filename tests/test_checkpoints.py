"""Checkpoints: what the manifest says is what the stored weights are and measure."""

import hashlib
import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from notebooks import MACHINE_PATH
from torch import nn

from vae_tutorial import checkpoints, data, models
from vae_tutorial.checkpoints import CheckpointError

ROOT = Path(__file__).resolve().parents[1]


def tool():
    """tools/checkpoints.py as a module: the recipes measure here what they measured there."""
    if "tools_checkpoints" not in sys.modules:
        spec = importlib.util.spec_from_file_location(
            "tools_checkpoints", ROOT / "tools" / "checkpoints.py"
        )
        module = importlib.util.module_from_spec(spec)
        sys.modules["tools_checkpoints"] = module
        spec.loader.exec_module(module)
    return sys.modules["tools_checkpoints"]


NAMES = checkpoints.names()
META = {"command": "make it so", "recipe": "untrained", "data": "none", "numbers": {}}


# ----------------------------------------------------------------------------- the book's own files


def test_the_manifest_the_folder_and_the_recipes_name_the_same_checkpoints():
    files = {p.name for p in checkpoints.FOLDER.iterdir() if p.is_file()}
    assert files == {"__init__.py", "manifest.json"} | {f"{name}.npz" for name in NAMES}
    assert sorted(NAMES) == sorted(tool().RECIPES)
    assert "mnist_784_400_20" in NAMES


def test_sizes_as_promised():
    sizes = [(checkpoints.FOLDER / f"{name}.npz").stat().st_size for name in NAMES]
    assert max(sizes) <= 1_400_000
    assert sum(sizes) <= 12_000_000


def test_the_manifest_is_text_that_diffs_well():
    path = checkpoints.FOLDER / "manifest.json"
    text = path.read_text(encoding="utf-8")
    manifest = json.loads(text)
    canonical = json.dumps(dict(sorted(manifest.items())), indent=2, ensure_ascii=False) + "\n"
    assert text == canonical
    assert not MACHINE_PATH.search(text)


@pytest.mark.parametrize("name", NAMES)
def test_the_entry_describes_the_file(name):
    about = checkpoints.entry(name)
    path = checkpoints.FOLDER / about["file"]
    assert path.name == f"{name}.npz"
    assert path.stat().st_size == about["bytes"]
    assert about["command"] == f"python tools/checkpoints.py {name}"
    assert about["recipe"] == tool().RECIPES[name].about
    with np.load(path, allow_pickle=False) as arrays:
        for key in arrays.files:
            scalar = arrays[key].ndim == 0
            assert arrays[key].dtype == (np.float32 if scalar else np.float16)
            assert np.isfinite(arrays[key]).all()
    model = checkpoints.load(name)  # hash and shapes
    assert not model.training
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    for key, number in about["numbers"].items():
        assert set(number) == {"value", "tolerance", "unit", "what"}, key
        assert abs(number["value"] - about["before_rounding"][key]) <= max(
            0.02, number["tolerance"]
        ), f"{key}: rounding to float16 is not harmless"


@pytest.mark.parametrize("name", NAMES)
def test_every_number_of_the_manifest_is_measured_again(name, monkeypatch):
    recipe = tool().RECIPES[name]
    if recipe.data is data.load_mnist:
        if not data.mnist_is_here():
            pytest.skip("MNIST is not here: run `make data`")
        monkeypatch.setenv("VAE_TUTORIAL_MNIST", "mnist")
    measured = recipe.measure(checkpoints.load(name), recipe.data())
    stated = checkpoints.entry(name)["numbers"]
    assert measured.keys() == stated.keys()
    for key, number in measured.items():
        assert number.what == stated[key]["what"]
        assert number.unit == stated[key]["unit"]
        assert number.tolerance == stated[key]["tolerance"]
        # 1e-4: the manifest keeps four decimals.
        assert abs(number.value - stated[key]["value"]) <= number.tolerance + 1e-4, key


def test_the_headline():
    """784-400-20 after 20 epochs: 103.6 ± 0.5 nats, and 8–10 too good where z is not sampled."""
    about = checkpoints.entry("mnist_784_400_20")
    numbers = checkpoints.numbers("mnist_784_400_20")
    assert numbers["test_minus_elbo"] == pytest.approx(103.6, abs=0.5)
    assert numbers["test_kl"] - numbers["test_reconstruction"] == pytest.approx(
        numbers["test_minus_elbo"], abs=1e-3
    )
    assert 7.5 < numbers["test_minus_elbo"] - numbers["test_minus_elbo_at_mean"] < 10.5
    assert numbers["active_units"] <= 20
    for curve in about["history"].values():
        assert len(curve) == 20
    assert about["history"]["test_minus_elbo"][-1] == pytest.approx(
        numbers["test_minus_elbo"], abs=0.2
    )


# ------------------------------------------------------------------------------------ save and load

PARTS = {
    "bernoulli": lambda g: models.bernoulli_vae(6, [5, 4], 2, generator=g),
    "no hidden layer": lambda g: models.bernoulli_vae(6, [], 2, generator=g),
    **{
        f"gaussian {scale} {mean}": lambda g, scale=scale, mean=mean: models.VAE(
            models.GaussianEncoder(6, [5], 2, activation=nn.Tanh, generator=g),
            models.GaussianDecoder(
                2, [3], 6, scale=scale, mean=mean, sigma=0.3, activation=nn.Tanh, generator=g
            ),
        )
        for scale in ("fixed", "shared", "per-pixel")
        for mean in ("linear", "sigmoid")
    },
}


@pytest.fixture
def model():
    return PARTS["bernoulli"](torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kind", sorted(PARTS))
def test_what_is_saved_is_what_is_loaded_rounded_once(tmp_path, kind):
    model = PARTS[kind](torch.Generator().manual_seed(0))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    saved = checkpoints.save(tmp_path / "it.npz", model, META)
    noise = torch.get_rng_state()
    loaded = checkpoints.load("it", folder=tmp_path)
    assert torch.equal(torch.get_rng_state(), noise)  # loading uses nobody's noise
    for key, value in loaded.state_dict().items():
        exact = before[key].numpy()
        expected = exact.astype(np.float16).astype(np.float32) if exact.ndim else exact
        np.testing.assert_array_equal(value.numpy(), expected)
        torch.testing.assert_close(model.state_dict()[key], before[key], rtol=0, atol=0)
    rounded = checkpoints.round_to_float16(model)
    x = torch.rand(3, 6, generator=torch.Generator().manual_seed(1))
    q, r = loaded.encode(x), rounded.encode(x)
    assert torch.equal(q.loc, r.loc)
    assert torch.equal(q.scale, r.scale)
    assert torch.equal(loaded.decode(q.loc).log_prob(x), rounded.decode(r.loc).log_prob(x))
    torch.testing.assert_close(
        loaded.decode(q.loc).log_prob(x), model.decode(q.loc).log_prob(x), rtol=0.01, atol=0.01
    )
    # The same model gives the same file, and one that is loaded gives it too.
    assert checkpoints.save(tmp_path / "again.npz", loaded, META)["sha256"] == saved["sha256"]
    assert checkpoints.names(folder=tmp_path) == ["again", "it"]


def test_numbers_and_entry_come_from_the_manifest(tmp_path, model):
    number = {"value": 1.5, "tolerance": 0.1, "unit": "nats", "what": "made up"}
    meta = META | {"numbers": {"made_up": number}, "remark": "kept"}
    checkpoints.save(tmp_path / "it.npz", model, meta)
    assert checkpoints.numbers("it", folder=tmp_path) == {"made_up": 1.5}
    assert checkpoints.entry("it", folder=tmp_path)["remark"] == "kept"


def test_an_unknown_name_lists_the_known():
    with pytest.raises(CheckpointError, match=r"no checkpoint 'mnist'.*mnist_784_400_20"):
        checkpoints.load("mnist")


@pytest.mark.parametrize("damage", ["cut", "flipped", "emptied", "removed", "a folder"])
def test_a_damaged_file_is_named(tmp_path, model, damage):
    path = tmp_path / "it.npz"
    checkpoints.save(path, model, META)
    content = bytearray(path.read_bytes())
    if damage in ("removed", "a folder"):
        path.unlink()
        if damage == "a folder":
            path.mkdir()
    elif damage == "flipped":
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    else:
        path.write_bytes(content[:-10] if damage == "cut" else b"")
    with pytest.raises(CheckpointError) as error:
        checkpoints.load("it", folder=tmp_path)
    message = str(error.value)
    assert "checkpoint it" in message
    assert str(path) in message
    assert "`make it so`" in message  # how to have it again


def test_another_architecture_is_refused(tmp_path, model):
    checkpoints.save(tmp_path / "it.npz", model, META)
    path = tmp_path / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["it"]["architecture"]["latent_dim"] = 3
    path.write_text(json.dumps(manifest))
    with pytest.raises(CheckpointError, match=r"it\.npz does not hold the weights.*size mismatch"):
        checkpoints.load("it", folder=tmp_path)
    manifest["it"]["architecture"]["encoder"]["kind"] = "Tensor"
    path.write_text(json.dumps(manifest))
    with pytest.raises(CheckpointError, match="unknown kind 'Tensor'"):
        checkpoints.load("it", folder=tmp_path)


def test_a_pickle_is_refused_even_with_the_right_hash(tmp_path, model):
    checkpoints.save(tmp_path / "it.npz", model, META)
    np.savez(tmp_path / "it.npz", thing=np.array([{"a": 1}], dtype=object))
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    content = (tmp_path / "it.npz").read_bytes()
    manifest["it"]["sha256"] = hashlib.sha256(content).hexdigest()
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(CheckpointError, match="allow_pickle=False"):
        checkpoints.load("it", folder=tmp_path)


@pytest.mark.parametrize("text", ["{", "[]", ""])
def test_a_broken_manifest_is_named(tmp_path, text):
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"manifest\.json"):
        checkpoints.names(folder=tmp_path)


@pytest.mark.parametrize("weight", [1e5, -7e4, float("nan"), float("inf")])
def test_a_weight_that_float16_cannot_hold_is_refused(tmp_path, model, weight):
    with torch.no_grad():
        model.encoder.net[0].weight[0, 0] = weight
    with pytest.raises(CheckpointError, match=r"encoder\.net\.0\.weight holds 1 values.*65,504"):
        checkpoints.save(tmp_path / "it.npz", model, META)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_too_large_is_refused(tmp_path, model, monkeypatch):
    with pytest.raises(CheckpointError, match="at most 1,400,000 each"):
        checkpoints.save(tmp_path / "it.npz", models.bernoulli_vae(784, [450], 20), META)
    assert list(tmp_path.iterdir()) == []
    checkpoints.save(tmp_path / "one.npz", model, META)
    monkeypatch.setattr(checkpoints, "MAX_TOTAL", 5000)
    checkpoints.save(tmp_path / "one.npz", model, META)  # its own old size does not count
    with pytest.raises(CheckpointError, match="5,000 together"):
        checkpoints.save(tmp_path / "two.npz", model, META)
    assert checkpoints.names(folder=tmp_path) == ["one"]


def test_save_says_what_it_lacks(tmp_path, model):
    with pytest.raises(ValueError, match=r"must end in \.npz, got it\.pt"):
        checkpoints.save(tmp_path / "it.pt", model, META)
    with pytest.raises(ValueError, match="meta lacks data, numbers"):
        checkpoints.save(tmp_path / "it.npz", model, {"command": "", "recipe": ""})

    class MyEncoder(models.GaussianEncoder):
        pass

    strange = models.VAE(MyEncoder(6, [5], 2), model.decoder)
    with pytest.raises(ValueError, match=r"model must be made of GaussianEncoder.*got MyEncoder"):
        checkpoints.save(tmp_path / "it.npz", strange, META)


# ----------------------------------------------------------------------------------------- the tool


def test_the_tool_trains_measures_and_writes(tmp_path, monkeypatch, capsys):
    tools = tool()
    recipe = tools.Recipe(
        about="a test",
        data=data.load_digits,
        train=lambda digits: tools.train_bernoulli(
            digits, [8], 2, epochs=2, seed=0, show_progress=False
        ),
        measure=tools.measure_bernoulli,
    )
    monkeypatch.setattr(tools, "RECIPES", {"tiny": recipe})
    monkeypatch.setattr(checkpoints, "FOLDER", tmp_path)
    tools.main(["tiny"])
    assert "test_minus_elbo" in capsys.readouterr().out
    first = checkpoints.entry("tiny")
    assert first["data"] == repr(data.load_digits())
    assert [len(curve) for curve in first["history"].values()] == [2, 2, 2]
    tools.main([])
    assert checkpoints.entry("tiny") == first  # the same seed, the same bits
    assert sorted(p.name for p in tmp_path.iterdir()) == ["manifest.json", "tiny.npz"]
    # Its numbers against a second computation: form B by torch.distributions.
    model, digits = checkpoints.load("tiny"), data.load_digits()
    with torch.no_grad():
        q = model.encode(digits.test)
        q = torch.distributions.Normal(q.loc, q.scale)
        kl = torch.distributions.kl_divergence(q, torch.distributions.Normal(0, 1)).sum(-1)
        cost = nn.functional.binary_cross_entropy_with_logits(
            model.decode(q.loc).logits, digits.test, reduction="none"
        ).sum(-1)
    numbers = checkpoints.numbers("tiny")
    assert numbers["test_kl"] == pytest.approx(float(kl.mean()), abs=1e-3)
    assert numbers["test_minus_elbo_at_mean"] == pytest.approx(float((kl + cost).mean()), abs=1e-3)
    assert numbers["test_minus_elbo"] > numbers["test_minus_elbo_at_mean"]


def test_the_tool_refuses_the_stand_in_and_unknown_names(monkeypatch, capsys):
    tools = tool()
    monkeypatch.setenv("VAE_TUTORIAL_MNIST", "digits")
    monkeypatch.delenv("VAE_TUTORIAL_STRICT", raising=False)
    with pytest.raises(SystemExit, match="needs MNIST: run `make data`"):
        tools.main(["mnist_784_400_20"])
    with pytest.raises(SystemExit):
        tools.main(["mnist"])
    assert "no recipe mnist; there are: mnist_784_400_20" in capsys.readouterr().err
    tools.main(["--list"])
    assert "784-400-20" in capsys.readouterr().out

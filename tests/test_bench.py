"""The benchmarks at a small size: they run, compare the same mathematics, and cannot rot unseen.

No speed is asserted here: other work on the machine would decide. `make bench` says what is met.
"""

import json
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "benchmarks"))

import bench

from vae_tutorial.models import bernoulli_vae
from vae_tutorial.objectives import log_p_x


def test_table_and_json(tmp_path, capsys):
    threads = torch.get_num_threads()
    rows = bench.main(["--small", "--json", str(tmp_path / "bench.json")])
    torch.set_num_threads(threads)
    assert json.loads((tmp_path / "bench.json").read_text()) == rows
    assert len(rows) >= 4
    printed = capsys.readouterr().out
    for row in rows:
        assert row["what"] in printed
        assert row["value"] > 0


def test_both_loops_lower_the_same_loss():
    """The classic loop and `fit` start at the same cost per image and both come down."""
    g = torch.Generator().manual_seed(0)
    x = torch.rand(256, 784, generator=g).round()
    torch.manual_seed(0)
    classic = bench.ClassicVAE()
    adam = torch.optim.Adam(classic.parameters(), lr=1e-3)
    loader = torch.utils.data.DataLoader(bench.PictureFiles(x), batch_size=128)
    first = bench.classic_epoch(classic, adam, loader)
    ours = bench.fit(
        bernoulli_vae(784, [400], 20, generator=g), x, epochs=1, generator=g, show_progress=False
    )
    assert first == pytest.approx(ours.loss[0], rel=0.01)
    assert bench.classic_test(classic, x) < first


def test_pictures_survive_the_round_trip():
    x = torch.rand(3, 784, generator=torch.Generator().manual_seed(0))
    back = torch.stack([bench.PictureFiles(x)[i][0].reshape(-1) for i in range(3)])
    assert (back - x).abs().max() <= 0.5 / 255 + 1e-6


def test_the_naive_estimate_is_the_same_estimate():
    """Both importance-sampling codes estimate one number: they agree within their noise."""
    g = torch.Generator().manual_seed(0)
    model = bernoulli_vae(784, [400], 20, generator=g)
    x = torch.rand(2, 784, generator=g).round()
    with torch.no_grad():
        model.decoder.net[2].weight.mul_(0.1)  # z matters little: the estimates are quiet
    torch.manual_seed(0)
    naive = bench.naive_log_p_x(model, x, 4000)
    with torch.no_grad():
        ours = log_p_x(model, x, model.encode(x), samples=4000, generator=g)
    torch.testing.assert_close(naive, ours, atol=0.3, rtol=0)


@pytest.mark.parametrize("mode", ["L", "RGB", "F", "I"])
def test_pictures_of_any_mode_become_tensors(mode):
    white = {"L": 255, "RGB": (255, 255, 255), "F": 1.0, "I": 1}[mode]
    tensor = bench.to_tensor(bench.Image.new(mode, (4, 3), white))
    assert tensor.shape == ({"RGB": 3}.get(mode, 1), 3, 4)
    assert tensor.max() == 1

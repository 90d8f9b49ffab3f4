"""The figure of chapter 1 in Chromium: its numbers are Python's, and every hand can move it."""

import re

import numpy as np
import pytest
import scipy.spatial
import torch
import traitlets
from browser import shown

from vae_tutorial import explore
from vae_tutorial.data import load_digits
from vae_tutorial.explore import code_map

PLACES = [[0.0, 0.0], [-3.0, -3.5], [2.5, -1.0], [1.23, 1.77], [-0.57, 0.41]]


def by_numpy(figure, z):
    """Decoded picture and its distance to the nearest training digit, without torch."""
    flat = np.frombuffer(figure.weights, "<f2").astype(float)
    w1, b1, w2, b2 = np.split(flat, np.cumsum([512, 256, 256 * 64]))
    hidden = np.maximum(w1.reshape(256, 2) @ np.array(z) + b1, 0)
    picture = w2.reshape(64, 256) @ hidden + b2
    tree = scipy.spatial.KDTree(load_digits().train.double().numpy())
    return picture, tree.query(picture)


@pytest.fixture
def page(show):
    return show("CodeMap", has_touch=True)


@pytest.mark.browser
def test_the_decoder_in_the_page_equals_python(page):
    """CodeMap: pictures and distances in the page equal NumPy's and the package's, to 1e-4."""
    found = page.evaluate(
        "places => { const { decode, nearest } = document.querySelector('.vf').__vf;"
        "return places.map((z) => { const x = decode(z);"
        "return { x: Array.from(x), ...nearest(x) }; }); }",
        PLACES,
    )
    figure = explore.CodeMap()
    for z, got in zip(PLACES, found, strict=True):
        picture, (distance, index) = by_numpy(figure, z)
        np.testing.assert_allclose(got["x"], picture, atol=1e-6)
        assert got["distance"] == pytest.approx(distance, abs=1e-6)
        assert got["index"] == index
        package = code_map.decode(figure.weights, torch.tensor([z]))[0]
        np.testing.assert_allclose(got["x"], package, atol=1e-4)


@pytest.mark.browser
def test_its_first_state_has_these_numbers(page):
    figure = explore.CodeMap()
    _, (distance, _) = by_numpy(figure, figure.z)
    assert shown(page, "distance") == f"{distance:.2f}"
    nearest = np.hypot(*(np.array(figure.codes)[:, :2] - figure.z).T).min()
    assert shown(page, "code") == f"{nearest:.2f}"


@pytest.mark.browser
def test_mouse_finger_keyboard_and_buttons_each_move_the_ring(page):
    before = shown(page, "distance")
    box = page.locator('[data-handle="z"]').bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x - 300, y + 300)
    page.mouse.up()
    dragged = shown(page, "distance")
    assert dragged != before
    assert "A hole" in page.locator(".vf-message").inner_text()
    page.get_by_role("button", name="Go to the digits 0").tap()
    assert float(shown(page, "code")) < 0.01
    assert "A 0" in page.locator(".vf-message").inner_text()
    page.get_by_role("button", name="Go to the digits 8").tap()
    page.wait_for_function("document.querySelector('.vf-message').innerText.includes('n 8')")
    assert re.match(r"(An|Something like an) 8\b", page.locator(".vf-message").inner_text())
    arrived = shown(page, "distance")
    page.get_by_role("slider", name="first number of the code").focus()
    page.keyboard.press("End")
    assert shown(page, "distance") != arrived


def test_the_stored_file_is_what_the_class_describes():
    figure, digits = explore.CodeMap(), load_digits()
    assert len(figure.codes) == len(digits.train) == 1400
    assert [k for *_, k in figure.codes] == digits.train_labels.tolist()
    tree = scipy.spatial.KDTree(digits.train.double().numpy())
    distance = np.quantile(tree.query(digits.test.double().numpy())[0], 0.95)
    assert figure.threshold == pytest.approx(distance, abs=1e-3)
    # The codes are those of this decoder: decoding them gives pictures near their digits.
    z = torch.tensor([code[:2] for code in figure.codes])
    error = (code_map.decode(figure.weights, z) - digits.train).square().sum(1).mean().item()
    assert 1.5 < error < 2.1  # chapter 1: a bent network with two numbers; the mean picture: 4.70


def test_the_hole_map_is_measured():
    figure = explore.CodeMap()
    holes = np.unpackbits(np.frombuffer(figure.holes, np.uint8)).reshape(48, 48)
    (a, b), (c, d) = figure.window
    for row, column in [(0, 0), (24, 24), (47, 0), (30, 10), (5, 40), (47, 47), (10, 27)]:
        z = [a + (c - a) * (column + 0.5) / 48, b + (d - b) * (row + 0.5) / 48]
        _, (distance, _) = by_numpy(figure, z)
        assert holes[row, column] == (distance > figure.threshold)
    assert 0.1 < holes.mean() < 0.4


def test_a_place_is_two_numbers():
    for wrong in ([1.0], [1.0, "b"], [1.0, 2.0, 3.0]):
        with pytest.raises(traitlets.TraitError, match="z must be two numbers"):
            explore.CodeMap(z=wrong)

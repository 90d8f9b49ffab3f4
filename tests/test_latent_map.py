"""The figure of chapter 10 in Chromium: its numbers are Python's, and every hand can move it."""

import numpy as np
import pytest
import torch
import traitlets
from browser import shown
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import dijkstra

from vae_tutorial import checkpoints, explore
from vae_tutorial.data import mnist_is_here
from vae_tutorial.diagnostics import lerp, path_cost, resample, slerp
from vae_tutorial.explore.latent_map import CELLS, cell_middles

PLACES = [[0.0, 0.0], [1.2, 2.2], [-2.9, 0.4], [2.6, -2.8], [0.31, -0.77]]
MOVES = [(1, 0), (0, 1), (1, 1), (1, -1), (2, 1), (1, 2), (2, -1), (1, -2)]  # and back


@pytest.fixture
def page(show):
    return show("LatentMap", has_touch=True)


def table_cost(figure, p, q):
    """What a step over the table costs, by NumPy: bilinear in the middle of the step."""
    table = np.frombuffer(figure.table, "<f2").astype(float).reshape(CELLS, CELLS)
    low, high = figure.window
    side = (high - low) / CELLS
    u, v = np.clip(((p + q) / 2 - low).T / side - 0.5, 0, CELLS - 1.001)
    i, j = u.astype(int), v.astype(int)
    s, t = u - i, v - j
    below = (1 - s) * table[j, i] + s * table[j, i + 1]
    above = (1 - s) * table[j + 1, i] + s * table[j + 1, i + 1]
    log_q = (1 - t) * below + t * above
    return (1 + np.maximum(0, figure.typical - log_q)) * np.hypot(*(p - q).T)


@pytest.mark.browser
@torch.no_grad()
def test_decoder_and_density_in_the_page_equal_python(page):
    """LatentMap: the stored checkpoint and the package's mixture, to 1e-4."""
    found = page.evaluate(
        "places => { const { decode, logQ } = document.querySelector('.vf').__vf;"
        "return places.map((z) => [Array.from(decode(z)), logQ(z)]); }",
        PLACES,
    )
    z, figure = torch.tensor(PLACES), explore.LatentMap()
    pictures = checkpoints.load("draw_digit").decode(z).mean
    np.testing.assert_allclose([x for x, _ in found], pictures, atol=1e-4)
    np.testing.assert_allclose([v for _, v in found], figure.mixture.log_prob(z), atol=1e-4)


@pytest.mark.browser
def test_roads_and_costs_in_the_page_equal_python(page):
    """eq-lerp, eq-slerp, eq-path-cost"""
    figure = explore.LatentMap()
    a, b = torch.tensor(figure.a), torch.tensor(figure.b)
    found = page.evaluate(
        "([a, b]) => { const { road, cost, resample } = document.querySelector('.vf').__vf;"
        "return ['straight', 'spherical', 'dense'].map((name) => { const path = road(name, a, b);"
        "return { path, cost: cost(path), frames: resample(path, 9) }; }); }",
        [figure.a, figure.b],
    )
    for got, path in zip(found, (lerp(a, b, 33), slerp(a, b, 33)), strict=False):
        np.testing.assert_allclose(got["path"], path, atol=1e-5)
    for got in found:
        path = torch.tensor(got["path"])
        cost = path_cost(figure.mixture, path, typical=figure.typical)
        assert got["cost"] == pytest.approx(cost.item(), rel=1e-4)
        np.testing.assert_allclose(got["frames"], resample(path, 9), atol=1e-4)
    assert found[2]["cost"] < found[0]["cost"]
    assert found[2]["path"][0] == figure.a
    assert found[2]["path"][-1] == figure.b


@pytest.mark.browser
def test_the_cheapest_ways_over_the_cells_are_scipys(page):
    figure = explore.LatentMap()
    middles = cell_middles(figure.window).double().numpy()
    j, i = np.divmod(np.arange(CELLS**2), CELLS)
    rows, columns = [], []
    for di, dj in MOVES:
        inside = (i + di < CELLS) & (j + dj >= 0) & (j + dj < CELLS)
        rows.append(np.flatnonzero(inside))
        columns.append(rows[-1] + dj * CELLS + di)
    rows, columns = np.concatenate(rows), np.concatenate(columns)
    cost = table_cost(figure, middles[rows], middles[columns])
    graph = coo_matrix((cost, (rows, columns)), shape=(CELLS**2, CELLS**2)).tocsr()
    to = 40 * CELLS + 17
    expected = dijkstra(graph, directed=False, indices=to)
    found = page.evaluate("to => document.querySelector('.vf').__vf.sweep(to)", to)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.browser
def test_mouse_finger_keyboard_and_buttons_each_change_a_number(page):
    before = shown(page, "log_q"), shown(page, "cost")
    box = page.locator('[data-handle="z"]').bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x - 40, y + 60)
    page.mouse.up()
    assert shown(page, "log_q") != before[0]
    assert shown(page, "cost") == before[1]
    page.get_by_role("button", name="straight").tap()
    assert shown(page, "cost") != before[1]
    assert "straight road" in page.locator(".vf-message").inner_text()
    straight = shown(page, "length")
    page.get_by_role("button", name="B", exact=True).tap()
    page.get_by_role("slider", name="first coordinate").focus()
    page.keyboard.press("Home")
    assert shown(page, "length") != straight
    assert page.get_by_role("button", name="B", exact=True).get_attribute("aria-pressed") == "true"


@pytest.mark.skipif(not mnist_is_here(), reason="the stored codes are MNIST's")
@torch.no_grad()
def test_the_stored_codes_are_the_encodings():
    from vae_tutorial.data import load_mnist

    figure = explore.LatentMap()
    q = checkpoints.load("draw_digit").encode(load_mnist().train[:2000])
    torch.testing.assert_close(figure.mixture.loc, q.loc, atol=5e-3, rtol=2e-3)
    torch.testing.assert_close(figure.mixture.scale, q.scale, atol=1e-3, rtol=2e-3)
    table = torch.from_numpy(np.frombuffer(figure.table, "<f2").astype(np.float32))
    exact = figure.mixture.log_prob(cell_middles(figure.window)).clamp_min(-40)
    torch.testing.assert_close(table, exact, atol=0.03, rtol=1e-3)


def test_a_place_is_two_numbers():
    for name in ("z", "a", "b"):
        with pytest.raises(traitlets.TraitError, match=f"{name} must be two numbers"):
            explore.LatentMap(**{name: [1.0]})
    with pytest.raises(traitlets.TraitError):
        explore.LatentMap(road="curved")

"""Data: one split, checked bytes, and a cache that survives bad servers, full disks and company.

Everything here is offline: the servers run on 127.0.0.1 and serve small made-up files whose hashes
stand in for MNIST's. A guard makes sure that no other address is even looked up.
"""

import contextlib
import errno
import gzip
import hashlib
import http.server
import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

from vae_tutorial import data
from vae_tutorial.data import DataError, IdxFile

ROOT = Path(__file__).resolve().parents[1]


def idx(array):
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    return header + array.tobytes()


def made_up_files():
    rng = np.random.default_rng(0)
    arrays = {
        "train": rng.integers(0, 256, (40, 28, 28), dtype=np.uint8),
        "train_labels": rng.integers(0, 10, 40, dtype=np.uint8),
        "test": rng.integers(0, 256, (10, 28, 28), dtype=np.uint8),
        "test_labels": rng.integers(0, 10, 10, dtype=np.uint8),
    }
    contents = {data.MNIST_FILES[key].name: idx(array) for key, array in arrays.items()}
    specs = {}
    for key, array in arrays.items():
        name = data.MNIST_FILES[key].name
        specs[key] = IdxFile(name, hashlib.sha256(contents[name]).hexdigest(), array.shape)
    return arrays, contents, specs


ARRAYS, CONTENTS, SPECS = made_up_files()
FIRST = SPECS["train"].name


class Handler(http.server.BaseHTTPRequestHandler):
    """/<behaviour>/<file>.gz"""

    def log_message(self, *args):
        pass

    def body(self, content, *, length=None):
        self.send_response(200)
        self.send_header("Content-Length", str(len(content) if length is None else length))
        self.end_headers()
        self.wfile.write(content)

    def do_GET(self):
        _, behaviour, name = self.path.split("/")
        self.server.requests.append(self.path)
        good = gzip.compress(CONTENTS[name.removesuffix(".gz")])
        # The client may give up in the middle, as it should.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            getattr(self, behaviour)(good, name)

    def good(self, good, name):
        self.body(good)

    def plain(self, good, name):
        self.body(gzip.decompress(good))

    def together(self, good, name):
        self.server.barrier.wait()  # both processes ask before either is answered
        self.body(good)

    def truncated(self, good, name):
        self.body(good[: len(good) // 2])

    def broken_off(self, good, name):
        self.body(good[: len(good) // 2], length=len(good))

    def corrupted(self, good, name):
        wrong = bytearray(gzip.decompress(good))
        wrong[-1] ^= 1
        self.body(gzip.compress(bytes(wrong)))

    def scrambled(self, good, name):
        self.body(good[:20] + bytes(200) + good[20:])

    def empty(self, good, name):
        self.body(b"")

    def page(self, good, name):
        self.body(b"<!doctype html><title>Sign in to this network</title>")

    def bomb(self, good, name):
        self.body(gzip.compress(bytes(20_000_000)))

    def endless(self, good, name):
        self.send_response(200)
        self.end_headers()
        while True:
            self.wfile.write(good)

    def missing(self, good, name):
        self.send_error(404)

    def redirect(self, good, name):
        self.send_response(302)
        self.send_header("Location", f"/good/{name}")
        self.end_headers()

    def in_a_circle(self, good, name):
        self.send_response(302)
        self.send_header("Location", f"/in_a_circle/{name}")
        self.end_headers()

    def to_a_file(self, good, name):
        self.send_response(302)
        self.send_header("Location", f"file:///{name}")
        self.end_headers()

    def drip(self, good, name):
        self.send_response(200)
        self.send_header("Content-Length", str(len(good)))
        self.end_headers()
        for byte in good:
            self.wfile.write(bytes([byte]))
            time.sleep(0.02)

    def drip_headers(self, good, name):
        while True:
            self.wfile.write(b"HTTP/1.1 200 OK\r\nX: y\r\n"[:1])
            time.sleep(0.02)

    def silent(self, good, name):
        time.sleep(3)


@pytest.fixture(scope="module")
def server():
    """A server on 127.0.0.1 whose address ends in the behaviour that is asked of it."""
    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.daemon_threads = True
    httpd.requests = []
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield httpd
    httpd.shutdown()
    thread.join()
    httpd.server_close()


@pytest.fixture
def at(server):
    server.requests.clear()
    return lambda behaviour: f"http://127.0.0.1:{server.server_address[1]}/{behaviour}/"


@pytest.fixture(scope="module")
def refused():
    """An address where nobody listens: the port is bound, so nobody else can take it."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}/"


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    look_up = socket.getaddrinfo

    def only_here(host, *args, **kwargs):
        assert host in ("127.0.0.1", "localhost"), f"a test asked the network for {host}"
        return look_up(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", only_here)
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def cache(monkeypatch, tmp_path):
    """An empty machine: no settings, no cache, made-up files; returns where the cache will be."""
    for name in ("VAE_TUTORIAL_DATA", "VAE_TUTORIAL_MNIST", "VAE_TUTORIAL_STRICT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(data, "MNIST_FILES", SPECS)
    monkeypatch.setattr(data, "MIRRORS", ())
    monkeypatch.setattr(data, "DEADLINE", 20.0)
    monkeypatch.setattr(data, "STALL", 1.0)
    return tmp_path / "cache" / "vae-tutorial" / "mnist"


def fill(folder, *, packed=False):
    folder.mkdir(parents=True)
    for name, content in CONTENTS.items():
        path = folder / (name + ".gz" if packed else name)
        path.write_bytes(gzip.compress(content) if packed else content)


def assert_right(images):
    assert images.is_mnist
    assert images.name == "MNIST"
    assert images.train.dtype == torch.float32
    assert images.train_labels.dtype == torch.int64
    np.testing.assert_array_equal(images.train.numpy() * 255, ARRAYS["train"].reshape(40, 784))
    np.testing.assert_array_equal(images.test.numpy() * 255, ARRAYS["test"].reshape(10, 784))
    np.testing.assert_array_equal(images.train_labels.numpy(), ARRAYS["train_labels"])
    np.testing.assert_array_equal(images.test_labels.numpy(), ARRAYS["test_labels"])


def assert_sound(folder, *, files=None):
    """Whatever the cache holds is whole and right, and nothing half-written is left."""
    found = {p.name: p.read_bytes() for p in folder.iterdir()} if folder.is_dir() else {}
    assert found.items() <= CONTENTS.items(), sorted(found)
    if files is not None:
        assert len(found) == files


# ------------------------------------------------------------------------------------- good servers


@pytest.mark.parametrize("behaviour", ["good", "redirect", "plain"])
def test_a_good_mirror_ends_in_the_cache(cache, at, monkeypatch, capsys, behaviour):
    monkeypatch.setattr(data, "MIRRORS", (at(behaviour),))
    assert not data.mnist_is_here()
    assert_right(data.load_mnist())
    assert "fetching it" in capsys.readouterr().out
    assert_sound(cache, files=4)
    assert data.mnist_is_here()
    monkeypatch.setattr(data, "MIRRORS", ())
    assert_right(data.load_mnist())  # now from the cache alone
    assert capsys.readouterr().out == ""


def test_only_the_missing_file_is_fetched(cache, at, server, monkeypatch):
    fill(cache)
    (cache / FIRST).unlink()
    monkeypatch.setattr(data, "MIRRORS", (at("good"),))
    assert_right(data.load_mnist())
    assert server.requests == [f"/good/{FIRST}.gz"]


@pytest.mark.parametrize("damage", ["cut", "changed", "emptied"])
def test_a_damaged_cache_is_mended(cache, at, monkeypatch, damage):
    fill(cache)
    content = CONTENTS[FIRST]
    wrong = {"cut": content[:-5], "changed": content[:-1] + b"?", "emptied": b""}[damage]
    (cache / FIRST).write_bytes(wrong)
    assert not data.mnist_is_here()
    monkeypatch.setattr(data, "MIRRORS", (at("good"),))
    assert_right(data.load_mnist())
    assert_sound(cache, files=4)


# -------------------------------------------------------------------------------------- bad servers

FAULTS = {
    "truncated": "cut off or damaged",
    "broken_off": "cut off or damaged|the connection broke",
    "corrupted": "damaged or another file",
    "scrambled": "cut off or damaged",
    "empty": "empty file",
    "page": "damaged or another file",
    "bomb": "damaged or another file",
    "endless": "more than the .* bytes that can be right",
    "missing": "404",
    "in_a_circle": "302",
    "to_a_file": "302|not allowed",
    "silent": "sent nothing for 1 s",
    "drip": "too slow: .* bytes in",
    "drip_headers": "too slow: 0 bytes in|broke",
    "refused": "could not be reached",
}


@pytest.fixture(params=sorted(FAULTS))
def fault(request, at, refused, monkeypatch):
    if request.param.startswith("drip"):
        monkeypatch.setattr(data, "DEADLINE", 1.0)
    address = refused if request.param == "refused" else at(request.param)
    return address, FAULTS[request.param]


def test_in_strict_mode_a_fault_is_an_error_and_never_the_stand_in(cache, fault, monkeypatch):
    address, reason = fault
    monkeypatch.setattr(data, "MIRRORS", (address,))
    monkeypatch.setenv("VAE_TUTORIAL_STRICT", "1")
    start = time.monotonic()
    with pytest.raises(DataError, match=reason) as error:
        data.load_mnist()
    assert time.monotonic() - start < 10
    message = str(error.value)
    assert address in message
    assert FIRST in message
    assert "VAE_TUTORIAL_STRICT=1 refuses the stand-in" in message
    assert "python -m vae_tutorial.data" in message  # what to do
    assert_sound(cache, files=0)


def test_the_second_mirror_saves_the_day(cache, fault, at, server, monkeypatch):
    address, _ = fault
    monkeypatch.setattr(data, "MIRRORS", (address, at("good")))
    if data.DEADLINE < 4:
        monkeypatch.setattr(data, "DEADLINE", 4.0)  # half of it is the good mirror's
    monkeypatch.setenv("VAE_TUTORIAL_STRICT", "1")
    assert_right(data.load_mnist())
    assert_sound(cache, files=4)
    # The bad mirror was asked for one file only: after that the good one came first.
    bad = [r for r in server.requests if not r.startswith("/good/")]
    assert len(set(bad)) <= 1


def test_otherwise_a_fault_is_one_visible_sentence_and_the_stand_in(
    cache, fault, monkeypatch, capsys
):
    address, _ = fault
    monkeypatch.setattr(data, "MIRRORS", (address,))
    images = data.load_mnist()
    assert not images.is_mnist
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 2, said  # that it tries, and that it failed
    assert said[1].startswith("MNIST could not be had (")
    assert address in said[1]
    assert said[1].endswith("stand in for MNIST, and the book's numbers do not apply to them.")
    assert_sound(cache, files=0)


def test_a_mirror_that_dies_half_way_leaves_what_was_whole(cache, at, monkeypatch):
    download = data._download

    def dies(url, **keywords):
        if "labels" in url:
            raise DataError("it died")
        return download(url, **keywords)

    monkeypatch.setattr(data, "_download", dies)
    monkeypatch.setattr(data, "MIRRORS", (at("good"),))
    monkeypatch.setenv("VAE_TUTORIAL_MNIST", "mnist")
    with pytest.raises(DataError, match=r"it died(.|\n)*VAE_TUTORIAL_MNIST=mnist refuses"):
        data.load_mnist()
    assert_sound(cache)


def test_two_slow_mirrors_cannot_outlive_the_deadline(cache, at, monkeypatch):
    monkeypatch.setattr(data, "MIRRORS", (at("drip"), at("drip_headers")))
    monkeypatch.setattr(data, "DEADLINE", 1.0)
    monkeypatch.setenv("VAE_TUTORIAL_STRICT", "1")
    start = time.monotonic()
    with pytest.raises(DataError) as error:
        data.load_mnist()
    assert time.monotonic() - start < 3
    assert str(error.value).count("http://127.0.0.1") == 2  # both are named


# ------------------------------------------------------------------------ disks, folders, processes


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES])
@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_costs_the_cache_and_not_the_data(cache, at, monkeypatch, capsys, number, call):
    def full(*args):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, call, full)
    monkeypatch.setattr(data, "MIRRORS", (at("good"),))
    monkeypatch.setenv("VAE_TUTORIAL_STRICT", "1")
    assert_right(data.load_mnist())
    said = capsys.readouterr().out
    assert "could not be kept" in said
    assert os.strerror(number) in said
    assert "XDG_CACHE_HOME" in said
    assert_sound(cache, files=0)


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_a_file_where_the_folder_should_be(cache, at, monkeypatch, capsys, depth):
    in_the_way = (cache, *cache.parents)[depth]
    in_the_way.parent.mkdir(parents=True, exist_ok=True)
    in_the_way.write_text("not a folder")
    assert not data.mnist_is_here()
    monkeypatch.setattr(data, "MIRRORS", (at("good"),))
    monkeypatch.setenv("VAE_TUTORIAL_STRICT", "1")
    assert_right(data.load_mnist())
    assert f"{in_the_way} is a file where a folder should be" in capsys.readouterr().out
    assert in_the_way.read_text() == "not a folder"
    assert data.main([]) == 1  # fetched, but the next reader would have to fetch again


def test_a_folder_where_a_file_should_be(cache, at, monkeypatch, capsys):
    (cache / FIRST).mkdir(parents=True)
    monkeypatch.setattr(data, "MIRRORS", (at("good"),))
    assert not data.mnist_is_here()
    assert_right(data.load_mnist())
    assert "could not be kept" in capsys.readouterr().out
    assert not list(cache.glob(".*.part"))


def test_what_a_killed_process_left_is_swept_later(cache, at, monkeypatch):
    cache.mkdir(parents=True)
    old, young = cache / f".{FIRST}.old.part", cache / f".{FIRST}.young.part"
    old.write_bytes(b"half")
    young.write_bytes(b"half")
    os.utime(old, (time.time() - 7200,) * 2)
    monkeypatch.setattr(data, "MIRRORS", (at("good"),))
    assert_right(data.load_mnist())
    assert not old.exists()
    assert young.exists()  # perhaps somebody is writing it now
    young.unlink()
    assert_sound(cache, files=4)


PROCESS = """
import json, resource, sys
from scipy import stats

from vae_tutorial import data
mirrors, specs, limit = json.loads(sys.argv[1])
data.MIRRORS = tuple(mirrors)
data.MNIST_FILES = {k: data.IdxFile(n, h, tuple(s)) for k, (n, h, s) in specs.items()}
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
images = data.load_mnist()
print("right" if images.is_mnist else "stand-in", round(float(images.train.sum()), 3))
"""


def start_process(mirrors, *, limit=None):
    specs = {k: (s.name, s.sha256, s.shape) for k, s in SPECS.items()}
    return subprocess.Popen(
        [sys.executable, "-c", PROCESS, json.dumps([mirrors, specs, limit])],
        cwd=ROOT,
        env=os.environ | {"VAE_TUTORIAL_STRICT": "1", "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_two_processes_at_once(cache, at, server):
    server.barrier = threading.Barrier(2, timeout=60)
    processes = [start_process([at("together")]) for _ in range(2)]
    answers = [p.communicate(timeout=120) for p in processes]
    assert [p.returncode for p in processes] == [0, 0], answers
    lines = {out.splitlines()[-1] for out, _ in answers}
    assert len(lines) == 1
    assert lines.pop().startswith("right")
    assert len(server.requests) == 8  # both did fetch everything
    assert_sound(cache, files=4)


@pytest.mark.skipif(sys.platform == "win32", reason="limits of a process are a POSIX thing")
def test_a_disk_that_is_full_for_this_process(cache, at):
    process = start_process([at("good")], limit=1000)  # bytes per file: images don't fit
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert out.splitlines()[-1].startswith("right")
    assert "could not be kept" in out
    assert "make room" in out
    assert_sound(cache)


def test_readers_never_see_a_half_written_file(cache):
    spec, content = SPECS["train"], CONTENTS[FIRST]
    data._keep(cache, spec, content)
    done = threading.Event()

    def write():
        for _ in range(30):
            data._keep(cache, spec, content)

    def read():
        while not done.is_set():
            data._read_file(cache, spec)  # raises on any byte that is wrong
        return True

    faults = []

    def guarded(work):
        try:
            work()
        except Exception as error:
            faults.append(error)

    readers = [threading.Thread(target=guarded, args=(read,)) for _ in range(2)]
    writers = [threading.Thread(target=guarded, args=(write,)) for _ in range(4)]
    for thread in readers + writers:
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    for thread in readers:
        thread.join()
    assert faults == []
    assert_sound(cache, files=1)


# ---------------------------------------------------------------------------------- the environment


@pytest.mark.parametrize("packed", [False, True])
def test_the_given_folder_comes_first(cache, at, server, monkeypatch, tmp_path, packed, capsys):
    fill(tmp_path / "given" / "mnist", packed=packed)
    monkeypatch.setenv("VAE_TUTORIAL_DATA", str(tmp_path / "given"))
    monkeypatch.setattr(data, "MIRRORS", (at("good"),))
    assert data.mnist_is_here()
    assert_right(data.load_mnist())
    assert server.requests == []
    assert not cache.exists()
    assert data.main([]) == 0
    assert str(tmp_path / "given" / "mnist") in capsys.readouterr().out


@pytest.mark.parametrize("wrong", ["no folder", "no mnist", "no file", "cut off", "changed"])
def test_a_wrong_given_folder_is_an_error_even_if_all_else_is_well(
    cache, at, monkeypatch, tmp_path, wrong, capsys
):
    given = tmp_path / "given"
    if wrong == "no mnist":
        given.mkdir()
    elif wrong != "no folder":
        fill(given / "mnist", packed=True)
        path = given / "mnist" / f"{FIRST}.gz"
        if wrong == "no file":
            path.unlink()
        elif wrong == "cut off":
            path.write_bytes(path.read_bytes()[:-30])
        else:
            path.write_bytes(gzip.compress(CONTENTS[FIRST][:-1] + b"?"))
    fill(cache)
    monkeypatch.setattr(data, "MIRRORS", (at("good"),))
    monkeypatch.setenv("VAE_TUTORIAL_DATA", str(given))
    for call in (data.load_mnist, data.mnist_is_here):
        with pytest.raises(DataError, match=str(given)) as error:
            call()
    if wrong in ("no folder", "no mnist"):
        assert "point it at the folder that holds mnist/, or unset it" in str(error.value)
    else:
        assert FIRST in str(error.value)
    assert data.main([]) == 1
    assert str(given) in capsys.readouterr().err


def test_the_wish_for_digits_asks_nobody(cache, at, server, monkeypatch, capsys):
    fill(cache)
    monkeypatch.setattr(data, "MIRRORS", (at("good"),))
    monkeypatch.setenv("VAE_TUTORIAL_MNIST", "digits")
    assert not data.load_mnist().is_mnist
    assert server.requests == []
    said = capsys.readouterr().out
    assert said.count("\n") == 1
    assert "stand in for MNIST" in said


def test_the_wish_for_digits_and_strict_contradict(cache, monkeypatch):
    monkeypatch.setenv("VAE_TUTORIAL_MNIST", "digits")
    monkeypatch.setenv("VAE_TUTORIAL_STRICT", "1")
    with pytest.raises(DataError, match=r"VAE_TUTORIAL_MNIST=digits .* VAE_TUTORIAL_STRICT=1"):
        data.load_mnist()


def test_the_wish_for_mnist_refuses_the_stand_in(cache, monkeypatch):
    monkeypatch.setenv("VAE_TUTORIAL_MNIST", "mnist")
    with pytest.raises(DataError, match="VAE_TUTORIAL_MNIST=mnist refuses the stand-in"):
        data.load_mnist()


@pytest.mark.parametrize("wish", ["MNIST", "yes", "fashion"])
def test_an_unknown_wish_names_what_is_accepted(cache, monkeypatch, wish):
    monkeypatch.setenv("VAE_TUTORIAL_MNIST", wish)
    with pytest.raises(DataError, match=f"must be auto, mnist or digits, got '{wish}'"):
        data.load_mnist()


def test_where_caches_live(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert data.cache_folder() == tmp_path / "vae-tutorial" / "mnist"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # to be ignored, says the standard
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(sys, "platform", "linux")
    assert data.cache_folder() == tmp_path / ".cache" / "vae-tutorial" / "mnist"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert data.cache_folder() == tmp_path / "Library" / "Caches" / "vae-tutorial" / "mnist"
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    assert data.cache_folder() == tmp_path / "local" / "vae-tutorial" / "mnist"


def test_the_command_fetches_and_says_where(cache, at, monkeypatch, capsys):
    monkeypatch.setattr(data, "MIRRORS", (at("missing"),))
    assert data.main([]) == 1
    said = capsys.readouterr().err
    assert "MNIST: not here." in said
    assert "404" in said
    assert "VAE_TUTORIAL_DATA" in said  # the other way to have it
    monkeypatch.setattr(data, "MIRRORS", (at("good"),))
    assert data.main(["--deadline", "60"]) == 0
    said = capsys.readouterr().out
    assert str(cache) in said
    assert "digits: inside scikit-learn" in said


# ------------------------------------------------------------------------------------- the idx file


def test_idx_round_trip():
    for shape in [(3,), (2, 5), (2, 3, 4), (0, 28, 28)]:
        array = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
        np.testing.assert_array_equal(data.read_idx(idx(array)), array)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not an idx file"),
        (b"\x00\x00\x08", "not an idx file"),
        (b"<html>", "not an idx file"),
        (b"\x00\x00\x0d\x01\x00\x00\x00\x00", "not an idx file of bytes"),  # floats
        (b"\x00\x00\x08\x00", "not an idx file"),
        (b"\x00\x00\x08\x02\x00\x00\x00\x01\x00", "cut off inside its header: 9 of 12"),
        (b"\x00\x00\x08\x01\x00\x00\x00\x03\x01\x02", "takes 11 bytes, but it has 10"),
        (b"\x00\x00\x08\x01\x00\x00\x00\x01\x01\x02", "takes 9 bytes, but it has 10"),
        (
            b"\x00\x00\x08\x03" + b"\xff" * 12,
            rf"takes {16 + (2**32 - 1) ** 3} bytes, but it has 16",
        ),  # sizes that overflow
    ],
)
def test_idx_that_is_none(content, message):
    with pytest.raises(DataError, match=message) as error:
        data.read_idx(content, where="the parcel")
    assert "the parcel" in str(error.value)


def test_a_right_hash_with_another_shape_is_refused():
    spec = IdxFile("x", SPECS["train"].sha256, (20, 56, 28))
    with pytest.raises(DataError, match="shape"):
        data._checked(CONTENTS[FIRST], spec, "x")


# -------------------------------------------------------------------------------- digits and splits


def test_digits_are_scikit_learns_split_once_in_proportion():
    from sklearn import datasets

    digits = data.load_digits()
    pixels, labels = datasets.load_digits(return_X_y=True)
    assert digits.train.shape == (1400, 64)
    assert digits.test.shape == (397, 64)
    assert (digits.shape, digits.name, digits.is_mnist) == ((8, 8), "digits", False)
    assert digits.train.dtype == torch.float32
    assert digits.train_labels.dtype == torch.int64
    # Together they are the whole set, each image once, with its own label.
    ours = np.column_stack(
        [
            torch.cat([digits.train, digits.test]).double().numpy() * 16,
            torch.cat([digits.train_labels, digits.test_labels]).numpy(),
        ]
    )
    whole = np.column_stack([pixels, labels])
    np.testing.assert_array_equal(ours[np.lexsort(ours.T)], whole[np.lexsort(whole.T)])
    # Each class has its share of the test images, rounded.
    shares = np.bincount(labels) * 397 / 1797
    assert np.abs(np.bincount(digits.test_labels.numpy()) - shares).max() < 1


def test_the_digits_split_never_moves():
    digits = data.load_digits()
    fingerprint = hashlib.sha256(
        (digits.train * 16).to(torch.uint8).numpy().tobytes()
        + (digits.test * 16).to(torch.uint8).numpy().tobytes()
    ).hexdigest()
    assert fingerprint[:16] == "25e394d2f40d2291"


def test_the_stand_in_has_mnists_shape_and_the_digits_split(cache, monkeypatch, capsys):
    monkeypatch.setenv("VAE_TUTORIAL_MNIST", "digits")
    stand_in, digits = data.load_mnist(), data.load_digits()
    capsys.readouterr()
    assert stand_in.train.shape == (1400, 784)
    spread = data.dequantize(stand_in.test, levels=256, generator=None)  # 256 levels, as MNIST's
    assert 0 <= spread.min() < spread.max() < 1
    assert stand_in.shape == (28, 28)
    assert not stand_in.is_mnist
    assert "digits" in stand_in.name
    assert 0 <= float(stand_in.train.min()) <= float(stand_in.train.max()) <= 1
    torch.testing.assert_close(stand_in.test_labels, digits.test_labels)
    picture = stand_in.train[0].view(28, 28)
    framed = torch.zeros(28, 28, dtype=torch.bool)
    framed[4:24, 4:24] = True
    assert not picture[~framed].any()
    # Bilinear by hand: output pixel i has its centre at (i + 1/2) 8/20 - 1/2 of the small grid.
    where = np.clip((np.arange(20) + 0.5) * 0.4 - 0.5, 0, 7)
    low = np.minimum(where.astype(int), 6)
    weight = np.zeros((20, 8))
    weight[np.arange(20), low] = 1 - (where - low)
    weight[np.arange(20), low + 1] = where - low
    small = digits.train[0].view(8, 8).double().numpy()
    np.testing.assert_allclose(
        picture[4:24, 4:24].numpy(), weight @ small @ weight.T, rtol=0, atol=0.5 / 255 + 1e-6
    )


def test_validation_is_the_last_twelfth_and_hides_the_test_images():
    digits = data.load_digits()
    held_out = data.validation_split(digits)
    assert len(held_out.test) == 116
    assert len(held_out.train) == 1284
    torch.testing.assert_close(torch.cat([held_out.train, held_out.test]), digits.train)
    torch.testing.assert_close(
        torch.cat([held_out.train_labels, held_out.test_labels]), digits.train_labels
    )
    assert "validation" in held_out.name
    assert 60000 // 12 == 5000  # MNIST's, as stated
    small = data.ImageData(
        digits.train[:5],
        digits.test,
        digits.train_labels[:5],
        digits.test_labels,
        (8, 8),
        "few",
        False,
    )
    with pytest.raises(ValueError, match="has 5 images: at least 12"):
        data.validation_split(small)


def test_image_data_prints_as_one_line():
    assert repr(data.load_digits()) == (
        "ImageData(digits: 1,400 training and 397 test images of 8×8)"
    )


# ----------------------------------------------------------------------------------------- binarize


def test_binarize_is_white_as_often_as_the_grey_value_says():
    generator = torch.Generator().manual_seed(0)
    grey = torch.linspace(0, 1, 11, dtype=torch.float64)
    n = 40_000
    drawn = data.binarize(grey.expand(n, -1), generator=generator)
    assert set(drawn.unique().tolist()) == {0.0, 1.0}
    assert drawn.dtype == grey.dtype
    error = (drawn.mean(0) - grey).abs()
    assert (error <= 4 * (grey * (1 - grey) / n).sqrt()).all()  # 4 standard errors; exact at 0, 1


def test_binarize_repeats_with_its_generator_and_leaves_the_images_alone():
    grey = data.load_digits().train[:50]
    before = grey.clone()
    first, again, other = (
        data.binarize(grey, generator=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(grey, before)
    assert data.binarize(torch.zeros(0, 4), generator=None).shape == (0, 4)


@pytest.mark.parametrize("wrong", [-0.1, 1.1, float("nan"), 255.0])
def test_binarize_refuses_what_is_no_probability(wrong):
    with pytest.raises(ValueError, match=r"x must lie in \[0, 1\].*rescale"):
        data.binarize(torch.tensor([0.5, wrong]), generator=None)


def test_binarize_speaks_to_readers(reader_errors):
    make = "import torch; from vae_tutorial.data import binarize; "
    assert reader_errors([make + "binarize(torch.tensor([0, 255]), generator=None)"]) == [
        "ValueError: x must be a floating-point tensor, got torch.int64: divide by 255"
    ]


# ------------------------------------------------------------------------------- MNIST, where it is


@pytest.mark.skipif(not data.mnist_is_here(), reason="MNIST is not here: run `make data`")
def test_the_real_mnist(monkeypatch):
    monkeypatch.setenv("VAE_TUTORIAL_MNIST", "mnist")
    mnist = data.load_mnist()
    assert mnist.is_mnist
    assert mnist.train.shape == (60000, 784)
    assert mnist.test.shape == (10000, 784)
    assert mnist.train_labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert mnist.test_labels.bincount().tolist() == [
        980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009,
    ]  # fmt: skip
    assert float(mnist.train.mean()) == pytest.approx(0.1307, abs=1e-4)
    assert len(data.validation_split(mnist).test) == 5000


# ------------------------------------------------------------------ grey levels, spread
def test_dequantized_levels_fill_their_bins():
    """eq-dequantize: uniform on [k/K, (k + 1)/K), with the mean of its middle."""
    k = torch.randint(256, (40_000,), generator=torch.Generator().manual_seed(0))
    g = torch.Generator().manual_seed(1)
    y = data.dequantize(k / 255, levels=256, generator=g)
    assert torch.equal((256 * y.double()).floor().long(), k)
    u = 256 * y.double() - k
    assert stats.kstest(u.numpy(), "uniform").pvalue > 0.01
    again = data.dequantize(k / 255, levels=256, generator=torch.Generator().manual_seed(1))
    assert torch.equal(y, again)


def test_a_uniform_law_of_levels_becomes_a_uniform_density():
    levels = (torch.arange(17) / 16).repeat(2000)
    y = data.dequantize(levels, levels=17, generator=torch.Generator().manual_seed(2))
    assert stats.kstest(y.double().numpy(), "uniform").pvalue > 0.01


def test_what_is_no_grey_level_is_refused():
    y = torch.tensor([0.0, 0.3, 1.0])
    with pytest.raises(ValueError, match=r"x must hold the 3 levels k/2, got 0\.3.*already"):
        data.dequantize(y, levels=3, generator=None)
    for bad in (-0.5, 1.5, float("nan")):
        with pytest.raises(ValueError, match="x must hold the 3 levels"):
            data.dequantize(torch.tensor([bad]), levels=3, generator=None)
    with pytest.raises(ValueError, match="levels must be at least 2, got 1"):
        data.dequantize(y, levels=1, generator=None)

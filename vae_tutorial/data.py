"""The book's data sets: scikit-learn's 8×8 digits, and MNIST by checksum into one cache folder.

One split per data set, stated here and nowhere else:

* **digits**: 1,797 images, 1,400 to train and 397 to test, each class in proportion. Who is
  tested, and in which order images come, is decided by the SHA-256 of a fixed text and the
  image's index: the same on every machine and under every version of every library.
* **MNIST**: 60,000 and 10,000, as published.
* **validation** (:func:`validation_split`), where something is chosen: the last twelfth of the
  training images, which is the last 5,000 of MNIST. Nothing is chosen on test data.

Run ``python -m vae_tutorial.data`` to fetch MNIST and to see where it is. The environment may say:

* ``VAE_TUTORIAL_DATA``: a folder that holds ``mnist/`` with the four files (``.gz`` or not).
  Set but wrong is an error, never a reason to look elsewhere.
* ``VAE_TUTORIAL_MNIST``: ``auto`` (the default: MNIST if it can be had, else the stand-in and one
  sentence that says so), ``mnist`` (or an error), ``digits`` (the stand-in, without asking).
* ``VAE_TUTORIAL_STRICT=1``: refuse the stand-in.
* ``XDG_CACHE_HOME``: where caches live on this machine.
"""

import argparse
import contextlib
import errno
import gzip
import hashlib
import http.client
import io
import math
import os
import queue
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor

__all__ = [
    "DataError",
    "ImageData",
    "binarize",
    "dequantize",
    "load_digits",
    "load_mnist",
    "mnist_is_here",
    "validation_split",
]

MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
DEADLINE = 120.0  # seconds for the whole download, all files and mirrors together
STALL = 10.0  # seconds without a single byte before a mirror is given up

DIGITS_SPLIT_SEED = 0
DIGITS_TEST = 397


class DataError(RuntimeError):
    """A data set is missing, damaged or asked for in a way that cannot work; says what to do."""


@dataclass(frozen=True)
class IdxFile:
    """One file of MNIST: its name, the SHA-256 of its decompressed bytes, and its shape."""

    name: str
    sha256: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Bytes of the decompressed file: the header, then one byte per value."""
        return 4 + 4 * len(self.shape) + math.prod(self.shape)


MNIST_FILES = {
    "train": IdxFile(
        "train-images-idx3-ubyte",
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        (60000, 28, 28),
    ),
    "train_labels": IdxFile(
        "train-labels-idx1-ubyte",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        (60000,),
    ),
    "test": IdxFile(
        "t10k-images-idx3-ubyte",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        (10000, 28, 28),
    ),
    "test_labels": IdxFile(
        "t10k-labels-idx1-ubyte",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        (10000,),
    ),
}


# ---------------------------------------------------------------------------- what a loader returns


@dataclass(frozen=True)
class ImageData:
    """Grey images in [0, 1], one row of D pixels each, with their labels and their one split.

    Args:
        train: (N, D) training images, float32 in [0, 1].
        test: (M, D) test images, likewise.
        train_labels: (N,) the digit each training image shows, int64.
        test_labels: (M,) likewise.
        shape: height and width of an image; their product is D.
        name: what to print beside a number measured on these images.
        is_mnist: False for the digits and for the stand-in; pass it to ``claim(…, applies=…)``.

    >>> digits = load_digits()
    >>> digits.train.shape, digits.shape, digits.is_mnist
    (torch.Size([1400, 64]), (8, 8), False)
    """

    train: Float32[Tensor, "n d"]
    test: Float32[Tensor, "m d"]
    train_labels: Int64[Tensor, " n"]
    test_labels: Int64[Tensor, " m"]
    shape: tuple[int, int]
    name: str
    is_mnist: bool

    def __repr__(self) -> str:
        height, width = self.shape
        return (
            f"ImageData({self.name}: {len(self.train):,} training and {len(self.test):,} test "
            f"images of {height}×{width})"
        )


def validation_split(data: ImageData) -> ImageData:
    """Hold out the last twelfth of the training images, for whatever has to be chosen.

    Of MNIST these are the last 5,000. The result has them where the test images were, so that a
    search cannot touch the test images by mistake.

    >>> held_out = validation_split(load_digits())
    >>> held_out
    ImageData(digits, validation: 1,284 training and 116 test images of 8×8)
    """
    held_out = len(data.train) // 12
    keep = len(data.train) - held_out
    if held_out == 0:
        raise ValueError(
            f"data.train has {len(data.train)} images: at least 12 are needed to hold some out"
        )
    return replace(
        data,
        train=data.train[:keep],
        train_labels=data.train_labels[:keep],
        test=data.train[keep:],
        test_labels=data.train_labels[keep:],
        name=f"{data.name}, validation",
    )


def binarize(
    x: Float[Tensor, "*shape"], *, generator: torch.Generator | None
) -> Float[Tensor, "*shape"]:
    """Draw each pixel black or white, white with probability equal to its grey value.

    b = 1 if u < x else 0, with u uniform on [0, 1). Drawn afresh in every epoch this is *dynamic*
    binarization; drawn once and kept, it is static.

    Args:
        x: grey values in [0, 1], any shape.
        generator: the source of the uniform noise.

    Raises:
        ValueError: where x is not floating-point, or a value is outside [0, 1] or not a number.

    >>> binarize(torch.tensor([0.0, 1.0]), generator=torch.Generator().manual_seed(0))
    tensor([0., 1.])
    """
    if not x.is_floating_point():
        raise ValueError(f"x must be a floating-point tensor, got {x.dtype}: divide by 255")
    if not bool(((x >= 0) & (x <= 1)).all()):
        raise ValueError(
            "x must lie in [0, 1], because each grey value is used as a probability; got "
            f"min {float(x.min())}, max {float(x.max())}: rescale the images first"
        )
    u = torch.rand(x.shape, generator=generator, dtype=x.dtype, device=x.device)
    return (u < x).to(x.dtype)


def dequantize(
    x: Float[Tensor, "*shape"], *, levels: int, generator: torch.Generator | None
) -> Float[Tensor, "*shape"]:
    """Spread each grey level evenly over its bin: y = (k + u)/K for x = k/(K − 1).

    A density of y has a limit, since no value occurs twice; a density of x has none.

    Equation: eq-dequantize.

    Args:
        x: grey levels k/(K − 1), any shape.
        levels: K, at least 2: 256 for MNIST, 17 for the digits.
        generator: the source of u, uniform on [0, 1).

    Raises:
        ValueError: for K < 2, and where a value is not one of the K levels.

    Source: Uria, Murray and Larochelle (2013), section 5.

    >>> y = dequantize(torch.tensor([0.0, 0.5, 1.0]), levels=3, generator=None)
    >>> (3 * y).floor()
    tensor([0., 1., 2.])
    """
    if levels < 2:
        raise ValueError(f"levels must be at least 2, got {levels}")
    k = (x * (levels - 1)).round()
    wrong = ~((x * (levels - 1) - k).abs() < 0.01) | (k < 0) | (k > levels - 1)
    if bool(wrong.any()):
        raise ValueError(
            f"x must hold the {levels} levels k/{levels - 1}, got {float(x[wrong].ravel()[0])}: "
            "has it been dequantized, or rescaled, already?"
        )
    u = torch.rand(x.shape, generator=generator, dtype=x.dtype, device=x.device)
    # In single precision k + u may round up to k + 1, into the next bin.
    return torch.minimum((k + u) / levels, torch.nextafter((k + 1) / levels, 0 * k))


# ------------------------------------------------------------------------------------------- digits


def load_digits() -> ImageData:
    """Load scikit-learn's 1,797 digits of 8×8 pixels, grey values divided by 16.

    The split is 1,400 to train and 397 to test, each class in proportion, always the same one
    (see the head of this module). Nothing is downloaded.

    Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, the UCI
    collection, 1998, CC BY 4.0; this is its test part.

    >>> digits = load_digits()
    >>> len(digits.train), len(digits.test), float(digits.train.max())
    (1400, 397, 1.0)
    """
    from sklearn import datasets  # slow to import, and most readers of this module don't need it

    pixels, labels = datasets.load_digits(return_X_y=True)
    train, test = _stratified_split(labels, n_test=DIGITS_TEST, seed=DIGITS_SPLIT_SEED)
    images = torch.from_numpy((pixels / 16).astype(np.float32))  # (1797, 64)
    classes = torch.from_numpy(labels.astype(np.int64))
    return ImageData(
        train=images[train],
        test=images[test],
        train_labels=classes[train],
        test_labels=classes[test],
        shape=(8, 8),
        name="digits",
        is_mnist=False,
    )


def _stratified_split(labels: np.ndarray, *, n_test: int, seed: int) -> tuple[Tensor, Tensor]:
    """Indices of the training and of the test images, each class in proportion, all mixed."""
    # Test images per class: the exact shares rounded down, the rest to the largest remainders.
    classes, counts = np.unique(labels, return_counts=True)
    shares = counts * n_test / len(labels)
    quota = np.floor(shares).astype(int)
    for k in np.argsort(quota - shares, kind="stable")[: n_test - quota.sum()]:
        quota[k] += 1
    left = dict(zip(classes.tolist(), quota.tolist(), strict=True))

    def permutation(purpose: str) -> list[int]:
        def place(i: int) -> bytes:
            return hashlib.sha256(f"vae-tutorial digits {seed}:{purpose}:{i}".encode()).digest()

        return sorted(range(len(labels)), key=place)

    held_out = set()
    for i in permutation("split"):
        label = int(labels[i])
        if left[label] > 0:
            held_out.add(i)
            left[label] -= 1
    mixed = permutation("order")
    train = [i for i in mixed if i not in held_out]
    test = [i for i in mixed if i in held_out]
    return torch.tensor(train), torch.tensor(test)


def _stand_in() -> ImageData:
    """The digits in MNIST's shape and levels: bilinear to 20×20, framed, rounded to 256 levels."""
    digits = load_digits()

    def scale_up(images: Tensor) -> Tensor:  # (N, 64) -> (N, 784)
        grid = torch.nn.functional.interpolate(
            images.view(-1, 1, 8, 8), size=(20, 20), mode="bilinear", align_corners=False
        )
        framed = torch.nn.functional.pad(grid, (4, 4, 4, 4)).flatten(1).clamp(0, 1)
        return (255 * framed).round() / 255

    return replace(
        digits,
        train=scale_up(digits.train),
        test=scale_up(digits.test),
        shape=(28, 28),
        name="digits scaled up to 28×28",
    )


# -------------------------------------------------------------------------------------------- MNIST


def load_mnist() -> ImageData:
    """Load MNIST: 60,000 and 10,000 images of 28×28, grey values divided by 255.

    It is read from ``VAE_TUTORIAL_DATA`` where that is set, else from the cache folder, else
    downloaded; every file is accepted only with the right SHA-256. Where MNIST cannot be had, one
    printed sentence says so and the digits scaled up to 28×28 stand in (``is_mnist`` is False):
    every cell still runs, and no number of the book applies.

    Raises:
        DataError: where ``VAE_TUTORIAL_DATA`` or ``VAE_TUTORIAL_MNIST`` is wrong; where MNIST
            cannot be had and ``VAE_TUTORIAL_MNIST=mnist`` or ``VAE_TUTORIAL_STRICT=1``.

    Source: Y. LeCun, C. Cortes and C. J. C. Burges, the MNIST database of handwritten digits.

    >>> load_mnist().shape  # doctest: +SKIP
    (28, 28)
    """
    want = _mnist_wish()
    strict = os.environ.get("VAE_TUTORIAL_STRICT") == "1"
    if want == "digits":
        if strict:
            raise DataError(
                "VAE_TUTORIAL_MNIST=digits asks for the stand-in and VAE_TUTORIAL_STRICT=1 refuses "
                "it: unset one of the two"
            )
        print("VAE_TUTORIAL_MNIST=digits: " + _STAND_IN_NOTE)
        return _stand_in()
    folder = _given_folder()
    if folder is not None:  # an error in here is the user's to mend: no stand-in
        return _to_images(_read_folder(folder, MNIST_FILES))
    try:
        return _to_images(_cached_or_fetched(cache_folder()))
    except DataError as error:
        if want == "mnist" or strict:
            demand = "VAE_TUTORIAL_MNIST=mnist" if want == "mnist" else "VAE_TUTORIAL_STRICT=1"
            raise DataError(f"{error}\n{demand} refuses the stand-in. {_REMEDY}") from None
        print(f"MNIST could not be had ({_one_line(error)}): " + _STAND_IN_NOTE)
        return _stand_in()


def mnist_is_here() -> bool:
    """Say whether MNIST can be loaded on this machine without any download.

    Every file is read and its SHA-256 checked, so a damaged cache counts as absent.

    Raises:
        DataError: where ``VAE_TUTORIAL_DATA`` is set but wrong.

    >>> mnist_is_here() in (True, False)
    True
    """
    folder = _given_folder()
    if folder is not None:
        _read_folder(folder, MNIST_FILES)
        return True
    try:
        _read_folder(cache_folder(), MNIST_FILES)
    except DataError:
        return False
    return True


def cache_folder() -> Path:
    """Return the folder that holds the verified, decompressed files; it need not exist yet.

    >>> cache_folder().parts[-2:]
    ('vae-tutorial', 'mnist')
    """
    caches = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(caches):  # the XDG rule: a relative path is to be ignored
        caches = {
            "win32": os.environ.get("LOCALAPPDATA") or os.path.expanduser("~/AppData/Local"),
            "darwin": os.path.expanduser("~/Library/Caches"),
        }.get(sys.platform, os.path.expanduser("~/.cache"))
    return Path(caches) / "vae-tutorial" / "mnist"


_STAND_IN_NOTE = (
    "scikit-learn's 1,797 digits, scaled up to 28×28, stand in for MNIST, "
    "and the book's numbers do not apply to them."
)
_REMEDY = (
    "What helps: run `python -m vae_tutorial.data` where there is a network (`--deadline 900` on a "
    "slow one), or copy the four files train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz, "
    "t10k-images-idx3-ubyte.gz and t10k-labels-idx1-ubyte.gz into a folder named mnist and point "
    "VAE_TUTORIAL_DATA at the folder that holds it."
)


def _mnist_wish() -> str:
    want = os.environ.get("VAE_TUTORIAL_MNIST") or "auto"
    if want not in ("auto", "mnist", "digits"):
        raise DataError(f"VAE_TUTORIAL_MNIST must be auto, mnist or digits, got {want!r}")
    return want


def _given_folder() -> Path | None:
    """The folder mnist/ inside VAE_TUTORIAL_DATA; None where that is not set."""
    given = os.environ.get("VAE_TUTORIAL_DATA")
    if not given:
        return None
    folder = Path(given).expanduser() / "mnist"
    if not folder.is_dir():
        raise DataError(
            f"VAE_TUTORIAL_DATA is {given!r}, but there is no folder {folder}: point it at the "
            "folder that holds mnist/, or unset it"
        )
    return folder


def _to_images(arrays: Mapping[str, np.ndarray]) -> ImageData:
    def pixels(key: str) -> Tensor:  # (N, 28, 28) bytes -> (N, 784) in [0, 1]
        flat = arrays[key].reshape(len(arrays[key]), -1)
        return torch.from_numpy(flat.astype(np.float32)).div_(255)

    return ImageData(
        train=pixels("train"),
        test=pixels("test"),
        train_labels=torch.from_numpy(arrays["train_labels"].astype(np.int64)),
        test_labels=torch.from_numpy(arrays["test_labels"].astype(np.int64)),
        shape=(28, 28),
        name="MNIST",
        is_mnist=True,
    )


# ------------------------------------------------------------------------- files: read, check, keep


def read_idx(content: bytes, *, where: str = "the file") -> np.ndarray:
    """Read an idx file of bytes: the magic number 0, 0, 8, n, then n sizes, then the values.

    Args:
        content: the decompressed file.
        where: how to name the file in an error.

    Raises:
        DataError: where the magic number is wrong or the length is not what the sizes say.

    >>> read_idx(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 8, 9]))
    array([7, 8, 9], dtype=uint8)
    """
    if len(content) < 4 or content[:3] != b"\x00\x00\x08" or content[3] == 0:
        raise DataError(
            f"{where} is not an idx file of bytes: it starts with {content[:4].hex(' ')!r}, "
            "not with '00 00 08' and a number of dimensions"
        )
    n_dims = content[3]
    start = 4 + 4 * n_dims
    if len(content) < start:
        raise DataError(f"{where} is cut off inside its header: {len(content)} of {start} bytes")
    shape = tuple(int(n) for n in np.frombuffer(content, ">u4", count=n_dims, offset=4))
    if len(content) != start + math.prod(shape):
        raise DataError(
            f"{where} says it holds {'×'.join(map(str, shape))} values, which takes "
            f"{start + math.prod(shape)} bytes, but it has {len(content)}"
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def _checked(content: bytes, spec: IdxFile, where: str) -> np.ndarray:
    """The array inside `content`, if and only if these are the bytes that `spec` names."""
    found = hashlib.sha256(content).hexdigest()
    if found != spec.sha256:
        raise DataError(
            f"{where} is damaged or another file: {len(content)} bytes where {spec.size} are "
            f"expected, SHA-256 {found[:12]}… where {spec.sha256[:12]}… is expected"
        )
    array = read_idx(content, where=where)
    if array.shape != spec.shape:
        raise DataError(f"{where} has shape {array.shape}, expected {spec.shape}")
    return array


def _decompress(content: bytes, spec: IdxFile, where: str) -> bytes:
    """Undo gzip, if there is any, reading no more than one byte beyond the expected size."""
    if content[:2] != b"\x1f\x8b":
        return content
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
            return file.read(spec.size + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{where} is cut off or damaged: {_one_line(error)}") from None


def _read_file(folder: Path, spec: IdxFile) -> np.ndarray:
    for path in (folder / spec.name, folder / f"{spec.name}.gz"):
        try:
            content = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror}") from None
        return _checked(_decompress(content, spec, str(path)), spec, str(path))
    raise DataError(f"{folder} holds neither {spec.name} nor {spec.name}.gz")


def _read_folder(folder: Path, files: Mapping[str, IdxFile]) -> dict[str, np.ndarray]:
    return {key: _read_file(folder, spec) for key, spec in files.items()}


def _keep(folder: Path, spec: IdxFile, content: bytes) -> None:
    """Put verified bytes into the cache: whole or not at all, whoever else does the same.

    Each process writes a file of its own and renames it over the final name; a rename is atomic,
    and whichever comes last replaces right bytes by the same right bytes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    handle, part = tempfile.mkstemp(prefix=f".{spec.name}.", suffix=".part", dir=folder)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, folder / spec.name)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(part)
        raise


def _sweep(folder: Path, *, older_than: float = 3600.0) -> None:
    """Remove what a process that was killed while writing may have left behind."""
    with contextlib.suppress(OSError):
        for part in folder.glob(".*.part"):
            if time.time() - part.stat().st_mtime > older_than:
                part.unlink(missing_ok=True)


def _cached_or_fetched(folder: Path, *, deadline: float | None = None) -> dict[str, np.ndarray]:
    """The four arrays from the cache; what is missing or damaged there is downloaded and kept."""
    arrays, missing = {}, {}
    for key, spec in MNIST_FILES.items():
        try:
            arrays[key] = _read_file(folder, spec)
        except DataError:
            missing[key] = spec
    if missing:
        print("MNIST is not on this machine yet: fetching it (11 MB).", flush=True)
        contents = fetch(
            list(missing.values()),
            mirrors=MIRRORS,
            deadline=DEADLINE if deadline is None else deadline,
        )
        arrays |= {
            key: read_idx(contents[spec.name], where=spec.name) for key, spec in missing.items()
        }
        try:
            _sweep(folder)
            for spec in missing.values():
                _keep(folder, spec, contents[spec.name])
        except OSError as error:
            print(
                f"MNIST was fetched and is right, but could not be kept in {folder} "
                f"({_cannot_keep(folder, error)}): it will be fetched again next time."
            )
    return arrays


def _cannot_keep(folder: Path, error: OSError) -> str:
    for parent in (folder, *folder.parents):
        if parent.exists():
            if not parent.is_dir():
                return f"{parent} is a file where a folder should be: remove or rename it"
            break
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return f"{error.strerror}: make room, or set XDG_CACHE_HOME to a folder on another disk"
    return f"{error.strerror}: set XDG_CACHE_HOME to a folder you may write to"


# ----------------------------------------------------------------------------------------- download


def fetch(files: Sequence[IdxFile], *, mirrors: Sequence[str], deadline: float) -> dict[str, bytes]:
    """Download files and check them: the verified, decompressed bytes by file name.

    The mirrors are tried in turn, the one that delivered the last file first. While another mirror
    is left, an attempt may use half of the time that remains, so that a server that drips bytes
    cannot use up what its neighbour needs.

    Args:
        files: what to fetch.
        mirrors: addresses that end in a slash; a file's name and ``.gz`` are appended.
        deadline: seconds for everything together.

    Raises:
        DataError: where a file cannot be had from any mirror; names each and what it did.
    """
    end = time.monotonic() + deadline
    order = list(mirrors)
    contents = {}
    for spec in files:
        faults = []
        for k, mirror in enumerate(list(order)):
            seconds = end - time.monotonic()
            if k < len(order) - 1:
                seconds /= 2
            try:
                body = _download(f"{mirror}{spec.name}.gz", limit=spec.size + 1024, seconds=seconds)
                content = _decompress(body, spec, "what it sent")
                _checked(content, spec, "what it sent")
            except DataError as error:
                faults.append(f"{mirror}: {_one_line(error)}")
                continue
            contents[spec.name] = content
            order.remove(mirror)
            order.insert(0, mirror)
            break
        else:
            raise DataError(f"{spec.name}.gz from {'; from '.join(faults) or 'no mirror at all'}")
    return contents


def _download(url: str, *, limit: int, seconds: float) -> bytes:
    """The bytes behind an address, within `seconds` whatever the server does.

    A time-out of urllib counts from one byte to the next, and a server may drip bytes, or header
    lines, for ever. So the transfer runs in a thread of its own and is abandoned at the deadline.
    """
    if seconds <= 0:
        raise DataError("no time was left")
    answer: queue.Queue[bytes | DataError] = queue.Queue()
    abandoned = threading.Event()
    received = bytearray()

    def transfer() -> None:
        request = urllib.request.Request(url, headers={"User-Agent": "vae-tutorial"})
        try:
            with urllib.request.urlopen(request, timeout=STALL) as response:
                while not abandoned.is_set() and (chunk := response.read1(1 << 16)):
                    received.extend(chunk)
                    if len(received) > limit:
                        raise DataError(f"it sent more than the {limit} bytes that can be right")
            answer.put(bytes(received) if received else DataError("it sent an empty file"))
        except DataError as error:
            answer.put(error)
        except Exception as error:
            answer.put(DataError(_what_went_wrong(error)))

    threading.Thread(target=transfer, daemon=True).start()
    try:
        result = answer.get(timeout=seconds)
    except queue.Empty:
        abandoned.set()
        raise DataError(
            f"it was too slow: {len(received)} bytes in {seconds:.0f} s, and then time was up"
        ) from None
    if isinstance(result, DataError):
        raise result
    return result


def _what_went_wrong(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        with error:
            return f"it answered {error.code} {error.reason}"
    if isinstance(error, urllib.error.URLError) and not isinstance(error.reason, TimeoutError):
        return f"it could not be reached: {_one_line(error.reason)}"
    if isinstance(error, TimeoutError | urllib.error.URLError):
        return f"it sent nothing for {STALL:g} s"
    if isinstance(error, http.client.HTTPException | OSError):
        return f"the connection broke: {_one_line(error) or type(error).__name__}"
    return f"{type(error).__name__}: {_one_line(error)}"


def _one_line(error: object) -> str:
    return " ".join(str(error).split())


def main(argv: Sequence[str] | None = None) -> int:
    """Fetch MNIST if it is not here, and say where each data set is."""
    parser = argparse.ArgumentParser(
        prog="python -m vae_tutorial.data",
        description="Fetch MNIST if it is not here, and say where each data set is.",
    )
    parser.add_argument(
        "--deadline", type=float, default=DEADLINE, help="seconds for the download (%(default)s)"
    )
    deadline = parser.parse_args(argv).deadline
    print("digits: inside scikit-learn, nothing to fetch")
    try:
        folder = _given_folder()
        if folder is not None:
            _read_folder(folder, MNIST_FILES)
        else:
            folder = cache_folder()
            _cached_or_fetched(folder, deadline=deadline)
            if not mnist_is_here():  # fetched, but not kept: the reason has been printed
                return 1
    except DataError as error:
        print(f"MNIST: not here. {error}\n{_REMEDY}", file=sys.stderr)
        return 1
    print(f"MNIST: {folder} (four files, SHA-256 checked)")
    return 0


if __name__ == "__main__":
    sys.exit(main())

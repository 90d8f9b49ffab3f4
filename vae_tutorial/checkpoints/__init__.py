"""Small trained networks, stored as float16 with a manifest that says how each came about.

A checkpoint is a ``.npz`` of at most 1.4 MB, never a pickle, and an entry in ``manifest.json``:
hash, architecture, data, recipe, the command that trains it again, and its numbers. The numbers are
those of the *stored* weights, after rounding; ``before_rounding`` keeps the others for comparison.
``tools/checkpoints.py`` writes all this, and a test measures every number afresh.
"""

import contextlib
import copy
import hashlib
import io
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from vae_tutorial import decoders, models
from vae_tutorial.models import VAE

__all__ = ["CheckpointError", "entry", "load", "names", "numbers", "round_to_float16", "save"]

FOLDER = Path(__file__).parent
MANIFEST = "manifest.json"
MAX_BYTES = 1_400_000  # of one checkpoint
MAX_TOTAL = 12_000_000  # of all of them

_PARTS = {
    "GaussianEncoder": models.GaussianEncoder,
    "BernoulliDecoder": models.BernoulliDecoder,
    "GaussianDecoder": models.GaussianDecoder,
    "ContinuousBernoulliDecoder": decoders.ContinuousBernoulliDecoder,
}


class CheckpointError(RuntimeError):
    """A checkpoint is missing, damaged, too large or does not fit its manifest."""


def names(folder: Path | None = None) -> list[str]:
    """List the checkpoints of the manifest.

    >>> "mnist_784_400_20" in names()
    True
    """
    return sorted(_manifest(folder or FOLDER))


def entry(name: str, *, folder: Path | None = None) -> dict[str, Any]:
    """Return the manifest's entry: hash, architecture, data, recipe, command, numbers, history.

    Raises:
        CheckpointError: for an unknown name, or where the manifest cannot be read.

    >>> entry("mnist_784_400_20")["command"]
    'python tools/checkpoints.py mnist_784_400_20'
    """
    manifest = _manifest(folder or FOLDER)
    if name not in manifest:
        raise CheckpointError(
            f"there is no checkpoint {name!r}; there are: {', '.join(sorted(manifest)) or 'none'}"
        )
    return manifest[name]


def numbers(name: str, *, folder: Path | None = None) -> dict[str, float]:
    """Return the measured numbers of a checkpoint, by name; what each is stands in its entry.

    Raises:
        CheckpointError: for an unknown name.

    >>> 103 < numbers("mnist_784_400_20")["test_minus_elbo"] < 104.5
    True
    """
    measured = entry(name, folder=folder)["numbers"]
    return {key: number["value"] for key, number in measured.items()}


def load(name: str, *, folder: Path | None = None) -> VAE:
    """Rebuild a trained model: the architecture from the manifest, the weights from the file.

    The weights are float32 again, each with the 11 significant bits that float16 kept.

    Args:
        name: one of `names()`.
        folder: where the file and its manifest are; the book's own by default.

    Raises:
        CheckpointError: for an unknown name; where the file is missing, is not the one that the
            manifest knows, or does not hold the weights of its architecture.

    >>> load("mnist_784_400_20").latent_dim
    20
    """
    folder = folder or FOLDER
    about = entry(name, folder=folder)
    path = folder / about["file"]
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(
            f"checkpoint {name}: {path} cannot be read ({error.strerror}): install the package "
            f"again, or train it again with `{about['command']}`"
        ) from None
    found = hashlib.sha256(content).hexdigest()
    if found != about["sha256"]:
        raise CheckpointError(
            f"checkpoint {name}: {path} is damaged or belongs to another version: SHA-256 "
            f"{found[:12]}… where the manifest has {about['sha256'][:12]}…: install the package "
            f"again, or train it again with `{about['command']}`"
        )
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            state = {key: torch.from_numpy(arrays[key].astype(np.float32)) for key in arrays.files}
        model = _build(about["architecture"])
        model.load_state_dict(state)
    except Exception as error:  # a hash that fits, so somebody stored nonsense
        raise CheckpointError(
            f"checkpoint {name}: {path} does not hold the weights of the architecture in the "
            f"manifest: {' '.join(str(error).split())}"
        ) from None
    return model.eval()


def save(path: Path | str, model: VAE, meta: Mapping[str, Any]) -> dict[str, Any]:
    """Store the model's weights as float16 and its entry in the manifest beside them.

    Args:
        path: the file to write; its stem is the checkpoint's name.
        model: a VAE of the book's encoders and decoders.
        meta: ``command``, ``recipe``, ``data`` and ``numbers`` (name → ``value``, ``tolerance``,
            ``unit``, ``what``), and whatever else is worth keeping. The numbers must be those of
            ``round_to_float16(model)``.

    Returns:
        the entry, with what is derived from the model: file, sha256, bytes, architecture.

    Raises:
        CheckpointError: where a weight does not fit float16, or the file or the folder would grow
            too large. Nothing is written then.
        ValueError: where path or meta lacks something.

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "tiny.npz"
    ...     meta = {"command": "none", "recipe": "untrained", "data": "none", "numbers": {}}
    ...     model = models.bernoulli_vae(4, [3], 1)
    ...     saved = save(path, model, meta)
    ...     load("tiny", folder=Path(folder)).data_dim
    4
    """
    path = Path(path)
    if path.suffix != ".npz":
        raise ValueError(f"path must end in .npz, got {path.name}")
    lacking = {"command", "recipe", "data", "numbers"} - meta.keys()
    if lacking:
        raise ValueError(f"meta lacks {', '.join(sorted(lacking))}")
    buffer = io.BytesIO()
    np.savez(buffer, **_to_arrays(model))  # no compression: the same bytes on every machine
    content = buffer.getvalue()
    manifest = _manifest(path.parent)
    others = sum(about["bytes"] for key, about in manifest.items() if key != path.stem)
    if len(content) > MAX_BYTES or others + len(content) > MAX_TOTAL:
        raise CheckpointError(
            f"checkpoint {path.stem} has {len(content):,} bytes, all others {others:,}; at most "
            f"{MAX_BYTES:,} each and {MAX_TOTAL:,} together are accepted: use a smaller network"
        )
    about = {
        "file": path.name,
        "sha256": hashlib.sha256(content).hexdigest(),
        "bytes": len(content),
        "architecture": _describe(model),
        **meta,
    }
    manifest[path.stem] = about
    text = json.dumps(dict(sorted(manifest.items())), indent=2, ensure_ascii=False, allow_nan=False)
    _write(path, content)
    _write(path.parent / MANIFEST, (text + "\n").encode())
    return about


def round_to_float16(model: VAE) -> VAE:
    """Return a copy whose weights are what a checkpoint would give back.

    Scalars, such as a decoder's single log σ, keep float32.

    Raises:
        CheckpointError: where a weight does not fit float16, whose largest number is 65,504.

    >>> vae = models.bernoulli_vae(4, [3], 1)
    >>> drift = vae.encoder.net[0].bias - round_to_float16(vae).encoder.net[0].bias
    >>> bool((drift.abs() < 2**-11).all())
    True
    """
    rounded = copy.deepcopy(model)
    arrays = _to_arrays(model)
    rounded.load_state_dict(
        {key: torch.from_numpy(array.astype(np.float32)) for key, array in arrays.items()}
    )
    return rounded.eval()


def _to_arrays(model: VAE) -> dict[str, np.ndarray]:
    arrays = {}
    for key, value in model.state_dict().items():
        array = value.detach().cpu().numpy()
        if array.ndim > 0:
            with np.errstate(over="ignore"):
                array = array.astype(np.float16)
        if not np.isfinite(array).all():
            raise CheckpointError(
                f"{key} holds {int((~np.isfinite(array)).sum())} values that are not finite as "
                "float16, whose largest number is 65,504"
            )
        arrays[key] = array
    return arrays


def _describe(model: VAE) -> dict[str, Any]:
    """What `_build` needs, read off the model itself, so that the two cannot disagree."""

    def part(module: nn.Module) -> dict[str, Any]:
        kind = type(module).__name__
        if type(module) is not _PARTS.get(kind):
            raise ValueError(
                f"model must be made of {', '.join(_PARTS)}, got {kind}: teach "
                "vae_tutorial.checkpoints how to describe and build it"
            )
        layers = list(module.net)
        extra = {}
        if kind == "GaussianDecoder":
            extra = {name: getattr(module, name) for name in ("scale", "mean", "min_sigma", "rank")}
        if kind == "ContinuousBernoulliDecoder":
            extra = {"max_logit": module.max_logit}
        return {
            "kind": kind,
            "hidden": [layer.out_features for layer in layers[:-1:2]],
            "activation": type(layers[1]).__name__ if len(layers) > 1 else "ReLU",
            **extra,
        }

    return {
        "data_dim": model.data_dim,
        "latent_dim": model.latent_dim,
        "encoder": part(model.encoder),
        "decoder": part(model.decoder),
    }


def _build(architecture: Mapping[str, Any]) -> VAE:
    generator = torch.Generator()  # the first weights are overwritten, and no one's noise is used

    def part(about: Mapping[str, Any], inputs: int, outputs: int) -> nn.Module:
        if about["kind"] not in _PARTS:
            raise ValueError(f"unknown kind {about['kind']!r}")
        options = {k: v for k, v in about.items() if k not in ("kind", "hidden", "activation")}
        return _PARTS[about["kind"]](
            inputs,
            about["hidden"],
            outputs,
            activation=getattr(nn, about["activation"]),
            generator=generator,
            **options,
        )

    data_dim, latent_dim = architecture["data_dim"], architecture["latent_dim"]
    return VAE(
        part(architecture["encoder"], data_dim, latent_dim),
        part(architecture["decoder"], latent_dim, data_dim),
    )


def _manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from None
    if not isinstance(manifest, dict):
        raise CheckpointError(f"{path} must hold one object, a name and an entry for each")
    return manifest


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, part = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.chmod(part, 0o644)  # mkstemp's files are readable by their owner alone
        os.replace(part, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(part)
        raise

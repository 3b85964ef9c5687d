"""The images: where they come from, checked, as NumPy arrays.

Fashion-MNIST (Xiao, Rasul, Vollgraf 2017, https://arxiv.org/abs/1708.07747) is 60,000 training
and 10,000 test images of 28 x 28 grey pixels in ten classes. Sources are tried in this order, and
a folder with a missing, truncated or altered file is refused by name before the next is tried:

1. the folder named by the environment variable ``BNVIZ_DATA``
2. bnviz's own cache folder
3. ``/usr/share/datasets/fashion-mnist`` (Debian's package ``dataset-fashion-mnist``)
4. a download by torchvision, checked, into the cache folder
5. the sample shipped in the package: 7,000 images, stratified
"""

import contextlib
import gzip
import hashlib
import os
import socket
import sys
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs

from bnviz.errors import DataError
from bnviz.i18n import _, sentences

TRAINING_IMAGES, TEST_IMAGES = 60_000, 10_000
"""Of the whole data set; the sample has fewer."""
CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
# SHA-256 of the uncompressed IDX files.
FULL_SHA256 = dict(
    zip(
        FILES,
        (
            "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        ),
        strict=True,
    )
)
SAMPLE_FOLDER = Path(__file__).parent / "assets" / "fashion-mnist-sample"
SAMPLE_SHA256 = dict(
    line.split()[::-1] for line in (SAMPLE_FOLDER / "SHA256SUMS").read_text().splitlines()
)
SYSTEM_FOLDER = Path("/usr/share/datasets/fashion-mnist")
DOWNLOAD_TIMEOUT_S = 15.0


@dataclass(frozen=True)
class Dataset:
    """Images and labels with their origin.

    ``train_images`` and ``test_images`` are uint8 of shape (N, 28, 28); labels are int64 of
    shape (N,) with values 0 to 9. ``origin`` is one of ``BNVIZ_DATA``, ``cache``, ``system``,
    ``download``, ``sample``; ``refused`` says which sources were tried before and why not taken.
    """

    name: str
    origin: str
    folder: Path
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    refused: tuple[str, ...] = field(default=())

    @property
    def is_sample(self) -> bool:
        """Whether these are the 7,000 shipped images and not the 70,000."""
        return self.origin == "sample"

    @property
    def whose(self) -> str:
        """The name of what is really there: that of the sample where it stands in."""
        return "fashion-mnist-sample" if self.is_sample else self.name

    @property
    def source(self) -> dict[str, Any]:
        """What a document says of it: name, origin, and how many images of each kind."""
        counts = {"train": len(self.train_labels), "test": len(self.test_labels)}
        return {"name": self.name, "origin": self.origin, **counts}

    @property
    def sha256(self) -> str:
        """One checksum for all four files: SHA-256 over their checksums in order."""
        sums = SAMPLE_SHA256 if self.is_sample else FULL_SHA256
        return hashlib.sha256("".join(sums[name] for name in FILES).encode()).hexdigest()


def cache_folder() -> Path:
    """The folder of downloaded images."""
    return platformdirs.user_cache_path("bnviz") / "fashion-mnist"


def load(name: str = "fashion-mnist", *, download: bool = False) -> Dataset:
    """Load the images from the first source that is whole.

    ``name`` is ``fashion-mnist`` (any source, the sample last) or ``fashion-mnist-sample`` (the
    shipped sample). ``download`` allows source 4 (30 MB from the network).

    Raises DataError for an unknown name or a damaged shipped sample.
    """
    if name not in ("fashion-mnist", "fashion-mnist-sample"):
        raise DataError(
            _(
                "dataset: got {name!r}; allowed: 'fashion-mnist' or 'fashion-mnist-sample'. "
                "Choose one of these."
            ).format(name=name)
        )
    # The environment is part of the key: another folder is another data set.
    return _load(name, download, os.environ.get("BNVIZ_DATA"), cache_folder())


@lru_cache(maxsize=4)
def _load(name: str, download: bool, own_folder: str | None, cache: Path) -> Dataset:
    refused: list[str] = []
    if name == "fashion-mnist":
        for origin, folder in _sources(own_folder, cache):
            try:
                return _read(name, origin, folder, FULL_SHA256, tuple(refused))
            except DataError as error:
                refused.append(str(error))
        if download:
            try:
                _download(cache)
                return _read(name, "download", cache, FULL_SHA256, tuple(refused))
            except DataError as error:
                refused.append(str(error))
    return _read(name, "sample", SAMPLE_FOLDER, SAMPLE_SHA256, tuple(refused))


def _sources(own_folder: str | None, cache: Path) -> Iterator[tuple[str, Path]]:
    if own_folder is not None:
        yield "BNVIZ_DATA", Path(own_folder).expanduser()
    if cache.is_dir():
        yield "cache", cache
    if SYSTEM_FOLDER.is_dir():
        yield "system", SYSTEM_FOLDER


def _read(
    name: str, origin: str, folder: Path, sums: dict[str, str], refused: tuple[str, ...]
) -> Dataset:
    arrays = [read_idx(folder, file, sums[file]) for file in FILES]
    return Dataset(
        name,
        origin,
        folder,
        arrays[0],
        arrays[1].astype(np.int64),
        arrays[2],
        arrays[3].astype(np.int64),
        refused,
    )


def read_idx(folder: Path, file: str, sha256: str) -> np.ndarray:
    """Read one IDX file (``file`` or ``file.gz``) as uint8, after checking its content.

    The IDX format is described at http://yann.lecun.com/exdb/mnist/: two zero bytes, a type
    (8 = unsigned byte), the number of dimensions, each size as a big-endian 32-bit integer, data.

    Raises DataError for a missing, truncated or altered file and for a wrong magic number.
    """
    path = next((p for p in (folder / file, folder / f"{file}.gz") if p.is_file()), None)
    if path is None:
        raise DataError(
            _("{folder}: {file} (or {file}.gz) is missing. Put all four files there.").format(
                folder=folder, file=file
            )
        )
    content = _unpacked(path)
    if len(content) < 4 or content[:3] != b"\0\0\x08":
        raise DataError(
            _("{path} is not an IDX file of bytes: it begins with {magic}. Replace it.").format(
                path=path, magic=content[:4].hex() or "nothing"
            )
        )
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise DataError(
            _(
                "{path} is truncated or altered: SHA-256 {found}…, expected {expected}…. "
                "Replace it by a whole copy."
            ).format(path=path, found=found[:12], expected=sha256[:12])
        )
    shape = np.frombuffer(content, ">u4", count=content[3], offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * len(shape)).reshape(shape)


def _unpacked(path: Path) -> bytes:
    """The content of a file, packed or not. Raises DataError when it cannot be read."""
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if path.suffix == ".gz" else content
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(
            _("{path} cannot be read ({error}). Replace it by a whole copy.").format(
                path=path, error=error
            )
        ) from error


def _download(folder: Path) -> None:
    """Fetch the four files with torchvision into `folder`: whole or not at all.

    Raises DataError when the network or the folder refuses.
    """
    from torchvision.datasets import FashionMNIST

    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(DOWNLOAD_TIMEOUT_S)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
            # torchvision prints its progress; stdout belongs to the command line's JSON.
            with contextlib.redirect_stdout(sys.stderr):
                FashionMNIST(temporary, download=True)
            folder.mkdir(exist_ok=True)
            for raw in (Path(temporary) / "FashionMNIST" / "raw" / f"{file}.gz" for file in FILES):
                raw.replace(folder / raw.name)
    except (OSError, RuntimeError) as error:
        said = _(
            "The download of Fashion-MNIST into {folder} failed ({error}). Check the network "
            "and that the folder can be written, or set BNVIZ_DATA to a folder with the files."
        )
        reason = str(error).splitlines()[0][:120]
        raise DataError(said.format(folder=folder, error=reason)) from error
    finally:
        socket.setdefaulttimeout(before)


def fetch() -> Dataset:
    """Download the 70,000 images into the cache folder and return them.

    Raises DataError when that fails; nothing half-written is left behind.
    """
    _download(cache_folder())
    _load.cache_clear()
    return _read("fashion-mnist", "download", cache_folder(), FULL_SHA256, ())


def describe(dataset: Dataset) -> str:
    """One line for people: which images are in use, and how to get the rest."""
    if not dataset.is_sample:
        line = _("Fashion-MNIST from {origin}: {train:,} training and {test:,} test images")
        return line.format(**dataset.source)
    line = _("Fashion-MNIST from {origin}: {train:,} training and {test:,} test images.")
    return sentences(
        line.format(**dataset.source),
        _("This is the shipped sample; python -m bnviz data --download gets all."),
    )

"""Make the sample shipped in bnviz/assets from the real data: the first 600 + 100 of each class.

    python -m scripts.make_sample

The images keep the order of the original files, so the result is the same on every machine.
"""

import gzip
import hashlib
from pathlib import Path

import numpy as np

ASSETS = Path(__file__).parents[1] / "bnviz" / "assets" / "fashion-mnist-sample"
PER_CLASS = {"train": 600, "t10k": 100}


def first_of_each_class(labels: np.ndarray, count: int) -> np.ndarray:
    """Sorted indices of the first `count` images of each of the ten classes."""
    return np.sort(np.concatenate([np.flatnonzero(labels == c)[:count] for c in range(10)]))


def idx_bytes(array: np.ndarray) -> bytes:
    """`array` (uint8) in the IDX format."""
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    return header + array.tobytes()


def main() -> None:
    (ASSETS / "SHA256SUMS").touch()
    from bnviz import data

    full = data.load("fashion-mnist", download=True)
    if full.is_sample:
        raise SystemExit("The full data set is needed: " + " ".join(full.refused))
    sums = []
    for split, images, labels in (
        ("train", full.train_images, full.train_labels),
        ("t10k", full.test_images, full.test_labels),
    ):
        chosen = first_of_each_class(labels, PER_CLASS[split])
        for file, array in (
            (f"{split}-images-idx3-ubyte", images[chosen]),
            (f"{split}-labels-idx1-ubyte", labels[chosen].astype(np.uint8)),
        ):
            content = idx_bytes(array)
            (ASSETS / f"{file}.gz").write_bytes(gzip.compress(content, mtime=0))
            sums.append(f"{hashlib.sha256(content).hexdigest()}  {file}\n")
    (ASSETS / "SHA256SUMS").write_text("".join(sums))


if __name__ == "__main__":
    main()

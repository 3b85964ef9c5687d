import gzip
import shutil

import numpy as np
import pytest

from bnviz import data
from bnviz.errors import DataError


@pytest.fixture(autouse=True)
def fresh():
    data._load.cache_clear()
    yield
    data._load.cache_clear()


@pytest.fixture
def no_system(monkeypatch, tmp_path):
    monkeypatch.setattr(data, "SYSTEM_FOLDER", tmp_path / "absent")


@pytest.fixture
def own_folder(dataset, tmp_path, monkeypatch):
    """A whole copy of the data, named by BNVIZ_DATA."""
    folder = tmp_path / "own"
    shutil.copytree(dataset.folder, folder)
    monkeypatch.setenv("BNVIZ_DATA", str(folder))
    return folder


def test_the_full_data_has_all_images_of_ten_even_classes(dataset):
    assert dataset.train_images.shape == (60_000, 28, 28)
    assert dataset.test_images.shape == (10_000, 28, 28)
    assert np.bincount(dataset.train_labels).tolist() == [6000] * 10
    assert np.bincount(dataset.test_labels).tolist() == [1000] * 10


def test_the_sample_is_the_first_of_each_class_of_the_full_data(dataset, sample):
    assert np.bincount(sample.train_labels).tolist() == [600] * 10
    assert np.bincount(sample.test_labels).tolist() == [100] * 10
    for label in range(10):
        expected = dataset.train_images[dataset.train_labels == label][:600]
        assert np.array_equal(sample.train_images[sample.train_labels == label], expected)


def test_own_folder_comes_first(own_folder):
    assert data.load().origin == "BNVIZ_DATA"


def test_uncompressed_files_are_read_too(own_folder):
    for path in own_folder.glob("*.gz"):
        (own_folder / path.stem).write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    assert data.load().origin == "BNVIZ_DATA"


def truncate(path):
    path.write_bytes(path.read_bytes()[:-1000])


def alter(path):
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[-1] ^= 1
    path.write_bytes(gzip.compress(bytes(content), 1))


def wrong_magic(path):
    path.write_bytes(gzip.compress(b"PK\3\4 not images"))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (truncate, "cannot be read"),
        (alter, "truncated or altered"),
        (wrong_magic, "not an IDX file"),
        (lambda path: path.unlink(), "is missing"),
    ],
    ids=["truncated", "altered", "wrong magic", "missing"],
)
def test_a_damaged_folder_is_refused_by_name_and_the_next_source_taken(
    own_folder, no_system, damage, words
):
    damage(own_folder / "t10k-labels-idx1-ubyte.gz")
    loaded = data.load()
    assert loaded.is_sample
    (reason,) = loaded.refused
    assert words in reason
    assert "t10k-labels-idx1-ubyte" in reason


def test_without_any_source_the_sample_is_used_and_says_how_to_get_the_rest(no_system):
    loaded = data.load()
    assert loaded.is_sample
    assert "data --download" in data.describe(loaded)


def test_no_network_is_one_clear_message_and_leaves_nothing(no_system, monkeypatch):
    import torchvision.datasets.mnist as mnist

    # A closed port of this machine stands for the missing network.
    monkeypatch.setattr(mnist.FashionMNIST, "mirrors", ["http://127.0.0.1:9/"])
    with pytest.raises(DataError, match=r"download of Fashion-MNIST .* failed .* BNVIZ_DATA"):
        data.fetch()
    assert not data.cache_folder().exists()
    assert not list(data.cache_folder().parent.iterdir())
    loaded = data.load(download=True)
    assert loaded.is_sample
    assert "failed" in loaded.refused[-1]


def test_an_unwritable_cache_is_one_clear_message(no_system, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr(data, "cache_folder", lambda: tmp_path / "file" / "cache")
    with pytest.raises(DataError, match="can be written"):
        data.fetch()


def test_a_download_ends_up_in_the_cache_and_is_used_from_there(dataset, no_system, monkeypatch):
    import functools
    import http.server
    import threading

    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(dataset.folder))
    monkeypatch.setattr(http.server.SimpleHTTPRequestHandler, "log_message", lambda *_: None)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        import torchvision.datasets.mnist as mnist

        monkeypatch.setattr(
            mnist.FashionMNIST, "mirrors", [f"http://127.0.0.1:{server.server_port}/"]
        )
        # The served files are gzipped again by the distribution, so torchvision's sums differ.
        monkeypatch.setattr(
            mnist.FashionMNIST, "resources", [(f"{name}.gz", None) for name in data.FILES]
        )
        assert data.fetch().origin == "download"
        server.shutdown()
    assert data.load().origin == "cache"
    assert len(data.load().train_labels) == 60_000


def test_an_unknown_name_is_refused():
    with pytest.raises(DataError, match=r"'mnist'.*allowed"):
        data.load("mnist")

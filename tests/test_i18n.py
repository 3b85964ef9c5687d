import struct

import pytest

from bnviz import i18n


def catalogue(messages):
    """A compiled gettext catalogue (.mo) of `messages`."""
    pairs = sorted({"": "Content-Type: text/plain; charset=UTF-8\n", **messages}.items())
    keys = [k.encode() for k, _v in pairs]
    values = [v.encode() for _k, v in pairs]
    count, start = len(pairs), 28 + 16 * len(pairs)
    tables, blob = [], b""
    for texts in (keys, values):
        for text in texts:
            tables.append(struct.pack("<II", len(text), start + len(blob)))
            blob += text + b"\0"
    head = struct.pack("<7I", 0x950412DE, 0, count, 28, 28 + 8 * count, 0, 0)
    return head + b"".join(tables) + blob


@pytest.fixture
def chinese(tmp_path, monkeypatch):
    folder = tmp_path / "zh" / "LC_MESSAGES"
    folder.mkdir(parents=True)
    messages = {"Train": "训练", "step {done:,} of {total:,}": "第 {done:,} 步，共 {total:,} 步"}
    (folder / "bnviz.mo").write_bytes(catalogue(messages))
    monkeypatch.setattr(i18n, "LOCALE_DIR", tmp_path)
    monkeypatch.setattr(i18n, "_source", lambda: "zh")
    i18n._catalogue.cache_clear()
    yield
    i18n._catalogue.cache_clear()


def test_a_catalogue_is_enough_to_translate(chinese):
    assert i18n._("Train") == "训练"
    template = i18n._("step {done:,} of {total:,}")
    assert template.format(done=3, total=10) == "第 3 步，共 10 步"


def test_what_a_catalogue_lacks_stays_english(chinese):
    assert i18n._("Stop") == "Stop"


def test_a_language_without_a_catalogue_is_english(monkeypatch):
    monkeypatch.setattr(i18n, "_source", lambda: "xx")
    assert i18n._("Train") == "Train"

"""How many images a population needs, against sums over the very images."""

import numpy as np
import pytest
import torch

from bnviz.errors import ConfigError, RunError
from bnviz.subjects.running_stats.sample_size import drawn, images_needed


def needed(run, dataset, **options):
    return images_needed(run, "builtin", sizes=(10, 100, 1000), dataset=dataset, **options)


def test_sizes_that_the_data_set_has_not_are_left_out_and_both_ends_are_there(short_run, few):
    frame = needed(short_run, few)
    count = frame.groupby(["how", "images"]).size()
    assert count.to_dict() == {
        ("all", 300): 1, ("own", 25 * 16): 1,
        ("layer_by_layer", 10): 3, ("layer_by_layer", 100): 3,
        ("one_pass", 10): 3, ("one_pass", 100): 3,
    }  # fmt: skip
    truth = frame[frame["how"] == "all"].iloc[0]
    assert (truth["mean_error"], truth["var_error"]) == (0, 0)
    errors = frame[frame["how"] == "layer_by_layer"].groupby("images")["mean_error"].mean()
    assert errors[10] > 2 * errors[100] > 0
    assert frame.equals(needed(short_run, few))


def test_a_draw_of_one_batch_is_what_torch_would_normalize_by(short_run, few):
    """With ten images there is one batch, so one pass has its moments, which torch gives too."""
    from bnviz.training.checkpoints import model_at

    frame = needed(short_run, few, draws=1)
    moments = {}
    for size in (300, 10):
        model = model_at(short_run, "builtin", 25).train()
        places = np.arange(300) if size == 300 else drawn(300, 10, 0)
        for layer in model.norm_layers().values():
            layer.momentum = 1.0
        # Layer by layer and in one batch are the same thing: the batch is all there is.
        model(torch.tensor(few.train_images[places]).float().div(255).unsqueeze(1))
        moments[size] = [
            np.concatenate([getattr(x, n).numpy() for x in model.norm_layers().values()])
            for n in ("running_mean", "running_var")
        ]
    (mean, var), (true_mean, true_var) = moments[10], moments[300]
    row = frame[(frame["how"] == "one_pass") & (frame["images"] == 10)].iloc[0]
    off = np.sqrt(((mean - true_mean) ** 2 / true_var).mean())
    # torch divides the variance that it normalizes by by n, the layers of the truth by n - 1.
    assert row["mean_error"] == pytest.approx(off, rel=0.02)
    assert row["var_error"] == pytest.approx(np.sqrt(((var / true_var - 1) ** 2).mean()), rel=0.02)


def test_draws_share_no_image_as_long_as_there_are_enough():
    draws = [drawn(300, 100, draw) for draw in range(3)]
    assert len(np.unique(np.concatenate(draws))) == 300
    for draw in range(4):
        assert len(np.unique(drawn(250, 100, draw))) == 100


def test_the_own_statistics_are_tested_as_they_are(short_run, few):
    from bnviz.training.checkpoints import model_at

    model = model_at(short_run, "builtin", 20).eval()
    with torch.no_grad():
        logits = model(torch.tensor(few.test_images).float().div(255).unsqueeze(1))
    right = float((logits.argmax(1).numpy() == few.test_labels).mean())
    frame = images_needed(short_run, "builtin", 20, sizes=(), dataset=few)
    assert list(frame["how"]) == ["all", "own"]
    assert frame["accuracy"].iloc[1] == pytest.approx(right)


def test_the_share_of_the_work_only_grows(short_run, few):
    heard = []
    needed(short_run, few, progress=lambda done, parts, share: heard.append((done, parts, share)))
    shares = [share for _done, _parts, share in heard]
    assert shares == sorted(shares)
    assert shares[0] == 0
    assert shares[-1] < 1
    assert heard[-1][:2] == (12, 13)


def test_what_cannot_be_measured_is_refused(short_run, few):
    with pytest.raises(ConfigError, match="sizes: got 1; allowed: 2 or more"):
        images_needed(short_run, "builtin", sizes=(1, 10), dataset=few)
    with pytest.raises(ConfigError, match=r"step: got 7"):
        images_needed(short_run, "builtin", 7, dataset=few)
    for path in (short_run.folder / "checkpoints").iterdir():
        path.unlink()
    with pytest.raises(RunError, match="No weights of builtin"):
        images_needed(short_run, "builtin", dataset=few)

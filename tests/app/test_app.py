"""The pages as Streamlit runs them, without a browser."""

import math
import re
import shutil

import pytest
from torch import nn

from bnviz.config import PRESETS, RunConfig
from bnviz.nn.variants import VARIANTS
from bnviz.records.momentum_maps import map_path
from bnviz.records.store import RECORDED_FOLDER, RunWriter, runs_folder
from bnviz.training.jobs import State
from bnviz.training.process import jobs, kept_maps, measurements
from bnviz.training.trainer import Trainer
from tests.screen import cards, go, look_at, new_app
from tests.waiting import until


@pytest.fixture
def app():
    tested = new_app()
    yield tested
    jobs().stop_all()
    jobs.cache_clear()


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("home", ["before_after"]),
        ("train", ["curves", "stages", "running", "kept"]),
        ("activations", ["over_time_input", "over_time_scaled", "stages", "shift"]),
        ("running_stats", ["estimates"]),
        ("train_vs_eval", ["truth", "by_class"]),
        ("anatomy", ["rescaled", "bias_gradient"]),
        ("note", ["question_memory"]),
    ],
)
def test_every_page_shows_the_recorded_run_before_any_other(app, name, keys):
    go(app, name, "cancels" if name == "anatomy" else None)
    assert not app.exception
    assert list(cards(app))[: len(keys)] == keys
    assert any("Recorded run" in c.value for c in app.caption)


def test_the_learning_rate_of_a_running_network_can_be_changed(app):
    go(app, "train")
    app.selectbox(key="dataset").set_value("fashion-mnist-sample")
    app.number_input(key="steps").set_value(1_000_000)
    app.button(key="start").click().run()
    (job,) = jobs().all()
    app.number_input(key=f"lr_{job.id}").set_value(0.002).run()
    assert not app.exception
    until(lambda: job.settings.get("lr") == 0.002)
    changes = [event for event in job.history.events if event["kind"] == "set"]
    assert [(e["name"], e["old"], e["new"]) for e in changes] == [("lr", 0.01, 0.002)]


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_fills_the_controls(app, name):
    go(app, "train")
    app.pills(key="preset").set_value(name).run()
    config = PRESETS[name].config()
    assert app.multiselect(key="variants").value == list(config.variants)
    assert app.select_slider(key="momentum").value == config.momentum


def test_start_begins_a_run_with_the_settings_of_the_controls(app):
    go(app, "train")
    app.selectbox(key="dataset").set_value("fashion-mnist-sample")
    app.number_input(key="steps").set_value(7)
    app.select_slider(key="momentum").set_value(0.3).run()
    app.run()  # a slider runs its own fragment only, and AppTest then knows no other widgets
    app.button(key="start").click().run()
    (job,) = jobs().all()
    assert (job.config.steps, job.config.momentum) == (7, 0.3)
    job.join(60)
    assert job.state is State.DONE
    app.run()
    assert not app.exception
    assert app.selectbox(key="run").value == job.id
    assert any("Measured on this run: 7 steps" in c.value for c in app.caption)


def test_a_stored_run_is_opened_again_by_its_link(app):
    go(app, "train")
    app.selectbox(key="dataset").set_value("fashion-mnist-sample")
    app.number_input(key="steps").set_value(25)
    app.run()
    app.button(key="start").click().run()
    (job,) = jobs().all()
    job.join(60)
    jobs().forget(job.id)
    again = new_app(run=job.id)
    go(again, "train")
    assert again.selectbox(key="run").value == job.id
    assert any("Measured on this run: 25 steps" in c.value for c in again.caption)
    go(again, "train_vs_eval")
    assert not again.exception
    assert "of 1,000" in again.metric[2].value


def test_a_start_that_cannot_be_is_one_message_and_no_run(app):
    go(app, "train")
    app.number_input(key="batch_size").set_value(1).run()
    app.button(key="start").click().run()
    assert [e.value.split(":")[0] for e in app.error] == ["batch_size"]
    assert jobs().all() == []


def test_a_failed_run_says_why_on_the_page(app):
    go(app, "train")
    app.selectbox(key="device").set_value("mps").run()
    app.button(key="start").click().run()
    (job,) = jobs().all()
    job.join(60)
    app.run()
    assert any("device: got 'mps'" in e.value for e in app.error)


def test_a_link_with_nonsense_names_each_bad_value_and_works(app):
    app.query_params["momentum"] = "7"
    app.query_params["batch_size"] = "x"
    app.query_params["run"] = "nope"
    app.run()
    named = [w.value.split("not taken: ")[1].split(":")[0] for w in app.warning]
    assert named == ["momentum", "batch_size", "run"]
    assert not app.exception


def test_sliders_act_on_the_eval_side_only(app):
    go(app, "train_vs_eval")
    app.segmented_control(key="eval_source").set_value("replayed").run()
    app.run()
    before = [m.value for m in app.metric]
    app.select_slider(key="momentum").set_value(0.001).run()
    after = [m.value for m in app.metric]
    assert before[0] == after[0]
    assert before[1] != after[1]
    app.run()
    app.select_slider(key="mode_batch").set_value(2).run()
    assert app.metric[0].value != after[0]
    assert app.metric[1].value == after[1]


@pytest.mark.parametrize(
    "page", ["train", "activations", "running_stats", "train_vs_eval", "anatomy", "note"]
)
def test_a_run_whose_file_was_cut_is_said_once_and_the_recorded_one_shown(app, page):
    folder = runs_folder() / "broken"
    shutil.copytree(RECORDED_FOLDER, folder)
    table = folder / "stages-builtin.arrow"
    table.write_bytes(table.read_bytes()[:100])
    app.query_params["run"] = "broken"
    go(app, page, "cancels" if page == "anatomy" else None)
    assert not app.exception
    [error] = app.error
    assert "stages-builtin.arrow cannot be read" in error.value and "Delete this run" in error.value
    assert any("Recorded run" in c.value for c in app.caption)


def shown(app, key):
    """The card of that key, or None."""
    return cards(app).get(key)


def finished(app, label):
    """Press a button of that label, and run the page until what it began has ended."""
    [button] = [b for b in app.button if b.label == label]
    button.click().run()
    until(lambda: not any(b.label == "Cancel" for b in app.run().button), seconds=120, every=0.05)
    assert not app.exception


@pytest.fixture
def measured_app(app):
    """Running statistics on a stored run of the sample; what is measured ends with the test."""
    go(app, "train")
    app.selectbox(key="dataset").set_value("fashion-mnist-sample")
    app.multiselect(key="variants").set_value(["composite", "builtin"])
    app.number_input(key="steps").set_value(25)
    app.run()
    app.button(key="start").click().run()
    (job,) = jobs().all()
    job.join(60)
    app.run()
    app.switch_page("pages/running_stats.py").run()
    yield app
    measurements().end_all()
    measurements.cache_clear()
    kept_maps.cache_clear()


def test_up_to_three_channels_of_either_variance_are_shown(app):
    go(app, "running_stats")
    app.segmented_control(key="layer").set_value("fc1")
    app.multiselect(key="channels").set_value([40, 3]).run()
    card = shown(app, "estimates")
    assert card["title"].endswith("fc1, channel 40, 3")
    assert "the variance of channel 40" in card["sentence"]
    assert "n = 16 values a channel: unbiased is 6.7% more" in card["sentence"]
    app.segmented_control(key="variance").set_value("biased").run()
    for pattern in (r"is ([\d.]+) by the EMA", r"was ([\d.]+) in the last batch"):
        unbiased, biased = (
            float(re.search(pattern, c["sentence"])[1]) for c in (card, shown(app, "estimates"))
        )
        assert unbiased / biased == pytest.approx(16 / 15, rel=0.01)
    app.run()
    said = app.segmented_control(key="variance").help
    assert "conv1: n = 9,216" in said
    assert "fc1: n = 16, factor 1.0667" in said


def test_channels_that_a_layer_has_not_are_its_last_and_none_is_the_first(app):
    go(app, "running_stats")
    app.multiselect(key="channels").set_value([119, 50]).run()
    assert shown(app, "estimates")["title"].endswith("conv2, channel 15")
    app.run()
    app.multiselect(key="channels").set_value([]).run()
    assert shown(app, "estimates")["title"].endswith("conv2, channel 0")


def test_the_recorded_run_has_its_map_at_once(app):
    go(app, "running_stats", "map")
    assert shown(app, "map")["title"].startswith("The larger the batch, the larger the best")
    assert not any(b.label == "Make the map" for b in app.button)
    app.selectbox(key="images").set_value(6_400).run()
    assert shown(app, "map")["state"] == "asked"
    app.run()
    assert any(b.label == "Make the map" for b in app.button)


def test_how_many_images_are_enough_is_measured_on_what_there_is(measured_app):
    look_at(measured_app, "images")
    finished(measured_app, "Measure")
    card = shown(measured_app, "images")
    assert "of all 6,000" in card["sentence"]
    assert "From 1,000 images" in card["sentence"]
    assert "in one pass" in card["sentence"]


def test_a_map_is_shared_by_tabs_kept_in_the_folder_and_repaired_when_cut(measured_app):
    app = look_at(measured_app, "map")
    app.selectbox(key="images").set_value(1_600).run()
    app.run()
    finished(app, "Make the map")
    said = shown(app, "map")["sentence"]
    assert "1,600 images at each batch size" in said
    (job,) = jobs().all()
    path = map_path(job.folder, "builtin", 1_600)
    other = new_app(run=job.id, images="1,600")
    go(other, "running_stats", "map")
    assert shown(other, "map")["sentence"] == said
    path.write_bytes(path.read_bytes()[:300])
    kept_maps().changes += 1  # the file was changed behind the server's back
    other.run()
    assert shown(other, "map")["state"] == "asked"
    assert any("cannot be read" in c.value for c in other.caption)
    assert any(b.label == "Make the map" for b in other.button)


def test_a_measurement_that_fails_says_why_and_can_be_tried_again(measured_app):
    app, (job,) = look_at(measured_app, "momentum"), jobs().all()
    weights = sorted((job.folder / "checkpoints").iterdir())
    for path in weights:
        path.write_bytes(b"cut")
    finished(app, "Measure")
    assert any("ended early. The checkpoint" in e.value for e in app.error)
    assert any(b.label == "Measure" for b in app.button)


ODD = {
    "no BN at all": {"variants": "none"},
    "diverged": {"lr": 100, "optimizer": "sgd", "activation": "relu"},
    "no numbers": {},
    "cumulative average": {"momentum": None},
    "single images": {"variants": "note", "batch_size": 1},
    "without weights": {"steps": 12},
}


@pytest.mark.parametrize("name", ODD)
def test_an_odd_run_is_shown_plainly_on_every_page(app, sample, name):
    """No exception, no figure full of nothing, and no sentence that says nan or inf."""
    config = RunConfig.parse(
        **{
            "dataset": "fashion-mnist-sample",
            "variants": "builtin",
            "steps": 25,
            "device": "cpu",
            "stages_every": 1,
            "observe_budget": 1.0,
        }
        | ODD[name]
    )
    writer = RunWriter(runs_folder(), name, config)
    with Trainer(config, sample, history=writer.history) as trainer:
        trainer.on_checkpoint = writer.checkpoint
        while not trainer.done:
            trainer.step()
            if name == "no numbers" and trainer.step_count == 12:
                nn.init.constant_(trainer.runs["builtin"].model.conv[0].weight, math.nan)
        trainer.finish()
        if config.steps > 12:
            trainer.checkpoint()
        writer.finish(trainer.summary(1.0))
    app.query_params["run"] = name
    app.run()
    for page in ("train", "activations", "running_stats", "train_vs_eval", "anatomy", "note"):
        app.switch_page(f"pages/{page}.py").run()
        assert_shown_plainly(app, page)
    for page, views in (
        ("activations", ("channels", "image", "backward")),
        ("running_stats", ("demo", "momentum", "images", "map", "start")),
        ("train_vs_eval", MODES_VIEWS),
    ):
        app.query_params["run"] = name
        go(app, page)
        for view in views if config.variants != ("none",) or page != "running_stats" else ():
            look_at(app, view)
            assert_shown_plainly(app, view)


MODES_VIEWS = ("layers", "context", "checkpoints", "recalibrate", "table", "effects", "corruptions")


def assert_shown_plainly(app, where):
    """No exception, and each figure on the page has data and words that are no nan."""
    assert not app.exception, where
    for card in cards(app).values():
        if card["figure"] is None:
            assert card["text"], where
            continue
        said = f"{where} {card['key']}: {card['title']} {card['sentence']}"
        assert not re.search(r"\b(nan|inf|None)\b", said), said
        assert card["figure"]["data"] or "comes after" in said, said


@pytest.mark.parametrize("page", ["activations", "running_stats"])
@pytest.mark.parametrize(("name", "default"), [("layer", "conv2"), ("variant", "builtin")])
def test_what_does_not_exist_in_a_link_is_the_default_and_named(app, page, name, default):
    app.query_params[name] = "conv9"
    go(app, page)
    assert not app.exception
    assert app.session_state[name] == default
    assert any(f"{name}: got 'conv9'; allowed: " in w.value for w in app.warning)


def test_the_demo_says_in_words_what_its_numbers_mean(app):
    go(app, "running_stats", "demo")
    assert any("after 44 batches 99% of the initial value is gone" in c.value for c in app.caption)


def test_a_run_without_bn_offers_one_with_it(app):
    config = RunConfig.parse(dataset="fashion-mnist-sample", variants="none", steps=3)
    job = jobs().start(config, runs_folder())
    app.query_params["run"] = job.id
    go(app, "running_stats")
    assert "no BN" in app.info[0].value
    app.button(key="again_builtin").click().run()
    assert [job.config.variants for job in jobs().all()] == [("none", "builtin"), ("none",)]
    assert not app.exception


def test_variants_are_chosen_by_their_labels_and_stand_in_the_link_by_their_ids(app):
    app.query_params["variants"] = ["note", "none"]
    go(app, "train")
    assert app.multiselect(key="variants").value == ["note", "none"]
    assert app.multiselect(key="variants").options == [v.label for v in VARIANTS.values()]
    app.multiselect(key="variants").set_value(["builtin"]).run()
    assert app.query_params["variants"] in ("builtin", ["builtin"])
    app.switch_page("pages/memory.py").run()
    app.switch_page("pages/train.py").run()
    assert app.multiselect(key="variants").value == ["builtin"]
    app.multiselect(key="variants").set_value(list(RunConfig().variants)).run()
    assert "variants" not in app.query_params
    assert not app.exception


def test_a_linked_variant_that_does_not_exist_is_not_taken(app):
    app.query_params["variants"] = "nope"
    go(app, "train")
    assert app.multiselect(key="variants").value == list(RunConfig().variants)

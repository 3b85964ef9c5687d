"""The page The note as Streamlit runs it, without a browser."""

import threading
from dataclasses import replace

import pandas as pd
import plotly.graph_objects as go
import pytest

from bnviz.charts import theme
from bnviz.records.momentum_maps import KeptMaps
from bnviz.records.store import RECORDED_FOLDER, RunWriter, recorded_run, runs_folder
from bnviz.subjects.note import (
    ablation_section,
    code_section,
    divergence_section,
    printed_log_section,
    questions,
    questions_section,
)
from bnviz.subjects.note.ablation_effects import effects
from bnviz.subjects.note.ablation_figures import SCALES, effect_by_quirk
from bnviz.subjects.note.divergence import compare_sides, largest_by_step
from bnviz.subjects.note.divergence_figures import FLOOR, difference_over_steps
from bnviz.subjects.note.printed_log_figures import printed_accuracies, printed_losses
from bnviz.subjects.note.questions_figures import (
    accuracy_by_estimator,
    accuracy_by_test_batch,
    channel_curve,
    kept_by_way,
)
from bnviz.subjects.note.quirk_settings import LABELS, QUIRKS, on_in, setting_of
from bnviz.subjects.note.recorded import recorded_bench, recorded_log
from bnviz.training.process import jobs, measurements
from bnviz.training.trainer import Trainer
from tests.screen import cards, look_at, new_app
from tests.waiting import until


@pytest.fixture
def app():
    tested = new_app()
    yield tested
    measurements().end_all()
    measurements.cache_clear()
    jobs().stop_all()
    jobs.cache_clear()


@pytest.fixture(scope="module")
def parting(sample):
    return compare_sides("composite", "builtin", 20, dataset=sample)


def opened(app, view="questions", **query):
    for name, value in {"view": view, **query}.items():
        app.query_params[name] = value
    app.run()
    return app.switch_page("pages/note.py").run()


def wait_for(app, key):
    """Until the measurement of that key has ended, and the page with what it found."""
    until(lambda: not measurements().get(*key).going_on)
    return app.run()


def test_the_page_is_never_empty_and_says_what_is_recorded(app):
    opened(app)
    for view, keys, command in (
        (
            "questions",
            {"question_memory", "question_averages", "question_channel", "question_modes"},
            "",
        ),
        ("ablation", {"bench_effect"}, "bnviz quirks"),
        ("log", {"log_loss", "log_accuracy"}, "bnviz log --epochs 5"),
    ):
        look_at(app, view)
        assert not app.exception and not app.error
        assert set(cards(app)) == keys
        recorded = [c.value for c in app.caption if c.value.startswith("Recorded")]
        assert any(command in said for said in recorded)
        for card in cards(app).values():
            assert card["title"] and card["sentence"] and card["alt"]


def test_the_first_question_s_sentence_has_the_figures_of_its_batch(app):
    opened(app)
    app.select_slider(key="question_batch").set_value(64).run()
    frame = questions.bytes_kept(64)
    card = cards(app)["question_memory"]
    assert f"{frame['kept_bytes'].max():,} bytes a test batch of 64" in card["sentence"]
    assert card["title"] == "1 of 8 ways to test keeps the batch"


def test_the_second_and_third_question_answer_to_their_sliders(app):
    opened(app)
    app.select_slider(key="momentum").set_value(0.9).run()
    assert "at m = 0.9 and" in cards(app)["question_channel"]["sentence"]
    app.select_slider(key="question_test_batch").set_value(2).run()
    frame = questions.accuracy_by_batch_size(recorded_run(), "builtin", 400, (2,))
    assert (
        f"{frame['train'][0]:.1%} in train mode at test batch 2"
        in (cards(app)["question_modes"]["sentence"])
    )
    app.segmented_control(key="layer").set_value("fc1").run()
    app.multiselect(key="channels").set_value([100]).run()
    assert cards(app)["question_channel"]["title"].endswith("fc1, channel 100")
    app.segmented_control(key="layer").set_value("conv1").run()  # which has no channel 100
    assert not app.exception
    assert cards(app)["question_channel"]["title"].endswith("conv1, channel 5")


@pytest.mark.parametrize("shape", ["as it is", "none", "the other way round"])
def test_of_other_batch_sizes_is_said_what_the_run_s_map_says(app, monkeypatch, shape):
    frame, _note = KeptMaps().load("recorded", RECORDED_FOLDER, "builtin", 16_000)
    if shape == "none":
        frame = frame[:0]
    if shape == "the other way round":
        frame = frame.assign(batch_size=frame["batch_size"].map({4: 256, 16: 64, 64: 16, 256: 4}))
    monkeypatch.setattr(KeptMaps, "load", lambda *_where: (frame, ""))
    opened(app)
    said = cards(app)["question_averages"]["sentence"]
    assert "an average that forgets faster is closer." in said
    slower = "the slower the best average, by this run's map"
    assert (slower in said) is (shape == "as it is")
    if shape == "as it is":
        best = {b: rows.loc[rows["accuracy"].idxmax()] for b, rows in frame.groupby("batch_size")}
        assert sorted(row["momentum"] for row in best.values()) == [
            best[b]["momentum"] for b in (4, 16, 64, 256)
        ]
        low, high = best[4]["momentum"], best[256]["momentum"]
        assert low < high
        assert f"{low:g} at batch 4, {high:g} at batch 256." in said


def test_the_third_question_s_slider_has_the_sizes_that_were_measured(app, monkeypatch):
    frame = questions.accuracy_by_batch_size(recorded_run(), "builtin", 400, (4, 32))
    monkeypatch.setattr("bnviz.subjects.note.questions_section.by_size", lambda *_run: frame)
    opened(app)
    assert app.select_slider(key="question_test_batch").options == ["4", "32"]
    app.select_slider(key="question_test_batch").set_value(32).run()
    assert "in train mode at test batch 32" in cards(app)["question_modes"]["sentence"]


def test_the_switches_can_be_set_together_and_taken_back(app):
    opened(app, "code")
    toggles = {q: app.toggle(key=code_section.key_of(q)) for q in QUIRKS}
    assert all(t.value for t in toggles.values())
    app.toggle(key="quirk_chained_mean").set_value(False).run()
    assert any("all quirks but mean taken" in m.value for m in app.markdown)
    app.button(key="quirks_none").click().run()
    assert not any(app.toggle(key=code_section.key_of(q)).value for q in QUIRKS)
    assert app.button(key="quirks_none").disabled
    app.button(key="quirks_undo").click().run()
    assert [q for q in QUIRKS if not app.toggle(key=code_section.key_of(q)).value] == [
        "chained_mean"
    ]
    app.button(key="quirks_undo").click().run()
    assert all(app.toggle(key=code_section.key_of(q)).value for q in QUIRKS)
    assert app.button(key="quirks_undo").disabled


def test_a_link_sets_switches_and_the_run_has_them(app):
    opened(app, "code", quirk_keep_graph="false", quirk_momentum_of_new="false")
    app.button(key="train_quirks").click().run()
    [job] = jobs().all()
    assert job.config.variants == ("note", "builtin")
    assert job.config.momentum == 0.1
    assert not job.config.quirks.keep_graph and job.config.quirks.chained_mean


def test_the_bench_is_measured_here_and_found_again(app, monkeypatch):
    little = replace(recorded_bench(), made={}, seeds=(5, 6), steps=100)
    monkeypatch.setattr("bnviz.subjects.note.ablation.run_bench", lambda *_args: little)
    opened(app, "ablation", bench_seeds="5,6", bench_steps="100")
    app.button(key="measure_bench").click().run()
    wait_for(app, ablation_section.bench_key("5,6", 100))
    assert any(c.value.startswith("Measured here: 100 steps") for c in app.caption)
    app.switch_page("pages/home.py").run()
    app.switch_page("pages/note.py").run()
    look_at(app, "ablation")
    assert any(c.value.startswith("Measured here: 100 steps") for c in app.caption)
    assert [b.key for b in app.button if "bench" in b.key] == ["measure_again_bench"]


def test_a_bench_with_other_settings_is_shown_while_it_goes_on_and_found_again(app, monkeypatch):
    little, go_on = replace(recorded_bench(), made={}, seeds=(5, 6), steps=100), threading.Event()
    monkeypatch.setattr(
        "bnviz.subjects.note.ablation.run_bench", lambda *_args: go_on.wait(60) and little
    )
    opened(app, "ablation", bench_seeds="5, 6", bench_steps="100")
    app.button(key="measure_bench").click().run()
    app.text_input(key="bench_seeds").set_value("0,1,2").run()
    app.run()
    assert any(c.value == "Going on with seeds 5,6 and 100 steps:" for c in app.caption)
    assert app.button(key="cancel_bench_5,6_100")
    go_on.set()
    wait_for(app, ablation_section.bench_key("5,6", 100))
    assert any(c.value.startswith("Recorded: 600 steps") for c in app.caption)
    app.button(key="bench_5,6_100").click().run()
    app.run()
    assert any(c.value.startswith("Measured here: 100 steps") for c in app.caption)


@pytest.mark.parametrize(
    ("seeds", "said"),
    [
        ("a,b", "seeds: got 'a'; allowed: a whole number."),
        ("0, ,2", "seeds: got ''; allowed: a whole number."),
        ("1,1", "seeds: got '1,1'"),
        ("", "seeds: got ''; allowed: a whole number."),
        ("-1", "seed: got -1"),
    ],
)
def test_seeds_that_are_none_are_refused_and_the_recorded_stays(app, seeds, said):
    """In the words of the command line."""
    opened(app, "ablation")
    app.text_input(key="bench_seeds").set_value(seeds).run()
    assert not app.exception
    [error] = app.error
    assert error.value.startswith(said)
    assert "bench_effect" in cards(app)
    assert not [b for b in app.button if b.key == "measure_bench"]


def test_the_matrix_has_a_row_a_setting_and_its_means(app):
    opened(app, "ablation")
    bench = recorded_bench()
    table = app.dataframe[0].value
    assert len(table) == bench.frame["setting"].nunique()
    all_on = bench.frame[bench.frame["setting"] == "all"]
    shown = table[table["quirk"] == LABELS["all"]].iloc[0]
    assert shown["eval_accuracy"] == pytest.approx(100 * all_on["eval_accuracy"].mean())
    assert shown["eval_accuracy_spread"] == pytest.approx(100 * all_on["eval_accuracy"].std())
    assert shown["kept"] == pytest.approx(all_on["kept_bytes"].mean() / 2**20)
    assert [name for name in table if name.endswith("_spread")] == ["eval_accuracy_spread"]
    app.toggle(key="bench_spread").set_value(True).run()
    wide = app.dataframe[0].value
    assert list(wide)[1:] == [
        n for each in ablation_section.COLUMNS for n in (each, f"{each}_spread")
    ]
    shown = wide[wide["quirk"] == LABELS["all"]].iloc[0]
    assert shown["ms_spread"] == pytest.approx(all_on["ms"].std())
    for measure in ablation_section.MEASURES:
        app.selectbox(key="bench_measure").set_value(measure).run()
        assert ablation_section.MEASURES[measure] in cards(app)["bench_effect"]["title"]


def test_the_sentence_under_the_bench_has_each_number_with_its_unit(app):
    opened(app, "ablation")
    bare = recorded_bench().frame.query("setting == 'none'")
    assert (
        f"Without a quirk it is {100 * bare['eval_accuracy'].mean():.4g}%."
        in (cards(app)["bench_effect"]["sentence"])
    )
    app.selectbox(key="bench_measure").set_value("ms").run()
    assert (
        f"Without a quirk it is {bare['ms'].mean():.4g} ms."
        in (cards(app)["bench_effect"]["sentence"])
    )


def test_what_is_said_of_the_two_modes_is_worked_out_from_the_bench_on_show(app):
    opened(app, "ablation")
    bare = recorded_bench().frame.query("setting == 'none'")
    apart = 100 * (bare["train_accuracy"] - bare["eval_accuracy"])
    said = (
        f"Without a quirk eval mode has {bare['eval_accuracy'].mean():.2%} and train mode, in test "
        f"batches of 16, {bare['train_accuracy'].mean():.2%}: {apart.mean():+.2f} ± "
        f"{apart.std():.2f} points, which may be chance."
    )
    assert apart.mean() > 0
    assert any(said in c.value for c in app.caption)


@pytest.mark.parametrize(
    ("seeds", "said"),
    [
        (3, "in test batches of 4, 70.00%: -6.45 ± 0.69 points, which counts."),
        (1, "in test batches of 4, 70.00%: -6.52 points, and one seed shows no spread."),
    ],
)
def test_a_bench_in_which_train_mode_is_worse_is_said_to_be_so(seeds, said):
    whole = recorded_bench()
    frame = whole.frame[whole.frame["seed"] < seeds].assign(train_accuracy=0.7)
    worse = replace(whole, frame=frame, seeds=whole.seeds[:seeds], batch_size=4)
    assert said in ablation_section.modes_sentence(worse)


def test_the_first_divergence_of_two_runs_is_said_drawn_and_answers_to_the_tolerance(
    app, parting, monkeypatch
):
    monkeypatch.setattr("bnviz.subjects.note.divergence.compare_sides", lambda *_a, **_o: parting)
    opened(app, "divergence", lock_steps="20")
    assert any("Not measured yet: both runs take 20 steps" in m.value for m in app.markdown)
    app.button(key="measure_parting").click().run()
    wait_for(app, divergence_section.parting_key("composite", "builtin", 20, "float32"))
    assert not any("at step 1: parameter" in m.value for m in app.markdown), "BN cancels those"
    app.toggle(key="lock_matters").set_value(False).run()
    assert any("at step 1: parameter" in m.value for m in app.markdown)
    assert any("its gradient is rounding alone" in m.value for m in app.markdown)
    app.select_slider(key="lock_tolerance").set_value(0.1).run()
    app.toggle(key="lock_matters").set_value(True).run()
    assert any("stay within 1e-01 of each other in all 20 steps" in m.value for m in app.markdown)
    assert cards(app)["parting"]["title"] == "The two runs do not diverge"


def test_the_switches_set_up_a_run(app, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "bnviz.subjects.note.divergence.compare_sides", lambda *a, **_o: asked.append(a[:2])
    )
    opened(app, "divergence", quirk_keep_graph="false")
    app.selectbox(key="side_a").set_value("switches").run()
    app.run()  # AppTest 1.67: a fragment's first run after a new value still has the old one
    app.button(key="measure_parting").click().run()
    setting = setting_of(on_in("all") - {"keep_graph"})
    wait_for(app, divergence_section.parting_key(f"note:{setting}", "builtin", 100, "float32"))
    assert asked == [(f"note:{setting}", "builtin")]


def test_two_settings_of_one_s_own_are_compared(app, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "bnviz.subjects.note.divergence.compare_sides", lambda *a, **_o: asked.append(a[:2])
    )
    opened(app, "divergence", quirk_keep_graph="false")
    app.selectbox(key="side_a").set_value("switches").run()
    app.run()
    app.button(key="keep_switches").click().run()
    app.run()
    kept = f"note:{setting_of(on_in('all') - {'keep_graph'})}"
    assert app.selectbox(key="side_b").value == kept
    assert any("Both runs are the same" in i.value for i in app.info)
    assert not [b for b in app.button if b.key == "measure_parting"]
    look_at(app, "code")
    app.toggle(key="quirk_chained_mean").set_value(False).run()
    look_at(app, "divergence")
    app.run()
    app.button(key="measure_parting").click().run()
    now = f"note:{setting_of(on_in('all') - {'keep_graph', 'chained_mean'})}"
    wait_for(app, divergence_section.parting_key(now, kept, 100, "float32"))
    assert asked == [(now, kept)]


@pytest.mark.parametrize(
    ("kind", "function", "slider", "first", "then", "said"),
    [
        (printed_log_section.LOG, "printed_log.replay_log", "log_epochs", 2, 1, "2 epochs"),
        (
            divergence_section.PARTING, "divergence.compare_sides", "lock_steps", 20, 50,
            "Hand-written BN and nn.BatchNorm, 20 steps, float32",
        ),
    ],
)  # fmt: skip
def test_a_measurement_with_other_controls_stays_on_the_page(
    app, monkeypatch, parting, kind, function, slider, first, then, said
):
    """While it goes on with its progress and Cancel, then with a way back to what it found."""
    go_on = threading.Event()
    found = recorded_log() if kind == printed_log_section.LOG else parting
    monkeypatch.setattr(
        f"bnviz.subjects.note.{function}", lambda *_a, **_o: go_on.wait(60) and found
    )
    opened(app, "log" if kind == printed_log_section.LOG else "divergence", **{slider: str(first)})
    app.button(key=f"measure_{kind[1]}").click().run()
    [key] = measurements().asked_for(*kind)
    app.select_slider(key=slider).set_value(then).run()
    app.run()
    assert any(c.value == f"Going on with {said}:" for c in app.caption)
    other = "_".join(key[1:])
    app.button(key=f"measure_{kind[1]}").click().run()  # which waits for its turn
    assert app.button(key=f"cancel_{other}") and app.button(key=f"cancel_{kind[1]}")
    go_on.set()
    for asked in measurements().asked_for(*kind):
        wait_for(app, asked)
    app.button(key=other).click().run()
    app.run()
    assert app.select_slider(key=slider).value == first
    assert not app.exception
    assert not [b for b in app.button if b.key in (other, f"cancel_{kind[1]}", f"cancel_{other}")]


def test_what_goes_on_with_other_controls_can_be_cancelled(app, monkeypatch):
    heard = []

    def replay(_epochs, progress):
        try:
            until(lambda: progress(0, 1))
        finally:
            heard.append(True)

    monkeypatch.setattr("bnviz.subjects.note.printed_log.replay_log", replay)
    opened(app, "log")
    app.button(key="measure_log").click().run()
    app.select_slider(key="log_epochs").set_value(3).run()
    app.run()
    app.button(key="cancel_log_1").click().run()
    until(lambda: heard)
    app.run()
    assert not [b for b in app.button if "log_1" in b.key]
    assert app.button(key="measure_log")


def test_sides_of_the_switches_come_back_with_their_comparison(app, monkeypatch, parting):
    """Also when the switches are others by then, and in the address."""
    monkeypatch.setattr("bnviz.subjects.note.divergence.compare_sides", lambda *_a, **_o: parting)
    opened(app, "divergence", quirk_keep_graph="false")
    app.selectbox(key="side_a").set_value("switches").run()
    app.run()
    app.button(key="measure_parting").click().run()
    [key] = measurements().asked_for(*divergence_section.PARTING)
    wait_for(app, key)
    look_at(app, "code")
    app.button(key="quirks_none").click().run()
    look_at(app, "divergence")
    app.run()
    app.button(key="_".join(key[1:])).click().run()
    app.run()
    assert not app.exception
    assert app.selectbox(key="side_a").value == key[2] == app.query_params["kept_sides"]


def test_what_is_kept_already_is_not_kept_again(app):
    opened(app, "divergence", quirk_keep_graph="false")
    kept = f"note:{setting_of(on_in('all') - {'keep_graph'})}"
    for _press in range(2):
        app.button(key="keep_switches").click().run()
        app.run()
    assert app.query_params["kept_sides"] == kept
    look_at(app, "code")
    app.button(key="quirks_all").click().run()
    look_at(app, "divergence")
    app.run()
    app.button(key="keep_switches").click().run()  # the note's layer as it is is a side anyway
    app.run()
    assert app.query_params["kept_sides"] == kept
    assert app.selectbox(key="side_b").value == "note:all"


@pytest.mark.parametrize(
    ("side", "taken"), [("note:keep_graph,chained_mean", True), ("note:x", False)]
)
def test_a_link_names_settings_that_are_sides(app, side, taken):
    opened(app, "divergence", kept_sides=side)
    assert not app.exception
    kept = "Note's BN (graph kept in running statistics; mean taken dimension by dimension)"
    assert (kept in app.selectbox(key="side_b").options) is taken


def test_two_correct_layers_that_do_not_start_alike_are_reported(sample):
    parting = compare_sides("note:none", "note:conv_shift_one", 1, dataset=sample)
    said = divergence_section.sentence(parting, None, 1e-3)
    assert said.endswith("They do not start alike: conv1 BN bias, conv2 BN bias.")


def test_the_log_is_replayed_here(app, monkeypatch):
    short = replace(recorded_log(), frame=recorded_log().frame[:1], made={}, loops={})
    monkeypatch.setattr("bnviz.subjects.note.printed_log.replay_log", lambda *_a: short)
    opened(app, "log")
    app.button(key="measure_log").click().run()
    wait_for(app, printed_log_section.log_key(1))
    assert any(c.value.startswith("Measured here: seed 0, batch 4") for c in app.caption)
    assert "In epoch 1 the note prints 0.1944" in cards(app)["log_loss"]["sentence"]
    table = app.dataframe[len(app.dataframe) - 1].value
    assert table["epoch"].tolist() == [1] and table.notna().all(axis=None)
    assert "Eval mode is +5.4 points from" in cards(app)["log_accuracy"]["sentence"]


def test_a_measurement_that_fails_says_why(app, monkeypatch):
    def fails(*_arguments):
        raise RuntimeError("out of luck")

    monkeypatch.setattr("bnviz.subjects.note.printed_log.replay_log", fails)
    opened(app, "log")
    app.button(key="measure_log").click().run()
    wait_for(app, printed_log_section.log_key(1))
    [error] = app.error
    assert "out of luck" in error.value
    assert "log_loss" in cards(app)


@pytest.fixture
def stored(short_config, sample):
    """Makes a run of five steps, too short for a checkpoint, and gives its id."""

    def make(variants):
        config = short_config(variants=variants, steps=5)
        writer = RunWriter(runs_folder(), f"short-{variants}", config)
        with Trainer(config, sample, history=writer.history) as trainer:
            while not trainer.done:
                trainer.step()
            trainer.flush()
            writer.finish(trainer.summary(1.0))
        return f"short-{variants}"

    return make


def test_a_run_without_weights_says_so_and_the_rest_of_the_page_stands(app, stored):
    opened(app, run=stored("builtin"))
    assert not app.exception
    assert any("No weights are stored in this run yet" in i.value for i in app.info)
    assert "question_memory" in cards(app)


def test_a_run_without_bn_has_no_second_and_third_question(app, stored):
    opened(app, run=stored("none"))
    assert not app.exception
    assert "question_memory" in cards(app) and "question_averages" not in cards(app)
    assert any(b.key == "again_builtin" for b in app.button)


def figures():
    run = recorded_run()
    frame = effects(recorded_bench().frame)
    labels = {s: LABELS[s] for s in dict.fromkeys(frame["setting"])}
    averages = questions.estimator_accuracies(run, "builtin", 400)
    largest = pd.DataFrame(
        {"step": [1, 2], "kind": "forward", "layer": "a", "tensor": "b", "difference": [0.0, 0.1]}
    )
    series = {name: [1.0, 2.0] for name in ("step", "batch", "replay", "average")}
    yield kept_by_way(questions.bytes_kept(16))
    yield accuracy_by_estimator(averages, questions_section.estimator_words(averages), "builtin")
    yield channel_curve(series, "m = 0.1", "builtin")
    yield accuracy_by_test_batch(questions.accuracy_by_batch_size(run, "builtin", 400, (4, 16)), "builtin", 4)  # fmt: skip
    yield from (effect_by_quirk(frame, measure, labels) for measure in SCALES)
    yield difference_over_steps(largest, 1e-3, 2)
    yield printed_losses(printed_log_section.printed_frame(), recorded_log().frame)
    yield printed_accuracies(printed_log_section.printed_frame(), recorded_log().frame)


def test_every_figure_has_axes_with_units_and_marks_to_see():
    known = {q.axis() for q in theme.QUANTITIES.values()}
    for figure in figures():
        drawn = go.Figure(figure)
        assert {drawn.layout.xaxis.title.text, drawn.layout.yaxis.title.text} <= known
        assert sum(len(trace.x) for trace in drawn.data) > 1
        assert all(trace.name for trace in drawn.data)


def test_what_is_the_same_bits_is_drawn_at_the_floor(parting):
    line, *_rest = difference_over_steps(
        largest_by_step(parting.frame).assign(difference=0.0), 1e-3, None
    )["data"]
    assert line["y"].tolist() == pytest.approx([FLOOR] * 20)


def test_the_means_of_the_log_s_sentence_follow_from_its_table():
    """Its way is lower by what the table says, epoch by epoch."""
    gap = 100 * (recorded_log().frame["eval_accuracy"] - recorded_log().frame["note_accuracy"])
    [_loss, accuracy] = printed_log_section.cards(
        printed_log_section.printed_frame(), recorded_log()
    )
    assert f"{gap.min():+.1f} to {gap.max():+.1f} points" in accuracy.sentence
    assert accuracy.title == "What the note measures is too low"

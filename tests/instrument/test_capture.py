"""Layers are captured while somebody wants it, and are as they were afterwards."""

import copy

import pytest
import torch
from torch import nn

from bnviz.census.graph_census import census, watch
from bnviz.instrument.capture import ForwardHook, capture, hooked
from tests.census.note_network import images, note_model


class Events(ForwardHook):
    """What happened, in order."""

    def __init__(self, fails=False):
        self.events, self._fails = [], fails

    def before(self, layer, inputs):
        self.events.append(("before", layer, float(inputs[0])))
        if self._fails:
            raise ZeroDivisionError

    def after(self, layer, inputs, output):
        self.events.append(("after", layer, float(output)))

    def over(self, layer):
        self.events.append(("over", layer))


class Doubles(ForwardHook):
    def after(self, layer, inputs, output):
        return 2 * output


class Adds(nn.Module):
    def forward(self, x, more=1):
        return x + more


def test_inputs_and_outputs_are_kept_by_name_and_no_longer_than_wanted():
    model = nn.Sequential(Adds(), Adds())
    with capture({"first": model[0], "second": model[1]}) as seen:
        model(torch.tensor(1.0))
        model(torch.tensor(5.0))
    assert {name: float(x) for name, x in seen.inputs.items()} == {"first": 5, "second": 6}
    assert {name: float(y) for name, y in seen.outputs.items()} == {"first": 6, "second": 7}
    model(torch.tensor(9.0))
    assert float(seen.inputs["first"]) == 5


def test_a_layer_that_takes_its_input_by_keyword_is_captured_without_it():
    layer = Adds()
    with capture({"": layer}) as seen:
        assert float(layer(x=torch.tensor(1.0), more=2)) == 3
    assert seen.inputs[""] is None
    assert float(seen.outputs[""]) == 3


def test_a_hook_sees_begin_result_and_end_of_each_call_in_order():
    model, seen = nn.Sequential(Adds(), Adds()), Events()
    with hooked(model.named_children(), seen):
        model(torch.tensor(1.0))
    assert seen.events == [
        ("before", "0", 1), ("after", "0", 2), ("over", "0"),
        ("before", "1", 2), ("after", "1", 3), ("over", "1"),
    ]  # fmt: skip


def test_what_a_hook_returns_takes_the_output_s_place_for_the_hooks_after_it_too():
    layer, seen = Adds(), Events()
    with hooked([("", layer)], Doubles()), hooked([("", layer)], seen):
        assert float(layer(torch.tensor(1.0))) == 4
    assert ("after", "", 4) in seen.events
    assert float(layer(torch.tensor(1.0))) == 2


def test_a_hook_that_raises_ends_the_pass_and_goes_all_the_same():
    model, seen = nn.Sequential(Adds(), Adds()), Events(fails=True)
    with pytest.raises(ZeroDivisionError), hooked(model.named_children(), seen):
        model(torch.tensor(1.0))
    assert seen.events == [("before", "0", 1), ("over", "0")]
    assert float(model(torch.tensor(1.0))) == 3
    assert len(seen.events) == 2


def test_layers_are_given_back_when_a_later_one_cannot_be_hooked():
    layer, seen = Adds(), Events()
    with pytest.raises(TypeError), hooked([("first", layer), ("second", 5)], seen):
        pass
    layer(torch.tensor(1.0))
    assert seen.events == []


def test_watching_ends_with_the_layers_as_they_were():
    model, inputs = note_model(), images(2)
    with pytest.raises(ZeroDivisionError), watch(model) as seen:
        model(inputs)
        seen.update()
        raise ZeroDivisionError
    assert not any("forward" in vars(module) for module in model.modules())
    before = seen.update().nodes
    model(inputs)
    assert seen.update().table()["layer"].eq("").all(), "nobody listens any more"
    assert before == 0


def test_watching_changes_no_value():
    one, two, inputs = note_model(), note_model(), images()
    with watch(two) as seen:
        for _ in range(3):
            assert torch.equal(one(inputs), two(inputs))
            seen.update()
    assert torch.equal(one.conv[1].running_var, two.conv[1].running_var)


def test_a_forward_that_a_module_has_of_its_own_is_given_back():
    model = nn.Sequential(nn.Linear(2, 2))
    own = model[0].forward
    model[0].forward = patched = lambda x: own(x) + 1
    one, two = watch(model), watch(model)
    two.close()
    one.close()
    assert model[0].forward is patched


def test_two_who_watch_can_stop_in_any_order_and_a_copy_is_not_watched():
    model = nn.Sequential(nn.Linear(2, 2))
    one, two = watch(model), watch(model)
    copied = copy.deepcopy(model)
    one.close()
    held = [model(torch.ones(1, 2)).exp()]
    two.update(held)
    assert "0" in set(two.table()["layer"])
    two.close()
    assert "forward" not in vars(model[0])
    assert torch.equal(copied(torch.ones(1, 2)), model(torch.ones(1, 2)))
    nn.init.zeros_(copied[0].weight)
    assert not torch.equal(copied(torch.ones(1, 2)), model(torch.ones(1, 2)))
    copied(torch.ones(1, 2))
    assert two.update().nodes == 0


def test_a_forward_that_fails_is_over():
    class Fails(nn.Module):
        def forward(self, x):
            raise ZeroDivisionError

    model, held = nn.Sequential(Fails()), []
    with watch(model, held) as seen:
        with pytest.raises(ZeroDivisionError):
            model(torch.ones(2))
        held.append(torch.ones(2, requires_grad=True).exp())
        seen.update()
    assert set(seen.table()["layer"]) == {""}


def test_a_module_that_is_taken_out_is_held_no_longer():
    model = nn.Sequential(nn.Linear(2, 2), nn.Tanh())
    with watch(model) as seen:
        model[1].kept = model(torch.ones(1, 2))
        assert seen.update().nodes > 0
        gone = model.pop(1)
        seen.update()
        assert (seen.nodes, seen.bytes) == (0, 0)
        assert "forward" not in vars(gone)


def test_a_module_that_is_added_later_is_seen_and_listened_to():
    model, held = nn.Sequential(nn.Linear(2, 2)), []
    with watch(model, held) as seen:
        seen.update()
        model.append(nn.Linear(2, 2))
        seen.update()
        held.append(model(torch.ones(1, 2)))
        seen.update()
        assert {"0", "1"} <= set(seen.table()["layer"])
        held.append(model(torch.ones(1, 2)))
        seen.recount()
    assert seen.nodes == census(model, held).nodes
    assert "forward" not in vars(model[1])

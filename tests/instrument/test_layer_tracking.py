"""Layers are listened to while they are watched, and as they were afterwards."""

import copy

import pytest
import torch
from torch import nn

from bnviz.census.graph_census import census, watch
from tests.census.note_network import images, note_model


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
    twin = copy.deepcopy(model)
    one.close()
    held = [model(torch.ones(1, 2)).exp()]
    two.update(held)
    assert "0" in set(two.table()["layer"])
    two.close()
    assert "forward" not in vars(model[0])
    assert torch.equal(twin(torch.ones(1, 2)), model(torch.ones(1, 2)))
    nn.init.zeros_(twin[0].weight)
    assert not torch.equal(twin(torch.ones(1, 2)), model(torch.ones(1, 2)))
    twin(torch.ones(1, 2))
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

import pytest
import torch

from bnviz.nn import LeNet
from bnviz.nn.state import restored, set_statistics, snapshot, statistics
from bnviz.nn.variants import VARIANTS


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("fails", [False, True])
def test_put_back_undoes_passes_settings_and_statistics(variant, fails):
    model = LeNet(variant)
    x = torch.rand(4, 1, 28, 28)
    model(x)  # the note's statistics now have a graph
    model.fc[1].eval()
    layers = list(model.norm_layers().values())
    before = {name: value.clone() for name, value in snapshot(model).items()}
    owned = [dict(vars(layer)) | dict(layer._buffers) for layer in layers]
    flags = [module.training for module in model.modules()]
    try:
        with restored(model):
            model.train()
            model(x + 1)  # moves buffers in place and gives attributes new tensors
            for layer in layers:
                layer.eps, layer.remark = 0.5, "new"
                own = statistics(layer)
                if own is not None:
                    set_statistics(layer, own[0] + 1, own[1] + 1)
            if fails:
                raise InterruptedError
    except InterruptedError:
        assert fails
    after = snapshot(model)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert flags == [module.training for module in model.modules()]
    for layer, own in zip(layers, owned, strict=True):
        now = dict(vars(layer)) | dict(layer._buffers)
        assert now.keys() == own.keys()
        assert all(now[name] is own[name] for name in own)


def test_put_back_leaves_the_graph_of_the_note_usable():
    model = LeNet("note")
    x = torch.rand(4, 1, 28, 28)
    model(x)
    with restored(model), torch.no_grad():
        model(x)
    model.conv[1].running_mean.sum().backward()
    assert model.conv[0].weight.grad.abs().sum() > 0

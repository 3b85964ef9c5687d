"""The note's network and images for it, alike in every test."""

import torch

from bnviz.nn import LeNet


def note_model(**quirks):
    model = LeNet("note", momentum=0.9, norm_options=quirks)
    model.reset_parameters(torch.Generator().manual_seed(0))
    return model


def images(count=16):
    return torch.rand(count, 1, 28, 28, generator=torch.Generator().manual_seed(1))

"""The backward pass on the cells: a gradient comes in, takes three ways, and torch gives the same."""

import numpy as np
import streamlit as st

from bnviz.i18n import _
from bnviz.nn import fused
from bnviz.subjects.anatomy import batchnorm_steps
from bnviz.subjects.anatomy.batchnorm_steps import Autograd, Backward, Forward
from bnviz.subjects.anatomy.cells_figures import channel_numbers, height_of, number, signed
from bnviz.subjects.anatomy.forward_section import (
    VECTOR_PX,
    Step,
    cells_control,
    parameters_chosen,
    shape_chosen,
    show_step,
)
from bnviz.subjects.anatomy.table_editor_section import editable


def gradient_control(done: Forward) -> np.ndarray:
    """The table of the gradient that comes in. Raises ConfigError as `bnviz.subjects.anatomy.table_editor_section.parse`."""
    shape = done.x.shape
    one = np.zeros(shape)
    one.flat[0] = 1.0
    examples = {
        "one": (_("1 in one cell"), lambda: one),
        "ones": (_("1 in every cell"), lambda: np.ones(shape)),
        "x_hat": (_("x̂ itself"), lambda: done.x_hat),
        "random": (_("random"), lambda: np.random.default_rng(1).normal(size=shape).round(2)),
    }
    return editable("anat_dy", _("Incoming gradient ∂L/∂y"), shape, examples)


def show() -> None:
    """Both tables and the gradients of the parameters; the paths to x beside them.

    Raises ConfigError where there is no forward pass, and for a table with a cell that is no number.
    """
    st.caption(
        _(
            "The gradient of each cell of y says how the loss changes with that cell. "
            "Type other numbers."
        )
    )
    left, right = st.columns(2, gap="medium")
    with left:
        incoming, cells = st.tabs([_("Incoming gradient"), _("Cells x")])
        shape = shape_chosen()
        with cells:
            x = cells_control(shape)
        done = batchnorm_steps.forward(x, *parameters_chosen(shape[1]))
        with incoming:
            grad = gradient_control(done)
    back = batchnorm_steps.backward(done, grad)
    torch_says = batchnorm_steps.autograd_gradients(done.x, done.gamma, done.beta, done.eps, grad)
    steps = backward_steps(done, grad, back, torch_says)
    for place, part in ((left, steps[:2]), (right, steps[2:])):
        with place:
            for step in part:
                show_step(step, str(shape))


def backward_steps(
    done: Forward, grad: np.ndarray, back: Backward, torch_says: Autograd
) -> list[Step]:
    """Section 3 of the paper, one step after the other."""
    return [
        _parameters_step(done, back, torch_says),
        _x_hat_step(done, grad, back),
        _paths_step(done, back),
        _closed_step(done, grad, back, torch_says),
    ]


def _parameters_step(done: Forward, back: Backward, torch_says: Autograd) -> Step:
    rows = {
        _("β, written out"): back.dbeta,
        _("β, autograd"): torch_says.dbeta,
        _("γ, written out"): back.dgamma,
        _("γ, autograd"): torch_says.dgamma,
    }
    return Step(
        key="back_parameters",
        title=_("Gradients of β and γ: sums over a channel"),
        formula=r"\frac{\partial L}{\partial \beta} = \sum_i g_i, \quad "
        r"\frac{\partial L}{\partial \gamma} = \sum_i g_i \hat{x}_i"
        "\n"
        r"g_i = \frac{\partial L}{\partial y_i}",
        module=fused,
        starts=("dbeta = _channel_sum(", "dgamma = _channel_sum(g * x_hat"),
        figure=channel_numbers(rows, done.x.ndim),
        sentence=_("The written-out gradients are at most {off:.1g} from autograd's.").format(
            off=max(_off(back.dbeta, torch_says.dbeta), _off(back.dgamma, torch_says.dgamma))
        ),
        alt=_("Gradients of beta and gamma for each channel, written out and by autograd"),
        height=VECTOR_PX + 72,
    )


def _x_hat_step(done: Forward, grad: np.ndarray, back: Backward) -> Step:
    return Step(
        key="back_x_hat",
        title=_("Gradient of x̂: the incoming gradient times γ"),
        formula=r"\frac{\partial L}{\partial \hat{x}_i} = g_i\, \gamma",
        module=batchnorm_steps,
        starts=("dx_hat = grad *",),
        figure=signed({_("∂L/∂y, incoming"): grad, _("∂L/∂x̂"): back.dx_hat}),
        sentence=_("{some} of {all} cells have a gradient so far; the largest is {most}.").format(
            some=np.count_nonzero(back.dx_hat),
            all=back.dx_hat.size,
            most=number(_largest(back.dx_hat)),
        ),
        alt=_("The incoming gradient and the gradient of the normalized cells"),
        height=height_of(done.x.shape, 2),
    )


def _paths_step(done: Forward, back: Backward) -> Step:
    return Step(
        key="back_paths",
        title=_("A cell acts on the loss along three paths"),
        formula=(
            r"\frac{\partial L}{\partial x_i} = "
            r"\frac{\partial L}{\partial \hat{x}_i} \frac{1}{\sqrt{\sigma^2+\epsilon}}"
            "\n"
            r"+\; \frac{\partial L}{\partial \sigma^2} \frac{2(x_i-\mu)}{m}"
            r"+ \frac{\partial L}{\partial \mu} \frac{1}{m}"
        ),
        module=batchnorm_steps,
        starts=(
            "dvar = (dx_hat",
            "dmean = -dx_hat",
            "through_x_hat = ",
            "through_var = ",
            "through_mean = ",
        ),
        figure=signed(
            {
                _("through x̂ itself"): back.through_x_hat,
                _("through the variance"): back.through_var,
                _("through the mean"): back.through_mean,
            }
        ),
        sentence=_(
            "Norms: {x_hat} through x̂, {var} through the variance, {mean} through the mean. "
            "The last two reach every cell of a channel, also those without a gradient of "
            "their own."
        ).format(
            x_hat=number(_size(back.through_x_hat)),
            var=number(_size(back.through_var)),
            mean=number(_size(back.through_mean)),
        ),
        alt=_("Three panels: the gradient through the normalized cell, the variance and the mean"),
        height=height_of(done.x.shape, 3),
    )


def _closed_step(done: Forward, grad: np.ndarray, back: Backward, torch_says: Autograd) -> Step:
    alone = _size(back.through_x_hat)
    return Step(
        key="back_closed",
        title=_("Their sum, the closed form, and autograd's result"),
        formula=r"\frac{\partial L}{\partial x_i} = \frac{\gamma}{\sqrt{\sigma^2+\epsilon}}"
        r"\left(g_i - \frac{1}{m}\frac{\partial L}{\partial \beta} - "
        r"\frac{\hat{x}_i}{m}\frac{\partial L}{\partial \gamma}\right)",
        module=fused,
        starts=("dx = g - _beside(", "dx = dx * _beside("),
        figure=signed(
            {
                _("sum of the three paths"): back.dx,
                _("closed form"): back.closed,
                _("torch's autograd"): torch_says.dx,
            }
        ),
        sentence=_(
            "The sum is {paths:.1g} from autograd, the closed form {closed:.1g}. BN removes "
            "the part of the gradient that is constant in a channel and the part along x̂: "
            "{left:.0%} of the direct path is left."
        ).format(
            paths=_off(back.dx, torch_says.dx),
            closed=_off(back.closed, torch_says.dx),
            left=_size(back.dx) / alone if alone else 0.0,
        ),
        alt=_("Three panels: the sum of the three paths, the closed form and torch's autograd"),
        height=height_of(done.x.shape, 3),
    )


def _off(ours: np.ndarray, theirs: np.ndarray) -> float:
    return float(np.abs(ours - theirs).max())


def _size(values: np.ndarray) -> float:
    return float(np.sqrt((values**2).sum()))


def _largest(values: np.ndarray) -> float:
    return float(values.flat[np.abs(values).argmax()])

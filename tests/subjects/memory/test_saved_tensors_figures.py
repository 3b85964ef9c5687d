"""What is said of the memory of one step, at small batches and at made-up peaks."""

from dataclasses import replace

import pytest

from bnviz.subjects.memory import saved_tensors_section

RAISES = "Written out, BN raises the peak of a step {:.2f} times"


@pytest.fixture(scope="module")
def steps():
    return saved_tensors_section.steps_of(2)


def test_the_title_is_that_of_the_smallest_batch_too(steps):
    """1.22 times on one CPU; on another a convolution's workspace may hide all of it."""
    ratio = steps["composite"].peak / steps["builtin"].peak
    title = saved_tensors_section.step_card(steps, 2).title
    assert (title == RAISES.format(ratio)) is (ratio > 1.01)
    assert "At batch 2 the hand-written layer" in saved_tensors_section.step_card(steps, 2).sentence


@pytest.mark.parametrize(
    ("peak", "title"),
    [
        (1500, RAISES.format(1.5)),
        (1011, RAISES.format(1.011)),
        (1009, "Written out, BN leaves the peak of a step as it is"),
        (991, "Written out, BN leaves the peak of a step as it is"),
        (900, "Written out, BN lowers the peak of a step to 0.90 times"),
    ],
)
def test_the_title_says_what_the_peaks_say(steps, peak, title):
    made = {
        **steps,
        "builtin": replace(steps["builtin"], peak=1000),
        "composite": replace(steps["composite"], peak=peak),
    }
    assert saved_tensors_section.step_card(made, 16).title == title

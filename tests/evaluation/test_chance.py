"""The rule for more than chance, against scipy's exact tests."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from bnviz.evaluation.chance import CONFIDENCE, half_width, paired_difference, student_t


@pytest.mark.parametrize("pairs", [*range(2, 40), 100, 1000])
def test_student_s_t_is_that_of_scipy(pairs):
    assert student_t(pairs) == pytest.approx(stats.t.ppf(0.975, pairs - 1), rel=3e-4)


def test_a_single_pair_counts_as_two():
    assert student_t(1) == student_t(2)


@pytest.mark.parametrize("seeds", [2, 3, 7, 30])
def test_the_interval_of_paired_differences_is_that_of_a_paired_t_test(seeds):
    generator = np.random.default_rng(seeds)
    one, other = generator.normal(size=(2, seeds))
    apart = one - other
    low, high = stats.ttest_rel(one, other).confidence_interval(CONFIDENCE)
    half = half_width(apart.std(ddof=1), seeds)
    assert (apart.mean() - half, apart.mean() + half) == pytest.approx((low, high), rel=2e-3)


def test_widths_of_columns_are_those_of_their_rows():
    spread, seeds = pd.Series([1.0, 2.0, np.nan]), pd.Series([3, 12, 1])
    widths = half_width(spread, seeds)
    assert widths[:2].tolist() == [half_width(1.0, 3), half_width(2.0, 12)]
    assert np.isnan(widths[2])
    assert len(half_width(spread[:0], seeds[:0])) == 0


@pytest.mark.parametrize(
    ("only_first", "only_second", "both"), [(3, 9, 20), (0, 0, 5), (40, 10, 950)]
)
def test_difference_and_error_are_those_of_the_paired_answers(only_first, only_second, both):
    apart = np.repeat([-1.0, 1.0, 0.0], [only_first, only_second, both])
    found = paired_difference(only_first, only_second, len(apart))
    assert found.value == pytest.approx(apart.mean())
    assert found.error == pytest.approx(stats.sem(apart, ddof=0))


def test_a_difference_is_clear_where_the_exact_sign_test_says_so():
    """For up to 60 images on either side; a few lie so near to 5 % that both may be right."""
    counts = np.arange(61)
    first, second = np.meshgrid(counts, counts)
    clear = paired_difference(first, second, 10_000).clear
    for b, c in np.ndindex(first.shape):
        if b + c:
            exact = stats.binomtest(int(b), int(b + c)).pvalue
            assert clear[b, c] == (exact < 0.05) or 0.04 < exact < 0.06, (b, c, exact)


def test_nothing_apart_and_everything_apart():
    assert not paired_difference(0, 0, 10).clear
    assert paired_difference(0, 10, 10).clear
    assert not paired_difference(0, 1, 1).clear  # one image has no spread, and proves nothing


def test_pairs_see_what_two_accuracies_alone_do_not():
    """40 of 10,000 images change their side in one direction: unpaired errors drown it."""
    found = paired_difference(0, 40, 10_000)
    unpaired = np.sqrt(2 * 0.8 * 0.2 / 10_000)
    assert found.clear
    assert found.value < 2 * unpaired

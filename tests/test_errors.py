"""The checks of bad input: what they let through, and what they say of the rest."""

import pytest

from bnviz.errors import ConfigError, check_choice, check_least, check_share


def test_what_is_allowed_passes():
    check_choice("mode", "train", ("train", "eval"))
    check_share("momentum", 0)
    check_share("momentum", 1.0)
    check_least("batches", 1, 1)


@pytest.mark.parametrize(
    ("check", "arguments", "said"),
    [
        (check_choice, ("mode", "test", ("train", "eval")), "mode: got 'test'; allowed: train, eval."),
        (check_choice, ("layer", 3, {"conv1": None}), "layer: got 3; allowed: conv1."),
        (check_share, ("momentum", 1.5), "momentum: got 1.5; allowed: 0 to 1."),
        (check_share, ("share", float("nan")), "share: got nan; allowed: 0 to 1."),
        (check_least, ("batches", 0, 1), "batches: got 0; allowed: 1 or more."),
    ],
)  # fmt: skip
def test_the_rest_is_refused_by_name_with_what_is_allowed(check, arguments, said):
    with pytest.raises(ConfigError) as refused:
        check(*arguments)
    assert str(refused.value) == said

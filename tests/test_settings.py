"""What a schema says of its settings, and the options of a command that come from it."""

from typing import Literal

import pytest
import typer
from pydantic import Field
from typer.testing import CliRunner

from bnviz.command_line import settings_options
from bnviz.errors import ConfigError
from bnviz.settings import Setting, Settings


class Kettle(Settings):
    litres: float = Field(1.5, gt=0, le=3, title="Water", description="In litres.")
    cups: int | None = Field(None, ge=1, lt=9, title="Cups", description="Instead of litres.")
    mode: Literal["boil", "warm"] = Field("boil", title="Mode", description="How hot.")
    whistle: bool = Field(True, title="Whistle", description="When it is done.")
    teas: tuple[str, ...] = Field(
        ("black",), title="Teas", description="All at once.",
        json_schema_extra={"choices": ["black", "green"]},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        ("litres", "a number more than 0 and at most 3"),
        ("cups", "a whole number at least 1 and less than 9, or none"),
        ("mode", "boil, warm"),
        ("whistle", "true or false"),
        ("teas", "one or more of black, green"),
    ],
)
def test_a_setting_says_what_it_takes(name, allowed):
    assert Setting.of(Kettle, name).allowed == allowed


def test_a_bad_value_is_refused_with_what_its_schema_allows():
    with pytest.raises(
        ConfigError, match=r"cups: got 9; allowed: a whole number at least 1 and less"
    ):
        Kettle.parse(cups=9)
    with pytest.raises(ConfigError, match=r"liters: no such setting; .*did you mean 'litres'"):
        Kettle.parse(liters=1)


def kettle_command(said):
    app = typer.Typer()

    @app.command()
    @settings_options(Kettle, "litres", "mode", "whistle", flags={"whistle": "--whistle/--quiet"})
    def boil(*, where: str = "stove", **settings):
        """Boil water."""
        said.append((where, settings))

    return app


def test_a_command_takes_what_was_given_and_leaves_the_rest_to_the_schema():
    said = []
    app, run = kettle_command(said), CliRunner().invoke
    assert run(app, []).exit_code == 0
    assert run(app, ["--litres", "2", "--quiet", "--where", "fire"]).exit_code == 0
    assert said == [("stove", {}), ("fire", {"litres": "2", "whistle": False})]


def test_the_help_of_a_command_has_label_bounds_help_and_default():
    app = kettle_command([])
    app.rich_markup_mode = None  # one line an option, without a frame
    text = " ".join(CliRunner().invoke(app, ["--help"], terminal_width=200).stdout.split())
    assert "Boil water." in text
    assert "Water: a number more than 0 and at most 3. In litres. Default: 1.5." in text
    assert "Default: true." in text and "--quiet" in text

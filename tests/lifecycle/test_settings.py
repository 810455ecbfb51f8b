# SPDX-License-Identifier: Apache-2.0
"""Lifecycle's own settings: each with its default and its bounds, and no nonsense goes through."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import pytest

from services.kernel.errors import InvalidField
from services.lifecycle import settings
from services.lifecycle.domain.brake import Policy
from services.lifecycle.domain.remedies import Budget
from services.lifecycle.pace import Pace
from services.lifecycle.settings import LifecycleSettings, NovaSettings


@dataclass(frozen=True)
class Number:
    """A setting that is a number: its default, its bounds, and where it is read."""

    name: str
    default: float
    least: float
    most: float
    of: Callable[[LifecycleSettings], float]


def seconds(length: timedelta) -> float:
    return length.total_seconds()


NUMBERS = (
    Number("BMS_LIFECYCLE_WORKERS", 8, 1, 256, lambda own: own.workers),
    Number("BMS_LIFECYCLE_POLL_SECONDS", 5, 0.05, 600, lambda own: seconds(own.pace.most)),
    Number("BMS_LIFECYCLE_PATROL_SECONDS", 900, 0.1, 86400, lambda own: seconds(own.pace.patrol)),
    Number("BMS_LIFECYCLE_LIMIT_SCALE", 1, 0.0001, 1000, lambda own: own.pace.limit_scale),
    Number("BMS_LIFECYCLE_REMEDY_TRIES", 3, 0, 1000, lambda own: own.pace.budget.tries),
    Number("BMS_LIFECYCLE_REMEDY_SECONDS", 60, 0.1, 86400, lambda own: seconds(own.pace.budget.cool_down)),
    Number("BMS_LIFECYCLE_BRAKE_MOST", 3, 0, 100_000, lambda own: own.brake.most),
    Number("BMS_LIFECYCLE_BRAKE_SHARE", 0.05, 0, 1, lambda own: own.brake.share),
    Number("BMS_LIFECYCLE_BRAKE_SECONDS", 3600, 1, 604800, lambda own: seconds(own.brake.window)),
)
WHOLE = {"BMS_LIFECYCLE_WORKERS", "BMS_LIFECYCLE_REMEDY_TRIES", "BMS_LIFECYCLE_BRAKE_MOST"}
WORDS = {
    *("BMS_LIFECYCLE_BACKEND", "BMS_LIFECYCLE_IRONIC_CLOUD", "BMS_LIFECYCLE_IRONIC_ENDPOINT"),
    *("BMS_LIFECYCLE_REDFISH_CA", "BMS_LIFECYCLE_NOVA_CLOUD", "BMS_LIFECYCLE_NOVA_TRAIT"),
    *("BMS_LIFECYCLE_NEUTRON_MODE", "BMS_LIFECYCLE_NEUTRON_CLOUD"),
    # Of backend ironic alone: tests/lifecycle/observing/test_brokers.py
    "BMS_LIFECYCLE_IRONIC_LIST_SECONDS",
    *(f"BMS_LIFECYCLE_IRONIC_NOTIFICATIONS{part}" for part in ("", "_CA", "_DURABLE")),
}
by_name = pytest.mark.parametrize("number", NUMBERS, ids=lambda number: number.name)


@by_name
def test_each_has_its_default(number: Number) -> None:
    """
    Left out or empty, it is what its line says.
    """
    assert number.of(LifecycleSettings.read({})) == number.default
    assert number.of(LifecycleSettings.read({number.name: " "})) == number.default


@by_name
def test_each_is_read_up_to_its_bounds(number: Number) -> None:
    """
    What is given is what is used: at both bounds, blanks around it or not.
    """
    for value in (number.least, number.most):
        assert number.of(LifecycleSettings.read({number.name: f" {value} "})) == pytest.approx(value)


@by_name
@pytest.mark.parametrize("wrong", ["soon", "nan", "inf", "-inf", "-1", "0x10", "3 of 5", "1e99", "below", "above"])
def test_nonsense_is_refused_by_name(number: Number, wrong: str) -> None:
    """
    Lifecycle does not start on it: the setting is named, what may be given, and what to do.
    """
    bounds = {"below": str(number.least - 0.01), "above": str(number.most + 1)}
    with pytest.raises(InvalidField) as refused:
        LifecycleSettings.read({number.name: bounds.get(wrong, wrong)})

    (violation,) = refused.value.violations
    assert violation.field == number.name
    assert f"{number.least:g}" in violation.description
    assert f"{number.most:g}" in violation.description
    assert refused.value.remedy
    assert refused.value.reason == "INVALID_FIELD"


@pytest.mark.parametrize("name", sorted(WHOLE))
def test_a_count_is_a_whole_number(name: str) -> None:
    """
    Half a server is nobody's allowance: it is refused, not rounded.
    """
    with pytest.raises(InvalidField) as refused:
        LifecycleSettings.read({name: "2.5"})

    (violation,) = refused.value.violations
    assert (violation.field, "whole" in violation.description) == (name, True)


def test_an_unknown_backend_is_refused_by_name() -> None:
    """
    The ones there are are told.
    """
    with pytest.raises(InvalidField) as refused:
        LifecycleSettings.read({"BMS_LIFECYCLE_BACKEND": "nova"})

    assert refused.value.violations[0].field == "BMS_LIFECYCLE_BACKEND"
    assert "simulated, ironic" in refused.value.remedy


def test_what_is_not_said_is_what_the_rules_have() -> None:
    """
    The defaults of the settings are those of the domain: nobody who builds one without settings runs by other rules.
    """
    own = LifecycleSettings.read({})

    assert (own.brake, own.pace) == (Policy(), Pace())


def test_a_fast_clock_is_fast_for_remedies_too() -> None:
    """
    Step limits, the cool-down and the long pause shrink alike, so a rehearsal sees what a site would.
    """
    pace = LifecycleSettings.read({"BMS_LIFECYCLE_LIMIT_SCALE": "0.1"}).pace

    assert pace.budget.cool_down == Budget().cool_down * 0.1
    assert pace.budget.seldom == Budget().seldom * 0.1


def test_a_long_cool_down_is_no_shorter_when_it_is_seldom() -> None:
    """
    What is tried seldom is tried no oftener than before.
    """
    budget = LifecycleSettings.read({"BMS_LIFECYCLE_REMEDY_SECONDS": "7200"}).pace.budget

    assert budget.seldom == budget.cool_down == timedelta(hours=2)


@by_name
def test_its_line_says_its_default(number: Number) -> None:
    """
    The manual is the module's own, and its figures are the figures.
    """
    (line,) = [line for line in (settings.__doc__ or "").splitlines() if line.startswith(f"{number.name} ")]

    assert re.search(rf"[;,] {number.default:g}$", line), line


def test_the_manual_names_them_all() -> None:
    """
    Every setting that is read has its line, and no line is for nothing.
    """
    told = set(re.findall(r"^(BMS_LIFECYCLE_\w+)", settings.__doc__ or "", re.MULTILINE))

    assert told == {number.name for number in NUMBERS} | WORDS


def test_nova_is_asked_where_a_cloud_is_named() -> None:
    """
    Its trait has a default, and is one that a template can have; without Ironic there is no Nova.
    """
    environ = {"BMS_LIFECYCLE_BACKEND": "ironic", "BMS_LIFECYCLE_IRONIC_CLOUD": "bms"}
    assert LifecycleSettings.read(environ).nova.cloud == ""
    named = {**environ, "BMS_LIFECYCLE_NOVA_CLOUD": "bms"}
    assert LifecycleSettings.read(named).nova == NovaSettings("bms", "CUSTOM_BMS_HELD")
    assert LifecycleSettings.read({**named, "BMS_LIFECYCLE_BACKEND": "simulated"}).nova.cloud == ""
    with pytest.raises(InvalidField) as refused:
        LifecycleSettings.read({**named, "BMS_LIFECYCLE_NOVA_TRAIT": "held"})
    assert "BMS_LIFECYCLE_NOVA_TRAIT" in str(refused.value)


def test_who_moves_ports_is_said_of_ironic_alone() -> None:
    """
    Nobody but us unless told; then the cloud whose Neutron has the leases' ports is Nova's, Ironic's, or named.
    """
    ironic = {"BMS_LIFECYCLE_BACKEND": "ironic", "BMS_LIFECYCLE_IRONIC_CLOUD": "bare"}
    observed = {**ironic, "BMS_LIFECYCLE_NEUTRON_MODE": "observed"}
    assert LifecycleSettings.read(ironic).neutron_cloud == ""
    assert LifecycleSettings.read(observed).neutron_cloud == "bare"
    assert LifecycleSettings.read({**observed, "BMS_LIFECYCLE_NOVA_CLOUD": "bms"}).neutron_cloud == "bms"
    assert LifecycleSettings.read({**observed, "BMS_LIFECYCLE_NEUTRON_CLOUD": "net"}).neutron_cloud == "net"
    assert LifecycleSettings.read({**observed, "BMS_LIFECYCLE_BACKEND": "simulated"}).neutron_cloud == ""


@pytest.mark.parametrize(
    ("environ", "field"),
    [
        ({"BMS_LIFECYCLE_IRONIC_CLOUD": "bare", "BMS_LIFECYCLE_NEUTRON_MODE": "neutron"}, "NEUTRON_MODE"),
        ({"BMS_LIFECYCLE_IRONIC_ENDPOINT": "http://x", "BMS_LIFECYCLE_NEUTRON_MODE": "observed"}, "NEUTRON_CLOUD"),
    ],
)
def test_who_moves_ports_is_said_clearly(environ: dict[str, str], field: str) -> None:
    """
    Another word than the two, and an Ironic without a cloud beside it that would have Neutron.
    """
    with pytest.raises(InvalidField) as refused:
        LifecycleSettings.read({"BMS_LIFECYCLE_BACKEND": "ironic", **environ})
    assert f"BMS_LIFECYCLE_{field}" in str(refused.value)
    assert refused.value.remedy

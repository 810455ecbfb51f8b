# SPDX-License-Identifier: Apache-2.0
"""The table of who may call what has every method, and nothing else."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
from google.longrunning import operations_pb2
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from services.access import RULES
from services.kernel.calls import Role

PROTOS = Path(__file__).parents[1] / "protos"


def methods() -> dict[str, Any]:
    """Every method of our contracts and of those that we serve, by its full name."""
    names = sorted(path.relative_to(PROTOS).with_suffix("") for path in PROTOS.glob("bms/**/*.proto"))
    contracts = [importlib.import_module(f"{'.'.join(name.parts)}_pb2") for name in names]
    return {
        f"/{service.full_name}/{method.name}": method
        for contract in (*contracts, operations_pb2, health_pb2, reflection_pb2)
        for service in contract.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }


METHODS = methods()


@pytest.mark.parametrize("method", METHODS)
def test_every_method_has_a_rule(method: str) -> None:
    """
    A method of any contract stands in the table: what is not there is refused to everybody.
    """
    assert method in RULES


@pytest.mark.parametrize("method", RULES)
def test_every_rule_is_of_a_method(method: str) -> None:
    """
    No rule is left over from a method that was renamed.
    """
    assert method in METHODS


@pytest.mark.parametrize("method", sorted(method for method, rule in RULES.items() if rule.project_field))
def test_projects_are_named_by_a_field(method: str) -> None:
    """
    The field that a rule looks for the project in is a string of the method's request.
    """
    kind = METHODS[method].input_type
    for part in RULES[method].project_field.split("."):
        assert kind is not None
        assert part in kind.fields_by_name
        field = kind.fields_by_name[part]
        kind = field.message_type
    assert field.type == field.TYPE_STRING


@pytest.mark.parametrize("method", RULES)
def test_rules_mean_something(method: str) -> None:
    """
    A rule lets somebody in: anyone, whoever signed in, or roles; a member's role needs a project to be of.
    """
    rule = RULES[method]
    assert rule.anyone + rule.signed_in + bool(rule.roles) == 1
    assert Role.MEMBER not in rule.roles or rule.project_field


def test_only_health_and_reflection_are_for_anyone() -> None:
    """
    No token, no answer: but for health and reflection.
    """
    open_to_anyone = {method.split("/")[1] for method, rule in RULES.items() if rule.anyone}
    assert open_to_anyone == {"grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"}

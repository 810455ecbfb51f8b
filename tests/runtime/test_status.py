# SPDX-License-Identifier: Apache-2.0
"""Every BmsError has its code and its details, and comes back as what it was."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

import services.kernel
import services.runtime
from services.kernel import errors
from services.kernel.errors import BmsError, FieldViolation, InvalidField, InvalidFields, PeerUnavailable, WrongState
from services.runtime import status as statuses
from tests.support.wire import detail, fields, reason, remedy

EXPECTED = {
    errors.InvalidField: grpc.StatusCode.INVALID_ARGUMENT,
    errors.InvalidFields: grpc.StatusCode.INVALID_ARGUMENT,
    errors.TooLarge: grpc.StatusCode.INVALID_ARGUMENT,
    errors.Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    errors.Forbidden: grpc.StatusCode.PERMISSION_DENIED,
    errors.NotFound: grpc.StatusCode.NOT_FOUND,
    errors.AlreadyExists: grpc.StatusCode.ALREADY_EXISTS,
    errors.WrongState: grpc.StatusCode.FAILED_PRECONDITION,
    errors.StillInUse: grpc.StatusCode.FAILED_PRECONDITION,
    errors.Stale: grpc.StatusCode.ABORTED,
    errors.Busy: grpc.StatusCode.ABORTED,
    errors.Exhausted: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.PeerUnavailable: grpc.StatusCode.UNAVAILABLE,
    errors.DeadlineExceeded: grpc.StatusCode.DEADLINE_EXCEEDED,
    errors.Corrupt: grpc.StatusCode.DATA_LOSS,
}


def make(kind: type[BmsError]) -> BmsError:
    if kind is InvalidFields:
        return InvalidFields([FieldViolation("a", "is bad"), FieldViolation("b", "is worse")], remedy="Mend both.")
    if kind is InvalidField:
        return InvalidField("a", "is bad", remedy="Mend it.", given="x")
    return kind("it went wrong", remedy="Do this.", subject="servers/a", thing="t")


def below(kind: type[BmsError]) -> Iterator[type[BmsError]]:
    for child in kind.__subclasses__():
        yield child
        yield from below(child)


def test_every_error_has_a_row() -> None:
    """
    Every BmsError of kernel and runtime has a row of its own in the table; one that a service, or a package
    within them, derives has its parent's.
    """
    for package in (services.kernel, services.runtime):
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            if not module.name.endswith("migrations_env"):
                importlib.import_module(module.name)

    packages = ("services.kernel", "services.runtime")
    ours = {kind for kind in below(BmsError) if kind.__module__.rpartition(".")[0] in packages}
    assert ours == set(statuses.CODES)
    assert len({kind.reason for kind in ours}) == len(ours)
    # Errors that other tests in this process made up are not the product's.
    product = {kind for kind in below(BmsError) if not kind.__module__.startswith("tests.")}
    assert product <= {child for kind in statuses.CODES for child in (kind, *below(kind))}


def test_an_unknown_reason_comes_back_by_its_code() -> None:
    """
    An error that only the peer has comes back as the general class of its code, with its own words.
    """

    class Ours(errors.NotFound):
        reason = "LEASE_NOT_FOUND"

    status = statuses.to_status(Ours("no lease", lease="x"))
    back = statuses.revive(status)

    assert status.code == 5
    assert type(back) is errors.NotFound
    assert (str(back), back.facts) == ("no lease", {"lease": "x"})


@pytest.mark.parametrize(("kind", "code"), EXPECTED.items(), ids=str)
def test_each_row(kind: type[BmsError], code: grpc.StatusCode) -> None:
    """
    The code is the one of errors.py's drawing; ErrorInfo has reason, domain and facts; the remedy is a Help link.
    """
    error = make(kind)
    status = statuses.to_status(error, "corr")
    info = detail(status, error_details_pb2.ErrorInfo)

    assert statuses.code_of(error) is code
    assert status.code == code.value[0]
    assert status.message == str(error)
    assert info is not None
    assert (info.reason, info.domain, dict(info.metadata)) == (kind.reason, "bms.opensdn.io", error.facts)
    assert remedy(status) == error.remedy
    found = detail(status, error_details_pb2.RequestInfo)
    assert found is not None
    assert found.request_id == "corr"


@pytest.mark.parametrize("kind", EXPECTED, ids=lambda kind: kind.__name__)
def test_it_comes_back_as_what_it_was(kind: type[BmsError]) -> None:
    """
    Revived at the other end, an error has the class, text, facts, remedy and fields it had.
    """
    error = make(kind)
    back = statuses.revive(status_pb2.Status.FromString(statuses.to_status(error).SerializeToString()))

    assert type(back) is kind
    assert (str(back), back.facts, back.remedy) == (str(error), error.facts, error.remedy)
    if isinstance(error, InvalidFields):
        assert isinstance(back, InvalidFields)
        assert back.violations == error.violations


def test_details_of_their_kind() -> None:
    """
    Fields are a BadRequest, states a PreconditionFailure with the subject, what passes by itself a RetryInfo.
    """
    assert fields(statuses.to_status(make(InvalidFields))) == ["a", "b"]
    failure = detail(statuses.to_status(make(WrongState)), error_details_pb2.PreconditionFailure)
    assert failure is not None
    assert (failure.violations[0].type, failure.violations[0].subject) == ("WRONG_STATE", "servers/a")
    retry = detail(statuses.to_status(make(PeerUnavailable)), error_details_pb2.RetryInfo)
    assert retry is not None
    assert retry.retry_delay.seconds > 0


def test_a_status_fits_into_its_trailer() -> None:
    """
    However much is wrong, and however long the words, the details stay below the 8 KiB that clients take.
    """
    many = InvalidFields([FieldViolation(f"field{n}" * 40, "é" * 500) for n in range(5000)], remedy="é" * 5000)
    facts = {f"fact{n}": "é" * 900 for n in range(300)}
    for error in (many, WrongState("é" * 9000, remedy="é" * 9000, **facts)):
        status = statuses.to_status(error, "c" * 128)
        # Bytes travel in base64; the message travels a second time, percent-encoded.
        assert len(status.SerializeToString()) * 4 / 3 + len(status.message.encode()) * 3 < 8 * 1024
        assert reason(status) == error.reason


def test_a_stranger_is_not_revived() -> None:
    """
    A status of another domain, or with a reason we do not know, is nobody of ours.
    """
    status = status_pb2.Status(code=5, message="x")
    assert statuses.revive(status) is None
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason="NOT_FOUND", domain="example.com"))
    assert statuses.revive(status) is None
    assert statuses.details_of((("grpc-status-details-bin", b"\xff\xff"),)) is None
    assert statuses.details_of(None) is None


def test_internal_tells_nothing() -> None:
    """
    What nobody foresaw tells the caller the request id and nothing else.
    """
    status = statuses.internal("corr")

    assert (status.code, reason(status)) == (13, "INTERNAL")
    assert "corr" in status.message

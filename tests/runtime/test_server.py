# SPDX-License-Identifier: Apache-2.0
"""What only a genuine server and client show: bytes, deadlines, drain, reflection, TLS."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import textwrap
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any, cast

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from google.longrunning import operations_pb2, operations_pb2_grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from services.kernel.effect import observed
from services.kernel.errors import DeadlineExceeded, InvalidField, PeerUnavailable, WrongState
from services.runtime.context import current_call
from services.runtime.interceptors import MAX_STREAMS
from services.runtime.metrics import Metrics
from services.runtime.outbound import Peer
from services.runtime.server import build_server
from services.runtime.settings import ClientTls, ServerSettings, ServerTls
from services.runtime.status import details_of
from tests.support.loopback import running
from tests.support.wire import admin, reason

SERVICE = "google.longrunning.Operations"
REQUEST = operations_pb2.GetOperationRequest(name="operations/x-1")
add = operations_pb2_grpc.add_OperationsServicer_to_server


class Servicer(operations_pb2_grpc.OperationsServicer):  # type: ignore[misc]  # it has no stubs
    """Does what the test says."""

    def __init__(self, serve: Callable[[], None] = lambda: None) -> None:
        self.serve = serve
        self.correlations: list[str] = []

    def GetOperation(  # noqa: N802 -- the contract's name
        self, request: operations_pb2.GetOperationRequest, context: grpc.ServicerContext
    ) -> operations_pb2.Operation:
        self.correlations.append(current_call().correlation)
        self.serve()
        return operations_pb2.Operation(name=request.name)


def peer(address: str, *, token: str = "good", tls: ClientTls | None = None) -> Peer:
    return Peer(address, token=token, tls=tls, service="operations")


def get(to: Peer, request: operations_pb2.GetOperationRequest = REQUEST, deadline: float = 10.0) -> object:
    return to.call(operations_pb2_grpc.OperationsStub(to.channel).GetOperation, request, deadline=deadline)


def test_a_call_goes_through() -> None:
    """
    A peer's call is answered, under an effect of its own, and arrives with a request id.
    """
    points: list[str] = []
    servicer = Servicer()
    with running([(add, servicer)], admin()) as server:
        to = peer(server.address)
        with observed(lambda label, when: points.append(f"{when} {label}")):
            assert get(to) == operations_pb2.Operation(name=REQUEST.name)
        to.close()

    assert points == ["before peer.operations.GetOperation", "after peer.operations.GetOperation"]
    assert servicer.correlations[0]


def test_a_chain_of_calls_has_one_request_id() -> None:
    """
    A call made while serving another carries the request id on.
    """
    inner, outer = Servicer(), Servicer()
    with running([(add, inner)], admin()) as second:
        to_inner = peer(second.address)
        outer.serve = lambda: (get(to_inner), None)[1]
        with running([(add, outer)], admin()) as first:
            to = peer(first.address)
            get(to)
            to.close()
        to_inner.close()

    assert inner.correlations == outer.correlations


def test_refusals_come_back_as_they_were_raised() -> None:
    """
    What the servicer raises is what the peer's caller catches: class, facts and remedy.
    """

    def refuse() -> None:
        raise WrongState("it sleeps", remedy="Wake it.", subject="servers/a")

    with running([(add, Servicer(refuse))], admin()) as server:
        to = peer(server.address)
        with pytest.raises(WrongState) as caught:
            get(to)
        assert (str(caught.value), caught.value.remedy) == ("it sleeps", "Wake it.")
        assert caught.value.facts == {"subject": "servers/a"}
        with pytest.raises(InvalidField) as invalid:
            get(to, operations_pb2.GetOperationRequest(name="\x00"))
        assert [violation.field for violation in invalid.value.violations] == ["name"]
        to.close()


def test_our_own_token_refused_is_not_our_callers_fault() -> None:
    """
    A peer that refuses this service's token is PeerUnavailable, with the setting to look at.
    """
    with running([(add, Servicer())], admin()) as server:
        to = peer(server.address, token="bad")
        with pytest.raises(PeerUnavailable) as caught:
            get(to)
        assert "BMS_SERVICE_TOKEN_FILE" in caught.value.remedy
        to.close()


def test_what_does_not_answer() -> None:
    """
    Nobody there: PeerUnavailable at once. Too slow: DeadlineExceeded. A crash of the servicer: PeerUnavailable.
    """
    go = threading.Event()

    def slow() -> None:
        assert go.wait(10)

    with running([(add, Servicer(slow))], admin()) as server:
        to = peer(server.address)
        with pytest.raises(DeadlineExceeded):
            get(to, deadline=0.2)
        go.set()
        to.close()
    nobody = peer(server.address)
    with pytest.raises(PeerUnavailable):
        get(nobody, deadline=5)
    nobody.close()

    def burst() -> None:
        raise ValueError

    with running([(add, Servicer(burst))], admin()) as server:
        to = peer(server.address)
        with pytest.raises(PeerUnavailable):
            get(to)
        to.close()


@pytest.mark.parametrize("data", [b"\xff\xff\xff\xff", b"\x0a\x02\xff\xfe", b"\xa2\x06\x01x"])
def test_bytes_that_are_no_request_are_invalid(data: bytes) -> None:
    """
    Garbage, invalid UTF-8 and unknown fields are INVALID_ARGUMENT with our details: no input reaches INTERNAL.
    """
    with running([(add, Servicer())], admin()) as server, grpc.insecure_channel(server.address) as channel:
        call: Any = channel.unary_unary(f"/{SERVICE}/GetOperation")
        with pytest.raises(grpc.RpcError) as caught:
            call(data, metadata=(("authorization", "Bearer good"),), timeout=10)

        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        status = details_of(caught.value.trailing_metadata())
        assert status is not None
        assert reason(status) == "INVALID_FIELD"


def test_a_method_that_does_not_exist_is_unimplemented() -> None:
    """
    Unknown methods and services are UNIMPLEMENTED, whoever asks.
    """
    with running([(add, Servicer())], admin()) as server, grpc.insecure_channel(server.address) as channel:
        for method in (f"/{SERVICE}/Nothing", "/no.Such/Service"):
            call: Any = channel.unary_unary(method)
            with pytest.raises(grpc.RpcError) as caught:
                call(b"", timeout=10)
            assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_health_and_reflection_need_no_token() -> None:
    """
    Health answers for "" and each service; reflection lists them and knows our error details.
    """
    with running([(add, Servicer())], admin()) as server, grpc.insecure_channel(server.address) as channel:
        health: Any = health_pb2_grpc.HealthStub(channel)
        for name in ("", SERVICE):
            answer = health.Check(health_pb2.HealthCheckRequest(service=name), timeout=10)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        with pytest.raises(grpc.RpcError) as unknown:
            health.Check(health_pb2.HealthCheckRequest(service="no"), timeout=10)
        assert unknown.value.code() is grpc.StatusCode.NOT_FOUND
        asked = [
            reflection_pb2.ServerReflectionRequest(list_services=""),
            reflection_pb2.ServerReflectionRequest(file_containing_symbol="google.rpc.ErrorInfo"),
        ]
        stub: Any = reflection_pb2_grpc.ServerReflectionStub(channel)
        listed, found = stub.ServerReflectionInfo(iter(asked), timeout=10)
        assert {service.name for service in listed.list_services_response.service} == {
            SERVICE,
            "grpc.health.v1.Health",
            "grpc.reflection.v1alpha.ServerReflection",
        }
        assert found.file_descriptor_response.file_descriptor_proto


def test_reflection_cannot_take_all_threads() -> None:
    """
    Open reflection streams, which need no token, leave threads for calls: the fifth is refused.
    """
    go = threading.Event()

    def slowly() -> Iterator[reflection_pb2.ServerReflectionRequest]:
        yield reflection_pb2.ServerReflectionRequest(list_services="")
        assert go.wait(10)

    with running([(add, Servicer())], admin()) as server, grpc.insecure_channel(server.address) as channel:
        stub: Any = reflection_pb2_grpc.ServerReflectionStub(channel)
        streams = [stub.ServerReflectionInfo(slowly(), timeout=20) for _ in range(MAX_STREAMS)]
        for stream in streams:
            next(stream)
        with pytest.raises(grpc.RpcError) as caught:
            next(stub.ServerReflectionInfo(slowly(), timeout=20))
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        to = peer(server.address)
        get(to)
        to.close()
        go.set()
        for stream in streams:
            assert list(stream) == []
        assert next(stub.ServerReflectionInfo(slowly(), timeout=20))


def code_of(error: grpc.RpcError) -> grpc.StatusCode:
    """The code of a call's failure; its type does not say that it has one."""
    code: Any = getattr(error, "code")  # noqa: B009 -- see above
    return cast("grpc.StatusCode", code())


def test_watches_of_health_that_come_and_go_stop_nobody() -> None:
    """
    Watches beginning while others end, from many sides and without a token, never keep the server from answering.
    """
    rounds, failed = 150, list[grpc.StatusCode]()

    def come_and_go(address: str) -> None:
        with grpc.insecure_channel(address) as channel:
            stub: Any = health_pb2_grpc.HealthStub(channel)
            for number in range(rounds):
                watch: Any = stub.Watch(
                    health_pb2.HealthCheckRequest(service="" if number % 2 else "nobody"), timeout=10
                )
                try:
                    next(watch)
                except grpc.RpcError as error:
                    failed.append(code_of(error))
                watch.cancel()

    with running([(add, Servicer())], admin()) as server:
        sides = [threading.Thread(target=come_and_go, args=(server.address,)) for _ in range(4)]
        for side in sides:
            side.start()
        for side in sides:
            side.join(60)
        assert not any(side.is_alive() for side in sides)
        # A place is free a moment after its watch was cancelled; until then one more is refused, and nothing else.
        assert set(failed) <= {grpc.StatusCode.RESOURCE_EXHAUSTED}
        to = peer(server.address)
        get(to)
        to.close()


def test_watches_of_health_cannot_take_all_threads() -> None:
    """
    Each open watch holds a thread: the fifth is refused, and calls are served meanwhile.
    """
    with running([(add, Servicer())], admin()) as server, grpc.insecure_channel(server.address) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        watches: list[Any] = [stub.Watch(health_pb2.HealthCheckRequest(), timeout=20) for _ in range(MAX_STREAMS)]
        assert [next(watch).status for watch in watches] == [health_pb2.HealthCheckResponse.SERVING] * MAX_STREAMS
        with pytest.raises(grpc.RpcError) as caught:
            next(stub.Watch(health_pb2.HealthCheckRequest(), timeout=20))
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        to = peer(server.address)
        get(to)
        to.close()
        for watch in watches:
            watch.cancel()


def test_drain_lets_running_calls_end() -> None:
    """
    Told to stop: health says so, waiters are woken, the running call ends well, new ones are refused.
    """
    inside, go = threading.Event(), threading.Event()

    def slow() -> None:
        inside.set()
        assert go.wait(10)

    drained: list[bool] = []

    def wake() -> None:
        drained.append(True)
        go.set()

    with running([(add, Servicer(slow))], admin(), drain=[wake]) as server, ThreadPoolExecutor(1) as pool:
        to = peer(server.address)
        call = pool.submit(get, to)
        assert inside.wait(10)
        server.stop.set()
        assert call.result(10) == operations_pb2.Operation(name=REQUEST.name)
        server.thread.join(10)
        with pytest.raises(PeerUnavailable):
            get(to, deadline=5)
        to.close()

    assert drained == [True]


def test_a_taken_port_is_told() -> None:
    """
    A second server on the same port is refused, with the setting to change.
    """
    with running([(add, Servicer())], admin()) as server:
        settings = ServerSettings(f"127.0.0.1:{server.bound.port}")
        with pytest.raises(PeerUnavailable, match="cannot be listened on"):
            build_server(settings, [], ())


def test_metrics_are_served_on_loopback() -> None:
    """
    With a port set, Prometheus finds the counts under /metrics and nothing elsewhere.
    """
    metrics = Metrics()
    port = _free_port()
    settings = ServerSettings("127.0.0.1:0", grace=5.0, metrics_port=port)
    with running([(add, Servicer())], admin(), settings=settings, metrics=metrics) as server:
        to = peer(server.address)
        get(to)
        to.close()
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10)
        caught.value.close()

    assert f'bms_rpc_total{{method="/{SERVICE}/GetOperation",code="OK"}} 1' in text


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture
def pki(tmp_path: Path) -> Path:
    """A CA (ca.pem), and a server and a client certificate of it (server.pem, server.key, client.pem, client.key)."""
    now = datetime.now(UTC)

    def write(
        name: str, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, signer: ec.EllipticCurvePrivateKey, ca: bool
    ) -> None:
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]))
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=1))
            .not_valid_after(now + timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(
                x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]),
                critical=False,
            )
        )
        (tmp_path / f"{name}.pem").write_bytes(
            builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        )
        (tmp_path / f"{name}.key").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )

    keys = {name: ec.generate_private_key(ec.SECP256R1()) for name in ("ca", "server", "client")}
    issuer = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "ca")])
    for name, key in keys.items():
        write(name, issuer, key, keys["ca"], name == "ca")
    return tmp_path


def test_mutual_tls(pki: Path) -> None:
    """
    With a client CA set, a client with a certificate of it is served; one without, or without TLS, is not.
    """
    tls = ServerTls(pki / "server.pem", pki / "server.key", pki / "ca.pem")
    with running([(add, Servicer())], admin(), tls=tls) as server:
        known = peer(server.address, tls=ClientTls(pki / "ca.pem", pki / "client.pem", pki / "client.key"))
        assert get(known) == operations_pb2.Operation(name=REQUEST.name)
        known.close()
        for stranger in (peer(server.address, tls=ClientTls(pki / "ca.pem")), peer(server.address)):
            with pytest.raises((PeerUnavailable, DeadlineExceeded)):
                get(stranger, deadline=3)
            stranger.close()


_PROCESS = textwrap.dedent(
    """
    from services.runtime.logs import configure
    from services.runtime.server import build_server, serve
    from services.runtime.settings import LogSettings, ServerSettings
    configure(LogSettings(level="error"), "sample")
    settings = ServerSettings("127.0.0.1:0", grace=2.0, die_with_parent=True)
    serve(build_server(settings, [], ()), started=lambda port: print(port, flush=True))
    print("ended", flush=True)
    """
)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_end_a_process_in_order(number: signal.Signals) -> None:
    """
    SIGTERM and SIGINT drain the server, and the process ends with code 0.
    """
    with subprocess.Popen([sys.executable, "-c", _PROCESS], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert int(process.stdout.readline()) > 0
        process.send_signal(number)
        assert process.stdout.readline().strip() == "ended"
        assert process.wait(10) == 0


_SIGNALLED = textwrap.dedent(
    """
    import os, signal, subprocess, sys, threading
    from services.runtime.server import _told_by_signals
    told = _told_by_signals()
    flood = "import os, sys\\nfor _ in range(20000): os.kill(int(sys.argv[1]), 15)"
    sending = subprocess.Popen([sys.executable, "-c", flood, str(os.getpid())])
    while sending.poll() is None:
        told(0.00001)
    print("alive", flush=True)
    """
)


def test_a_signal_at_any_moment_is_heard() -> None:
    """
    Also just as the process begins or ends to wait for one: it once waited for itself then, for ever.
    """
    done = subprocess.run([sys.executable, "-c", _SIGNALLED], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "alive\n"


def test_a_child_ends_with_its_parent() -> None:
    """
    Asked to, a service ends when the process that started it is killed.
    """
    parent = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', sys.argv[1]])\nprint(child.pid, flush=True)\ntime.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", parent, _PROCESS], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = {process.stdout.readline().strip(), process.stdout.readline().strip()}
        assert all(line.isdigit() for line in lines)
        process.kill()
        # The pipe is the child's too: what comes is what the child says when it ends.
        assert process.stdout.readline().strip() == "ended"


def test_a_restarted_peer_is_found_again() -> None:
    """
    A channel outlives its peer: after a restart on the same port calls go through within seconds.
    """
    with running([(add, Servicer())], admin()) as server:
        to = peer(server.address)
        get(to)
        port = server.bound.port
    with pytest.raises(PeerUnavailable):
        get(to, deadline=3)
    with running([(add, Servicer())], admin(), settings=ServerSettings(f"127.0.0.1:{port}", grace=5.0)):
        for _ in range(50):
            try:
                get(to)
                break
            except PeerUnavailable:
                threading.Event().wait(0.2)
        else:
            pytest.fail("the peer was not found again")
    to.close()

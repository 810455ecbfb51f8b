# SPDX-License-Identifier: Apache-2.0
"""Asks everybody at once, each within its time: who does not answer costs his own section and no more."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from services.cli.doctor.contrail_facts import ApiServer, Contrail
from services.cli.doctor.facts import (
    CATALOGUE,
    Endpoint,
    Facts,
    Glance,
    Ironic,
    Keystone,
    Neutron,
    Node,
    Nova,
    Placement,
    Rabbitmq,
    Service,
)
from services.cli.doctor.probes import compute, contrail, glance, ironic, neutron, ours, rabbitmq, services
from services.cli.doctor.probes.cloud import Cloud, alone, log_in
from services.cli.doctor.probes.http import Api

if TYPE_CHECKING:
    from services.runtime.keystone.clouds import Login

T = TypeVar("T")
Told = Callable[[str, bool], None]
"""Called with a section when it is begun, and with True when it is done."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be looked at, and how.

    Attributes:
        sections: names of sections.
        cloud: its name; "" for none.
        login: of that cloud.
        ironic: URL of an Ironic that stands alone; "" for none.
        addresses: of our services.
        rabbitmq: the broker's URL, a secret; "" for none.
        rabbitmq_ca: the CA file of its certificate; "" for the system's.
        contrail: URLs of Contrail's API servers, and how the services reach them.
        networks: Ironic's private networks, by step, as far as they were named.
        seconds: how long a request may take.
        limit: how long all may take.
    """

    sections: frozenset[str]
    environ: Mapping[str, str]
    cloud: str = ""
    login: Login | None = None
    ironic: str = ""
    addresses: Mapping[str, str] = field(default_factory=dict)
    ways: services.Ways | None = None
    rabbitmq: str = field(default="", repr=False)
    rabbitmq_ca: str = ""
    contrail: contrail.Named = field(default_factory=contrail.Named)
    networks: Mapping[str, str] = field(default_factory=dict)
    probe: bool = False
    seconds: float = 10.0
    limit: float = 60.0


def examine(plan: Plan, told: Told) -> Facts:
    """All that can be seen of the site."""
    return _Examination(plan, told).facts()


class _Examination:
    """One look at everything. Each part runs in a thread that nobody waits for longer than the limit."""

    def __init__(self, plan: Plan, told: Told) -> None:
        self._plan = plan
        self._told = told
        self._until = time.monotonic() + plan.limit
        self._cloud: Future[Cloud] = Future()
        self._ironic: Future[Ironic] = Future()

    def facts(self) -> Facts:
        """See `examine`."""
        plan, wanted = self._plan, self._wanted()
        ours = (
            {name: self._begin(name, partial(self._service, name)) for name in plan.addresses}
            if "services" in wanted
            else {}
        )
        parts: dict[str, Future[Any]] = {}
        # Others are judged by what Ironic has.
        nodes = wanted & {"ironic", "neutron", "placement", "nova"} or (plan.probe and (plan.cloud or plan.ironic))
        if wanted & {"keystone", "glance"} or nodes:
            self._begin("keystone" if plan.cloud else "", self._log_in, self._cloud)
        if nodes:
            self._begin("ironic", lambda: ironic.look(self._api("ironic")), self._ironic)
            parts["ironic"] = self._ironic
        looks: dict[str, Callable[[], Any]] = {
            "neutron": self._neutron,
            "contrail": self._contrail,
            "placement": lambda: compute.look_placement(self._api("placement", **compute.PLACEMENT), self._nodes()),
            "nova": lambda: compute.look_nova(self._api("nova", **compute.NOVA)),
            "glance": lambda: glance.look(self._api("glance")),
            "rabbitmq": self._rabbitmq,
        }
        for section, look in looks.items():
            if section in wanted:
                parts[section] = self._begin(section, look)
        found = {section: self._wait(section, part) for section, part in parts.items()}
        return Facts(
            services=tuple(self._wait(name, part, _lost_service(plan, name)) for name, part in ours.items())
            if ours
            else None,
            keystone=self._keystone() if wanted & {"keystone", "glance"} or nodes else None,
            # What the cloud does not have is no section.
            **{section: seen for section, seen in found.items() if seen.endpoint.kind != "absent"},
        )

    def _wanted(self) -> frozenset[str]:
        """Those sections of the plan that there is something to ask for."""
        plan = self._plan
        can = {"services"} | ({"keystone", *CATALOGUE} if plan.cloud else set())
        can |= {"ironic"} if plan.ironic else set()
        can |= {"contrail"} if plan.contrail.urls or plan.contrail.faults else set()
        return plan.sections & (can | ({"rabbitmq"} if plan.rabbitmq else set()))

    # ---- parts ------------------------------------------------------------------------------------------------------

    def _log_in(self) -> Cloud:
        plan = self._plan
        if plan.login is None:
            return alone(plan.ironic, plan.seconds)
        return log_in(plan.login, plan.cloud, plan.seconds, plan.environ)

    def _keystone(self) -> Keystone | None:
        cloud: Cloud | None = self._wait("keystone", self._cloud, None)
        return Keystone(self._late(), self._plan.cloud) if cloud is None else cloud.keystone

    def _api(self, section: str, **headers: str) -> Api | Endpoint:
        return self._cloud.result(self._left()).api(section, **headers)

    def _nodes(self) -> tuple[Node, ...]:
        return self._ironic.result(self._left()).nodes.value or ()

    def _neutron(self) -> Neutron:
        api = self._api("neutron")
        told = self._plan.environ.get("BMS_NETWORK_NEUTRON_PRIVATE_PROJECTS", "")
        trusted = frozenset(each.strip() for each in told.split(",") if each.strip())
        return neutron.look(api, self._cloud.result(self._left()).keystone, self._nodes(), self._plan.networks, trusted)

    def _contrail(self) -> Contrail:
        from keystoneauth1.session import Session

        plan, ways = self._plan, self._plan.ways
        assert ways is not None
        session = Session(timeout=plan.seconds) if plan.login is None else plan.login.session
        return contrail.look(
            plan.contrail,
            session,
            lambda: ours.networks(plan.addresses["network"], ways),
            lambda: ours.plugs(plan.addresses["inventory"], ways),
            plan.environ,
            plan.seconds,
        )

    def _rabbitmq(self) -> Rabbitmq:
        plan = self._plan
        found = rabbitmq.look(plan.rabbitmq, plan.rabbitmq_ca, plan.seconds)
        if not plan.probe or not (plan.cloud or plan.ironic):
            return found
        api = self._api("ironic")
        return rabbitmq.listen(found, plan.rabbitmq, plan.rabbitmq_ca, api, self._nodes(), plan.seconds)

    def _service(self, name: str) -> Service:
        assert self._plan.ways is not None
        return services.look(name, self._plan.addresses[name], self._plan.ways)

    # ---- time -------------------------------------------------------------------------------------------------------

    def _left(self) -> float:
        return max(0.0, self._until - time.monotonic())

    def _begin(self, name: str, look: Callable[[], T], into: Future[T] | None = None) -> Future[T]:
        done: Future[T] = into or Future()

        def run() -> None:
            try:
                done.set_result(look())
            except Exception as error:  # noqa: BLE001 -- whatever it is, it costs this section and no other
                done.set_exception(error)
            finally:
                if name:
                    self._told(name, True)

        if name:
            self._told(name, False)
        threading.Thread(target=run, name=f"doctor-{name}", daemon=True).start()
        return done

    def _wait(self, section: str, part: Future[Any], instead: Any = ...) -> Any:
        try:
            return part.result(self._left())
        except TimeoutError:
            return _EMPTY[section](self._late()) if instead is ... else instead
        except Exception as error:  # noqa: BLE001 -- told as what could not be seen
            why = f"the doctor failed at it ({type(error).__name__})"
            return _EMPTY[section](Endpoint("", why=why, kind="unasked")) if instead is ... else instead

    def _late(self) -> Endpoint:
        return Endpoint("", why=f"it took longer than {self._plan.limit:.0f} s in all (--limit)", kind="slow")


def _lost_service(plan: Plan, name: str) -> Service:
    return Service(name, Endpoint(plan.addresses[name], why="it did not answer in time", kind="slow"))


_EMPTY: Mapping[str, Callable[[Endpoint], Any]] = {
    "ironic": Ironic, "neutron": Neutron, "contrail": lambda endpoint: Contrail((ApiServer(endpoint),)),
    "placement": Placement, "nova": Nova, "glance": Glance, "rabbitmq": Rabbitmq,
}  # fmt: skip

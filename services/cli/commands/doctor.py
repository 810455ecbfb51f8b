# SPDX-License-Identifier: Apache-2.0
"""`bms doctor`: is this site fit for use?"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from services.cli.doctor.facts import SECTIONS, STEPS
from services.cli.failures import BadUsage, CliError, ExitCode
from services.cli.options import Given
from services.cli.session import Session, reads
from services.cli.supervise.plan import SERVICES
from services.cli.tokens import CloudToken, FileToken, Token, chosen_cloud

if TYPE_CHECKING:
    from services.cli.doctor.examine import Plan
    from services.runtime.keystone.clouds import Login

_MOST = 10.0
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command("doctor")
@click.option("--ironic-endpoint", metavar="URL", default="", help="An Ironic that stands alone, without Keystone.")
@click.option(
    "--section", "sections", multiple=True, type=click.Choice(SECTIONS), help="Look at this alone; may be repeated."
)
@click.option("--cleaning-network", metavar="NAME", default="", help="Ironic's, by name or id: only ironic.conf tells.")
@click.option("--provisioning-network", metavar="NAME", default="", help="The same of provisioning.")
@click.option("--rescuing-network", metavar="NAME", default="", help="The same of rescue.")
@click.option("--contrail", metavar="URL,URL", default="", help="Contrail's API servers, beside those of the settings.")
@click.option(
    "--rabbitmq",
    type=_FILE,
    envvar="BMS_LIFECYCLE_IRONIC_NOTIFICATIONS_FILE",
    metavar="FILE",
    help="A file with the broker's URL, as transport_url of ironic.conf has it.",
)
@click.option("--rabbitmq-ca", type=_FILE, metavar="FILE", help="CA of its certificate (PEM).  [default: the system's]")
@click.option(
    "--probe", is_flag=True, help="Note something in `extra` of a node and remove it again, to hear Ironic tell of it."
)
@click.option("--problems", is_flag=True, help="Leave out what is as it has to be.")
@click.option("--strict", is_flag=True, help="Exit code 5 if anything is WARN or UNKNOWN.")
@click.option(
    "--limit", type=click.FloatRange(min=1), default=60.0, show_default=True, metavar="SECONDS", help="For all of it."
)
@reads
def doctor(
    session: Session,
    ironic_endpoint: str,
    sections: tuple[str, ...],
    cleaning_network: str,
    provisioning_network: str,
    rescuing_network: str,
    contrail: str,
    rabbitmq: Path | None,
    rabbitmq_ca: Path | None,
    probe: bool,
    problems: bool,
    strict: bool,
    limit: float,
) -> ExitCode:
    """Check a site before it is used: our services, OpenStack's, and how they are set up.

    It only reads. Name the cloud whose login the services use: --os-cloud. Each finding has a code and, unless it is
    PASS, the line of configuration that repairs it; docs/doctor.md lists them all. The exit code is 1 if anything
    FAILs.
    """
    from services.cli.doctor import show
    from services.cli.doctor.examine import examine
    from services.cli.doctor.registry import CHECKS
    from services.cli.doctor.verdicts import Verdict, findings

    began = time.monotonic()
    named = dict(zip(STEPS, (cleaning_network, provisioning_network, rescuing_network), strict=True))
    plan = _plan(session, ironic_endpoint.strip().rstrip("/"), sections, {k: v for k, v in named.items() if v}, limit)
    plan = _with_contrail(plan, contrail)
    plan = _with_broker(plan, rabbitmq, rabbitmq_ca, probe=probe)
    with show.Progress() as progress:
        facts = examine(plan, progress.told)
    # Without a token nothing is seen of the others: that is told whatever was asked for.
    away = facts.keystone is not None and not facts.keystone.endpoint.answers
    found = [
        each
        for each in findings(CHECKS, facts)
        if each.section in plan.sections or (away and each.section == "keystone" and each.verdict is Verdict.FAIL)
    ]
    left_out = _left_out(plan)
    shown = [each for each in found if not problems or each.verdict is not Verdict.PASS]
    screen = session.screen
    if screen.structured:
        screen.data(show.as_data(shown, left_out, time.monotonic() - began))
    elif screen.format == "name":
        for code in dict.fromkeys(each.code for each in found if each.verdict is not Verdict.PASS):
            click.echo(code)
    else:
        show.table(screen, shown)
        show.remedies(screen, shown)
        show.summary(screen, found, left_out)
    worst = max((each.verdict for each in found), default=Verdict.UNKNOWN)
    if worst is Verdict.FAIL:
        return ExitCode.REFUSED
    return ExitCode.UNPROVEN if strict and worst is not Verdict.PASS else ExitCode.OK


def _plan(session: Session, ironic: str, sections: tuple[str, ...], named: Mapping[str, str], limit: float) -> Plan:
    from services.cli.doctor.examine import Plan
    from services.cli.doctor.probes.services import Ways

    options, environ = session.options, dict(os.environ)
    cloud = _cloud(session, environ, ironic)
    if ironic and not ironic.startswith(("http://", "https://")):
        raise BadUsage(f"{ironic!r} is no URL", remedy="Write it as http://HOST:6385.")
    seconds = min(_MOST, options.request_timeout)
    token, tokenless = _token(session, cloud)
    return Plan(
        sections=frozenset(sections or SECTIONS),
        environ=environ,
        cloud=cloud,
        login=_login(cloud, seconds) if cloud else None,
        ironic=ironic,
        addresses={name: session.endpoints[name] for name in SERVICES},
        ways=Ways(token, tokenless, seconds, options.ca, options.cert, options.key),
        networks=named,
        seconds=seconds,
        limit=limit,
    )


def _cloud(session: Session, environ: Mapping[str, str], ironic: str) -> str:
    """The cloud that is looked at: the one that is named, the environment's, or that of the services' settings."""
    from services.cli.doctor.probes.cloud import SETTINGS

    if ironic:
        if session.options.os_cloud:
            raise BadUsage("--ironic-endpoint is for an Ironic without a cloud", remedy="Leave one of the two out.")
        return ""
    around = Given(os_cloud=session.options.os_cloud)
    return chosen_cloud(around, environ) or next((environ[name].strip() for name in SETTINGS if environ.get(name)), "")


def _login(cloud: str, seconds: float) -> Login:
    from services.runtime.keystone.clouds import NoCloud, open_login

    try:
        return open_login(cloud, seconds, at_keystone=False)
    except NoCloud as error:
        remedy = "Name another with --os-cloud. clouds.yaml is looked for where OS_CLIENT_CONFIG_FILE says, and in "
        remedy += "., ~/.config/openstack and /etc/openstack."
        raise CliError(str(error), reason="NO_CLOUD", remedy=remedy) from None


def _token(session: Session, cloud: str) -> tuple[Token | None, str]:
    """What is shown to our services: a token that was named, the directory's, or one of the cloud's; or why none."""
    options, known = session.options, session.data.logins()
    if options.token_file is not None and not options.login:
        return FileToken(options.token_file), ""
    name = options.login or next((each for each in ("site", "admin") if each in known), "")
    if name in known:
        return FileToken(known[name].token_file), ""
    if name:
        return None, f"there is no login {name!r} in {session.data.path}"
    if cloud:
        return CloudToken(cloud, options.request_timeout), ""
    return None, f"there are no tokens in {session.data.path}, and none was named"


def _with_contrail(plan: Plan, text: str) -> Plan:
    from dataclasses import replace

    from services.cli.doctor.probes.contrail import Named

    urls = [each.strip().rstrip("/") for each in text.split(",") if each.strip()]
    for url in urls:
        if not url.startswith(("http://", "https://")):
            raise BadUsage(f"{url!r} is no URL", remedy="Write it as http://HOST:8082, several by commas.")
    return replace(plan, contrail=Named.read(plan.environ, urls))


def _with_broker(plan: Plan, file: Path | None, ca: Path | None, *, probe: bool) -> Plan:
    from dataclasses import replace

    if file is None:
        if probe:
            raise BadUsage("--probe listens at the broker", remedy="Name a file with its URL: --rabbitmq FILE.")
        return plan
    try:
        url = file.read_text().strip()
    except (OSError, UnicodeDecodeError):
        url = ""
    if not url:
        msg = f"{file} holds no URL, or cannot be read"
        raise CliError(msg, remedy="Write rabbit://USER:PASSWORD@HOST:5672/ into it, or name another.")
    return replace(plan, rabbitmq=url, rabbitmq_ca=str(ca) if ca else "", probe=probe)


def _left_out(plan: Plan) -> dict[str, str]:
    """Sections that were wanted and that there was nobody to ask for."""
    found = {}
    if not plan.cloud:
        why = "no cloud is named: --os-cloud NAME" if not plan.ironic else "an Ironic that stands alone"
        clouds = [
            each
            for each in SECTIONS
            if each not in ("services", "contrail", "rabbitmq", *(["ironic"] if plan.ironic else []))
        ]
        found = {each: why for each in clouds if each in plan.sections}
    if "contrail" in plan.sections and not (plan.contrail.urls or plan.contrail.faults):
        found["contrail"] = "no Contrail is named: --contrail URL, or BMS_NETWORK_CONTRAIL_URLS"
    if "rabbitmq" in plan.sections and not plan.rabbitmq:
        found["rabbitmq"] = "no broker is named: --rabbitmq FILE"
    return found

# SPDX-License-Identifier: Apache-2.0
"""What somebody may want done to a server; plans.py has what each takes."""

from __future__ import annotations

from enum import StrEnum


class IntentKind(StrEnum):
    """What somebody wants done to a server."""

    PROVIDE = "provide"
    DEPLOY = "create"
    DEPLOY_NOVA = "create_nova"
    PLACE_ANEW = "create_anew"
    RELEASE = "delete"
    RELEASE_SILENT = "delete_silent"
    RELEASE_FOUND = "delete_found"
    STOP = "stop"
    START = "start"
    REBOOT = "reboot"
    REBUILD = "rebuild"
    RESCUE = "rescue"
    UNRESCUE = "unrescue"
    ATTACH = "attach"
    ATTACH_RESTART = "attach_restart"
    DETACH = "detach"
    PUT_BACK = "put_back"
    REPLUG = "replug"
    MOVE = "move"
    MOVE_QUIET = "move_quiet"
    MOVE_STOPPED = "move_stopped"
    MOVE_FREE = "move_free"
    MOVE_ASIDE = "move_aside"
    STAND_BACK = "stand_back"
    QUARANTINE = "quarantine"
    RECOVER = "recover"
    CLEAN = "clean"
    CLEAN_ENROLLED = "clean_enrolled"
    CLEAN_QUARANTINED = "clean_quarantined"
    SWITCH_ON = "power_on"
    SWITCH_OFF = "power_off"
    SWITCH_REBOOT = "power_reboot"
    UNDO = "undo"
    CLOSE = "close"
    ADOPT = "adopt"
    UNADOPT = "unadopt"
    FORCE_RELEASE = "force_release"
    FORCE_AVAILABLE = "force_available"
    SKIP_CLEAN = "skip_clean"
    ATTEST = "attest_power_off"

    @property
    def verb(self) -> str:
        """The verb that people know it by."""
        for suffix in _VARIANTS:
            if self.value.endswith(suffix):
                return self.value.removesuffix(suffix)
        return self.value


_VARIANTS = (
    *("_silent", "_found", "_restart", "_enrolled", "_quarantined", "_nova", "_anew"),
    *("_quiet", "_stopped", "_free", "_aside"),
)
"""What tells plans of one verb from each other."""

DEPLOYS = (IntentKind.DEPLOY, IntentKind.DEPLOY_NOVA)
"""The kinds that bring an instance onto a server."""

ATTACHES = (IntentKind.ATTACH, IntentKind.ATTACH_RESTART)
"""The kinds that bring an instance onto one more network."""

MOVES = (
    *(IntentKind.MOVE, IntentKind.MOVE_QUIET, IntentKind.MOVE_STOPPED),
    *(IntentKind.MOVE_FREE, IntentKind.MOVE_ASIDE),
)
"""The kinds that bring a server to other switch ports."""

# SPDX-License-Identifier: Apache-2.0
"""The story that `bms demo` plays, and the tests too: lines that a person could type, and what each must lead to."""

from __future__ import annotations

from services.cli.story.analytics import ANALYTICS
from services.cli.story.catalogue import CATALOGUE
from services.cli.story.ending import ENDING
from services.cli.story.faults import FAULTS
from services.cli.story.proof import PROOF
from services.cli.story.script import Line, Scene
from services.cli.story.site import IMPORT, PROVIDE, SITE
from services.cli.story.tenant import MOVE, TENANT, VERBS

STORY: tuple[Scene, ...] = (SITE, IMPORT, PROVIDE, CATALOGUE, TENANT, VERBS, MOVE, FAULTS, ENDING, ANALYTICS, PROOF)

__all__ = ["STORY", "Line", "Scene"]

# SPDX-License-Identifier: Apache-2.0
"""The data directory: what `bms up` leaves there, and where the other commands find it.

admin.token, site.token, tenant-a.token ...   bearer tokens, mode 0600, one a file
logins.json                                    which project each of these works in
tokens.json                                    what the services know of them: digests and roles
data.key                                       the key that secrets are sealed with
<service>.signing.key                          the key that the service's checkpoints are signed with
<service>.checkpoint                           the newest of them, to notice a database restored from a backup
endpoints.json                                 where the five services listen
<service>.sqlite, rack.sqlite                  the databases, and the simulated rack
logs/<service>.log, run/<service>.pid          what each service had to say, and its process id
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from services.cli.failures import CliError

VARIABLE = "BMS_DATA_DIR"


def default_data_dir(environ: Mapping[str, str]) -> Path:
    """Where data is unless ``--data`` is given: $BMS_DATA_DIR, else $XDG_DATA_HOME/bms, else ~/.local/share/bms."""
    if environ.get(VARIABLE):
        return Path(environ[VARIABLE]).expanduser()
    home = environ.get("XDG_DATA_HOME")
    return Path(home, "bms") if home else Path("~/.local/share/bms").expanduser()


@dataclass(frozen=True, slots=True)
class Login:
    """A token of the directory.

    Attributes:
        name: what ``--as`` takes.
        token_file: where the token is.
        project: the project it works in; empty for none of its own.
        roles: for people.
    """

    name: str
    token_file: Path
    project: str
    roles: str


@dataclass(frozen=True, slots=True)
class DataDir:
    """One data directory. It need not exist."""

    path: Path

    @property
    def tokens_file(self) -> Path:
        """What the services know of tokens."""
        return self.path / "tokens.json"

    @property
    def key_file(self) -> Path:
        """The key that secrets are sealed with."""
        return self.path / "data.key"

    @property
    def lock_file(self) -> Path:
        """Held by the `bms up` that runs here."""
        return self.path / "up.lock"

    @property
    def logs(self) -> Path:
        """Where the services' logs are."""
        return self.path / "logs"

    def token_file(self, login: str) -> Path:
        """Where the token of *login* is."""
        return self.path / f"{login}.token"

    def database(self, service: str) -> Path:
        """The SQLite file of *service*."""
        return self.path / f"{service}.sqlite"

    def endpoints(self) -> dict[str, str]:
        """``host:port`` by service, as `bms up` left it; empty if it never ran here."""
        return {str(name): str(address) for name, address in self._json("endpoints.json").items()}

    def write_endpoints(self, endpoints: Mapping[str, str]) -> None:
        """Leaves *endpoints* for the other commands."""
        self._write("endpoints.json", dict(endpoints))

    def logins(self) -> dict[str, Login]:
        """The logins whose tokens are here, by name."""
        return {
            name: Login(name, self.token_file(name), str(entry.get("project", "")), str(entry.get("roles", "")))
            for name, entry in self._json("logins.json").items()
            if isinstance(entry, dict)
        }

    def write_login(self, login: Login) -> None:
        """Notes *login*; its token is written by whoever made it."""
        known = self._json("logins.json")
        self._write("logins.json", {**known, login.name: {"project": login.project, "roles": login.roles}})

    def _json(self, name: str) -> dict[str, object]:
        path = self.path / name
        try:
            content = json.loads(path.read_text())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            msg = f"{path} cannot be read: {error}"
            raise CliError(msg, remedy="Remove it and run `bms up` again; it is written anew.") from None
        return content if isinstance(content, dict) else {}

    def _write(self, name: str, content: object) -> None:
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft = self.path / f".{name}.{os.getpid()}"
        draft.write_text(json.dumps(content, indent=2) + "\n")
        draft.replace(self.path / name)

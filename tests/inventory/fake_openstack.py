# SPDX-License-Identifier: Apache-2.0
"""Nova and Glance, as far as the mirror asks them, with state; called directly or served over HTTP on the loopback."""

from __future__ import annotations

import hashlib
import itertools
import json
import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from services.kernel.errors import PeerUnavailable
from services.runtime.openstack import Answer

PAGE = 2
"""No page is longer, whatever is asked for."""


class Fake:
    """What both have in common: faults, and what was asked."""

    root = ""
    version: Mapping[str, Any]

    def __init__(self) -> None:
        self.away = False
        self.asked: list[tuple[str, str]] = []
        self.answers: dict[tuple[str, str], Answer] = {}
        """Answered instead, once, to this method and the beginning of the path."""
        self._numbers = itertools.count()

    def send(self, method: str, path: str, body: object = None, content_type: str = "") -> Answer:
        """As `Transport.send`."""
        if self.away:
            msg = "nobody answers"
            raise PeerUnavailable(msg)
        parts = urlsplit(path)
        self.asked.append((method, parts.path))
        for (verb, start), answer in list(self.answers.items()):
            if verb == method and path.startswith(start):
                del self.answers[verb, start]
                return answer
        words = [unquote(word) for word in parts.path.strip("/").split("/")]
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        return self.serve(method, words, query, json.loads(json.dumps(body)))

    def serve(self, method: str, words: list[str], query: dict[str, str], body: Any) -> Answer:
        """The answer to one request."""
        raise NotImplementedError

    def new_id(self) -> str:
        """An id that nothing has yet, the same in each run: what is sorted by ids comes in one order."""
        return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{self.root} {next(self._numbers)}"))

    def writes(self) -> list[tuple[str, str]]:
        """What was asked for that changes something."""
        return [each for each in self.asked if each[0] != "GET"]


class FakeNova(Fake):
    """Flavors by flavorid: names are unique, numbers never change, extra specs and descriptions do."""

    root = "/v2.1"

    def __init__(self) -> None:
        super().__init__()
        self.flavors: dict[str, dict[str, Any]] = {}
        self.quota = 100

    def add(self, name: str, *, ref: str = "", extra: Mapping[str, str] | None = None, **fields: Any) -> str:
        """Makes a flavor as an operator does."""
        ref = ref or self.new_id()
        body = {"vcpus": 8, "ram": 1024, "disk": 10, **fields, "name": name, "id": ref}
        assert self.serve("POST", ["flavors"], {}, {"flavor": body}).status == 200
        self.flavors[ref]["extra_specs"] = dict(extra or {})
        return ref

    def named(self, name: str) -> dict[str, Any] | None:
        """The flavor with this name."""
        return next((each for each in self.flavors.values() if each["name"] == name), None)

    def serve(self, method: str, words: list[str], query: dict[str, str], body: Any) -> Answer:
        match method, words:
            case "GET", ["flavors", "detail"]:
                public = query.get("is_public") == "None"
                shown = [each for each in self.flavors.values() if public or each["os-flavor-access:is_public"]]
                shown.sort(key=lambda each: str(each["id"]))
                return _page("flavors", shown, query)
            case "POST", ["flavors"]:
                return self._make(body["flavor"])
            case "POST", ["flavors", ref, "os-extra_specs"] if ref in self.flavors:
                self.flavors[ref]["extra_specs"].update(body["extra_specs"])
                return Answer(200, body)
            case "DELETE", ["flavors", ref, "os-extra_specs", key] if key in self.flavors[ref]["extra_specs"]:
                del self.flavors[ref]["extra_specs"][key]
                return Answer(200, {})
            case "PUT", ["flavors", ref] if ref in self.flavors:
                assert set(body["flavor"]) == {"description"}, "nothing else of a flavor can be changed"
                self.flavors[ref]["description"] = body["flavor"]["description"]
                return Answer(200, {"flavor": self.flavors[ref]})
            case "DELETE", ["flavors", ref] if ref in self.flavors:
                del self.flavors[ref]
                return Answer(202, {})
        return Answer(404, {"itemNotFound": {"message": "no such thing", "code": 404}})

    def _make(self, body: dict[str, Any]) -> Answer:
        if body["id"] in self.flavors or self.named(body["name"]):
            return Answer(409, {"conflictingRequest": {"message": "Flavor already exists.", "code": 409}})
        if len(self.flavors) >= self.quota:
            return Answer(403, {"forbidden": {"message": "Quota exceeded. token=s3cret", "code": 403}})
        if body["vcpus"] < 1 or body["ram"] < 1 or body["disk"] < 0:
            return Answer(400, {"badRequest": {"message": "Invalid input", "code": 400}})
        made = {"os-flavor-access:is_public": True, "description": None, **body, "extra_specs": {}}
        self.flavors[body["id"]] = made
        return Answer(200, {"flavor": made})


class FakeGlance(Fake):
    """Images by id: ids of deleted ones are used up; bytes come by web-download, one step at a time."""

    root = "/v2"

    def __init__(self) -> None:
        super().__init__()
        self.images: dict[str, dict[str, Any]] = {}
        self.members: dict[str, dict[str, str]] = {}
        self.tasks: dict[str, list[dict[str, Any]]] = {}
        self.used_up: set[str] = set()
        self.methods = ["web-download", "glance-direct"]
        self.web: dict[str, bytes] = {}
        self.algorithm = "sha512"

    def add(self, name: str, content: bytes | None = b"image", **fields: Any) -> str:
        """Makes an image as a project does."""
        ref = self.new_id()
        body = {"id": ref, "name": name, "disk_format": "raw", "container_format": "bare", **fields}
        assert self.serve("POST", ["images"], {}, body).status == 201
        if content is not None:
            self._fill(ref, content)
        return ref

    def named(self, name: str) -> list[dict[str, Any]]:
        """The images with this name."""
        return [each for each in self.images.values() if each["name"] == name]

    def step(self) -> None:
        """Lets every fetch under way end."""
        for ref, tasks in self.tasks.items():
            for task in tasks:
                if task["status"] != "processing" or ref not in self.images:
                    continue
                content = self.web.get(task["uri"])
                if content is None:
                    self.images[ref]["status"] = "queued"
                    task |= {"status": "failure", "message": f"cannot fetch {task['uri']}: not found"}
                else:
                    self._fill(ref, content)
                    task["status"] = "success"

    def share(self, ref: str, project: str, status: str = "accepted") -> None:
        """Lets *project* answer whether it takes part."""
        self.members.setdefault(ref, {})[project] = status

    def serve(self, method: str, words: list[str], query: dict[str, str], body: Any) -> Answer:
        if words[:1] == ["images"] and len(words) > 1 and words[1] not in self.images:
            return Answer(404, {"message": "No image found"})
        match method, words:
            case "GET", ["images"]:
                assert query["visibility"] == "all", "else community images are missing"
                shown = [each for each in self.images.values() if not each.get("os_hidden")]
                return _page("images", sorted(shown, key=lambda each: str(each["id"])), query)
            case "GET", ["images", ref]:
                return Answer(200, self.images[ref])
            case "GET", ["info", "import"]:
                return Answer(200, {"import-methods": {"type": "array", "value": self.methods}})
            case "POST", ["images"]:
                return self._make(body)
            case "PATCH", ["images", ref]:
                for change in body:
                    if change["op"] == "remove":
                        del self.images[ref][change["path"][1:]]
                    else:
                        self.images[ref][change["path"][1:]] = change["value"]
                return Answer(200, self.images[ref])
            case "DELETE", ["images", ref]:
                if self.images[ref].get("protected"):
                    return Answer(403, {"message": "Image is protected"})
                del self.images[ref]
                self.used_up.add(ref)
                return Answer(204, {})
            case "POST", ["images", ref, "import"]:
                if any(task["status"] == "processing" for task in self.tasks.get(ref, [])):
                    return Answer(409, {"message": "locked"})
                self.images[ref]["status"] = "importing"
                self.tasks.setdefault(ref, []).append({"status": "processing", "uri": body["method"]["uri"]})
                return Answer(202, {})
            case "GET", ["images", ref, "tasks"]:
                return Answer(200, {"tasks": self.tasks.get(ref, [])})
            case "GET", ["images", ref, "members"]:
                found = [{"member_id": one, "status": status} for one, status in self.members.get(ref, {}).items()]
                return Answer(200, {"members": found})
            case "POST", ["images", ref, "members"]:
                self.share(ref, body["member"], "pending")
                return Answer(200, {})
            case "DELETE", ["images", ref, "members", project]:
                del self.members[ref][project]
                return Answer(204, {})
        return Answer(404, {"message": "no such thing"})

    def _make(self, body: dict[str, Any]) -> Answer:
        if body["id"] in self.images or body["id"] in self.used_up:
            return Answer(409, {"message": "Image ID already exists!"})
        self.images[body["id"]] = {"visibility": "shared", "owner": "admin", "min_disk": 0, **body, "status": "queued"}
        return Answer(201, self.images[body["id"]])

    def _fill(self, ref: str, content: bytes) -> None:
        self.images[ref] |= {
            "status": "active",
            "size": len(content),
            "checksum": hashlib.md5(content, usedforsecurity=False).hexdigest(),
            "os_hash_algo": self.algorithm,
            "os_hash_value": hashlib.new(self.algorithm, content).hexdigest(),
        }


def _page(kind: str, shown: list[dict[str, Any]], query: dict[str, str]) -> Answer:
    at = 0
    if marker := query.get("marker"):
        ids = [each["id"] for each in shown]
        if marker not in ids:
            return Answer(400, {"message": "marker not found"})
        at = ids.index(marker) + 1
    return Answer(200, {kind: shown[at : at + min(PAGE, int(query["limit"]))]})


def sha512(content: bytes) -> str:
    """The checksum of an image, as the catalogue takes it."""
    return f"sha512:{hashlib.sha512(content).hexdigest()}"


@contextmanager
def served(fake: Fake) -> Iterator[str]:
    """*fake* over HTTP until the block ends; answers the URL of its versioned endpoint."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(fake))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}{fake.root}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _handler(fake: Fake) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            if not self.path.startswith(fake.root + "/") or self.path == fake.root + "/":
                answer = Answer(200, _versions(self.headers["Host"], fake.root))
            else:
                answer = fake.send(self.command, self.path.removeprefix(fake.root), body)
            content = json.dumps(answer.body).encode()
            self.send_response(answer.status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = _serve  # noqa: N815 -- http.server's name
        do_POST = _serve  # noqa: N815 -- http.server's name
        do_PUT = _serve  # noqa: N815 -- http.server's name
        do_PATCH = _serve  # noqa: N815 -- http.server's name
        do_DELETE = _serve  # noqa: N815 -- http.server's name

        def log_message(self, *_args: object) -> None:
            """Says nothing."""

    return Handler


def _versions(host: str, root: str) -> dict[str, Any]:
    number = root.removeprefix("/v")
    one = {
        "id": f"v{number if '.' in number else number + '.17'}", "status": "CURRENT", "version": "2.96",
        "min_version": "2.1", "links": [{"rel": "self", "href": f"http://{host}{root}/"}],
    }  # fmt: skip
    return {"versions": [one], "version": one}

"""A local hub: folders of files, served and taken as huggingface_hub and datasets request it."""

import base64
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from tests.servers import serving

REPOSITORY = r"(?:(?P<kind>datasets|models)/)?(?P<name>[^/]+/[^/]+)"
FILE = re.compile(rf"^/{REPOSITORY}/resolve/(?P<revision>[^/]+)/(?P<path>.+)$")
QUESTION = re.compile(
    rf"^/api/{REPOSITORY}(?:/(?P<what>revision|tree|paths-info)/(?P<revision>[^/]+)(?:/(?P<path>.*))?)?$"
)


UPLOAD = re.compile(r"^/api/models/(?P<name>[^/]+/[^/]+)/(?P<what>preupload|commit)/main$")
CREATE = "/api/repos/create"


@dataclass
class Repository:
    """Files by path, in one commit, and tags such as `license:mit`."""

    commit: str
    files: Mapping[str, bytes]
    tags: tuple[str, ...] = ()
    private: bool = False

    def entries(self, folder: str = "") -> list[dict[str, Any]]:
        """The content of a folder, including folders, as the hub lists it."""
        start = f"{folder}/" if folder else ""
        paths = [path for path in self.files if path.startswith(start)]
        folders = {str(up) for path in paths for up in Path(path).parents if str(up) != "."}
        listed = [{"type": "directory", "path": up, "oid": "0", "size": 0} for up in folders]
        return [*listed, *map(self.entry, paths)]

    def entry(self, path: str) -> dict[str, Any]:
        """One file, as the hub lists it."""
        content = self.files[path]
        oid = hashlib.sha1(content, usedforsecurity=False).hexdigest()
        return {"type": "file", "path": path, "oid": oid, "size": len(content)}


@dataclass
class Hub:
    """Repositories by kind and name, their address, and the requests made."""

    address: str
    repositories: dict[tuple[str, str], Repository]
    asked: list[str] = field(default_factory=list)
    token: str = ""  # what uploads need, if anything


def _handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            """The tests read `asked` instead."""

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_POST(self) -> None:
            self._answer(self.rfile.read(int(self.headers["Content-Length"])))

        def do_GET(self) -> None:
            self._answer(b"")

        def _answer(self, body: bytes) -> None:
            path = unquote(urlsplit(self.path).path)
            hub.asked.append(f"{self.command} {path}")
            if (found := FILE.match(path)) is not None:
                self._file(found)
            elif path == CREATE or UPLOAD.match(path):
                self._take(path, body)
            elif (found := QUESTION.match(path)) is not None:
                self._question(found, body)
            else:
                self._send(404, b"")

        def _take(self, path: str, body: bytes) -> None:
            """A new repository, the way to send files, or a commit of files."""
            if self.headers["Authorization"] != (f"Bearer {hub.token}" if hub.token else None):
                self._send(401, b"{}")
                return
            if path == CREATE:
                asked = json.loads(body)
                name = f"{asked['organization']}/{asked['name']}"
                new = Repository("c0", {}, private=asked["visibility"] == "private")
                there = hub.repositories.setdefault(("models", name), new)
                self._say({"url": f"{hub.address}/{name}"}, 200 if there is new else 409)
                return
            found = UPLOAD.match(path)
            assert found is not None
            if found["what"] == "preupload":
                files = [{"path": file["path"]} for file in json.loads(body)["files"]]
                way = {"uploadMode": "regular", "shouldIgnore": False}
                self._say({"files": [file | way for file in files]})
                return
            sent = [json.loads(line)["value"] for line in body.splitlines()]
            content = {each["path"]: base64.b64decode(each["content"]) for each in sent[1:]}
            there = hub.repositories["models", found["name"]]
            there.files = {**there.files, **content}
            self._say({"commitUrl": f"{hub.address}/{found['name']}/commit/c1", "commitOid": "c1"})

        def _repository(self, found: re.Match[str]) -> Repository | None:
            there = hub.repositories.get((found["kind"] or "models", found["name"]))
            if there is None:
                self._send(404, b"", {"X-Error-Code": "RepoNotFound"})
            elif found["revision"] not in (None, "main", there.commit):
                self._send(404, b"", {"X-Error-Code": "RevisionNotFound"})
            else:
                return there
            return None

        def _file(self, found: re.Match[str]) -> None:
            if (there := self._repository(found)) is None:
                return
            commit = {"X-Repo-Commit": there.commit}
            if (content := there.files.get(found["path"])) is None:
                self._send(404, b"", commit | {"X-Error-Code": "EntryNotFound"})
            else:
                self._send(
                    200, content, commit | {"ETag": f'"{there.entry(found["path"])["oid"]}"'}
                )

        def _question(self, found: re.Match[str], body: bytes) -> None:
            if (there := self._repository(found)) is None:
                return
            if found["what"] == "tree":
                self._say(there.entries(found["path"] or ""))
            elif found["what"] == "paths-info":
                known = {entry["path"]: entry for entry in there.entries()}
                self._say([known[path] for path in json.loads(body)["paths"] if path in known])
            else:
                siblings = [{"rfilename": path} for path in there.files]
                about = {"id": found["name"], "sha": there.commit, "tags": there.tags}
                about |= {"private": there.private}
                self._say(about | {"siblings": siblings})

        def _say(self, content: object, status: int = 200) -> None:
            self._send(status, json.dumps(content).encode(), {"Content-Type": "application/json"})

        def _send(self, status: int, content: bytes, headers: Mapping[str, str] = {}) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

    return Handler


@contextmanager
def served(repositories: dict[tuple[str, str], Repository]) -> Iterator[Hub]:
    """A hub with these repositories, until the block ends."""
    hub = Hub("", repositories)
    with serving(_handler(hub)) as hub.address:
        yield hub

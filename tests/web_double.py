"""A local web server: files by name, one that is cut, and one that refers elsewhere."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler

from tests.servers import serving


@dataclass
class Web:
    """The address of a server, its files by name, and the names that were asked for."""

    address: str
    files: Mapping[str, bytes]
    cut: frozenset[str] = frozenset()
    moved: Mapping[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def url(self, name: str) -> str:
        """The address of a file."""
        return f"{self.address}/{name}"


def _handler(web: Web) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """The tests read `asked` instead."""

        def do_GET(self) -> None:
            name = self.path.removeprefix("/")
            web.asked.append(name)
            content = web.files.get(name, b"")
            moved = web.moved.get(name)
            self.send_response(302 if moved else 200 if name in web.files else 404)
            if moved:
                self.send_header("Location", moved)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2] if name in web.cut else content)

    return Handler


@contextmanager
def served(files: Mapping[str, bytes]) -> Iterator[Web]:
    """A server with these files, until the block ends."""
    web = Web("", files)
    with serving(_handler(web)) as web.address:
        yield web

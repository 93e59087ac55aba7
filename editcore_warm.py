"""Jobs that do not load torch and transformers again: a process that has them loaded is forked.

A study starts that process, the server, names its socket in `EDITCORE_WARM`, and ends it. A command
finds it there, hands over its arguments, environment and streams, and waits. If the server differs
from what the command would be, or does not answer, the command loads everything by itself.
editcore's own code is never loaded beforehand, and nothing is kept from job to job.
"""

import contextlib
import ctypes
import gc
import importlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import IO, Any

import editcore_lean
import editcore_start
from editcore_start import WARM

COMMANDS = (
    "prefixes", "rounding", "texts", "moments", "spectrum", "anchor", "train", "values", "edit",
    "sequence", "downstream", "survive", "layers", "mechanism",
)  # fmt: skip
"""The commands that run a job with a model."""
# Half of a study's jobs run tasks; and it brings pandas, which pyarrow imports for every table.
TASKS = "lm_eval.tasks"
# Variables that libraries read when they are loaded; numbers of threads can be set later.
READ_WHEN_LOADED = ("CUDA", "GLIBC", "HF_", "LD_", "MALLOC", "MKL", "OPENBLAS", "PYTHON", "TORCH")
THREADS = "_NUM_THREADS"
STREAMS = (0, 1, 2)
YES = b"y"
FORWARDED = (signal.SIGINT, signal.SIGTERM)
PR_SET_PDEATHSIG = 1
LARGEST = 2**22  # bytes of a request
LONGEST = 10  # seconds to wait for a request that has begun
NUMBER = 4  # bytes of a length or a status


# --- the command's side -----------------------------------------------------------------------


def ended_elsewhere() -> int | None:
    """Run this command in a process with everything loaded; its status, or None if there is none.

    A negative status is the number of the signal that ended it.
    """
    path = os.environ.get(WARM)
    if not path or sys.argv[1:2] not in ([name] for name in COMMANDS):
        return None
    with socket.socket(socket.AF_UNIX) as server:
        try:
            server.connect(path)
            _send_request(server)
            if server.recv(1) != YES:
                return None
        except OSError:
            return None
        return _status(server)


def end_as(status: int) -> None:
    """End this process as another one ended, whose status it is."""
    if status < 0:
        with contextlib.suppress(OSError):  # SIGKILL has no other action
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    sys.exit(status)


def _send_request(server: socket.socket) -> None:
    request = {
        "arguments": sys.argv,
        "folder": os.getcwd(),
        "environment": dict(os.environ),
        "uninterrupted": signal.getsignal(signal.SIGINT) is signal.SIG_IGN,
        "like": _own_kind(sys.path[1:]),  # without the folder of the script
    }
    content = json.dumps(request).encode()
    socket.send_fds(server, [len(content).to_bytes(NUMBER, "big")], STREAMS)
    server.sendall(content)


def _status(server: socket.socket) -> int:
    """The status that the server reports; signals to this process are passed on meanwhile."""

    def forward(number: int, frame: FrameType | None) -> None:
        with contextlib.suppress(OSError):  # the end of the connection is told below
            server.send(bytes([number]))

    before = {number: signal.getsignal(number) for number in FORWARDED}
    for number in FORWARDED:
        if before[number] is not signal.SIG_IGN:
            signal.signal(number, forward)
    try:
        answer = _exactly(server, NUMBER)
    except OSError:
        answer = b""
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    # Without an answer, the server was killed, and the job with it.
    return int.from_bytes(answer, "big", signed=True) if answer else -signal.SIGKILL


def _exactly(connection: socket.socket, length: int) -> bytes:
    """That many bytes; empty if the connection ends before."""
    content = b""
    while len(content) < length:
        if not (part := connection.recv(length - len(content))):
            return b""
        content += part
    return content


def _own_kind(path: Sequence[str]) -> dict[str, object]:
    """What must be the same in two processes, so that one can do the other's work."""
    read = {
        name: value
        for name, value in sorted(os.environ.items())
        if name.startswith(READ_WHEN_LOADED) and not name.endswith(THREADS)
    }
    return {"path": [*path], "python": sys.version, "prefix": sys.prefix, "variables": read}


# --- the study's side -------------------------------------------------------------------------


@dataclass
class Warm:
    """A running server, and its socket; it ends when the process that has this object does."""

    path: str
    process: "subprocess.Popen[bytes]"
    lifeline: IO[bytes]

    def close(self) -> None:
        """End the server and all jobs that it runs."""
        self.lifeline.close()
        self.process.wait()


def start() -> Warm | None:
    """Start a server; None where that cannot be done."""
    if not hasattr(os, "pidfd_open"):
        return None
    try:
        path = Path(tempfile.mkdtemp(prefix="editcore-")) / "warm"
    except OSError:  # such as a full disk
        return None
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            listener.listen(128)
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "editcore_warm", str(listener.fileno()), str(path)],
                stdin=subprocess.PIPE,
                process_group=0,  # Ctrl-C is for the study, and ends this by ending that
                # A forked process has no helper threads; torch has a library of its own.
                env={**os.environ, f"OPENBLAS{THREADS}": "1"},
                pass_fds=[listener.fileno()],
            )
    except OSError:  # such as a path that is too long for a socket
        path.unlink(missing_ok=True)
        path.parent.rmdir()
        return None
    assert process.stdin is not None
    return Warm(str(path), process, process.stdin)


@dataclass
class Client:
    """A connected command, and the process of its job."""

    connection: socket.socket
    process: int
    ended: int  # a file descriptor, readable once the process has ended

    def close(self) -> None:
        """Forget it."""
        self.connection.close()
        os.close(self.ended)


class Server:
    """Forks a process for each command that asks; ends with standard input."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._selector = selectors.DefaultSelector()
        self._clients: list[Client] = []
        self._loaded = False
        self._kind = _own_kind(sys.path)  # now, since libraries set variables when they are loaded
        self._selector.register(listener, selectors.EVENT_READ, self._accept)
        self._selector.register(0, selectors.EVENT_READ, None)

    def serve(self) -> bool:
        """Serve until the end, and return False; return True in a forked process."""
        while True:
            for key, _ in self._selector.select():
                if key.data is None:
                    return False
                if key.data():
                    return True

    def _accept(self) -> bool:
        """Fork a process for a command; True in that process."""
        connection, _ = self._listener.accept()
        connection.settimeout(LONGEST)
        request: dict[str, Any] = {}
        streams: list[int] = []
        process = None
        try:
            request, streams = _received(connection)
            if request["like"] == self._kind and self._load():
                process = os.fork()
        except (OSError, ValueError, KeyError):
            pass
        if process == 0:
            connection.close()
            self._become(request, streams)
            return True
        for stream in streams:
            os.close(stream)
        if process is None:
            connection.close()  # the command then does without
            return False
        client = Client(connection, process, os.pidfd_open(process))
        self._clients.append(client)
        self._selector.register(connection, selectors.EVENT_READ, lambda: self._heard(client))
        self._selector.register(client.ended, selectors.EVENT_READ, lambda: self._ended(client))
        with contextlib.suppress(OSError):  # if the command is gone, `_heard` is told
            connection.sendall(YES)
        return False

    def _load(self) -> bool:
        """Load the libraries at the first request; False if that fails, now or before."""
        if not self._loaded:
            try:
                editcore_lean.install()
                for name in editcore_lean.LIBRARIES:
                    importlib.import_module(name)
                with contextlib.suppress(ImportError):  # an installation without lm-eval
                    importlib.import_module(TASKS)
            except Exception:  # the command then says what is wrong
                return False
            gc.freeze()
            self._loaded = True
        return True

    def _heard(self, client: Client) -> None:
        """Pass on a signal; if the command is gone, its job has to go, too."""
        if client not in self._clients:  # its job has just ended
            return
        try:
            number = client.connection.recv(1)
        except OSError:
            number = b""
        signal.pidfd_send_signal(client.ended, number[0] if number else signal.SIGKILL)
        if not number:
            self._selector.unregister(client.connection)

    def _ended(self, client: Client) -> None:
        _, status = os.waitpid(client.process, 0)
        code = os.waitstatus_to_exitcode(status)
        with contextlib.suppress(OSError):  # nobody may wait for it
            client.connection.sendall(code.to_bytes(NUMBER, "big", signed=True))
        if client.connection in self._selector.get_map():
            self._selector.unregister(client.connection)
        self._selector.unregister(client.ended)
        self._clients.remove(client)
        client.close()

    def _become(self, request: Mapping[str, Any], streams: Sequence[int]) -> None:
        """Make this forked process the one that the command would have been."""
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        os.setpgid(0, 0)  # Ctrl-C reaches it through the command alone
        self._selector.close()
        self._listener.close()
        for client in self._clients:
            client.close()
        for own, stream in zip(STREAMS, streams, strict=True):
            os.dup2(stream, own)
            os.close(stream)
        editcore_start.started = time.monotonic()
        os.chdir(request["folder"])
        sys.argv = request["arguments"]
        os.environ.clear()
        os.environ.update(request["environment"])
        ignored = request["uninterrupted"]
        signal.signal(signal.SIGINT, signal.SIG_IGN if ignored else signal.default_int_handler)
        tempfile.tempdir = None
        if (threads := os.environ.get(f"OMP{THREADS}", "")).isdigit():
            sys.modules["torch"].set_num_threads(int(threads))


def _received(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """A command's request and its streams; `ValueError` if it is none."""
    head, streams, _, _ = socket.recv_fds(connection, NUMBER, len(STREAMS))
    length = int.from_bytes(head, "big")
    if len(streams) != len(STREAMS) or not 0 < length <= LARGEST:
        raise ValueError
    return json.loads(_exactly(connection, length)), streams


def main() -> None:
    """Serve the socket with the number of the first argument until standard input ends."""
    path = Path(sys.argv[2])
    with socket.socket(fileno=int(sys.argv[1])) as listener:
        forked = Server(listener).serve()
    if forked:
        editcore_start.editcore_here()
    else:
        path.unlink(missing_ok=True)
        path.parent.rmdir()


if __name__ == "__main__":
    main()

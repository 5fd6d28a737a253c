"""From names to folders: as they are, from the local cache, and the words when there is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from vllm.config.resolve_folder import embedded_model_folder, resolve_folder
from vllm.errors import ModelLoadError


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty Hugging Face cache."""
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.chdir(tmp_path)
    hub = tmp_path / "hf" / "hub"
    hub.mkdir(parents=True)
    return hub


def _cached(cache: Path, name: str, commit: str, *references: str) -> Path:
    repository = cache / f"models--{name.replace('/', '--')}"
    snapshot = repository / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir(exist_ok=True)
    for reference in references:
        (repository / "refs" / reference).write_text(commit)
    return snapshot


def test_a_folder_is_taken_as_it_is(tmp_path: Path) -> None:
    assert resolve_folder(str(tmp_path)) == tmp_path


def test_the_embedded_model_is_a_folder_with_a_config() -> None:
    assert (embedded_model_folder() / "config.json").is_file()


def test_a_cached_model_by_branch_and_by_commit(cache: Path) -> None:
    old = _cached(cache, "org/name", "c0ffee", "v1")
    new = _cached(cache, "org/name", "decade", "main")
    assert resolve_folder("org/name") == new
    assert resolve_folder("org/name", revision="v1") == old
    assert resolve_folder("org/name", revision="c0ffee") == old


def test_the_download_folder_is_looked_up_first(cache: Path, tmp_path: Path) -> None:
    _cached(cache, "org/name", "a", "main")
    mine = _cached(tmp_path / "mine", "org/name", "b", "main")
    assert resolve_folder("org/name", download_dir=str(tmp_path / "mine")) == mine


def test_a_name_that_is_not_cached(cache: Path) -> None:
    _cached(cache, "org/llama-3", "a", "main")
    with pytest.raises(ModelLoadError) as raised:
        resolve_folder("org/llama-2")
    text = str(raised.value)
    assert f"no model org/llama-2 in the local Hugging Face cache ({cache})" in text
    assert "no hub is contacted" in text
    assert "hf download org/llama-2" in text
    assert "Did you mean: org/llama-3?" in text


def test_a_revision_that_is_not_cached(cache: Path) -> None:
    _cached(cache, "org/name", "a", "main")
    with pytest.raises(ModelLoadError, match="no model org/name at revision v9"):
        resolve_folder("org/name", revision="v9")


def test_a_missing_path_names_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / "llama-3").mkdir()
    with pytest.raises(ModelLoadError, match=rf"There is no folder .*\n.*\n.*\n  Did you mean: {tmp_path}/llama-3\?"):
        resolve_folder(str(tmp_path / "llama-2"))


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(ModelLoadError, match=rf"is a file; a folder is needed(.|\n)*give {tmp_path}"):
        resolve_folder(str(tmp_path / "model.safetensors"))


def test_a_tokenizer_is_called_so(cache: Path) -> None:
    with pytest.raises(ModelLoadError, match="no tokenizer org/name"):
        resolve_folder("org/name", what="tokenizer")

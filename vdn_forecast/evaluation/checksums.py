"""SHA-256 of data files: written down at first use, compared at every later one."""

import hashlib
import json
import logging
import os
import stat
from pathlib import Path

MANIFEST, PUBLISHED = "vdn_checksums.json", "SHA256SUMS"
_CHUNK = 2**20
_LOGGER = logging.getLogger(__name__)


def verify_file(path: Path, folder: Path) -> str:
    """Compare a data file with its folder's manifest, and add it where it is not yet there.

    A `SHA256SUMS` in the folder comes first. Digests that it lacks go to `vdn_checksums.json` beside the data, or
    to a file of the user's cache where the folder is read-only.

    Args:
        path: the file.
        folder: the data folder that holds it.

    Returns:
        Its SHA-256, hexadecimal.

    Raises:
        ValueError: the file is not what it was, or a manifest cannot be read.
    """
    name, found = path.relative_to(folder).as_posix(), file_digest(path)
    for manifest in (folder / PUBLISHED, folder / MANIFEST, _cache_path(folder)):
        expected = _read(manifest).get(name)
        if expected is None:
            continue
        if expected != found:
            raise ValueError(
                f"{path} has changed: SHA-256 is {found}, {manifest.name} has {expected}; "
                f"restore the file, or delete its entry in {manifest} if the change is meant"
            )
        return found
    _add(folder, name, found)
    return found


def file_digest(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _cache_path(folder: Path) -> Path:
    """Where the digests of a read-only folder are kept; another folder has another file."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA") or Path.home() / ".cache"
    key = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]
    return Path(cache) / "vdn-forecast" / f"checksums-{key}.json"


def _read(manifest: Path) -> dict[str, str]:
    """Relative file name to digest; empty where there is no manifest."""
    if not manifest.exists():
        return {}
    text = manifest.read_text(encoding="utf-8")
    if manifest.name == PUBLISHED:
        pairs = (line.split(maxsplit=1) for line in text.splitlines() if line.strip())
        # sha256sum writes "digest  name", with a star before the name of a file read as binary
        return {pair[1].lstrip("*").removeprefix("./"): pair[0].lower() for pair in pairs if len(pair) == 2}
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{manifest} is no JSON ({error}); delete it to start anew") from error
    if not isinstance(found, dict):
        raise ValueError(f"{manifest} must hold names and digests; delete it to start anew")
    return found


def _add(folder: Path, name: str, digest: str) -> None:
    # root may write anywhere: the mode says what the owner of the data meant
    writable = os.access(folder, os.W_OK) and bool(folder.stat().st_mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH))
    for manifest in (*([folder / MANIFEST] if writable else []), _cache_path(folder)):
        try:
            manifest.parent.mkdir(parents=True, exist_ok=True)
            temporary = manifest.with_suffix(f".{os.getpid()}.tmp")
            temporary.write_text(json.dumps({**_read(manifest), name: digest}, indent=1, sort_keys=True) + "\n")
            os.replace(temporary, manifest)
            return
        except OSError as error:
            _LOGGER.warning("%s cannot be written (%s); a changed data file would not be noticed", manifest, error)

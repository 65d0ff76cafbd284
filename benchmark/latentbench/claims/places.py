"""Where files of claims are, and the records that go with them."""

from pathlib import Path

from latentbench.errors import LatentbenchError

__all__ = ["claim_files", "records_beside"]


def claim_files(path: Path) -> list[Path]:
    """The files of claims at a path: the file itself, or those of a folder.

    Raises:
        LatentbenchError: there is nothing.
    """
    files = sorted(path.glob("*.yaml")) if path.is_dir() else [path] if path.exists() else []
    if not files:
        raise LatentbenchError(f"no claims at {path}", "name a folder of YAML files with claims, or one such file")
    return files


def records_beside(claims: Path) -> Path:
    """The folder of the records that go with claims at a path, a folder or a file: ``results``, beside that folder."""
    return (claims if claims.is_dir() else claims.parent).parent / "results"

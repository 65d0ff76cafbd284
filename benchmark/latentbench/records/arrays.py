"""Named arrays as one file: NumPy's ``.npz``, uncompressed, inside XZ. No pickle, and no repeated content.

Test splits that share images share scores, bit for bit. XZ sees the whole file and stores such a stretch once, which
the compression of ``.npz``, array by array, cannot. To read one elsewhere, open it with ``lzma`` and give the content
to ``numpy.load``.
"""

import io
import lzma
import zipfile
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from latentbench.errors import LatentbenchError

__all__ = ["SUFFIX", "pack", "unpack"]

SUFFIX = ".npz.xz"

#: Maximum size of XZ's dictionary; compression needs about twelve times as much memory.
_WINDOW = 2**23


def pack(arrays: Mapping[str, npt.NDArray[np.generic]]) -> bytes:
    """Pack arrays in the given order. Equal arrays give equal bytes with one version of liblzma."""
    plain = io.BytesIO()
    np.savez(plain, allow_pickle=False, **arrays)
    content = plain.getvalue()
    window = min(_WINDOW, max(2**12, 1 << len(content).bit_length()))
    # Made for numbers of four and eight bytes: what comes next depends on the place within the number (lp, pb).
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 9, "dict_size": window, "lc": 1, "lp": 2, "pb": 2}]
    return lzma.compress(content, lzma.FORMAT_XZ, filters=filters)


def unpack(content: bytes) -> dict[str, npt.NDArray[np.generic]]:
    """The arrays of a file that ``pack`` made, or of a ``.npz``.

    Raises:
        LatentbenchError: it is neither, or an array needs pickle.
    """
    try:
        plain = lzma.decompress(content, lzma.FORMAT_XZ) if content.startswith(b"\xfd7zXZ") else content
        with np.load(io.BytesIO(plain), allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (lzma.LZMAError, zipfile.BadZipFile, ValueError, EOFError, AttributeError, OSError) as error:
        raise LatentbenchError(f"is no file of named arrays: {error}") from None

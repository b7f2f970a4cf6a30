"""The idx format of the MNIST family: a magic number, the dimensions, then the values, often gzip-compressed."""

import math
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from equiprop.data._room import read_whole, require_room
from equiprop.errors import InputError

# Multi-byte values and dimensions are stored high byte first.
_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_GZIP = b"\x1f\x8b"
_PIECE = 2**13
_LONGEST_HEADER = 4 + 4 * 255
_MEND = "delete it and run `equiprop data fetch NAME` for the dataset it belongs to"


def read_idx(path: str | Path) -> np.ndarray:
    """The array an idx file holds, as it is or compressed by gzip, whatever its name.

    The file is two zero bytes, one byte for the type, one for the number of dimensions, each dimension as a big-endian
    uint32, and the values in C order: nothing more and nothing less.

    **Returns:** an array of the file's dimensions and type, in the machine's byte order; it may be read-only.

    **Raises:** `InputError`, naming the file and the fault, where it cannot be opened, is truncated, fails gzip's own check, has
    another magic number or type, or goes on after its end.

    LeCun, Cortes and Burges, "The MNIST database of handwritten digits", section "File formats".
    """
    path = Path(path)
    try:
        raw = read_whole(path)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): check the path") from error
    return _parse(lambda most: _decompressed(raw, path, most) if raw[:2] == _GZIP else raw[:most], path)


def _decompressed(raw: bytes, path: Path, most: int) -> bytearray:
    """At most so many bytes of the content of a gzip file, which may be in several parts: a small file may hold any number."""
    # zlib rather than the gzip module: it tells apart a truncated stream, a damaged one and bytes after the end.
    content, place = bytearray(), 0
    while place < len(raw) and len(content) < most:
        stream = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
        while not stream.eof and len(content) < most:
            # Piece by piece, because zlib copies what it leaves over.
            piece = raw[place : place + _PIECE]
            if not piece:
                raise _fault(path, f"is truncated: its gzip stream does not end within its {len(raw)} bytes")
            try:
                content += stream.decompress(piece, most - len(content))
            except zlib.error as error:
                raise _fault(path, f"is a corrupt gzip file ({error})") from error
            place += len(piece) - len(stream.unconsumed_tail) - len(stream.unused_data)
        if stream.eof and raw[place : place + 2] not in (b"", _GZIP):
            raise _fault(path, f"has {len(raw) - place} trailing bytes after its gzip stream")
    return content


def _parse(content: Callable[[int], bytes | bytearray], path: Path) -> np.ndarray:
    """The array of a file of which `content` gives the first bytes, as many as are asked for."""
    data = content(_LONGEST_HEADER)
    if len(data) < 4:
        raise _fault(path, f"is truncated: {len(data)} bytes do not hold the 4 of an idx magic number")
    zeros, code, rank = data[:2], data[2], data[3]
    if zeros != b"\0\0" or rank == 0:
        raise _fault(path, f"is not an idx file: its magic number is {data[:4].hex(' ')}")
    if code not in _DTYPES:
        known = ", ".join(f"{known:02x}" for known in _DTYPES)
        raise _fault(path, f"has type byte {code:02x}, which is none of idx's ({known})")
    start = 4 + 4 * rank
    if len(data) < start:
        raise _fault(path, f"is truncated: {len(data)} bytes do not hold the header of {rank} dimensions")
    shape = struct.unpack(f">{rank}I", data[4:start])
    dtype = np.dtype(_DTYPES[code])
    expected = start + math.prod(shape) * dtype.itemsize
    require_room(expected, path)
    data = content(expected + 1)
    if len(data) < expected:
        raise _fault(path, f"is truncated: {list(shape)} {dtype.name} takes {expected} bytes and it holds {len(data)}")
    if len(data) > expected:
        raise _fault(path, f"has bytes after the end of its {list(shape)} {dtype.name}")
    try:
        values = np.frombuffer(data, dtype=dtype, offset=start).reshape(shape)
    except ValueError as error:
        raise _fault(path, f"has dimensions that no array can have, {list(shape)}") from error
    return values.astype(dtype.newbyteorder("="), copy=False)


def _fault(path: Path, what: str) -> InputError:
    return InputError(f"{path} {what}: {_MEND}")

"""What a twin's firmware tells of its memory modules: tables as the SMBIOS standard has them, for `dmidecode`. Pure."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from boxwright.model.hardware import Dimms, Hardware

_TYPE = {"DDR4": 0x1A, "DDR5": 0x22}
_MEMORY_ARRAY, _MEMORY_DEVICE, _END = 16, 17, 127
_ARRAY_HANDLE, _FIRST_HANDLE = 0x1000, 0x1100
_NO_HANDLE = 0xFFFE
_IN_EXTENDED = 0x7FFF  # the size does not fit 15 bits of MiB: it stands in the extended field
_DIMM = 0x09


def firmware_tables(hardware: Hardware) -> dict[str, bytes]:
    """The files of /sys/firmware/dmi/tables. Without a word on modules there is one slot that holds all memory."""
    dimms = hardware.dimms or Dimms(count=1, gib=hardware.memory_gib, channels_per_socket=1)
    slots = list(_slots(dimms, hardware.cpu.sockets))
    structures = [_array(len(slots))]
    for number, (locator, filled) in enumerate(slots):
        structures.append(_device(_FIRST_HANDLE + number, locator, dimms, filled=filled))
    structures.append(struct.pack("<BBH", _END, 4, 0x7F00) + b"\0\0")
    table = b"".join(structures)
    return {"smbios_entry_point": _entry_point(len(table)), "DMI": table}


def _slots(dimms: Dimms, sockets: int) -> Iterator[tuple[str, bool]]:
    """Each slot's name, and whether it holds a module: first slots of all channels first, over all sockets in turn."""
    places = sockets * dimms.channels_per_socket
    rows = -(-dimms.count // places)
    order = [
        (row, channel, socket)
        for row in range(rows)
        for channel in range(dimms.channels_per_socket)
        for socket in range(sockets)
    ]
    filled = set(order[: dimms.count])
    for row, channel, socket in sorted(order, key=lambda place: (place[2], place[1], place[0])):
        yield f"CPU{socket}_DIMM_{chr(ord('A') + channel)}{row + 1}", (row, channel, socket) in filled


def _array(slots: int) -> bytes:
    """Physical memory array: on the board, for the system, multi-bit ECC."""
    body = struct.pack("<BBBIHH", 0x03, 0x03, 0x06, 0x80000000, _NO_HANDLE, slots) + struct.pack("<Q", 1 << 44)
    return struct.pack("<BBH", _MEMORY_ARRAY, 4 + len(body), _ARRAY_HANDLE) + body + b"\0\0"


def _device(handle: int, locator: str, dimms: Dimms, *, filled: bool) -> bytes:
    mib = int(dimms.gib * 1024) if filled else 0
    size, extended = (mib, 0) if mib < _IN_EXTENDED else (_IN_EXTENDED, mib)
    kind = _TYPE[dimms.kind] if filled else 0x02
    body = struct.pack("<HHHHHBB", _ARRAY_HANDLE, _NO_HANDLE, 72, 64, size, _DIMM, 0)
    body += bytes([1, 2, kind]) + struct.pack("<HH", 0x80, 0)  # locator, bank, type; synchronous, no speed
    body += bytes([3, 0, 0, 0, 0]) + struct.pack("<IHHHH", extended, 0, 0, 0, 0)
    text = b"".join(word.encode() + b"\0" for word in (locator, "-", "SIMULATED")) + b"\0"
    return struct.pack("<BBH", _MEMORY_DEVICE, 4 + len(body), handle) + body + text


def _entry_point(length: int) -> bytes:
    """The 64-bit entry point of SMBIOS 3.2; its bytes add up to zero."""
    head = struct.pack("<5sBBBBBBBIQ", b"_SM3_", 0, 24, 3, 2, 0, 1, 0, length, 0x20)
    checksum = -sum(head) & 0xFF
    return head[:5] + bytes([checksum]) + head[6:]

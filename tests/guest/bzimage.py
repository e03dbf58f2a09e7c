#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Wraps the probe guest as a bzImage: bzimage.py PROBE.ELF OUT

The ELF's segments become the protected-mode part, loaded at 1 MiB and never relocated; in front
of it stands a setup part with a header of boot protocol 2.12. There is no real-mode code, so only
loaders that use the 32-bit or 64-bit entry can start it.
"""
import struct
import sys

PAGE = 4096
BASE = 0x100000
SETUP_SECTORS = 1


def elf_image(elf):
    """The bytes of all PT_LOAD segments from BASE on, and the size in memory."""
    if elf[:6] != b"\x7fELF\x02\x01":
        raise SystemExit("not a 64-bit little-endian ELF file")
    phoff, = struct.unpack_from("<Q", elf, 32)
    phentsize, phnum = struct.unpack_from("<HH", elf, 54)
    image, top = bytearray(), 0
    for i in range(phnum):
        p_type, _, offset, _, paddr, filesz, memsz, _ = struct.unpack_from(
            "<IIQQQQQQ", elf, phoff + i * phentsize)
        if p_type != 1:
            continue
        end = paddr - BASE + filesz
        image.extend(bytes(max(0, end - len(image))))
        image[paddr - BASE:end] = elf[offset:offset + filesz]
        top = max(top, paddr - BASE + memsz)
    image.extend(bytes(-len(image) % 16))
    return bytes(image), top


def setup_part(image, memory_size):
    s = bytearray((1 + SETUP_SECTORS) * 512)
    s[0x1f1] = SETUP_SECTORS
    struct.pack_into("<I", s, 0x1f4, len(image) // 16)      # syssize
    struct.pack_into("<H", s, 0x1fe, 0xaa55)                # boot_flag
    s[0x200:0x202] = b"\xeb\x66"                            # jump over the header
    s[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", s, 0x206, 0x020c)                # version
    s[0x211] = 0x01                                         # loadflags: LOADED_HIGH
    struct.pack_into("<I", s, 0x214, BASE)                  # code32_start
    struct.pack_into("<I", s, 0x22c, 0x7fffffff)            # initrd_addr_max
    struct.pack_into("<I", s, 0x230, PAGE)                  # kernel_alignment
    s[0x234] = 0                                            # relocatable_kernel
    s[0x235] = 12                                           # min_alignment
    struct.pack_into("<H", s, 0x236, 0x0001)                # xloadflags: 64-bit entry
    struct.pack_into("<I", s, 0x238, 2047)                  # cmdline_size
    struct.pack_into("<Q", s, 0x258, BASE)                  # pref_address
    struct.pack_into("<I", s, 0x260, (memory_size + PAGE - 1) & -PAGE)  # init_size
    return bytes(s)


def main():
    with open(sys.argv[1], "rb") as f:
        image, memory_size = elf_image(f.read())
    with open(sys.argv[2], "wb") as f:
        f.write(setup_part(image, memory_size) + image)


main()

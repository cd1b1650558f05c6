# The processor and what it can do, as Linux names it.
# SPDX-License-Identifier: GPL-3.0-or-later
import os
import platform

WANTED = ("avx2", "avx512f", "avx_vnni", "avx512_vnni", "avx512_bf16",
          "amx_bf16", "amx_int8")


def info():
    lines = open("/proc/cpuinfo").read().splitlines()
    return dict(reversed([tuple(s.strip() for s in line.split(":", 1))
                          for line in lines if ":" in line]))


def has(*flags):
    """Any of them."""
    mine = info().get("flags", "").split()
    return any(f in mine for f in flags)


def describe():
    return "%s, %d processors, %s" % (
        info().get("model name", platform.machine()), os.cpu_count(),
        ", ".join(f for f in WANTED if has(f)))

# Training steps of torch and qatlab on the same nets, interleaved in one run.
# Needs: torch 2.8.0; a built qatlab. SPDX-License-Identifier: GPL-3.0-or-later
#
# Each round runs a block of torch steps of every variant, then a block of
# qatlab steps of every setting, so that both see the same machine. Reported:
# median milliseconds over all blocks.
import statistics
import time

import machine

MODELS = {"lenet5": ("lenet5", 64), "jet": ("jet", 1024),
          "tfc": ("tfc", 100), "resnet8": ("resnet8", 64),
          "resnet20": ("resnet20", 64), "mobilenet": ("mbv2small", 64),
          "ksum": ("ksum", 256)}
FLOATS = ["float", "float+cl+fopt"]
# Elsewhere torch emulates it, a hundred times slower.
BF16 = ["float+bf16+cl"] if machine.has("avx512_bf16", "amx_bf16") else []
QATS = ["qat", "qat+cl+fopt"]
OURS = {"float": [],
        "qat w8a8": ["qconfig fbgemm"],
        "qat w4a4": ["qconfig fbgemm", "bits * w4a4"],
        "lsq w8a8": ["qconfig fbgemm", "range *.w lsq", "range *.out lsq"]}
STEPS = 12
SMALL_STEPS = 100             # of nets whose step takes milliseconds
SMALL = ("lenet5", "jet", "tfc")


def torch_steps(model, batch):
    import models
    import variants as kit
    x, y = models.batch(model, batch)
    steps = {}
    for v in FLOATS + BF16 + QATS:
        name = v.replace("+cl", "") if x.dim() != 4 else v
        s = kit.make(model, name, x)
        xs = s.prepare(x)
        kit.warm(s, xs, y, 3)
        steps[v] = (s, xs, y)
    return steps


def block(step, n):
    s, x, y = step
    times = []
    for _ in range(n):
        t = time.perf_counter()
        s(x, y)
        times.append((time.perf_counter() - t) * 1e3)
    return statistics.median(times[2:])


def compare(lab, name, rounds):
    theirs, batch = MODELS[name]
    steps = torch_steps(theirs, batch)
    n = SMALL_STEPS if name in SMALL else STEPS
    ms = {}
    for _ in range(rounds):
        for v in steps:
            ms.setdefault("torch " + v, []).append(block(steps[v], n))
        for m, setup in OURS.items():
            ms.setdefault("qatlab " + m, []).append(lab.median_ms(
                ["set train.batch %d" % batch, "load model " + name,
                 "load data random n=%d" % (20 * batch)] + setup +
                ["bench step n=%d" % n]))
    ms = {k: statistics.median(v) for k, v in ms.items()}
    return {"model": name, "batch": batch, "ms": ms}


def least(row, names):
    return min((row["ms"]["torch " + n] for n in names), default=None)


def cell(number):
    return "-" if number is None else "%.3g" % number


def table(rows):
    """Markdown: milliseconds and the ratios that matter."""
    out = ["| net, batch | torch float | bf16 | QAT | qatlab float | QAT W8A8 "
           "| W4A4 | LSQ | torch QAT / W8A8 | torch float / W8A8 "
           "| W8A8 / own float | LSQ / W8A8 |",
           "|" + "---|" * 12]
    for r in rows:
        ms = r["ms"]
        qat, own = ms["qatlab qat w8a8"], ms["qatlab float"]
        cells = [least(r, FLOATS), least(r, BF16), least(r, QATS), own, qat,
                 ms["qatlab qat w4a4"], ms["qatlab lsq w8a8"],
                 least(r, QATS) / qat, least(r, FLOATS) / qat, qat / own,
                 ms["qatlab lsq w8a8"] / qat]
        out.append("| %s, %d | " % (r["model"], r["batch"]) +
                   " | ".join(cell(c) for c in cells) + " |")
    return out

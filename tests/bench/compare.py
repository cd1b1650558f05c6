# Training steps of torch and qatlab on the same nets, interleaved in one run.
# Needs: torch 2.8.0; a built qatlab. SPDX-License-Identifier: GPL-3.0-or-later
#
# compare.py QATLAB [--models a,b] [--rounds 6] [--threads 2] [--out FILE]
# Each round runs a block of torch steps of every variant, then a block of
# qatlab steps of every mode, so that both see the same machine. Printed:
# median milliseconds over all blocks, and the ratios.
import argparse
import json
import os
import statistics
import subprocess
import time

MODELS = {"lenet5": ("lenet5", 64), "jet": ("jet", 1024),
          "tfc": ("tfc", 100), "resnet8": ("resnet8", 64),
          "resnet20": ("resnet20", 64), "mobilenet": ("mbv2small", 64),
          "ksum": ("ksum", 256)}
VARIANTS = ["float", "float+cl+fopt", "qat", "qat+cl+fopt"]
OURS = {"float": [], "qat w8a8": ["qconfig fbgemm"],
        "qat w4a4": ["qconfig fbgemm", "bits * w4a4"]}
STEPS = 12


def ours(binary, model, batch, setup, threads):
    commands = ["set train.batch %d" % batch, "load model " + model,
                "load data random n=%d" % (4 * batch)] + setup + [
                "bench step n=%d" % STEPS]
    argv = [binary, "--batch", "--json", "--threads", str(threads)]
    for c in commands:
        argv += ["-c", c]
    text = subprocess.run(argv, capture_output=True, text=True, check=True)
    for line in text.stdout.splitlines():
        o = json.loads(line)
        if o.get("type") == "result" and "median_ms" in o:
            return o["median_ms"]
    raise SystemExit("no median_ms in the output of qatlab: " + text.stdout)


def torch_steps(model, batch, variants, rounds_hint):
    import models
    import variants as kit
    x, y = models.batch(model, batch)
    steps = {}
    for v in variants:
        if "cl" in v.split("+") and x.dim() != 4:
            v = v.replace("+cl", "")
        s = kit.make(model, v, x)
        xs = s.prepare(x)
        kit.warm(s, xs, y, 3)
        steps[v] = (s, xs, y)
    return steps


def block(step):
    s, x, y = step
    times = []
    for _ in range(STEPS):
        t = time.perf_counter()
        s(x, y)
        times.append((time.perf_counter() - t) * 1e3)
    return statistics.median(times[2:])


def compare(a, name):
    theirs, batch = MODELS[name]
    steps = torch_steps(theirs, batch, VARIANTS, a.rounds)
    rows = {("torch", v): [] for v in steps}
    rows.update({("qatlab", m): [] for m in OURS})
    for _ in range(a.rounds):
        for v in steps:
            rows["torch", v].append(block(steps[v]))
        for m, setup in OURS.items():
            rows["qatlab", m].append(
                ours(a.qatlab, name, batch, setup, a.threads))
    med = {k: statistics.median(v) for k, v in rows.items()}
    best_float = min(v for (w, n), v in med.items()
                     if w == "torch" and n.startswith("float"))
    best_qat = min(v for (w, n), v in med.items()
                   if w == "torch" and n.startswith("qat"))
    for (who, what), ms in med.items():
        print("%-10s batch %4d  %-7s %-14s %9.3f ms" %
              (name, batch, who, what, ms), flush=True)
    for m in OURS:
        base = best_float if m == "float" else best_qat
        print("%-10s torch / qatlab, %-9s %.2f   (against torch float %.2f)" %
              (name, m, base / med["qatlab", m],
               best_float / med["qatlab", m]), flush=True)
    return {"model": name, "batch": batch,
            "ms": {" ".join(k): round(v, 4) for k, v in med.items()}}


def main():
    p = argparse.ArgumentParser()
    p.add_argument("qatlab")
    p.add_argument("--models", default=",".join(MODELS))
    p.add_argument("--rounds", type=int, default=6)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--out")
    a = p.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(a.threads)
    import torch
    torch.set_num_threads(a.threads)
    result = [compare(a, m) for m in a.models.split(",")]
    if a.out:
        with open(a.out, "w") as f:
            json.dump({"torch": torch.__version__, "rows": result}, f,
                      indent=1)


if __name__ == "__main__":
    main()

# qatlab and its peers on the same nets, interleaved in one run: steps.py,
# infer.py, epochs.py. SPDX-License-Identifier: GPL-3.0-or-later
#
# compare.py QATLAB [--what steps,infer,epochs] [--models a,b] [--rounds 5]
#            [--threads 2] [--data FOLDER] [--out NAME]
# Writes NAME.json and NAME.md. epochs needs FOLDER/mnist.
import argparse
import json
import os
import sys


def main():
    p = argparse.ArgumentParser()
    p.add_argument("qatlab")
    p.add_argument("--what", default="steps,infer,epochs")
    p.add_argument("--models")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--data", default=os.environ.get("QATLAB_DATA"))
    p.add_argument("--out", default="bench")
    a = p.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(a.threads)
    import torch
    import epochs
    import infer
    import machine
    import ours
    import steps
    torch.set_num_threads(a.threads)
    lab = ours.Qatlab(a.qatlab, a.threads)
    report = {"torch": torch.__version__, "threads": a.threads,
              "machine": machine.describe()}
    lines = ["%s; %d threads; torch %s" % (report["machine"], a.threads,
                                           torch.__version__)]

    def chosen(table):
        names = a.models.split(",") if a.models else table
        return [n for n in names if n in table]

    def each(compare, name):
        print("%s ..." % name, file=sys.stderr, flush=True)
        return compare(lab, name, a.rounds)

    def keep(what, rows, table):
        report[what] = rows
        lines.extend([""] + table)
        print("\n".join([""] + table), flush=True)
        with open(a.out + ".json", "w") as f:
            json.dump(report, f, indent=1)
        with open(a.out + ".md", "w") as f:
            f.write("\n".join(lines) + "\n")

    what = a.what.split(",")
    if "steps" in what:
        rows = [each(steps.compare, m) for m in chosen(steps.MODELS)]
        keep("steps", rows, steps.table(rows))
    if "infer" in what:
        rows = sum((each(infer.compare, m) for m in chosen(infer.MODELS)), [])
        keep("infer", rows, infer.table(rows))
    if "epochs" in what and a.data:
        r = epochs.compare(lab, os.path.join(a.data, "mnist"))
        keep("epochs", r, epochs.table(r))


if __name__ == "__main__":
    main()

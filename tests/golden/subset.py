# Copies a golden suite, keeping as many evenly spread cases as fit a size.
# Needs: Python 3.9+. SPDX-License-Identifier: GPL-3.0-or-later
#
# subset.py FROM TO KILOBYTES
# FROM holds cases.json, one .npz and a README.md; arrays of case NAME are
# keyed NAME.array. At least one case of every kind is kept.
import json
import os
import shutil
import sys
import zipfile


def kind_of(case):
    return json.dumps([case.get(k) for k in (
        "kind", "quantizer", "method", "observer", "qconfig", "optimizer",
        "alpha", "slow_path")])


def choose(cases, sizes, budget):
    first = {}
    for c in cases:
        first.setdefault(kind_of(c), c["name"])
    keep = set(first.values())
    used = sum(sizes.get(n, 0) for n in keep)
    rest = [c["name"] for c in cases if c["name"] not in keep]
    step = 7
    for start in range(step):
        for name in rest[start::step]:
            if used + sizes.get(name, 0) <= budget:
                keep.add(name)
                used += sizes.get(name, 0)
    return keep


def main():
    source, target, kilobytes = sys.argv[1:4]
    with open(os.path.join(source, "cases.json")) as f:
        suite = json.load(f)
    names = [f for f in os.listdir(source) if f.endswith(".npz")]
    archive = zipfile.ZipFile(os.path.join(source, names[0]))
    sizes, owner = {}, {}
    by_length = sorted((c["name"] for c in suite["cases"]), key=len,
                       reverse=True)
    known = set(by_length)
    for info in archive.infolist():
        parts = info.filename.split(".")
        name = next(".".join(parts[:k]) for k in range(len(parts), 0, -1)
                    if ".".join(parts[:k]) in known)
        owner[info.filename] = name
        sizes[name] = sizes.get(name, 0) + info.compress_size
    keep = choose(suite["cases"], sizes, int(kilobytes) * 1024)
    suite["cases"] = [c for c in suite["cases"] if c["name"] in keep]
    os.makedirs(target, exist_ok=True)
    with open(os.path.join(target, "cases.json"), "w") as f:
        json.dump(suite, f, indent=0)
    with zipfile.ZipFile(os.path.join(target, names[0]), "w",
                         zipfile.ZIP_DEFLATED) as out:
        for info in archive.infolist():
            if owner[info.filename] in keep:
                out.writestr(info.filename, archive.read(info))
    shutil.copy(os.path.join(source, "README.md"), target)
    print("%s: %d of %d cases" % (os.path.basename(target), len(keep),
                                  len(known)))


if __name__ == "__main__":
    main()

# One QAT epoch of LeNet-5 on MNIST, everything included, and peak memory.
# Needs: torch 2.8.0; MNIST's IDX files. SPDX-License-Identifier: GPL-3.0-or-later
#
# torch: eager QAT, normalised tensors in memory, a random permutation, batches
# by indexing; and a Dataset that normalises one image a time in a DataLoader.
import gzip
import os
import time

EPOCHS = 2


def mnist(folder):
    import torch

    def idx(name, skip):
        path = os.path.join(folder, name)
        read = (lambda: gzip.open(path + ".gz").read()) \
            if os.path.exists(path + ".gz") else (lambda: open(path, "rb").read())
        return torch.frombuffer(bytearray(read()[skip:]), dtype=torch.uint8)
    x = idx("train-images-idx3-ubyte", 16).reshape(-1, 1, 28, 28)
    y = idx("train-labels-idx1-ubyte", 8).long()
    return x, y


def torch_seconds(folder):
    import torch
    import variants
    x, y = mnist(folder)
    out = {}

    def normal(a):
        return (a.float() / 255 - 0.1307) / 0.3081

    class Images(torch.utils.data.Dataset):
        def __len__(self):
            return len(x)

        def __getitem__(self, i):
            return normal(x[i]), int(y[i])
    all_x = normal(x)
    step = variants.make("lenet5", "qat", all_x[:64])
    variants.warm(step, all_x[:64], y[:64])
    t = time.perf_counter()
    p = torch.randperm(len(x))
    for i in range(0, len(x), 64):
        j = p[i:i + 64]
        step(all_x[j], y[j])
    out["torch, tensors in memory"] = time.perf_counter() - t
    t = time.perf_counter()
    for a, b in torch.utils.data.DataLoader(Images(), batch_size=64,
                                            shuffle=True):
        step(a, b)
    out["torch, DataLoader"] = time.perf_counter() - t
    return out


def compare(lab, folder):
    out = torch_seconds(folder)
    # val=0: all 60,000 images are trained on.
    setup = ["load data mnist " + folder + " val=0", "load model lenet5",
             "qconfig fbgemm", "calibrate 2 batches"]
    results, peak = lab.run(setup + ["train %d" % EPOCHS])
    out["qatlab"] = results[-1]["seconds"] / EPOCHS
    out["qatlab peak MB, lenet5"] = peak
    _, out["qatlab peak MB, resnet20"] = lab.run(
        ["set train.batch 64", "load model resnet20",
         "load data random n=640", "qconfig fbgemm", "calibrate 1 batches",
         "train 1"])
    return out


def table(r):
    return ["| MNIST epoch, LeNet-5 QAT, batch 64 | seconds |", "|---|---|"] + \
        ["| %s | %.2f |" % (k, v) for k, v in r.items() if "MB" not in k] + \
        ["", "| peak memory of a QAT run | MB |", "|---|---|"] + \
        ["| %s | %.0f |" % (k.split(", ")[1], v)
         for k, v in r.items() if "MB" in k]

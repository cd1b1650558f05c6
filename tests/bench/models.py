# The networks of the benchmark, once, for every peer.
# SPDX-License-Identifier: GPL-3.0-or-later
# Needs: torch 2.8.0. Optional kits need brevitas 0.13.4 (BrevitasKit) and aimet-torch 2.42 (AimetKit).
#
# A "kit" supplies the building blocks, so that one layer list serves float, torch.ao, Brevitas and AIMET.
# `python models.py` prints parameter counts, MACs per sample and the layer table of every network.
import torch
from torch import nn


class Add(nn.Module):
    def forward(self, a, b):
        return a + b


class SumCells(nn.Module):
    """Sum over the cell axis: (N, cells, C) -> (N, C)."""

    def forward(self, x):
        return x.sum(1)


class AddRelu(nn.Module):
    def __init__(self, k):
        super().__init__()
        self.add, self.relu = k.add(), k.relu()

    def forward(self, a, b):
        return self.relu(self.add(a, b))


class FloatKit:
    """Plain torch.nn blocks."""

    def input(self):
        return nn.Identity()

    def conv(self, i, o, k, s=1, p=0, g=1, bias=False):
        return nn.Conv2d(i, o, k, stride=s, padding=p, groups=g, bias=bias)

    def linear(self, i, o, bias=True):
        return nn.Linear(i, o, bias=bias)

    def relu(self):
        return nn.ReLU()

    def relu6(self):
        return nn.ReLU6()

    def add(self):
        return Add()

    def add_relu(self):
        return AddRelu(self)

    def sum_cells(self):
        return SumCells()

    def out_quant(self):
        """Quantizer of a linear (not rectified) layer output, where a kit needs an explicit one."""
        return nn.Identity()


class EagerKit(FloatKit):
    """torch.ao eager mode: FloatFunctional for the additions, a QuantStub after the sum."""

    class _Add(nn.Module):
        def __init__(self):
            super().__init__()
            self.f = torch.ao.nn.quantized.FloatFunctional()

        def forward(self, a, b):
            return self.f.add(a, b)

    class _AddRelu(_Add):
        def forward(self, a, b):
            return self.f.add_relu(a, b)

    class _Sum(nn.Module):
        def __init__(self):
            super().__init__()
            self.q = torch.ao.quantization.QuantStub()

        def forward(self, x):
            return self.q(x.sum(1))

    def add(self):
        return self._Add()

    def add_relu(self):
        return self._AddRelu()

    def sum_cells(self):
        return self._Sum()


class BrevitasKit(FloatKit):
    """Brevitas layers: `bits` weights per channel (float scale from max|w|), `bits` activations, 8-bit input."""

    def __init__(self, bits=4):
        import brevitas.nn as qnn
        from brevitas.quant import Int8WeightPerChannelFloat, Int8ActPerTensorFloat, Uint8ActPerTensorFloat
        self.q, self.b = qnn, bits
        self.w, self.a, self.u = Int8WeightPerChannelFloat, Int8ActPerTensorFloat, Uint8ActPerTensorFloat

    def input(self):
        return self.q.QuantIdentity(act_quant=self.a, bit_width=8)

    def conv(self, i, o, k, s=1, p=0, g=1, bias=False):
        return self.q.QuantConv2d(i, o, k, stride=s, padding=p, groups=g, bias=bias,
                                  weight_quant=self.w, weight_bit_width=self.b)

    def linear(self, i, o, bias=True):
        return self.q.QuantLinear(i, o, bias=bias, weight_quant=self.w, weight_bit_width=self.b)

    def relu(self):
        return self.q.QuantReLU(act_quant=self.u, bit_width=self.b)

    def relu6(self):
        return self.q.QuantReLU(act_quant=self.u, bit_width=self.b)

    def sum_cells(self):
        return nn.Sequential(SumCells(), self.q.QuantIdentity(act_quant=self.a, bit_width=8))

    def out_quant(self):
        return self.q.QuantIdentity(act_quant=self.a, bit_width=self.b)


class AimetKit(FloatKit):
    """Additions as a module, which the AIMET graph tracer wants."""

    def add(self):
        from aimet_torch.nn.modules.custom import Add as AimetAdd
        return AimetAdd()

    def sum_cells(self):
        from aimet_torch.nn.modules.custom import Sum

        class _S(nn.Module):
            def __init__(self):
                super().__init__()
                self.s = Sum()

            def forward(self, x):
                return self.s(x, 1)
        return _S()


class LeNet5(nn.Module):
    """conv5x5 1-6 pad 2, relu, maxpool 2, conv5x5 6-16, relu, maxpool 2, fc 400-120-84-10; biases, no batch norm."""

    def __init__(self, k):
        super().__init__()
        self.inp = k.input()
        self.conv1, self.relu1, self.pool1 = k.conv(1, 6, 5, p=2, bias=True), k.relu(), nn.MaxPool2d(2)
        self.conv2, self.relu2, self.pool2 = k.conv(6, 16, 5, bias=True), k.relu(), nn.MaxPool2d(2)
        self.flat = nn.Flatten()
        self.fc1, self.relu3 = k.linear(400, 120), k.relu()
        self.fc2, self.relu4 = k.linear(120, 84), k.relu()
        self.fc3 = k.linear(84, 10)

    def forward(self, x):
        x = self.pool1(self.relu1(self.conv1(self.inp(x))))
        x = self.pool2(self.relu2(self.conv2(x)))
        x = self.relu3(self.fc1(self.flat(x)))
        return self.fc3(self.relu4(self.fc2(x)))

    def fuse(self):
        return [["conv1", "relu1"], ["conv2", "relu2"], ["fc1", "relu3"], ["fc2", "relu4"]]


class MLP(nn.Module):
    """Dense(bias) + relu for every width but the last, which is linear."""

    def __init__(self, k, widths):
        super().__init__()
        self.inp, self.n = k.input(), len(widths) - 1
        for i in range(self.n):
            setattr(self, f"fc{i}", k.linear(widths[i], widths[i + 1]))
            if i < self.n - 1:
                setattr(self, f"relu{i}", k.relu())

    def forward(self, x):
        x = self.inp(x)
        for i in range(self.n - 1):
            x = getattr(self, f"relu{i}")(getattr(self, f"fc{i}")(x))
        return getattr(self, f"fc{self.n - 1}")(x)

    def fuse(self):
        return [[f"fc{i}", f"relu{i}"] for i in range(self.n - 1)]


class TFC(nn.Module):
    """784-64-64-64-10: Dense(no bias) + BatchNorm1d + relu three times, Dense(bias) 64-10."""

    def __init__(self, k):
        super().__init__()
        self.inp, self.flat = k.input(), nn.Flatten()
        w = [784, 64, 64, 64]
        for i in range(3):
            setattr(self, f"fc{i}", k.linear(w[i], w[i + 1], bias=False))
            setattr(self, f"bn{i}", nn.BatchNorm1d(w[i + 1]))
            setattr(self, f"relu{i}", k.relu())
        self.fc3 = k.linear(64, 10)

    def forward(self, x):
        x = self.inp(self.flat(x))
        for i in range(3):
            x = getattr(self, f"relu{i}")(getattr(self, f"bn{i}")(getattr(self, f"fc{i}")(x)))
        return self.fc3(x)

    def fuse(self):
        return [[f"fc{i}", f"bn{i}"] for i in range(3)]


class KSum(nn.Module):
    """DeepSets: phi = 5 x (Dense 64 + relu) per cell, sum over 128 cells, rho = 5 x (Dense 64 + relu), Dense 1."""

    def __init__(self, k, features=4, width=64):
        super().__init__()
        self.inp, self.sum = k.input(), k.sum_cells()
        for s, first in (("phi", features), ("rho", width)):
            for i in range(5):
                setattr(self, f"{s}{i}", k.linear(first if i == 0 else width, width))
                setattr(self, f"{s}relu{i}", k.relu())
        self.out = k.linear(width, 1)

    def forward(self, x):
        x = self.inp(x)
        for i in range(5):
            x = getattr(self, f"phirelu{i}")(getattr(self, f"phi{i}")(x))
        x = self.sum(x)
        for i in range(5):
            x = getattr(self, f"rhorelu{i}")(getattr(self, f"rho{i}")(x))
        return self.out(x)

    def fuse(self):
        return [[f"{s}{i}", f"{s}relu{i}"] for s in ("phi", "rho") for i in range(5)]


class Basic(nn.Module):
    """Residual block: conv3x3 BN relu, conv3x3 BN, + shortcut, relu."""

    def __init__(self, k, i, o, s, shortcut_bn):
        super().__init__()
        self.conv1, self.bn1, self.relu1 = k.conv(i, o, 3, s, 1), nn.BatchNorm2d(o), k.relu()
        self.conv2, self.bn2, self.q2 = k.conv(o, o, 3, 1, 1), nn.BatchNorm2d(o), k.out_quant()
        self.proj = s != 1 or i != o
        self.has_bn = shortcut_bn and self.proj
        if self.proj:
            self.down = k.conv(i, o, 1, s, 0, bias=not shortcut_bn)
            self.downq = k.out_quant()
            if shortcut_bn:
                self.downbn = nn.BatchNorm2d(o)
        self.add = k.add_relu()

    def forward(self, x):
        y = self.q2(self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x))))))
        if self.proj:
            x = self.down(x)
            if self.has_bn:
                x = self.downbn(x)
            x = self.downq(x)
        return self.add(y, x)

    def fuse(self):
        f = [["conv1", "bn1", "relu1"], ["conv2", "bn2"]]
        return f + [["down", "downbn"]] if self.has_bn else f


class ResNet(nn.Module):
    """conv3x3 3-16 BN relu, blocks, global average pool, fc. Strides 1, 2, 2 on widths 16, 32, 64."""

    def __init__(self, k, blocks, shortcut_bn):
        super().__init__()
        self.inp = k.input()
        self.conv, self.bn, self.relu = k.conv(3, 16, 3, 1, 1), nn.BatchNorm2d(16), k.relu()
        self.names, i = [], 16
        for s, o in enumerate((16, 32, 64)):
            for b in range(blocks):
                n = f"b{s}_{b}"
                setattr(self, n, Basic(k, i, o, 2 if s and not b else 1, shortcut_bn))
                self.names.append(n)
                i = o
        self.pool, self.flat, self.fc = nn.AvgPool2d(8), nn.Flatten(), k.linear(64, 10)

    def forward(self, x):
        x = self.relu(self.bn(self.conv(self.inp(x))))
        for n in self.names:
            x = getattr(self, n)(x)
        return self.fc(self.flat(self.pool(x)))

    def fuse(self):
        f = [["conv", "bn", "relu"]]
        for n in self.names:
            f += [[f"{n}.{m}" for m in g] for g in getattr(self, n).fuse()]
        return f


class Inverted(nn.Module):
    """MobileNetV2 block: [1x1 expand BN relu,] 3x3 depthwise BN relu, 1x1 project BN, [+ input]."""

    def __init__(self, k, i, o, s, t):
        super().__init__()
        h = i * t
        self.t, self.res = t, s == 1 and i == o
        if t != 1:
            self.c0, self.n0, self.r0 = k.conv(i, h, 1), nn.BatchNorm2d(h), k.relu()
        self.c1, self.n1, self.r1 = k.conv(h, h, 3, s, 1, g=h), nn.BatchNorm2d(h), k.relu()
        self.c2, self.n2, self.q2 = k.conv(h, o, 1), nn.BatchNorm2d(o), k.out_quant()
        if self.res:
            self.add = k.add()

    def forward(self, x):
        y = self.r0(self.n0(self.c0(x))) if self.t != 1 else x
        y = self.q2(self.n2(self.c2(self.r1(self.n1(self.c1(y))))))
        return self.add(x, y) if self.res else y

    def fuse(self):
        f = [["c0", "n0", "r0"]] if self.t != 1 else []
        return f + [["c1", "n1", "r1"], ["c2", "n2"]]


class MobileNetV2Small(nn.Module):
    """CIFAR MobileNetV2 at half width; relu in place of relu6 (so that every peer fuses it)."""
    CFG = [(1, 8, 1, 1), (6, 16, 2, 1), (6, 16, 3, 2), (6, 32, 4, 2), (6, 48, 3, 1), (6, 80, 3, 2), (6, 160, 1, 1)]

    def __init__(self, k):
        super().__init__()
        self.inp = k.input()
        self.conv, self.bn, self.relu = k.conv(3, 16, 3, 1, 1), nn.BatchNorm2d(16), k.relu()
        self.names, i = [], 16
        for t, o, n, s in self.CFG:
            for b in range(n):
                nm = f"b{len(self.names)}"
                setattr(self, nm, Inverted(k, i, o, s if b == 0 else 1, t))
                self.names.append(nm)
                i = o
        self.conv2, self.bn2, self.relu2 = k.conv(160, 640, 1), nn.BatchNorm2d(640), k.relu()
        self.pool, self.flat, self.fc = nn.AvgPool2d(4), nn.Flatten(), k.linear(640, 10)

    def forward(self, x):
        x = self.relu(self.bn(self.conv(self.inp(x))))
        for n in self.names:
            x = getattr(self, n)(x)
        x = self.relu2(self.bn2(self.conv2(x)))
        return self.fc(self.flat(self.pool(x)))

    def fuse(self):
        f = [["conv", "bn", "relu"], ["conv2", "bn2", "relu2"]]
        for n in self.names:
            f += [[f"{n}.{m}" for m in g] for g in getattr(self, n).fuse()]
        return f


# name: (constructor, input shape, loss, optimizer, batches of the step benchmark)
ZOO = {
    "lenet5": (LeNet5, (1, 28, 28), "ce", "adam", (64, 128)),
    "jet": (lambda k: MLP(k, [16, 64, 32, 32, 5]), (16,), "ce", "adam", (1024,)),
    "tfc": (TFC, (1, 28, 28), "ce", "adam", (100,)),
    "resnet8": (lambda k: ResNet(k, 1, False), (3, 32, 32), "ce", "sgd", (64, 128)),
    "resnet20": (lambda k: ResNet(k, 3, True), (3, 32, 32), "ce", "sgd", (64, 128)),
    "mbv2small": (MobileNetV2Small, (3, 32, 32), "ce", "sgd", (64,)),
    "ksum": (KSum, (128, 4), "mse", "adam", (256,)),
}


def build(name, kit=None, seed=0):
    torch.manual_seed(seed)
    return ZOO[name][0](kit or FloatKit())


def batch(name, n, seed=0):
    """Deterministic input and target: standard normal floats, uniform labels (or one normal target for mse)."""
    g = torch.Generator().manual_seed(seed)
    x = torch.randn((n,) + ZOO[name][1], generator=g)
    if ZOO[name][2] == "mse":
        return x, torch.randn(n, 1, generator=g)
    return x, torch.randint(0, 5 if name == "jet" else 10, (n,), generator=g)


def loss_fn(name):
    return nn.MSELoss() if ZOO[name][2] == "mse" else nn.CrossEntropyLoss()


def optimizer(name, params, fused=None):
    if ZOO[name][3] == "adam":
        return torch.optim.Adam(params, lr=1e-3, fused=fused)
    return torch.optim.SGD(params, lr=1e-2, momentum=0.9, weight_decay=1e-4, fused=fused)


def table(name):
    """Rows (layer, description, output shape, params, MACs per sample), measured with hooks."""
    m, rows, hooks = build(name).eval(), [], []

    def hook(n):
        def f(mod, inp, out):
            macs = 0
            if isinstance(mod, nn.Conv2d):
                macs = out[0].numel() * mod.weight[0].numel()
            elif isinstance(mod, nn.Linear):
                macs = out[0].numel() * mod.in_features
            rows.append((n, str(mod), tuple(out.shape[1:]), sum(p.numel() for p in mod.parameters()), macs))
        return f
    for n, mod in m.named_modules():
        if not list(mod.children()) and not isinstance(mod, nn.Identity):
            hooks.append(mod.register_forward_hook(hook(n)))
    with torch.no_grad():
        m(batch(name, 1)[0])
    return rows


if __name__ == "__main__":
    for name in ZOO:
        rows = table(name)
        print(f"\n## {name}: {sum(r[3] for r in rows)} parameters, {sum(r[4] for r in rows)} MACs per sample, "
              f"input {'x'.join(map(str, ZOO[name][1]))}, loss {ZOO[name][2]}, optimizer {ZOO[name][3]}\n")
        print("| layer | module | output | params | MACs |\n|---|---|---|---|---|")
        for r in rows:
            print(f"| {r[0]} | {r[1]} | {'x'.join(map(str, r[2]))} | {r[3]} | {r[4]} |")

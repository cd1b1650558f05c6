# Training variants of the peers, one constructor each.
# SPDX-License-Identifier: GPL-3.0-or-later
# Needs: torch 2.8.0, torchao 0.13.0, brevitas 0.13.4, aimet-torch 2.42.0 (each only for its own variant).
#
# make(model_name, variant) -> callable step(x, y) -> loss; the attribute .model is the network being trained.
# A variant is a base name followed by flags: "+cl" channels_last, "+bf16" autocast, "+fopt" fused optimizer,
# "+compile" torch.compile, "+frozen" observers off after the warm-up steps.
import itertools
import types
import warnings
from functools import partial

import torch
from torch import nn
from torch.ao import quantization as tq
from torch.ao.quantization.fake_quantize import FakeQuantize, FusedMovingAvgObsFakeQuantize
from torch.ao.quantization.observer import MovingAverageMinMaxObserver, MovingAveragePerChannelMinMaxObserver

import models

warnings.filterwarnings("ignore")
COUNT = itertools.count()


def qconfig(act_bits=8, weight_bits=8, fused=True, reduce_range=False):
    """Per-tensor affine activations (quint8 grid 0..2^b-1), per-channel symmetric weights, moving averages."""
    fq = FusedMovingAvgObsFakeQuantize if fused else FakeQuantize
    act = fq.with_args(observer=MovingAverageMinMaxObserver, quant_min=0, quant_max=2 ** act_bits - 1,
                       dtype=torch.quint8, qscheme=torch.per_tensor_affine, reduce_range=reduce_range)
    return tq.QConfig(activation=act, weight=weight_fq(weight_bits, fq))


def weight_fq(bits, fq=FusedMovingAvgObsFakeQuantize):
    return fq.with_args(observer=MovingAveragePerChannelMinMaxObserver, quant_min=-2 ** (bits - 1),
                        quant_max=2 ** (bits - 1) - 1, dtype=torch.qint8,
                        qscheme=torch.per_channel_symmetric, ch_axis=0)


def eager_float(name, seed=0):
    """Eager-mode model ready for fusion, wrapped with QuantStub/DeQuantStub."""
    m = models.build(name, models.EagerKit(), seed)
    fuse = [["module." + n for n in g] for g in m.fuse()]
    return tq.QuantWrapper(m), fuse


def eager_qat(name, fused=True, seed=0, state=None, qconf=None, ends=None):
    """Eager QAT model in train mode. qconf: qconfig (None: the stock fbgemm one, or its plain counterpart);
    ends: activation bits of the network input and of the logits (None: as the rest)."""
    m, fuse = eager_float(name, seed)
    if state is not None:
        m.module.load_state_dict(state)
    m.train()
    tq.fuse_modules_qat(m, fuse, inplace=True)
    m.qconfig = qconf or (tq.get_default_qat_qconfig("fbgemm") if fused else qconfig(fused=False))
    if ends:
        act = qconfig(ends).activation
        m.quant.qconfig = tq.QConfig(activation=act, weight=m.qconfig.weight)
        compute_layers(m)[-1].qconfig = tq.QConfig(activation=act, weight=m.qconfig.weight)
    return tq.prepare_qat(m, inplace=True)


def compute_layers(m):
    """Layers with weights, fused ones as one."""
    out, inside = [], set()
    for n, c in m.named_modules():
        if n in inside:
            continue
        if type(c).__module__.startswith("torch.ao.nn.intrinsic") or isinstance(c, (nn.Conv2d, nn.Linear)):
            out.append(c)
            inside.update(n + "." + k for k, _ in c.named_modules() if k)
    return out


def lsq_qat(name, act_bits=8, weight_bits=8, ends=None, state=None, seed=0):
    """_LearnableFakeQuantize everywhere: scales (and zero points) learned, gradient scaling on."""
    from torch.ao.quantization._learnable_fake_quantize import _LearnableFakeQuantize as L
    m, fuse = eager_float(name, seed)
    if state is not None:
        m.module.load_state_dict(state)
    m.train()
    tq.fuse_modules_qat(m, fuse, inplace=True)

    def act(bits):
        return partial(L, observer=MovingAverageMinMaxObserver, quant_min=0, quant_max=2 ** bits - 1,
                       dtype=torch.quint8, qscheme=torch.per_tensor_affine, use_grad_scaling=True)
    layers = compute_layers(m)
    m.qconfig = tq.QConfig(activation=act(act_bits), weight=act(8))
    if ends:
        m.quant.qconfig = tq.QConfig(activation=act(ends), weight=act(8))
    for i, c in enumerate(layers):
        first = c if hasattr(c, "weight") else c[0]
        w = partial(L, observer=MovingAveragePerChannelMinMaxObserver, quant_min=-2 ** (weight_bits - 1),
                    quant_max=2 ** (weight_bits - 1) - 1, dtype=torch.qint8, qscheme=torch.per_channel_symmetric,
                    ch_axis=0, channel_len=first.weight.shape[0], use_grad_scaling=True)
        c.qconfig = tq.QConfig(activation=act(ends if ends and c is layers[-1] else act_bits), weight=w)
    tq.prepare_qat(m, inplace=True)
    for f in m.modules():
        if isinstance(f, L):
            f.enable_static_estimate()
    return m


def lsq_learn(m):
    from torch.ao.quantization._learnable_fake_quantize import _LearnableFakeQuantize as L
    for f in m.modules():
        if isinstance(f, L):
            f.enable_param_learning()


def pt2e_qat(name, x, seed=0):
    from torchao.quantization.pt2e import move_exported_model_to_train
    from torchao.quantization.pt2e.quantize_pt2e import prepare_qat_pt2e
    from torchao.quantization.pt2e.quantizer.x86_inductor_quantizer import (
        X86InductorQuantizer, get_default_x86_inductor_quantization_config)
    m = models.build(name, seed=seed).train()
    # strict=True: a non-strict export has no source_fn_stack, and the quantizer then annotates nothing, silently
    g = torch.export.export(m, (x,), strict=True).module()
    q = X86InductorQuantizer().set_global(get_default_x86_inductor_quantization_config(is_qat=True))
    g = prepare_qat_pt2e(g, q)
    move_exported_model_to_train(g)
    return g


def aimet_qat(name, x, seed=0):
    from aimet_torch.v2.quantsim import QuantizationSimModel
    m = models.build(name, models.AimetKit(), seed).eval()
    sim = QuantizationSimModel(m, dummy_input=x[:1], default_output_bw=8, default_param_bw=8)
    sim.compute_encodings(lambda mod, _: mod(x), None)
    sim.model.train()
    return sim.model


def fresh(f):
    """A copy of f with a code object of its own, so that compiled variants do not share one compile cache."""
    return types.FunctionType(f.__code__.replace(co_name=f"{f.__name__}_{next(COUNT)}"), f.__globals__)


class Step:
    def __init__(self, name, model, flags=()):
        self.name, self.model, self.bf16 = name, model, "bf16" in flags
        self.cl = "cl" in flags
        if self.cl:
            model.to(memory_format=torch.channels_last)
        params = [p for p in model.parameters() if p.requires_grad]
        self.opt = models.optimizer(name, params, fused=True if "fopt" in flags else None)
        self.loss = models.loss_fn(name)
        self.f = partial(torch.compile(fresh(Step._fwd)), self) if "compile" in flags else self._fwd

    def _fwd(self, x, y):
        if self.bf16:
            with torch.autocast("cpu", dtype=torch.bfloat16):
                out = self.model(x)
            return self.loss(out.float(), y)
        return self.loss(self.model(x), y)

    def prepare(self, x):
        return x.to(memory_format=torch.channels_last) if self.cl and x.dim() == 4 else x

    def __call__(self, x, y):
        self.opt.zero_grad(set_to_none=True)
        loss = self.f(x, y)
        loss.backward()
        self.opt.step()
        return loss.detach()


def make(name, variant, x, seed=0):
    base, *flags = variant.split("+")
    if base == "float":
        m = models.build(name, seed=seed).train()
    elif base == "qat":            # stock fbgemm qconfig: fused observer + fake quantize
        m = eager_qat(name, seed=seed)
    elif base == "qatplain":       # separate observer and FakeQuantize modules
        m = eager_qat(name, fused=False, seed=seed)
    elif base == "lsq":
        m = lsq_qat(name, seed=seed)
    elif base == "brevitas4":
        m = models.build(name, models.BrevitasKit(4), seed).train()
    elif base == "pt2e":
        m = pt2e_qat(name, x, seed)
    elif base == "aimet":
        m = aimet_qat(name, x, seed)
    else:
        raise ValueError(variant)
    if base == "pt2e" and "compile" in flags:
        Step(name, m)(x, models.batch(name, len(x))[1])   # the observers take their shapes in a first eager step
    s = Step(name, m, flags)
    s.frozen, s.lsq = "frozen" in flags, base == "lsq"
    return s


def warm(step, x, y, n=3):
    """Warm-up steps, then the switches that come after calibration (LSQ learning, frozen observers)."""
    for _ in range(n):
        step(x, y)
    if step.lsq:
        lsq_learn(step.model)
        step(x, y)
    if step.frozen:
        step.model.apply(tq.disable_observer)
        step(x, y)

# Evaluation of W8A8 nets: onnxruntime float and static int8 (QDQ, weights per
# channel), torch fbgemm int8, qatlab fake and int, interleaved in one run.
# Needs: torch 2.8.0, onnx, onnxruntime. SPDX-License-Identifier: GPL-3.0-or-later
#
# Random weights and inputs: time does not depend on them.
import os
import statistics
import tempfile
import time

MODELS = {"lenet5": "lenet5", "resnet8": "resnet8", "resnet20": "resnet20",
          "mobilenet": "mbv2small"}
BATCHES = [64, 1000]
CALLS = 8


def onnx_files(name, folder):
    import models
    import torch
    from onnxruntime.quantization import (CalibrationDataReader, QuantFormat,
                                          QuantType, quantize_static)
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def __init__(self):
            self.it = iter([{"x": models.batch(name, 16, s)[0].numpy()}
                            for s in range(4)])

        def get_next(self):
            return next(self.it, None)

    path = os.path.join(folder, name)
    torch.onnx.export(models.build(name).eval(), (models.batch(name, 2)[0],),
                      path + ".onnx", input_names=["x"], output_names=["y"],
                      dynamic_axes={"x": {0: "n"}, "y": {0: "n"}},
                      opset_version=17, dynamo=False)
    quant_pre_process(path + ".onnx", path + ".pre.onnx")
    quantize_static(path + ".pre.onnx", path + ".int8.onnx", Reader(),
                    quant_format=QuantFormat.QDQ, per_channel=True,
                    activation_type=QuantType.QUInt8,
                    weight_type=QuantType.QInt8)
    return {"ort float": path + ".onnx", "ort int8": path + ".int8.onnx"}


def torch_int8(name):
    import models
    import torch
    import variants
    from torch.ao import quantization as tq
    torch.backends.quantized.engine = "fbgemm"
    m, fuse = variants.eager_float(name)
    m.eval()
    tq.fuse_modules(m, fuse, inplace=True)
    m.qconfig = tq.get_default_qconfig("fbgemm")
    tq.prepare(m, inplace=True)
    with torch.no_grad():
        m(models.batch(name, 16)[0])
    return tq.convert(m, inplace=True)


def their_jobs(name, threads, folder):
    import onnxruntime as ort
    import torch
    jobs = {}
    for key, path in onnx_files(name, folder).items():
        o = ort.SessionOptions()
        o.intra_op_num_threads, o.inter_op_num_threads = threads, 1
        # Its threads must not spin while others are timed.
        o.add_session_config_entry("session.intra_op.allow_spinning", "1")
        s = ort.InferenceSession(path, o, providers=["CPUExecutionProvider"])
        jobs[key] = lambda x, s=s: s.run(None, {"x": x.numpy()})
    net = torch_int8(name)

    def run(x):
        with torch.inference_mode():
            return net(x)
    jobs["torch int8"] = run
    return jobs


def block(job, x):
    times = []
    for _ in range(CALLS):
        t = time.perf_counter()
        job(x)
        times.append((time.perf_counter() - t) * 1e3)
    return statistics.median(times[2:])


def ours(lab, name, batch, mode):
    return lab.median_ms(
        ["set eval.batch %d" % batch, "load model " + name,
         "load data random n=%d" % (2 * batch), "qconfig fbgemm",
         "calibrate 1 batches", "target fbgemm",
         "bench eval %s n=%d" % (mode, CALLS)])


def compare(lab, name, rounds):
    import models
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        jobs = their_jobs(MODELS[name], lab.threads, folder)
        for batch in BATCHES:
            x = models.batch(MODELS[name], batch)[0]
            ms = {}
            for _ in range(rounds):
                for k, job in jobs.items():
                    ms.setdefault(k, []).append(block(job, x))
                for mode in ("fake", "int"):
                    ms.setdefault("qatlab " + mode, []).append(
                        ours(lab, name, batch, mode))
            rows.append({"model": name, "batch": batch, "ms": {
                k: statistics.median(v) for k, v in ms.items()}})
    return rows


def table(rows):
    names = ["ort float", "ort int8", "torch int8", "qatlab fake",
             "qatlab int"]
    out = ["| net, batch | " + " | ".join(names) +
           " | fastest peer / qatlab int |", "|" + "---|" * 7]
    for r in rows:
        cells = [r["ms"][n] for n in names]
        cells.append(min(cells[:3]) / cells[4])
        out.append("| %s, %d | " % (r["model"], r["batch"]) +
                   " | ".join("%.3g" % c for c in cells) + " |")
    return out

/* Named sets of quantizer settings: what each package does by default.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <string.h>

#include "quant/assign.h"

const char *const bn_fold_name[FOLD_COUNT] = {
    [FOLD_QAT] = "qat",
    [FOLD_PRE] = "pre",
    [FOLD_OFF] = "off",
};

const struct qconfig qconfig_table[] = {
    {
        .name = "fbgemm",
        .help = "x86 servers: 7-bit activations, per-channel weights",
        .source = "torch 2.8 get_default_qat_qconfig('fbgemm')",
        .weight = "affine:8,channel,obs=ema,rule=fused",
        .activation = "affine:8,unsigned,asym,reduce,obs=ema,rule=fused",
        .fold = "qat",
    },
    {
        .name = "x86",
        .help = "torch's default on x86, the same as fbgemm",
        .source = "torch 2.8 get_default_qat_qconfig('x86')",
        .weight = "affine:8,channel,obs=ema,rule=fused",
        .activation = "affine:8,unsigned,asym,reduce,obs=ema,rule=fused",
        .fold = "qat",
    },
    {
        .name = "qnnpack",
        .help = "ARM phones: 8-bit activations, per-tensor weights",
        .source = "torch 2.8 get_default_qat_qconfig('qnnpack')",
        .weight = "affine:8,obs=ema,rule=fused",
        .activation = "affine:8,unsigned,asym,obs=ema,rule=fused",
        .fold = "qat",
    },
    {
        .name = "onednn",
        .help = "x86 with VNNI: 8-bit activations, per-channel weights",
        .source = "torch 2.8 get_default_qat_qconfig('onednn')",
        .weight = "affine:8,channel,obs=ema,rule=fused",
        .activation = "affine:8,unsigned,asym,obs=ema,rule=fused",
        .fold = "qat",
    },
    {
        .name = "aimet",
        .help = "per-channel symmetric weights, error-minimising ranges",
        .source = "AIMET 2.42 default config, post_training_tf_enhanced",
        .weight = "affine:8,channel,divide,obs=minmax,rule=aimet",
        .activation = "affine:8,unsigned,asym,divide,obs=sqnr,rule=aimet",
        .fold = "pre",
    },
    {
        .name = "tfmot",
        .help = "narrow per-channel weights, averaged activation ranges",
        .source = "tfmot 0.8 Default8BitQuantizeRegistry",
        .weight = "affine:8,narrow,channel,zp=before,clamp=first,"
                  "round=half_up,rule=tf",
        .activation = "affine:8,unsigned,asym,zp=before,clamp=first,"
                      "round=half_up,rule=tf,obs=ema,ema.c=0.001,"
                      "ema.form=1",
        .fold = "qat",
    },
    {
        .name = "brevitas",
        .help = "narrow weights by max|w|, activations by a percentile",
        .source = "Brevitas 0.13 Int8WeightPerTensorFloat, "
                  "Int8ActPerTensorFloat",
        .weight = "affine:8,narrow,divide,zp=before,grad=pass,"
                  "rule=brevitas",
        .activation = "affine:8,divide,zp=before,obs=percentile,"
                      "percentile.p=99.999,rule=brevitas",
        .fold = "off",
    },
    {
        .name = "qkeras",
        .help = "fixed grids in [-1, 1) and [0, 1), no observer needed",
        .source = "QKeras 0.9 quantized_bits(8,0,alpha=1), "
                  "quantized_relu(8)",
        .weight = "affine:8,divide,grad=pass,obs=fixed,fixed.lo=-1,"
                  "fixed.hi=0.9921875,rule=brevitas",
        .activation = "affine:8,unsigned,divide,obs=fixed,fixed.lo=0,"
                      "fixed.hi=0.99609375,rule=brevitas",
        .fold = "off",
    },
    {
        .name = "tensorrt",
        .help = "symmetric int8 everywhere, entropy calibration",
        .source = "TensorRT 8 calibrator, ModelOpt INT8_DEFAULT_CFG",
        .weight = "affine:8,narrow,channel,rule=absmax",
        .activation = "affine:8,narrow,obs=entropy,rule=absmax",
        .fold = "pre",
    },
    {
        .name = "drpai",
        .help = "Renesas DRP-AI: 7-bit activations, per-channel weights",
        .source = "rzv_drp-ai_tvm QAT qat_retrain.py",
        .weight = "affine:8,channel,obs=ema",
        .activation = "affine:8,unsigned,asym,reduce,obs=ema",
        .fold = "qat",
    },
};
const int qconfig_count =
    (int)(sizeof qconfig_table / sizeof qconfig_table[0]);

const struct qconfig *qconfig_find(const char *name)
{
    for (int i = 0; i < qconfig_count; i++)
        if (!strcmp(qconfig_table[i].name, name))
            return &qconfig_table[i];
    return NULL;
}

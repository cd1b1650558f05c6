/* Named sets of quantizer settings: what each package does by default.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <string.h>

#include "quant/assign.h"

const char *const bn_fold_name[FOLD_COUNT] = {
    [FOLD_QAT] = "qat",
    [FOLD_PRE] = "pre",
    [FOLD_OFF] = "off",
    [FOLD_SLOW] = "slow",
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
        .help = "per-channel weights, asymmetric activations, ranges learned",
        .source = "AIMET 2.42 default config, post_training_tf_enhanced",
        .weight = "range_aimet:8,channel,obs=sqnr,sqnr.bins=512,"
                  "sqnr.growth=3",
        .activation = "range_aimet:8,unsigned,asym,obs=sqnr,sqnr.bins=512,"
                      "sqnr.growth=3",
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
                  "Int8ActPerTensorFloat, Uint8ActPerTensorFloat",
        .weight = "brevitas:8",
        .activation = "affine:8,divide,zp=before,rule=brevitas,"
                      "obs=percentile,percentile.p=99.999",
        .rectified = "affine:8,unsigned,divide,zp=before,rule=brevitas,"
                     "obs=percentile,percentile.p=99.999",
        .fold = "off",
    },
    {
        .name = "qkeras",
        .help = "fixed grids, two integer bits for activations",
        .source = "QKeras 0.9 quantized_bits, quantized_relu",
        .weight = "quantized_bits(8,0,alpha=1)",
        .activation = "quantized_bits(8,2,alpha=1)",
        .rectified = "quantized_relu(8,2)",
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

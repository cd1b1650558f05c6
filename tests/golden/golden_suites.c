/* The table of golden suites.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "golden/golden_quant.h"

#define HLS "needs the fixed-point engine, a later part of qatlab"
#define KERAS "needs the reader of Keras files, a later part of qatlab"
#define ONNX "needs the reader of ONNX files, a later part of qatlab"

const struct golden_suite golden_suites[] = {
    {"quant-torch", golden_quant_torch, NULL},
    {"observers-torch", golden_observers_torch, NULL},
    {"quant-torchao", golden_quant_torchao, NULL},
    {"quant-papers", golden_quant_papers, NULL},
    {"quant-qkeras", golden_quant_qkeras, NULL},
    {"quant-brevitas", golden_quant_brevitas, NULL},
    {"quant-aimet", golden_quant_aimet, NULL},
    {"train-float", golden_train_float, NULL},
    {"train-qat", golden_train_qat, NULL},
    {"fixed-ap", golden_fixed, NULL},
    {"hls4ml", NULL, HLS},
    {"ksum-sweep", NULL, HLS},
    {"keras", NULL, KERAS},
    {"keras-bad", NULL, KERAS},
    {"keras3", NULL, KERAS},
    {"qtools", NULL, KERAS},
    {"onnx", NULL, ONNX},
    {"onnx-aimet", NULL, ONNX},
    {"onnx-bad", NULL, ONNX},
    {"onnx-light", NULL, ONNX},
    {"onnx-ops", NULL, ONNX},
    {"onnx-qonnx", NULL, ONNX},
    {"onnx-quant", NULL, ONNX},
};
const int golden_suite_count =
    (int)(sizeof golden_suites / sizeof golden_suites[0]);

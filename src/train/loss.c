/* Losses: means over the batch as torch 2.8 takes them, and their gradients.
 *
 * out: (n, c). The targets are t (n, c) reals, or classes y (n); a loss of
 * reals takes classes as one-hot rows, and with c = 1 the class itself (0 or
 * 1). Sums are in double, so that they do not depend on the batch size's
 * rounding. SPDX-License-Identifier: GPL-3.0-or-later */
#include "train/trainer.h"

#include <assert.h>
#include <math.h>
#include <string.h>

static double target_at(const struct loss_input *in, int64_t i, int64_t k)
{
    if (in->target)
        return (double)in->target[i * in->c + k];
    if (in->c == 1)
        return (double)in->label[i];
    return in->label[i] == k ? 1.0 : 0.0;
}

/* Classes whose exponentials are kept between the two passes over a row. */
#define KEPT 64
/* Rows that one thread sums, and how many such blocks are open at a time:
 * fixed, so that threads do not show in the sum. */
#define BLOCK_ROWS 64
#define BLOCKS 64
#define PARALLEL_EXPS 512

/* One row of cross-entropy. With smoothing s the target is q = (1-s) one-hot
 * + s/c: loss = lse - sum_k q_k z_k, d loss / d z = softmax(z) - q, both
 * divided by n. */
static double ce_row(const struct loss_input *in, int64_t i, float *grad)
{
    int64_t c = in->c;
    const float *z = in->out + i * c;
    int64_t y = in->label[i];
    double top = (double)z[0];
    for (int64_t k = 1; k < c; k++)
        top = (double)z[k] > top ? (double)z[k] : top;
    double sum = 0.0, mean = 0.0, kept[KEPT];
    for (int64_t k = 0; k < c; k++) {
        double x = exp((double)z[k] - top);
        sum += x;
        mean += (double)z[k] - top;
        if (k < KEPT)
            kept[k] = x;
    }
    mean /= (double)c;
    double s = in->smoothing, n = (double)in->n;
    for (int64_t k = 0; grad && k < c; k++) {
        double q = s / (double)c + (k == y ? 1.0 - s : 0.0);
        double x = k < KEPT ? kept[k] : exp((double)z[k] - top);
        grad[i * c + k] = (float)((x / sum - q) / n);
    }
    double lse = log(sum);
    return (1.0 - s) * (lse - ((double)z[y] - top)) + s * (lse - mean);
}

static double loss_ce(const struct loss_input *in, float *grad)
{
    assert(in->label);
    double sum = 0.0, part[BLOCKS];
    int64_t stride = (int64_t)BLOCKS * BLOCK_ROWS;
    for (int64_t at = 0; at < in->n; at += stride) {
        int64_t end = in->n - at < stride ? in->n : at + stride;
        int64_t blocks = (end - at + BLOCK_ROWS - 1) / BLOCK_ROWS;
        bool many = (end - at) * in->c > PARALLEL_EXPS;
#pragma omp parallel for schedule(static) if (many)
        for (int64_t b = 0; b < blocks; b++) {
            int64_t from = at + b * BLOCK_ROWS, to = from + BLOCK_ROWS;
            part[b] = 0.0;
            for (int64_t i = from; i < to && i < end; i++)
                part[b] += ce_row(in, i, grad);
        }
        for (int64_t b = 0; b < blocks; b++)
            sum += part[b];
    }
    return sum / (double)in->n;
}

/* What one element adds: the loss of (z, t), and its derivative in z. */
typedef double (*element_fn)(double z, double t, double *dz);

static double mean_over_elements(const struct loss_input *in, float *grad,
                                 element_fn element)
{
    double count = (double)(in->n * in->c), sum = 0.0, dz;
    for (int64_t i = 0; i < in->n; i++) {
        for (int64_t k = 0; k < in->c; k++) {
            int64_t at = i * in->c + k;
            sum += element((double)in->out[at], target_at(in, i, k), &dz);
            if (grad)
                grad[at] = (float)(dz / count);
        }
    }
    return sum / count;
}

static double mse_element(double z, double t, double *dz)
{
    *dz = 2.0 * (z - t);
    return (z - t) * (z - t);
}

static double loss_mse(const struct loss_input *in, float *grad)
{
    return mean_over_elements(in, grad, mse_element);
}

/* The derivative at 0 is 0, as torch's sign. */
static double l1_element(double z, double t, double *dz)
{
    *dz = z > t ? 1.0 : z < t ? -1.0 : z - t;
    return fabs(z - t);
}

static double loss_l1(const struct loss_input *in, float *grad)
{
    return mean_over_elements(in, grad, l1_element);
}

/* -t log s(z) - (1-t) log(1-s(z)) = max(z, 0) - z t + log(1 + exp(-|z|)). */
static double bce_element(double z, double t, double *dz)
{
    double small = exp(-fabs(z));
    double s = z >= 0.0 ? 1.0 / (1.0 + small) : small / (1.0 + small);
    *dz = s - t;
    return (z > 0.0 ? z : 0.0) - z * t + log1p(small);
}

static double loss_bce(const struct loss_input *in, float *grad)
{
    return mean_over_elements(in, grad, bce_element);
}

/* max(0, 1 - y z)^2 with y = 1 for targets above 0, else -1 (Brevitas'
 * SqrHingeLoss). */
static double hinge2_element(double z, double t, double *dz)
{
    double y = t > 0.0 ? 1.0 : -1.0, gap = 1.0 - y * z;
    if (gap <= 0.0)
        gap = 0.0;
    *dz = -2.0 * y * gap;
    return gap * gap;
}

static double loss_hinge2(const struct loss_input *in, float *grad)
{
    return mean_over_elements(in, grad, hinge2_element);
}

const struct loss_row *loss_find(const char *name)
{
    for (int i = 0; i < loss_count; i++)
        if (!strcmp(loss_table[i].name, name))
            return &loss_table[i];
    return NULL;
}

const struct loss_row loss_table[] = {
    { .name = "ce", .run = loss_ce, .classes = true,
      .help = "cross-entropy of softmax, with label smoothing" },
    { .name = "mse", .run = loss_mse, .help = "mean squared error" },
    { .name = "l1", .run = loss_l1, .help = "mean absolute error" },
    { .name = "bce", .run = loss_bce,
      .help = "binary cross-entropy of logits" },
    { .name = "hinge2", .run = loss_hinge2,
      .help = "squared hinge, targets -1 and 1" },
};
const int loss_count = sizeof loss_table / sizeof loss_table[0];

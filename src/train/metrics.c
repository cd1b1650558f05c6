/* Accuracy and regression errors.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "train/metrics.h"

#include <math.h>

/* Outputs that come before the label's in descending order: the rank from 0.
 * Written with `not less`, so that a NaN ranks a sample last. */
static int64_t rank_of_label(const float *z, int64_t c, int64_t y)
{
    int64_t rank = 0;
    for (int64_t k = 0; k < c; k++) {
        if (k < y)
            rank += !(z[k] < z[y]);
        else if (k > y)
            rank += !(z[k] <= z[y]);
    }
    return z[y] == z[y] ? rank : c;
}

static void count_right(const struct loss_input *in, int64_t *top1,
                        int64_t *top5)
{
    *top1 = *top5 = 0;
    for (int64_t i = 0; i < in->n; i++) {
        const float *z = in->out + i * in->c;
        if (in->c == 1) {
            bool right = in->label[i] ? z[0] > 0.0f : z[0] <= 0.0f;
            *top1 += right;
            *top5 += right;
            continue;
        }
        int64_t rank = rank_of_label(z, in->c, in->label[i]);
        *top1 += rank < 1;
        *top5 += rank < 5 && rank < in->c;
    }
}

int64_t metrics_right(const struct loss_input *in)
{
    int64_t top1, top5;
    count_right(in, &top1, &top5);
    return top1;
}

static void add_errors(struct metric_sum *s, const struct loss_input *in)
{
    int64_t count = in->n * in->c;
    for (int64_t i = 0; i < count; i++) {
        double want = (double)in->target[i];
        double error = fabs((double)in->out[i] - want);
        s->squares += error * error;
        s->absolutes += error;
        if (want == 0.0)
            s->excluded++;
        else
            s->percents += 100.0 * error / fabs(want);
    }
    s->elements += count;
}

void metrics_add(struct metric_sum *s, const struct loss_input *in,
                 double loss)
{
    s->n += in->n;
    s->loss += loss * (double)in->n;
    if (in->label) {
        int64_t top1, top5;
        count_right(in, &top1, &top5);
        s->right += (double)top1;
        s->right5 += (double)top5;
    } else {
        add_errors(s, in);
    }
}

static double mean(double sum, int64_t n)
{
    return n > 0 ? sum / (double)n : 0.0;
}

void metrics_finish(const struct metric_sum *s, struct metrics *out)
{
    *out = (struct metrics){
        .n = s->n,
        .loss = mean(s->loss, s->n),
        .acc = mean(s->right, s->n),
        .top5 = mean(s->right5, s->n),
        .mse = mean(s->squares, s->elements),
        .mae = mean(s->absolutes, s->elements),
        .mpe = mean(s->percents, s->elements - s->excluded),
        .excluded = s->excluded,
    };
}

/* What training does to codes: how many moved since a window began, and how
 * often each one turns back.
 *
 * A code oscillates when it changes against the direction of its last change;
 * each keeps the frequency of that, a moving average over iterations:
 * f = m * o + (1 - m) * f, o: 1 when it turned (Nagel et al. 2022,
 * "Overcoming Oscillations in Quantization-Aware Training").
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef QUANT_CODE_WATCH_H
#define QUANT_CODE_WATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define WATCH_MOMENTUM 0.01   /* m, per iteration */
#define WATCH_THRESHOLD 0.005 /* a frequency above it: the code oscillates */

struct code_watch {
    int64_t n;
    int32_t *start, *last;    /* when the window began; when last seen */
    int32_t *direction;       /* of the last change: -1, 1; 0: none yet */
    float *frequency;         /* turns per iteration */
    bool seen;
};

/* On error nothing is held. */
enum status code_watch_init(struct code_watch *w, int64_t n, struct err *e);
void code_watch_fini(struct code_watch *w);
/* The codes, `iterations` after they were last seen. What turned more than
 * once in between counts once. */
void code_watch_see(struct code_watch *w, const int32_t *now,
                    int64_t iterations);
/* The codes are what they are for another reason than training: no change
 * since the last look is counted. */
void code_watch_reset(struct code_watch *w, const int32_t *now);
/* A window begins with the codes that were seen last. */
void code_watch_begin(struct code_watch *w);
/* How many differ now from the window's begin; how many oscillate. */
int64_t code_watch_moved(const struct code_watch *w);
int64_t code_watch_oscillating(const struct code_watch *w);

#endif

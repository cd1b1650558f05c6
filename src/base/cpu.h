/* What the processor offers. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BASE_CPU_H
#define BASE_CPU_H

#include <stdbool.h>
#include <stdint.h>

struct cpu {
    char model[64];
    int cores;                        /* processors this process may use, by
                                       * its affinity and its time quota */
    bool avx2, fma, avx512, vnni, avx_vnni, bf16, amx;
};

const struct cpu *cpu_get(void);      /* read once */
double clock_seconds(void);           /* monotonic */
/* How often a thread of this process had to make way for another one. */
int64_t clock_preemptions(void);

#endif

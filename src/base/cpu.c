/* What the processor offers, and the clock.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/cpu.h"

#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

static struct cpu the_cpu;
static pthread_once_t the_cpu_once = PTHREAD_ONCE_INIT;

/* A container's share of processor time: "MICROSECONDS PERIOD", or "max
 * PERIOD" (Linux, cgroup-v2, cpu.max). */
static int quota_cores(int cores)
{
    FILE *f = fopen("/sys/fs/cgroup/cpu.max", "r");
    double time, period;
    bool limited = f && fscanf(f, "%lf %lf", &time, &period) == 2 &&
                   time > 0 && period > 0 && time < cores * period;
    if (f)
        fclose(f);
    return limited ? (int)ceil(time / period) : cores;
}

static int count_cores(void)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0)
        return quota_cores(CPU_COUNT(&set));
    return 1;
}

#if defined(__x86_64__)
/* The brand string: leaves 0x80000002..4, 16 characters each. */
static void read_model(char model[64])
{
    unsigned r[12];
    for (unsigned i = 0; i < 3; i++) {
        unsigned *p = r + 4 * i;
        if (!__get_cpuid(0x80000002u + i, p, p + 1, p + 2, p + 3))
            return;
    }
    char raw[sizeof r + 1] = { 0 };
    memcpy(raw, r, sizeof r);
    size_t n = 0;
    for (const char *p = raw; *p && n < 63; p++)
        if (*p != ' ' || (n > 0 && model[n - 1] != ' '))
            model[n++] = *p;
    while (n > 0 && model[n - 1] == ' ')
        n--;
    model[n] = '\0';
}

/* Extended control register 0: which register files the system saves. */
__attribute__((target("xsave"))) static uint64_t read_xcr0(void)
{
    return (uint64_t)_xgetbv(0);
}

/* Bits: CPUID leaf 7, sub-leaves 0 and 1 (Intel SDM volume 2A). */
static void read_features(struct cpu *c)
{
    unsigned a = 0, b = 0, cx = 0, d = 0;
    __builtin_cpu_init();
    c->avx2 = __builtin_cpu_supports("avx2");
    c->fma = __builtin_cpu_supports("fma");
    c->avx512 = __builtin_cpu_supports("avx512f") &&
                __builtin_cpu_supports("avx512bw") &&
                __builtin_cpu_supports("avx512vl") &&
                __builtin_cpu_supports("avx512dq");
    if (!__get_cpuid_count(7, 0, &a, &b, &cx, &d))
        return;
    c->vnni = c->avx512 && (cx >> 11 & 1);
    bool tiles = (d >> 24 & 1) && (d >> 25 & 1);
    bool tile_bf16 = d >> 22 & 1;
    unsigned subleaves = a;
    if (subleaves >= 1 && __get_cpuid_count(7, 1, &a, &b, &cx, &d)) {
        c->avx_vnni = c->avx2 && (a >> 4 & 1);
        c->bf16 = c->avx512 && (a >> 5 & 1);
    }
    /* Bits 17 and 18: tile configuration and tile data are saved. */
    if (tiles && tile_bf16 && c->avx512)
        c->amx = (read_xcr0() >> 17 & 3) == 3;
}
#else
static void read_model(char model[64])
{
    snprintf(model, 64, "unknown");
}

static void read_features(struct cpu *c)
{
    (void)c;
}
#endif

static void read_cpu(void)
{
    read_model(the_cpu.model);
    if (!the_cpu.model[0])
        snprintf(the_cpu.model, sizeof the_cpu.model, "unknown");
    the_cpu.cores = count_cores();
    read_features(&the_cpu);
}

const struct cpu *cpu_get(void)
{
    pthread_once(&the_cpu_once, read_cpu);
    return &the_cpu;
}

int64_t clock_preemptions(void)
{
    struct rusage use;
    return getrusage(RUSAGE_SELF, &use) == 0 ? use.ru_nivcsw : 0;
}

double clock_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

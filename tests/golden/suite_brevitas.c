/* Suite quant-brevitas: Brevitas's weight and activation quantizers.
 *
 * Values, codes and masks are equal; sums (the gradient of the largest
 * element, of learned scales) are within 1e-5 of the sum of the absolute
 * values of their terms. Where the scale itself passes through a mean or a
 * logarithm it is within 1e-6, and so are the values.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "golden/golden.h"
#include "golden/golden_quant.h"

/* The packages' classes as specs; %lld: bits. */
struct named {
    const char *name, *spec;
    bool learn;
    double slack;             /* relative, of scale and values */
};

static const struct named quantizers[] = {
    {"Int8WeightPerTensorFloat", "brevitas:%lld", false, 0},
    {"Int8WeightPerChannelFloat", "brevitas:%lld,channel", false, 0},
    {"Int8WeightPerTensorFixedPoint", "brevitas:%lld,restrict=2", false, 0},
    {"LearnedW", "brevitas:%lld", true, 0},
    {"LearnedWPC", "brevitas:%lld,channel", true, 0},
    {"LearnedLogW", "brevitas:%lld,restrict=1", true, 1e-6},
    {"LearnedPo2W", "brevitas:%lld,restrict=2", true, 0},
    {"MeanW", "brevitas:%lld,stat=1", false, 1e-6},
    {"ShiftedUint8WeightPerTensorFloat",
     "brevitas:%lld,unsigned,asym,full", false, 0},
    {"ShiftedUint8WeightPerChannelFloat",
     "brevitas:%lld,unsigned,asym,full,channel", false, 0},
    {"SignedBinaryWeightPerTensorConst", "brevitas_binary:1", false, 0},
    {"SignedTernaryWeightPerTensorConst", "brevitas:2,grad=pass", true, 0},
    {"Int8ActPerTensorFloat", "brevitas_act:%lld", true, 0},
    {"Int8ActPerTensorFloatMinMaxInit", "brevitas_act:%lld", true, 0},
    {"Int8ActPerTensorFixedPoint", "brevitas_act:%lld,restrict=2", true, 0},
    {"Uint8ActPerTensorFloat", "brevitas_act:%lld,unsigned", true, 0},
    {"Uint8ActPerTensorFloatMaxInit", "brevitas_act:%lld,unsigned", true, 0},
    {"Uint8ActPerTensorFixedPointMaxInit",
     "brevitas_act:%lld,unsigned,restrict=2", true, 0},
    {"ShiftedUint8ActPerTensorFloat", "brevitas_act:%lld,unsigned,asym",
     true, 1e-6},
    {"SignedBinaryActPerTensorConst", "brevitas_binary:1,clamped=1", false,
     0},
    {"SignedTernaryActPerTensorConst", "brevitas_act:2,narrow", true, 0},
    {0},
};

struct bench {
    struct quantizer *q;
    double slack;
    bool relu;                /* the module is a ReLU and a quantizer */
    int64_t n;
    struct qview v;
    const real *x, *dy;
    real *y, *dx;
};

static long long override_int(const struct golden_case *c, const char *name,
                              long long def)
{
    char path[64];
    const char *text;

    snprintf(path, sizeof path, "overrides.%s", name);
    text = golden_text(c, path, NULL);
    return text ? strtoll(text, NULL, 10) : def;
}

static double override_real(const struct golden_case *c, const char *name,
                            double def)
{
    char path[64];
    const char *text;

    snprintf(path, sizeof path, "overrides.%s", name);
    text = golden_text(c, path, NULL);
    return text ? strtod(text, NULL) : def;
}

static bool has_override(const struct golden_case *c, const char *name,
                         const char *value)
{
    char path[64];

    snprintf(path, sizeof path, "overrides.%s", name);
    return !strcmp(golden_text(c, path, ""), value);
}

static void set_param(struct qspec *s, const char *name, double v)
{
    int i = qrow_find(s->kind->param, name);

    if (i >= 0)
        s->param[i] = v;
}

static bool parse(struct golden_case *c, const struct named *n,
                  struct qspec *s)
{
    long long bits = override_int(c, "bit_width", 8);
    const char *mark = strstr(n->spec, "%lld");
    struct str text = {0};
    struct err e;
    enum status st;

    str_add_n(&text, n->spec, mark ? (size_t)(mark - n->spec)
                                   : strlen(n->spec));
    if (mark)
        str_printf(&text, "%lld%s", bits, mark + 4);
    st = qspec_parse(str_text(&text), NULL, s, &e);
    str_fini(&text);
    return golden_ok(c, st, &e, "spec");
}

/* The class with the case's overrides. */
static bool start(struct golden_case *c, struct bench *b, const char *key)
{
    const char *name = golden_text(c, "quantizer", "");
    const struct named *n = quantizers;
    double init = override_real(c, "scaling_init", 1);
    struct qspec s;

    memset(b, 0, sizeof *b);
    while (n->name && strcmp(n->name, name))
        n++;
    if (!n->name) {
        golden_fail(c, "unknown quantizer '%s'", name);
        return false;
    }
    if (!parse(c, n, &s))
        return false;
    if (has_override(c, "narrow_range", "False"))
        s.narrow = false;
    set_param(&s, "scale", init);
    set_param(&s, "init", init);
    set_param(&s, "collect",
              (double)override_int(c, "collect_stats_steps", 0));
    b->slack = n->slack;
    if (has_override(c, "restrict_scaling_type", "RestrictValueType.LOG_FP")
        || has_override(c, "restrict_scaling_type", "LOG_FP")) {
        set_param(&s, "restrict", 1);
        b->slack = 1e-6;
    }
    b->relu = !strcmp(golden_text(c, "module", ""), "QuantReLU");
    b->q = golden_quantizer(c, &s, key);
    if (b->q)
        b->q->learn = n->learn;
    return b->q != NULL;
}

static void load(struct golden_case *c, struct bench *b, const char *x_key,
                 const char *dy_key)
{
    const real *x = golden_reals(c, x_key, &b->n);
    real *positive = golden_alloc(c, (size_t)b->n, sizeof *positive);

    b->v = golden_view(c, b->q, x_key);
    b->dy = golden_reals(c, dy_key, NULL);
    b->x = x;
    if (b->relu && x) {
        for (int64_t i = 0; i < b->n; i++)
            positive[i] = x[i] > 0 ? x[i] : 0;
        b->x = positive;
    }
    b->y = golden_alloc(c, (size_t)b->n, sizeof *b->y);
    b->dx = golden_alloc(c, (size_t)b->n, sizeof *b->dx);
}

/* One element against the grid, in double: code, ratio, in range or not. */
struct place {
    double ratio, code;
    bool inside;
};

static struct place place_of(const struct bench *b, int64_t i)
{
    const struct quantizer *q = b->q;
    int64_t ch = i / b->v.inner % b->v.channels;
    double z = (double)q->zero_point[ch];
    struct place p;

    p.ratio = (double)b->x[i] / (double)q->scale[ch];
    p.code = rint(p.ratio + z) - z;
    p.inside = p.code + z >= (double)q->lo_code &&
               p.code + z <= (double)q->hi_code;
    p.code = fmin(fmax(p.code, (double)q->lo_code - z),
                  (double)q->hi_code - z);
    return p;
}

static void check_grid(struct golden_case *c, const struct bench *b,
                       const char *scale, const char *zero)
{
    const struct quantizer *q = b->q;
    const struct tensor *t = golden_array(c, "%s", zero);

    if (b->slack > 0)
        golden_near(c, scale, q->scale, q->channels, 0, b->slack);
    else
        golden_equal(c, scale, q->scale, q->channels);
    if (t)
        golden_equal(c, zero, q->zero_point, shape_count(&t->shape));
}

static void check_values(struct golden_case *c, const struct bench *b,
                         const char *key)
{
    double *found = golden_alloc(c, (size_t)b->n, sizeof *found);
    double *tol = golden_alloc(c, (size_t)b->n, sizeof *tol);

    for (int64_t i = 0; i < b->n; i++) {
        struct place p = place_of(b, i);
        int64_t ch = i / b->v.inner % b->v.channels;
        bool half = fabs(p.ratio - floor(p.ratio) - 0.5) <
                    b->slack * (1 + fabs(p.ratio));

        found[i] = (double)b->y[i];
        tol[i] = b->slack * fabs(found[i]) +
                 (half ? (double)b->q->scale[ch] : 0);
    }
    golden_within(c, key, found, tol, b->n);
}

static void check_codes(struct golden_case *c, const struct bench *b,
                        const char *key)
{
    int32_t *code = golden_alloc(c, (size_t)b->n, sizeof *code);

    b->q->spec.kind->codes(b->q, b->x, code, b->v);
    golden_equal_ints(c, key, code, b->n);
}

/* Sum of the absolute terms of d(scale) over a channel, and of d(low). */
struct size {
    double scale, low;
};

static struct size size_of(const struct bench *b, int64_t channel,
                           bool clamp_passes)
{
    double s = (double)b->q->scale[channel];
    double low = (double)b->q->zero_point[channel] * s;
    struct size out = {0, 0};

    for (int64_t i = 0; i < b->n; i++) {
        struct place p = place_of(b, i);
        double d = fabs((double)b->dy[i]);
        bool in = p.inside || clamp_passes;

        if (i / b->v.inner % b->v.channels != channel)
            continue;
        out.scale += d * fabs(in ? p.code - p.ratio : p.code);
        out.low += in ? 0 : d;
    }
    out.scale += out.low * low / s;
    return out;
}

/* Elements whose value made the threshold take its gradient with it: there
 * the sum's tolerance holds. */
static bool is_extreme(const struct bench *b, int64_t i, real lo, real hi)
{
    real x = b->x[i];

    if (b->q->spec.symmetric)
        return real_fabs(x) == (hi > -lo ? hi : -lo);
    return x == lo || x == hi;
}

static void extremes(const struct bench *b, int64_t channel, real *lo,
                     real *hi)
{
    *lo = *hi = 0;
    for (int64_t i = 0; i < b->n; i++) {
        if (i / b->v.inner % b->v.channels != channel)
            continue;
        *lo = b->x[i] < *lo ? b->x[i] : *lo;
        *hi = b->x[i] > *hi ? b->x[i] : *hi;
    }
}

/* from_data: the scale came from this batch. */
static void check_dx(struct golden_case *c, const struct bench *b,
                     const char *key, bool from_data, bool clamp_passes)
{
    double *found = golden_alloc(c, (size_t)b->n, sizeof *found);
    double *tol = golden_alloc(c, (size_t)b->n, sizeof *tol);
    bool mean = b->q->spec.param[0] == 1 && clamp_passes && from_data;

    for (int64_t ch = 0; ch < b->v.channels; ch++) {
        struct size t = size_of(b, ch, clamp_passes);
        double top = fmax((double)b->q->hi_code, 1);
        real lo, hi;

        extremes(b, ch, &lo, &hi);
        for (int64_t i = 0; i < b->n; i++) {
            double d = fabs((double)b->dy[i]);

            if (i / b->v.inner % b->v.channels != ch)
                continue;
            found[i] = (double)b->dx[i];
            tol[i] = b->slack * d;
            if (mean)
                tol[i] += 1e-5 * (d + t.scale / top / (double)b->v.inner);
            else if (from_data && is_extreme(b, i, lo, hi))
                tol[i] = 1e-5 * (d + 2 * t.scale / top + t.low);
        }
    }
    golden_within(c, key, found, tol, b->n);
}

static void check_param(struct golden_case *c, const struct bench *b, int row,
                        const char *key, bool clamp_passes)
{
    int64_t n = b->q->channels;
    double *found = golden_alloc(c, (size_t)n, sizeof *found);
    double *tol = golden_alloc(c, (size_t)n, sizeof *tol);

    for (int64_t i = 0; i < n; i++) {
        struct size t = size_of(b, i, clamp_passes);
        double s = (double)b->q->scale[i];
        double top = fmax((double)b->q->hi_code, 1);

        /* Per unit of threshold 1 / top; of its log2, scale * ln 2. */
        found[i] = (double)b->q->grad[row * n + i];
        tol[i] = 1e-5 * (row ? t.low : t.scale * fmax(1 / top, s)) + 1e-30;
    }
    golden_within(c, key, found, tol, n);
}

static void put_learned(struct golden_case *c, struct bench *b,
                        const char *key)
{
    const struct quantizer *q = b->q;
    int64_t n = 0;
    const real *v = golden_reals(c, key, &n);

    if (v && n == q->channels)
        memcpy(q->learned, v, (size_t)n * sizeof *v);
}

static void run_weight(struct golden_case *c)
{
    struct bench b;

    if (!start(c, &b, "w"))
        return;
    load(c, &b, "w", "dy");
    if (!b.x || !b.dy)
        return;
    quantizer_forward(b.q, b.x, b.y, b.v, true);
    if (golden_find(c, "param0")) {
        golden_near(c, "param0", b.q->learned, b.q->channels, 0, 1e-6);
        put_learned(c, &b, "param0");
        quantizer_forward(b.q, b.x, b.y, b.v, true);
    } else if (b.q->learn) {
        b.q->learned[0] = (real)override_real(c, "scaling_init", 1);
        quantizer_forward(b.q, b.x, b.y, b.v, true);
    }
    check_grid(c, &b, "scale", "zero_point");
    check_values(c, &b, "y");
    check_codes(c, &b, "q");
    quantizer_backward(b.q, b.x, b.dy, b.dx, b.v);
    check_dx(c, &b, "dw", !b.q->learn, !b.q->learn);
    if (golden_find(c, "d_param0"))
        check_param(c, &b, 0, "d_param0", false);
}

static void check_eval(struct golden_case *c, struct bench *b)
{
    load(c, b, "x0", "dy0");
    quantizer_forward(b->q, b->x, b->y, b->v, false);
    check_grid(c, b, "eval_scale", "eval_zero_point");
    check_values(c, b, "eval_y");
    check_codes(c, b, "eval_q");
}

/* Learned values of batch i, where Brevitas has them. */
static void check_learned(struct golden_case *c, struct bench *b,
                          long long i, bool collecting)
{
    char key[32];

    for (int row = 0; row < 2; row++) {
        snprintf(key, sizeof key, "param%d_%lld", row, i);
        if (collecting || !golden_find(c, "%s", key))
            continue;
        golden_near(c, key, b->q->learned + row * b->q->channels,
                    b->q->channels, 0, 1e-6);
        snprintf(key, sizeof key, "d_param%d_%lld", row, i);
        check_param(c, b, row, key, false);
    }
}

static void run_batch(struct golden_case *c, struct bench *b, long long i,
                      bool collecting)
{
    char key[6][32];
    const char *const names[] = {"x", "dy", "dx", "y", "scale",
                                 "zero_point"};
    const real *raw;

    for (int k = 0; k < 6; k++)
        snprintf(key[k], sizeof key[k], "%s%lld", names[k], i);
    raw = golden_reals(c, key[0], NULL);
    load(c, b, key[0], key[1]);
    if (!raw || !b->x || !b->dy)
        return;
    quantizer_forward(b->q, b->x, b->y, b->v, true);
    check_grid(c, b, key[4], key[5]);
    check_values(c, b, key[3]);
    snprintf(key[0], sizeof key[0], "q%lld", i);
    check_codes(c, b, key[0]);
    quantizer_zero_grad(b->q);
    quantizer_backward(b->q, b->x, b->dy, b->dx, b->v);
    for (int64_t k = 0; k < b->n && b->relu; k++)
        if (!(raw[k] > 0))
            b->dx[k] = 0;
    check_dx(c, b, key[2], collecting, false);
    check_learned(c, b, i, collecting);
}

static void run_act(struct golden_case *c)
{
    long long collect = override_int(c, "collect_stats_steps", 0);
    struct bench b;

    if (!start(c, &b, "x0"))
        return;
    if (!collect && golden_find(c, "param0_0")) {
        put_learned(c, &b, "param0_0");
        b.q->spec.kind->refresh(b.q);
    }
    for (long long i = 0; i < golden_int(c, "batches", 0); i++)
        run_batch(c, &b, i, i < collect);
    check_eval(c, &b);
}

static void run_core(struct golden_case *c)
{
    const char *name = golden_text(c, "quantizer", "");
    bool ternary = !strcmp(name, "TernaryQuant");
    struct qspec s;
    struct err e;
    struct bench b = {0};

    if (!golden_ok(c, qspec_parse(ternary ? "brevitas_ternary:2"
                                          : "brevitas_binary:1", NULL, &s,
                                  &e), &e, "spec"))
        return;
    set_param(&s, "scale", golden_real(c, "scale", 1));
    set_param(&s, "threshold", golden_real(c, "threshold", 0.5));
    set_param(&s, "clamped", !strcmp(name, "ClampedBinaryQuant"));
    b.q = golden_quantizer(c, &s, "x");
    if (!b.q)
        return;
    load(c, &b, "x", "dy");
    if (!b.x || !b.dy)
        return;
    quantizer_forward(b.q, b.x, b.y, b.v, true);
    golden_equal(c, "y", b.y, b.n);
    golden_equal(c, "scale", b.q->scale, 1);
    quantizer_backward(b.q, b.x, b.dy, b.dx, b.v);
    golden_equal(c, "dx", b.dx, b.n);
}

static const struct golden_kind kinds[] = {
    {"weight", run_weight},
    {"act", run_act},
    {"core", run_core},
    {0},
};

void golden_quant_brevitas(struct golden_case *c)
{
    golden_by_kind(c, "kind", kinds);
}

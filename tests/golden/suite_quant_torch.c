/* Suite quant-torch: torch's fake quantizers.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "golden/golden.h"
#include "golden/golden_quant.h"

/* Scale and zero point as the case has them, also where quantizer_set_grid
 * would refuse (scales of no range, zero points beside the codes). */
static void put_grid(struct golden_case *c, struct quantizer *q)
{
    int64_t n;
    const real *scale = golden_reals(c, "scale", &n);
    const real *zero = golden_reals(c, "zero_point", NULL);

    for (int64_t i = 0; scale && zero && i < q->channels; i++) {
        q->scale[i] = scale[n == 1 ? 0 : i];
        q->zero_point[i] = zero[n == 1 ? 0 : i];
    }
    q->ready = true;
    q->observe = false;
}

/* Codes, mask and both passes against the case's arrays. */
static void check_passes(struct golden_case *c, struct quantizer *q,
                         const char *tail)
{
    char key[5][40];
    const char *const names[] = {"x", "dy", "y", "dx", "mask"};
    struct qview v;
    const real *x, *dy;
    real *y, *dx;
    int64_t n;

    for (int i = 0; i < 5; i++)
        snprintf(key[i], sizeof key[i], "%s%s", names[i], tail);
    v = golden_view(c, q, key[0]);
    x = golden_reals(c, key[0], &n);
    dy = golden_reals(c, key[1], NULL);
    if (!x || !dy)
        return;
    y = golden_alloc(c, (size_t)n, sizeof *y);
    dx = golden_alloc(c, (size_t)n, sizeof *dx);
    quantizer_forward(q, x, y, v, true);
    golden_equal(c, key[2], y, n);
    quantizer_backward(q, x, dy, dx, v);
    golden_equal(c, key[3], dx, n);
    if (golden_find(c, "%s", key[4])) {
        for (int64_t i = 0; i < n; i++)
            dx[i] = 1;
        quantizer_backward(q, x, dx, dx, v);
        golden_equal(c, key[4], dx, n);
    }
}

static void check_codes(struct golden_case *c, struct quantizer *q)
{
    struct qview v = golden_view(c, q, "x");
    int64_t n;
    const real *x = golden_reals(c, "x", &n);
    int32_t *code = golden_alloc(c, (size_t)n, sizeof *code);

    if (!x)
        return;
    q->spec.kind->codes(q, x, code, v);
    golden_equal_ints(c, "q", code, n);
}

static void run_given(struct golden_case *c)
{
    bool by_channel = strncmp(golden_text(c, "kind", ""), "per_channel", 11)
                      == 0;
    struct qspec s;
    struct quantizer *q;

    golden_spec(c, &s);
    s.grain = by_channel ? GRAIN_CHANNEL : GRAIN_TENSOR;
    s.symmetric = false;
    s.float_zp = !strcmp(golden_text(c, "zp", ""), "float");
    s.zp_before = s.float_zp;
    q = golden_quantizer(c, &s, "x");
    if (!q)
        return;
    put_grid(c, q);
    check_passes(c, q, "");
    check_codes(c, q);
}

static void run_module(struct golden_case *c)
{
    struct quantizer *q;
    struct qspec s;
    struct err e;
    const real *x = golden_reals(c, "x", NULL);

    golden_torch_spec(c, &s);
    q = golden_quantizer(c, &s, "x");
    if (!q || !x ||
        !golden_ok(c, quantizer_observe(q, x, golden_view(c, q, "x"), &e),
                   &e, "observe"))
        return;
    golden_equal(c, "min_val", q->lo, q->channels);
    golden_equal(c, "max_val", q->hi, q->channels);
    golden_equal(c, "scale", q->scale, q->channels);
    golden_equal(c, "zero_point", q->zero_point, q->channels);
    check_passes(c, q, "");
}

static void run_fused(struct golden_case *c)
{
    long long off = golden_int(c, "observer_disabled_from_batch", -1);
    struct quantizer *q;
    struct qspec s;
    struct err e;

    golden_torch_spec(c, &s);
    s.observer = observer_kind_find("ema");
    s.observer_param[0] = golden_real(c, "averaging_constant", 0);
    s.observer_param[1] = 0;
    s.rule = qparams_find("fused");
    q = golden_quantizer(c, &s, "x0");
    for (long long i = 0; q && i < golden_int(c, "batches", 0); i++) {
        char key[32], tail[24];
        const real *x;

        snprintf(tail, sizeof tail, "%lld", i);
        snprintf(key, sizeof key, "x%lld", i);
        x = golden_reals(c, key, NULL);
        q->observe = off < 0 || i < off;
        if (!x ||
            !golden_ok(c, quantizer_observe(q, x, golden_view(c, q, key),
                                            &e), &e, "observe"))
            return;
        golden_equal_at(c, "min", i, q->lo, q->channels);
        golden_equal_at(c, "max", i, q->hi, q->channels);
        golden_equal_at(c, "scale", i, q->scale, q->channels);
        golden_equal_at(c, "zero_point", i, q->zero_point, q->channels);
        check_passes(c, q, tail);
    }
}

/* Gradients of scale and zero point: within 1e-5 of the sum of the absolute
 * values of their terms, recomputed here term by term in double. */
static void check_learned(struct golden_case *c, struct quantizer *q)
{
    struct qview v = golden_view(c, q, "x");
    const real *x = golden_reals(c, "x", NULL);
    const real *dy = golden_reals(c, "dy", NULL);
    double factor = golden_real(c, "grad_factor", 1);
    double *found = golden_alloc(c, (size_t)q->channels, sizeof *found);
    double *tol = golden_alloc(c, (size_t)q->channels, sizeof *tol);

    for (int row = 0; row < 2; row++) {
        for (int64_t i = 0; i < q->channels; i++) {
            found[i] = (double)q->grad[row * q->channels + i];
            tol[i] = 1e-30;
        }
        for (int64_t i = 0; x && dy && i < v.outer * v.channels * v.inner;
             i++) {
            int64_t ch = i / v.inner % v.channels;
            double s = (double)q->scale[ch], z = (double)q->zero_point[ch];
            double r = rint((double)x[i] / s + z);
            double lo = (double)q->lo_code, hi = (double)q->hi_code;
            bool in = r >= lo && r <= hi;
            double most = in ? fabs(r - z - (double)x[i] / s)
                             : fmax(fabs(lo - z), fabs(hi - z));

            tol[ch] += 1e-5 * fabs((double)dy[i]) * factor *
                       (row ? (in ? 0 : s) : most);
        }
        golden_within(c, row ? "d_zero_point" : "d_scale", found, tol,
                      q->channels);
    }
}

static void run_learnable(struct golden_case *c)
{
    int64_t n;
    const real *scale = golden_reals(c, "scale", &n);
    const real *zero = golden_reals(c, "zero_point", NULL);
    struct quantizer *q;
    struct qspec s;
    struct err e;

    golden_torch_spec(c, &s);
    s.kind = quantizer_kind_find("learnable");
    if (!s.kind || !scale || !zero) {
        golden_fail(c, "no quantizer 'learnable'");
        return;
    }
    s.param[0] = golden_bool(c, "use_grad_scaling", false);
    q = golden_quantizer(c, &s, "x");
    if (!q ||
        !golden_ok(c, quantizer_enable_learn(q, true, &e), &e, "learn"))
        return;
    for (int64_t i = 0; i < n; i++) {
        q->learned[i] = scale[i];
        q->learned[n + i] = zero[i];
    }
    q->ready = true;
    q->spec.kind->refresh(q);
    golden_equal(c, "scale_used", q->learned, n);
    golden_equal(c, "zero_point_used", q->learned + n, n);
    quantizer_zero_grad(q);
    check_passes(c, q, "");
    check_learned(c, q);
}

static const struct golden_kind kinds[] = {
    {"per_tensor", run_given},
    {"per_channel", run_given},
    {"per_channel_float_zp", run_given},
    {"module_fake_quantize", run_module},
    {"fused_moving_avg", run_fused},
    {"learnable_per_tensor", run_learnable},
    {"learnable_per_channel", run_learnable},
    {NULL, NULL},
};

void golden_quant_torch(struct golden_case *c)
{
    golden_by_kind(c, "kind", kinds);
}

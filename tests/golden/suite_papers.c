/* Suite quant-papers: quantizers defined by the equations of papers.
 *
 * The suite's numbers are double. A build with double reals must agree within
 * 1e-12, one with float reals within 1e-6, and codes must be equal except
 * where the exact ratio lies that close to a half or to an end and the step
 * is no power of two. SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <string.h>

#include "golden/golden.h"
#include "golden/golden_quant.h"
#include "quant/kinds.h"

static const double relative = sizeof(real) == 8 ? 1e-12 : 1e-6;

/* One case at work: arrays, the exact ratio of every element (x in units of
 * the step, from the lowest real value of the grid's axis), its ends. */
struct paper {
    struct quantizer *q;
    struct qview v;
    const real *x, *dy;
    int64_t n;
    double *ratio;
    double step, lo, hi;
    bool exact;               /* ratios are exact in float too */
};

static bool is_power_of_two(double v)
{
    int e;

    return frexp(v, &e) == 0.5;
}

/* The kind's quantizer with its learned values set. */
static bool start(struct golden_case *c, struct paper *p, const char *kind,
                  const double *learned, int n_learned)
{
    struct qspec s;
    struct err e;
    long long bits = golden_int(c, "bits", 8);
    struct str text = {0};
    enum status st;

    str_printf(&text, "%s:%lld", kind, bits);
    st = qspec_parse(str_text(&text), NULL, &s, &e);
    str_fini(&text);
    if (!golden_ok(c, st, &e, kind))
        return false;
    if (golden_field(c, "signed"))
        s.is_signed = golden_bool(c, "signed", true);
    memset(p, 0, sizeof *p);
    p->q = golden_quantizer(c, &s, "x");
    p->x = golden_reals(c, "x", &p->n);
    p->dy = golden_reals(c, "dy", NULL);
    if (!p->q || !p->x || !p->dy)
        return false;
    p->v = golden_view(c, p->q, "x");
    p->ratio = golden_alloc(c, (size_t)p->n, sizeof *p->ratio);
    for (int i = 0; i < n_learned; i++)
        p->q->learned[i] = (real)learned[i];
    if (n_learned)
        s.kind->refresh(p->q);
    p->q->ready = true;
    p->q->observe = false;
    p->q->learn = n_learned > 0;
    return true;
}

static void set_ratios(struct paper *p, double step, double from)
{
    p->step = step;
    p->exact = is_power_of_two(step) && from == 0;
    p->lo = (double)p->q->lo_code;
    p->hi = (double)p->q->hi_code;
    for (int64_t i = 0; i < p->n; i++)
        p->ratio[i] = ((double)p->x[i] - from) / step;
}

static bool near_half(const struct paper *p, int64_t i)
{
    double r = p->ratio[i];

    return !p->exact && fabs(r - floor(r) - 0.5) < relative * (1 + fabs(r));
}

static bool near_end(const struct paper *p, int64_t i)
{
    double r = p->ratio[i], t = relative * (1 + fabs(r));

    return !p->exact && (fabs(r - p->lo) < t || fabs(r - p->hi) < t ||
                         near_half(p, i));
}

static void check_values(struct golden_case *c, const struct paper *p)
{
    double *found = golden_alloc(c, (size_t)p->n, sizeof *found);
    double *tol = golden_alloc(c, (size_t)p->n, sizeof *tol);
    real *y = golden_alloc(c, (size_t)p->n, sizeof *y);

    quantizer_forward(p->q, p->x, y, p->v, true);
    for (int64_t i = 0; i < p->n; i++) {
        found[i] = (double)y[i];
        tol[i] = relative * (fabs(found[i]) + fabs((double)p->x[i])) +
                 (near_half(p, i) ? p->step : 0);
    }
    golden_within(c, "y", found, tol, p->n);
}

/* The suite's codes of [-1, 1] are 0 .. n, ours -n .. n. */
static void check_codes(struct golden_case *c, const struct paper *p,
                        bool from_zero)
{
    double *found = golden_alloc(c, (size_t)p->n, sizeof *found);
    double *tol = golden_alloc(c, (size_t)p->n, sizeof *tol);
    int32_t *code = golden_alloc(c, (size_t)p->n, sizeof *code);

    p->q->spec.kind->codes(p->q, p->x, code, p->v);
    for (int64_t i = 0; i < p->n; i++) {
        double n = (double)p->q->hi_code;

        found[i] = from_zero ? (code[i] + n) / 2 : code[i];
        tol[i] = near_half(p, i) ? 1 : 0;
    }
    golden_within(c, "q", found, tol, p->n);
}

static void check_dx(struct golden_case *c, const struct paper *p,
                     const char *key)
{
    double *found = golden_alloc(c, (size_t)p->n, sizeof *found);
    double *tol = golden_alloc(c, (size_t)p->n, sizeof *tol);
    real *dx = golden_alloc(c, (size_t)p->n, sizeof *dx);

    quantizer_zero_grad(p->q);
    quantizer_backward(p->q, p->x, p->dy, dx, p->v);
    for (int64_t i = 0; i < p->n; i++) {
        double d = fabs((double)p->dy[i]);

        found[i] = (double)dx[i];
        tol[i] = relative * (d + fabs(found[i])) + (near_end(p, i) ? d : 0);
    }
    golden_within(c, key, found, tol, p->n);
}

/* A gradient that sums dy times at most `most` per element. */
static void check_sum(struct golden_case *c, const struct paper *p,
                      const char *key, int row, double most)
{
    double found = (double)p->q->grad[row], tol = 0;

    for (int64_t i = 0; i < p->n; i++) {
        double d = fabs((double)p->dy[i]) * most;

        tol += d * relative + (near_end(p, i) ? d : 0);
    }
    golden_within(c, key, &found, &tol, 1);
}

static double number(struct golden_case *c, const char *key)
{
    const double *v = golden_doubles(c, key, NULL);

    return v ? v[0] : 0;
}

static double code_bound(const struct paper *p)
{
    return fmax(fabs(p->lo), fabs(p->hi)) + 1;
}

static void run_lsq(struct golden_case *c)
{
    double step = number(c, "step");
    double g = golden_real(c, "grad_scale", 0);
    struct paper p;
    struct err e;

    if (!start(c, &p, "lsq", &step, 1))
        return;
    set_ratios(&p, step, 0);
    check_values(c, &p);
    check_codes(c, &p, false);
    check_dx(c, &p, "dx");
    check_sum(c, &p, "d_step", 0, g * code_bound(&p));
    p.q->spec.param[0] = 0;
    check_dx(c, &p, "dx");
    check_sum(c, &p, "d_step_unscaled", 0, code_bound(&p));

    p.q->learn = false;
    p.q->observe = true;
    if (golden_ok(c, quantizer_observe(p.q, p.x, p.v, &e), &e, "observe"))
        golden_number(c, "initial step", (double)p.q->scale[0],
                      golden_real(c, "init_step", 0),
                      relative * golden_real(c, "init_step", 0));
}

static void run_lsq_plus(struct golden_case *c)
{
    double learned[2] = {number(c, "step"), number(c, "beta")};
    double g = golden_real(c, "grad_scale", 0);
    struct paper p;
    struct err e;

    if (!start(c, &p, "lsqplus", learned, 2))
        return;
    set_ratios(&p, learned[0], learned[1]);
    check_values(c, &p);
    check_codes(c, &p, false);
    check_dx(c, &p, "dx");
    check_sum(c, &p, "d_step", 0, g * code_bound(&p));
    check_sum(c, &p, "d_beta", 1, g);

    p.q->learn = false;
    p.q->observe = true;
    p.q->spec.observer = observer_kind_find("minmax");
    if (golden_ok(c, quantizer_observe(p.q, p.x, p.v, &e), &e, "observe")) {
        double span = golden_real(c, "init.x_max", 0) -
                      golden_real(c, "init.x_min", 0);

        golden_number(c, "initial step", (double)p.q->learned[0],
                      golden_real(c, "init.step", 0),
                      2 * relative * golden_real(c, "init.step", 0));
        golden_number(c, "initial beta", (double)p.q->learned[1],
                      golden_real(c, "init.beta", 0), 2 * relative * span);
    }
}

static void run_tqt(struct golden_case *c)
{
    double log2_t = number(c, "log2_t");
    struct paper p;

    if (!start(c, &p, "tqt", &log2_t, 1))
        return;
    golden_equal(c, "scale", p.q->scale, 1);
    set_ratios(&p, number(c, "scale"), 0);
    check_values(c, &p);
    check_codes(c, &p, false);
    check_dx(c, &p, "dx");
    check_sum(c, &p, "d_log2_t", 0,
              p.step * log(2.0) * (code_bound(&p) + 1));
}

static void run_pact(struct golden_case *c)
{
    double alpha = number(c, "alpha");
    struct paper p;

    if (!start(c, &p, "pact", &alpha, 1))
        return;
    set_ratios(&p, alpha / (double)p.q->hi_code, 0);
    check_values(c, &p);
    check_codes(c, &p, false);
    check_dx(c, &p, "dx");
    check_sum(c, &p, "d_alpha", 0, 1);
}

static void run_dorefa_activation(struct golden_case *c)
{
    struct paper p;

    if (!start(c, &p, "dorefa_act", NULL, 0))
        return;
    set_ratios(&p, 1 / (double)p.q->hi_code, 0);
    check_values(c, &p);
    check_codes(c, &p, false);
    check_dx(c, &p, "dx");
}

/* Ratios n * (tanh w / 2m + 1/2). */
static void run_dorefa_weight(struct golden_case *c)
{
    struct paper p;
    double m = 0, n;

    if (!start(c, &p, "dorefa", NULL, 0))
        return;
    n = (double)p.q->hi_code;
    for (int64_t i = 0; i < p.n; i++)
        m = fmax(m, fabs(tanh((double)p.x[i])));
    for (int64_t i = 0; i < p.n; i++)
        p.ratio[i] = n * (tanh((double)p.x[i]) / (2 * m) + 0.5);
    p.step = 2 / n;
    p.lo = -1e9;
    p.hi = 1e9;
    if (golden_int(c, "bits", 0) == 1)
        p.exact = true;
    check_values(c, &p);
    check_codes(c, &p, true);
    check_dx(c, &p, "dx");
    p.q->spec.param[0] = 0;
    check_dx(c, &p, "dx_max_constant");
}

static void run_dorefa_gradient(struct golden_case *c)
{
    const struct tensor *t = golden_array(c, "x");
    int bits = (int)golden_int(c, "bits", 8);
    const real *x = golden_reals(c, "x", NULL);
    const real *noise = golden_reals(c, "noise", NULL);
    const double *exact = golden_doubles(c, "x", NULL);
    double levels = ldexp(1, bits) - 1;
    double *found, *tol;
    int64_t n, inner;

    if (!t || !x || !noise)
        return;
    n = shape_count(&t->shape);
    inner = shape_inner(&t->shape, 0);
    found = golden_alloc(c, (size_t)n, sizeof *found);
    tol = golden_alloc(c, (size_t)n, sizeof *tol);
    for (int64_t i = 0; i < n; i += inner) {
        real *y = golden_alloc(c, (size_t)inner, sizeof *y);
        real m = absmax_of(x + i, inner);

        dorefa_gradient(bits, m, x + i, noise + i, y, inner);
        for (int64_t j = 0; j < inner; j++) {
            double r = levels * (exact[i + j] / (2 * (double)m) + 0.5) +
                       (double)noise[i + j];
            bool half = fabs(r - floor(r) - 0.5) < 4 * relative * (1 + r);

            found[i + j] = (double)y[j];
            tol[i + j] = (double)m * (relative + (half ? 2 / levels : 0));
        }
    }
    golden_within(c, "y", found, tol, n);
}

static const struct golden_kind methods[] = {
    {"lsq", run_lsq},
    {"lsq_plus", run_lsq_plus},
    {"pact", run_pact},
    {"dorefa_weight", run_dorefa_weight},
    {"dorefa_activation", run_dorefa_activation},
    {"dorefa_gradient", run_dorefa_gradient},
    {"tqt", run_tqt},
    {0},
};

void golden_quant_papers(struct golden_case *c)
{
    golden_by_kind(c, "method", methods);
}

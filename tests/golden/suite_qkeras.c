/* Suite quant-qkeras: QKeras's quantizers, by their own strings.
 *
 * Values and gradients are equal for fixed scales and straight-line
 * functions. Automatic scales are within 1e-6; values made with them, and
 * with tanh, sigmoid or logarithms, too, and where the real value lies within
 * 1e-6 of a rounding border the neighbour is right as well.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "golden/golden.h"
#include "golden/golden_quant.h"
#include "quant/qkeras.h"

#define NEAR 1e-6

struct bench {
    struct golden_case *c;
    struct quantizer *q;
    struct qview v;
    const struct tensor *t;
    const real *x, *dy;
    int64_t n;
    double bits, integer;     /* of the case's arguments */
    bool automatic;
};

/* Allowed difference of y and of dx, element by element; NULL: none. */
struct named {
    const char *name;
    double (*y_slack)(const struct bench *b, int64_t i, double y);
    double (*dx_slack)(const struct bench *b, int64_t i, double dx);
};

static double x_at(const struct bench *b, int64_t i)
{
    return (double)b->x[i];
}

static int64_t channel_at(const struct bench *b, int64_t i)
{
    return i / b->v.inner % b->v.channels;
}

/* Distance of v to the nearest odd multiple of a half. */
static double to_half(double v)
{
    return fabs(v - floor(v) - 0.5);
}

static double auto_slack(const struct bench *b, int64_t i, double y)
{
    double s = (double)b->q->scale[channel_at(b, i)];
    double before = b->q->scratch
                        ? (double)qkeras_before(b->q)[channel_at(b, i)]
                        : s;
    double unit = ldexp(1, (int)b->integer);
    double r = x_at(b, i) / unit / before;

    if (!b->automatic)
        return 0;
    return NEAR * (fabs(y) + fabs(x_at(b, i))) +
           (to_half(r) < NEAR * (1 + fabs(r)) ? s : 0);
}

/* alpha None: y = tanh(x) + (q - tanh(x)). */
static double sign_slack(const struct bench *b, int64_t i, double y)
{
    bool none = b->q->spec.param[0] == SCALING_NONE;

    return none ? NEAR : auto_slack(b, i, y);
}

static double sign_dx_slack(const struct bench *b, int64_t i, double dx)
{
    (void)dx;
    return b->q->spec.param[0] == SCALING_NONE
               ? NEAR * fabs((double)b->dy[i])
               : 0;
}

static bool is_real(const struct bench *b)
{
    return golden_bool(b->c, "args.use_real_tanh", false) ||
           golden_bool(b->c, "args.use_real_sigmoid", false);
}

static double tanh_slack(const struct bench *b, int64_t i, double y)
{
    double m = ldexp(1, (int)b->bits - 1), p = tanh(x_at(b, i));

    (void)y;
    return is_real(b) && to_half(p * m) < NEAR * m ? 1 / m : 0;
}

static double sigmoid_slack(const struct bench *b, int64_t i, double y)
{
    double m = ldexp(1, (int)b->bits), p = 1 / (1 + exp(-x_at(b, i)));

    (void)y;
    return is_real(b) && to_half(p * m) < NEAR * m ? 1 / m : 0;
}

/* Smooth slopes, and the masks of the rounded value. */
static double smooth_dx_slack(const struct bench *b, int64_t i, double dx)
{
    double d = fabs((double)b->dy[i]);
    bool border = tanh_slack(b, i, 0) > 0 || sigmoid_slack(b, i, 0) > 0;

    (void)dx;
    return is_real(b) ? NEAR * d + (border ? d : 0) : 0;
}

static double relative_slack(const struct bench *b, int64_t i, double y)
{
    (void)b;
    (void)i;
    return NEAR * fabs(y);
}

static double relative_dx_slack(const struct bench *b, int64_t i, double dx)
{
    (void)b;
    (void)i;
    return NEAR * fabs(dx);
}

/* A sum of terms up to x in size. */
static double hswish_dx_slack(const struct bench *b, int64_t i, double dx)
{
    (void)dx;
    return NEAR * fabs((double)b->dy[i]) * (4 + fabs(x_at(b, i)));
}

/* The exponent near sqrt(2) * 2^k may be one off. */
static double po2_slack(const struct bench *b, int64_t i, double y)
{
    bool quadratic = golden_bool(b->c, "args.quadratic_approximation", false);
    double max = golden_real(b->c, "args.max_value", INFINITY);
    double a = fmin(fmax(fabs(x_at(b, i)), 1e-7), max);
    double slope = golden_real(b->c, "args.negative_slope", 0);
    double e = log2(quadratic ? sqrt(a) : a);

    if (slope > 0 && x_at(b, i) < 0)
        e += log2(slope);
    return to_half(e) < NEAR * (1 + fabs(e)) ? 3 * fabs(y) : 0;
}

static const struct named classes[] = {
    {"quantized_bits", auto_slack, NULL},
    {"quantized_relu", NULL, NULL},
    {"quantized_tanh", tanh_slack, smooth_dx_slack},
    {"quantized_sigmoid", sigmoid_slack, smooth_dx_slack},
    {"quantized_ulaw", relative_slack, relative_dx_slack},
    {"quantized_hswish", relative_slack, hswish_dx_slack},
    {"quantized_po2", po2_slack, NULL},
    {"quantized_relu_po2", po2_slack, NULL},
    {"binary", sign_slack, sign_dx_slack},
    {"ternary", sign_slack, sign_dx_slack},
    {"stochastic_binary", sign_slack, sign_dx_slack},
    {"stochastic_ternary", sign_slack, sign_dx_slack},
    {"bernoulli", NULL, NULL},
    {0},
};

static void add_value(struct str *out, const json_t *v)
{
    if (json_is_null(v))
        str_add(out, "None");
    else if (json_is_boolean(v))
        str_add(out, json_is_true(v) ? "True" : "False");
    else if (json_is_integer(v))
        str_printf(out, "%lld", (long long)json_integer_value(v));
    else if (json_is_string(v))
        str_printf(out, "'%s'", json_string_value(v));
    else
        str_printf(out, "%.17g", json_number_value(v));
}

/* NAME(argument=value,...). What a string cannot say is set elsewhere: an
 * array of alphas, the axis. */
static void call_text(const struct golden_case *c, struct str *out)
{
    const json_t *args = golden_field(c, "args");
    const char *name, *between = "";
    json_t *v;
    void *it;

    str_printf(out, "%s(", golden_text(c, "quantizer", ""));
    for (it = json_object_iter(json_object_get(c->json, "args")); it;
         it = json_object_iter_next(json_object_get(c->json, "args"), it)) {
        name = json_object_iter_key(it);
        v = json_object_get(args, name);
        if (json_is_array(v) || !strcmp(name, "scale_axis"))
            continue;
        str_printf(out, "%s%s=", between, name);
        add_value(out, v);
        between = ",";
    }
    str_char(out, ')');
}

static void free_quantizer(void *p)
{
    quantizer_free(p);
}

/* Per-channel alphas: the steps take them in. */
static void put_alphas(struct bench *b, const json_t *alphas)
{
    for (int64_t i = 0; i < b->q->channels; i++)
        b->q->scale[i] *=
            (real)json_number_value(json_array_get(alphas, (size_t)i));
}

static bool make(struct bench *b, struct qspec *s)
{
    const json_t *alphas = golden_field(b->c, "args.alpha");
    struct quantizer plan;
    struct err e;
    int axis = (int)golden_int(b->c, "args.scale_axis", b->t->shape.rank - 1);

    if (golden_bool(b->c, "kernel_quantizer", false) && s->kind->on_weights)
        s->kind->on_weights(s);
    if (json_is_array(alphas))
        s->grain = GRAIN_CHANNEL;
    plan.spec = *s;
    b->v = quantizer_view(&plan, &b->t->shape, axis);
    if (!golden_ok(b->c, quantizer_new(s, b->v.channels, &b->q, &e), &e,
                   "quantizer"))
        return false;
    golden_own(b->c, b->q, free_quantizer);
    if (json_is_array(alphas))
        put_alphas(b, alphas);
    return true;
}

static bool start(struct golden_case *c, struct bench *b)
{
    struct str text = {0}, again = {0};
    struct qspec s, back;
    struct err e;
    enum status st;

    memset(b, 0, sizeof *b);
    b->c = c;
    b->t = golden_array(c, "x");
    b->x = golden_reals(c, "x", &b->n);
    b->dy = golden_reals(c, "dy", NULL);
    call_text(c, &text);
    st = qspec_parse(str_text(&text), NULL, &s, &e);
    if (!golden_ok(c, st, &e, "string") || !b->x || !b->dy) {
        str_fini(&text);
        return false;
    }
    qspec_print(&s, &again);
    st = qspec_parse(str_text(&again), NULL, &back, &e);
    if (golden_ok(c, st, &e, "printed string") && !qspec_equal(&s, &back))
        golden_fail(c, "%s is printed as %s", str_text(&text),
                    str_text(&again));
    str_fini(&text);
    str_fini(&again);
    b->bits = golden_real(c, "args.bits", 1);
    b->integer = golden_real(c, "args.integer", 0);
    return make(b, &s);
}

/* QKeras's own string must be understood, where it is true: its relus put
 * negative_slope in the place of use_sigmoid, and it cuts max_value to an
 * integer. */
static void check_string(struct bench *b)
{
    const char *text = golden_text(b->c, "string", NULL);
    bool relu = !strncmp(golden_text(b->c, "quantizer", ""), "quantized_relu",
                         14);
    double max = golden_real(b->c, "args.max_value", 1);
    struct qspec s;
    struct err e;

    if (text && !relu && max == floor(max))
        golden_ok(b->c, qspec_parse(text, NULL, &s, &e), &e, text);
}

/* The attribute `scale`: alpha, or the automatic one. */
static void check_scale(struct bench *b)
{
    const struct tensor *t = golden_find(b->c, "scale");
    const char *name = golden_text(b->c, "quantizer", "");
    bool grid = !strcmp(name, "quantized_bits") ||
                !strcmp(name, "quantized_hswish");
    int64_t n = t ? shape_count(&t->shape) : 0;
    double per_unit = 1;
    real *found;

    if (!t)
        return;
    if (grid && (b->bits > 1 || !b->q->spec.is_signed))
        per_unit = ldexp(1, (int)(b->bits - b->q->spec.is_signed -
                                  b->integer));
    if (n != 1 && n != b->q->channels) {
        golden_fail(b->c, "scale: %lld values for %lld channels",
                    (long long)n, (long long)b->q->channels);
        return;
    }
    found = golden_alloc(b->c, (size_t)n, sizeof *found);
    for (int64_t i = 0; i < n; i++)
        found[i] = (real)((double)b->q->scale[i] * per_unit);
    golden_near(b->c, "scale", found, n, 1e-30, NEAR);
}

static void check_y(struct bench *b, const struct named *k)
{
    double *found = golden_alloc(b->c, (size_t)b->n, sizeof *found);
    double *tol = golden_alloc(b->c, (size_t)b->n, sizeof *tol);
    real *y = golden_alloc(b->c, (size_t)b->n, sizeof *y);

    quantizer_forward(b->q, b->x, y, b->v, false);
    for (int64_t i = 0; i < b->n; i++) {
        found[i] = (double)y[i];
        tol[i] = k->y_slack ? k->y_slack(b, i, found[i]) : 0;
    }
    golden_within(b->c, "y", found, tol, b->n);
}

/* A draw: alpha or 0, through x + (alpha * q - x) in float. */
static void check_draw(struct bench *b)
{
    struct rng *rng = rng_new(1, RNG_ROUND);
    const real *wanted = golden_reals(b->c, "y", NULL);
    real *y = golden_alloc(b->c, (size_t)b->n, sizeof *y);

    b->q->rng = rng;
    quantizer_forward(b->q, b->x, y, b->v, false);
    b->q->rng = NULL;
    rng_free(rng);
    for (int64_t i = 0; i < b->n && wanted; i++) {
        double s = (double)b->q->scale[channel_at(b, i)];
        double tol = NEAR * (s + fabs(x_at(b, i)));

        for (int k = 0; k < 2; k++) {
            double v = (double)(k ? wanted[i] : y[i]);

            if (fabs(v) > tol && fabs(v - s) > tol)
                golden_fail(b->c, "%s[%lld] = %.9g is neither 0 nor %.9g",
                            k ? "wanted y" : "y", (long long)i, v, s);
        }
    }
}

static void check_dx(struct bench *b, const struct named *k)
{
    double *found = golden_alloc(b->c, (size_t)b->n, sizeof *found);
    double *tol = golden_alloc(b->c, (size_t)b->n, sizeof *tol);
    real *dx = golden_alloc(b->c, (size_t)b->n, sizeof *dx);

    quantizer_backward(b->q, b->x, b->dy, dx, b->v);
    for (int64_t i = 0; i < b->n; i++) {
        found[i] = (double)dx[i];
        tol[i] = k->dx_slack ? k->dx_slack(b, i, found[i]) : 0;
    }
    golden_within(b->c, "dx", found, tol, b->n);
}

void golden_quant_qkeras(struct golden_case *c)
{
    const char *name = golden_text(c, "quantizer", "");
    const struct named *k = classes;
    struct bench b;

    while (k->name && strcmp(k->name, name))
        k++;
    if (!k->name) {
        golden_fail(c, "unknown quantizer '%s'", name);
        return;
    }
    if (!start(c, &b))
        return;
    b.automatic = b.q->scratch && b.q->spec.grain == GRAIN_CHANNEL &&
                  !json_is_array(golden_field(c, "args.alpha"));
    check_string(&b);
    if (!strcmp(name, "bernoulli"))
        check_draw(&b);
    else
        check_y(&b, k);
    check_scale(&b);
    check_dx(&b, k);
}

/* Quantizers at work: creation, observing, forward, backward.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <string.h>

#include "base/arena.h"
#include "quant/kernel.h"
#include "quant/observer.h"

const struct quantizer_kind *const quantizer_table[] = {
#define QUANTIZER(name) &quantizer_##name,
#include "quant/quantizers.def"
#undef QUANTIZER
};
const int quantizer_count =
    (int)(sizeof quantizer_table / sizeof quantizer_table[0]);

const struct quantizer_kind *quantizer_kind_find(const char *name)
{
    for (int i = 0; i < quantizer_count; i++)
        if (!strcmp(quantizer_table[i]->name, name))
            return quantizer_table[i];
    return NULL;
}

int quantizer_learned_rows(const struct quantizer_kind *k)
{
    int n = 0;

    while (k->learned && k->learned[n].name)
        n++;
    return n;
}

/* Cuts the state block: scale, zero point, lo, hi, learned, observer. */
static void place_state(struct quantizer *q)
{
    int64_t c = q->channels;

    q->scale = q->state;
    q->zero_point = q->state + c;
    q->lo = q->state + 2 * c;
    q->hi = q->state + 3 * c;
    q->learned = q->state + 4 * c;
    q->observer->state = q->learned + q->n_learned;
}

static void first_state(struct quantizer *q)
{
    const struct quantizer_kind *k = q->spec.kind;

    for (int64_t c = 0; c < q->channels; c++) {
        q->scale[c] = 1;
        q->zero_point[c] = 0;
        q->lo[c] = 0;
        q->hi[c] = 0;
    }
    for (int64_t i = 0; i < q->n_learned; i++)
        q->learned[i] = (real)k->learned[i / q->channels].def;
    q->observer->kind->init(q->observer, &q->spec);
}

static enum status allocate(struct quantizer *q, struct err *e)
{
    const struct qspec *s = &q->spec;
    int64_t observer_reals = s->observer->state_reals(s) * q->channels;
    size_t scratch =
        s->kind->scratch_bytes ? s->kind->scratch_bytes(s, q->channels) : 0;

    q->observer = mem_alloc(1, sizeof *q->observer);
    q->n_learned = quantizer_learned_rows(s->kind) * q->channels;
    q->n_state = 4 * q->channels + q->n_learned + observer_reals;
    q->state = mem_alloc((size_t)q->n_state, sizeof *q->state);
    q->grad = mem_alloc((size_t)q->n_learned + 1, sizeof *q->grad);
    q->scratch = scratch ? mem_alloc(1, scratch) : NULL;
    if (!q->observer || !q->state || !q->grad || (scratch && !q->scratch))
        return err_memory(e, "a quantizer");
    q->observer->kind = s->observer;
    q->observer->channels = q->channels;
    q->observer->n_state = observer_reals;
    place_state(q);
    return STATUS_OK;
}

/* The quantizer follows q->lo, q->hi; x: the data, or NULL. */
static void follow_range(struct quantizer *q, const real *x, struct qview v)
{
    const struct quantizer_kind *k = q->spec.kind;

    if (k->set_range)
        k->set_range(q);
    if (k->init && x && (!q->ready || q->stale))
        k->init(q, x, v);
    q->ready = true;
    q->stale = false;
}

enum status quantizer_new(const struct qspec *s, int64_t channels,
                          struct quantizer **out, struct err *e)
{
    struct quantizer *q;
    enum status st;

    *out = NULL;
    TRY(qspec_check(s, e));
    if (channels < 1)
        return err_set(e, STATUS_ARG, "quantizer for %lld channels",
                       (long long)channels);
    q = mem_alloc(1, sizeof *q);
    if (!q)
        return err_memory(e, "a quantizer");
    q->spec = *s;
    q->channels = channels;
    q->fake = true;
    q->observe = true;
    q->noise_factor = s->noise;
    qspec_codes(s, &q->lo_code, &q->hi_code);
    st = allocate(q, e);
    if (st != STATUS_OK) {
        quantizer_free(q);
        return st;
    }
    first_state(q);
    if (s->kind->flags & QK_OWN_SCALE)
        follow_range(q, NULL, (struct qview){0, 0, 0});
    *out = q;
    return STATUS_OK;
}

void quantizer_free(struct quantizer *q)
{
    if (!q)
        return;
    mem_free(q->observer);
    mem_free(q->state);
    mem_free(q->grad);
    if (q->scratch && q->spec.kind->scratch_fini)
        q->spec.kind->scratch_fini(q->scratch);
    mem_free(q->scratch);
    mem_free(q);
}

struct qview quantizer_view(const struct quantizer *q,
                            const struct shape *shape, int axis)
{
    int64_t count = shape_count(shape);
    int group = q->spec.group;

    if (q->spec.grain == GRAIN_GROUP && group > 0)
        return (struct qview){1, count / group, group};
    if (q->spec.grain == GRAIN_TENSOR || axis < 0 || axis >= shape->rank)
        return (struct qview){1, 1, count};
    return (struct qview){shape_outer(shape, axis), shape->dim[axis],
                          shape_inner(shape, axis)};
}

/* Learned parameters own the range once training has begun: until then
 * calibration may find them a better start. */
static bool range_is_learned(const struct quantizer *q)
{
    return q->learn && q->ready && !q->stale && q->steps > 0;
}

static bool has_own_scale(const struct quantizer *q)
{
    return q->spec.kind->flags & QK_OWN_SCALE;
}

bool quantizer_watches(const struct quantizer *q)
{
    return q->observe && !range_is_learned(q) && !has_own_scale(q);
}

/* A kind may want the data for its first learned parameters. */
bool quantizer_takes_minmax(const struct quantizer *q)
{
    return (q->observer->kind->flags & OBS_MINMAX_ONLY) &&
           (!q->spec.kind->init || (q->ready && !q->stale));
}

static enum status observe_check(const struct quantizer *q, struct qview v,
                                 struct err *e)
{
    if (v.channels != q->channels)
        return err_set(e, STATUS_ARG, "data of %lld channels for a "
                       "quantizer of %lld", (long long)v.channels,
                       (long long)q->channels);
    return STATUS_OK;
}

enum status quantizer_observe(struct quantizer *q, const real *x,
                              struct qview v, struct err *e)
{
    if (!quantizer_watches(q))
        return STATUS_OK;
    TRY(observe_check(q, v, e));
    TRY(q->observer->kind->update(q->observer, &q->spec, x, v, e));
    if (q->observer->kind->range(q->observer, &q->spec, q->lo, q->hi))
        follow_range(q, x, v);
    return STATUS_OK;
}

enum status quantizer_observe_minmax(struct quantizer *q, const real *lo,
                                     const real *hi, struct err *e)
{
    struct qview none = {0, 0, 0};

    if (!quantizer_watches(q))
        return STATUS_OK;
    if (!(q->observer->kind->flags & OBS_MINMAX_ONLY))
        return err_set(e, STATUS_STATE,
                       "observer %s needs the data, not only its range",
                       q->observer->kind->name);
    for (int64_t c = 0; c < q->channels; c++)
        if (!isfinite(lo[c]) || !isfinite(hi[c]) || lo[c] > hi[c])
            return err_set(e, STATUS_NUMERIC,
                           "channel %lld has the range %g to %g",
                           (long long)c, (double)lo[c], (double)hi[c]);
    observer_keep_seen(q->observer, lo, hi);
    q->observer->kind->update_minmax(q->observer, &q->spec, lo, hi);
    if (q->observer->kind->range(q->observer, &q->spec, q->lo, q->hi))
        follow_range(q, NULL, none);
    return STATUS_OK;
}

/* A range of its own from x, for a forward pass without one. Data with NaN
 * or infinity gives none. */
static bool fit_range(struct quantizer *q, const real *x, struct qview v)
{
    struct observer *o = q->observer;

    if (v.channels != q->channels ||
        o->kind->update(o, &q->spec, x, v, NULL) != STATUS_OK)
        return false;
    if (o->kind->range(o, &q->spec, q->lo, q->hi))
        follow_range(q, x, v);
    return q->ready;
}

static void copy_values(const real *x, real *y, int64_t n)
{
    if (x != y)
        memmove(y, x, (size_t)n * sizeof *y);
}

/* y = x + f * (q(x) - x), through a buffer: x and y may be the same. */
static void mix_noise(real *y, const real *x, int64_t n, double factor)
{
    real f = (real)factor;

#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        y[i] = x[i] + f * (y[i] - x[i]);
}

static void forward_mixed(struct quantizer *q, const real *x, real *y,
                          struct qview v, bool train)
{
    int64_t n = view_count(v);
    real *keep = NULL;

    if (q->noise_factor == 0) {
        copy_values(x, y, n);
        return;
    }
    if (x == y && q->noise_factor != 1) {
        keep = mem_alloc((size_t)n, sizeof *keep);
        if (!keep)
            return;
        memcpy(keep, x, (size_t)n * sizeof *keep);
        x = keep;
    }
    q->spec.kind->forward(q, x, y, v, train);
    if (q->noise_factor != 1)
        mix_noise(y, x, n, q->noise_factor);
    mem_free(keep);
}

static bool is_delayed(const struct quantizer *q)
{
    return q->steps <= q->spec.delay && q->spec.delay > 0;
}

void quantizer_forward(struct quantizer *q, const real *x, real *y,
                       struct qview v, bool train)
{
    if (train)
        q->steps++;
    if (!q->fake || is_delayed(q) || (!q->ready && !fit_range(q, x, v)))
        copy_values(x, y, view_count(v));
    else
        forward_mixed(q, x, y, v, train);
}

/* dx = (1 - f) * dy + f * backward(dy); learned gradients times f. */
static void backward_mixed(struct quantizer *q, const real *x,
                           const real *dy, real *dx, struct qview v)
{
    int64_t n = view_count(v);
    real f = (real)q->noise_factor;
    real *part = mem_alloc((size_t)n, sizeof *part);

    if (!part) {
        copy_values(dy, dx, n);
        return;
    }
    for (int64_t i = 0; i < n; i++)
        part[i] = dy[i] * f;
    q->spec.kind->backward(q, x, part, part, v);
    for (int64_t i = 0; i < n; i++)
        dx[i] = dy[i] * (1 - f) + part[i];
    mem_free(part);
}

void quantizer_backward(struct quantizer *q, const real *x, const real *dy,
                        real *dx, struct qview v)
{
    if (!q->fake || is_delayed(q) || !q->ready || q->noise_factor == 0)
        copy_values(dy, dx, view_count(v));
    else if (q->noise_factor != 1)
        backward_mixed(q, x, dy, dx, v);
    else
        q->spec.kind->backward(q, x, dy, dx, v);
}

static enum status check_count(const struct quantizer *q, int64_t n,
                               struct err *e)
{
    if (n == 1 || n == q->channels)
        return STATUS_OK;
    return err_set(e, STATUS_ARG, "%lld values for %lld channels",
                   (long long)n, (long long)q->channels);
}

enum status quantizer_set_range(struct quantizer *q, const real *lo,
                                const real *hi, int64_t n, struct err *e)
{
    struct qview none = {0, 0, 0};

    TRY(check_count(q, n, e));
    if (has_own_scale(q) && !q->n_learned)
        return err_set(e, STATUS_STATE, "%s takes no range: its scale is "
                       "fixed or found in every forward pass",
                       q->spec.kind->name);
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(lo[i]) || !isfinite(hi[i]) || lo[i] > hi[i])
            return err_set(e, STATUS_ARG, "range %g to %g, not two rising "
                           "numbers", (double)lo[i], (double)hi[i]);
    for (int64_t c = 0; c < q->channels; c++) {
        q->lo[c] = lo[n == 1 ? 0 : c];
        q->hi[c] = hi[n == 1 ? 0 : c];
    }
    follow_range(q, NULL, none);
    return STATUS_OK;
}

static enum status check_grid(const struct quantizer *q, real scale,
                              real zero_point, struct err *e)
{
    if (!isfinite(scale) || !(scale > 0))
        return err_set(e, STATUS_ARG, "scale %g, not above 0",
                       (double)scale);
    if (!isfinite(zero_point))
        return err_set(e, STATUS_ARG, "zero point %g", (double)zero_point);
    if (q->spec.float_zp)
        return STATUS_OK;
    if (zero_point < (real)q->lo_code || zero_point > (real)q->hi_code ||
        zero_point != real_rint(zero_point))
        return err_set(e, STATUS_ARG, "zero point %g, not a code from %lld "
                       "to %lld", (double)zero_point,
                       (long long)q->lo_code, (long long)q->hi_code);
    return STATUS_OK;
}

enum status quantizer_set_grid(struct quantizer *q, const real *scale,
                               const real *zero_point, int64_t n,
                               struct err *e)
{
    if (!(q->spec.kind->flags & QK_UNIFORM) || has_own_scale(q))
        return err_set(e, STATUS_ARG, "%s has no grid to set",
                       q->spec.kind->name);
    TRY(check_count(q, n, e));
    for (int64_t i = 0; i < n; i++)
        TRY(check_grid(q, scale[i], zero_point[i], e));
    for (int64_t c = 0; c < q->channels; c++) {
        real s = scale[n == 1 ? 0 : c], z = zero_point[n == 1 ? 0 : c];

        q->lo[c] = ((real)q->lo_code - z) * s;
        q->hi[c] = ((real)q->hi_code - z) * s;
    }
    if (q->spec.kind->set_range)
        q->spec.kind->set_range(q);
    for (int64_t c = 0; c < q->channels; c++) {
        q->scale[c] = scale[n == 1 ? 0 : c];
        q->zero_point[c] = zero_point[n == 1 ? 0 : c];
    }
    q->ready = true;
    q->stale = false;
    return STATUS_OK;
}

void quantizer_zero_grad(struct quantizer *q)
{
    memset(q->grad, 0, (size_t)q->n_learned * sizeof *q->grad);
}

enum status quantizer_enable_learn(struct quantizer *q, bool on,
                                   struct err *e)
{
    if (on && !q->n_learned)
        return err_set(e, STATUS_STATE, "%s learns nothing: choose a kind "
                       "that does (lsq)", q->spec.kind->name);
    q->learn = on;
    return STATUS_OK;
}

bool quantizer_get_affine(const struct quantizer *q, int64_t channel,
                          struct affine *a)
{
    if (!(q->spec.kind->flags & QK_UNIFORM))
        return false;
    a->scale = q->scale[channel];
    a->zero_point = q->zero_point[channel];
    a->lo = q->lo_code;
    a->hi = q->hi_code;
    return true;
}

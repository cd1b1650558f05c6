/* Quantizers as contents. SPDX-License-Identifier: GPL-3.0-or-later */
#include "quant/fingerprint.h"

#include "quant/observer.h"

/* Adding +0 makes one number of the two zeros, which compare as equal. */
static void add_number(struct hash128 *h, double v)
{
    v += 0.0;
    hash128_add(h, &v, sizeof v);
}

static void add_rows(struct hash128 *h, const struct qrow *rows,
                     const double *value)
{
    for (int i = 0; rows && rows[i].name; i++)
        add_number(h, value[i]);
}

void qspec_fingerprint(const struct qspec *s, struct hash128 *h)
{
    const int64_t whole[] = {
        s->bits, s->is_signed, s->symmetric, s->narrow, s->reduce_range,
        s->grain, s->grain == GRAIN_GROUP ? s->group : 0, s->rounding,
        s->divide, s->zp_before, s->clamp_first, s->float_zp, s->grad,
        s->delay, s->custom_codes, s->custom_codes ? s->lo_code : 0,
        s->custom_codes ? s->hi_code : 0,
    };
    hash128_add_text(h, s->kind->name);
    hash128_add_text(h, s->rule ? s->rule->name : NULL);
    hash128_add_text(h, s->observer->name);
    hash128_add(h, whole, sizeof whole);
    add_number(h, s->eps);
    add_number(h, s->noise);
    add_rows(h, s->kind->param, s->param);
    add_rows(h, s->observer->param, s->observer_param);
}

void quantizer_fingerprint(const struct quantizer *q, struct hash128 *h)
{
    /* The state block begins with what forward reads; the rest is the
     * observer's. */
    int64_t reals = q->ready ? 4 * q->channels + q->n_learned : q->n_state;
    const int64_t whole[] = {
        q->fake, q->learn, q->ready, q->stale, q->channels,
        q->lo_code, q->hi_code, q->steps, q->rng != NULL,
    };
    hash128_add(h, whole, sizeof whole);
    hash128_add(h, &q->noise_factor, sizeof q->noise_factor);
    hash128_add_piece(h, q->state, (size_t)reals * sizeof *q->state);
}

bool quantizer_may_draw(const struct quantizer *q)
{
    return q->rng && (q->spec.kind->flags & QK_STOCHASTIC);
}

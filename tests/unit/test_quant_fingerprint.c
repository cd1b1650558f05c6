/* Fingerprints of specs and quantizers: equal specs add the same, different
 * ones something else, whichever byte differs.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "common/test_main.h"

#include <stdio.h>
#include <string.h>

#include "quant/fingerprint.h"
#include "quant/observer.h"

static struct qspec spec(const char *text)
{
    struct err e = {0};
    struct qspec s;

    if (qspec_parse(text, NULL, &s, &e) != STATUS_OK)
        fail_msg("%s", e.text);
    return s;
}

static struct quantizer *quantizer(const char *text, int64_t channels)
{
    struct qspec s = spec(text);
    struct quantizer *q;
    struct err e = {0};

    if (quantizer_new(&s, channels, &q, &e) != STATUS_OK)
        fail_msg("%s", e.text);
    return q;
}

static struct digest spec_digest(const struct qspec *s)
{
    struct hash128 h;

    hash128_init(&h, 0);
    qspec_fingerprint(s, &h);
    return hash128_end(&h);
}

static struct digest digest(const struct quantizer *q)
{
    struct hash128 h;

    hash128_init(&h, 0);
    quantizer_fingerprint(q, &h);
    return hash128_end(&h);
}

static bool is_pointer(size_t at)
{
    static const struct {
        size_t from, size;
    } skip[] = {
        {offsetof(struct qspec, kind), sizeof(void *)},
        {offsetof(struct qspec, rule), sizeof(void *)},
        {offsetof(struct qspec, observer), sizeof(void *)},
    };

    for (size_t i = 0; i < sizeof skip / sizeof skip[0]; i++)
        if (at >= skip[i].from && at < skip[i].from + skip[i].size)
            return true;
    return false;
}

/* The lowest bit: a bool stays a bool. */
static void check_bytes(const char *text)
{
    struct qspec a = spec(text), b;
    struct digest x = spec_digest(&a);

    for (size_t i = 0; i < sizeof a; i++) {
        if (is_pointer(i))
            continue;
        memcpy(&b, &a, sizeof b);
        ((unsigned char *)&b)[i] ^= 1;
        struct digest y = spec_digest(&b);
        if (qspec_equal(&a, &b) != digest_equal(&x, &y))
            fail_msg("%s, byte %zu: %s specs, %s fingerprints", text, i,
                     qspec_equal(&a, &b) ? "equal" : "different",
                     digest_equal(&x, &y) ? "equal" : "different");
    }
}

static void each_byte_of_a_spec_counts_as_in_comparisons(void **state)
{
    static const char *const texts[] = {
        "affine:8", "affine:4,codes=-3..9", "lsq:3,unsigned", "pact:4",
        "affine:4,group=32", "affine:8,obs=ema,ema.c=0.1", "po2:4",
        "affine:8,obs=percentile,percentile.p=99.9", "minifloat:8",
        "quantized_bits(6,0,alpha=1)", "ternary",
    };

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        check_bytes(texts[i]);
}

static void kinds_rules_and_observers_count(void **state)
{
    struct qspec a = spec("affine:8"), b;
    struct digest x = spec_digest(&a);

    (void)state;
    for (int i = 0; i < quantizer_count; i++) {
        b = a;
        b.kind = quantizer_table[i];
        struct digest y = spec_digest(&b);
        assert_true(digest_equal(&x, &y) == (b.kind == a.kind));
    }
    for (int i = 0; i < qparams_count; i++) {
        b = a;
        b.rule = &qparams_table[i];
        struct digest y = spec_digest(&b);
        assert_true(digest_equal(&x, &y) == (b.rule == a.rule));
    }
    for (int i = 0; i < observer_count; i++) {
        b = a;
        b.observer = observer_table[i];
        struct digest y = spec_digest(&b);
        assert_true(digest_equal(&x, &y) == (b.observer == a.observer));
    }
}

static void a_quantizer_with_a_range_forgets_its_observer(void **state)
{
    struct quantizer *q = quantizer("affine:8,obs=ema", 2);
    real lo[2] = {-1, -2}, hi[2] = {1, 2};
    struct err e;
    struct digest before = digest(q), after;

    (void)state;
    real *last = &q->state[q->n_state - 1];
    *last += 1;
    after = digest(q);
    assert_false(digest_equal(&before, &after));
    assert_int_equal(quantizer_set_range(q, lo, hi, 2, &e), STATUS_OK);
    before = digest(q);
    assert_false(digest_equal(&before, &after));
    *last += 1;
    after = digest(q);
    assert_true(digest_equal(&before, &after));
    for (int64_t i = 0; i < 4 * q->channels + q->n_learned; i++) {
        q->state[i] += 1;
        after = digest(q);
        assert_false(digest_equal(&before, &after));
        q->state[i] -= 1;
    }
    quantizer_free(q);
}

/* Kinds that draw in evaluation say so, whatever else they do. */
static void no_kind_draws_in_evaluation_unannounced(void **state)
{
    const real x[4] = {REAL(-0.9), REAL(-0.1), REAL(0.2), REAL(0.7)};
    const struct qview four = {1, 1, 4};
    unsigned char before[8192], after[8192];
    int draws = 0;

    (void)state;
    for (int i = 0; i < quantizer_count; i++) {
        const struct quantizer_kind *k = quantizer_table[i];
        char text[80];
        struct qspec s;
        struct quantizer *q;
        struct err e;
        real y[4];
        struct rng *r = rng_new(1, RNG_ROUND);

        int bits = k->max_bits < 4 ? k->max_bits : 4;
        snprintf(text, sizeof text, "%s:%d", k->name, bits);
        if (qspec_parse(text, NULL, &s, &e) &&
            qspec_parse(k->name, NULL, &s, &e))
            fail_msg("%s: %s", k->name, e.text);
        enum rounding own = s.rounding;
        s.rounding = ROUND_STOCHASTIC;
        if (qspec_check(&s, &e))
            s.rounding = own;
        if (s.grain == GRAIN_GROUP)
            s.group = 4;
        assert_int_equal(quantizer_new(&s, 1, &q, &e), STATUS_OK);
        q->rng = r;
        assert_true(rng_state_size(r) <= sizeof before);
        rng_state_get(r, before);
        quantizer_forward(q, x, y, four, false);
        quantizer_forward(q, x, y, four, false);
        rng_state_get(r, after);
        bool drew = memcmp(before, after, rng_state_size(r)) != 0;
        if (drew && !quantizer_may_draw(q))
            fail_msg("%s draws", k->name);
        draws += drew;
        quantizer_free(q);
        rng_free(r);
    }
    assert_true(draws > 0);
}

/* What the two ways leave behind is the same, the last batch's ends too. */
static void ends_and_data_leave_the_same_state(void **state)
{
    static const char *const texts[] = {"affine:4,obs=ema", "affine:4",
                                        "affine:4,obs=fixed"};
    const real x[8] = {1, -2, 4, 0, 8, 1, REAL(0.5), -16};
    const real lo[2] = {-2, -16}, hi[2] = {4, 8};
    struct qview v = {1, 2, 4};
    struct err e;

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct quantizer *a = quantizer(texts[i], 2);
        struct quantizer *b = quantizer(texts[i], 2);
        assert_true(quantizer_watches(a));
        assert_true(quantizer_takes_minmax(a));
        assert_int_equal(quantizer_observe(a, x, v, &e), STATUS_OK);
        assert_int_equal(quantizer_observe_minmax(b, lo, hi, &e),
                         STATUS_OK);
        assert_memory_equal(a->state, b->state,
                            (size_t)a->n_state * sizeof(real));
        assert_memory_equal(observer_seen(a->observer), lo, sizeof lo);
        assert_memory_equal(observer_seen(a->observer) + 2, hi, sizeof hi);
        a->observe = false;
        assert_false(quantizer_watches(a));
        quantizer_free(a);
        quantizer_free(b);
    }
    struct quantizer *m = quantizer("affine:4,obs=mse", 1);
    assert_false(quantizer_takes_minmax(m));
    quantizer_free(m);
    m = quantizer("lsq:4", 1);
    assert_false(quantizer_takes_minmax(m));
    quantizer_free(m);
}

int main(void)
{
    gsl_set_error_handler_off();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_byte_of_a_spec_counts_as_in_comparisons),
        cmocka_unit_test(kinds_rules_and_observers_count),
        cmocka_unit_test(a_quantizer_with_a_range_forgets_its_observer),
        cmocka_unit_test(no_kind_draws_in_evaluation_unannounced),
        cmocka_unit_test(ends_and_data_leave_the_same_state),
    };
    return cmocka_run_group_tests_name("quant fingerprint", tests, NULL,
                                       NULL);
}

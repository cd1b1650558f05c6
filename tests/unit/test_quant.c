/* Quantizers, specs, rules, observers, against numbers worked out by hand or
 * by an independent route. SPDX-License-Identifier: GPL-3.0-or-later */
#include "common/test_main.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/rng.h"
#include "common/assert_near.h"
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

static void set_grid(struct quantizer *q, double scale, double zero)
{
    real s = (real)scale, z = (real)zero;
    struct err e = {0};

    if (quantizer_set_grid(q, &s, &z, 1, &e) != STATUS_OK)
        fail_msg("%s", e.text);
}

static const struct qview four = {1, 1, 4};

/* The error that a spec text gives. */
static void assert_spec_error(const char *text, const char *part)
{
    struct err e = {0};
    struct qspec s;

    assert_int_equal(qspec_parse(text, NULL, &s, &e), STATUS_ARG);
    if (!strstr(e.text, part))
        fail_msg("'%s' lacks '%s'", e.text, part);
}

static void spec_text_reads_back_as_it_was_written(void **state)
{
    static const char *const texts[] = {
        "affine:8",
        "affine:4,channel",
        "affine:8,unsigned,asym,reduce,rule=fused,obs=ema",
        "affine:4,obs=ema,ema.c=0.1",
        "affine:5,narrow,divide,group=16,eps=0.000244140625",
        "affine:8,codes=-3..9,zp=before,clamp=first,round=half_up",
        "affine:8,asym,zp=float,grad=pass,rule=float,noise=0.5,delay=12",
        "lsq:2,unsigned",
        "lsq:4,obs=mse,gscale=0",
        "learnable:4,asym",
    };

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct qspec s = spec(texts[i]);
        struct str out = {0};

        qspec_print(&s, &out);
        assert_string_equal(str_text(&out), texts[i]);
        str_fini(&out);
    }
}

/* The examples of all kinds, with other settings that fit every kind. */
static void every_kind_prints_a_text_that_reads_back(void **state)
{
    (void)state;
    for (int i = 0; i < quantizer_count; i++) {
        const char *text = strchr(quantizer_table[i]->example, '=');
        struct qspec s, back;
        struct str out = {0};
        struct err e = {0};

        assert_non_null(text);
        s = spec(text + 1);
        s.noise = 0.75;
        s.delay = 3;
        qspec_print(&s, &out);
        if (qspec_parse(str_text(&out), NULL, &back, &e) != STATUS_OK)
            fail_msg("%s", e.text);
        if (!qspec_equal(&s, &back))
            fail_msg("%s reads back as another spec", str_text(&out));
        str_fini(&out);
    }
}

/* Over a base of any other kind, a kind's example is accepted. */
static void every_kind_follows_every_other(void **state)
{
    (void)state;
    for (int i = 0; i < quantizer_count; i++)
        for (int k = 0; k < quantizer_count; k++) {
            const char *from = strchr(quantizer_table[i]->example, '=') + 1;
            const char *to = strchr(quantizer_table[k]->example, '=') + 1;
            struct qspec base = spec(from), s;
            struct err e = {0};

            if (qspec_parse(to, &base, &s, &e) != STATUS_OK)
                fail_msg("after %s: %s", from, e.text);
        }
}

static void assert_over(const char *base, const char *text, const char *want)
{
    struct qspec b = spec(base), s;
    struct str out = {0};
    struct err e = {0};

    if (qspec_parse(text, &b, &s, &e) != STATUS_OK)
        fail_msg("%s over %s: %s", text, base, e.text);
    qspec_print(&s, &out);
    assert_string_equal(str_text(&out), want);
    str_fini(&out);
}

/* Arithmetic and observer go with the kind that brought them; width, sign,
 * granularity and what was asked for by name stay. */
static void kind_takes_its_arithmetic_with_it(void **state)
{
    (void)state;
    assert_over("lsq:4,channel", "learnable:4", "learnable:4,channel");
    assert_over("lsq:3,channel", "affine:3", "affine:3,channel");
    assert_over("range_aimet:4,unsigned", "affine:4", "affine:4,unsigned");
    assert_over("lsq:4,obs=mse,round=floor", "affine:4",
                "affine:4,round=floor,obs=mse");
    assert_over("affine:8,zp=float,rule=float,asym", "learnable:8",
                "learnable:8,asym");
    assert_over("affine:4,channel", "dorefa:4", "dorefa:4");
    assert_over("affine:4,channel", "dorefa:4,channel", "dorefa:4,channel");
}

/* A saved quantizer of every kind quantizes as the one it was saved from. */
static void every_kind_survives_saving(void **state)
{
    const real x[4] = {REAL(0.4), REAL(-0.9), REAL(0.05), REAL(2.5)};

    (void)state;
    for (int i = 0; i < quantizer_count; i++) {
        struct qspec s = spec(strchr(quantizer_table[i]->example, '=') + 1);
        int64_t channels = s.grain == GRAIN_GROUP ? 4 / s.group : 1;
        struct qview v = {1, channels > 0 ? channels : 1, 0};
        struct quantizer *q, *back;
        struct bag *b = bag_new();
        struct err e = {0};
        real y[4], z[4];

        v.inner = 4 / v.channels;
        assert_int_equal(quantizer_new(&s, v.channels, &q, &e), STATUS_OK);
        q->learn = q->n_learned > 0;
        assert_int_equal(quantizer_observe(q, x, v, &e), STATUS_OK);
        quantizer_forward(q, x, y, v, true);
        if (quantizer_save(q, "q", b, &e) != STATUS_OK ||
            quantizer_load(b, "q", &back, &e) != STATUS_OK)
            fail_msg("%s: %s", s.kind->name, e.text);
        assert_true(qspec_equal(&q->spec, &back->spec));
        assert_memory_equal(q->state, back->state,
                            (size_t)q->n_state * sizeof(real));
        quantizer_forward(q, x, y, v, false);
        quantizer_forward(back, x, z, v, false);
        if (!(s.kind->flags & QK_STOCHASTIC))
            assert_memory_equal(y, z, sizeof y);
        quantizer_free(q);
        quantizer_free(back);
        bag_free(b);
    }
}

static void every_qparams_rule_and_observer_can_be_named(void **state)
{
    char text[80];

    (void)state;
    for (int i = 0; i < qparams_count; i++) {
        snprintf(text, sizeof text, "affine:8,asym%s,rule=%s",
                 qparams_table[i].real_zero ? ",zp=float" : "",
                 qparams_table[i].name);
        assert_ptr_equal(spec(text).rule, &qparams_table[i]);
    }
    for (int i = 0; i < observer_count; i++) {
        snprintf(text, sizeof text, "affine:8,obs=%s",
                 observer_table[i]->name);
        assert_ptr_equal(spec(text).observer, observer_table[i]);
    }
}

static void bare_bits_keep_the_rest_of_the_base(void **state)
{
    struct qspec base = spec("affine:8,unsigned,asym,reduce,obs=ema");
    struct qspec s;
    struct err e;

    (void)state;
    assert_int_equal(qspec_parse("4", &base, &s, &e), STATUS_OK);
    assert_int_equal(s.bits, 4);
    assert_false(s.is_signed);
    assert_false(s.symmetric);
    assert_false(s.reduce_range);
    assert_ptr_equal(s.observer, base.observer);
}

static void wrong_spec_texts_say_what_is_wrong(void **state)
{
    (void)state;
    assert_spec_error("affin:4", "did you mean 'affine'");
    assert_spec_error("affine:0", "not from 1");
    assert_spec_error("affine:33", "not from 1 to 32");
    assert_spec_error("affine:4,sim", "did you mean 'sym'");
    assert_spec_error("affine:4,,sym", "empty word");
    assert_spec_error("affine:4,round=up", "half_even");
    assert_spec_error("affine:4,codes=7..-8", "rising");
    assert_spec_error("affine:1,narrow", "no grid");
    assert_spec_error("affine:4,ema.c=0.1", "unknown setting");
    assert_spec_error("affine:4,obs=ema,ema.c=2", "not from 0 to 1");
    assert_spec_error("affine:4,group=0", "group=0");
    assert_spec_error("affine:4,eps=0", "eps");
    assert_spec_error("affine:4,rule=float", "zp=float");
    assert_spec_error("affine:4(3)", "affine");
    assert_spec_error("lsq:4,asym", "lsq");
    assert_spec_error("", "no quantizer name");
    assert_spec_error(":4", "no quantizer name");
}

static void codes_follow_bits_sign_and_range(void **state)
{
    static const struct {
        const char *text;
        int64_t lo, hi;
    } rows[] = {
        {"affine:8", -128, 127},
        {"affine:8,narrow", -127, 127},
        {"affine:8,reduce", -64, 63},
        {"affine:8,unsigned", 0, 255},
        {"affine:8,unsigned,reduce", 0, 127},
        {"affine:4,codes=-3..9", -3, 9},
        {"affine:1", -1, 0},
        {"affine:32", -2147483648LL, 2147483647LL},
        {"affine:32,unsigned", 0, 4294967295LL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct qspec s = spec(rows[i].text);
        int64_t lo, hi;

        qspec_codes(&s, &lo, &hi);
        assert_int_equal(lo, rows[i].lo);
        assert_int_equal(hi, rows[i].hi);
    }
}

/* v = 2.5, -2.5, 1.4, -1.6 under the seven roundings. */
static void each_rounding_rounds_as_its_name_says(void **state)
{
    static const struct {
        const char *name;
        double wanted[4];
    } rows[] = {
        {"half_even", {2, -2, 1, -2}},  {"half_away", {3, -3, 1, -2}},
        {"half_up", {3, -2, 1, -2}},    {"floor", {2, -3, 1, -2}},
        {"ceil", {3, -2, 2, -1}},       {"to_zero", {2, -2, 1, -1}},
        {"stochastic", {2, -2, 1, -2}},
    };
    const real x[4] = {REAL(2.5), REAL(-2.5), REAL(1.4), REAL(-1.6)};

    (void)state;
    assert_int_equal(sizeof rows / sizeof rows[0], ROUND_COUNT);
    for (int i = 0; i < ROUND_COUNT; i++) {
        char text[64];
        struct quantizer *q;
        real y[4], wanted[4];

        snprintf(text, sizeof text, "affine:8,round=%s", rows[i].name);
        q = quantizer(text, 1);
        set_grid(q, 1, 0);
        quantizer_forward(q, x, y, four, true);
        for (int k = 0; k < 4; k++)
            wanted[k] = (real)rows[i].wanted[k];
        assert_reals_near(y, wanted, 4, 0, 0);
        quantizer_free(q);
    }
}

/* x/s = 0.5, zero point 1: rne(0.5) + 1 = 1, rne(1.5) = 2. */
static void zero_point_before_rounding_shows_on_ties(void **state)
{
    struct quantizer *after = quantizer("affine:8,asym", 1);
    struct quantizer *before = quantizer("affine:8,asym,zp=before", 1);
    const real x[4] = {REAL(0.5), REAL(-0.5), REAL(0.25), 3};
    const real a[4] = {0, 0, 0, 3}, b[4] = {1, -1, 0, 3};
    real y[4];

    (void)state;
    set_grid(after, 1, 1);
    set_grid(before, 1, 1);
    quantizer_forward(after, x, y, four, true);
    assert_reals_near(y, a, 4, 0, 0);
    quantizer_forward(before, x, y, four, true);
    assert_reals_near(y, b, 4, 0, 0);
    quantizer_free(after);
    quantizer_free(before);
}

static void stochastic_rounding_keeps_the_mean(void **state)
{
    struct quantizer *q = quantizer("affine:8,round=stochastic", 1);
    struct rng *r = rng_new(3, RNG_ROUND);
    struct qview v = {1, 1, 4000};
    static real x[4000], y[4000];
    double sum = 0;

    (void)state;
    q->rng = r;
    set_grid(q, 1, 0);
    for (int i = 0; i < 4000; i++)
        x[i] = REAL(2.25);
    quantizer_forward(q, x, y, v, true);
    for (int i = 0; i < 4000; i++) {
        assert_true(y[i] == 2 || y[i] == 3);
        sum += (double)y[i];
    }
    assert_near(sum / 4000, 2.25, 0, 0.03);
    quantizer_forward(q, x, y, v, false);
    assert_near((double)y[7], 2, 0, 0);
    rng_free(r);
    quantizer_free(q);
}

static void masked_gradient_stops_outside_the_codes(void **state)
{
    struct quantizer *q = quantizer("affine:3,unsigned,asym", 1);
    struct quantizer *pass = quantizer("affine:3,unsigned,asym,grad=pass", 1);
    const real x[4] = {REAL(-0.6), REAL(-0.4), REAL(7.4), REAL(7.6)};
    const real dy[4] = {1, 2, 3, 4}, wanted[4] = {0, 2, 3, 0};
    real dx[4];

    (void)state;
    set_grid(q, 1, 0);
    set_grid(pass, 1, 0);
    quantizer_backward(q, x, dy, dx, four);
    assert_reals_near(dx, wanted, 4, 0, 0);
    quantizer_backward(pass, x, dy, dx, four);
    assert_reals_near(dx, dy, 4, 0, 0);
    quantizer_free(q);
    quantizer_free(pass);
}

static void noise_factor_mixes_value_and_gradient(void **state)
{
    struct quantizer *q = quantizer("affine:3,noise=0.25", 1);
    const real x[4] = {REAL(1.4), REAL(2.6), 9, -9};
    const real y[4] = {REAL(1.3), REAL(2.7), REAL(7.5), REAL(-7.75)};
    const real dy[4] = {1, 1, 1, 1};
    const real dx[4] = {1, 1, REAL(0.75), REAL(0.75)};
    real out[4];

    (void)state;
    set_grid(q, 1, 0);
    quantizer_forward(q, x, out, four, true);
    assert_reals_near(out, y, 4, 1e-6, 0);
    quantizer_backward(q, x, dy, out, four);
    assert_reals_near(out, dx, 4, 0, 0);
    memcpy(out, x, sizeof out);
    quantizer_forward(q, out, out, four, true);
    assert_reals_near(out, y, 4, 1e-6, 0);
    quantizer_free(q);
}

static void delayed_quantizer_passes_until_its_step(void **state)
{
    struct quantizer *q = quantizer("affine:3,delay=2", 1);
    const real x[4] = {REAL(0.4), REAL(1.4), 2, 3};
    real y[4];

    (void)state;
    set_grid(q, 1, 0);
    for (int step = 1; step <= 2; step++) {
        quantizer_forward(q, x, y, four, true);
        assert_reals_near(y, x, 4, 0, 0);
    }
    quantizer_forward(q, x, y, four, true);
    assert_near((double)y[1], 1, 0, 0);
    quantizer_free(q);
}

/* Esser et al.: x = 0.7, 5, -9, 2.2 with step 1, 4 bits signed, dy = 1:
 * 0.3 - 0 - ... : (1 - 0.7) + (5 - 5) + (-8) + (2 - 2.2) = -7.9. */
static void lsq_step_gradient_is_the_papers(void **state)
{
    struct quantizer *q = quantizer("lsq:4", 1);
    const real x[4] = {REAL(0.7), 5, -9, REAL(2.2)};
    const real dy[4] = {1, 1, 1, 1}, wanted[4] = {1, 1, 0, 1};
    struct err e = {0};
    real dx[4];

    (void)state;
    assert_int_equal(quantizer_enable_learn(q, true, &e), STATUS_OK);
    set_grid(q, 1, 0);
    q->learned[0] = 1;
    q->spec.kind->refresh(q);
    quantizer_backward(q, x, dy, dx, four);
    assert_reals_near(dx, wanted, 4, 0, 0);
    assert_near((double)q->grad[0], -7.9 / sqrt(4 * 7.0), 1e-6, 0);
    quantizer_zero_grad(q);
    assert_near((double)q->grad[0], 0, 0, 0);
    quantizer_free(q);
}

static void lsq_starts_from_the_mean_magnitude(void **state)
{
    struct quantizer *q = quantizer("lsq:3", 1);
    const real x[4] = {REAL(0.5), REAL(-1.5), 2, 0};
    struct err e;

    (void)state;
    assert_int_equal(quantizer_observe(q, x, four, &e), STATUS_OK);
    assert_near((double)q->scale[0], 2 * 1.0 / sqrt(3.0), 1e-6, 0);
    assert_near((double)q->learned[0], (double)q->scale[0], 0, 0);
    quantizer_free(q);
}

static void learned_ranges_are_not_moved_once_training_began(void **state)
{
    struct quantizer *q = quantizer("lsq:4,obs=minmax", 1);
    const real small[4] = {0, REAL(0.1), REAL(-0.1), REAL(0.2)};
    const real big[4] = {0, 10, -10, 20};
    struct err e;
    real step, y[4];

    (void)state;
    assert_int_equal(quantizer_enable_learn(q, true, &e), STATUS_OK);
    assert_int_equal(quantizer_observe(q, small, four, &e), STATUS_OK);
    step = q->scale[0];
    assert_int_equal(quantizer_observe(q, small + 1, (struct qview){1, 1, 1},
                                       &e), STATUS_OK);
    assert_near((double)q->scale[0], (double)step, 0, 0);
    quantizer_forward(q, small, y, four, true);
    assert_int_equal(quantizer_observe(q, big, four, &e), STATUS_OK);
    assert_near((double)q->scale[0], (double)step, 0, 0);
    assert_int_equal(quantizer_enable_learn(q, false, &e), STATUS_OK);
    assert_int_equal(quantizer_observe(q, big, four, &e), STATUS_OK);
    assert_true(q->scale[0] > step);
    quantizer_free(q);
}

static void calibration_sets_the_start_of_learned_ranges(void **state)
{
    struct quantizer *q = quantizer("lsq:4,obs=minmax", 1);
    const real small[4] = {0, REAL(0.1), REAL(-0.1), REAL(0.2)};
    const real big[4] = {0, 7, -8, 1};
    struct err e;

    (void)state;
    assert_int_equal(quantizer_enable_learn(q, true, &e), STATUS_OK);
    assert_int_equal(quantizer_observe(q, small, four, &e), STATUS_OK);
    assert_int_equal(quantizer_observe(q, big, four, &e), STATUS_OK);
    assert_near((double)q->learned[0], 1, 1e-6, 0);
    quantizer_free(q);
}

static void nothing_to_learn_is_reported(void **state)
{
    struct quantizer *q = quantizer("affine:4", 1);
    struct err e = {0};

    (void)state;
    assert_int_equal(quantizer_enable_learn(q, true, &e), STATUS_STATE);
    assert_non_null(strstr(e.text, "affine learns nothing"));
    assert_false(q->learn);
    quantizer_free(q);
}

static void data_that_is_not_finite_is_refused_with_counts(void **state)
{
    real x[4] = {0, 1, (real)NAN, (real)INFINITY};
    real lo, hi;
    struct err e;

    (void)state;
    for (int i = 0; i < observer_count; i++) {
        char text[64];
        struct quantizer *q;

        snprintf(text, sizeof text, "affine:8,obs=%s",
                 observer_table[i]->name);
        q = quantizer(text, 1);
        assert_int_equal(quantizer_observe(q, x, four, &e), STATUS_NUMERIC);
        assert_non_null(strstr(e.text, "1 NaN"));
        assert_false(q->ready);
        quantizer_free(q);
    }
    struct quantizer *q = quantizer("affine:8", 1);
    lo = 0;
    hi = (real)INFINITY;
    assert_int_equal(quantizer_set_range(q, &lo, &hi, 1, &e), STATUS_ARG);
    assert_false(q->ready);
    quantizer_free(q);
}

static void zero_data_gives_the_smallest_scale(void **state)
{
    const real x[4] = {0, 0, 0, 0};
    struct err e;

    (void)state;
    for (int r = 0; r < qparams_count; r++)
        for (int i = 0; i < observer_count; i++) {
            char text[96];
            struct quantizer *q;
            real y[4];

            if (qparams_table[r].real_zero)
                continue;
            snprintf(text, sizeof text, "affine:8,rule=%s,obs=%s",
                     qparams_table[r].name, observer_table[i]->name);
            q = quantizer(text, 1);
            assert_int_equal(quantizer_observe(q, x, four, &e), STATUS_OK);
            assert_true(q->scale[0] > 0 && isfinite(q->scale[0]));
            quantizer_forward(q, x, y, four, true);
            assert_reals_near(y, x, 4, 0, 0);
            quantizer_free(q);
        }
}

static void grids_outside_the_type_are_refused(void **state)
{
    struct quantizer *q = quantizer("affine:4,unsigned,asym", 1);
    const real scale = 1, bad_scale = 0, zero = 3;
    const real bad_zero[3] = {16, REAL(0.5), -1};
    struct err e;

    (void)state;
    for (int i = 0; i < 3; i++)
        assert_int_equal(quantizer_set_grid(q, &scale, &bad_zero[i], 1, &e),
                         STATUS_ARG);
    assert_int_equal(quantizer_set_grid(q, &bad_scale, &zero, 1, &e),
                     STATUS_ARG);
    assert_false(q->ready);
    assert_int_equal(quantizer_set_grid(q, &scale, &zero, 1, &e),
                     STATUS_OK);
    assert_true(q->ready);
    quantizer_free(q);
}

static void range_of_known_ends_equals_range_of_data(void **state)
{
    const real x[4] = {REAL(-0.5), REAL(0.25), 2, 1};
    const real lo = REAL(-0.5), hi = 2;
    struct err e = {0};

    (void)state;
    struct quantizer *a = quantizer("affine:4,unsigned,asym,obs=ema", 1);
    struct quantizer *b = quantizer("affine:4,unsigned,asym,obs=ema", 1);
    assert_int_equal(quantizer_observe(a, x, four, &e), STATUS_OK);
    assert_int_equal(quantizer_observe_minmax(b, &lo, &hi, &e), STATUS_OK);
    assert_memory_equal(a->scale, b->scale, sizeof(real));
    assert_memory_equal(a->zero_point, b->zero_point, sizeof(real));
    quantizer_free(a);
    quantizer_free(b);

    struct quantizer *m = quantizer("affine:4,obs=mse", 1);
    assert_int_equal(quantizer_observe_minmax(m, &lo, &hi, &e),
                     STATUS_STATE);
    quantizer_free(m);
}

/* Each channel has its own scale: max|x| / 7.5. */
static void channels_and_groups_have_scales_of_their_own(void **state)
{
    const real x[8] = {1, -2, 4, 0, 8, 1, REAL(0.5), -16};
    struct shape shape = shape_2(2, 4);
    struct err e;

    (void)state;
    struct quantizer *c = quantizer("affine:4,channel", 2);
    struct qview v = quantizer_view(c, &shape, 0);
    assert_int_equal(v.outer, 1);
    assert_int_equal(v.channels, 2);
    assert_int_equal(v.inner, 4);
    assert_int_equal(quantizer_observe(c, x, v, &e), STATUS_OK);
    assert_near((double)c->scale[0], 4 / 7.5, 1e-6, 0);
    assert_near((double)c->scale[1], 16 / 7.5, 1e-6, 0);
    quantizer_free(c);

    struct quantizer *g = quantizer("affine:4,group=2", 4);
    v = quantizer_view(g, &shape, 0);
    assert_int_equal(v.channels, 4);
    assert_int_equal(quantizer_observe(g, x, v, &e), STATUS_OK);
    assert_near((double)g->scale[0], 2 / 7.5, 1e-6, 0);
    assert_near((double)g->scale[3], 16 / 7.5, 1e-6, 0);
    quantizer_free(g);
}

static void wrong_channel_count_is_reported(void **state)
{
    struct quantizer *q = quantizer("affine:4,channel", 3);
    const real x[4] = {0, 1, 2, 3};
    struct err e = {0};

    (void)state;
    assert_int_equal(quantizer_observe(q, x, four, &e), STATUS_ARG);
    assert_non_null(strstr(e.text, "1 channels"));
    quantizer_free(q);
}

static void forward_without_a_range_takes_one_from_the_data(void **state)
{
    struct quantizer *q = quantizer("affine:8,unsigned,asym", 1);
    const real x[4] = {0, 51, 102, 255};
    real y[4];

    (void)state;
    quantizer_forward(q, x, y, four, false);
    assert_true(q->ready);
    assert_reals_near(y, x, 4, 0, 0);
    quantizer_free(q);
}

static void switched_off_quantizer_is_identity(void **state)
{
    struct quantizer *q = quantizer("affine:2", 1);
    const real x[4] = {REAL(0.1), REAL(0.2), 5, -7};
    real y[4];

    (void)state;
    set_grid(q, 1, 0);
    q->fake = false;
    quantizer_forward(q, x, y, four, true);
    assert_reals_near(y, x, 4, 0, 0);
    quantizer_backward(q, x, x, y, four);
    assert_reals_near(y, x, 4, 0, 0);
    quantizer_free(q);
}

/* Values beyond the codes, levels that nothing uses, the error's square. */
static void statistics_count_what_the_grid_does(void **state)
{
    struct quantizer *q = quantizer("affine:3", 1);
    const real x[4] = {REAL(0.25), 1, 10, -2};
    struct qstats s;

    (void)state;
    set_grid(q, 1, 0);
    quantizer_stats(q, x, four, &s);
    assert_int_equal(s.count, 4);
    assert_int_equal(s.clipped, 1);
    assert_int_equal(s.levels, 4);
    assert_int_equal(s.dead_levels, 4);
    assert_near(s.mse, (0.0625 + 49) / 4, 1e-6, 0);
    assert_near(s.max_error, 7, 1e-6, 0);
    assert_near(s.mean_error, -7.25 / 4, 1e-6, 0);
    assert_near(s.sqnr_db, 10 * log10((0.0625 + 1 + 100 + 4) / 49.0625),
                1e-6, 0);
    quantizer_free(q);
}

static void saved_quantizer_comes_back_bit_for_bit(void **state)
{
    static const char *const texts[] = {
        "affine:4,channel,obs=ema", "lsq:3,channel",
        "affine:8,unsigned,asym,obs=histogram,histogram.bins=64",
    };
    const real x[4] = {REAL(0.3), -1, REAL(2.7), REAL(0.01)};
    struct qview v = {1, 2, 2};

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct qspec s = spec(texts[i]);
        struct quantizer *q, *back;
        struct bag *b = bag_new();
        struct err e = {0};

        v.channels = s.grain == GRAIN_CHANNEL ? 2 : 1;
        v.inner = 4 / v.channels;
        q = quantizer(texts[i], v.channels);
        assert_int_equal(quantizer_observe(q, x, v, &e), STATUS_OK);
        q->observe = false;
        q->steps = 41;
        q->n_elem = 9;
        q->learn = q->n_learned > 0;
        if (quantizer_save(q, "q", b, &e) != STATUS_OK ||
            quantizer_load(b, "q", &back, &e) != STATUS_OK)
            fail_msg("%s", e.text);
        assert_true(qspec_equal(&q->spec, &back->spec));
        assert_int_equal(back->n_state, q->n_state);
        assert_memory_equal(back->state, q->state,
                            (size_t)q->n_state * sizeof(real));
        assert_true(back->ready && !back->observe && back->fake);
        assert_int_equal(back->learn, q->learn);
        assert_int_equal(back->steps, 41);
        assert_int_equal(back->n_elem, 9);
        quantizer_free(q);
        quantizer_free(back);
        bag_free(b);
    }
}

static void damaged_quantizer_states_are_refused(void **state)
{
    static const char *const texts[] = {
        "", "spec affine:4\n", "spec foo:4\nchannels 1\n",
        "spec affine:4\nchannels -1\nflags F\nnoise 1\nsteps 0\nelements 0\n",
        "spec affine:4\nchannels 999999999\nflags F\nnoise 1\nsteps 0\n"
        "elements 0\n",
        "spec affine:4\nchannels 1\nflags F\nnoise 7\nsteps 0\nelements 0\n",
        "spec affine:4\nchannels 1\nflags FR\nnoise 1\nsteps 0\nelements 0\n",
    };
    const real zeros[32] = {0};
    struct shape shape = shape_1(8);

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct bag *b = bag_new();
        struct quantizer *q;
        struct err e = {0};

        assert_int_equal(bag_put_text(b, "q", texts[i], &e), STATUS_OK);
        assert_int_equal(bag_put(b, "q.state", DTYPE_REAL, &shape, zeros,
                                 &e), STATUS_OK);
        assert_int_equal(quantizer_load(b, "q", &q, &e), STATUS_FORMAT);
        assert_null(q);
        bag_free(b);
    }
}

static void explanation_shows_the_formula_with_numbers(void **state)
{
    struct quantizer *q = quantizer("affine:4,unsigned,asym", 1);
    struct str out = {0};

    (void)state;
    set_grid(q, 0.5, 2);
    q->spec.kind->describe(q, REAL(9.0), &out);
    assert_non_null(strstr(str_text(&out), "s = 0.5, z = 2, codes 0 to 15"));
    assert_non_null(strstr(str_text(&out), "9 * 2 = 18"));
    assert_non_null(strstr(str_text(&out), "15 (20 before clamping)"));
    assert_non_null(strstr(str_text(&out), "= 6.5"));
    assert_non_null(strstr(str_text(&out), "dx = 0"));
    str_fini(&out);
    quantizer_free(q);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(spec_text_reads_back_as_it_was_written),
    cmocka_unit_test(every_kind_prints_a_text_that_reads_back),
    cmocka_unit_test(every_kind_follows_every_other),
    cmocka_unit_test(kind_takes_its_arithmetic_with_it),
    cmocka_unit_test(every_kind_survives_saving),
    cmocka_unit_test(every_qparams_rule_and_observer_can_be_named),
    cmocka_unit_test(bare_bits_keep_the_rest_of_the_base),
    cmocka_unit_test(wrong_spec_texts_say_what_is_wrong),
    cmocka_unit_test(codes_follow_bits_sign_and_range),
    cmocka_unit_test(each_rounding_rounds_as_its_name_says),
    cmocka_unit_test(zero_point_before_rounding_shows_on_ties),
    cmocka_unit_test(stochastic_rounding_keeps_the_mean),
    cmocka_unit_test(masked_gradient_stops_outside_the_codes),
    cmocka_unit_test(noise_factor_mixes_value_and_gradient),
    cmocka_unit_test(delayed_quantizer_passes_until_its_step),
    cmocka_unit_test(lsq_step_gradient_is_the_papers),
    cmocka_unit_test(lsq_starts_from_the_mean_magnitude),
    cmocka_unit_test(learned_ranges_are_not_moved_once_training_began),
    cmocka_unit_test(calibration_sets_the_start_of_learned_ranges),
    cmocka_unit_test(nothing_to_learn_is_reported),
    cmocka_unit_test(data_that_is_not_finite_is_refused_with_counts),
    cmocka_unit_test(zero_data_gives_the_smallest_scale),
    cmocka_unit_test(grids_outside_the_type_are_refused),
    cmocka_unit_test(range_of_known_ends_equals_range_of_data),
    cmocka_unit_test(channels_and_groups_have_scales_of_their_own),
    cmocka_unit_test(wrong_channel_count_is_reported),
    cmocka_unit_test(forward_without_a_range_takes_one_from_the_data),
    cmocka_unit_test(switched_off_quantizer_is_identity),
    cmocka_unit_test(statistics_count_what_the_grid_does),
    cmocka_unit_test(saved_quantizer_comes_back_bit_for_bit),
    cmocka_unit_test(damaged_quantizer_states_are_refused),
    cmocka_unit_test(explanation_shows_the_formula_with_numbers),
};

TEST_MAIN("quant", tests)

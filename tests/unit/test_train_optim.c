/* train/: optimisers against their formulas in double, one number at a time.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "common/test_main.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <omp.h>

#include "common/assert_near.h"
#include "train/optim.h"

#define STEPS 6
#define LARGE 200003

/* One parameter's memory: momentum or mean, mean square, largest square. */
struct memory {
    double m, v, top;
};

typedef double (*reference_fn)(const struct optim_hyper *h, int t, double w,
                               double g, struct memory *s);

/* torch.optim.SGD's loop body. */
static double sgd_reference(const struct optim_hyper *h, int t, double w,
                            double g, struct memory *s)
{
    g += h->weight_decay * w;
    if (h->momentum != 0) {
        s->m = t == 1 ? g : h->momentum * s->m + (1 - h->dampening) * g;
        g = h->nesterov ? g + h->momentum * s->m : s->m;
    }
    return w - h->lr * g;
}

static double adam_tail(const struct optim_hyper *h, int t, double w,
                        double g, struct memory *s)
{
    s->m = h->beta1 * s->m + (1 - h->beta1) * g;
    s->v = h->beta2 * s->v + (1 - h->beta2) * g * g;
    s->top = fmax(s->top, s->v);
    double second = (h->amsgrad ? s->top : s->v) / (1 - pow(h->beta2, t));
    double first = s->m / (1 - pow(h->beta1, t));
    return w - h->lr * first / (sqrt(second) + h->eps);
}

static double adam_reference(const struct optim_hyper *h, int t, double w,
                             double g, struct memory *s)
{
    return adam_tail(h, t, w, g + h->weight_decay * w, s);
}

static double adamw_reference(const struct optim_hyper *h, int t, double w,
                              double g, struct memory *s)
{
    return adam_tail(h, t, w - h->lr * h->weight_decay * w, g, s);
}

static double rmsprop_reference(const struct optim_hyper *h, int t, double w,
                                double g, struct memory *s)
{
    (void)t;
    g += h->weight_decay * w;
    s->v = h->alpha * s->v + (1 - h->alpha) * g * g;
    double move = g / (sqrt(s->v) + h->eps);
    if (h->momentum == 0)
        return w - h->lr * move;
    s->m = h->momentum * s->m + move;
    return w - h->lr * s->m;
}

/* Gradients shrink after the second step, so that the largest square and the
 * present one differ. */
static float gradient(int step, int i)
{
    float size = step < 2 ? 1.0f : 0.1f;
    return size * (float)sin(1.7 * step + 0.9 * i + 0.3);
}

static void check(const char *name, const struct optim_hyper *h,
                  reference_fn reference)
{
    enum { N = 37 };
    const struct optimizer_row *o = optimizer_find(name);
    assert_non_null(o);
    float w[N], g[N], block[OPTIM_MAX_SLOTS][N] = { { 0 } };
    float *slot[OPTIM_MAX_SLOTS] = { NULL };
    double want[N];
    struct memory memory[N];
    memset(memory, 0, sizeof memory);
    for (int k = 0; k < o->slots; k++)
        slot[k] = block[k];
    for (int i = 0; i < N; i++) {
        w[i] = (float)cos(i);
        want[i] = (double)w[i];
    }
    for (int t = 1; t <= STEPS; t++) {
        for (int i = 0; i < N; i++) {
            g[i] = gradient(t - 1, i);
            want[i] = reference(h, t, want[i], (double)g[i], &memory[i]);
        }
        o->step(h, t, N, w, g, slot);
        for (int i = 0; i < N; i++)
            assert_near((double)w[i], want[i], 2e-6, 1e-6);
    }
}

static void sgd_follows_its_formula(void **state)
{
    (void)state;
    check("sgd", &(struct optim_hyper){ .lr = 0.1 }, sgd_reference);
    check("sgd", &(struct optim_hyper){ .lr = 0.1, .weight_decay = 0.01 },
          sgd_reference);
    check("sgd", &(struct optim_hyper){ .lr = 0.1, .momentum = 0.9,
          .weight_decay = 0.01 }, sgd_reference);
    check("sgd", &(struct optim_hyper){ .lr = 0.1, .momentum = 0.9,
          .dampening = 0.3 }, sgd_reference);
    check("sgd", &(struct optim_hyper){ .lr = 0.1, .momentum = 0.8,
          .weight_decay = 0.02, .nesterov = true }, sgd_reference);
}

static void adam_and_adamw_follow_their_formulas(void **state)
{
    (void)state;
    struct optim_hyper h = {
        .lr = 0.01, .beta1 = 0.9, .beta2 = 0.99, .eps = 1e-8,
    };
    check("adam", &h, adam_reference);
    h.weight_decay = 0.1;
    check("adam", &h, adam_reference);
    check("adamw", &h, adamw_reference);
    h.amsgrad = true;
    check("adam", &h, adam_reference);
    check("adamw", &h, adamw_reference);
    h.beta1 = 0.3;
    h.eps = 0.1;
    check("adam", &h, adam_reference);
}

static void rmsprop_follows_its_formula(void **state)
{
    (void)state;
    struct optim_hyper h = { .lr = 0.01, .alpha = 0.9, .eps = 1e-8 };
    check("rmsprop", &h, rmsprop_reference);
    h.momentum = 0.7;
    h.weight_decay = 0.05;
    check("rmsprop", &h, rmsprop_reference);
}

/* Worked by hand: w 1, g 0.5, lr 0.1; first steps. */
static void first_steps_have_round_numbers(void **state)
{
    (void)state;
    float w = 1.0f, g = 0.5f, s[3] = { 0 };
    float *slot[] = { &s[0], &s[1], &s[2] };
    struct optim_hyper h = { .lr = 0.1, .momentum = 0.5 };
    optimizer_find("sgd")->step(&h, 1, 1, &w, &g, slot);
    assert_near((double)w, 0.95, 0, 1e-7);
    optimizer_find("sgd")->step(&h, 2, 1, &w, &g, slot);
    assert_near((double)w, 0.95 - 0.1 * 0.75, 0, 1e-7);
    /* Adam's first step is lr against the gradient's sign. */
    w = 1.0f;
    memset(s, 0, sizeof s);
    optimizer_find("adam")->defaults(&h);
    h.lr = 0.1;
    optimizer_find("adam")->step(&h, 1, 1, &w, &g, slot);
    assert_near((double)w, 0.9, 0, 1e-6);
}

static void *copy_of(const float *x, size_t n)
{
    float *c = malloc(n * sizeof *c);
    assert_non_null(c);
    memcpy(c, x, n * sizeof *c);
    return c;
}

/* Blocks larger than the parallel limit, cut where no chunk ends. */
static void threads_and_blocks_change_no_bit(void **state)
{
    (void)state;
    float *w = malloc(LARGE * sizeof *w), *g = malloc(LARGE * sizeof *g);
    float *s = calloc(3 * LARGE, sizeof *s);
    assert_true(w && g && s);
    for (int i = 0; i < LARGE; i++) {
        w[i] = (float)cos(0.01 * i);
        g[i] = (float)sin(0.03 * i);
    }
    int threads = omp_get_max_threads();
    for (int o = 0; o < optimizer_count; o++) {
        struct optim_hyper h;
        optimizer_table[o].defaults(&h);
        float *a = copy_of(w, LARGE), *b = copy_of(w, LARGE);
        float *sa = copy_of(s, 3 * LARGE), *sb = copy_of(s, 3 * LARGE);
        float *all[] = { sa, sa + LARGE, sa + 2 * LARGE };
        omp_set_num_threads(4);
        optimizer_table[o].step(&h, 1, LARGE, a, g, all);
        omp_set_num_threads(1);
        for (int at = 0, n = 777; at < LARGE; at += n) {
            n = LARGE - at < n ? LARGE - at : n;
            float *part[] = { sb + at, sb + LARGE + at, sb + 2 * LARGE + at };
            optimizer_table[o].step(&h, 1, n, b + at, g + at, part);
        }
        assert_memory_equal(a, b, LARGE * sizeof *a);
        assert_memory_equal(sa, sb, 3 * LARGE * sizeof *sa);
        free(a);
        free(b);
        free(sa);
        free(sb);
    }
    omp_set_num_threads(4);
    double many = optim_square_sum(g, LARGE);
    omp_set_num_threads(1);
    assert_true(many == optim_square_sum(g, LARGE));
    omp_set_num_threads(threads);
    free(w);
    free(g);
    free(s);
}

static void square_sums_show_what_is_not_finite(void **state)
{
    (void)state;
    float g[1001];
    double want = 0;
    for (int i = 0; i < 1001; i++) {
        g[i] = (float)(i % 7) - 3.0f;
        want += (double)g[i] * (double)g[i];
    }
    assert_near(optim_square_sum(g, 1001), want, 1e-12, 0);
    g[3] = 3e38f;
    assert_true(isfinite(optim_square_sum(g, 1001)));
    g[1000] = INFINITY;
    assert_true(isinf(optim_square_sum(g, 1001)));
    g[17] = NAN;
    assert_true(isnan(optim_square_sum(g, 1001)));
    assert_near(optim_square_sum(g, 0), 0, 0, 0);
    float x[] = { 1, -2, 4 };
    optim_scale(x, 3, 0.5f);
    assert_floats_near(x, ((float[]){ 0.5f, -1, 2 }), 3, 0, 0);
}

static void every_row_is_found_and_has_defaults(void **state)
{
    (void)state;
    for (int i = 0; i < optimizer_count; i++) {
        const struct optimizer_row *o = &optimizer_table[i];
        struct optim_hyper h;
        o->defaults(&h);
        assert_true(h.lr > 0);
        assert_true(o->slots <= OPTIM_MAX_SLOTS);
        assert_ptr_equal(optimizer_find(o->name), o);
    }
    assert_null(optimizer_find("nosuch"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sgd_follows_its_formula),
        cmocka_unit_test(adam_and_adamw_follow_their_formulas),
        cmocka_unit_test(rmsprop_follows_its_formula),
        cmocka_unit_test(first_steps_have_round_numbers),
        cmocka_unit_test(threads_and_blocks_change_no_bit),
        cmocka_unit_test(square_sums_show_what_is_not_finite),
        cmocka_unit_test(every_row_is_found_and_has_defaults),
    };
    gsl_set_error_handler_off();
    return cmocka_run_group_tests_name("train optimisers", tests, NULL, NULL);
}

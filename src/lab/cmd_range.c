/* Commands: range, reset. SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "lab/point_list.h"
#include "lab/state.h"

#define ROWS_MAX 4            /* observer_param of a qspec */

/* ---- how a range is asked for ---- */

enum range_way { RANGE_FIXED, RANGE_OBSERVER, RANGE_KIND };

struct range_ask {
    enum range_way way;
    double lo, hi;
    const struct observer_kind *observer;
    double param[ROWS_MAX];
    const struct quantizer_kind *kind;
    const struct arg *arg;
};

static int row_count(const struct qrow *row)
{
    int n = 0;
    while (row && row[n].name)
        n++;
    return n;
}

static enum status read_param(const struct args *a, const struct arg *x,
                              const struct observer_kind *k, int position,
                              struct range_ask *q, struct err *e)
{
    const char *equals = strchr(x->text, '=');
    const char *value = equals ? equals + 1 : x->text;
    int i = equals ? -1 : position, n = row_count(k->param);
    for (int r = 0; equals && r < n; r++)
        if (strlen(k->param[r].name) == (size_t)(equals - x->text) &&
            strncmp(k->param[r].name, x->text,
                    (size_t)(equals - x->text)) == 0)
            i = r;
    if (i < 0 || i >= n || i >= ROWS_MAX)
        return args_fail(a, x, e, "observer %s does not take '%.60s'",
                         k->name, x->text);
    struct err why = { 0 };
    if (number_parse(value, &q->param[i], &why))
        return args_fail(a, x, e, "%s: %s", k->param[i].name, why.text);
    if (!(q->param[i] >= k->param[i].lo && q->param[i] <= k->param[i].hi))
        return args_fail(a, x, e, "%s of %s is from %s to %s, not %s",
                         k->param[i].name, k->name,
                         num_text(k->param[i].lo).s,
                         num_text(k->param[i].hi).s, value);
    return STATUS_OK;
}

static enum status ask_observer(const struct args *a,
                                const struct observer_kind *k,
                                struct range_ask *q, struct err *e)
{
    q->way = RANGE_OBSERVER;
    q->observer = k;
    for (int i = 0; i < row_count(k->param) && i < ROWS_MAX; i++)
        q->param[i] = k->param[i].def;
    for (int i = 1; i < args_count(a, "words"); i++)
        TRY(read_param(a, args_nth(a, "words", i), k, i - 1, q, e));
    return STATUS_OK;
}

static enum status ask_fixed(const struct args *a, struct range_ask *q,
                             struct err *e)
{
    const struct arg *hi = args_nth(a, "words", 1);
    const struct arg *more = args_nth(a, "words", 2);
    struct err why = { 0 };
    q->way = RANGE_FIXED;
    if (!hi)
        return args_fail(a, q->arg, e, "a range has two ends: range SEL LO "
                                       "HI");
    if (number_parse(hi->text, &q->hi, &why))
        return args_fail(a, hi, e, "the upper end: %s", why.text);
    if (more)
        return args_fail(a, more, e, "a range has two ends, not a third "
                                     "'%.60s'", more->text);
    if (!(q->lo < q->hi) || !isfinite(q->lo) || !isfinite(q->hi))
        return args_fail(a, hi, e, "the lower end %s is not below the upper "
                                   "%s", num_text(q->lo).s,
                         num_text(q->hi).s);
    return STATUS_OK;
}

static const char *way_name(const void *ctx, int i)
{
    (void)ctx;
    return i < observer_count ? observer_table[i]->name
                              : quantizer_table[i - observer_count]->name;
}

static enum status read_ask(const struct args *a, struct range_ask *q,
                            struct err *e)
{
    const struct arg *x = args_nth(a, "words", 0);
    *q = (struct range_ask){ .arg = x };
    if (number_parse(x->text, &q->lo, NULL) == STATUS_OK)
        return ask_fixed(a, q, e);
    const struct observer_kind *o = observer_kind_find(x->text);
    if (o)
        return ask_observer(a, o, q, e);
    q->kind = quantizer_kind_find(x->text);
    q->way = RANGE_KIND;
    if (q->kind && args_count(a, "words") > 1)
        return args_fail(a, args_nth(a, "words", 1), e,
                         "%s takes nothing here; its settings go with `bits "
                         "SEL w=%s:4,..`", x->text, x->text);
    if (q->kind)
        return STATUS_OK;
    const char *near = str_nearest(x->text, observer_count + quantizer_count,
                                   way_name, NULL);
    if (near)
        return args_fail(a, x, e, "no way to find a range named '%.60s' "
                                  "(did you mean '%s'?)", x->text, near);
    struct str all = { 0 };
    for (int i = 0; i < observer_count; i++)
        str_printf(&all, " %s", observer_table[i]->name);
    args_fail(a, x, e, "no way to find a range named '%.60s'; two numbers, "
                       "a kind that learns, or one of%s", x->text,
              str_text(&all));
    str_fini(&all);
    return STATUS_ARG;
}

/* ---- doing it ---- */

/* A grid without a zero point that is to go on from a range with negative
 * values has to be signed: unsigned, it would cut all of them to 0. */
static bool wants_sign(const struct qspec *s, const struct quantizer *old)
{
    bool below = false;
    for (int64_t c = 0; c < old->channels && old->ready; c++)
        below |= old->lo[c] < 0;
    return below && s->symmetric && !s->is_signed;
}

static enum status kind_spec(const struct range_ask *q,
                             const struct quantizer *old, struct qspec *out,
                             struct err *e)
{
    char text[64];
    snprintf(text, sizeof text, "%s:%d", q->kind->name, old->spec.bits);
    TRY(qspec_parse(text, &old->spec, out, e));
    struct qspec with_sign = *out;
    with_sign.is_signed = true;
    if (wants_sign(out, old) && qspec_check(&with_sign, NULL) == STATUS_OK)
        *out = with_sign;                /* kinds that clip at 0 stay so */
    return STATUS_OK;
}

static enum status new_spec(const struct range_ask *q,
                            const struct quantizer *old, struct qspec *out,
                            struct err *e)
{
    *out = old->spec;
    if (q->way == RANGE_KIND)
        return kind_spec(q, old, out, e);
    const struct observer_kind *o =
        q->way == RANGE_OBSERVER ? q->observer : observer_kind_find("fixed");
    out->observer = o;
    for (int i = 0; i < ROWS_MAX; i++)
        out->observer_param[i] = q->way == RANGE_OBSERVER ? q->param[i] : 0;
    if (q->way == RANGE_FIXED) {
        out->observer_param[0] = q->lo;
        out->observer_param[1] = q->hi;
    }
    return qspec_check(out, e);
}

/* A kind that learns starts from the range at hand. */
static enum status keep_range(struct quantizer *q, const real *lo,
                              const real *hi, int64_t n, struct err *e)
{
    return n == q->channels ? quantizer_set_range(q, lo, hi, n, e)
                            : STATUS_OK;
}

static enum status range_point(struct lab *l, int point,
                               const struct range_ask *q, struct err *e)
{
    struct quantizer *old = l->graph->point[point].q;
    struct qspec spec;
    int64_t n = old->ready ? old->channels : 0;
    size_t bytes = (size_t)(n + 1) * sizeof(real);
    real *lo = xmalloc(bytes), *hi = xmalloc(bytes);
    memcpy(lo, old->lo, (size_t)n * sizeof *lo);
    memcpy(hi, old->hi, (size_t)n * sizeof *hi);
    enum status s = new_spec(q, old, &spec, e);
    if (!s)
        s = point_set(l->graph, point, &spec, e);
    struct quantizer *now = l->graph->point[point].q;
    if (!s && q->way == RANGE_KIND && n > 0)
        s = keep_range(now, lo, hi, n, e);
    if (!s && q->way == RANGE_FIXED) {
        real a = (real)q->lo, b = (real)q->hi;
        s = quantizer_set_range(now, &a, &b, 1, e);
    }
    free(lo);
    free(hi);
    return s ? err_wrap(e, s, "%s", l->graph->point[point].name) : STATUS_OK;
}

static enum status exec_range(struct lab *l, const struct args *a,
                              struct out *out, struct err *e)
{
    struct point_list p;
    struct range_ask q;
    TRY(read_ask(a, &q, e));
    TRY(points_of(l, a, "points", &p, e));
    lab_changed_quant(l);
    enum status s = STATUS_OK;
    for (int i = 0; i < p.n && !s; i++)
        s = range_point(l, p.point[i], &q, e);
    if (s) {
        args_blame(a, q.arg, 0, s);
    } else {
        struct str text = { 0 };
        point_list_print(l, &p, &text);
        if (q.way == RANGE_FIXED)
            str_printf(&text, "  range [%s, %s]", num_text(q.lo).s,
                       num_text(q.hi).s);
        else
            str_printf(&text, "  range by %s", q.arg->text);
        out_printf(out, OUT_RESULT, "%s", str_text(&text));
        answer_points(l, &p);
        str_fini(&text);
    }
    point_list_fini(&p);
    return s;
}

/* ---- reset ---- */

static enum status reset_range(struct lab *l, const struct point_list *p,
                               struct err *e)
{
    for (int i = 0; i < p->n; i++) {
        struct qspec spec = l->graph->point[p->point[i]].q->spec;
        TRY(point_set(l->graph, p->point[i], &spec, e));
        l->graph->point[p->point[i]].q->stale = false;
    }
    return STATUS_OK;
}

static enum status reset_bits(struct lab *l, const struct point_list *p,
                              struct err *e)
{
    for (int i = 0; i < p->n; i++)
        TRY(point_set(l->graph, p->point[i], NULL, e));
    return STATUS_OK;
}

static enum status exec_reset(struct lab *l, const struct args *a,
                              struct out *out, struct err *e)
{
    struct point_list p;
    bool bits = strcmp(args_text(a, "what"), "bits") == 0;
    TRY(points_of(l, a, "points", &p, e));
    struct str text = { 0 };
    point_list_print(l, &p, &text);
    lab_changed_quant(l);
    enum status s = bits ? reset_bits(l, &p, e) : reset_range(l, &p, e);
    if (!s) {
        out_printf(out, OUT_RESULT, "%s  %s", str_text(&text),
                   bits ? "float again" : "range forgotten");
        answer_points(l, &p);
    }
    str_fini(&text);
    point_list_fini(&p);
    return s;
}

static const struct arg_row range_args[] = {
    { .name = "points", .kind = ARG_SELECTOR, .required = true,
      .help = "which points: conv1.w, *.out; a layer means all of its" },
    { .name = "words", .kind = ARG_REST, .required = true, .many = true,
      .help = "LO HI, or an observer and its numbers, or a kind that "
              "learns" },
    { 0 },
};

const struct cmd cmd_range = {
    .name = "range", .group = "precision",
    .help = "say how the range of a quantizer is found",
    .detail =
        "Two numbers fix the range. The name of an observer (minmax, ema, "
        "percentile, mse ..: `show observers`) chooses how data set it, with "
        "its numbers in order or by name: ema 0.01, percentile p=99.9. The "
        "range at hand is then forgotten; `calibrate` or training finds a "
        "new one.\n\n"
        "The name of a kind that learns (lsq ..: `show quantizers`) changes "
        "the kind; learning starts from the range at hand and is on at "
        "once.",
    .arg = range_args, .flags = NEEDS_MODEL | NEEDS_QUANT | CMD_CHANGES,
    .example_setup = "load model lenet5; bits * w4a8",
    .example = "range *.out ema 0.01", .exec = exec_range,
};

static const struct arg_row reset_args[] = {
    { .name = "points", .kind = ARG_SELECTOR, .required = true,
      .help = "which points" },
    { .name = "what", .kind = ARG_CHOICE, .required = true,
      .choices = "range|bits", .help = "what to take back" },
    { 0 },
};

const struct cmd cmd_reset = {
    .name = "reset", .group = "precision",
    .help = "forget ranges, or take quantizers away",
    .detail = "reset SEL range makes observers begin anew; reset SEL bits is "
              "`bits SEL off`.",
    .arg = reset_args, .flags = NEEDS_MODEL | NEEDS_QUANT | CMD_CHANGES,
    .example_setup = "load model lenet5; bits * w4a8",
    .example = "reset *.out range", .exec = exec_reset,
};

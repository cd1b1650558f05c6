/* Diagnosis. SPDX-License-Identifier: GPL-3.0-or-later */
#include "lab/diagnose.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <omp.h>

#include "base/arena.h"
#include "base/cpu.h"
#include "lab/json_text.h"
#include "lab/layer_stats.h"
#include "lab/state.h"

#define NAMES_MAX 5
#define NO_GRAD_SHARE 0.95    /* of the weights */
#define OSC_SHARE 0.25        /* of the weights, */
#define OSC_LEVELS 16         /* where a step is coarse enough to matter */
#define DRIFT_SHARE 1         /* of the range's width, in an epoch */
#define GUESS 1.5             /* times 1 / classes: no better than guessing */
#define YOUNG_EPOCHS 3
#define WINDOW_LEAST 0.5      /* of an epoch, to speak of what it moved */
#define BUSY_SECONDS 2        /* of training in the last epoch, at least */
#define BUSY_RATE 50          /* preemptions a second */

/* How good the last result was. A net whose accuracy has gone is searched for
 * the reason, by what would be harmless elsewhere: two bits on the range of
 * all values give 97% zeros and half the signal, and 85% become 13%. */
static const struct grade {
    bool bad;                 /* worth a pass over a batch */
    double dead;              /* share of one code: hardly anything passes */
    double lost;              /* power of the error, of the signal's */
    double blocked;           /* of the gradient; LSQ with 2 bits: half */
} grade_table[] = {
    [GRADE_GOOD] = { .blocked = 0.75 },
    [GRADE_UNKNOWN] = { true, .dead = 0.99, .lost = 0.9, .blocked = 0.75 },
    [GRADE_BAD] = { true, .dead = 0.99, .lost = 0.9, .blocked = 0.75 },
    [GRADE_COLLAPSED] = { true, .dead = 0.95, .lost = 1.0 / 3,
                          .blocked = 0.5 },
};

struct look {
    struct lab *lab;
    const struct grade *grade;
    struct point_stats *stats;          /* by point, when they were needed */
};

/* ---- gathering names ---- */

struct names {
    struct str *out;
    int n;
};

static void names_add(struct names *s, const char *name)
{
    if (s->n < NAMES_MAX) {
        str_add(s->out, s->n ? " " : "");
        str_add_clean(s->out, name);
    } else if (s->n == NAMES_MAX) {
        str_add(s->out, " ...");
    }
    s->n++;
}

/* Names of the points for which the test holds. */
static bool points_where(struct look *k, struct finding *out,
                         bool (*test)(const struct quantizer *q))
{
    const struct graph *g = k->lab->graph;
    struct names s = { .out = &out->where };
    for (int i = 0; i < g->n_point; i++)
        if (g->point[i].q && test(g->point[i].q))
            names_add(&s, g->point[i].name);
    return s.n > 0;
}

/* ---- rows of states ---- */

static bool fake_off(const struct quantizer *q)
{
    return q->observe && !q->fake;
}

static bool holds_fake_off(struct look *k, struct finding *out)
{
    return points_where(k, out, fake_off);
}

static bool stale(const struct quantizer *q)
{
    return q->stale && !q->observe && q->fake && !q->learn;
}

static bool holds_stale(struct look *k, struct finding *out)
{
    return points_where(k, out, stale);
}

static bool holds_bn_live(struct look *k, struct finding *out)
{
    const struct graph *g = k->lab->graph;
    struct names s = { .out = &out->where };
    int fixed = 0, live = 0;
    for (int i = 0; i < g->n_point; i++) {
        const struct point *pt = &g->point[i];
        if (!pt->q || !pt->q->fake || pt->kind != POINT_OUT || pt->q->learn)
            continue;
        fixed += !pt->q->observe;
        live += pt->q->observe;
    }
    for (int i = 0; i < g->n_node; i++) {
        const struct node *n = &g->node[i];
        if (n->op->flags & OP_BATCH_NORM && !n->bn_frozen && !n->bn_folded)
            names_add(&s, n->name);
    }
    return fixed > 0 && live == 0 && s.n > 0;
}

static bool observing(const struct quantizer *q)
{
    return q->observe;
}

static bool holds_elsewhere(struct look *k, struct finding *out)
{
    const struct lab *l = k->lab;
    bool other = l->observed && l->origin.data &&
                 strcmp(l->observed, l->origin.data) != 0;
    return other && points_where(k, out, observing);
}

static bool holds_threads(struct look *k, struct finding *out)
{
    int threads = omp_get_max_threads(), cores = cpu_get()->cores;
    (void)k;
    str_printf(&out->where, "%d threads, processors for %d", threads, cores);
    return threads > cores;
}

/* An idle machine takes a thread off its processor a few times a second; one
 * with another program at work, every few milliseconds. Where times are not
 * to show, nor is this. */
static bool holds_busy(struct look *k, struct finding *out)
{
    const struct epoch_sums *s = &k->lab->last_epoch;
    double rate = s->preempted / s->seconds;
    str_printf(&out->where, "interrupted %.0f times a second", rate);
    return !k->lab->opts.deterministic && s->seconds > BUSY_SECONDS &&
           rate > BUSY_RATE;
}

/* ---- rows of motion ---- */

static bool window_is_long(const struct lab *l)
{
    return l->trainer && (double)motion_batches(l) >=
                             WINDOW_LEAST *
                                 (double)trainer_batches(l->trainer);
}

/* No code moved of all that could. */
static bool holds_no_flips(struct look *k, struct finding *out)
{
    const struct lab *l = k->lab;
    int still = 0, moving = 0;
    if (!window_is_long(l))
        return false;
    for (int i = 0; i < l->graph->n_point; i++) {
        const struct point *pt = &l->graph->point[i];
        struct motion m;
        trainer_motion(l->trainer, i, &m);
        if (m.codes == 0 || node_weight(l->graph, pt->node)->frozen)
            continue;
        still += m.flips == 0;
        moving += m.flips > 0;
    }
    str_printf(&out->where, "lr %s", num_text(l->train.hyper.lr).s);
    return still > 0 && moving == 0;
}

/* ---- rows of measured points ---- */

struct measure {
    /* How bad a point is; NaN: it is not. */
    double (*value)(struct look *k, int point);
    const char *before, *after;         /* the share, in words */
};

/* The next worst; -1: none is left. Its value is used up. */
static int next_worst(double *v, int n, double *value)
{
    int worst = -1;
    for (int i = 0; i < n; i++)
        if (!isnan(v[i]) && (worst < 0 || v[i] > v[worst]))
            worst = i;
    *value = worst < 0 ? (double)NAN : v[worst];
    if (worst >= 0)
        v[worst] = (double)NAN;
    return worst;
}

static void also_add(const char *name, double v, int n, struct finding *out)
{
    if (n >= NAMES_MAX) {
        str_add(&out->fact, n == NAMES_MAX ? " ..." : "");
        return;
    }
    str_add(&out->fact, n == 1 ? " (also " : ", ");
    str_add_clean(&out->fact, name);
    str_printf(&out->fact, " %s", num_percent(v).s);
}

/* The worst point, its share, and which others there are. */
static bool measured(struct look *k, struct finding *out,
                     const struct measure *m)
{
    const struct graph *g = k->lab->graph;
    double value, *v = xmalloc((size_t)(g->n_point + 1) * sizeof *v);
    int n = 0;
    for (int i = 0; i < g->n_point; i++)
        v[i] = g->point[i].q ? m->value(k, i) : (double)NAN;
    for (int i; (i = next_worst(v, g->n_point, &value)) >= 0; n++) {
        const char *name = g->point[i].name;
        str_printf(&out->all, "%s\n", name);
        if (n > 0) {
            also_add(name, value, n, out);
            continue;
        }
        str_add_clean(&out->where, name);
        str_printf(&out->fact, "%s%s%s", m->before, num_percent(value).s,
                   m->after);
    }
    str_add(&out->fact, n > 1 ? ")" : "");
    free(v);
    return n > 0;
}

static double above(double v, double least)
{
    return v > least ? v : (double)NAN;
}

static double motion_value(struct look *k, int point, struct motion *m)
{
    if (!window_is_long(k->lab))
        return (double)NAN;
    trainer_motion(k->lab->trainer, point, m);
    return 1;
}

/* On a fine grid codes always move to and fro: with 8 bits most do. */
static double osc_value(struct look *k, int point)
{
    const struct quantizer *q = k->lab->graph->point[point].q;
    struct motion m;
    if (q->hi_code - q->lo_code >= OSC_LEVELS ||
        isnan(motion_value(k, point, &m)))
        return (double)NAN;
    return above(m.oscillating, OSC_SHARE);
}

static bool holds_osc(struct look *k, struct finding *out)
{
    static const struct measure m = { osc_value, "", " of its codes turn back "
                                                     "and forth" };
    return measured(k, out, &m);
}

static double drift_value(struct look *k, int point)
{
    struct motion m;
    if (isnan(motion_value(k, point, &m)))
        return (double)NAN;
    return above(m.drift, DRIFT_SHARE);
}

static bool holds_drift(struct look *k, struct finding *out)
{
    static const struct measure m = { drift_value, "moved by ",
                                      " of its width in the last epoch" };
    return measured(k, out, &m);
}

/* All points are measured once a look: weights always, what needs a pass over
 * a batch after a bad result. */
static const struct point_stats *survey(struct look *k, int point)
{
    struct lab *l = k->lab;
    unsigned needs = k->grade->bad ? NEED_OUT | NEED_GRAD : 0;
    int n = l->graph->n_point;
    if (!k->stats) {
        k->stats = xmalloc((size_t)(n + 1) * sizeof *k->stats);
        for (int i = 0; i < n; i++)
            point_stats_get(l, i, needs, &k->stats[i]);
    }
    return &k->stats[point];
}

static bool fakes(const struct look *k, int point)
{
    return k->lab->graph->point[point].q->fake;
}

static double zero_value(struct look *k, int point)
{
    const struct graph *g = k->lab->graph;
    const struct point_stats *st = survey(k, point);
    const struct param *w = node_weight(g, g->point[point].node);
    if (!fakes(k, point) || !(st->zero > 0))
        return (double)NAN;
    return st->zero / (double)w->shape.dim[0];
}

static bool holds_zero_channel(struct look *k, struct finding *out)
{
    static const struct measure m = { zero_value, "", " of its channels have "
                                                      "no weight but 0" };
    return measured(k, out, &m);
}

static double dead_value(struct look *k, int point)
{
    bool is_out = k->lab->graph->point[point].kind == POINT_OUT;
    if (!is_out || !k->grade->bad || !fakes(k, point))
        return (double)NAN;
    return above(survey(k, point)->one, k->grade->dead);
}

static bool holds_dead_layer(struct look *k, struct finding *out)
{
    static const struct measure m = { dead_value, "", " of its codes are one "
                                                      "value" };
    return measured(k, out, &m);
}

/* Grids whose step is found from a range: others map values by a function of
 * their own (DoReFa), so that the difference is no error. */
static double lost_value(struct look *k, int point)
{
    unsigned flags =
        k->lab->graph->point[point].q->spec.kind->flags &
        (QK_UNIFORM | QK_OWN_SCALE);
    if (!k->grade->bad || !fakes(k, point) || flags != QK_UNIFORM)
        return (double)NAN;
    return above(pow(10, -0.1 * survey(k, point)->sqnr), k->grade->lost);
}

static bool holds_lost(struct look *k, struct finding *out)
{
    static const struct measure m = { lost_value, "its error is ",
                                      " of the signal's power" };
    return measured(k, out, &m);
}

static double blocked_value(struct look *k, int point)
{
    if (!fakes(k, point))
        return (double)NAN;
    return above(survey(k, point)->blocked, k->grade->blocked);
}

static bool holds_blocked(struct look *k, struct finding *out)
{
    static const struct measure m = { blocked_value, "", " of its gradient is "
                                                         "blocked" };
    return measured(k, out, &m);
}

static double no_grad_value(struct look *k, int point)
{
    return above(survey(k, point)->no_grad, NO_GRAD_SHARE);
}

static bool holds_no_grad(struct look *k, struct finding *out)
{
    static const struct measure m = { no_grad_value, "", " of its weights get "
                                                         "no gradient" };
    return measured(k, out, &m);
}

/* ---- telling ---- */

static void finding_fini(struct finding *f)
{
    str_fini(&f->where);
    str_fini(&f->fact);
    str_fini(&f->all);
}

static void print_row(const struct diagnosis *d, struct finding *f,
                      struct str *out)
{
    if (f->fact.len)
        str_printf(out, "warning: %s: %s: %s; %s", str_text(&f->where),
                   d->name, str_text(&f->fact), d->help);
    else
        str_printf(out, "warning: %s: %s (%s)", d->name, d->help,
                   str_text(&f->where));
}

static void tell(struct lab *l, const struct diagnosis *d, struct finding *f)
{
    struct str line = { 0 }, s = { 0 };
    print_row(d, f, &line);
    out_printf(l->out, OUT_WARN, "%s", str_text(&line));
    json_text(&s, "name", d->name);
    json_text(&s, "msg", d->help);
    json_text(&s, "where", str_text(&f->where));
    if (f->fact.len)
        json_text(&s, "fact", str_text(&f->fact));
    stream_event(l, "warn", str_text(&s));
    str_fini(&line);
    str_fini(&s);
}

/* The worst point of a measured row was not among those that were told. */
static bool is_news(const struct lab *l, int row, struct finding *f)
{
    const char *told = l->told[row];
    size_t n = strcspn(str_text(&f->all), "\n");
    for (const char *p = told; p && *p; p += strcspn(p, "\n") + 1)
        if (strncmp(p, str_text(&f->all), n + 1) == 0)
            return false;
    return n > 0;
}

static void remember(struct lab *l, int row, struct finding *f)
{
    l->warned |= 1u << row;
    free(l->told[row]);
    l->told[row] = xstrdup(str_text(&f->all));
}

/* Within a run of epochs a row is told once, even if it comes and goes. */
static void look_at(struct look *k, int row)
{
    struct lab *l = k->lab;
    const struct diagnosis *d = &diagnosis_table[row];
    struct finding f = { 0 };
    bool told = l->warned & 1u << row;
    bool holds = d->holds(k, &f);
    if (holds && (!told || (!l->goal.active && is_news(l, row, &f)))) {
        tell(l, d, &f);
        remember(l, row, &f);
    }
    if (!holds && !l->goal.active)
        l->warned &= ~(1u << row);
    finding_fini(&f);
}

static void look(struct lab *l, unsigned flags)
{
    struct look k = { .lab = l, .grade = &grade_table[l->grade] };
    for (int i = 0; l->graph && i < diagnosis_count; i++)
        if (diagnosis_table[i].flags & flags)
            look_at(&k, i);
    free(k.stats);
}

void diagnose_command(struct lab *l)
{
    look(l, DIAG_STATE);
}

void diagnose_epoch(struct lab *l)
{
    look(l, DIAG_STATE | DIAG_EPOCH);
}

void diagnose_settle(struct lab *l)
{
    struct look k = { .lab = l, .grade = &grade_table[l->grade] };
    for (int i = 0; l->graph && i < diagnosis_count; i++) {
        struct finding f = { 0 };
        if (l->warned & 1u << i && diagnosis_table[i].flags & DIAG_EPOCH &&
            !diagnosis_table[i].holds(&k, &f))
            l->warned &= ~(1u << i);
        finding_fini(&f);
    }
}

/* Against what was reached before: in float, or after any epoch. */
static double best_of(const struct lab *l, const char *series, bool least)
{
    double best = (double)NAN;
    int i = lab_series_find(l, series);
    struct series_view v = { 0 };
    if (i >= 0)
        v = lab_series(l, i);
    for (int k = 0; k < v.n; k++)
        if (isnan(best) || (least ? v.y[k] < best : v.y[k] > best))
            best = v.y[k];
    return best;
}

/* A net that has learned nothing yet may guess. */
static enum result_grade grade_acc(const struct lab *l, double acc,
                                   int64_t classes)
{
    double best = fmax(best_of(l, "val_acc", false), l->float_acc);
    double guess = GUESS / (double)classes;
    bool young = best < guess && lab_epoch(l) < YOUNG_EPOCHS;
    if (acc < 0.75 * best || (acc < guess && !young))
        return GRADE_COLLAPSED;
    if (acc < guess || acc < 0.9 * best)
        return GRADE_BAD;
    return isnan(best) ? GRADE_UNKNOWN : GRADE_GOOD;
}

static enum result_grade grade_loss(const struct lab *l, double loss)
{
    double best = best_of(l, "val_loss", true);
    return isnan(best)         ? GRADE_UNKNOWN
           : loss > 4 * best   ? GRADE_COLLAPSED
           : loss > 1.5 * best ? GRADE_BAD
                               : GRADE_GOOD;
}

void diagnose_result(struct lab *l, const struct diagnose_result *r)
{
    if (!lab_any_quant(l))
        return;
    l->grade = r->classes > 1 ? grade_acc(l, r->acc, r->classes)
                              : grade_loss(l, r->loss);
    look(l, DIAG_RESULT);
    l->graded = l->gen;
}

/* The grade holds as long as nothing was changed. */
static enum result_grade grade_now(const struct lab *l)
{
    bool same = l->graded.model == l->gen.model &&
                l->graded.quant == l->gen.quant;
    return same && l->grade != GRADE_GOOD ? l->grade : GRADE_UNKNOWN;
}

int diagnose_all(struct lab *l, struct str *out)
{
    struct look k = { .lab = l, .grade = &grade_table[grade_now(l)] };
    int n = 0;
    for (int i = 0; l->graph && i < diagnosis_count; i++) {
        struct finding f = { 0 };
        if (diagnosis_table[i].holds(&k, &f)) {
            print_row(&diagnosis_table[i], &f, out);
            str_char(out, '\n');
            n++;
        }
        finding_fini(&f);
    }
    free(k.stats);
    return n;
}

const struct diagnosis diagnosis_table[] = {
    { .name = "fake off", .flags = DIAG_STATE, .holds = holds_fake_off,
      .help = "observers watch while fake-quantization is off; `enable "
              "fake` trains with the grid, `disable observer` keeps the "
              "range" },
    { .name = "stale range", .flags = DIAG_STATE, .holds = holds_stale,
      .help = "the grid changed after its range was found, and the observer "
              "is off; `enable observer` and `calibrate` find a new one" },
    { .name = "batch norm live", .flags = DIAG_EPOCH, .holds = holds_bn_live,
      .help = "ranges are fixed but batch norm still moves what they were "
              "found for; `freeze bn`" },
    { .name = "other data", .flags = DIAG_STATE, .holds = holds_elsewhere,
      .help = "observers are on and will move to data other than what they "
              "learned from; `disable observer *`" },
    { .name = "threads", .flags = DIAG_STATE, .holds = holds_threads,
      .help = "threads that share a processor wait for each other; "
              "`set threads 0` takes as many as there are processors" },
    { .name = "busy machine", .flags = DIAG_EPOCH, .holds = holds_busy,
      .help = "other programs use the processors; fewer threads, or "
              "OMP_WAIT_POLICY=passive in the environment, lose less" },
    { .name = "nothing moves", .flags = DIAG_EPOCH, .holds = holds_no_flips,
      .help = "no weight code changed in the last epoch: the learning rate "
              "is too small for the grid" },
    { .name = "oscillation", .flags = DIAG_EPOCH, .holds = holds_osc,
      .help = "a lower learning rate settles them (`set train.schedule "
              "cosine`), `freeze weights` holds them; batch norm wants "
              "`calibrate bn` before evaluating" },
    { .name = "range drift", .flags = DIAG_EPOCH, .holds = holds_drift,
      .help = "ranges have not settled; a lower learning rate, `freeze bn`, "
              "or more epochs before `disable observer *`" },
    { .name = "zero channel", .flags = DIAG_RESULT,
      .holds = holds_zero_channel,
      .help = "more bits, a range per channel, or `range .. mse`" },
    { .name = "dead layer", .flags = DIAG_RESULT, .holds = holds_dead_layer,
      .help = "more bits, an error-minimising range (`range .. mse`), or a "
              "learned one (`range .. lsq`)" },
    { .name = "lost signal", .flags = DIAG_RESULT, .holds = holds_lost,
      .help = "too coarse a step, or too small a range; `range .. mse`, a "
              "learned one (`range .. lsq`), or more bits" },
    { .name = "blocked gradient", .flags = DIAG_RESULT,
      .holds = holds_blocked,
      .help = "its values lie outside the range; `calibrate`, widen it, or "
              "learn it" },
    { .name = "no gradient", .flags = DIAG_RESULT, .holds = holds_no_grad,
      .help = "what follows is dead or clipped: nothing trains here" },
};
static_assert(sizeof diagnosis_table / sizeof diagnosis_table[0] <=
                  DIAGNOSES, "struct lab keeps what was told of each row");
const int diagnosis_count =
    sizeof diagnosis_table / sizeof diagnosis_table[0];

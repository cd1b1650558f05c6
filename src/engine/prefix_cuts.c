/* Cuts: where a forward pass can begin, which values are alive there, and
 * which of these places are worth their memory.
 *
 * A buffer is alive at a cut when a step before it and a step behind it touch
 * it. That holds for whatever steps share: a value, its codes, the other way
 * round a block.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "engine/prefix_impl.h"

#include <math.h>

#include "quant/quantizer.h"

/* Work in bytes moved: so many operations take as long as one byte, and so
 * much a step takes anyway. */
#define FLOPS_PER_BYTE 16
#define STEP_BYTES 2000
#define LEVELS 128            /* in which the limit is counted */

/* ---- which values are alive ---- */

struct life {
    int first, last;          /* steps; an input is there before step 0 */
    int number;               /* by first use, from 1; 0: never used */
};

static void find_lives(const struct plan *p, struct life *life)
{
    int numbers = 0;
    for (int i = 0; i < p->n_input; i++) {
        int b = p->buf[p->value[p->input[i]].raw].root;
        life[b] = (struct life){-1, -1, ++numbers};
    }
    for (int i = 0; i < p->first_backward; i++) {
        const struct step *s = p->step[i];
        for (int k = 0; k < s->n_buf; k++) {
            struct life *l = &life[s->buf[k]];
            if (l->number == 0)
                *l = (struct life){i, i, ++numbers};
            l->last = i;
        }
    }
}

static bool is_alive(const struct plan *p, const struct life *l, int buffer,
                     int step)
{
    if (step == p->first_backward)
        return buffer == p->buf[p->output].root;
    return l->number > 0 && !p->buf[buffer].external && l->first < step &&
           l->last >= step;
}

/* ---- what they are ---- */

static struct value_grid grid_of_quantizer(const struct quantizer *q)
{
    struct affine a;
    struct value_grid g = {.on = false};
    if (!q || q->channels != 1 || !quantizer_get_affine(q, 0, &a) ||
        a.hi - a.lo > 255 || !isnormal(a.scale) || !(a.scale > 0))
        return g;
    g.scale = (float)a.scale;
    g.inv = 1.0f / g.scale;
    g.zero = (float)a.zero_point;
    g.lo = (float)a.lo;
    g.hi = (float)a.hi;
    g.on = isnormal(g.inv) && g.zero == rintf(g.zero) &&
           fabsf(g.zero) < 65536.0f;
    return g;
}

static const struct quantizer *fakes(const struct plan *p,
                                     const struct quantizer *q)
{
    return q && quant_fakes(p, q) ? q : NULL;
}

/* An operator whose value may be its input in the same memory. */
static bool may_alias(const struct plan *p, int node)
{
    unsigned keeps = OP_KEEPS_GRID | OP_TRAIN_ONLY;
    return (p->graph->node[node].op->flags & keeps) ||
           plan_bn_absorbed(p, node);
}

/* The quantizer whose grid the node's value may lie on before its own, by
 * those of its inputs. A guess: what does not fit is kept whole. */
static const struct quantizer *carried(const struct plan *p, int node,
                                       const struct quantizer *const *grid)
{
    const struct node *n = &p->graph->node[node];
    if (n->n_in == 0 ||
        (!(n->op->flags & OP_RECTIFIER) && !may_alias(p, node)))
        return NULL;
    const struct quantizer *q = fakes(p, p->value[node].q_in);
    return q ? q : grid[n->in[0]];
}

/* What buffers hold, by their index. */
struct content {
    enum value_role role;
    int node;
    bool rounded;
    struct value_grid grid;
};

/* A buffer of several nodes' values has no name, unless they are the same. */
static void name(const struct plan *p, struct content *of, int buffer,
                 const struct content *is)
{
    if (buffer < 0)
        return;
    struct content *to = &of[p->buf[buffer].root];
    if (to->role == ROLE_OTHER && to->node < 0)
        *to = *is;
    else if (to->node != is->node && !may_alias(p, is->node))
        to->role = ROLE_OTHER;
}

static void name_value(const struct plan *p, struct content *of, int node,
                       const struct quantizer *before,
                       const struct quantizer *after)
{
    const struct value *v = &p->value[node];
    struct content c = {ROLE_OUT, node, fakes(p, v->q) != NULL,
                        grid_of_quantizer(after)};
    name(p, of, v->out, &c);
    c.role = ROLE_CODE;
    name(p, of, v->code, &c);
    c = (struct content){ROLE_RAW, node, false, grid_of_quantizer(before)};
    name(p, of, v->raw, &c);
    c = (struct content){ROLE_VIEW, node, fakes(p, v->q_in) != NULL,
                         grid_of_quantizer(fakes(p, v->q_in))};
    name(p, of, v->view, &c);
    c.role = ROLE_VIEW_CODE;
    name(p, of, v->view_code, &c);
}

static enum status name_values(const struct plan *p, struct content *of,
                               struct err *e)
{
    int n = p->graph->n_node;
    const struct quantizer **grid = mem_alloc((size_t)n, sizeof *grid);
    if (!grid)
        return err_memory(e, "cuts");
    for (int i = 0; i < p->n_buf; i++)
        of[i].node = -1;
    for (int i = 0; i < n; i++) {
        const struct quantizer *before = carried(p, i, grid);
        const struct quantizer *q = fakes(p, p->value[i].q);
        grid[i] = q ? q : before;
        name_value(p, of, i, before, grid[i]);
    }
    mem_free(grid);
    return STATUS_OK;
}

/* ---- cuts ---- */

static double stored_bytes(const struct plan *p, const struct live_value *v)
{
    const struct buffer *b = &p->buf[v->buffer];
    return v->grid.on ? (double)shape_count(&b->shape) : (double)b->bytes;
}

/* Read and written when the cut's values are kept, or put back. */
static double moved_bytes(const struct plan *p, const struct cut *c)
{
    double sum = 0;
    for (int i = 0; i < c->n_live; i++)
        sum += stored_bytes(p, &c->live[i]) +
               (double)p->buf[c->live[i].buffer].bytes;
    return sum;
}

static double step_work(const struct step *s)
{
    return s->bytes + s->flops / FLOPS_PER_BYTE + STEP_BYTES;
}

struct survey {
    const struct plan *p;
    struct prefix_cuts *c;
    struct life *life;
    struct content *content;
    int *order;               /* buffers by their number */
    int *touched;             /* by buffer: unit so far; -1: none */
    int *id;                  /* by buffer: of its value as last seen */
    int n_used;
};

static void fill_value(struct survey *s, int b, struct live_value *v)
{
    const struct content *is = &s->content[b];
    *v = (struct live_value){
        .buffer = b,
        .role = is->role,
        .node = is->role == ROLE_OTHER ? s->life[b].number : is->node,
        .unit = s->touched[b],
        .rounded = is->rounded,
    };
    if (is->role != ROLE_OTHER)
        v->grid = is->grid;
    if (s->id[b] < 0)
        s->id[b] = s->c->n_id++;
    v->id = s->id[b];
}

/* Numbers on their grid and their codes are kept once. */
static void join_codes(struct survey *s, const struct cut *c,
                       struct live_value *v)
{
    for (const struct live_value *o = c->live; o < v; o++)
        if (v->grid.on && o->grid.on && o->node == v->node &&
            o->unit == v->unit && prefix_same_value(o->role, v->role))
            v->id = s->id[v->buffer] = o->id;
}

static void fill_cut(struct survey *s, struct cut *c)
{
    const struct plan *p = s->p;
    for (int i = 0; i < s->n_used; i++) {
        int b = s->order[i];
        if (!is_alive(p, &s->life[b], b, c->step))
            continue;
        struct live_value *v = &c->live[c->n_live++];
        fill_value(s, b, v);
        join_codes(s, c, v);
    }
}

/* Unit `at` goes by: what it touches may be another value now. */
static double pass_unit(struct survey *s, int at, int step, int end)
{
    double work = 0;
    for (; step < end; step++) {
        const struct step *t = s->p->step[step];
        work += step_work(t);
        for (int k = 0; k < t->n_buf; k++) {
            s->touched[t->buf[k]] = at;
            s->id[t->buf[k]] = -1;
        }
    }
    return work;
}

static int cut_step(const struct plan *p, int i)
{
    return i < p->n_unit ? p->unit[i]->first_step : p->first_backward;
}

static int count_alive(const struct survey *s)
{
    int n = 0;
    for (int c = 0; c <= s->p->n_unit; c++)
        for (int i = 0; i < s->n_used; i++)
            n += is_alive(s->p, &s->life[s->order[i]], s->order[i],
                          cut_step(s->p, c));
    return n;
}

static void fill_cuts(struct survey *s)
{
    const struct plan *p = s->p;
    struct live_value *live = s->c->live;
    double work = 0;
    int nodes = 0;
    for (int i = 0; i <= p->n_unit; i++) {
        struct cut *c = &s->c->cut[i];
        *c = (struct cut){.step = cut_step(p, i), .live = live,
                          .nodes = nodes};
        if (i > 0)
            work += pass_unit(s, i - 1, c[-1].step, c->step);
        fill_cut(s, c);
        live += c->n_live;
        c->gain = work - moved_bytes(p, c);
        nodes += i < p->n_unit ? p->unit[i]->n : 0;
    }
}

static enum status survey_cuts(struct survey *s, struct err *e)
{
    const struct plan *p = s->p;
    find_lives(p, s->life);
    TRY(name_values(p, s->content, e));
    for (int i = 0; i < p->n_buf; i++) {
        s->touched[i] = s->id[i] = -1;
        if (s->life[i].number == 0)
            continue;
        s->order[s->life[i].number - 1] = i;
        s->n_used++;
    }
    size_t n = (size_t)count_alive(s) + 1;
    s->c->cut = mem_alloc((size_t)p->n_unit + 1, sizeof *s->c->cut);
    s->c->live = mem_alloc(n, sizeof *s->c->live);
    if (!s->c->cut || !s->c->live)
        return err_memory(e, "cuts");
    fill_cuts(s);
    return STATUS_OK;
}

static void watch(struct prefix_cuts *c, const struct plan *p, int unit,
                  int point)
{
    if (point < 0)
        return;
    c->watched[c->n_watched++] = (struct watched){point, unit, c->n_seen};
    c->n_seen += 1 + 2 * p->graph->point[point].q->channels;
}

static enum status find_watched(struct prefix_cuts *c, const struct plan *p,
                                struct err *e)
{
    size_t n = 2 * (size_t)p->graph->n_node;
    c->watched = mem_alloc(n, sizeof *c->watched);
    if (!c->watched)
        return err_memory(e, "cuts");
    for (int i = 0; i < p->n_unit; i++) {
        const struct unit *u = p->unit[i];
        c->cut[i].n_seen = c->n_seen;
        for (int k = 0; k < u->n; k++) {
            const struct value *v = &p->value[u->node[k]];
            watch(c, p, i, v->q_in ? v->point_in : -1);
            watch(c, p, i, v->q ? v->point : -1);
        }
    }
    c->cut[p->n_unit].n_seen = c->n_seen;
    return STATUS_OK;
}

enum status prefix_cuts_init(struct prefix_cuts *c, const struct plan *p,
                             struct err *e)
{
    size_t n = (size_t)p->n_buf + 1;
    struct survey s = {
        .p = p,
        .c = c,
        .life = mem_alloc(n, sizeof *s.life),
        .content = mem_alloc(n, sizeof *s.content),
        .order = mem_alloc(n, sizeof *s.order),
        .touched = mem_alloc(n, sizeof *s.touched),
        .id = mem_alloc(n, sizeof *s.id),
    };
    *c = (struct prefix_cuts){.n = p->n_unit};
    enum status st = s.life && s.content && s.order && s.touched && s.id
                         ? survey_cuts(&s, e)
                         : err_memory(e, "cuts");
    mem_free(s.life);
    mem_free(s.content);
    mem_free(s.order);
    mem_free(s.touched);
    mem_free(s.id);
    if (!st && p->opts.observe_only)
        st = find_watched(c, p, e);
    if (st)
        prefix_cuts_fini(c);
    return st;
}

void prefix_cuts_fini(struct prefix_cuts *c)
{
    mem_free(c->cut);
    mem_free(c->live);
    mem_free(c->watched);
    *c = (struct prefix_cuts){.n = 0};
}

/* ---- which to keep ---- */

/* Weights, or a quantizer: somebody could change it. */
static bool can_change(const struct plan *p, const struct unit *u)
{
    for (int k = 0; k < u->n; k++) {
        const struct node *n = &p->graph->node[u->node[k]];
        const struct value *v = &p->value[u->node[k]];
        if (v->q || v->q_in || n->param[0] >= 0)
            return true;
    }
    return false;
}

/* Which unit changes next is not known: each is as likely. A set of cuts then
 * saves the sum, over the units that may change, of the gain of the last cut
 * before each; less what keeping costs, once. Best sets by their last cut and
 * the levels of memory that they take. */
struct choice {
    const struct plan *p;
    struct prefix_cuts *c;
    double batches, limit;
    int *before;              /* by unit: units before it that may change */
    double *best;             /* [n + 1][LEVELS + 1]; -1e300: no such set */
    int *from;                /* likewise: the cut before the last; 0: none */
};

#define NO_SET (-1e300)

static bool has_id(const struct live_value *v, int n, int id)
{
    for (int i = 0; i < n; i++)
        if (v[i].id == id)
            return true;
    return false;
}

/* For the cut's mark and the values that the one before does not keep, rounded
 * up. */
static int levels(const struct choice *ch, int at, int before)
{
    const struct cut *c = &ch->c->cut[at], *b = &ch->c->cut[before];
    double each = (double)sizeof(struct prefix_blob);
    double sum = each + (double)c->n_seen * (double)sizeof(real);
    for (int i = 0; i < c->n_live; i++) {
        int id = c->live[i].id;
        bool kept = before > 0 && has_id(b->live, b->n_live, id);
        if (!kept && !has_id(c->live, i, id))
            sum += stored_bytes(ch->p, &c->live[i]) + each;
    }
    double n = ceil(sum * ch->batches * LEVELS / ch->limit);
    return n <= LEVELS ? (int)n : LEVELS + 1;
}

static double covered(const struct choice *ch, int at, int to)
{
    double gain = at > 0 ? ch->c->cut[at].gain : 0;
    return gain * (ch->before[to] - ch->before[at]);
}

/* Sets that end at `at`, from those that end at `last`. */
static void extend(struct choice *ch, int last, int at)
{
    int n = levels(ch, at, last);
    double keeping = moved_bytes(ch->p, &ch->c->cut[at]) / 2 *
                     ch->before[ch->c->n];
    double more = covered(ch, last, at) - keeping;
    for (int i = n; i <= LEVELS; i++) {
        double was = ch->best[last * (LEVELS + 1) + i - n];
        int to = at * (LEVELS + 1) + i;
        if (was == NO_SET || was + more <= ch->best[to])
            continue;
        ch->best[to] = was + more;
        ch->from[to] = last;
    }
}

static void choose(struct choice *ch)
{
    int n = ch->c->n, row = LEVELS + 1, last = 0, level = 0;
    for (int i = 0; i < n * row; i++)
        ch->best[i] = NO_SET;
    ch->best[0] = 0;
    for (int at = 1; at < n; at++)
        for (int k = 0; k < at && ch->c->cut[at].gain > 0; k++)
            extend(ch, k, at);
    /* The end costs next to nothing and is always worth it. */
    int end = levels(ch, n, 0);
    double most = NO_SET;
    for (int at = 0; at < n; at++)
        for (int i = 0; i + end <= LEVELS; i++) {
            double sum = ch->best[at * row + i];
            sum += sum == NO_SET ? 0 : covered(ch, at, n);
            if (sum <= most)
                continue;
            most = sum;
            last = at;
            level = i;
        }
    ch->c->cut[n].keep = end <= LEVELS;
    while (last > 0) {
        int before = ch->from[last * row + level];
        ch->c->cut[last].keep = true;
        level -= levels(ch, last, before);
        last = before;
    }
}

enum status prefix_cuts_choose(struct prefix_cuts *c, const struct plan *p,
                               double batches, double limit, struct err *e)
{
    size_t n = (size_t)c->n + 1;
    struct choice ch = {
        .p = p, .c = c, .batches = batches, .limit = limit,
        .before = mem_alloc(n, sizeof *ch.before),
        .best = mem_alloc(n * (LEVELS + 1), sizeof *ch.best),
        .from = mem_alloc(n * (LEVELS + 1), sizeof *ch.from),
    };
    enum status s = STATUS_OK;
    if (!ch.before || !ch.best || !ch.from)
        s = err_memory(e, "cuts");
    for (int i = 0; s == STATUS_OK && i < c->n; i++)
        ch.before[i + 1] = ch.before[i] + can_change(p, p->unit[i]);
    if (s == STATUS_OK)
        choose(&ch);
    mem_free(ch.before);
    mem_free(ch.best);
    mem_free(ch.from);
    return s;
}

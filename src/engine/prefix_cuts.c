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
#define MOST_CUTS 24

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

static void fill_cut(struct survey *s, struct cut *c)
{
    const struct plan *p = s->p;
    for (int i = 0; i < s->n_used; i++) {
        int b = s->order[i];
        if (is_alive(p, &s->life[b], b, c->step))
            fill_value(s, b, &c->live[c->n_live++]);
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

struct choice {
    const struct plan *p;
    struct prefix_cuts *c;
    double *saved;            /* by unit: when it changes, so far */
    bool *kept;               /* by id of a value */
    double changeable;        /* units */
    double batches, left;     /* bytes */
};

/* What the cut adds, summed over the units that may change. */
static double added(const struct choice *ch, int at)
{
    double sum = 0;
    for (int u = at; u < ch->c->n; u++) {
        double more = ch->c->cut[at].gain - ch->saved[u];
        if (more > 0 && can_change(ch->p, ch->p->unit[u]))
            sum += more;
    }
    return sum;
}

/* Of all batches, but for what is kept for other cuts. */
static double more_bytes(const struct choice *ch, int at)
{
    const struct cut *c = &ch->c->cut[at];
    double sum = 0;
    for (int i = 0; i < c->n_live; i++)
        if (!ch->kept[c->live[i].id])
            sum += stored_bytes(ch->p, &c->live[i]);
    return sum * ch->batches;
}

/* The cut that adds most for its memory; keeping it must not cost more than
 * a change that comes anywhere saves. */
static int best_cut(const struct choice *ch)
{
    int best = -1;
    double most = 0;
    for (int i = 1; i < ch->c->n; i++) {
        const struct cut *c = &ch->c->cut[i];
        double bytes = more_bytes(ch, i);
        if (c->keep || c->gain <= 0 || bytes > ch->left)
            continue;
        double sum = added(ch, i), per_byte = sum / (bytes + 1);
        if (sum / ch->changeable < moved_bytes(ch->p, c) / 2 ||
            per_byte <= most)
            continue;
        most = per_byte;
        best = i;
    }
    return best;
}

static void keep_cut(struct choice *ch, int at)
{
    struct cut *c = &ch->c->cut[at];
    c->keep = true;
    ch->left -= more_bytes(ch, at);
    for (int i = 0; i < c->n_live; i++)
        ch->kept[c->live[i].id] = true;
    for (int u = at; u < ch->c->n; u++)
        if (ch->saved[u] < c->gain)
            ch->saved[u] = c->gain;
}

static void choose(struct choice *ch)
{
    int n = ch->c->n;
    for (int i = 0; i < n; i++)
        ch->changeable += can_change(ch->p, ch->p->unit[i]);
    if (more_bytes(ch, n) <= ch->left)
        keep_cut(ch, n);
    for (int i = 0; i < MOST_CUTS && ch->changeable > 0; i++) {
        int best = best_cut(ch);
        if (best < 0)
            break;
        keep_cut(ch, best);
    }
}

/* Which unit changes next is not known: each is as likely. Taking the best
 * for its bytes, again and again, comes near the best set, as what a cut adds
 * only shrinks when others are there. */
enum status prefix_cuts_choose(struct prefix_cuts *c, const struct plan *p,
                               double batches, double limit, struct err *e)
{
    struct choice ch = {
        .p = p, .c = c, .batches = batches, .left = limit,
        .saved = mem_alloc((size_t)c->n + 1, sizeof *ch.saved),
        .kept = mem_alloc((size_t)c->n_id + 1, sizeof *ch.kept),
    };
    enum status s = STATUS_OK;
    if (ch.saved && ch.kept)
        choose(&ch);
    else
        s = err_memory(e, "cuts");
    mem_free(ch.saved);
    mem_free(ch.kept);
    return s;
}

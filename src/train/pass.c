/* Passes of a split through plans. SPDX-License-Identifier: GPL-3.0-or-later */
#include "train/pass.h"

void pass_init(struct pass *s, const struct eval_opts *o, struct feed *f,
               int64_t rows)
{
    *s = (struct pass){ .o = o, .feed = f, .rows = rows, .reused = -1 };
    if (o->cache)
        prefix_cache_begin(o->cache);
}

void pass_fini(struct pass *s)
{
    prefix_free(s->prefix);
    s->prefix = NULL;
    if (s->o->reused)
        *s->o->reused = s->reused > 0 ? s->reused : 0;
}

/* What goes wrong here, memory that is short, must not keep a pass from
 * computing everything. */
static void follow_plan(struct pass *s, struct plan *plan)
{
    const struct prefix_opts o = {
        .cache = s->o->cache,
        .plan = plan,
        .rows = s->rows,
        .read_only = s->o->read_only,
    };
    if (s->plan == plan && s->made == s->feed->made)
        return;
    prefix_free(s->prefix);
    s->prefix = NULL;
    s->plan = plan;
    s->made = s->feed->made;
    if (prefix_new(&o, &s->prefix, NULL))
        s->prefix = NULL;
}

static int find(struct pass *s, int64_t n)
{
    if (!s->prefix)
        return 0;
    struct digest rows = batcher_digest(&s->feed->batcher, n);
    return prefix_find(s->prefix, &rows);
}

enum status pass_batch(struct pass *s, struct plan *plan, int64_t n,
                       struct loss_input *in, struct err *e)
{
    struct feed *f = s->feed;
    follow_plan(s, plan);
    int nodes = find(s, n);
    if (s->reused < 0 || nodes < s->reused)
        s->reused = nodes;
    f->labels_only = nodes > 0;
    enum status st = feed_batch(f, plan, n, NULL, in, e);
    f->labels_only = false;
    TRY(st);
    TRY(s->prefix ? prefix_forward(s->prefix, s->o->tick, e)
                  : plan_forward(plan, s->o->tick, e));
    in->out = plan_output(plan);
    return STATUS_OK;
}

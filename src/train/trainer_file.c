/* The trainer to and from a bag: everything that a run needs to go on as if
 * it had never stopped. Tensors "trainer.*":
 *
 *   counts (4)         epoch, position, steps, samples of the split
 *   goal (2)           where it began, its length, in epochs
 *   schedule (3)       factor, lowest loss, epochs without a lower one
 *   order (n)          of the epoch, indices into the training block
 *   rng.NAME           states of the streams
 *   age, slot.K        optimiser; an array of zeros is left out
 *   quant.POINT        (slots, n) of a quantizer, and .age
 *
 * and the text "trainer" with the optimiser's name.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "train/train_impl.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/arena.h"

#define VERSION "1"
#define QUANT_PREFIX "trainer.quant."

enum { COUNT_EPOCH, COUNT_POSITION, COUNT_STEPS, COUNT_SAMPLES, COUNTS };

/* Far beyond any run; keeps sums of hostile counts from overflowing. */
#define COUNT_MAX ((int64_t)1 << 48)

static bool all_zero(const float *x, int64_t n)
{
    static const unsigned char zero[sizeof(float)];
    for (int64_t i = 0; i < n; i++)
        if (memcmp(&x[i], zero, sizeof zero) != 0)
            return false;
    return true;
}

/* ---- saving ---- */

static enum status save_place(const struct trainer *t, struct bag *b,
                              struct err *e)
{
    const struct batcher *batcher = &t->feed.batcher;
    int64_t counts[COUNTS] = {
        [COUNT_EPOCH] = t->epoch,
        [COUNT_POSITION] = batcher->position,
        [COUNT_STEPS] = t->steps,
        [COUNT_SAMPLES] = batcher->n,
    };
    double goal[2] = { t->goal_start, t->goal_epochs };
    double heard[3] = { t->heard.factor, t->heard.best, t->heard.bad };
    struct shape n = shape_1(COUNTS), two = shape_1(2), three = shape_1(3);
    struct shape samples = shape_1(batcher->n);
    TRY(bag_put(b, "trainer.counts", DTYPE_I64, &n, counts, e));
    TRY(bag_put(b, "trainer.goal", DTYPE_F64, &two, goal, e));
    TRY(bag_put(b, "trainer.schedule", DTYPE_F64, &three, heard, e));
    return bag_put(b, "trainer.order", DTYPE_U32, &samples, batcher->index,
                   e);
}

static void stream_name(char *out, size_t size, enum rng_stream which)
{
    snprintf(out, size, "trainer.rng.%s", rng_stream_name(which));
}

static enum status save_streams(const struct trainer *t, struct bag *b,
                                struct err *e)
{
    for (int i = 0; trainer_streams[i] != RNG_STREAMS; i++) {
        const struct rng *r = t->stream[trainer_streams[i]];
        size_t size = rng_state_size(r);
        unsigned char *bytes = mem_alloc(size, 1);
        if (!bytes)
            return err_memory(e, "a random stream's state");
        rng_state_get(r, bytes);
        char name[64];
        stream_name(name, sizeof name, trainer_streams[i]);
        struct shape shape = shape_1((int64_t)size);
        enum status s = bag_put(b, name, DTYPE_U8, &shape, bytes, e);
        mem_free(bytes);
        TRY(s);
    }
    return STATUS_OK;
}

static enum status save_quant(const struct quant_slots *q, int slots,
                              struct bag *b, struct err *e)
{
    struct str name = { 0 };
    struct shape shape = shape_2(slots, q->n), one = shape_1(1);
    str_printf(&name, QUANT_PREFIX "%s", q->point);
    enum status s = bag_put(b, str_text(&name), DTYPE_F32, &shape,
                            q->slot[0], e);
    str_add(&name, ".age");
    if (s == STATUS_OK)
        s = bag_put(b, str_text(&name), DTYPE_I64, &one, &q->age, e);
    if (name.failed)
        s = err_memory(e, "a tensor's name");
    str_fini(&name);
    return s;
}

static enum status save_slots(const struct trainer *t, struct bag *b,
                              struct err *e)
{
    const struct slots *s = &t->slots;
    struct shape ages = shape_1(s->n_age), n = shape_1(s->n);
    TRY(bag_put(b, "trainer.age", DTYPE_I64, &ages, s->age, e));
    for (int k = 0; k < s->count; k++) {
        if (all_zero(s->slot[k], s->n))
            continue;
        char name[32];
        snprintf(name, sizeof name, "trainer.slot.%d", k);
        TRY(bag_put(b, name, DTYPE_F32, &n, s->slot[k], e));
    }
    for (int i = 0; i < s->n_quant; i++)
        TRY(save_quant(&s->quant[i], s->count, b, e));
    return STATUS_OK;
}

enum status trainer_save(const struct trainer *t, struct bag *b,
                         struct err *e)
{
    char text[128];
    snprintf(text, sizeof text, "version " VERSION "\noptimizer %s\n",
             t->set.optimizer->name);
    TRY(bag_put_text(b, "trainer", text, e));
    TRY(save_place(t, b, e));
    TRY(save_streams(t, b, e));
    return save_slots(t, b, e);
}

/* ---- loading: into a struct loaded, then all at once ---- */

struct loaded {
    const struct optimizer_row *optimizer;
    int64_t counts[COUNTS];
    double goal[2];
    struct schedule_state heard;
    uint32_t *order;
    unsigned char *rng[RNG_STREAMS];
    struct slots slots;
};

static void loaded_fini(struct loaded *l)
{
    mem_free(l->order);
    for (int i = 0; i < RNG_STREAMS; i++)
        mem_free(l->rng[i]);
    slots_fini(&l->slots);
}

static enum status load_text(const struct bag *b, struct loaded *l,
                             struct err *e)
{
    const char *text = bag_text(b, "trainer");
    char version[16] = "", optimizer[32] = "";
    if (!text)
        return err_set(e, STATUS_FORMAT, "text \"trainer\" is missing");
    if (sscanf(text, "version %15s optimizer %31s", version, optimizer) != 2)
        return err_set(e, STATUS_FORMAT, "text \"trainer\" does not begin "
                       "with version and optimizer");
    if (strcmp(version, VERSION) != 0)
        return err_set(e, STATUS_FORMAT, "text \"trainer\" has another "
                       "version, " VERSION " is known");
    l->optimizer = optimizer_find(optimizer);
    if (!l->optimizer)
        return err_set(e, STATUS_FORMAT, "text \"trainer\" names an unknown "
                       "optimizer");
    return STATUS_OK;
}

static enum status load_place(const struct trainer *t, const struct bag *b,
                              struct loaded *l, struct err *e)
{
    struct shape n = shape_1(COUNTS), two = shape_1(2);
    TRY(bag_read(b, "trainer.counts", DTYPE_I64, &n, l->counts, e));
    TRY(bag_read(b, "trainer.goal", DTYPE_F64, &two, l->goal, e));
    for (int i = 0; i < COUNTS; i++)
        if (l->counts[i] < 0 || l->counts[i] > COUNT_MAX)
            return err_set(e, STATUS_FORMAT, "trainer.counts[%d] is %" PRId64,
                           i, l->counts[i]);
    if (!isfinite(l->goal[0]) || !isfinite(l->goal[1]))
        return err_set(e, STATUS_FORMAT, "trainer.goal is not finite");
    int64_t have = t->feed.batcher.n;
    if (l->counts[COUNT_SAMPLES] != have)
        return err_set(e, STATUS_FORMAT, "the state is of %" PRId64
                       " training samples, data %s has %" PRId64,
                       l->counts[COUNT_SAMPLES], t->data->name, have);
    if (l->counts[COUNT_POSITION] >= have)
        return err_set(e, STATUS_FORMAT, "position %" PRId64 " is not within "
                       "%" PRId64 " samples", l->counts[COUNT_POSITION],
                       have);
    return STATUS_OK;
}

/* Files from before there were schedules that listen have no such tensor. */
static enum status load_heard(const struct bag *b, struct loaded *l,
                              struct err *e)
{
    struct shape three = shape_1(3);
    double v[3];
    schedule_state_init(&l->heard);
    if (!bag_get(b, "trainer.schedule"))
        return STATUS_OK;
    TRY(bag_read(b, "trainer.schedule", DTYPE_F64, &three, v, e));
    if (!(v[0] >= 0 && v[0] <= 1) || isnan(v[1]) || !(v[2] >= 0) ||
        !isfinite(v[2]))
        return err_set(e, STATUS_FORMAT, "trainer.schedule is factor %g, "
                       "loss %g, %g epochs", v[0], v[1], v[2]);
    l->heard = (struct schedule_state){ v[0], v[1], v[2] };
    return STATUS_OK;
}

/* The order must be a permutation of the split's samples. */
static enum status check_order(const struct trainer *t, const uint32_t *order,
                               struct err *e)
{
    const struct batcher *batcher = &t->feed.batcher;
    size_t block = (size_t)t->data->train.n;
    unsigned char *wanted = mem_alloc(block, 1);
    if (!wanted)
        return err_memory(e, "a check of the order");
    for (int64_t i = 0; i < batcher->n; i++)
        wanted[batcher->index[i]] = 1;
    enum status s = STATUS_OK;
    for (int64_t i = 0; i < batcher->n && s == STATUS_OK; i++) {
        if (order[i] >= block || !wanted[order[i]])
            s = err_set(e, STATUS_FORMAT, "trainer.order[%" PRId64 "] is "
                        "%" PRIu32 ": no training sample, or twice", i,
                        order[i]);
        else
            wanted[order[i]] = 0;
    }
    mem_free(wanted);
    return s;
}

static enum status load_order(const struct trainer *t, const struct bag *b,
                              struct loaded *l, struct err *e)
{
    struct shape n = shape_1(t->feed.batcher.n);
    l->order = mem_alloc((size_t)t->feed.batcher.n, sizeof *l->order);
    if (!l->order)
        return err_memory(e, "the order of the epoch");
    TRY(bag_read(b, "trainer.order", DTYPE_U32, &n, l->order, e));
    return check_order(t, l->order, e);
}

static enum status load_streams(const struct trainer *t, const struct bag *b,
                                struct loaded *l, struct err *e)
{
    for (int i = 0; trainer_streams[i] != RNG_STREAMS; i++) {
        enum rng_stream which = trainer_streams[i];
        size_t size = rng_state_size(t->stream[which]);
        l->rng[which] = mem_alloc(size, 1);
        if (!l->rng[which])
            return err_memory(e, "a random stream's state");
        char name[64];
        stream_name(name, sizeof name, which);
        struct shape shape = shape_1((int64_t)size);
        TRY(bag_read(b, name, DTYPE_U8, &shape, l->rng[which], e));
    }
    return STATUS_OK;
}

static bool ages_fit(const int64_t *age, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        if (age[i] < 0 || age[i] > COUNT_MAX)
            return false;
    return true;
}

/* One tensor "trainer.quant.POINT". */
static enum status load_quant(const struct bag *b, const char *name,
                              const struct tensor *x, struct slots *s,
                              struct err *e)
{
    struct shape one = shape_1(1);
    struct quant_slots *q;
    int64_t age;
    if (x->type != DTYPE_F32 || x->shape.rank != 2 ||
        x->shape.dim[0] != s->count)
        return err_set(e, STATUS_FORMAT, "%s is not float32 of %d slots",
                       name, s->count);
    struct str age_name = { 0 };
    str_printf(&age_name, "%s.age", name);
    enum status status = bag_read(b, str_text(&age_name), DTYPE_I64, &one,
                                  &age, e);
    str_fini(&age_name);
    TRY(status);
    if (!ages_fit(&age, 1))
        return err_set(e, STATUS_FORMAT, "%s.age is %" PRId64, name, age);
    TRY(slots_add_quant(s, name + strlen(QUANT_PREFIX), x->shape.dim[1], &q,
                        e));
    q->age = age;
    if (s->count > 0 && q->n > 0)
        memcpy(q->slot[0], x->data, tensor_bytes(x));
    return STATUS_OK;
}

/* Another optimiser, or parameters that are no longer the same: as when the
 * settings change, slots begin anew. */
static bool slots_apply(const struct trainer *t, const struct bag *b,
                        const struct loaded *l)
{
    const struct tensor *age = bag_get(b, "trainer.age");
    const struct tensor *first = bag_get(b, "trainer.slot.0");
    bool same = !age || shape_count(&age->shape) == t->graph->n_learned;
    if (first && shape_count(&first->shape) != t->graph->n_grad)
        same = false;
    return same && l->optimizer == t->set.optimizer;
}

static enum status load_slots(const struct trainer *t, const struct bag *b,
                              struct loaded *l, struct err *e)
{
    struct slots *s = &l->slots;
    TRY(slots_fit(s, t->set.optimizer, t->graph, e));
    if (!slots_apply(t, b, l))
        return STATUS_OK;
    struct shape ages = shape_1(s->n_age), n = shape_1(s->n);
    TRY(bag_read(b, "trainer.age", DTYPE_I64, &ages, s->age, e));
    if (!ages_fit(s->age, s->n_age))
        return err_set(e, STATUS_FORMAT, "trainer.age has a negative step");
    for (int k = 0; k < s->count; k++) {
        char name[32];
        snprintf(name, sizeof name, "trainer.slot.%d", k);
        if (bag_get(b, name))
            TRY(bag_read(b, name, DTYPE_F32, &n, s->slot[k], e));
    }
    for (size_t i = 0; i < bag_count(b); i++) {
        const char *name = bag_name(b, i);
        const struct tensor *x = bag_at(b, i);
        bool ours = !strncmp(name, QUANT_PREFIX, strlen(QUANT_PREFIX));
        if (ours && x->type != DTYPE_I64)
            TRY(load_quant(b, name, x, s, e));
    }
    return STATUS_OK;
}

static enum status load_all(const struct trainer *t, const struct bag *b,
                            struct loaded *l, struct err *e)
{
    TRY(load_text(b, l, e));
    TRY(load_place(t, b, l, e));
    TRY(load_heard(b, l, e));
    TRY(load_order(t, b, l, e));
    TRY(load_streams(t, b, l, e));
    return load_slots(t, b, l, e);
}

enum status trainer_load(struct trainer *t, const struct bag *b,
                         struct err *e)
{
    struct loaded l = { 0 };
    enum status s = load_all(t, b, &l, e);
    if (s == STATUS_OK) {
        struct batcher *batcher = &t->feed.batcher;
        t->epoch = l.counts[COUNT_EPOCH];
        t->steps = l.counts[COUNT_STEPS];
        t->goal_start = l.goal[0];
        t->goal_epochs = l.goal[1];
        t->heard = l.heard;
        batcher->position = l.counts[COUNT_POSITION];
        memcpy(batcher->index, l.order,
               (size_t)batcher->n * sizeof *l.order);
        for (int i = 0; trainer_streams[i] != RNG_STREAMS; i++)
            rng_state_set(t->stream[trainer_streams[i]],
                          l.rng[trainer_streams[i]]);
        slots_fini(&t->slots);
        t->slots = l.slots;
        l.slots = (struct slots){ 0 };
        trainer_roll_epoch(t);
    }
    loaded_fini(&l);
    return s;
}

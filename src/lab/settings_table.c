/* The rows of the settings. SPDX-License-Identifier: GPL-3.0-or-later */
#include <omp.h>
#include <stddef.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/cpu.h"
#include "engine/target.h"
#include "lab/settings.h"
#include "lab/state.h"

#define AT(member) offsetof(struct lab, member)
#define MODEL (SET_MODEL | SET_TRAINER)
#define BIG 1e15

/* ---- choices out of tables ---- */

static const char *optimizer_name(int i)
{
    return i < optimizer_count ? optimizer_table[i].name : NULL;
}

static int optimizer_get(const struct lab *l)
{
    return (int)(l->train.optimizer - optimizer_table);
}

/* Each optimiser has its own sensible constants; the learning rate stays
 * when the user gave one. */
static enum status optimizer_put(struct lab *l, int i, struct err *e)
{
    (void)e;
    double lr = l->train.hyper.lr;
    if (l->train.optimizer == &optimizer_table[i])
        return STATUS_OK;
    l->train.optimizer = &optimizer_table[i];
    l->train.optimizer->defaults(&l->train.hyper);
    if (l->origin.lr_set)
        l->train.hyper.lr = lr;
    return STATUS_OK;
}

static const char *schedule_name(int i)
{
    return i < schedule_count ? schedule_table[i].name : NULL;
}

static int schedule_get(const struct lab *l)
{
    return (int)(l->train.schedule - schedule_table);
}

static enum status schedule_put(struct lab *l, int i, struct err *e)
{
    (void)e;
    l->train.schedule = &schedule_table[i];
    for (int k = 0; k < 4; k++)
        l->train.schedule_param[k] = schedule_table[i].param_default[k];
    return STATUS_OK;
}

static const char *loss_name(int i)
{
    return i < loss_count ? loss_table[i].name : NULL;
}

static int loss_get(const struct lab *l)
{
    return (int)(l->train.loss - loss_table);
}

static enum status loss_put(struct lab *l, int i, struct err *e)
{
    (void)e;
    l->train.loss = &loss_table[i];
    return STATUS_OK;
}

static const char *fold_name(int i)
{
    return i < FOLD_COUNT ? bn_fold_name[i] : NULL;
}

static const char *engine_name(int i)
{
    return i < backend_count ? backend_table[i].name : NULL;
}

static int engine_get(const struct lab *l)
{
    for (int i = 0; i < backend_count; i++)
        if (backend_table[i].impl == l->train.backend)
            return i;
    return 0;
}

static enum status engine_put(struct lab *l, int i, struct err *e)
{
    (void)e;
    l->train.backend = backend_table[i].impl;
    return STATUS_OK;
}

static const char *sums_name(int i)
{
    return i < SUM_COUNT ? sum_name[i] : NULL;
}

static const char *target_name(int i)
{
    return i < target_count ? target_table[i].name : NULL;
}

static int target_get(const struct lab *l)
{
    return l->train.target ? (int)(l->train.target - target_table) : 0;
}

static enum status target_put(struct lab *l, int i, struct err *e)
{
    (void)e;
    l->train.target = &target_table[i];
    return STATUS_OK;
}

static const char *engine_grad_name(int i)
{
    return i < GRAD_COUNT ? grad_name[i] : NULL;
}

static const char *qconfig_name(int i)
{
    return i < qconfig_count ? qconfig_table[i].name : NULL;
}

static int qconfig_get(const struct lab *l)
{
    return (int)(l->qconfig - qconfig_table);
}

static enum status qconfig_put(struct lab *l, int i, struct err *e)
{
    (void)e;
    l->qconfig = &qconfig_table[i];
    return STATUS_OK;
}

static const char *color_name(int i)
{
    static const char *const name[] = { "auto", "always", "never" };
    return i < 3 ? name[i] : NULL;
}

static const char *glyphs_name(int i)
{
    static const char *const name[] = { "auto", "braille", "blocks", "ascii" };
    return i < 4 ? name[i] : NULL;
}

static const char *theme_name(int i)
{
    static const char *const name[] = { "dark", "light", "mono", "contrast" };
    return i < 4 ? name[i] : NULL;
}

static const char *progress_name(int i)
{
    static const char *const name[PROGRESS_COUNT] = {
        [PROGRESS_AUTO] = "auto",
        [PROGRESS_LINE] = "line",
        [PROGRESS_NONE] = "none",
    };
    return i < PROGRESS_COUNT ? name[i] : NULL;
}

/* ---- what follows a change ---- */

static enum status apply_lr(struct lab *l, struct err *e)
{
    (void)e;
    l->origin.lr_set = true;
    return STATUS_OK;
}

static enum status apply_optimizer(struct lab *l, struct err *e)
{
    (void)e;
    l->origin.optimizer_set = true;
    return STATUS_OK;
}

static enum status apply_threads(struct lab *l, struct err *e)
{
    (void)e;
    omp_set_num_threads(l->tool.threads > 0 ? (int)l->tool.threads
                                            : cpu_get()->cores);
    return STATUS_OK;
}

static enum status apply_cache(struct lab *l, struct err *e)
{
    (void)e;
    if (l->cache)
        prefix_cache_limit(l->cache, (size_t)l->tool.cache * 1000000);
    return STATUS_OK;
}

/* A different seed takes effect in streams that are still to be made: those
 * of a run that has begun stay what they are. */
static enum status apply_seed(struct lab *l, struct err *e)
{
    (void)e;
    if (l->trainer && trainer_steps(l->trainer) == 0)
        lab_drop_trainer(l);
    return STATUS_OK;
}

/* ---- the deployed forward ---- */

static const char *forward_name(int i)
{
    return i < FORWARD_COUNT ? train_forward_name[i] : NULL;
}

static enum status check_forward(struct lab *l, struct err *e)
{
    if (l->train.forward != FORWARD_DEPLOYED || !l->graph)
        return STATUS_OK;
    return plan_check_deployed(l->graph, e);
}

/* Layers that the target's integers leave to numbers. */
static void note_forward(struct lab *l, struct out *out)
{
    struct plan_opts o;
    struct plan *p = NULL;
    plan_opts_default(&o);
    o.graph = l->graph;
    o.mode = MODE_INT;
    o.fold = l->train.bn_fold;
    o.backend = l->train.backend;
    o.target = l->train.target;
    bool asked = l->train.forward == FORWARD_DEPLOYED && l->graph &&
                 !l->opts.check_only;
    if (!asked || plan_new(&o, &p, NULL))
        return;
    int *node = xmalloc((size_t)l->graph->n_node * sizeof *node), n = 0;
    for (int i = 0; i < l->graph->n_node; i++)
        if (!plan_on_codes(p, i))
            node[n++] = i;
    struct str text = { 0 };
    names_print(l, node, n, "layer", &text);
    if (n > 0)
        out_printf(out, OUT_NOTE, "no codes in target %s, so numbers as in "
                                  "`eval int`: %s",
                   plan_options(p)->target->name, str_text(&text));
    str_fini(&text);
    free(node);
    plan_free(p);
}

static enum status apply_fold(struct lab *l, struct err *e)
{
    (void)e;
    lab_changed_quant(l);
    return STATUS_OK;
}

const struct setting setting_table[] = {
    { .name = "bn.fold", .type = SET_CHOICE, .flags = MODEL,
      .offset = AT(train.bn_fold), .choice = fold_name, .apply = apply_fold,
      .help = "how batch norm meets the weight quantizer during training: "
              "qat scales the weight first, pre uses running statistics "
              "only, off leaves them apart" },
    { .name = "color", .type = SET_CHOICE, .offset = AT(tool.color),
      .choice = color_name, .def = "auto", .help = "colours on the screen" },
    { .name = "demo.speed", .type = SET_INT, .offset = AT(tool.demo_speed),
      .lo = 0, .hi = 1000, .unit = "characters/s", .def = "30",
      .help = "typing speed of --demo; 0: at once" },
    { .name = "echo", .type = SET_BOOL, .offset = AT(tool.echo),
      .def = "on", .help = "show commands of scripts before they run" },
    { .name = "engine", .type = SET_CHOICE, .flags = MODEL,
      .choice = engine_name, .get = engine_get, .put = engine_put,
      .help = "back end: ref is the portable oracle, fast uses oneDNN" },
    { .name = "engine.cache", .type = SET_INT, .offset = AT(tool.cache),
      .lo = 0, .hi = 1e6, .unit = "MB", .def = "32", .apply = apply_cache,
      .help = "memory for layers' values between evaluations, so that a "
              "change computes from its layer on; 0: none. Results do not "
              "depend on it" },
    { .name = "engine.grad", .type = SET_CHOICE, .flags = MODEL,
      .offset = AT(train.grad), .choice = engine_grad_name,
      .help = "number type of gradients" },
    { .name = "engine.sums", .type = SET_CHOICE, .flags = MODEL,
      .offset = AT(train.sums), .choice = sums_name,
      .help = "how layers on codes are summed: bytes, whole numbers in "
              "float32, 16-bit pairs, or not on codes where mode fake may; a "
              "way that is not exact gives way to another" },
    { .name = "engine.target", .type = SET_CHOICE, .flags = MODEL,
      .choice = target_name, .get = target_get, .put = target_put,
      .help = "whose integer arithmetic `int` uses (`show targets`)" },
    { .name = "escape.timeout", .type = SET_REAL,
      .offset = AT(tool.escape_timeout), .lo = 0, .hi = 5, .unit = "s",
      .def = "0.04", .help = "after so long a lone Esc is the Esc key" },
    { .name = "eval.batch", .type = SET_INT, .offset = AT(tool.eval_batch),
      .lo = 1, .hi = 1e6, .unit = "samples", .def = "250",
      .help = "samples per evaluation batch; results do not depend on it" },
    { .name = "eval.limit", .type = SET_INT, .offset = AT(tool.eval_limit),
      .lo = 0, .hi = BIG, .unit = "samples", .def = "0",
      .help = "samples of the validation split looked at after each epoch; "
              "0: all" },
    { .name = "fps", .type = SET_INT, .offset = AT(tool.fps), .lo = 1,
      .hi = 10, .unit = "1/s", .def = "10",
      .help = "redraws a second, at most; less for slow links" },
    { .name = "glyphs", .type = SET_CHOICE, .offset = AT(tool.glyphs),
      .choice = glyphs_name, .def = "auto",
      .help = "characters that curves are drawn with" },
    { .name = "json.batches", .type = SET_BOOL,
      .offset = AT(tool.json_batches), .def = "off",
      .help = "an event for every batch in the machine stream" },
    { .name = "mouse", .type = SET_BOOL, .offset = AT(tool.mouse),
      .def = "off", .help = "clicks and the wheel in panes (the terminal's "
                            "own selection then needs Shift)" },
    { .name = "progress", .type = SET_CHOICE, .offset = AT(tool.progress),
      .choice = progress_name, .def = "auto",
      .help = "a line about each epoch: auto and line print it, none does "
              "not" },
    { .name = "quant.config", .type = SET_CHOICE, .flags = SET_MODEL,
      .choice = qconfig_name, .get = qconfig_get, .put = qconfig_put,
      .help = "the qconfig that `bits` starts from" },
    { .name = "theme", .type = SET_CHOICE, .offset = AT(tool.theme),
      .choice = theme_name, .def = "dark", .help = "colours of the panes" },
    { .name = "threads", .type = SET_INT, .offset = AT(tool.threads),
      .lo = 0, .hi = 1024, .def = "0", .apply = apply_threads,
      .help = "threads of kernels; 0: all processors. Integer evaluation "
              "does not depend on it" },
    { .name = "train.alpha", .type = SET_REAL, .flags = MODEL,
      .offset = AT(train.hyper.alpha), .lo = 0, .hi = 1,
      .help = "smoothing constant of rmsprop" },
    { .name = "train.amsgrad", .type = SET_BOOL, .flags = MODEL,
      .offset = AT(train.hyper.amsgrad), .help = "AMSGrad form of adam" },
    { .name = "train.batch", .type = SET_INT, .flags = MODEL,
      .offset = AT(train.batch), .lo = 1, .hi = 1e6, .unit = "samples",
      .help = "samples per training batch" },
    { .name = "train.beta1", .type = SET_REAL, .flags = MODEL,
      .offset = AT(train.hyper.beta1), .lo = 0, .hi = 1,
      .help = "decay of adam's mean" },
    { .name = "train.beta2", .type = SET_REAL, .flags = MODEL,
      .offset = AT(train.hyper.beta2), .lo = 0, .hi = 1,
      .help = "decay of adam's squares" },
    { .name = "train.clip", .type = SET_REAL, .flags = MODEL,
      .offset = AT(train.clip_norm), .lo = 0, .hi = BIG,
      .help = "largest length of the gradient; 0: no clipping" },
    { .name = "train.dampening", .type = SET_REAL, .flags = MODEL,
      .offset = AT(train.hyper.dampening), .lo = 0, .hi = 1,
      .help = "dampening of sgd's momentum" },
    { .name = "train.epoch_batches", .type = SET_INT, .flags = MODEL,
      .offset = AT(train.epoch_batches), .lo = 0, .hi = 1e9,
      .unit = "batches",
      .help = "batches that count as an epoch; 0: the training split" },
    { .name = "train.eps", .type = SET_REAL, .flags = MODEL,
      .offset = AT(train.hyper.eps), .lo = 0, .hi = 1,
      .help = "added to adam's denominator" },
    { .name = "train.flip", .type = SET_BOOL, .flags = MODEL,
      .offset = AT(train.augment.flip),
      .help = "flip training images left-right with probability 1/2" },
    { .name = "train.loss", .type = SET_CHOICE, .flags = MODEL,
      .choice = loss_name, .get = loss_get, .put = loss_put,
      .help = "what training makes small" },
    { .name = "train.forward", .type = SET_CHOICE, .flags = MODEL,
      .offset = AT(train.forward), .choice = forward_name,
      .check = check_forward, .note = note_forward,
      .help = "what a training batch computes: fake rounds between float "
              "products; deployed is the integer arithmetic of the target, "
              "in every bit as `eval int`, once batch norm is frozen or "
              "folded and observers are off (dropout rests)" },
    { .name = "train.lr", .type = SET_REAL, .flags = MODEL,
      .offset = AT(train.hyper.lr), .lo = 0, .hi = 1e6, .apply = apply_lr,
      .help = "learning rate, before the schedule's factor" },
    { .name = "train.momentum", .type = SET_REAL, .flags = MODEL,
      .offset = AT(train.hyper.momentum), .lo = 0, .hi = 1,
      .help = "momentum of sgd" },
    { .name = "train.nesterov", .type = SET_BOOL, .flags = MODEL,
      .offset = AT(train.hyper.nesterov), .help = "Nesterov momentum" },
    { .name = "train.optimizer", .type = SET_CHOICE, .flags = MODEL,
      .choice = optimizer_name, .get = optimizer_get, .put = optimizer_put,
      .apply = apply_optimizer,
      .help = "optimiser; its constants go to their defaults" },
    { .name = "train.quant_decay", .type = SET_BOOL, .flags = MODEL,
      .offset = AT(train.quant_decay),
      .help = "weight decay on learned quantizer parameters, too" },
    { .name = "train.quant_lr", .type = SET_REAL, .flags = MODEL,
      .offset = AT(train.quant_lr_factor), .lo = 0, .hi = 1e6,
      .help = "factor on the learning rate for learned ranges" },
    { .name = "train.schedule", .type = SET_CHOICE, .flags = MODEL,
      .choice = schedule_name, .get = schedule_get, .put = schedule_put,
      .help = "factor on the learning rate over the epochs of a goal" },
    { .name = "train.schedule.a", .type = SET_REAL, .flags = MODEL,
      .offset = AT(train.schedule_param[0]), .lo = -BIG, .hi = BIG,
      .help = "first number of the schedule (`help schedules`)" },
    { .name = "train.schedule.b", .type = SET_REAL, .flags = MODEL,
      .offset = AT(train.schedule_param[1]), .lo = -BIG, .hi = BIG,
      .help = "second number of the schedule" },
    { .name = "train.schedule.c", .type = SET_REAL, .flags = MODEL,
      .offset = AT(train.schedule_param[2]), .lo = -BIG, .hi = BIG,
      .help = "third number of the schedule" },
    { .name = "train.schedule.d", .type = SET_REAL, .flags = MODEL,
      .offset = AT(train.schedule_param[3]), .lo = -BIG, .hi = BIG,
      .help = "fourth number of the schedule" },
    { .name = "train.seed", .type = SET_INT, .flags = SET_MODEL,
      .offset = AT(train.seed), .lo = 0, .hi = 9e15, .apply = apply_seed,
      .help = "seed of initial weights, generated data, shuffling, dropout; "
              "taken up by what is loaded next" },
    { .name = "train.shift", .type = SET_SHORT, .flags = MODEL,
      .offset = AT(train.augment.shift), .lo = 0, .hi = 64,
      .unit = "pixels", .help = "shift training images up to so far" },
    { .name = "train.shuffle", .type = SET_BOOL, .flags = MODEL,
      .offset = AT(train.shuffle),
      .help = "a new order of the samples every epoch" },
    { .name = "train.smoothing", .type = SET_REAL, .flags = MODEL,
      .offset = AT(train.smoothing), .lo = 0, .hi = 1,
      .help = "label smoothing of cross-entropy" },
    { .name = "train.weight_decay", .type = SET_REAL, .flags = MODEL,
      .offset = AT(train.hyper.weight_decay), .lo = 0, .hi = 1e6,
      .help = "weight decay" },
    { .name = "undo.limit", .type = SET_INT, .offset = AT(tool.undo_limit),
      .lo = 1, .hi = 1000, .def = "100",
      .help = "how many commands can be undone" },
    { .name = "warn.sqnr", .type = SET_REAL, .offset = AT(tool.warn_sqnr),
      .lo = -100, .hi = 200, .unit = "dB", .def = "20",
      .help = "a signal-to-noise ratio below it is shown as a warning" },
    { .name = "bad.sqnr", .type = SET_REAL, .offset = AT(tool.bad_sqnr),
      .lo = -100, .hi = 200, .unit = "dB", .def = "10",
      .help = "a signal-to-noise ratio below it is shown as bad" },
};
const int setting_count = sizeof setting_table / sizeof setting_table[0];

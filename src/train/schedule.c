/* Schedules: the factor on the learning rate as the goal is approached.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "train/trainer.h"

#include <math.h>
#include <string.h>

/* Every schedule's first parameter: epochs in which the rate rises evenly to
 * its full value. The middle of a batch is not known here, so the rise starts
 * at a hundredth rather than at a batch that learns nothing. */
#define WARMUP 0
#define WARMUP_FROM 0.01

static double warm(double epoch, const double param[4])
{
    double end = param[WARMUP];
    if (!(end > 0.0) || epoch >= end)
        return 1.0;
    return WARMUP_FROM + (1.0 - WARMUP_FROM) * epoch / end;
}

static double factor_constant(double epoch, double epochs,
                              const double param[4])
{
    (void)epochs;
    return warm(epoch, param);
}

/* gamma^floor(epoch / every): torch's StepLR stepped once an epoch. */
static double factor_step(double epoch, double epochs, const double param[4])
{
    (void)epochs;
    double steps = param[1] > 0.0 ? floor(epoch / param[1]) : 0.0;
    return warm(epoch, param) * pow(param[2], steps);
}

/* floor + (1 - floor) * (1 + cos(pi * part)) / 2 over what follows the
 * warm-up (Loshchilov and Hutter 2017, equation 5, without restarts). */
static double factor_cosine(double epoch, double epochs,
                            const double param[4])
{
    double start = param[WARMUP] > 0.0 ? param[WARMUP] : 0.0;
    if (epoch < start)
        return warm(epoch, param);
    double part = epochs > start ? (epoch - start) / (epochs - start) : 0.0;
    if (part > 1.0)
        part = 1.0;
    return param[1] +
           (1.0 - param[1]) * 0.5 * (1.0 + cos(3.14159265358979323846 * part));
}

/* torch.optim.lr_scheduler.ReduceLROnPlateau with mode min, threshold_mode
 * rel, cooldown 0, min_lr 0 and eps 1e-8: an epoch is better when its loss is
 * below best * (1 - threshold); after more than `patience` epochs that are
 * not, the rate is multiplied by the factor, unless that lowers it by no more
 * than eps. A loss that is not a number is not better. */
enum { PLATEAU_FACTOR = WARMUP + 1, PLATEAU_PATIENCE, PLATEAU_THRESHOLD };
#define PLATEAU_EPS 1e-8

static void listen_plateau(struct schedule_state *s, double loss, double lr,
                           const double param[4])
{
    double next = s->factor * param[PLATEAU_FACTOR];
    if (loss < s->best * (1.0 - param[PLATEAU_THRESHOLD])) {
        s->best = loss;
        s->bad = 0.0;
    } else {
        s->bad += 1.0;
    }
    if (s->bad <= param[PLATEAU_PATIENCE])
        return;
    s->bad = 0.0;
    if (next >= 0.0 && lr * (s->factor - next) > PLATEAU_EPS)
        s->factor = next;
}

void schedule_state_init(struct schedule_state *s)
{
    *s = (struct schedule_state){ .factor = 1.0, .best = HUGE_VAL };
}

const struct schedule_row *schedule_find(const char *name)
{
    for (int i = 0; i < schedule_count; i++)
        if (!strcmp(schedule_table[i].name, name))
            return &schedule_table[i];
    return NULL;
}

const struct schedule_row schedule_table[] = {
    { .name = "constant", .factor = factor_constant,
      .help = "the same rate throughout",
      .param_name = { "warmup" } },
    { .name = "step", .factor = factor_step,
      .help = "times gamma every so many epochs",
      .param_name = { "warmup", "every", "gamma" },
      .param_default = { 0.0, 10.0, 0.1 } },
    { .name = "cosine", .factor = factor_cosine,
      .help = "half a cosine down to floor at the end of the goal",
      .param_name = { "warmup", "floor" } },
    { .name = "plateau", .factor = factor_constant,
      .help = "times factor after more than patience epochs whose loss is "
              "not below the best by the threshold's share",
      .param_name = { "warmup", "factor", "patience", "threshold" },
      .param_default = { 0.0, 0.1, 10.0, 1e-4 },
      .listen = listen_plateau },
};
const int schedule_count = sizeof schedule_table / sizeof schedule_table[0];

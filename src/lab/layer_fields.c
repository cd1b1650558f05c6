/* The fields of a layer, a row each.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "lab/layer_fields.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lab/num.h"

static double num_index(const struct layer_field *f, const struct layer_view *v)
{
    (void)f;
    return v->node + 1;
}

static void text_index(const struct layer_field *f, const struct layer_view *v,
                       struct str *out)
{
    (void)f;
    str_printf(out, "%d", v->node + 1);
}

static void text_name(const struct layer_field *f, const struct layer_view *v,
                      struct str *out)
{
    (void)f;
    str_add_clean(out, v->name);
}

static void text_type(const struct layer_field *f, const struct layer_view *v,
                      struct str *out)
{
    (void)f;
    str_add(out, v->type);
}

static double bits_number(const char *text)
{
    return text[0] == '-' ? (double)NAN : atof(text);
}

static double num_w(const struct layer_field *f, const struct layer_view *v)
{
    (void)f;
    return bits_number(v->w);
}

static void text_w(const struct layer_field *f, const struct layer_view *v,
                   struct str *out)
{
    (void)f;
    str_add(out, v->w);
}

static double num_a(const struct layer_field *f, const struct layer_view *v)
{
    (void)f;
    return bits_number(v->a);
}

static void text_a(const struct layer_field *f, const struct layer_view *v,
                   struct str *out)
{
    (void)f;
    str_add(out, v->a);
}

/* F fake-quant, O observer, L learned range, B batch norm frozen. */
static void text_flags(const struct layer_field *f, const struct layer_view *v,
                       struct str *out)
{
    (void)f;
    str_char(out, v->fake ? 'F' : '-');
    str_char(out, v->observe ? 'O' : '-');
    str_char(out, v->learn ? 'L' : '-');
    str_char(out, v->bn_frozen ? 'B' : '-');
}

static void text_scheme(const struct layer_field *f, const struct layer_view *v,
                        struct str *out)
{
    (void)f;
    str_add(out, v->scheme);
}

static double num_at(const struct layer_field *f, const struct layer_view *v)
{
    double x;
    memcpy(&x, (const char *)v + f->at, sizeof x);
    return x;
}

static void text_at(const struct layer_field *f, const struct layer_view *v,
                    struct str *out)
{
    double x = num_at(f, v);
    if (!isnan(x))
        num_add(out, x);
}

static void text_db(const struct layer_field *f, const struct layer_view *v,
                    struct str *out)
{
    double x = num_at(f, v);
    if (!isnan(x))
        str_printf(out, "%.1f", x);
}

static void text_share(const struct layer_field *f,
                       const struct layer_view *v, struct str *out)
{
    double x = num_at(f, v);
    if (!isnan(x))
        str_add(out, num_percent(x).s);
}

static double num_params(const struct layer_field *f,
                         const struct layer_view *v)
{
    (void)f;
    return (double)v->params;
}

static void text_params(const struct layer_field *f, const struct layer_view *v,
                        struct str *out)
{
    (void)f;
    if (v->params)
        str_add(out, num_count((double)v->params).s);
}

static double num_macs(const struct layer_field *f, const struct layer_view *v)
{
    (void)f;
    return (double)v->macs;
}

static void text_macs(const struct layer_field *f, const struct layer_view *v,
                      struct str *out)
{
    (void)f;
    if (v->macs)
        str_add(out, num_count((double)v->macs).s);
}

static void text_shape(const struct layer_field *f, const struct layer_view *v,
                       struct str *out)
{
    (void)f;
    for (int k = 1; k < v->shape.rank; k++)
        str_printf(out, "%s%lld", k > 1 ? "x" : "",
                   (long long)v->shape.dim[k]);
}

static double num_fake(const struct layer_field *f, const struct layer_view *v)
{
    (void)f;
    return v->fake;
}

static double num_observe(const struct layer_field *f,
                          const struct layer_view *v)
{
    (void)f;
    return v->observe;
}

static double num_learn(const struct layer_field *f, const struct layer_view *v)
{
    (void)f;
    return v->learn;
}

static double num_frozen(const struct layer_field *f,
                         const struct layer_view *v)
{
    (void)f;
    return v->bn_frozen;
}

#define AT(member) .at = offsetof(struct layer_view, member)
#define SHARE(member) AT(member), .text = text_share, .num = num_at, \
                      .unit = "fraction"
#define DECIBEL(member) AT(member), .text = text_db, .num = num_at, \
                        .unit = "dB"
#define NUMBER(member) AT(member), .text = text_at, .num = num_at

const struct layer_field layer_field_table[] = {
    { .name = "index", .title = "#", .standard = true, .text = text_index,
      .num = num_index, .help = "position, from 1" },
    { .name = "name", .title = "layer", .standard = true, .text = text_name,
      .help = "name" },
    { .name = "type", .title = "type", .standard = true, .text = text_type,
      .help = "type, as selectors take it" },
    { .name = "w", .title = "w", .unit = "bits", .standard = true,
      .text = text_w, .num = num_w, .help = "width of the weights" },
    { .name = "a", .title = "a", .unit = "bits", .standard = true,
      .text = text_a, .num = num_a, .help = "width of the output" },
    { .name = "flags", .title = "FOLB", .standard = true, .text = text_flags,
      .help = "F fake-quant, O observer, L learned range, B batch norm "
              "frozen" },
    { .name = "scheme", .title = "scheme", .standard = true,
      .text = text_scheme, .help = "granularity and symmetry, or the kind" },
    { .name = "sqnr", .title = "sqnr dB", .standard = true,
      DECIBEL(weight.sqnr),
      .help = "signal to quantization noise of the weights" },
    { .name = "sat", .title = "sat", .standard = true,
      SHARE(weight.saturation),
      .help = "share of weights outside the range" },
    { .name = "params", .title = "params", .standard = true,
      .text = text_params, .num = num_params, .help = "learned parameters" },
    { .name = "macs", .title = "macs", .text = text_macs, .num = num_macs,
      .help = "multiply-accumulates per sample" },
    { .name = "shape", .title = "output", .text = text_shape,
      .help = "shape of the output" },
    { .name = "mse", .title = "mse", NUMBER(weight.mse),
      .help = "mean squared quantization error of the weights" },
    { .name = "dead", .title = "dead", .unit = "levels", NUMBER(weight.dead),
      .help = "levels that no weight uses" },
    { .name = "zero", .title = "zero", .unit = "channels",
      NUMBER(weight.zero),
      .help = "channels all of whose weights are 0 on the grid" },
    { .name = "blocked", .title = "blocked", SHARE(weight.blocked),
      .help = "share of weights that clipping keeps their gradient from" },
    { .name = "no_grad", .title = "no grad", .needs = NEED_GRAD,
      SHARE(weight.no_grad),
      .help = "share of weights that a batch gives no gradient at all" },
    { .name = "flips", .title = "flips", SHARE(weight.flips),
      .help = "weight codes that moved in the last epoch" },
    { .name = "osc", .title = "osc", SHARE(weight.osc),
      .help = "weight codes that turn back and forth (Nagel et al. 2022)" },
    { .name = "drift", .title = "drift", SHARE(weight.drift),
      .help = "change of the weights' range in the last epoch, over its "
              "width" },
    { .name = "out_sqnr", .title = "out dB", .needs = NEED_OUT,
      DECIBEL(out.sqnr),
      .help = "signal to quantization noise of the output, on a batch of "
              "validation samples like all that begins with out_" },
    { .name = "out_mse", .title = "out mse", .needs = NEED_OUT,
      NUMBER(out.mse), .help = "mean squared quantization error of the "
                               "output" },
    { .name = "out_sat", .title = "out sat", .needs = NEED_OUT,
      SHARE(out.saturation),
      .help = "share of the output's values outside the range" },
    { .name = "out_dead", .title = "out dead", .unit = "levels",
      .needs = NEED_OUT, NUMBER(out.dead),
      .help = "levels that no value of the output uses" },
    { .name = "out_one", .title = "out one", .needs = NEED_OUT,
      SHARE(out.one),
      .help = "share of the output's commonest code; a dead layer has one "
              "only" },
    { .name = "out_blocked", .title = "out blocked",
      .needs = NEED_OUT | NEED_GRAD, SHARE(out.blocked),
      .help = "share of the gradient that clipping of the output keeps "
              "back" },
    { .name = "out_drift", .title = "out drift", SHARE(out.drift),
      .help = "change of the output's range in the last epoch, over its "
              "width" },
    { .name = "fake", .title = "fake", .num = num_fake,
      .help = "1 when fake-quantization is on" },
    { .name = "observer", .title = "observer", .num = num_observe,
      .help = "1 when an observer is live" },
    { .name = "learn", .title = "learn", .num = num_learn,
      .help = "1 when a range is learned" },
    { .name = "frozen", .title = "frozen", .num = num_frozen,
      .help = "1 when batch norm is frozen or folded" },
};
const int layer_field_count =
    sizeof layer_field_table / sizeof layer_field_table[0];

const struct layer_field *layer_field_find(const char *name)
{
    for (int i = 0; i < layer_field_count; i++)
        if (strcmp(layer_field_table[i].name, name) == 0)
            return &layer_field_table[i];
    return NULL;
}

bool layer_field_value(struct lab *l, const struct layer_view *v,
                       const char *name, struct value *out)
{
    const struct layer_field *f = layer_field_find(name);
    if (!f)
        return false;
    if (l && f->needs)
        lab_refresh_stats(l, f->needs);
    if (f->num) {
        *out = value_num(f->num(f, v));
        return true;
    }
    struct str s = { 0 };
    f->text(f, v, &s);
    *out = value_text(str_text(&s));
    str_fini(&s);
    return true;
}

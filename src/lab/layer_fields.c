/* The fields of a layer, a row each.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "lab/layer_fields.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lab/num.h"

static void text_number(double v, struct str *out)
{
    if (!isnan(v))
        num_add(out, v);
}

static double num_index(const struct layer_view *v)
{
    return v->node + 1;
}

static void text_index(const struct layer_view *v, struct str *out)
{
    str_printf(out, "%d", v->node + 1);
}

static void text_name(const struct layer_view *v, struct str *out)
{
    str_add_clean(out, v->name);
}

static void text_type(const struct layer_view *v, struct str *out)
{
    str_add(out, v->type);
}

static double bits_number(const char *text)
{
    return text[0] == '-' ? (double)NAN : atof(text);
}

static double num_w(const struct layer_view *v)
{
    return bits_number(v->w);
}

static void text_w(const struct layer_view *v, struct str *out)
{
    str_add(out, v->w);
}

static double num_a(const struct layer_view *v)
{
    return bits_number(v->a);
}

static void text_a(const struct layer_view *v, struct str *out)
{
    str_add(out, v->a);
}

/* F fake-quant, O observer, L learned range, B batch norm frozen. */
static void text_flags(const struct layer_view *v, struct str *out)
{
    str_char(out, v->fake ? 'F' : '-');
    str_char(out, v->observe ? 'O' : '-');
    str_char(out, v->learn ? 'L' : '-');
    str_char(out, v->bn_frozen ? 'B' : '-');
}

static void text_scheme(const struct layer_view *v, struct str *out)
{
    str_add(out, v->scheme);
}

static double num_sqnr(const struct layer_view *v)
{
    return v->sqnr;
}

static void text_sqnr(const struct layer_view *v, struct str *out)
{
    if (!isnan(v->sqnr))
        str_printf(out, "%.1f", v->sqnr);
}

static double num_sat(const struct layer_view *v)
{
    return v->saturation;
}

static void text_sat(const struct layer_view *v, struct str *out)
{
    if (!isnan(v->saturation))
        str_add(out, num_percent(v->saturation).s);
}

static double num_mse(const struct layer_view *v)
{
    return v->mse;
}

static void text_mse(const struct layer_view *v, struct str *out)
{
    text_number(v->mse, out);
}

static double num_dead(const struct layer_view *v)
{
    return v->dead < 0 ? (double)NAN : v->dead;
}

static void text_dead(const struct layer_view *v, struct str *out)
{
    text_number(num_dead(v), out);
}

static double num_flips(const struct layer_view *v)
{
    return v->flips;
}

static void text_flips(const struct layer_view *v, struct str *out)
{
    if (!isnan(v->flips))
        str_add(out, num_percent(v->flips).s);
}

static double num_params(const struct layer_view *v)
{
    return (double)v->params;
}

static void text_params(const struct layer_view *v, struct str *out)
{
    if (v->params)
        str_add(out, num_count((double)v->params).s);
}

static double num_macs(const struct layer_view *v)
{
    return (double)v->macs;
}

static void text_macs(const struct layer_view *v, struct str *out)
{
    if (v->macs)
        str_add(out, num_count((double)v->macs).s);
}

static void text_shape(const struct layer_view *v, struct str *out)
{
    for (int k = 1; k < v->shape.rank; k++)
        str_printf(out, "%s%lld", k > 1 ? "x" : "",
                   (long long)v->shape.dim[k]);
}

static double num_fake(const struct layer_view *v)
{
    return v->fake;
}

static double num_observe(const struct layer_view *v)
{
    return v->observe;
}

static double num_learn(const struct layer_view *v)
{
    return v->learn;
}

static double num_frozen(const struct layer_view *v)
{
    return v->bn_frozen;
}

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
    { .name = "sqnr", .title = "sqnr dB", .unit = "dB", .standard = true,
      .text = text_sqnr, .num = num_sqnr,
      .help = "signal to quantization noise of the weights" },
    { .name = "sat", .title = "sat", .unit = "fraction", .standard = true,
      .text = text_sat, .num = num_sat,
      .help = "share of weights outside the range" },
    { .name = "params", .title = "params", .standard = true,
      .text = text_params, .num = num_params, .help = "learned parameters" },
    { .name = "macs", .title = "macs", .text = text_macs, .num = num_macs,
      .help = "multiply-accumulates per sample" },
    { .name = "shape", .title = "output", .text = text_shape,
      .help = "shape of the output" },
    { .name = "mse", .title = "mse", .text = text_mse, .num = num_mse,
      .help = "mean squared quantization error of the weights" },
    { .name = "dead", .title = "dead", .unit = "levels", .text = text_dead,
      .num = num_dead, .help = "levels that no weight uses" },
    { .name = "flips", .title = "flips", .unit = "fraction",
      .text = text_flips, .num = num_flips,
      .help = "weight codes that moved in the last epoch" },
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

bool layer_field_value(const struct layer_view *v, const char *name,
                       struct value *out)
{
    const struct layer_field *f = layer_field_find(name);
    if (!f)
        return false;
    if (f->num) {
        *out = value_num(f->num(v));
        return true;
    }
    struct str s = { 0 };
    f->text(v, &s);
    *out = value_text(str_text(&s));
    str_fini(&s);
    return true;
}

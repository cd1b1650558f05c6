/* Command: quantize. Any quantizer on any array; no model is needed.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "data/npy.h"
#include "lab/array_file.h"
#include "lab/state.h"
#include "lab/tensor_view.h"

#define SPEC_MAX 512

struct job {
    struct lab *lab;
    const struct args *args;
    struct err *err;
    struct tensor x, dy;      /* reals; dy.data NULL: no gradient wanted */
    struct qspec spec;
    int axis;                 /* of the channels */
    bool train;
    struct quantizer *q;
    struct qview view;
    struct tensor y, dx, code;
};

/* ---- what is asked for ---- */

/* `w4`, `a8`: the letter, and where the digits begin. */
static char width_letter(const char *word)
{
    size_t n = strspn(word + (*word != '\0'), "0123456789");
    bool is = (*word == 'w' || *word == 'a') && n > 0 && !word[1 + n];
    return is ? *word : '\0';
}

/* The first word as spec text, and what it leaves unsaid: of `w4` the
 * weights' quantizer of the lab's qconfig, of `a8` its outputs'. */
static enum status first_word(const struct job *j, const struct arg *word,
                              char text[SPEC_MAX], struct qspec *base)
{
    const struct qconfig *c = j->lab->qconfig;
    char letter = width_letter(word->text);
    qspec_default(base);
    if (letter)
        TRY(qspec_parse(letter == 'w' ? c->weight : c->activation, NULL, base,
                        j->err));
    if (letter)
        snprintf(text, SPEC_MAX, "%s:%s", base->kind->name, word->text + 1);
    else if (strlen(word->text) >= SPEC_MAX)
        return err_set(j->err, STATUS_ARG, "the quantizer is too long");
    else
        snprintf(text, SPEC_MAX, "%s", word->text);
    return STATUS_OK;
}

/* Each word is parsed with what stood before it, so that a fault is told
 * where it is. */
static enum status read_spec(struct job *j)
{
    static const struct {
        const char *key, *before;
    } more[] = { { "g", "" }, { "s", "" }, { "round", "round=" },
                 { "obs", "obs=" } };
    const struct args *a = j->args;
    const struct arg *word = args_find(a, "quantizer");
    struct qspec base;
    char text[SPEC_MAX];
    enum status s = first_word(j, word, text, &base);
    if (!s)
        s = qspec_parse(text, &base, &j->spec, j->err);
    if (s)
        return args_blame(a, word, 0, s);
    for (size_t i = 0; i < sizeof more / sizeof more[0]; i++) {
        const struct arg *x = args_find(a, more[i].key);
        size_t n = strlen(text);
        if (!x)
            continue;
        int used = snprintf(text + n, SPEC_MAX - n, ",%s%s", more[i].before,
                            x->text);
        s = used < (int)(SPEC_MAX - n)
                ? qspec_parse(text, &base, &j->spec, j->err)
                : err_set(j->err, STATUS_ARG, "the quantizer is too long");
        if (s)
            return args_blame(a, x, 0, s);
    }
    return STATUS_OK;
}

/* A file, or a tensor of the model; *axis: of its channels, where it is known.
 */
static enum status read_array(const struct job *j, const char *text,
                              struct tensor *out, int *axis)
{
    struct fetched f;
    if (array_is_file(text) || !lab_is_tensor(j->lab, text))
        return array_read_reals(text, out, j->err);
    TRY(lab_fetch(j->lab, text, &f, j->err));
    struct tensor view = tensor_view(DTYPE_F32, &f.shape, f.x);
    enum status s = tensor_cast(out, &view, DTYPE_REAL, j->err);
    if (f.axis > 0)
        *axis = f.axis;
    fetched_fini(&f);
    return s;
}

static enum status read_inputs(struct job *j)
{
    const struct args *a = j->args;
    const struct arg *file = args_find(a, "file");
    const struct arg *grad = args_find(a, "grad");
    enum status s = read_array(j, file->text, &j->x, &j->axis);
    if (!s && shape_count(&j->x.shape) == 0)
        s = err_set(j->err, STATUS_ARG, "%s holds no values", file->text);
    if (s)
        return args_blame(a, file, 0, s);
    if (!grad)
        return STATUS_OK;
    int axis;
    s = read_array(j, grad->text, &j->dy, &axis);
    if (!s && !shape_equal(&j->dy.shape, &j->x.shape)) {
        struct str has = { 0 }, want = { 0 };
        shape_add(&has, &j->dy.shape);
        shape_add(&want, &j->x.shape);
        s = err_set(j->err, STATUS_ARG, "%s is %s, %s is %s", grad->text,
                    str_text(&has), file->text, str_text(&want));
        str_fini(&has);
        str_fini(&want);
    }
    return s ? args_blame(a, grad, 0, s) : STATUS_OK;
}

static enum status read_axis(struct job *j)
{
    const struct arg *x = args_find(j->args, "axis");
    int rank = j->x.shape.rank;
    double axis = x ? x->number : j->axis;
    if (axis < 0)
        axis += rank;
    if (x && !(axis >= 0 && axis < rank))
        return args_fail(j->args, x, j->err, "axis=%s: the array has %d "
                                             "dimension%s", x->text, rank,
                         rank == 1 ? "" : "s");
    j->axis = (int)axis;
    return STATUS_OK;
}

/* Groups are runs in the row of a channel; of a vector, in all of it. */
static enum status check_group(const struct job *j)
{
    const struct shape *s = &j->x.shape;
    int64_t row = s->rank > 1 ? shape_inner(s, 0) : shape_count(s);
    const struct arg *g = args_find(j->args, "g");
    if (j->spec.grain != GRAIN_GROUP || row % j->spec.group == 0)
        return STATUS_OK;
    return args_fail(j->args, g ? g : args_find(j->args, "quantizer"),
                     j->err, "group=%d does not divide the %lld values of a "
                             "row", j->spec.group, (long long)row);
}

/* ---- the range ---- */

/* `rows` values for every channel, row by row: numbers separated by commas,
 * or an array of `rows` or rows * channels numbers. */
static enum status read_values(const struct job *j, const char *text,
                               int rows, real *out)
{
    int64_t c = j->q->channels;
    struct tensor t;
    if (array_is_file(text)) {
        TRY(array_read_reals(text, &t, j->err));
        int64_t n = shape_count(&t.shape);
        bool one = n == rows, fits = one || n == rows * c;
        for (int64_t i = 0; fits && i < rows * c; i++)
            out[i] = (real)tensor_get(&t, one ? i / c : i);
        tensor_fini(&t);
        return fits ? STATUS_OK
                    : err_set(j->err, STATUS_ARG,
                              "%s has %lld numbers, wanted %d%s", text,
                              (long long)n, rows,
                              c > 1 ? " for every channel, or for all" : "");
    }
    for (int r = 0; r < rows; r++) {
        char word[64];
        double v;
        size_t n = r + 1 < rows ? strcspn(text, ",") : strlen(text);
        snprintf(word, sizeof word, "%.*s", (int)(n < 63 ? n : 63), text);
        if (!word[0])
            return err_set(j->err, STATUS_ARG, "%d numbers with a comma "
                           "between are wanted, or an .npy or .npz file",
                           rows);
        if (number_parse(word, &v, NULL))
            return err_set(j->err, STATUS_ARG,
                           "'%s' is no number, .npy or .npz file", word);
        text += n + (text[n] == ',');
        for (int64_t i = 0; i < c; i++)
            out[r * c + i] = (real)v;
    }
    return STATUS_OK;
}

static enum status set_given_range(struct job *j, const struct arg *range)
{
    int64_t c = j->q->channels;
    real *v = xmalloc((size_t)(2 * c) * sizeof *v);
    enum status s = read_values(j, range->text, 2, v);
    if (!s)
        s = quantizer_set_range(j->q, v, v + c, c, j->err);
    free(v);
    return s ? args_blame(j->args, range, 0, s) : STATUS_OK;
}

static enum status set_given_grid(struct job *j, const struct arg *scale,
                                  const struct arg *zp)
{
    int64_t c = j->q->channels;
    real *v = xmalloc((size_t)(2 * c) * sizeof *v);
    const struct arg *blame = scale;
    enum status s = read_values(j, scale->text, 1, v);
    for (int64_t i = 0; i < c; i++)
        v[c + i] = 0;
    if (!s && zp) {
        blame = zp;
        s = read_values(j, zp->text, 1, v + c);
    }
    if (!s) {
        s = quantizer_set_grid(j->q, v, v + c, c, j->err);
        blame = s && zp && strncmp(j->err->text, "zero", 4) == 0 ? zp : scale;
    }
    free(v);
    return s ? args_blame(j->args, blame, 0, s) : STATUS_OK;
}

static enum status observe(struct job *j)
{
    const struct args *a = j->args;
    enum status s = quantizer_observe(j->q, j->x.data, j->view, j->err);
    if (s)
        return args_blame(a, args_find(a, "file"), 0, s);
    if (!j->q->ready)
        return args_fail(a, args_find(a, "quantizer"), j->err,
                         "observer %s finds no range; range= or scale= gives "
                         "one", j->spec.observer->name);
    return STATUS_OK;
}

static int learned_row(const struct job *j, const char *name, size_t n)
{
    const struct qrow *row = j->spec.kind->learned;
    for (int i = 0; row && row[i].name; i++)
        if (strlen(row[i].name) == n && strncmp(row[i].name, name, n) == 0)
            return i;
    return -1;
}

/* From data, unless it is given. `scale=` of a kind that learns one is the
 * learned value, set later. */
static enum status find_range(struct job *j)
{
    const struct args *a = j->args;
    const struct arg *range = args_find(a, "range");
    const struct arg *scale = args_find(a, "scale");
    const struct arg *zp = args_find(a, "zp");
    bool learned = learned_row(j, "scale", 5) >= 0;
    if (range && scale)
        return args_fail(a, scale, j->err, "range= and scale= cannot both be "
                                           "given");
    if (zp && (!scale || learned))
        return args_fail(a, zp, j->err, learned
                             ? "%s learns its zero point: give it by its "
                               "name" : "zp= wants scale= beside it",
                         j->spec.kind->name);
    if (range)
        return set_given_range(j, range);
    return scale && !learned ? set_given_grid(j, scale, zp) : observe(j);
}

/* ---- learned parameters ---- */

static enum status put_learned(struct job *j, int row, const char *text)
{
    const struct qrow *r = &j->spec.kind->learned[row];
    struct quantizer *q = j->q;
    int64_t c = q->channels;
    real *v = xmalloc((size_t)c * sizeof *v);
    enum status s = read_values(j, text, 1, v);
    for (int64_t i = 0; i < c && !s; i++)
        if (!((double)v[i] >= r->lo && (double)v[i] <= r->hi))
            s = err_set(j->err, STATUS_ARG, "%s is from %s to %s, not %s",
                        r->name, num_text(r->lo).s, num_text(r->hi).s,
                        num_text((double)v[i]).s);
    if (!s)
        memcpy(q->learned + row * c, v, (size_t)c * sizeof *v);
    free(v);
    return s;
}

struct start_names {
    const struct job *job;
    int learned;
};

static const char *start_name(const void *ctx, int i)
{
    const struct start_names *n = ctx;
    if (i < n->learned)
        return n->job->spec.kind->learned[i].name;
    return n->job->args->cmd->arg[i - n->learned].name;
}

static enum status no_start(const struct job *j, const struct arg *x)
{
    char name[64];
    const struct quantizer_kind *k = j->spec.kind;
    struct start_names names = { j, quantizer_learned_rows(k) };
    int rows = 0;
    while (j->args->cmd->arg[rows].name)
        rows++;
    snprintf(name, sizeof name, "%.*s", (int)strcspn(x->text, "="), x->text);
    const char *near = str_nearest(name, names.learned + rows, start_name,
                                   &names);
    if (near)
        return args_fail(j->args, x, j->err, "quantize takes no '%s' (did "
                                             "you mean '%s='?)", name, near);
    struct str all = { 0 };
    for (int i = 0; i < names.learned; i++)
        str_printf(&all, " %s=", k->learned[i].name);
    args_fail(j->args, x, j->err, "quantize takes no '%s'; %s %s%s", name,
              k->name, names.learned ? "starts from" : "learns nothing",
              str_text(&all));
    str_fini(&all);
    return STATUS_ARG;
}

static enum status start_learned(struct job *j)
{
    const struct args *a = j->args;
    const struct arg *scale = args_find(a, "scale");
    const struct arg *learn = args_find(a, "learn");
    bool on = learn ? strcmp(learn->text, "on") == 0 : j->q->n_learned > 0;
    enum status s = quantizer_enable_learn(j->q, on, j->err);
    int row = learned_row(j, "scale", 5), n = 0;
    if (s)
        return args_blame(a, learn, 0, s);
    if (scale && row >= 0) {
        s = put_learned(j, row, scale->text);
        n++;
    }
    if (s)
        return args_blame(a, scale, 0, s);
    for (int i = 0; i < args_count(a, "words"); i++, n++) {
        const struct arg *x = args_nth(a, "words", i);
        size_t name = strcspn(x->text, "=");
        row = learned_row(j, x->text, name);
        if (row < 0 || !x->text[name])
            return no_start(j, x);
        s = put_learned(j, row, x->text + name + 1);
        if (s)
            return args_blame(a, x, 0, s);
    }
    if (n == 0)
        return STATUS_OK;
    if (j->spec.kind->refresh)
        j->spec.kind->refresh(j->q);
    j->q->ready = true;
    return STATUS_OK;
}

/* ---- the work ---- */

static enum status make_quantizer(struct job *j)
{
    const struct args *a = j->args;
    struct quantizer plan = { .spec = j->spec };
    const char *phase = args_text(a, "phase");
    TRY(check_group(j));
    j->train = !phase || strcmp(phase, "train") == 0;
    j->view = quantizer_view(&plan, &j->x.shape, j->axis);
    enum status s =
        quantizer_new(&j->spec, j->view.channels, &j->q, j->err);
    if (s)
        return args_blame(a, args_find(a, "quantizer"), 0, s);
    j->q->rng = rng_new((uint64_t)args_number(a, "seed",
                                              (double)j->lab->train.seed),
                        RNG_ROUND);
    return j->q->rng ? STATUS_OK : err_memory(j->err, "a random stream");
}

/* Chance was at work: codes have to be read off the values. */
static bool is_random(const struct job *j)
{
    return j->train && (j->spec.rounding == ROUND_STOCHASTIC ||
                        j->spec.kind->flags & QK_STOCHASTIC);
}

static enum status run(struct job *j)
{
    const struct quantizer_kind *k = j->spec.kind;
    const struct shape *shape = &j->x.shape;
    TRY(tensor_init(&j->y, DTYPE_REAL, shape, j->err));
    quantizer_forward(j->q, j->x.data, j->y.data, j->view, j->train);
    if (j->dy.data) {
        TRY(tensor_init(&j->dx, DTYPE_REAL, shape, j->err));
        quantizer_zero_grad(j->q);
        quantizer_backward(j->q, j->x.data, j->dy.data, j->dx.data, j->view);
    }
    if (!k->codes)
        return STATUS_OK;
    TRY(tensor_init(&j->code, DTYPE_I32, shape, j->err));
    k->codes(j->q, is_random(j) ? j->y.data : j->x.data, j->code.data,
             j->view);
    return STATUS_OK;
}

/* ---- the file ---- */

/* (1), (channels), or for groups the array's with the last axis cut. */
static struct shape grid_shape(const struct job *j)
{
    struct shape s = j->x.shape;
    int64_t last = s.rank > 0 ? s.dim[s.rank - 1] : 1;
    if (j->spec.grain != GRAIN_GROUP || last % j->spec.group)
        return shape_1(j->q->channels);
    s.dim[s.rank - 1] = last / j->spec.group;
    return s;
}

/* int32 where every zero point is a code, as torch's are. */
static enum status put_zero_points(struct job *j, struct bag *b,
                                   const struct shape *s)
{
    bool whole = !j->spec.float_zp;
    for (int64_t i = 0; i < j->q->channels; i++)
        whole = whole && j->q->zero_point[i] == real_rint(j->q->zero_point[i]);
    struct tensor view = tensor_view(DTYPE_REAL, s, j->q->zero_point), t;
    TRY(tensor_cast(&t, &view, whole ? DTYPE_I32 : DTYPE_F32, j->err));
    return bag_put_tensor(b, "zero_point", &t, j->err);
}

static enum status put_gradients(struct job *j, struct bag *b,
                                 const struct shape *s)
{
    const struct qrow *row = j->spec.kind->learned;
    TRY(bag_put(b, "dx", DTYPE_REAL, &j->x.shape, j->dx.data, j->err));
    for (int i = 0; j->q->learn && row && row[i].name; i++) {
        char name[64];
        snprintf(name, sizeof name, "d%s", row[i].name);
        TRY(bag_put(b, name, DTYPE_REAL, s, j->q->grad + i * j->q->channels,
                    j->err));
    }
    return STATUS_OK;
}

static enum status fill(struct job *j, struct bag *b)
{
    struct shape s = grid_shape(j);
    if (j->code.data)
        TRY(bag_put(b, "codes", DTYPE_I32, &j->x.shape, j->code.data,
                    j->err));
    TRY(bag_put(b, "values", DTYPE_REAL, &j->x.shape, j->y.data, j->err));
    TRY(bag_put(b, "scale", DTYPE_REAL, &s, j->q->scale, j->err));
    TRY(put_zero_points(j, b, &s));
    return j->dx.data ? put_gradients(j, b, &s) : STATUS_OK;
}

static enum status check_redirect(const struct args *a, struct err *e)
{
    if (!a->redirect || (array_is_npz(a->redirect) && !a->append))
        return STATUS_OK;
    *a->fault = a->line.redirect_at;
    return err_set(e, STATUS_ARG, a->append
                       ? "an .npz file cannot be appended to: %s"
                       : "quantize writes an .npz file, not '%s'",
                   a->redirect);
}

static enum status write_result(struct job *j)
{
    if (!j->args->redirect)
        return STATUS_OK;
    struct bag *b = bag_new();
    enum status s = b ? fill(j, b) : err_memory(j->err, "the result");
    if (!s)
        s = npz_write(j->args->redirect, b, j->err);
    bag_free(b);
    *j->args->redirect_done = true;
    if (s)
        *j->args->fault = j->args->line.redirect_at;
    return s;
}

/* ---- telling ---- */

struct errors {
    double mse, worst, sqnr;
};

static struct errors errors_of(const struct job *j)
{
    const real *x = j->x.data, *y = j->y.data;
    int64_t n = shape_count(&j->x.shape);
    double signal = 0, noise = 0, worst = 0;
    for (int64_t i = 0; i < n; i++) {
        double d = (double)y[i] - (double)x[i];
        signal += (double)x[i] * (double)x[i];
        noise += d * d;
        worst = fabs(d) > worst ? fabs(d) : worst;
    }
    return (struct errors){
        .mse = noise / (double)n,
        .worst = worst,
        .sqnr = noise > 0 ? 10 * log10(signal / noise) : (double)INFINITY,
    };
}

#define LEVELS_MAX (1 << 20)  /* of a table of codes */

/* How many of the codes are in use; where there are none, of the values. */
static int64_t levels_of(const struct job *j, const struct qstats *st)
{
    const int32_t *code = j->code.data;
    int64_t n = shape_count(&j->x.shape), levels = 0;
    int64_t lo = code ? code[0] : 0, hi = lo;
    for (int64_t i = 1; code && i < n; i++) {
        lo = code[i] < lo ? code[i] : lo;
        hi = code[i] > hi ? code[i] : hi;
    }
    if (!code || hi - lo >= LEVELS_MAX)
        return st->levels;
    bool *used = xmalloc((size_t)(hi - lo + 1) * sizeof *used);
    memset(used, 0, (size_t)(hi - lo + 1) * sizeof *used);
    for (int64_t i = 0; i < n; i++) {
        levels += !used[code[i] - lo];
        used[code[i] - lo] = true;
    }
    free(used);
    return levels;
}

static void print_reals(struct str *out, const char *name, const real *v,
                        int64_t n)
{
    real lo = v[0], hi = v[0];
    for (int64_t i = 1; i < n; i++) {
        lo = v[i] < lo ? v[i] : lo;
        hi = v[i] > hi ? v[i] : hi;
    }
    str_printf(out, "%s %s", name, num_text((double)lo).s);
    if (hi != lo)
        str_printf(out, " .. %s", num_text((double)hi).s);
}

static void tell_grid(const struct job *j, struct out *out)
{
    const struct quantizer *q = j->q;
    struct str s = { 0 };
    print_reals(&s, "scale", q->scale, q->channels);
    print_reals(&s, ", zero point", q->zero_point, q->channels);
    str_printf(&s, ", codes %lld to %lld", (long long)q->lo_code,
               (long long)q->hi_code);
    if (q->channels > 1)
        str_printf(&s, ", %lld %s", (long long)q->channels,
                   j->spec.grain == GRAIN_GROUP ? "groups" : "channels");
    out_printf(out, OUT_RESULT, "%s", str_text(&s));
    str_fini(&s);
}

static void tell_gradients(const struct job *j, struct out *out)
{
    const struct quantizer *q = j->q;
    const struct qrow *row = j->spec.kind->learned;
    for (int i = 0; j->dx.data && q->learn && row && row[i].name; i++) {
        struct str s = { 0 };
        char name[64];
        snprintf(name, sizeof name, "d%s", row[i].name);
        print_reals(&s, name, q->grad + i * q->channels, q->channels);
        out_printf(out, OUT_RESULT, "%s", str_text(&s));
        if (q->channels == 1)
            answer_num(j->lab, name, (double)q->grad[i]);
        str_fini(&s);
    }
}

static void tell(struct job *j, struct out *out)
{
    struct lab *l = j->lab;
    struct quantizer *q = j->q;
    struct errors r = errors_of(j);
    struct str spec = { 0 }, shape = { 0 };
    struct qstats st;
    qspec_print(&j->spec, &spec);
    shape_add(&shape, &j->x.shape);
    quantizer_stats(q, j->x.data, j->view, &st);
    double clipped = (double)st.clipped / (double)st.count;
    int64_t levels = levels_of(j, &st);
    out_printf(out, OUT_RESULT, "%s: sqnr %s dB, mse %s, max error %s, "
                                "clipped %s, %lld levels used",
               str_text(&spec), num_text(r.sqnr).s, num_text(r.mse).s,
               num_text(r.worst).s, num_percent(clipped).s,
               (long long)levels);
    answer_text(l, "quantizer", str_text(&spec));
    answer_text(l, "shape", str_text(&shape));
    answer_num(l, "n", (double)st.count);
    answer_num(l, "channels", (double)q->channels);
    answer_num(l, "scale", (double)q->scale[0]);
    answer_num(l, "zero_point", (double)q->zero_point[0]);
    answer_num(l, "sqnr", r.sqnr);
    answer_num(l, "mse", r.mse);
    answer_num(l, "max_error", r.worst);
    answer_num(l, "clipped", clipped);
    answer_num(l, "levels", (double)levels);
    tell_grid(j, out);
    tell_gradients(j, out);
    str_fini(&spec);
    str_fini(&shape);
}

static enum status work(struct job *j, struct out *out)
{
    TRY(check_redirect(j->args, j->err));
    TRY(read_spec(j));
    TRY(read_inputs(j));
    TRY(read_axis(j));
    TRY(make_quantizer(j));
    TRY(find_range(j));
    TRY(start_learned(j));
    TRY(run(j));
    TRY(write_result(j));
    tell(j, out);
    return STATUS_OK;
}

static enum status exec_quantize(struct lab *l, const struct args *a,
                                 struct out *out, struct err *e)
{
    struct job j = { .lab = l, .args = a, .err = e };
    enum status s = work(&j, out);
    if (j.q)
        rng_free(j.q->rng);
    quantizer_free(j.q);
    tensor_fini(&j.x);
    tensor_fini(&j.dy);
    tensor_fini(&j.y);
    tensor_fini(&j.dx);
    tensor_fini(&j.code);
    return s;
}

static const struct arg_row quantize_args[] = {
    { .name = "file", .kind = ARG_FILE, .required = true,
      .help = "the array: FILE.npy, FILE.npz, FILE.npz:NAME, or a tensor of "
              "the model: conv1.w" },
    { .name = "quantizer", .kind = ARG_WORD, .required = true,
      .help = "w4, a8: that width of the qconfig's quantizer of weights, of "
              "outputs; or a whole one: lsq:2, affine:8,asym, "
              "quantized_bits(6,0)" },
    { .name = "words", .kind = ARG_REST, .many = true,
      .help = "NAME=VALUE: where a learned parameter starts (step=0.1)" },
    { .name = "grad", .kind = ARG_FILE, .key = true,
      .help = "gradient of the loss by the values: adds dx, and d<parameter> "
              "for each learned parameter" },
    { .name = "g", .kind = ARG_WORD, .key = true,
      .help = "granularity: tensor, channel, group=N" },
    { .name = "s", .kind = ARG_CHOICE, .key = true, .choices = "sym|asym",
      .help = "symmetry" },
    { .name = "round", .kind = ARG_WORD, .key = true, .help = "rounding" },
    { .name = "obs", .kind = ARG_WORD, .key = true,
      .help = "observer that finds the range" },
    { .name = "axis", .kind = ARG_INT, .key = true,
      .help = "of the channels; 0, or that of the model's tensor" },
    { .name = "range", .kind = ARG_WORD, .key = true,
      .help = "LO,HI, or an array of 2 x channels" },
    { .name = "scale", .kind = ARG_WORD, .key = true,
      .help = "scale, a number or an array" },
    { .name = "zp", .kind = ARG_WORD, .key = true,
      .help = "zero point beside scale=; 0" },
    { .name = "learn", .kind = ARG_CHOICE, .key = true, .choices = "on|off",
      .help = "learned parameters are in use; on for kinds that have some" },
    { .name = "phase", .kind = ARG_CHOICE, .key = true,
      .choices = "train|eval",
      .help = "stochastic kinds draw in training only; train" },
    { .name = "seed", .kind = ARG_INT, .key = true,
      .help = "of what is drawn; train.seed" },
    { 0 },
};

const struct cmd cmd_quantize = {
    .name = "quantize", .group = "run",
    .help = "quantize any array; no model is needed",
    .detail =
        "The quantizer sees the array once, as in a training step: the "
        "observer finds the range unless range= or scale= gives it, then the "
        "values are quantized. The file of `-> FILE.npz` gets codes (int32), "
        "values, scale and zero_point; with grad= also dx and one "
        "d<parameter> for each learned parameter (dstep, dscale ..).\n\n"
        "Kinds that learn start from the range found, or from NAME=VALUE "
        "with a parameter's name (`help lsq` lists them); with learn=off "
        "kinds such as brevitas take their scale from the data instead.",
    .arg = quantize_args, .flags = CMD_RESULT,
    .example_setup = "load model jet; quantize fc1.w w8 -> x.npz",
    .example = "quantize x.npz:values w4 g=channel -> q.npz",
    .exec = exec_quantize,
};

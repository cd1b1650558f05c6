/* Expressions: a recursive descent that computes while it reads.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "lab/expr.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "lab/answer.h"
#include "lab/layer_fields.h"
#include "lab/lex.h"
#include "lab/num.h"
#include "lab/state.h"
#include "lab/tensor_view.h"

#define DEPTH_MAX 64          /* nesting that one expression may have */
#define ARGS_MAX 8

struct parser {
    const struct expr_env *env;
    const char *text;
    int at, depth, fault;
    bool compared;
    struct value left, right;
    char op[3];
    struct err *err;
};

/* One argument: a name that is not looked up yet, or a value. */
struct operand {
    bool is_name;
    char name[128];
    int at;
    struct value value;
};

struct value value_num(double v)
{
    return (struct value){ .num = v };
}

struct value value_text(const char *text)
{
    struct value v = { .is_text = true, .num = (double)NAN };
    snprintf(v.text, sizeof v.text, "%s", text);
    return v;
}

bool value_true(const struct value *v)
{
    return v->is_text ? v->text[0] != '\0' : !isnan(v->num) && v->num != 0;
}

void value_print(const struct value *v, struct str *out)
{
    if (v->is_text)
        str_add(out, v->text);
    else
        num_add(out, v->num);
}

static enum status fail(struct parser *p, int at, const char *what)
{
    p->fault = at;
    return err_set(p->err, STATUS_ARG, "%s", what);
}

static void skip(struct parser *p)
{
    while (isspace((unsigned char)p->text[p->at]))
        p->at++;
}

static enum status parse_or(struct parser *p, struct value *out);

static enum status want_number(struct parser *p, const struct value *v,
                               int at)
{
    return v->is_text ? fail(p, at, "a number is wanted here, not a text")
                      : STATUS_OK;
}

/* ---- names and calls ---- */

/* Reads a name: letters, digits, _ and dots. */
static void read_name(struct parser *p, char *out, size_t size)
{
    size_t n = 0;
    while (lex_is_name(p->text[p->at])) {
        if (n < size - 1)
            out[n++] = p->text[p->at];
        p->at++;
    }
    out[n] = '\0';
}

static enum status read_string(struct parser *p, char *out, size_t size)
{
    int begin = p->at;
    char quote = p->text[p->at++];
    size_t n = 0;
    while (p->text[p->at] && p->text[p->at] != quote) {
        char c = p->text[p->at++];
        if (c == '\\' && quote == '"' && p->text[p->at])
            c = p->text[p->at++];
        if (n < size - 1)
            out[n++] = c;
    }
    out[n] = '\0';
    if (!p->text[p->at])
        return fail(p, begin, "the quote is not closed");
    p->at++;
    return STATUS_OK;
}

static enum status look_up(struct parser *p, const char *name, int at,
                           struct value *out)
{
    if (p->env->layer &&
        layer_field_value(p->env->lab, p->env->layer, name, out))
        return STATUS_OK;
    if (!p->env->lab)
        return fail(p, at, "names have no meaning here");
    enum status s = name_value(p->env->lab, name, out, p->err);
    if (s)
        p->fault = at;
    return s;
}

/* An argument that is a name alone stays a name: it may be a series or a
 * tensor. Anything else is computed. */
static enum status parse_operand(struct parser *p, struct operand *out)
{
    skip(p);
    out->at = p->at;
    int begin = p->at;
    char c = p->text[p->at];
    if (lex_is_name_start(c) || c == '"' || c == '\'') {
        out->is_name = true;
        if (c == '"' || c == '\'')
            TRY(read_string(p, out->name, sizeof out->name));
        else
            read_name(p, out->name, sizeof out->name);
        /* A quoted layer may be followed by its tensor: "a-b".w */
        size_t n = strlen(out->name);
        if (p->text[p->at] == '.')
            read_name(p, out->name + n, sizeof out->name - n);
        skip(p);
        if (p->text[p->at] == ',' || p->text[p->at] == ')')
            return STATUS_OK;
        p->at = begin;
    }
    out->is_name = false;
    return parse_or(p, &out->value);
}

static const char *fn_name(const void *ctx, int i)
{
    (void)ctx;
    return expr_fn_table[i].name;
}

static const struct expr_fn *find_function(struct parser *p, const char *name,
                                           int at)
{
    for (int i = 0; i < expr_fn_count; i++)
        if (strcmp(expr_fn_table[i].name, name) == 0)
            return &expr_fn_table[i];
    const char *near = str_nearest(name, expr_fn_count, fn_name, NULL);
    p->fault = at;
    err_set(p->err, STATUS_NOTFOUND, "unknown function '%s'%s%s%s", name,
            near ? " (did you mean '" : "", near ? near : "",
            near ? "'?)" : "");
    return NULL;
}

static enum status parse_args(struct parser *p, struct operand *arg, int *n)
{
    int open = p->at++;
    *n = 0;
    for (;;) {
        if (*n == ARGS_MAX)
            return fail(p, open, "too many arguments");
        TRY(parse_operand(p, &arg[*n]));
        (*n)++;
        skip(p);
        if (p->text[p->at] == ')')
            break;
        if (p->text[p->at] != ',')
            return fail(p, open, "the bracket is not closed");
        p->at++;
    }
    p->at++;
    return STATUS_OK;
}

/* Arguments [first, n) as numbers. */
static enum status numbers(struct parser *p, const struct operand *arg,
                           int first, int n, double *out)
{
    for (int i = first; i < n; i++) {
        struct value v = arg[i].value;
        if (arg[i].is_name)
            TRY(look_up(p, arg[i].name, arg[i].at, &v));
        TRY(want_number(p, &v, arg[i].at));
        out[i - first] = v.num;
    }
    return STATUS_OK;
}

static enum status call_tensor(struct parser *p, const struct expr_fn *f,
                               const struct operand *arg, const double *rest,
                               int n_rest, double *out)
{
    struct fetched t;
    enum status s = lab_fetch(p->env->lab, arg[0].name, &t, p->err);
    if (s) {
        p->fault = arg[0].at;
        return s;
    }
    if (f->quant && !t.q) {
        p->fault = arg[0].at;
        s = err_set(p->err, STATUS_STATE,
                    "%s has no quantizer with a range", arg[0].name);
    } else {
        *out = f->quant ? f->quant(&t.st)
                        : f->tensor(t.x, t.n, rest, n_rest);
    }
    fetched_fini(&t);
    return s;
}

/* Which form of the function fits the first argument. */
static enum status call_run(struct parser *p, const struct expr_fn *f,
                            const struct operand *arg, int n, double *out)
{
    double num[ARGS_MAX];
    struct lab *l = p->env->lab;
    const char *first = arg[0].is_name ? arg[0].name : NULL;

    int series = f->series && first && l ? lab_series_find(l, first) : -1;
    if (series >= 0) {
        TRY(numbers(p, arg, 1, n, num));
        struct series_view v = lab_series(l, series);
        *out = f->series(&v, num, n - 1);
        return STATUS_OK;
    }
    bool tensor = (f->tensor || f->quant) && first && l &&
                  lab_is_tensor(l, first);
    if (tensor) {
        TRY(numbers(p, arg, 1, n, num));
        return call_tensor(p, f, arg, num, n - 1, out);
    }
    if (f->scalar) {
        TRY(numbers(p, arg, 0, n, num));
        *out = f->scalar(num, n);
        return STATUS_OK;
    }
    p->fault = arg[0].at;
    return err_set(p->err, STATUS_NOTFOUND, "%s wants %s here, not '%s'",
                   f->name,
                   !f->series ? "a tensor such as conv1.w"
                   : f->tensor ? "a metric or a tensor"
                               : "a metric such as val_acc",
                   first ? first : "a number");
}

static enum status parse_call(struct parser *p, const char *name, int at,
                              struct value *out)
{
    struct operand arg[ARGS_MAX];
    int n;
    const struct expr_fn *f = find_function(p, name, at);
    if (!f)
        return STATUS_NOTFOUND;
    TRY(parse_args(p, arg, &n));
    if (n < f->min_args || n > f->max_args) {
        p->fault = at;
        return err_set(p->err, STATUS_ARG, "%s takes (%s), not %d argument%s",
                       f->name, f->args, n, n == 1 ? "" : "s");
    }
    *out = value_num(0);
    return call_run(p, f, arg, n, &out->num);
}

/* `$1` .. `$9` and `$#`: the arguments of the script, numbers where they are
 * numbers. */
static enum status parse_script_arg(struct parser *p, int begin,
                                    struct value *out)
{
    char name[2] = { p->text[p->at++], '\0' }, buf[16];
    const char *arg = p->env->lab ? script_arg(&p->env->lab->script, name,
                                               buf, sizeof buf)
                                  : NULL;
    double v;
    if (!arg)
        return fail(p, begin, "the script was not given that argument");
    int n = number_read(arg, &v);
    *out = n && !arg[n] ? value_num(v) : value_text(arg);
    return STATUS_OK;
}

static enum status parse_dollar(struct parser *p, struct value *out)
{
    char name[128];
    int begin = p->at++;
    char c = p->text[p->at];
    if (c == '(') {
        p->at++;
        TRY(parse_or(p, out));
        skip(p);
        if (p->text[p->at] != ')')
            return fail(p, begin, "'$(' is not closed");
        p->at++;
        return STATUS_OK;
    }
    if (c == '#' || (c >= '1' && c <= '9'))
        return parse_script_arg(p, begin, out);
    bool braced = c == '{';
    p->at += braced;
    read_name(p, name, sizeof name);
    if (braced && p->text[p->at] != '}')
        return fail(p, begin, "'${' is not closed");
    p->at += braced;
    if (!name[0])
        return fail(p, begin, "'$' wants a name");
    return look_up(p, name, begin, out);
}

/* ---- the grammar ---- */

static enum status parse_atom(struct parser *p, struct value *out)
{
    skip(p);
    int begin = p->at;
    char c = p->text[begin];
    double v;
    int n = number_read(p->text + begin, &v);
    if (n) {
        p->at += n;
        *out = value_num(v);
        return STATUS_OK;
    }
    if (c == '(') {
        p->at++;
        TRY(parse_or(p, out));
        skip(p);
        if (p->text[p->at] != ')')
            return fail(p, begin, "the bracket is not closed");
        p->at++;
        return STATUS_OK;
    }
    if (c == '$')
        return parse_dollar(p, out);
    if (c == '"' || c == '\'') {
        *out = value_text("");
        return read_string(p, out->text, sizeof out->text);
    }
    if (!lex_is_name_start(c))
        return fail(p, begin, c ? "a value is wanted here"
                                : "the expression is not complete");
    char name[128];
    read_name(p, name, sizeof name);
    if (p->text[p->at] == '(')
        return parse_call(p, name, begin, out);
    return look_up(p, name, begin, out);
}

static enum status parse_unary(struct parser *p, struct value *out);

/* -2^2 is -(2^2), and 2^-1 is a half. */
static enum status parse_power(struct parser *p, struct value *out)
{
    skip(p);
    int at = p->at;
    TRY(parse_atom(p, out));
    skip(p);
    if (p->text[p->at] != '^')
        return STATUS_OK;
    TRY(want_number(p, out, at));
    struct value right;
    int right_at = ++p->at;
    TRY(parse_unary(p, &right));
    TRY(want_number(p, &right, right_at));
    out->num = pow(out->num, right.num);
    return STATUS_OK;
}

static enum status parse_unary(struct parser *p, struct value *out)
{
    skip(p);
    int at = p->at;
    if (++p->depth > DEPTH_MAX)
        return fail(p, at, "the expression is nested too deeply");
    if (p->text[at] == '-') {
        p->at++;
        TRY(parse_unary(p, out));
        TRY(want_number(p, out, at));
        out->num = -out->num;
    } else {
        TRY(parse_power(p, out));
    }
    p->depth--;
    return STATUS_OK;
}

/* Left-associative operators of one level. */
static enum status parse_chain(struct parser *p, const char *ops,
                               enum status (*next)(struct parser *,
                                                   struct value *),
                               struct value *out)
{
    skip(p);
    int at = p->at;
    TRY(next(p, out));
    for (;;) {
        skip(p);
        char op = p->text[p->at];
        /* `->` ends an expression: it is a redirection. */
        if (!op || !strchr(ops, op) || (op == '-' && p->text[p->at + 1] == '>'))
            return STATUS_OK;
        TRY(want_number(p, out, at));
        struct value right;
        int right_at = ++p->at;
        TRY(next(p, &right));
        TRY(want_number(p, &right, right_at));
        out->num = op == '+'   ? out->num + right.num
                   : op == '-' ? out->num - right.num
                   : op == '*' ? out->num * right.num
                               : out->num / right.num;
    }
}

static enum status parse_term(struct parser *p, struct value *out)
{
    return parse_chain(p, "*/", parse_unary, out);
}

static enum status parse_sum(struct parser *p, struct value *out)
{
    return parse_chain(p, "+-", parse_term, out);
}

static bool eq(double a, double b) { return a == b; }
static bool ne(double a, double b) { return a != b && !isnan(a) && !isnan(b); }
static bool le(double a, double b) { return a <= b; }
static bool ge(double a, double b) { return a >= b; }
static bool lt(double a, double b) { return a < b; }
static bool gt(double a, double b) { return a > b; }

/* Two-letter operators first: `<=` is not `<`. */
static const struct {
    char op[3];
    bool (*test)(double a, double b);
} compare_table[] = { { "==", eq }, { "!=", ne }, { "<=", le },
                      { ">=", ge }, { "<", lt },  { ">", gt } };

static int find_comparison(const char *text)
{
    for (size_t i = 0; i < sizeof compare_table / sizeof compare_table[0]; i++)
        if (strncmp(text, compare_table[i].op,
                    strlen(compare_table[i].op)) == 0)
            return (int)i;
    return -1;
}

static enum status parse_comparison(struct parser *p, struct value *out)
{
    TRY(parse_sum(p, out));
    skip(p);
    int at = p->at, i = find_comparison(p->text + at);
    if (i < 0)
        return STATUS_OK;
    struct value left = *out, right;
    p->at += (int)strlen(compare_table[i].op);
    TRY(parse_sum(p, &right));
    if (left.is_text != right.is_text)
        return fail(p, at, "a text and a number cannot be compared");
    double a = left.num, b = right.num;
    if (left.is_text) {
        a = strcmp(left.text, right.text);
        b = 0;
    }
    *out = value_num(compare_table[i].test(a, b));
    p->left = left;
    p->right = right;
    p->compared = true;
    memcpy(p->op, compare_table[i].op, sizeof p->op);
    return STATUS_OK;
}

static enum status parse_not(struct parser *p, struct value *out)
{
    skip(p);
    int at = p->at;
    if (p->text[at] != '!' || p->text[at + 1] == '=')
        return parse_comparison(p, out);
    if (++p->depth > DEPTH_MAX)
        return fail(p, at, "the expression is nested too deeply");
    p->at++;
    TRY(parse_not(p, out));
    p->depth--;
    *out = value_num(!value_true(out));
    p->compared = false;
    return STATUS_OK;
}

static enum status parse_and(struct parser *p, struct value *out)
{
    TRY(parse_not(p, out));
    for (;;) {
        skip(p);
        if (strncmp(p->text + p->at, "&&", 2) != 0)
            return STATUS_OK;
        p->at += 2;
        struct value right;
        TRY(parse_not(p, &right));
        *out = value_num(value_true(out) && value_true(&right));
        p->compared = false;
    }
}

static enum status parse_or(struct parser *p, struct value *out)
{
    if (++p->depth > DEPTH_MAX)
        return fail(p, p->at, "the expression is nested too deeply");
    TRY(parse_and(p, out));
    for (;;) {
        skip(p);
        if (strncmp(p->text + p->at, "||", 2) != 0)
            break;
        p->at += 2;
        struct value right;
        TRY(parse_and(p, &right));
        *out = value_num(value_true(out) || value_true(&right));
        p->compared = false;
    }
    p->depth--;
    return STATUS_OK;
}

enum status expr_prefix(const struct expr_env *env, const char *text,
                        struct expr_result *out, int *fault, struct err *e)
{
    struct parser p = { .env = env, .text = text, .err = e };
    *out = (struct expr_result){ 0 };
    enum status s = parse_or(&p, &out->value);
    *fault = p.fault;
    skip(&p);
    out->used = p.at;
    out->compared = p.compared;
    out->left = p.left;
    out->right = p.right;
    memcpy(out->op, p.op, sizeof out->op);
    return s;
}

enum status expr_eval(const struct expr_env *env, const char *text,
                      struct expr_result *out, int *fault, struct err *e)
{
    TRY(expr_prefix(env, text, out, fault, e));
    if (!text[out->used])
        return STATUS_OK;
    *fault = out->used;
    return err_set(e, STATUS_ARG, "'%.20s' does not belong to the expression",
                   text + out->used);
}

/* ---- numbers ---- */

static const struct {
    const char *suffix;
    double factor;
} suffix_table[] = {
    { "ms", 1e-3 }, { "%", 1e-2 }, { "k", 1e3 }, { "K", 1e3 }, { "M", 1e6 },
    { "G", 1e9 },   { "s", 1 },    { "m", 60 },  { "h", 3600 },
};

/* Digits with an optional point and exponent; no sign, no name. */
static int plain_number(const char *s)
{
    int n = 0, digits = 0;
    for (; isdigit((unsigned char)s[n]); n++)
        digits++;
    if (s[n] == '.')
        for (n++; isdigit((unsigned char)s[n]); n++)
            digits++;
    if (!digits)
        return 0;
    if (s[n] == 'e' || s[n] == 'E') {
        int k = n + 1 + (s[n + 1] == '-' || s[n + 1] == '+');
        if (isdigit((unsigned char)s[k])) {
            while (isdigit((unsigned char)s[k]))
                k++;
            n = k;
        }
    }
    return n;
}

int number_read(const char *text, double *out)
{
    char copy[64];
    int n = plain_number(text);
    if (n == 0 || n >= (int)sizeof copy)
        return 0;
    memcpy(copy, text, (size_t)n);
    copy[n] = '\0';
    if (str_to_double(copy, out, NULL))
        return 0;
    for (size_t i = 0; i < sizeof suffix_table / sizeof suffix_table[0]; i++) {
        int k = (int)strlen(suffix_table[i].suffix);
        if (strncmp(text + n, suffix_table[i].suffix, (size_t)k) == 0 &&
            !lex_is_name(text[n + k])) {
            *out *= suffix_table[i].factor;
            return n + k;
        }
    }
    return lex_is_name_start(text[n]) ? 0 : n;
}

enum status number_parse(const char *text, double *out, struct err *e)
{
    double v;
    int sign = text[0] == '-' || text[0] == '+';
    int n = number_read(text + sign, &v);
    if (n && !text[sign + n]) {
        *out = text[0] == '-' ? -v : v;
        return STATUS_OK;
    }
    return str_to_double(text, out, e);   /* nan, inf, and the message */
}

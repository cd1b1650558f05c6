/* Expressions: numbers, percents, names of metrics, variables and results,
 * functions over series and tensors.
 *
 *   or   := and { "||" and }          cmp := sum [ ("==" | ...) sum ]
 *   and  := not { "&&" not }          sum := term { ("+" | "-") term }
 *   not  := "!" not | cmp             term := unary { ("*" | "/") unary }
 *   unary := "-" unary | power        power := atom [ "^" unary ]
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef LAB_EXPR_H
#define LAB_EXPR_H

#include "lab/view.h"

struct value {
    bool is_text;
    double num;
    char text[256];
};

struct value value_num(double v);
struct value value_text(const char *text);
void value_print(const struct value *v, struct str *out);

struct expr_env {
    struct lab *lab;                  /* NULL: arithmetic only */
    const struct layer_view *layer;   /* inside [..]: its fields are names */
};

struct expr_result {
    struct value value;
    int used;                 /* bytes read, blanks behind included */
    bool compared;            /* the outermost operator was a comparison */
    struct value left, right;
    char op[3];
};

/* Reads the longest expression at the start of text. On failure *fault is
 * the byte to blame. A comparison with NaN is false. */
enum status expr_prefix(const struct expr_env *env, const char *text,
                        struct expr_result *out, int *fault, struct err *e);
/* The same, and nothing may follow. */
enum status expr_eval(const struct expr_env *env, const char *text,
                      struct expr_result *out, int *fault, struct err *e);
bool value_true(const struct value *v);

/* "2.5k" "97%" "30s" "1e-3" at the start of text: bytes read, 0: none. */
int number_read(const char *text, double *out);
/* The whole text is such a number. */
enum status number_parse(const char *text, double *out, struct err *e);

/* Functions, for help and completion. */
struct expr_fn {
    const char *name, *args, *help;
    int min_args, max_args;
    /* Which of these fit is decided by the first argument: the name of a
     * series, of a tensor, or a number. */
    double (*series)(const struct series_view *s, const double *arg, int n);
    double (*tensor)(const float *x, int64_t n, const double *arg, int n_arg);
    double (*scalar)(const double *arg, int n);
    /* A statistic of a tensor against its quantizer. */
    double (*quant)(const struct qstats *st);
};
extern const struct expr_fn expr_fn_table[];
extern const int expr_fn_count;

#endif

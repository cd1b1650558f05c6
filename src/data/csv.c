/* Tables of numbers: comma, semicolon, tab or blank separated.
 *
 * One sample a line; a first line that is not all numbers names the columns.
 * One column is the label (whole numbers or words) or the target; all others
 * are features. SPDX-License-Identifier: GPL-3.0-or-later */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "data/source.h"

#define CSV_CAP ((size_t)1 << 30)   /* bytes; a field takes 8 more */
#define COLUMNS_MAX 65536
#define WORD_CLASSES_MAX 1000

enum { CSV_FILE, CSV_Y, CSV_TASK, CSV_TEST_FILE };

struct table {
    const char *path;
    char *text;               /* fields are ended in place */
    char **field;             /* (rows, cols) */
    int64_t rows, cols, room;
    char **name;              /* (cols) when the first line names columns */
    char separator;
};

static void table_fini(struct table *t)
{
    mem_free(t->text);
    mem_free(t->field);
    *t = (struct table){ 0 };
}

static enum status add_field(struct table *t, int64_t n, char *field,
                             struct err *e)
{
    if (n == t->room) {
        int64_t room = t->room ? t->room * 2 : 1024;
        char **p = mem_grow(t->field, (size_t)n * sizeof *p,
                            (size_t)room * sizeof *p);
        if (!p)
            return err_memory(e, t->path);
        t->field = p;
        t->room = room;
    }
    t->field[n] = field;
    return STATUS_OK;
}

/* The separator is whichever the first line has most of. */
static char find_separator(const char *text)
{
    static const char candidates[] = ",;\t ";
    size_t best = 0, line = strcspn(text, "\r\n");
    char found = ',';
    for (const char *c = candidates; *c; c++) {
        size_t n = 0;
        for (size_t i = 0; i < line; i++)
            n += text[i] == *c;
        if (n > best) {
            best = n;
            found = *c;
        }
    }
    return found;
}

/* Ends the field at *at, without blanks and quotes around it, and moves *at
 * behind it; *last: the line ends here. Quotes within quotes are doubled. */
static enum status next_field(struct table *t, char **at, char **field,
                              bool *last, struct err *e)
{
    char *p = *at, *out;
    while (*p == ' ' && t->separator != ' ')
        p++;
    if (*p == '"') {
        *field = out = ++p;
        while (*p && (*p != '"' || p[1] == '"')) {
            p += *p == '"';
            *out++ = *p++;
        }
        if (!*p)
            return err_set(e, STATUS_FORMAT, "%.300s: a quote is not closed",
                           t->path);
        p++;
        while (*p == ' ' && t->separator != ' ')
            p++;
    } else {
        *field = p;
        while (*p && *p != t->separator && *p != '\n' && *p != '\r')
            p++;
        out = p;
        while (out > *field && out[-1] == ' ')
            out--;
    }
    if (*p && *p != t->separator && *p != '\n' && *p != '\r')
        return err_set(e, STATUS_FORMAT, "%.300s: text after a closing quote",
                       t->path);
    *last = *p != t->separator;
    p += *p == '\r';
    p += *p != '\0';
    *out = '\0';
    *at = p;
    return STATUS_OK;
}

static char *skip_empty_lines(char *p, int64_t *line)
{
    while (*p == '\n' || *p == '\r' || *p == '#') {
        if (*p == '#')
            p += strcspn(p, "\n");
        *line += *p == '\n';
        p += *p != '\0';
    }
    return p;
}

static enum status split_lines(struct table *t, struct err *e)
{
    int64_t n = 0, line = 1;
    for (char *p = skip_empty_lines(t->text, &line); *p;
         p = skip_empty_lines(p, &line), line++) {
        int64_t start = n;
        for (bool last = false; !last; n++) {
            char *field;
            TRY(next_field(t, &p, &field, &last, e));
            TRY(add_field(t, n, field, e));
        }
        if (t->rows == 0)
            t->cols = n;
        if (n - start != t->cols || t->cols > COLUMNS_MAX)
            return err_set(e, STATUS_FORMAT, "%.300s: line %" PRId64 " has %"
                           PRId64 " columns, wanted %" PRId64, t->path, line,
                           n - start, t->cols < COLUMNS_MAX
                           ? t->cols : (int64_t)COLUMNS_MAX);
        t->rows++;
    }
    return STATUS_OK;
}

static bool is_number(const char *s)
{
    double v;
    return str_to_double(s, &v, NULL) == STATUS_OK;
}

/* A first line whose features are not numbers, above one whose are. */
static void take_names(struct table *t)
{
    for (int64_t c = 0; c < t->cols && t->rows > 1; c++)
        if (!is_number(t->field[c]) && is_number(t->field[t->cols + c])) {
            t->name = t->field;
            return;
        }
}

static const char *table_at(const struct table *t, int64_t row, int64_t col)
{
    return t->field[(row + (t->name ? 1 : 0)) * t->cols + col];
}

static enum status table_read(const char *path, struct table *t,
                              struct err *e)
{
    struct bytes b = { 0 };
    *t = (struct table){ .path = path };
    TRY(file_read_gz(path, CSV_CAP, &b, e));
    if (memchr(b.data, '\0', b.size)) {
        bytes_fini(&b);
        return err_set(e, STATUS_FORMAT, "%.300s: has zero bytes, wanted "
                       "text", path);
    }
    t->text = mem_grow(b.data, b.size, b.size + 1);
    if (!t->text) {
        bytes_fini(&b);
        return err_memory(e, path);
    }
    t->separator = find_separator(t->text);
    TRY(split_lines(t, e));
    take_names(t);
    t->rows -= t->name ? 1 : 0;
    if (t->rows < 1 || t->cols < 2)
        return err_set(e, STATUS_FORMAT, "%.300s: %" PRId64 " samples of %"
                       PRId64 " columns, wanted at least 1 of 2", path,
                       t->rows, t->cols);
    return STATUS_OK;
}

static const char *column_name_at(const void *ctx, int i)
{
    const struct table *t = ctx;
    return t->name[i];
}

/* The label's column: by name, by number from 1, by default the last. */
static enum status find_column(const struct table *t, const char *word,
                               int64_t *out, struct err *e)
{
    long long n = 0;
    *out = t->cols - 1;
    if (!word)
        return STATUS_OK;
    for (int64_t c = 0; t->name && c < t->cols; c++)
        if (strcmp(t->name[c], word) == 0) {
            *out = c;
            return STATUS_OK;
        }
    if (str_to_int(word, &n, NULL) == STATUS_OK && n >= 1 && n <= t->cols) {
        *out = n - 1;
        return STATUS_OK;
    }
    const char *near = t->name ? str_nearest(word, (int)t->cols,
                                             column_name_at, t) : NULL;
    if (near)
        return err_set(e, STATUS_ARG, "%.200s: no column '%.60s'; did you "
                       "mean '%.60s'?", t->path, word, near);
    return err_set(e, STATUS_ARG, "%.200s: no column '%.60s', wanted a name "
                   "or a number from 1 to %" PRId64, t->path, word, t->cols);
}

static enum status bad_value(const struct table *t, int64_t row, int64_t col,
                             struct err *e)
{
    struct str shown = { 0 };
    str_add_clean(&shown, table_at(t, row, col));
    err_set(e, STATUS_FORMAT, "%.200s: sample %" PRId64 ", column %" PRId64
            ": '%.60s' is not a number", t->path, row + 1, col + 1,
            str_text(&shown));
    str_fini(&shown);
    return STATUS_FORMAT;
}

static enum status fill_features(const struct table *t, int64_t y_col,
                                 struct tensor *x, struct err *e)
{
    struct shape s = shape_2(t->rows, t->cols - 1);
    TRY(tensor_init(x, DTYPE_F32, &s, e));
    float *to = x->data;
    for (int64_t r = 0; r < t->rows; r++)
        for (int64_t c = 0; c < t->cols; c++) {
            double v;
            if (c == y_col)
                continue;
            if (str_to_double(table_at(t, r, c), &v, NULL) != STATUS_OK)
                return bad_value(t, r, c, e);
            *to++ = (float)v;
        }
    return STATUS_OK;
}

/* What the label column holds. */
enum task { TASK_WORDS, TASK_CLASSES, TASK_REAL };

static enum task guess_task(const struct table *t, int64_t col)
{
    enum task task = TASK_CLASSES;
    for (int64_t r = 0; r < t->rows; r++) {
        double v;
        if (str_to_double(table_at(t, r, col), &v, NULL) != STATUS_OK)
            return TASK_WORDS;
        if (!(v >= 0 && v < WORD_CLASSES_MAX) || v != floor(v))
            task = TASK_REAL;
    }
    return task;
}

static int compare_words(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The different words of a column, sorted: the class names. */
static enum status collect_words(const struct table *t, int64_t col,
                                 const char **word, int64_t *n,
                                 struct err *e)
{
    *n = 0;
    for (int64_t r = 0; r < t->rows; r++) {
        const char *w = table_at(t, r, col);
        if (*n > 0 && bsearch(&w, word, (size_t)*n, sizeof *word,
                              compare_words))
            continue;
        if (*n == WORD_CLASSES_MAX)
            return err_set(e, STATUS_FORMAT, "%.200s: column %" PRId64 " has "
                           "more than %d different words", t->path, col + 1,
                           WORD_CLASSES_MAX);
        word[(*n)++] = w;
        qsort(word, (size_t)*n, sizeof *word, compare_words);
    }
    return STATUS_OK;
}

static enum status words_to_labels(const struct table *t, int64_t col,
                                   const char *const *word, int64_t n,
                                   struct tensor *y, struct err *e)
{
    struct shape s = shape_1(t->rows);
    TRY(tensor_init(y, DTYPE_I32, &s, e));
    for (int64_t r = 0; r < t->rows; r++) {
        const char *w = table_at(t, r, col);
        const char *const *hit = bsearch(&w, word, (size_t)n, sizeof *word,
                                         compare_words);
        if (!hit)
            return err_set(e, STATUS_FORMAT, "%.200s: sample %" PRId64 " has "
                           "the class '%.60s', which no training sample has",
                           t->path, r + 1, w);
        ((int32_t *)y->data)[r] = (int32_t)(hit - word);
    }
    return STATUS_OK;
}

static enum status numbers(const struct table *t, int64_t col,
                           struct tensor *y, struct err *e)
{
    struct shape s = shape_2(t->rows, 1);
    TRY(tensor_init(y, DTYPE_F32, &s, e));
    for (int64_t r = 0; r < t->rows; r++) {
        double v;
        if (str_to_double(table_at(t, r, col), &v, NULL) != STATUS_OK)
            return bad_value(t, r, col, e);
        ((float *)y->data)[r] = (float)v;
    }
    return STATUS_OK;
}

static enum status numbers_to_labels(const struct table *t, int64_t col,
                                     int64_t *classes, struct tensor *y,
                                     struct err *e)
{
    struct tensor reals = { 0 };
    enum status s = numbers(t, col, &reals, e);
    if (s == STATUS_OK)
        s = labels_from_tensor(y, &reals, classes, t->path, e);
    tensor_fini(&reals);
    return s;
}

/* How the labels of training and test samples are to be read alike. */
struct labels {
    enum task task;
    const char **word;        /* (classes), TASK_WORDS */
    int64_t classes;
};

static enum status fill_block(const struct table *t, int64_t col,
                              struct labels *l, struct samples *out,
                              struct err *e)
{
    TRY(fill_features(t, col, &out->x, e));
    out->n = t->rows;
    if (l->task == TASK_REAL)
        return numbers(t, col, &out->y, e);
    if (l->task == TASK_CLASSES)
        return numbers_to_labels(t, col, &l->classes, &out->y, e);
    return words_to_labels(t, col, l->word, l->classes, &out->y, e);
}

static enum status choose_task(const struct table *t, int64_t col,
                               const char *text, struct labels *l,
                               struct err *e)
{
    l->task = guess_task(t, col);
    if (text && strcmp(text, "class") != 0 && strcmp(text, "real") != 0)
        return err_set(e, STATUS_ARG, "task=%.40s: wanted class or real",
                       text);
    if (text && text[0] == 'r')
        l->task = TASK_REAL;
    else if (text && l->task == TASK_REAL)
        l->task = TASK_WORDS;       /* -1, +1 and the like are names too */
    if (l->task != TASK_WORDS)
        return STATUS_OK;
    return collect_words(t, col, l->word, &l->classes, e);
}

static enum status fill_test(struct dataset *d, const struct table *train,
                             const char *path, int64_t col, struct labels *l,
                             struct err *e)
{
    struct table t;
    enum status s = table_read(path, &t, e);
    if (s == STATUS_OK && t.cols != train->cols)
        s = err_set(e, STATUS_FORMAT, "%.200s has %" PRId64 " columns, but "
                    "%.200s %" PRId64, path, t.cols, train->path,
                    train->cols);
    if (s == STATUS_OK)
        s = fill_block(&t, col, l, &d->test, e);
    table_fini(&t);
    return s;
}

static enum status fill(struct dataset *d, const struct table *t,
                        struct labels *l, const char *const *value,
                        const struct dataset_opts *o, struct err *e)
{
    int64_t col = 0;
    TRY(find_column(t, value[CSV_Y], &col, e));
    TRY(choose_task(t, col, value[CSV_TASK], l, e));
    TRY(fill_block(t, col, l, &d->train, e));
    if (value[CSV_TEST_FILE])
        TRY(fill_test(d, t, value[CSV_TEST_FILE], col, l, e));
    else
        TRY(dataset_carve_test(d, o, e));
    dataset_set_shape(d, &d->train.x.shape);
    d->n_norm = NORM_MEASURE;
    if (l->task == TASK_REAL) {
        d->targets = 1;
        return STATUS_OK;
    }
    return dataset_set_classes(d, l->classes,
                               l->task == TASK_WORDS ? l->word : NULL, e);
}

enum status load_csv(struct dataset *d, const char *const *value,
                     const struct dataset_opts *o, struct err *e)
{
    struct table t;
    struct labels l = { .word = mem_alloc(WORD_CLASSES_MAX,
                                          sizeof *l.word) };
    if (!l.word)
        return err_memory(e, "class names");
    enum status s = table_read(value[CSV_FILE], &t, e);
    if (s == STATUS_OK)
        s = fill(d, &t, &l, value, o, e);
    table_fini(&t);
    mem_free(l.word);
    return s;
}

const struct dataset_arg args_csv[] = {
    [CSV_FILE] = { .name = "file", .help = "the table", .required = true },
    [CSV_Y] = { .name = "y", .help = "column of the label or target, by name "
                                     "or number; the last" },
    [CSV_TASK] = { .name = "task", .help = "class or real; class when all "
                                           "labels are words or whole "
                                           "numbers" },
    [CSV_TEST_FILE] = { .name = "testfile", .help = "table of test samples; "
                                                    "without one, a fifth is "
                                                    "set aside" },
    { 0 },
};

/* Completion: the words that can stand at a place, and where they begin.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "unit/lab_driver.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/temp_folder.h"
#include "lab/cmd.h"
#include "quant/qspec.h"

static bool has(const struct completion *c, int n, const char *word)
{
    for (int i = 0; i < n; i++)
        if (strcmp(c[i].text, word) == 0)
            return true;
    return false;
}

/* wanted, absent: words separated by blanks. */
struct row {
    const char *line;
    int start;
    const char *wanted, *absent;
};

static const struct row rows[] = {
    { "", 0, "load bits bench w4", "break" },
    { "be", 0, "bench", "bits" },
    { "eval; be", 6, "bench", "bits" },
    { "bits ", 5, "conv1 fc3 * :conv @first @stem", "w4a8" },
    { "bits co", 5, "conv1 conv2", "fc1" },
    { "bits conv1,f", 11, "fc1 fc2 fc3", "conv1" },
    { "bits !c", 6, "conv1", "fc1" },
    { "bits :", 5, ":conv :dense :pool", "conv1" },
    { "bits conv1.", 5, "conv1.w conv1.out", "conv1.weight" },
    { "bits *.", 5, "*.w *.out", "" },
    { "bits [sq", 6, "sqnr", "conv1" },
    { "bits [sqnr<20 && par", 17, "params", "" },
    { "bits conv1 ", 11, "w4a8 off w= g= obs=", "conv1" },
    { "bits conv1 w=4 ", 15, "g= obs=", "w=" },
    { "bits conv1 w=ls", 13, "lsq:", "pact:" },
    { "bits conv1 w=lsq:4,ch", 19, "channel", "tensor" },
    { "bits conv1 w=lsq:4,gs", 19, "gscale=", "" },
    { "bits conv1 w=affine:4,obs=e", 26, "ema entropy", "minmax" },
    { "bits conv1 g=", 13, "tensor channel group=", "" },
    { "bits conv1 obs=m", 15, "minmax mse", "ema" },
    { "bits conv1 round=f", 17, "floor", "ceil" },
    { "bits conv1 s=", 13, "sym asym", "" },
    { "set train.sch", 4, "train.schedule train.schedule.a", "train.lr" },
    { "set train.schedule ", 19, "constant step cosine", "" },
    { "set echo ", 9, "on off", "" },
    { "load ", 5, "model data weights", "" },
    { "load model le", 11, "lenet5", "jet" },
    { "load model si", 11, "sits/", "" },
    { "load data ", 10, "digits mnist csv", "" },
    { "load data csv ", 14, "n= seed=", "digits" },
    { "source si", 7, "sits/", "x.npy" },
    { "source sits/", 7, "sits/a.qat \"sits/b c.qat\"", "x.npy" },
    { "list -> x", 8, "x.npy", "sits/" },
    { "list ->x", 7, "x.npy", "" },
    { "list by=sq", 8, "sqnr", "" },
    { "list cols=name,sq", 15, "sqnr", "name" },
    { "range conv1.w ", 14, "ema mse lsq", "affine" },
    { "range conv1.w ema ", 18, "c=", "mse" },
    { "qconfig ", 8, "fbgemm aimet", "" },
    { "enable ", 7, "fake observer learn", "conv1" },
    { "enable fake ", 12, "conv1 *", "fake" },
    { "rewind ", 7, "base", "" },
    { "help exp", 5, "explain expressions", "bits" },
    { "show mo", 5, "models", "" },
    { "show qconfig f", 13, "fbgemm", "" },
    { "info layer c", 11, "conv1", "fc1" },
    { "eval ", 5, "float int val n=", "" },
    { "eval float ", 11, "val n=", "int" },
    { "print be", 6, "best(", "" },
    { "print best(val", 11, "val_acc", "" },
    { "print 1 + los", 10, "loss", "" },
    { "print absmax(conv1.", 13, "conv1.w conv1.out", "" },
    { "print ans.", 6, "ans.count", "" },
    { "expect val_", 7, "val_acc", "" },
    { "expect error \"no\": bits con", 24, "conv1", "" },
    { "at 3 dis", 5, "disable", "" },
    { "at 3 disable ob", 13, "observer", "" },
    { "at 3 \"freeze bn; disa", 17, "disable", "" },
    { "bits conv1 w=$wid", 13, "$width", "" },
    { "hist conv1.", 5, "conv1.w conv1.err", "" },
    { "plot ", 5, "val_acc log last=", "" },
    { "quantize x", 9, "x.npy", "" },
    { "quantize x.npy ls", 15, "lsq:", "" },
    { "quantize x.npy lsq:4 ", 21, "step= grad= scale=", "" },
    { "bench ", 6, "step eval n=", "" },
    { "# be", 0, "", "" },
    { "nosuch c", 7, "", "" },
    { 0 },
};

/* Every word of the list is there, or none is. */
static void check_words(const struct row *r, const char *list, bool wanted,
                        const struct completion *c, int n)
{
    while (*list) {
        char word[64];
        size_t k = *list == '"' ? strcspn(list + 1, "\"") + 2
                                : strcspn(list, " ");
        snprintf(word, sizeof word, "%.*s", (int)k, list);
        if (has(c, n, word) != wanted)
            fail_msg("'%s': %s is %s", r->line, word,
                     wanted ? "missing" : "there");
        list += k;
        list += *list == ' ';
    }
}

static void make_session(struct driver *d, struct temp_folder *f)
{
    char folder[200];
    snprintf(folder, sizeof folder, "mkdir '%s'", temp_path(f, "sits"));
    assert_int_equal(system(folder), 0);
    temp_write(f, "sits/a.qat", "", 0);
    temp_write(f, "sits/b c.qat", "", 0);
    temp_write(f, "x.npy", "", 0);
    good(d, "load model lenet5; mark base; let @stem = conv1,conv2; "
            "let width = 4; define w4; doc \"four\"; bits * w=4; end; "
            "bits * w4a4");
}

static void remove_session(struct temp_folder *f)
{
    unlink(temp_path(f, "sits/a.qat"));
    unlink(temp_path(f, "sits/b c.qat"));
    rmdir(temp_path(f, "sits"));
}

static void words_are_offered_where_they_can_stand(void **state)
{
    struct temp_folder *f = *state;
    char here[1024];
    void *box;
    assert_non_null(getcwd(here, sizeof here));
    assert_int_equal(chdir(f->dir), 0);
    assert_int_equal(driver_open(&box), 0);
    struct driver *d = box;
    make_session(d, f);
    for (const struct row *r = rows; r->line; r++) {
        struct completion *c;
        int start;
        int n = lab_complete(d->lab, r->line, (int)strlen(r->line), &start,
                             &c);
        check_words(r, r->wanted, true, c, n);
        check_words(r, r->absent, false, c, n);
        if (n && start != r->start)
            fail_msg("'%s': start %d, not %d", r->line, start, r->start);
        completion_free(c, n);
    }
    driver_close(&box);
    remove_session(f);
    assert_int_equal(chdir(here), 0);
}

static void every_verb_is_offered_with_its_help(void **state)
{
    struct driver *d = *state;
    struct completion *c;
    int start, n = lab_complete(d->lab, "", 0, &start, &c);
    assert_int_equal(n, cmd_count);
    for (int i = 0; i < n; i++) {
        assert_string_equal(c[i].text, cmd_table[i]->name);
        assert_string_equal(c[i].help, cmd_table[i]->help);
    }
    completion_free(c, n);
}

/* The words of a spec are no list of their own: each is one that the parser
 * takes. */
static void offered_words_of_a_spec_can_be_parsed(void **state)
{
    static const char line[] = "bits conv1 w=affine:8,";
    struct driver *d = *state;
    struct completion *c;
    int start;
    good(d, "load model lenet5");
    int n = lab_complete(d->lab, line, (int)strlen(line), &start, &c);
    assert_true(n > 15);
    for (int i = 0; i < n; i++) {
        struct qspec s;
        struct err e = { 0 };
        char text[100];
        bool key = c[i].text[strlen(c[i].text) - 1] == '=';
        snprintf(text, sizeof text, "affine:8,%s%s", c[i].text,
                 key ? "?" : "");
        enum status st = qspec_parse(text, NULL, &s, &e);
        if (key ? strstr(e.text, "unknown") != NULL : st != STATUS_OK)
            fail_msg("%s: %s", text, e.text);
    }
    completion_free(c, n);
}

static void offered_tables_can_be_shown(void **state)
{
    struct driver *d = *state;
    struct completion *c;
    int start, n = lab_complete(d->lab, "show ", 5, &start, &c);
    for (int i = 0; i < n; i++) {
        char line[100];
        snprintf(line, sizeof line, "show %s", c[i].text);
        good(d, line);
    }
    completion_free(c, n);
}

/* Without a model, in the middle of anything. */
static void any_start_of_any_line_is_safe(void **state)
{
    struct driver *d = *state;
    for (int round = 0; round < 2; round++) {
        for (const struct row *r = rows; r->line; r++) {
            for (int at = 0; at <= (int)strlen(r->line); at++) {
                struct completion *c;
                int start, n = lab_complete(d->lab, r->line, at, &start, &c);
                assert_true(start >= 0 && start <= at);
                completion_free(c, n);
            }
        }
        good(d, "load model lenet5");
    }
}

#define LAB(f) cmocka_unit_test_setup_teardown(f, driver_open, driver_close)

static const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup_teardown(words_are_offered_where_they_can_stand,
                                    temp_folder_make, temp_folder_drop),
    LAB(every_verb_is_offered_with_its_help),
    LAB(offered_words_of_a_spec_can_be_parsed),
    LAB(offered_tables_can_be_shown),
    LAB(any_start_of_any_line_is_safe),
};

TEST_MAIN("lab: completion", tests)

/* Selectors, and that a command changes all matched layers or none.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "unit/lab_driver.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Names with odd characters, and one that ends like a point. */
static const char net[] =
    "model net loss=ce\n"
    "x      input 1x8x8\n"
    "conv1  conv2d out=2 kernel=3 pad=1\n"
    "bn1    batch_norm\n"
    "relu1  relu\n"
    "dw2    conv2d out=2 kernel=3 pad=1 groups=2\n"
    "b.a-1  conv2d out=2 kernel=1\n"
    "\"q.w\" conv2d out=2 kernel=1\n"
    "flat   flatten\n"
    "fc     dense out=3\n";

static int open_net(void **state)
{
    if (driver_open(state))
        return -1;
    struct driver *d = *state;
    char path[] = "/tmp/qatlab-net-XXXXXX", line[80];
    int fd = mkstemp(path);
    if (fd < 0 || write(fd, net, sizeof net - 1) != (ssize_t)sizeof net - 1)
        return -1;
    close(fd);
    snprintf(line, sizeof line, "load model %s", path);
    run(d, line);
    unlink(path);
    return d->errors.len ? -1 : 0;
}

/* Names of the layers that a selector means. */
static void selects(struct driver *d, const char *selector, const char *want)
{
    char line[200];
    struct str got = { 0 };
    snprintf(line, sizeof line, "list %s cols=name", selector);
    const char *text = good(d, line);
    const char *p = strchr(text, '\n');
    for (p = p ? p + 1 : ""; *p;) {
        size_t n = strcspn(p, "\n");
        if (got.len)
            str_char(&got, ' ');
        str_add_n(&got, p, n);
        p += n + (p[n] == '\n');
    }
    if (strcmp(str_text(&got), want) != 0)
        fail_msg("%s: got '%s', want '%s'", selector, str_text(&got), want);
    str_fini(&got);
}

static void names_and_globs_match(void **state)
{
    struct driver *d = *state;
    selects(d, "conv1", "conv1");
    selects(d, "*1", "conv1 bn1 relu1 b.a-1");
    selects(d, "b.*", "b.a-1");
    selects(d, "?w2", "dw2");
    selects(d, "f?", "fc");
}

static void types_match_and_know_other_names(void **state)
{
    struct driver *d = *state;
    selects(d, ":conv", "conv1 b.a-1 q.w");
    selects(d, ":dwconv", "dw2");
    selects(d, ":bn", "bn1");
    selects(d, ":linear", "fc");
    selects(d, ":conv2d", "conv1 dw2 b.a-1 q.w");
    bad(d, "list :nosuch", "no layer type ':nosuch'");
}

static void positions_and_sets_match(void **state)
{
    struct driver *d = *state;
    selects(d, "@2", "conv1");
    selects(d, "@2-4", "conv1 bn1 relu1");
    selects(d, "@first,@last", "x fc");
    good(d, "let @stem = conv1,bn1");
    selects(d, "@stem", "conv1 bn1");
    good(d, "select fc,dw2");
    selects(d, "@sel", "dw2 fc");
    bad(d, "list @0", "layers @1 to @9");
    bad(d, "list @nosuch", "no set '@nosuch'");
}

static void changed_layers_are_those_that_differ_from_the_mark(void **state)
{
    struct driver *d = *state;
    good(d, "bits fc w=4; mark m; bits conv1 w=4");
    selects(d, "@changed", "conv1");
}

static void operators_combine(void **state)
{
    struct driver *d = *state;
    selects(d, "*1&:conv", "conv1 b.a-1");
    selects(d, "*1 & :conv", "conv1 b.a-1");
    selects(d, "conv1, fc", "conv1 fc");
    selects(d, "!(*1)&!x", "dw2 q.w flat fc");
    selects(d, "(conv1,fc)&:dense", "fc");
    selects(d, "/^(conv|dw)[0-9]$/", "conv1 dw2");
}

static void predicates_look_at_fields(void **state)
{
    struct driver *d = *state;
    good(d, "bits conv1 w=4; bits fc w=8");
    selects(d, "[w==4]", "conv1");
    selects(d, "[w>=4 && params>50]", "fc");
    selects(d, "[type==\"dense\"]", "fc");
    selects(d, "[sqnr<30]", "conv1");
    bad(d, "list [nosuch>1]", "no variable or metric 'nosuch'");
}

static void a_quoted_name_is_the_layer(void **state)
{
    struct driver *d = *state;
    selects(d, "\"q.w\"", "q.w");
    bad(d, "list q", "no layer matches 'q'");
    good(d, "bits \"q.w\".w w=3");
    expect_text(good(d, "list [w==3] cols=name"), "q.w");
}

static void no_match_is_an_error_unless_allowed(void **state)
{
    struct driver *d = *state;
    bad(d, "bits nosuch w=4", "s:1:6: error: no layer matches 'nosuch'");
    bad(d, "bits cnov* w=4", "did you mean 'conv*'?");
    bad(d, "bits con1 w=4", "did you mean 'conv1'?");
    bad(d, "bits fc,nosuch w=4", "s:1:9:");
    bad(d, "bits *1&:dense w=4", "no layer matches '*1&:dense'");
    good(d, "bits nosuch? w=4");
    selects(d, "[w>0]?", "");
}

static void commands_tell_five_names_and_a_count(void **state)
{
    struct driver *d = *state;
    expect_text(good(d, "bits * w=4"), "5 layers: conv1 dw2 b.a-1 q.w fc");
    expect_text(good(d, "select *"), "9 selected");
    expect_text(good(d, "disable observer *"), "5 points:");
}

static void a_failing_command_changes_nothing(void **state)
{
    struct driver *d = *state;
    good(d, "bits fc w=8");
    good(d, "bits conv1 w=8");
    /* Groups of 9 fit conv1 (9 weights a channel), not fc (128). */
    bad(d, "bits conv1,fc w=affine:4,group=9", "fc.w");
    selects(d, "[w==8]", "conv1 fc");
    bad(d, "bits conv1,nosuch w=4", "nosuch");
    selects(d, "[w==4]?", "");
}

static void any_selector_text_is_safe(void **state)
{
    struct driver *d = *state;
    static const char pool[] = "fc1*?,&!()[]:@/\".w $x<>=0-";
    unsigned r = 7;
    for (int round = 0; round < 400; round++) {
        struct str line = { 0 };
        char text[24];
        int n = 1 + round % 22;
        for (int i = 0; i < n; i++) {
            r = r * 1103515245u + 12345u;
            text[i] = pool[(r >> 16) % (sizeof pool - 1)];
        }
        text[n] = '\0';
        str_printf(&line, "list %s cols=name", text);
        run(d, str_text(&line));
        str_fini(&line);
    }
    selects(d, "fc", "fc");
}

#define NET(f) cmocka_unit_test_setup_teardown(f, open_net, driver_close)

static const struct CMUnitTest tests[] = {
    NET(names_and_globs_match),
    NET(types_match_and_know_other_names),
    NET(positions_and_sets_match),
    NET(changed_layers_are_those_that_differ_from_the_mark),
    NET(operators_combine),
    NET(predicates_look_at_fields),
    NET(a_quoted_name_is_the_layer),
    NET(no_match_is_an_error_unless_allowed),
    NET(commands_tell_five_names_and_a_count),
    NET(a_failing_command_changes_nothing),
    NET(any_selector_text_is_safe),
};

TEST_MAIN("lab_select", tests)

/* The desk and its panes, drawn into the grid and compared with the screens
 * in tests/screens. The lab is a stand-in with fixed contents, so the screens
 * depend on the panes alone. With QATLAB_UPDATE=1 the files are written anew.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "common/test_main.h"

#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "ui/keys.h"

/* ---- the stand-in ---- */

enum { LAYERS = 12, POINTS = 800, VALS = 5 };

struct lab {
    int cursor, layers, vals, points;
    bool selected[LAYERS], busy, training;
    struct lab_generation gen;
    const char *glyphs;
};

static struct lab fake;

static const struct fixed_layer {
    const char *name, *type, *w, *a, *flags;
    double sqnr, saturation, out, osc;
    int64_t params;
} layers[LAYERS] = {
    { "input", "input", "-", "8", "FO--", 41.2, 0.000, 38.1, NAN, 0 },
    { "conv1", "conv", "8", "8", "FO--", 38.4, 0.001, 36.0, .004, 1200 },
    { "bn1", "bn", "-", "-", "---B", NAN, NAN, NAN, NAN, 64 },
    { "conv2", "conv", "4", "8", "FO--", 21.7, 0.004, 24.5, .021, 18500 },
    { "bn2", "bn", "-", "-", "---B", NAN, NAN, NAN, NAN, 128 },
    { "dw3", "dwconv", "8", "8", "FO--", 33.0, 0.000, 31.2, .09, 600 },
    { "pw3", "conv", "4", "8", "F---", 18.1, 0.031, 17.9, .312, 8200 },
    { "bn3", "bn", "-", "-", "---B", NAN, NAN, NAN, NAN, 256 },
    { "dw4", "dwconv", "8", "8", "FO--", 31.9, 0.000, 12.3, .105, 1200 },
    { "pw4", "conv", "2", "8", "FOL-", 8.8, 0.003, 28.8, .25, 32800 },
    { "pool", "avg_pool", "-", "8", "FO--", 40.2, 0.000, 40.1, NAN, 0 },
    { "\u5c64-e\u0301", "dense", "8", "8", "FO--", 36.6, 0.000, 35.5, .013, 3100 },
};

const struct layer_view *lab_layer_views(struct lab *l, int *n)
{
    static struct layer_view view[LAYERS];
    for (int i = 0; i < LAYERS; i++) {
        const struct fixed_layer *f = &layers[i];
        struct layer_view *v = &view[i];
        *v = (struct layer_view){
            .node = i, .name = f->name, .type = f->type,
            .has_w = *f->w != '-', .has_a = *f->a != '-',
            .fake = f->flags[0] == 'F', .observe = f->flags[1] == 'O',
            .learn = f->flags[2] == 'L', .bn_frozen = f->flags[3] == 'B',
            .weight = { .sqnr = f->sqnr, .saturation = f->saturation,
                        .osc = f->osc },
            .out = { .sqnr = f->out },
            .params = f->params, .selected = l->selected[i],
            .shape = { .rank = 3, .dim = { 32, 14, 14 } },
        };
        snprintf(v->w, sizeof v->w, "%s", f->w);
        snprintf(v->a, sizeof v->a, "%s", f->a);
        snprintf(v->scheme, sizeof v->scheme, "%s",
                 v->has_w ? "ch sym" : "");
    }
    *n = l->layers;
    return view;
}

void lab_refresh_stats(struct lab *l, unsigned needs)
{
    (void)l;
    (void)needs;
}

bool lab_stats_fresh(struct lab *l, unsigned needs)
{
    (void)l;
    (void)needs;
    return true;
}

void lab_layer_detail(struct lab *l, int node, struct str *out)
{
    (void)l;
    str_printf(out, "%s  conv 3x3 32->64  relu\n"
               "w  int4 sym  per-channel(64)   s .031-.118\n"
               "a  uint8 asym per-tensor  observer ema .99\n"
               "worst channel 17 (sqnr 9.8 dB)", layers[node].name);
}

int lab_cursor(const struct lab *l)
{
    return l->cursor;
}

void lab_set_cursor(struct lab *l, int node)
{
    l->cursor = node;
    l->gen.selection++;
}

void lab_select(struct lab *l, int node, bool on)
{
    l->selected[node] = on;
    l->gen.selection++;
}

static const char *const series_names[] = { "val_acc", "acc",
                                            "val_loss", "loss" };

int lab_series_find(const struct lab *l, const char *name)
{
    (void)l;
    for (int i = 0; i < 4; i++) {
        if (!strcmp(series_names[i], name))
            return i;
    }
    return -1;
}

struct series_view lab_series(const struct lab *l, int i)
{
    static double x[4][POINTS], y[4][POINTS];
    int n = i % 2 ? l->points : l->vals;
    for (int k = 0; k < n; k++) {
        double e = i % 2 ? (k + 1) / 200.0 : k + 1.0;
        double wave = i % 2 ? 0.03 * sin(37.0 * k) : 0;
        x[i][k] = e;
        y[i][k] = i < 2 ? 0.95 - 0.75 * exp(-1.5 * e) + wave
                        : 0.15 + 2.2 * exp(-1.2 * e) + wave;
    }
    return (struct series_view){ series_names[i], x[i], y[i], n };
}

int lab_event_marks(const struct lab *l, const struct mark_view **out)
{
    static const struct mark_view mark = { 2.72, "bits conv2,pw* w=4" };
    *out = &mark;
    return l->vals ? 1 : 0;
}

const char *const hist_name[HIST_COUNT] = { "w", "out", "err", "grad" };

enum status lab_hist(struct lab *l, int node, enum hist_what what, int bins,
                     struct hist_view *out, struct err *e)
{
    (void)l;
    if (layers[node].type[0] == 'b')
        return err_set(e, STATUS_STATE, "%s has no weights",
                       layers[node].name);
    *out = (struct hist_view){
        .lo = what == HIST_ACTIVATION ? 0 : -1.1,
        .hi = what == HIST_ACTIVATION ? 7.1 : 1.1, .bins = bins,
        .has_clip = what != HIST_ERROR, .has_grid = what != HIST_ERROR,
        .clip_lo = what == HIST_ACTIVATION ? 0 : -0.62,
        .clip_hi = what == HIST_ACTIVATION ? 4.95 : 0.62,
        .levels = what == HIST_ACTIVATION ? 256 : 15, .dead_levels = 2,
        .sqnr = 21.7, .mse = 2.1e-3, .max_error = 0.48, .outside = 0.004,
    };
    snprintf(out->title, sizeof out->title, "%s.%s  int4",
             layers[node].name, hist_name[what]);
    out->step = (out->clip_hi - out->clip_lo) / (out->levels - 1);
    out->above = what == HIST_ACTIVATION ? 90 : 0;
    for (int i = 0; i < bins; i++) {
        double x = out->lo + (i + 0.5) / bins * (out->hi - out->lo);
        out->n[i] = what == HIST_ACTIVATION ? 900 * exp(-x)
                                            : 1000 * exp(-8 * x * x);
        out->n[i] = floor(out->n[i]);
    }
    return STATUS_OK;
}

void lab_set_glance(struct lab *l, bool on)
{
    (void)l;
    (void)on;
}

void lab_status_view(struct lab *l, struct status_view *s)
{
    *s = (struct status_view){ .val_acc = NAN, .val_loss = NAN,
                               .float_acc = NAN };
    snprintf(s->run, sizeof s->run, "%s", l->training ? "RUN" : "IDLE");
    if (!l->layers)
        return;
    snprintf(s->model, sizeof s->model, "kws-cnn");
    snprintf(s->data, sizeof s->data, "speech");
    snprintf(s->precision, sizeof s->precision, "QAT w4a8 mixed");
    s->epoch = 4.43;
    s->goal_epoch = 10;
    s->eta = 41;
    s->batch = 213;
    s->batches = 500;
    s->lr = 2e-4;
    s->val_acc = 0.9412;
    s->float_acc = 0.9443;
    s->batches_per_second = 35.2;
    s->bytes = 36600;
}

struct lab_generation lab_generation(const struct lab *l)
{
    return l->gen;
}

bool lab_busy(const struct lab *l)
{
    return l->busy;
}

bool lab_training(const struct lab *l)
{
    return l->training;
}

const char *lab_setting(struct lab *l, const char *name)
{
    return !strcmp(name, "glyphs") ? l->glyphs : NULL;
}

double lab_setting_number(const struct lab *l, const char *name)
{
    (void)l;
    return !strcmp(name, "warn.sqnr") ? 20
           : !strcmp(name, "bad.sqnr") ? 10 : (double)NAN;
}

void completion_free(struct completion *c, int n)
{
    for (int i = 0; i < n; i++) {
        free(c[i].text);
        free(c[i].help);
    }
    free(c);
}

/* ---- fixtures ---- */

struct fixture {
    struct desk *desk;
    struct log log;
};

static const struct look unicode_look = { .glyphs = &glyphs_braille,
                                          .theme = &theme_table[0] };
static const struct look ascii_look = { .glyphs = &glyphs_ascii,
                                        .theme = &theme_table[0] };

static void settle(struct desk *d)
{
    for (int i = 0; i < 3; i++) {
        desk_update(d, 1000 * (i + 1));
        desk_draw(d, 0);
    }
}

static void resize(struct desk *d, int w, int h)
{
    desk_resize(d, w, h);
    settle(d);
}

static struct fixture *open_desk(const struct look *look, bool loaded)
{
    fake = (struct lab){ .cursor = 3, .layers = loaded ? LAYERS : 0,
                         .vals = loaded ? 4 : 0,
                         .points = loaded ? POINTS : 0, .glyphs = "auto" };
    struct fixture *f = calloc(1, sizeof *f);
    if (loaded) {
        log_add(&f->log, OUT_ECHO, "> bits conv2,pw* w=4");
        log_add(&f->log, OUT_RESULT,
                "3 layers: conv2 pw3 pw4   w 8 -> 4   size 66.4K -> 36.6K");
        log_add(&f->log, OUT_WARN, "stderr: a line of a library");
        log_add(&f->log, OUT_NOTE,
                "epoch 3 done  val_acc .9436  val_loss .181  14.2s");
        log_add(&f->log, OUT_ERROR, "1:6: error: no layer matches 'cnov*' "
                "(did you mean 'conv*'?), which makes this line so long "
                "that it has to go on below");
    }
    f->desk = desk_new(&fake, &f->log, look);
    f->desk->prompt = (struct prompt_view){ "(qatlab) ",
                                            "disable observer pw", 19 };
    return f;
}

static void close_desk(struct fixture *f)
{
    desk_free(f->desk);
    log_fini(&f->log);
    free(f);
}

/* Compares the screen with tests/screens/NAME.txt. */
static void expect_screen(const struct desk *d, const char *name)
{
    const char *srcdir = getenv("srcdir");
    char path[512];
    struct str got = { 0 };
    struct bytes want = { 0 };
    struct err e;
    snprintf(path, sizeof path, "%s/tests/screens/%s.txt",
             srcdir ? srcdir : ".", name);
    screen_text(&d->screen, &got);
    const char *renew = getenv("QATLAB_UPDATE");
    if (renew && *renew == '1')
        assert_int_equal(file_write_atomic(path, str_text(&got), got.len, &e),
                         STATUS_OK);
    if (file_read(path, 1 << 20, &want, &e) != STATUS_OK)
        fail_msg("%s", e.text);
    if (want.size != got.len || memcmp(want.data, got.text, got.len) != 0) {
        print_error("%s differs; now it is\n%s", path, str_text(&got));
        fail();
    }
    bytes_fini(&want);
    str_fini(&got);
}

static void run(struct desk *d, const char *line)
{
    struct err e = { .text = "" };
    assert_true(desk_run(d, line, &e));
    assert_string_equal(e.text, "");
    settle(d);
}

/* ---- screens ---- */

static void a_small_terminal_shows_layers_curves_and_log(void **s)
{
    (void)s;
    struct fixture *f = open_desk(&unicode_look, true);
    fake.busy = fake.training = true;
    resize(f->desk, 80, 24);
    run(f->desk, "focus layers");
    expect_screen(f->desk, "80x24");
    run(f->desk, "focus hist weight");
    expect_screen(f->desk, "80x24-hist");
    close_desk(f);
}

static void ascii_needs_no_unicode(void **s)
{
    (void)s;
    struct fixture *f = open_desk(&ascii_look, true);
    resize(f->desk, 80, 24);
    run(f->desk, "focus curves");
    expect_screen(f->desk, "80x24-ascii");
    for (int i = 0; i < 80 * 24; i++) {
        uint32_t c = f->desk->screen.cell[i].ch[0];
        if (c > 126)          /* only the name that has them */
            assert_true(c == 0x5c64);
    }
    close_desk(f);
}

static void a_medium_terminal_adds_detail_and_histogram(void **s)
{
    (void)s;
    struct fixture *f = open_desk(&unicode_look, true);
    fake.selected[6] = fake.selected[9] = true;
    resize(f->desk, 120, 40);
    expect_screen(f->desk, "120x40");
    close_desk(f);
}

static void a_wide_terminal_has_three_columns(void **s)
{
    (void)s;
    struct fixture *f = open_desk(&unicode_look, true);
    fake.busy = fake.training = true;
    resize(f->desk, 200, 50);
    expect_screen(f->desk, "200x50");
    close_desk(f);
}

static void below_eighty_columns_there_is_one_pane(void **s)
{
    (void)s;
    struct fixture *f = open_desk(&unicode_look, true);
    resize(f->desk, 60, 16);
    run(f->desk, "focus log");
    expect_screen(f->desk, "60x16-log");
    resize(f->desk, 30, 8);
    expect_screen(f->desk, "30x8");
    close_desk(f);
}

static void without_a_model_every_pane_says_so(void **s)
{
    (void)s;
    struct fixture *f = open_desk(&unicode_look, false);
    resize(f->desk, 120, 40);
    expect_screen(f->desk, "120x40-empty");
    close_desk(f);
}

static void candidates_stand_above_the_prompt(void **s)
{
    (void)s;
    struct fixture *f = open_desk(&unicode_look, true);
    char name[14][16], help[] = "conv";
    struct completion c[14];
    for (int i = 0; i < 14; i++) {
        snprintf(name[i], sizeof name[i], "pw%d", i);
        c[i].text = name[i];
        c[i].help = help;
    }
    resize(f->desk, 80, 24);
    desk_popup_set(f->desk, c, 14);
    settle(f->desk);
    expect_screen(f->desk, "80x24-popup");
    desk_popup_set(f->desk, c, 14);           /* Tab again */
    assert_int_equal(f->desk->popup.first, POPUP_ROWS);
    desk_popup_set(f->desk, c, 14);
    assert_int_equal(f->desk->popup.first, 0);
    close_desk(f);
}

static void the_list_of_keys_comes_from_the_table(void **s)
{
    (void)s;
    struct fixture *f = open_desk(&unicode_look, true);
    resize(f->desk, 120, 40);
    run(f->desk, "focus layers");
    run(f->desk, "focus help");
    expect_screen(f->desk, "120x40-keys");
    assert_true(desk_help_key(f->desk, "Esc"));
    assert_false(f->desk->help);
    close_desk(f);
}

static void every_size_can_be_drawn(void **s)
{
    (void)s;
    for (int loaded = 0; loaded < 2; loaded++) {
        struct fixture *f = open_desk(&unicode_look, loaded);
        for (int w = 1; w <= 250; w += w < 45 ? 4 : 29) {
            for (int h = 1; h <= 80; h += h < 30 ? 3 : 17) {
                desk_resize(f->desk, w, h);
                desk_update(f->desk, 1e6);
                desk_draw(f->desk, 0);
                assert_in_range(f->desk->screen.cursor_x, 0, w - 1);
                assert_in_range(f->desk->screen.cursor_y, 0, h - 1);
            }
        }
        resize(f->desk, 300, 100);
        resize(f->desk, 1, 1);
        close_desk(f);
    }
}

static void a_screen_that_shrank_and_grew_is_the_same(void **s)
{
    (void)s;
    struct fixture *f = open_desk(&unicode_look, true);
    struct str before = { 0 }, after = { 0 };
    resize(f->desk, 80, 24);
    screen_text(&f->desk->screen, &before);
    resize(f->desk, 1, 1);
    resize(f->desk, 45, 12);
    resize(f->desk, 80, 24);
    screen_text(&f->desk->screen, &after);
    assert_string_equal(str_text(&after), str_text(&before));
    str_fini(&before);
    str_fini(&after);
    close_desk(f);
}

/* ---- words and keys ---- */

static void unknown_panes_and_words_are_refused(void **s)
{
    (void)s;
    struct fixture *f = open_desk(&unicode_look, true);
    static const char *const bad[] = {
        "focus nosuch", "zoom nosuch", "layout nosuch", "layout a:b:c",
        "focus curves nosuch", "focus hist nosuch", "focus log nosuch",
        "focus layers nosuch",
    };
    resize(f->desk, 120, 40);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct err e = { .text = "" };
        assert_true(desk_run(f->desk, bad[i], &e));
        if (!e.text[0])
            fail_msg("'%s' was accepted", bad[i]);
    }
    struct err e;
    assert_false(desk_run(f->desk, "train 3", &e));
    close_desk(f);
}

static void every_screen_line_of_the_key_table_is_understood(void **s)
{
    (void)s;
    struct fixture *f = open_desk(&unicode_look, true);
    resize(f->desk, 120, 40);
    for (int i = 0; i < key_count; i++) {
        const struct key_row *k = &key_table[i];
        struct str line = { 0 };
        struct err e = { .text = "" };
        assert_true(*k->help && *k->key && *k->line);
        assert_int_equal(key_expand(f->desk, k->line, &line, &e), STATUS_OK);
        if (!k->insert && desk_run(f->desk, str_text(&line), &e) &&
            e.text[0])
            fail_msg("key %s %s: %s", k->context, k->key, e.text);
        settle(f->desk);
        str_fini(&line);
    }
    close_desk(f);
}

static void the_help_of_every_key_fits_its_column(void **s)
{
    (void)s;
    for (int i = 0; i < key_count; i++) {
        if (text_width(key_table[i].help) > 29)
            fail_msg("key %s %s: '%s' is cut", key_table[i].context,
                     key_table[i].key, key_table[i].help);
    }
}

static void keys_name_what_the_pane_shows(void **s)
{
    (void)s;
    static const struct {
        const char *focus, *pane, *key, *line;
    } cases[] = {
        { "focus hist", "hist", "x", "hist conv2.err -> " },
        { "focus hist", "hist", "r", "range conv2.w " },
        { "focus hist act", "hist", "x", "hist conv2.out -> " },
        { "focus hist act", "hist", "r", "range conv2.out " },
        { "focus curves acc", "curves", "x", "plot val_acc acc -> " },
        { "focus curves lr", "curves", "x", "plot lr -> " },
    };
    struct fixture *f = open_desk(&unicode_look, true);
    resize(f->desk, 120, 40);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct key_row *k = key_find(cases[i].pane, cases[i].key);
        struct str line = { 0 };
        run(f->desk, cases[i].focus);
        assert_int_equal(key_expand(f->desk, k->line, &line, NULL),
                         STATUS_OK);
        assert_string_equal(str_text(&line), cases[i].line);
        str_fini(&line);
    }
    close_desk(f);
}

static void no_key_of_a_context_is_bound_twice(void **s)
{
    (void)s;
    for (int i = 0; i < key_count; i++)
        assert_ptr_equal(key_find(key_table[i].context, key_table[i].key),
                         &key_table[i]);
}

static void keys_write_states_never_toggles(void **s)
{
    (void)s;
    static const struct {
        const char *key, *line;
    } cases[] = {
        { "f", "disable fake conv2" }, { "o", "disable observer conv2" },
        { "l", "enable learn conv2" }, { "b", "freeze bn conv2" },
        { "+", "bits conv2 w=5" }, { "-", "bits conv2 w=3" },
        { "}", "bits conv2 a=9" }, { "{", "bits conv2 a=7" },
        { "Enter", "info layer conv2" },
    };
    struct fixture *f = open_desk(&unicode_look, true);
    resize(f->desk, 120, 40);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct key_row *k = key_find("layers", cases[i].key);
        struct str line = { 0 };
        assert_int_equal(key_expand(f->desk, k->line, &line, NULL),
                         STATUS_OK);
        assert_string_equal(str_text(&line), cases[i].line);
        str_fini(&line);
    }
    close_desk(f);
}

static void keys_speak_of_the_selection_when_there_is_one(void **s)
{
    (void)s;
    struct fixture *f = open_desk(&unicode_look, true);
    struct str line = { 0 };
    fake.selected[6] = fake.selected[11] = true;
    resize(f->desk, 120, 40);
    const struct key_row *k = key_find("layers", "o");
    assert_int_equal(key_expand(f->desk, k->line, &line, NULL), STATUS_OK);
    assert_string_equal(str_text(&line),
                        "enable observer pw3,\"\u5c64-e\u0301\"");
    str_fini(&line);
    close_desk(f);
}

static void keys_before_a_model_say_what_is_missing(void **s)
{
    (void)s;
    struct fixture *f = open_desk(&unicode_look, false);
    resize(f->desk, 80, 24);
    for (int i = 0; i < key_count; i++) {
        struct str line = { 0 };
        struct err e = { .text = "" };
        if (key_expand(f->desk, key_table[i].line, &line, &e) != STATUS_OK)
            assert_non_null(strstr(e.text, "load a model"));
        else if (!key_table[i].insert)
            desk_run(f->desk, str_text(&line), &e);
        settle(f->desk);
        str_fini(&line);
    }
    close_desk(f);
}

static void the_cursor_stays_within_the_layers(void **s)
{
    (void)s;
    struct fixture *f = open_desk(&unicode_look, true);
    resize(f->desk, 80, 24);
    run(f->desk, "focus layers end");
    assert_int_equal(fake.cursor, LAYERS - 1);
    run(f->desk, "focus layers down");
    assert_int_equal(fake.cursor, LAYERS - 1);
    run(f->desk, "focus layers home");
    run(f->desk, "focus layers up");
    assert_int_equal(fake.cursor, 0);
    run(f->desk, "focus layers pw4");
    assert_int_equal(fake.cursor, 9);
    run(f->desk, "focus layers /conv");
    run(f->desk, "focus layers home");
    assert_int_equal(fake.cursor, 1);
    close_desk(f);
}

static void what_is_read_in_the_log_stays_while_lines_come(void **s)
{
    (void)s;
    struct fixture *f = open_desk(&unicode_look, true);
    struct str before = { 0 }, after = { 0 };
    for (int i = 0; i < 200; i++) {
        char text[32];
        snprintf(text, sizeof text, "line %d", i);
        log_add(&f->log, OUT_NOTE, text);
    }
    resize(f->desk, 60, 16);
    run(f->desk, "focus log");
    run(f->desk, "focus log pageup");
    run(f->desk, "zoom log");
    struct area all = area_all(&f->desk->screen);
    struct area inside = area_part(&all, 1, 2, 40, 10);
    char first = (char)inside.screen->cell[2 * 60 + 8].ch[0];
    log_add(&f->log, OUT_NOTE, "one more");
    settle(f->desk);
    assert_int_equal(inside.screen->cell[2 * 60 + 8].ch[0], first);
    run(f->desk, "focus log end");
    str_fini(&before);
    str_fini(&after);
    close_desk(f);
}

static void a_zoomed_pane_has_all_the_room(void **s)
{
    (void)s;
    struct fixture *f = open_desk(&unicode_look, true);
    resize(f->desk, 120, 40);
    run(f->desk, "zoom hist");
    assert_int_equal(f->desk->zoomed->rect.w, 120);
    assert_null(f->desk->focus);              /* typing goes on */
    run(f->desk, "focus log");
    assert_string_equal(f->desk->zoomed->ops->name, "log");
    run(f->desk, "zoom off");
    assert_true(f->desk->focus->rect.h < 20);
    close_desk(f);
}

static void a_layout_may_be_written_by_hand(void **s)
{
    (void)s;
    struct fixture *f = open_desk(&unicode_look, true);
    resize(f->desk, 120, 40);
    run(f->desk, "layout curves=loss:30 hist=act:70 / log:50");
    assert_int_equal(f->desk->panes >= 3, 1);
    run(f->desk, "focus hist");
    assert_int_equal(f->desk->focus->rect.x, 36);
    resize(f->desk, 60, 20);                  /* kept at any size */
    assert_true(f->desk->fixed);
    run(f->desk, "layout auto");
    assert_string_equal(f->desk->preset->name, "single");
    close_desk(f);
}

int main(void)
{
    gsl_set_error_handler_off();
    setlocale(LC_ALL, "C.UTF-8");
    setlocale(LC_NUMERIC, "C");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_small_terminal_shows_layers_curves_and_log),
        cmocka_unit_test(ascii_needs_no_unicode),
        cmocka_unit_test(a_medium_terminal_adds_detail_and_histogram),
        cmocka_unit_test(a_wide_terminal_has_three_columns),
        cmocka_unit_test(below_eighty_columns_there_is_one_pane),
        cmocka_unit_test(without_a_model_every_pane_says_so),
        cmocka_unit_test(candidates_stand_above_the_prompt),
        cmocka_unit_test(the_list_of_keys_comes_from_the_table),
        cmocka_unit_test(every_size_can_be_drawn),
        cmocka_unit_test(a_screen_that_shrank_and_grew_is_the_same),
        cmocka_unit_test(unknown_panes_and_words_are_refused),
        cmocka_unit_test(every_screen_line_of_the_key_table_is_understood),
        cmocka_unit_test(the_help_of_every_key_fits_its_column),
        cmocka_unit_test(keys_name_what_the_pane_shows),
        cmocka_unit_test(no_key_of_a_context_is_bound_twice),
        cmocka_unit_test(keys_write_states_never_toggles),
        cmocka_unit_test(keys_speak_of_the_selection_when_there_is_one),
        cmocka_unit_test(keys_before_a_model_say_what_is_missing),
        cmocka_unit_test(the_cursor_stays_within_the_layers),
        cmocka_unit_test(what_is_read_in_the_log_stays_while_lines_come),
        cmocka_unit_test(a_zoomed_pane_has_all_the_room),
        cmocka_unit_test(a_layout_may_be_written_by_hand),
    };
    return cmocka_run_group_tests_name("ui panes", tests, NULL, NULL);
}

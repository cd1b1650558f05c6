/* The grid in memory, the layouts over it, the raster of dots.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "common/test_main.h"

#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ui/prompt.h"
#include "ui/raster.h"
#include "ui/screen.h"
#include "ui/tiling.h"

static const struct look look = { .glyphs = &glyphs_braille };
static const struct look ascii = { .glyphs = &glyphs_ascii };

static void expect_text(const struct screen *s, const char *want)
{
    struct str got = { 0 };
    screen_text(s, &got);
    assert_string_equal(str_text(&got), want);
    str_fini(&got);
}

/* ---- screen ---- */

static void text_is_clipped_to_its_area(void **state)
{
    (void)state;
    struct screen s = { 0 };
    screen_resize(&s, 6, 2);
    struct area all = area_all(&s);
    struct area part = area_part(&all, 2, 0, 3, 1);
    assert_int_equal(area_text(&part, 0, 0, STYLE_TEXT, "abcdef"), 6);
    area_text(&part, 1, 0, STYLE_TEXT, "no row");
    area_text(&part, 0, -1, STYLE_TEXT, "XY");
    expect_text(&s, "  Ybc\n\n");
    screen_fini(&s);
}

static void a_wide_character_that_does_not_fit_is_left_out(void **state)
{
    (void)state;
    struct screen s = { 0 };
    screen_resize(&s, 4, 1);
    struct area all = area_all(&s);
    area_text(&all, 0, 1, STYLE_TEXT, "\u5c64\u5c64");
    expect_text(&s, " \u5c64\n");
    screen_fini(&s);
}

static void half_of_a_wide_character_is_never_left(void **state)
{
    (void)state;
    struct screen s = { 0 };
    screen_resize(&s, 4, 1);
    struct area all = area_all(&s);
    area_text(&all, 0, 0, STYLE_TEXT, "\u5c64\u5c64");
    area_text(&all, 0, 1, STYLE_TEXT, "xy");
    expect_text(&s, " xy\n");
    screen_fini(&s);
}

static void a_frame_holds_title_and_words(void **state)
{
    (void)state;
    struct screen s = { 0 };
    screen_resize(&s, 30, 3);
    struct area all = area_all(&s);
    struct area in = area_frame(&all, &ascii, false, "1 Layers");
    const struct frame_word words[] = { { "acc", STYLE_BOLD },
                                        { "loss", STYLE_DIM } };
    area_frame_words(&all, 8, 2, words);
    assert_int_equal(in.w, 28);
    assert_int_equal(in.h, 1);
    expect_text(&s, "+- 1 Layers ----- acc  loss -+\n"
                    "|                            |\n"
                    "+----------------------------+\n");
    screen_fini(&s);
}

static void dim_words_give_way_first(void **state)
{
    (void)state;
    struct screen s = { 0 };
    screen_resize(&s, 24, 3);
    struct area all = area_all(&s);
    area_frame(&all, &ascii, true, "1 Layers");
    const struct frame_word words[] = { { "acc", STYLE_BOLD },
                                        { "loss", STYLE_DIM } };
    area_frame_words(&all, 8, 2, words);
    expect_text(&s, "+= 1 Layers ===== acc =+\n"
                    "|                      |\n"
                    "+======================+\n");
    screen_fini(&s);
}

static void frames_fit_into_any_size(void **state)
{
    (void)state;
    const struct frame_word words[] = { { "acc", STYLE_BOLD } };
    for (int w = 1; w <= 40; w++) {
        for (int h = 1; h <= 6; h++) {
            struct screen s = { 0 };
            screen_resize(&s, w, h);
            struct area all = area_all(&s);
            struct area in = area_frame(&all, &look, true, "3 Hist");
            area_frame_words(&all, 6, 1, words);
            assert_int_equal(in.w, w >= 3 && h >= 3 ? w - 2 : 0);
            screen_fini(&s);
        }
    }
}

static void a_screen_is_saved_by_suffix(void **state)
{
    (void)state;
    struct screen s = { 0 };
    struct err e;
    screen_resize(&s, 4, 1);
    assert_int_equal(screen_save(&s, "/tmp/x.gif", &e), STATUS_ARG);
    assert_non_null(strstr(e.text, ".svg"));
    assert_int_equal(screen_save(&s, "nosuffix", &e), STATUS_ARG);
    assert_int_equal(screen_save(&s, "/nosuch/dir/s.txt", &e), STATUS_IO);
    screen_fini(&s);
}

/* ---- tilings ---- */

/* Every cell belongs to exactly one leaf. */
static void expect_tiled(const struct tiling *t, int w, int h)
{
    struct rect r[TILING_NODES];
    tiling_place(t, (struct rect){ 0, 0, w, h }, r);
    char *cover = calloc((size_t)w, (size_t)h);
    for (int i = 0; i < t->n; i++) {
        if (t->node[i].split != TILING_NONE)
            continue;
        for (int y = r[i].y; y < r[i].y + r[i].h; y++) {
            for (int x = r[i].x; x < r[i].x + r[i].w; x++) {
                assert_true(x >= 0 && x < w && y >= 0 && y < h);
                cover[y * w + x]++;
            }
        }
    }
    for (int i = 0; i < w * h; i++)
        assert_int_equal(cover[i], 1);
    free(cover);
}

static void every_layout_tiles_every_size(void **state)
{
    (void)state;
    for (int i = 0; i < tiling_count; i++) {
        struct tiling t;
        struct err e;
        assert_int_equal(tiling_parse(tiling_table[i].text, &t, &e), 0);
        if (t.n == 0)
            continue;
        for (int w = 1; w <= 250; w += 11) {
            for (int h = 1; h <= 80; h += 7)
                expect_tiled(&t, w, h);
        }
        expect_tiled(&t, 300, 100);
    }
}

static void weights_share_the_room(void **state)
{
    (void)state;
    struct tiling t;
    struct rect r[TILING_NODES];
    assert_int_equal(tiling_parse("a:30 (b / c,d:3):70", &t, NULL), 0);
    tiling_place(&t, (struct rect){ 0, 1, 100, 23 }, r);
    assert_int_equal(r[0].w, 100);
    int found = 0;
    for (int i = 0; i < t.n; i++) {
        if (t.node[i].tabs == 2) {
            assert_string_equal(t.node[i].tab[1], "d");
            assert_int_equal(r[i].x, 30);
            assert_int_equal(r[i].w, 70);
            assert_int_equal(r[i].h, 3);
            found++;
        }
    }
    assert_int_equal(found, 1);
}

static void mistakes_in_layouts_name_their_column(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int column;
    } bad[] = {
        { "a:", 3 }, { "a:0", 3 }, { "(a", 3 }, { "a)", 2 }, { "a / ", 5 },
        { "a,,b", 3 }, { ":3", 1 }, { "averylongnameofapanethatisnone", 1 },
        { "((((((((((a))))))))))", 9 },
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct tiling t;
        struct err e;
        char want[32];
        assert_int_equal(tiling_parse(bad[i].text, &t, &e), STATUS_ARG);
        snprintf(want, sizeof want, "column %d:", bad[i].column);
        if (!strstr(e.text, want))
            fail_msg("'%s': %s, wanted %s", bad[i].text, e.text, want);
    }
}

static void too_many_parts_are_refused(void **state)
{
    (void)state;
    char text[256] = "a";
    for (int i = 0; i < 60; i++)
        strcat(text, " b");
    struct tiling t;
    assert_int_equal(tiling_parse(text, &t, NULL), STATUS_ARG);
}

static void a_layout_is_chosen_by_size_and_kept_near_its_edge(void **state)
{
    (void)state;
    const struct tiling_row *small = tiling_choose(80, 24, NULL);
    assert_string_equal(small->name, "small");
    assert_string_equal(tiling_choose(79, 23, NULL)->name, "single");
    assert_string_equal(tiling_choose(79, 23, small)->name, "small");
    assert_string_equal(tiling_choose(77, 24, small)->name, "single");
    assert_string_equal(tiling_choose(120, 40, small)->name, "medium");
    assert_string_equal(tiling_choose(200, 50, NULL)->name, "wide");
    assert_string_equal(tiling_choose(1, 1, small)->name, "none");
    assert_string_equal(tiling_choose(39, 9, NULL)->name, "none");
}

/* ---- raster ---- */

static void expect_raster(const struct raster *r, const struct look *l,
                          const char *want)
{
    struct screen s = { 0 };
    screen_resize(&s, r->w, r->h);
    struct area all = area_all(&s);
    raster_draw(r, &all, l);
    expect_text(&s, want);
    screen_fini(&s);
}

static void dots_become_braille(void **state)
{
    (void)state;
    struct raster r;
    raster_init(&r, 2, 1);
    raster_dot(&r, 0, 0, STYLE_VAL);      /* dot 1 */
    raster_dot(&r, 3, 3, STYLE_VAL);      /* dot 8 of the second cell */
    expect_raster(&r, &look, "\u2801\u2880\n");
    for (int i = 0; i < 8; i++)
        raster_dot(&r, i % 2, i / 2, STYLE_VAL);
    expect_raster(&r, &look, "\u28ff\u2880\n");
    raster_fini(&r);
}

static void blocks_stand_as_high_as_the_topmost_dot(void **state)
{
    (void)state;
    static const struct look blocks = { .glyphs = &glyphs_blocks };
    struct raster r;
    raster_init(&r, 4, 1);
    for (int i = 0; i < 4; i++)
        raster_dot(&r, 2 * i, i, STYLE_VAL);
    expect_raster(&r, &blocks, "\u2588\u2586\u2584\u2582\n");
    raster_fini(&r);
}

static void ascii_shows_whose_dot_it_is(void **state)
{
    (void)state;
    struct raster r;
    raster_init(&r, 3, 1);
    raster_dot(&r, 0, 0, STYLE_VAL);
    raster_dot(&r, 4, 2, STYLE_TRAIN);
    expect_raster(&r, &ascii, "* .\n");
    raster_fini(&r);
}

static void dots_outside_are_dropped(void **state)
{
    (void)state;
    struct raster r;
    raster_init(&r, 1, 1);
    raster_dot(&r, -1, 0, STYLE_VAL);
    raster_dot(&r, 0, 4, STYLE_VAL);
    raster_dot(&r, 2, 0, STYLE_VAL);
    raster_line(&r, (int[]){ -50, -50 }, (int[]){ -2, 90 }, STYLE_VAL);
    expect_raster(&r, &look, "\n");
    raster_fini(&r);
}

static void a_spike_between_columns_survives(void **state)
{
    (void)state;
    enum { N = 10000 };
    double *x = malloc(N * sizeof *x), *y = malloc(N * sizeof *y);
    for (int i = 0; i < N; i++) {
        x[i] = i;
        y[i] = 0;
    }
    y[5003] = 1;
    struct chart c = { .x1 = N - 1, .y1 = 1 };
    raster_init(&c.raster, 20, 4);
    chart_line(&c, (struct points){ x, y, N }, STYLE_VAL);
    int top = 0;
    for (int col = 0; col < 20; col++)
        top += (c.raster.dots[col] & 0x09) != 0;
    assert_int_equal(top, 1);
    raster_fini(&c.raster);
    free(x);
    free(y);
}

static void values_that_are_not_finite_leave_a_gap(void **state)
{
    (void)state;
    const double x[] = { 0, 1, 2 };
    const double y[] = { NAN, INFINITY, -INFINITY };
    struct chart c = { .x1 = 2, .y1 = 1 };
    raster_init(&c.raster, 4, 2);
    chart_line(&c, (struct points){ x, y, 3 }, STYLE_VAL);
    chart_band(&c, (struct points){ x, y, 3 }, STYLE_BAND);
    chart_markers(&c, (struct points){ x, y, 3 }, STYLE_VAL);
    for (int i = 0; i < 8; i++)
        assert_int_equal(c.raster.dots[i], 0);
    raster_fini(&c.raster);
}

static void smoothing_takes_means_of_neighbours(void **state)
{
    (void)state;
    enum { N = 40 };
    double x[N], y[N], out[N];
    for (int i = 0; i < N; i++) {
        x[i] = i;
        y[i] = 3 + 2 * i;     /* a line stays a line away from its ends */
    }
    chart_smooth((struct points){ x, y, N }, out);
    for (int i = 4; i < N - 4; i++)
        assert_true(fabs(out[i] - y[i]) < 1e-12);
    assert_true(fabs(out[0] - (3 + 2 * 2)) < 1e-12);      /* of 0 .. 4 */
    y[20] = NAN;
    chart_smooth((struct points){ x, y, N }, out);
    assert_true(fabs(out[20] - 43) < 1e-12);
    chart_smooth((struct points){ x, y, 3 }, out);        /* few: as is */
    assert_true(out[1] == y[1]);
}

static void a_logarithmic_axis_spaces_powers_evenly(void **state)
{
    (void)state;
    struct chart c = { .x1 = 1, .y0 = 1e-4, .y1 = 1, .log = true };
    raster_init(&c.raster, 1, 10);
    assert_int_equal(chart_row(&c, 1), 0);
    assert_int_equal(chart_row(&c, 1e-4), 39);
    assert_in_range(chart_row(&c, 1e-2), 19, 20);
    assert_int_equal(chart_row(&c, -3), 39);
    raster_fini(&c.raster);
}

static void charts_draw_at_every_size(void **state)
{
    (void)state;
    const double x[] = { 0, 1, 2, 3 };
    const double y[] = { 5, -1e300, 1e300, 2 };
    for (int w = 0; w <= 250; w += 25) {
        for (int h = 0; h <= 80; h += 8) {
            struct chart c = { .x1 = 3, .y1 = 3 };
            raster_init(&c.raster, w, h);
            chart_line(&c, (struct points){ x, y, 4 }, STYLE_VAL);
            chart_band(&c, (struct points){ x, y, 4 }, STYLE_BAND);
            chart_level(&c, 1, STYLE_DIM);
            raster_fini(&c.raster);
        }
    }
}

static void steps_are_one_two_or_five(void **state)
{
    (void)state;
    assert_true(fabs(chart_nice_step(0.3) - 0.5) < 1e-12);
    assert_true(fabs(chart_nice_step(1) - 1) < 1e-12);
    assert_true(fabs(chart_nice_step(17) - 20) < 1e-12);
    assert_true(fabs(chart_nice_step(6e-5) - 1e-4) < 1e-15);
    assert_true(isfinite(chart_nice_step(NAN)));
    assert_true(isfinite(chart_nice_step(0)));
}

/* ---- the prompt's row ---- */

static int draw_prompt(int w, const char *line, int point, char *out,
                       size_t size)
{
    struct screen s = { 0 };
    struct str text = { 0 };
    struct prompt_view v = { "> ", line, point };
    screen_resize(&s, w, 1);
    struct area all = area_all(&s);
    int cursor = prompt_draw(&all, &v);
    screen_text(&s, &text);
    snprintf(out, size, "%s", str_text(&text));
    out[strcspn(out, "\n")] = 0;
    str_fini(&text);
    screen_fini(&s);
    return cursor;
}

static void a_short_line_stands_behind_its_prompt(void **state)
{
    (void)state;
    char row[64];
    assert_int_equal(draw_prompt(20, "bits", 4, row, sizeof row), 6);
    assert_string_equal(row, "> bits");
}

static void a_long_line_scrolls_by_half_pages(void **state)
{
    (void)state;
    char row[64];
    assert_int_equal(draw_prompt(10, "abcdefghij", 0, row, sizeof row), 2);
    assert_string_equal(row, "> abcdefg>");
    assert_int_equal(draw_prompt(10, "abcdefghij", 8, row, sizeof row), 5);
    assert_string_equal(row, "<efghij");
    for (int point = 0; point <= 10; point++) {
        int cursor = draw_prompt(10, "abcdefghij", point, row, sizeof row);
        assert_in_range(cursor, 0, 9);
    }
}

static void wide_characters_keep_the_cursor_in_its_column(void **state)
{
    (void)state;
    char row[64];
    assert_int_equal(draw_prompt(20, "\u5c64x", 3, row, sizeof row), 4);
    assert_int_equal(draw_prompt(20, "e\u0301x", 3, row, sizeof row), 3);
    assert_int_equal(draw_prompt(20, "\tx", 1, row, sizeof row), 4);
    assert_string_equal(row, "> ^Ix");
}

static void a_prompt_fits_into_one_column(void **state)
{
    (void)state;
    char row[64];
    for (int w = 1; w < 6; w++) {
        for (int point = 0; point <= 6; point++) {
            int c = draw_prompt(w, "\u5c64\u5c64", point, row, sizeof row);
            assert_in_range(c, 0, w - 1);
        }
    }
}

int main(void)
{
    gsl_set_error_handler_off();
    setlocale(LC_ALL, "C.UTF-8");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_is_clipped_to_its_area),
        cmocka_unit_test(a_wide_character_that_does_not_fit_is_left_out),
        cmocka_unit_test(half_of_a_wide_character_is_never_left),
        cmocka_unit_test(a_frame_holds_title_and_words),
        cmocka_unit_test(dim_words_give_way_first),
        cmocka_unit_test(frames_fit_into_any_size),
        cmocka_unit_test(a_screen_is_saved_by_suffix),
        cmocka_unit_test(every_layout_tiles_every_size),
        cmocka_unit_test(weights_share_the_room),
        cmocka_unit_test(mistakes_in_layouts_name_their_column),
        cmocka_unit_test(too_many_parts_are_refused),
        cmocka_unit_test(a_layout_is_chosen_by_size_and_kept_near_its_edge),
        cmocka_unit_test(dots_become_braille),
        cmocka_unit_test(blocks_stand_as_high_as_the_topmost_dot),
        cmocka_unit_test(ascii_shows_whose_dot_it_is),
        cmocka_unit_test(dots_outside_are_dropped),
        cmocka_unit_test(a_spike_between_columns_survives),
        cmocka_unit_test(values_that_are_not_finite_leave_a_gap),
        cmocka_unit_test(smoothing_takes_means_of_neighbours),
        cmocka_unit_test(a_logarithmic_axis_spaces_powers_evenly),
        cmocka_unit_test(charts_draw_at_every_size),
        cmocka_unit_test(steps_are_one_two_or_five),
        cmocka_unit_test(a_short_line_stands_behind_its_prompt),
        cmocka_unit_test(a_long_line_scrolls_by_half_pages),
        cmocka_unit_test(wide_characters_keep_the_cursor_in_its_column),
        cmocka_unit_test(a_prompt_fits_into_one_column),
    };
    return cmocka_run_group_tests_name("ui screen", tests, NULL, NULL);
}

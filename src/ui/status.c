/* The status row. SPDX-License-Identifier: GPL-3.0-or-later */
#include "ui/status.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { PART_TEXT = 96 };

static enum style part_program(const struct ui_model *m, char *out)
{
    (void)m;
    snprintf(out, PART_TEXT, "qatlab");
    return STYLE_DIM;
}

static enum style part_model(const struct ui_model *m, char *out)
{
    snprintf(out, PART_TEXT, "%s",
             m->status.model[0] ? m->status.model : "no model");
    return STYLE_BOLD;
}

static enum style part_data(const struct ui_model *m, char *out)
{
    snprintf(out, PART_TEXT, "%s", m->status.data);
    return STYLE_TEXT;
}

static enum style part_precision(const struct ui_model *m, char *out)
{
    snprintf(out, PART_TEXT, "%s", m->status.precision);
    return STYLE_ACCENT;
}

static enum style part_epoch(const struct ui_model *m, char *out)
{
    const struct status_view *s = &m->status;
    char a[NUMBER_TEXT], b[NUMBER_TEXT];
    if (!(s->epoch > 0) && !m->training)
        return STYLE_TEXT;
    double done = floor(s->epoch * 100 + 1e-6) / 100;
    if (m->training && s->goal_epoch > 0)
        snprintf(out, PART_TEXT, "ep %s/%s", text_number(a, done),
                 text_number(b, round(s->goal_epoch * 100) / 100));
    else
        snprintf(out, PART_TEXT, "ep %s", text_number(a, done));
    return STYLE_TEXT;
}

static enum style part_batch(const struct ui_model *m, char *out)
{
    if (m->training && m->status.batches > 0)
        snprintf(out, PART_TEXT, "b %lld/%lld", (long long)m->status.batch,
                 (long long)m->status.batches);
    return STYLE_TEXT;
}

static enum style part_lr(const struct ui_model *m, char *out)
{
    char a[NUMBER_TEXT];
    if (m->training && m->status.lr > 0)
        snprintf(out, PART_TEXT, "lr %s", text_number(a, m->status.lr));
    return STYLE_TEXT;
}

static enum style part_val(const struct ui_model *m, char *out)
{
    char a[NUMBER_TEXT];
    if (isfinite(m->status.val_acc))
        snprintf(out, PART_TEXT, "val %s",
                 text_fraction(a, m->status.val_acc));
    else if (isfinite(m->status.val_loss))
        snprintf(out, PART_TEXT, "val loss %s",
                 text_number(a, m->status.val_loss));
    return STYLE_VAL;
}

/* How far from the float model, in percent points. */
static enum style part_distance(const struct ui_model *m, char *out)
{
    double d = m->status.val_acc - m->status.float_acc;
    if (!isfinite(d) || !(m->status.float_acc > 0))
        return STYLE_TEXT;
    snprintf(out, PART_TEXT, "(%+.2f%%)", 100 * d);
    return d < -0.02 ? STYLE_BAD : d < -0.005 ? STYLE_WARN : STYLE_GOOD;
}

static enum style part_float(const struct ui_model *m, char *out)
{
    char a[NUMBER_TEXT];
    if (isfinite(m->status.float_acc) && m->status.float_acc > 0)
        snprintf(out, PART_TEXT, "float %s",
                 text_fraction(a, m->status.float_acc));
    return STYLE_TEXT;
}

static enum style part_rate(const struct ui_model *m, char *out)
{
    char a[NUMBER_TEXT];
    double rate = m->status.batches_per_second;
    if (m->training && isfinite(rate) && rate > 0)
        snprintf(out, PART_TEXT, "%s b/s", text_number(a, rate));
    return STYLE_TEXT;
}

static enum style part_bytes(const struct ui_model *m, char *out)
{
    char a[NUMBER_TEXT];
    if (m->status.bytes > 0)
        snprintf(out, PART_TEXT, "%sB", text_count(a, m->status.bytes));
    return STYLE_DIM;
}

static const struct run_row {
    const char *name;
    enum style style;
} run_table[] = {
    { "RUN", STYLE_GOOD }, { "BUSY", STYLE_GOOD },
    { "PAUSED", STYLE_WARN }, { "BREAK", STYLE_BAD },
};

static enum style part_run(const struct ui_model *m, char *out)
{
    const char *run = m->status.run[0] ? m->status.run : "IDLE";
    if (m->busy && !strcmp(run, "IDLE"))
        run = "BUSY";         /* evaluating, calibrating, loading */
    snprintf(out, PART_TEXT, "%s", run);
    for (size_t i = 0; i < sizeof run_table / sizeof run_table[0]; i++) {
        if (!strcmp(run_table[i].name, run))
            return run_table[i].style;
    }
    return STYLE_DIM;
}

static enum style part_left(const struct ui_model *m, char *out)
{
    char a[NUMBER_TEXT];
    if (m->training && isfinite(m->status.eta) && m->status.eta >= 0)
        snprintf(out, PART_TEXT, "%s left", text_time(a, m->status.eta));
    return STYLE_TEXT;
}

static enum style part_recording(const struct ui_model *m, char *out)
{
    if (m->status.recording[0])
        snprintf(out, PART_TEXT, "rec %s", m->status.recording);
    return STYLE_WARN;
}

static const struct part {
    enum style (*text)(const struct ui_model *m, char *out);
    int group;                /* a line stands between groups */
    int rank;                 /* the greatest is left out first */
} parts[] = {
    { part_program, 0, 14 },
    { part_model, 0, 1 },
    { part_data, 0, 8 },
    { part_precision, 1, 4 },
    { part_epoch, 2, 3 },
    { part_batch, 2, 6 },
    { part_lr, 2, 10 },
    { part_val, 3, 2 },
    { part_float, 3, 9 },
    { part_distance, 3, 7 },
    { part_rate, 4, 11 },
    { part_bytes, 4, 12 },
    { part_run, 5, 0 },
    { part_left, 5, 5 },
    { part_recording, 6, 13 },
};
enum { PARTS = sizeof parts / sizeof parts[0] };

struct row {
    char text[PARTS][PART_TEXT];
    enum style style[PARTS];
    bool drop[PARTS];
};

static bool shown(const struct row *r, int i)
{
    return r->text[i][0] && !r->drop[i];
}

static int row_width(const struct row *r, int separator)
{
    int width = 1, last = -1;
    for (int i = 0; i < PARTS; i++) {
        if (!shown(r, i))
            continue;
        if (last >= 0)
            width += parts[last].group == parts[i].group ? 1 : separator;
        width += text_width(r->text[i]);
        last = i;
    }
    return width;
}

static void drop_least(struct row *r)
{
    int least = -1;
    for (int i = 0; i < PARTS; i++) {
        if (shown(r, i) && (least < 0 || parts[i].rank > parts[least].rank))
            least = i;
    }
    if (least >= 0)
        r->drop[least] = true;
}

void status_draw(const struct area *a, const struct ui_model *m,
                 const struct look *look)
{
    struct row r = { .drop = { false } };
    for (int i = 0; i < PARTS; i++)
        r.style[i] = parts[i].text(m, r.text[i]);
    const char *line = look->glyphs->separator;
    int separator = text_width(line);
    for (int i = 0; i < PARTS && row_width(&r, separator) > a->w; i++)
        drop_least(&r);
    area_fill(a, 0, 0, a->w, STYLE_TEXT, ' ');
    int col = 1, last = -1;
    for (int i = 0; i < PARTS; i++) {
        if (!shown(&r, i))
            continue;
        if (last >= 0 && parts[last].group != parts[i].group)
            col = area_text(a, 0, col, STYLE_BORDER, line);
        else if (last >= 0)
            col++;
        col = area_text(a, 0, col, r.style[i], r.text[i]);
        last = i;
    }
}

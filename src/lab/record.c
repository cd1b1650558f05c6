/* Records. SPDX-License-Identifier: GPL-3.0-or-later */
#include "lab/record.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "io/checkpoint.h"
#include "lab/json_text.h"
#include "lab/state.h"
#include "lab/version.h"

/* ---- the machine stream ---- */

bool stream_wanted(const struct lab *l)
{
    return l->record.jsonl || l->out->ops->json;
}

void stream_event(struct lab *l, const char *type, const char *body)
{
    struct record *r = &l->record;
    int64_t seq = r->seq++;
    if (!stream_wanted(l))
        return;
    struct str s = { 0 };
    str_printf(&s, "{\"v\":1,\"seq\":%" PRId64 ",\"t\":%.3f", seq,
               lab_clock(l));
    json_text(&s, "type", type);
    if (*body)
        json_raw(&s, body);
    str_char(&s, '}');
    if (l->out->ops->json)
        l->out->ops->json(l->out->ctx, str_text(&s));
    if (r->jsonl) {
        fprintf(r->jsonl, "%s\n", str_text(&s));
        fflush(r->jsonl);
    }
    str_fini(&s);
}

void stream_start(struct lab *l)
{
    struct str s = { 0 };
    json_text(&s, "qatlab", QATLAB_VERSION);
    if (l->graph) {
        char hash[65];
        graph_hash(l->graph, hash);
        json_text(&s, "model", l->graph->name);
        json_text(&s, "hash", hash);
    }
    if (l->origin.data)
        json_text(&s, "data", l->origin.data);
    json_num(&s, "seed", (double)l->train.seed);
    stream_event(l, "start", str_text(&s));
    str_fini(&s);
}

/* ---- replayable scripts ---- */

static bool ends_with(const char *s, const char *suffix)
{
    size_t n = strlen(s), k = strlen(suffix);
    return n > k && strcmp(s + n - k, suffix) == 0;
}

static void write_line(struct lab *l, const char *text)
{
    fprintf(l->record.qat, "%s\n", text);
    fflush(l->record.qat);
}

/* The seed, and settings that differ from a fresh lab's: a replay without
 * them would do something else. */
static void write_settings(struct lab *l)
{
    struct lab_opts o = l->opts;
    o.record = NULL;
    struct out_capture quiet;
    out_capture_init(&quiet, l->out, NULL);
    o.out = &quiet.out;
    struct lab *fresh = lab_new(&o, NULL);
    for (int i = 0; fresh && i < setting_count; i++) {
        const struct setting *s = &setting_table[i];
        struct str now = { 0 }, def = { 0 };
        if (!(s->flags & SET_MODEL))
            continue;
        setting_print(l, s, &now);
        setting_print(fresh, s, &def);
        bool seed = s->offset == offsetof(struct lab, train.seed) && !s->get;
        if (seed || strcmp(str_text(&now), str_text(&def)) != 0)
            fprintf(l->record.qat, "set %s %s\n", s->name, str_text(&now));
        str_fini(&now);
        str_fini(&def);
    }
    lab_free(fresh);
    out_capture_fini(&quiet);
}

/* A session that has begun already goes on from a checkpoint beside. */
static enum status write_state(struct lab *l, const char *path,
                               struct err *e)
{
    if (!l->graph) {
        write_settings(l);
        if (l->origin.data)
            fprintf(l->record.qat, "load data %s\n", l->origin.data);
        fflush(l->record.qat);
        return STATUS_OK;
    }
    struct str file = { 0 }, line = { 0 };
    str_add_n(&file, path, strlen(path) - 4);
    str_add(&file, ".qlab");
    struct bag *b = session_save(l, e);
    enum status s = b ? checkpoint_write(str_text(&file), b, e) : STATUS_MEM;
    bag_free(b);
    str_add(&line, "load model ");
    lex_quote(&line, str_text(&file));
    if (!s)
        write_line(l, str_text(&line));
    str_fini(&line);
    str_fini(&file);
    return s;
}

static void write_header(struct lab *l)
{
    fprintf(l->record.qat, "# qatlab-session 1  qatlab %s  seed %llu\n",
            QATLAB_VERSION, (unsigned long long)l->train.seed);
    if (l->graph) {
        char hash[65];
        graph_hash(l->graph, hash);
        fprintf(l->record.qat, "# model %s  sha256:%s  epoch %.3f\n",
                l->graph->name, hash, lab_epoch(l));
    }
    if (l->origin.data)
        fprintf(l->record.qat, "# data %s\n", l->origin.data);
}

static enum status open_file(const char *path, FILE **out, struct err *e)
{
    FILE *f = fopen(path, "w");
    if (!f)
        return err_set(e, STATUS_IO, "%s: %s", path, strerror(errno));
    *out = f;
    return STATUS_OK;
}

static void close_qat(struct record *r)
{
    if (r->qat)
        fclose(r->qat);
    free(r->qat_path);
    r->qat = NULL;
    r->qat_path = NULL;
}

static void close_jsonl(struct record *r)
{
    if (r->jsonl)
        fclose(r->jsonl);
    free(r->jsonl_path);
    r->jsonl = NULL;
    r->jsonl_path = NULL;
}

static enum status open_qat(struct lab *l, const char *path, struct err *e)
{
    struct record *r = &l->record;
    FILE *f = NULL;
    TRY(open_file(path, &f, e));
    close_qat(r);
    r->qat = f;
    r->qat_path = xstrdup(path);
    write_header(l);
    enum status s = write_state(l, path, e);
    if (s)
        close_qat(r);
    else if (l->goal.active)
        l->goal.recorded = trainer_steps(l->trainer);
    return s;
}

static enum status open_jsonl(struct lab *l, const char *path, struct err *e)
{
    struct record *r = &l->record;
    FILE *f = NULL;
    TRY(open_file(path, &f, e));
    close_jsonl(r);
    r->jsonl = f;
    r->jsonl_path = xstrdup(path);
    if (r->seq > 0)
        stream_start(l);
    return STATUS_OK;
}

enum status record_open(struct lab *l, const char *path, struct err *e)
{
    if (ends_with(path, ".qat"))
        return open_qat(l, path, e);
    if (ends_with(path, ".jsonl"))
        return open_jsonl(l, path, e);
    return err_set(e, STATUS_ARG, "a record ends in .qat (replayable) or "
                                  ".jsonl (for machines), not '%s'", path);
}

void record_close(struct lab *l)
{
    close_qat(&l->record);
    close_jsonl(&l->record);
}

void record_line(struct lab *l, const char *command, const char *result)
{
    if (!l->record.qat)
        return;
    struct str s = { 0 };
    str_add(&s, command);
    if (result && *result) {
        for (size_t i = s.len; i < 32; i++)
            str_char(&s, ' ');
        str_printf(&s, "  #= %s", result);
    }
    write_line(l, str_text(&s));
    str_fini(&s);
}

/* ---- commands as executed ---- */

static void add_arg(struct lab *l, const struct arg *x, struct str *out)
{
    str_char(out, ' ');
    if (x->row->key)
        str_printf(out, "%s=", x->row->name);
    if (x->row->kind == ARG_SELECTOR && selection_count(&x->sel))
        selection_print(l, &x->sel, out);
    else if (x->row->kind == ARG_EXPR || x->row->kind == ARG_COMMAND)
        str_add(out, x->text);
    else
        lex_quote(out, x->text);
}

void record_command(struct lab *l, const struct args *a, const char *result)
{
    if (!l->record.qat)
        return;
    struct str s = { 0 };
    str_add(&s, a->cmd->name);
    for (int i = 0; i < a->n; i++)
        add_arg(l, &a->arg[i], &s);
    record_line(l, str_text(&s), result);
    str_fini(&s);
}

/* Whole goals keep their own words; what was cut short, or interleaved with
 * commands, is written as the batches that ran, with the goal's length for
 * the schedule. */
void record_steps(struct lab *l, const char *why)
{
    struct goal *g = &l->goal;
    if (!g->active || !l->trainer)
        return;
    int64_t now = trainer_steps(l->trainer), n = now - g->recorded;
    if (n <= 0 || !l->record.qat) {
        g->recorded = now;
        return;
    }
    struct str s = { 0 }, note = { 0 };
    bool whole = !g->goal_recorded && g->recorded == g->begin &&
                 now == g->end && !g->until && g->deadline <= 0;
    if (whole) {
        str_add(&s, g->text);
    } else {
        str_printf(&s, "step %" PRId64, n);
        if (g->epochs > 0 && !g->goal_recorded)
            str_printf(&s, " goal=%s", num_exact(g->epochs).s);
        if (!isnan(g->lr))
            str_printf(&s, " lr=%s", num_exact(g->lr).s);
        str_printf(&note, "from \"%s\"%s%s", g->text, why ? ", " : "",
                   why ? why : "");
    }
    double val = series_value(l, "val_acc");
    if (whole && !isnan(val))
        str_printf(&note, "val_acc %s", num_text(val).s);
    record_line(l, str_text(&s), str_text(&note));
    g->recorded = now;
    g->goal_recorded = true;
    str_fini(&s);
    str_fini(&note);
}

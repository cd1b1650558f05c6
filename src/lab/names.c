/* Everything that has a name. SPDX-License-Identifier: GPL-3.0-or-later */
#include "lab/names.h"

#include <string.h>

#include "lab/diagnose.h"
#include "lab/help_text.h"
#include "lab/layer_fields.h"
#include "lab/select.h"
#include "lab/state.h"

struct named name_at(const struct name_list *list, int i)
{
    const char *row = (const char *)list->table + (size_t)i * list->stride;
    if (list->pointers)
        row = ((const char *const *)list->table)[i];
    return (struct named){
        .name = *(const char *const *)(const void *)(row + list->name),
        .help = *(const char *const *)(const void *)(row + list->help),
        .detail = list->detail ? *(const char *const *)(const void *)
                                     (row + list->detail)
                               : NULL,
        .row = row,
    };
}

const struct name_list *name_list_find(const char *what)
{
    for (int i = 0; i < name_list_count; i++)
        if (strcmp(name_list_table[i].what, what) == 0)
            return &name_list_table[i];
    return NULL;
}

#define LIST(tab, n, type)                                            \
    .table = (tab), .count = &(n), .stride = sizeof(struct type),     \
    .name = offsetof(struct type, name), .help = offsetof(struct type, help)

const struct name_list name_list_table[] = {
    { .what = "command", LIST(cmd_table, cmd_count, cmd), .pointers = true,
      .detail = offsetof(struct cmd, detail), .more = help_command },
    { .what = "topic", LIST(help_topic_table, help_topic_count, help_topic),
      .detail = offsetof(struct help_topic, text), .more = help_topic_more },
    { .what = "setting", LIST(setting_table, setting_count, setting),
      .more = help_setting },
    { .what = "quantizer",
      LIST(quantizer_table, quantizer_count, quantizer_kind),
      .pointers = true, .detail = offsetof(struct quantizer_kind, source),
      .more = help_quantizer },
    { .what = "observer", LIST(observer_table, observer_count, observer_kind),
      .pointers = true, .detail = offsetof(struct observer_kind, source),
      .more = help_observer },
    { .what = "scale rule", LIST(qparams_table, qparams_count, qparams_rule) },
    { .what = "qconfig", LIST(qconfig_table, qconfig_count, qconfig),
      .detail = offsetof(struct qconfig, source), .more = help_qconfig },
    { .what = "model", LIST(model_table, model_count, model_row),
      .more = help_model },
    { .what = "data source", LIST(dataset_table, dataset_count,
                                  dataset_source),
      .detail = offsetof(struct dataset_source, example),
      .more = help_source },
    { .what = "layer type", LIST(op_table, op_count, op), .pointers = true },
    { .what = "suffix", LIST(sel_suffix_table, sel_suffix_count,
                             sel_suffix) },
    { .what = "loss", LIST(loss_table, loss_count, loss_row) },
    { .what = "optimizer", LIST(optimizer_table, optimizer_count,
                                optimizer_row) },
    { .what = "schedule", LIST(schedule_table, schedule_count, schedule_row),
      .more = help_schedule },
    { .what = "back end", LIST(backend_table, backend_count, backend_row) },
    { .what = "metric", LIST(metric_table, metric_count, metric_row) },
    { .what = "function", LIST(expr_fn_table, expr_fn_count, expr_fn),
      .more = help_function },
    { .what = "layer field", LIST(layer_field_table, layer_field_count,
                                  layer_field) },
    { .what = "warning", LIST(diagnosis_table, diagnosis_count, diagnosis) },
};
const int name_list_count = sizeof name_list_table / sizeof name_list_table[0];

/* The native file: safetensors with the bag's texts in __metadata__.
 *
 *   u64 LE header size | header: JSON, padded with spaces to 8 | tensor data
 *   header: {"__metadata__": {"qatlab": TEXTS}, NAME: {"dtype", "shape",
 *            "data_offsets": [begin, end]}, ...}
 *   TEXTS: a string that holds JSON: {"version": 1, "texts": {NAME: TEXT}}
 *
 * The rules checked on reading are those of huggingface/safetensors'
 * tensor.rs; tensors with the largest elements come first, as it writes them,
 * so that a mapped file is aligned.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "io/checkpoint.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/arena.h"
#include "base/file.h"

#define FILE_CAP ((size_t)16 << 30)
#define HEADER_CAP ((uint64_t)100000000)
#define TENSOR_CAP 20000
#define NAME_CAP 1024
#define DEPTH_CAP 16
#define VERSION 1
#define METADATA "__metadata__"
#define KEY "qatlab"

/* ---- writing ---- */

struct entry {
    const char *name;
    const struct tensor *tensor;
    size_t order;             /* place in the bag */
};

static int compare_entries(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    size_t sx = dtype_table[x->tensor->type].size;
    size_t sy = dtype_table[y->tensor->type].size;
    if (sx != sy)
        return sx > sy ? -1 : 1;
    return x->order < y->order ? -1 : x->order > y->order;
}

/* {NAME: text, ...} as one string, or NULL: memory, or not UTF-8. */
static json_t *texts_to_json(const struct bag *b, struct err *e)
{
    json_t *texts = json_object();
    for (size_t i = 0; i < bag_text_count(b); i++) {
        json_t *text = json_string(bag_text_at(b, i));
        if (!text || json_object_set_new(texts, bag_text_name(b, i), text)) {
            err_set(e, STATUS_ARG, "text \"%s\" is not UTF-8",
                    bag_text_name(b, i));
            json_decref(texts);
            return NULL;
        }
    }
    json_t *all = json_pack("{s:i, s:o}", "version", VERSION, "texts", texts);
    char *dump = json_dumps(all, JSON_COMPACT);
    json_t *metadata = json_pack("{s:s#}", KEY, dump ? dump : "",
                                 dump ? (int)strlen(dump) : 0);
    if (!all || !dump || !metadata)
        err_memory(e, "metadata");
    json_decref(all);
    if (!dump) {
        json_decref(metadata);
        metadata = NULL;
    }
    free(dump);
    return metadata;
}

static json_t *tensor_to_json(const struct tensor *t, size_t begin)
{
    json_t *shape = json_array();
    for (int i = 0; i < t->shape.rank; i++)
        json_array_append_new(shape, json_integer(t->shape.dim[i]));
    return json_pack("{s:s, s:o, s:[I,I]}", "dtype",
                     dtype_table[t->type].safetensors, "shape", shape,
                     "data_offsets", (json_int_t)begin,
                     (json_int_t)(begin + tensor_bytes(t)));
}

static enum status make_header(const struct bag *b, const struct entry *entry,
                               size_t n, char **out, struct err *e)
{
    json_t *root = json_object();
    json_t *metadata = texts_to_json(b, e);
    if (!metadata) {
        json_decref(root);
        return e ? e->status : STATUS_ARG;
    }
    int bad = json_object_set_new(root, METADATA, metadata);
    enum status s = STATUS_OK;
    size_t at = 0;
    for (size_t i = 0; i < n && s == STATUS_OK; i++) {
        if (!strcmp(entry[i].name, METADATA))
            s = err_set(e, STATUS_ARG, "a tensor is named " METADATA);
        else if (json_object_set_new(root, entry[i].name,
                                     tensor_to_json(entry[i].tensor, at)))
            s = err_set(e, STATUS_ARG, "tensor name %zu is not UTF-8", i);
        at += tensor_bytes(entry[i].tensor);
    }
    *out = s == STATUS_OK && !bad ? json_dumps(root, JSON_COMPACT) : NULL;
    json_decref(root);
    return *out || s != STATUS_OK ? s : err_memory(e, "a file header");
}

static void put_u64(unsigned char *to, uint64_t v)
{
    for (int i = 0; i < 8; i++)
        to[i] = (unsigned char)(v >> (8 * i));
}

static enum status write_file(const char *path, const char *header,
                              const struct entry *entry, size_t n,
                              struct err *e)
{
    size_t text = strlen(header), padded = (text + 7) / 8 * 8;
    size_t size = 8 + padded;
    for (size_t i = 0; i < n; i++)
        size += tensor_bytes(entry[i].tensor);
    unsigned char *file = mem_alloc(size, 1);
    if (!file)
        return err_memory(e, "a file");
    put_u64(file, padded);
    memcpy(file + 8, header, text);
    memset(file + 8 + text, ' ', padded - text);
    size_t at = 8 + padded;
    for (size_t i = 0; i < n; i++) {
        size_t bytes = tensor_bytes(entry[i].tensor);
        if (bytes > 0)
            memcpy(file + at, entry[i].tensor->data, bytes);
        at += bytes;
    }
    enum status s = file_write_atomic(path, file, size, e);
    mem_free(file);
    return s;
}

enum status checkpoint_write(const char *path, const struct bag *b,
                             struct err *e)
{
    size_t n = bag_count(b);
    struct entry *entry = mem_alloc(n > 0 ? n : 1, sizeof *entry);
    if (!entry)
        return err_memory(e, "a list of tensors");
    for (size_t i = 0; i < n; i++)
        entry[i] = (struct entry){ bag_name(b, i), bag_at(b, i), i };
    qsort(entry, n, sizeof *entry, compare_entries);
    struct err mine;
    char *header = NULL;
    enum status s = make_header(b, entry, n, &header, &mine);
    if (s != STATUS_OK)
        s = err_set(e, s, "%s: %s", path, mine.text);
    else
        s = write_file(path, header, entry, n, e);
    free(header);
    mem_free(entry);
    return s;
}

/* ---- reading ---- */

/* jansson recurses once a bracket: refuse deep text before it sees it. */
static enum status check_depth(const char *text, size_t n, struct err *e)
{
    int depth = 0;
    bool quoted = false;
    for (size_t i = 0; i < n; i++) {
        char c = text[i];
        if (quoted) {
            if (c == '\\')
                i++;
            else if (c == '"')
                quoted = false;
        } else if (c == '"') {
            quoted = true;
        } else if (c == '{' || c == '[') {
            if (++depth > DEPTH_CAP)
                return err_set(e, STATUS_FORMAT, "JSON is nested deeper than "
                               "%d at byte %zu", DEPTH_CAP, i);
        } else if (c == '}' || c == ']') {
            depth--;
        }
    }
    return STATUS_OK;
}

static enum status parse_json(const char *text, size_t n, json_t **out,
                              struct err *e)
{
    json_error_t why;
    TRY(check_depth(text, n, e));
    *out = json_loadb(text, n, JSON_REJECT_DUPLICATES, &why);
    if (*out && json_is_object(*out))
        return STATUS_OK;
    struct str clean = { 0 };
    str_add_clean(&clean, *out ? "not an object" : why.text);
    enum status s = err_set(e, STATUS_FORMAT, "bad JSON at byte %d: %s",
                            *out ? 0 : why.position, str_text(&clean));
    str_fini(&clean);
    json_decref(*out);
    *out = NULL;
    return s;
}

/* Messages name tensors as files spell them, made harmless. */
static enum status bad_tensor(struct err *e, const char *name,
                              const char *what)
{
    struct str clean = { 0 };
    str_add_clean(&clean, name);
    enum status s = err_set(e, STATUS_FORMAT, "tensor \"%.80s\": %s",
                            str_text(&clean), what);
    str_fini(&clean);
    return s;
}

struct header_tensor {
    const char *name;         /* in the JSON */
    enum dtype type;
    struct shape shape;
    size_t begin, end;        /* in the data */
};

static bool read_shape(const json_t *list, struct shape *out)
{
    if (!json_is_array(list) || json_array_size(list) > SHAPE_MAX)
        return false;
    *out = (struct shape){ .rank = (int)json_array_size(list) };
    for (int i = 0; i < out->rank; i++) {
        const json_t *dim = json_array_get(list, (size_t)i);
        if (!json_is_integer(dim) || json_integer_value(dim) < 0)
            return false;
        out->dim[i] = json_integer_value(dim);
    }
    return true;
}

static bool read_offset(const json_t *pair, size_t i, size_t *out)
{
    const json_t *v = json_array_get(pair, i);
    if (!json_is_integer(v) || json_integer_value(v) < 0)
        return false;
    *out = (size_t)json_integer_value(v);
    return true;
}

static enum dtype find_dtype(const json_t *name)
{
    const char *text = json_string_value(name);
    for (int i = 0; text && i < DTYPE_COUNT; i++)
        if (!strcmp(dtype_table[i].safetensors, text))
            return (enum dtype)i;
    return DTYPE_COUNT;
}

static enum status read_entry(const char *name, const json_t *entry,
                              size_t data_size, struct header_tensor *out,
                              struct err *e)
{
    const json_t *pair = json_object_get(entry, "data_offsets");
    size_t bytes;
    struct err why;
    *out = (struct header_tensor){ .name = name };
    if (strlen(name) > NAME_CAP)
        return bad_tensor(e, name, "its name is too long");
    if (!json_is_object(entry) || json_object_size(entry) != 3)
        return bad_tensor(e, name, "not an object of dtype, shape and "
                          "data_offsets");
    out->type = find_dtype(json_object_get(entry, "dtype"));
    if (out->type == DTYPE_COUNT)
        return bad_tensor(e, name, "its dtype is not a known one");
    if (!read_shape(json_object_get(entry, "shape"), &out->shape))
        return bad_tensor(e, name, "its shape is not a list of at most 8 "
                          "sizes");
    if (json_array_size(pair) != 2 || !read_offset(pair, 0, &out->begin) ||
        !read_offset(pair, 1, &out->end))
        return bad_tensor(e, name, "data_offsets are not two offsets");
    if (out->begin > out->end || out->end > data_size)
        return bad_tensor(e, name, "data_offsets lie outside the data");
    if (shape_bytes(&out->shape, dtype_table[out->type].size, data_size,
                    &bytes, &why) != STATUS_OK)
        return bad_tensor(e, name, why.text);
    if (bytes != out->end - out->begin)
        return bad_tensor(e, name, "shape and dtype need another size than "
                          "data_offsets give");
    return STATUS_OK;
}

static int compare_offsets(const void *a, const void *b)
{
    const struct header_tensor *x = a, *y = b;
    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    return x->end < y->end ? -1 : x->end > y->end;
}

/* The data is covered from end to end, nothing twice. */
static enum status check_cover(const struct header_tensor *list, size_t n,
                               size_t data_size, struct err *e)
{
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        if (list[i].begin != at)
            return bad_tensor(e, list[i].name, list[i].begin < at
                              ? "it overlaps another"
                              : "a hole lies before it");
        at = list[i].end;
    }
    if (at != data_size)
        return err_set(e, STATUS_FORMAT, "tensors take %zu bytes, the file "
                       "has %zu", at, data_size);
    return STATUS_OK;
}

static enum status read_tensors(const json_t *root, const unsigned char *data,
                                size_t data_size, struct bag *b,
                                struct err *e)
{
    size_t n = 0, count = json_object_size(root);
    if (count > TENSOR_CAP)
        return err_set(e, STATUS_FORMAT, "%zu tensors, at most %d are read",
                       count, TENSOR_CAP);
    struct header_tensor *list = mem_alloc(count + 1, sizeof *list);
    if (!list)
        return err_memory(e, "a list of tensors");
    enum status s = STATUS_OK;
    /* json_object_foreach wants a json_t it could change. */
    union { const json_t *in; json_t *out; } any = { .in = root };
    for (void *it = json_object_iter(any.out); it && s == STATUS_OK;
         it = json_object_iter_next(any.out, it)) {
        const char *name = json_object_iter_key(it);
        if (strcmp(name, METADATA) != 0)
            s = read_entry(name, json_object_iter_value(it), data_size,
                           &list[n++], e);
    }
    if (s == STATUS_OK) {
        qsort(list, n, sizeof *list, compare_offsets);
        s = check_cover(list, n, data_size, e);
    }
    for (size_t i = 0; i < n && s == STATUS_OK; i++)
        s = bag_put(b, list[i].name, list[i].type, &list[i].shape,
                    data + list[i].begin, e);
    mem_free(list);
    return s;
}

/* The string under "qatlab": {"version": 1, "texts": {...}}. */
static enum status read_texts(const char *text, struct bag *b, struct err *e)
{
    json_t *all = NULL;
    TRY(parse_json(text, strlen(text), &all, e));
    const json_t *version = json_object_get(all, "version");
    json_t *texts = json_object_get(all, "texts");
    enum status s = STATUS_OK;
    if (!json_is_integer(version) || json_integer_value(version) < 1)
        s = err_set(e, STATUS_FORMAT, "metadata has no version");
    else if (json_integer_value(version) > VERSION)
        s = err_set(e, STATUS_FORMAT, "metadata has version %"
                    JSON_INTEGER_FORMAT ", this program reads %d",
                    json_integer_value(version), VERSION);
    else if (!json_is_object(texts))
        s = err_set(e, STATUS_FORMAT, "metadata has no texts");
    for (void *it = json_object_iter(texts); it && s == STATUS_OK;
         it = json_object_iter_next(texts, it)) {
        const char *value = json_string_value(json_object_iter_value(it));
        const char *name = json_object_iter_key(it);
        if (!value || strlen(name) > NAME_CAP)
            s = err_set(e, STATUS_FORMAT, "metadata has a text that is none");
        else
            s = bag_put_text(b, name, value, e);
    }
    json_decref(all);
    return s;
}

static enum status read_metadata(const json_t *root, struct bag *b,
                                 struct err *e)
{
    json_t *metadata = json_object_get(root, METADATA);
    if (!metadata)
        return STATUS_OK;
    if (!json_is_object(metadata))
        return err_set(e, STATUS_FORMAT, METADATA " is not an object");
    const char *key;
    const json_t *value;
    json_object_foreach(metadata, key, value) {
        if (!json_is_string(value))
            return err_set(e, STATUS_FORMAT, METADATA " has a value that is "
                           "not a string");
    }
    const char *ours = json_string_value(json_object_get(metadata, KEY));
    enum status s = ours ? read_texts(ours, b, e) : STATUS_OK;
    return s == STATUS_OK ? s : err_wrap(e, s, KEY);
}

static enum status parse_file(const unsigned char *data, size_t size,
                              struct bag *b, struct err *e)
{
    struct cursor c = cursor_over(data, size);
    uint64_t n = cursor_u64le(&c);
    if (c.failed)
        return err_set(e, STATUS_FORMAT, "%zu bytes are too few for a "
                       "safetensors file", size);
    if (n > HEADER_CAP)
        return err_set(e, STATUS_FORMAT, "a header of %" PRIu64 " bytes: no "
                       "safetensors file", n);
    const unsigned char *header = cursor_take(&c, (size_t)n);
    if (!header)
        return err_set(e, STATUS_FORMAT, "the header has %" PRIu64 " bytes, "
                       "the file %zu in all: it is cut short", n, size);
    if (n == 0 || header[0] != '{')
        return err_set(e, STATUS_FORMAT, "the header does not begin with {");
    json_t *root = NULL;
    TRY(parse_json((const char *)header, (size_t)n, &root, e));
    enum status s = read_metadata(root, b, e);
    if (s == STATUS_OK)
        s = read_tensors(root, data + c.pos, size - c.pos, b, e);
    json_decref(root);
    return s;
}

enum status checkpoint_parse(const void *data, size_t size, const char *what,
                             struct bag **out, struct err *e)
{
    struct bag *b = bag_new();
    if (!b)
        return err_memory(e, "a bag");
    enum status s = parse_file(data, size, b, e);
    if (s != STATUS_OK) {
        bag_free(b);
        return err_wrap(e, s, "%s", what);
    }
    *out = b;
    return STATUS_OK;
}

enum status checkpoint_read(const char *path, struct bag **out,
                            struct err *e)
{
    struct bytes file = { 0 };
    TRY(file_read(path, FILE_CAP, &file, e));
    enum status s = checkpoint_parse(file.data, file.size, path, out, e);
    bytes_fini(&file);
    return s;
}

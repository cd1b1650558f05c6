/* A bag: named tensors and named texts.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "tensor/bag.h"

#include <string.h>

#include "base/arena.h"

struct bag_tensor {
    uint64_t hash;
    char *name;                 /* in the arena */
    struct tensor tensor;
};

struct bag_text {
    uint64_t hash;
    char *name;                 /* in the arena */
    char *text;                 /* mem_alloc'ed */
};

struct bag {
    struct arena *names;
    struct bag_tensor *tensors;
    size_t tensor_count, tensor_room;
    struct bag_text *texts;
    size_t text_count, text_room;
};

/* FNV-1a, 64 bits: a search compares numbers and only the hit's letters. */
static uint64_t hash_name(const char *s)
{
    uint64_t h = 0xcbf29ce484222325u;
    while (*s)
        h = (h ^ (unsigned char)*s++) * 0x100000001b3u;
    return h;
}

static struct bag_tensor *find_tensor(const struct bag *b, const char *name)
{
    uint64_t hash = hash_name(name);
    for (size_t i = 0; i < b->tensor_count; i++)
        if (b->tensors[i].hash == hash &&
            strcmp(b->tensors[i].name, name) == 0)
            return &b->tensors[i];
    return NULL;
}

static struct bag_text *find_text(const struct bag *b, const char *name)
{
    uint64_t hash = hash_name(name);
    for (size_t i = 0; i < b->text_count; i++)
        if (b->texts[i].hash == hash && strcmp(b->texts[i].name, name) == 0)
            return &b->texts[i];
    return NULL;
}

struct bag *bag_new(void)
{
    struct bag *b = mem_alloc(1, sizeof *b);
    if (!b)
        return NULL;
    b->names = arena_new();
    if (!b->names) {
        mem_free(b);
        return NULL;
    }
    return b;
}

void bag_free(struct bag *b)
{
    if (!b)
        return;
    for (size_t i = 0; i < b->tensor_count; i++)
        tensor_fini(&b->tensors[i].tensor);
    for (size_t i = 0; i < b->text_count; i++)
        mem_free(b->texts[i].text);
    mem_free(b->tensors);
    mem_free(b->texts);
    arena_free(b->names);
    mem_free(b);
}

/* Room for one more entry of `size` bytes; the new array, or NULL. */
static void *room_for_one(void *array, size_t count, size_t *room, size_t size)
{
    if (count < *room)
        return array;
    size_t more = *room ? *room * 2 : 16;
    void *p = mem_grow(array, count * size, more * size);
    if (p)
        *room = more;
    return p;
}

static enum status add_tensor(struct bag *b, const char *name,
                              struct tensor *t, struct err *e)
{
    void *p = room_for_one(b->tensors, b->tensor_count, &b->tensor_room,
                           sizeof *b->tensors);
    if (!p)
        return err_memory(e, name);
    b->tensors = p;
    char *copy = arena_strdup(b->names, name);
    if (!copy)
        return err_memory(e, name);
    b->tensors[b->tensor_count++] = (struct bag_tensor){
        .hash = hash_name(name), .name = copy, .tensor = *t,
    };
    return STATUS_OK;
}

enum status bag_put_tensor(struct bag *b, const char *name, struct tensor *t,
                           struct err *e)
{
    struct tensor own = *t;
    *t = (struct tensor){ 0 };
    if (own.is_view) {
        struct tensor view = own;
        TRY(tensor_copy(&own, &view, e));
    }
    struct bag_tensor *old = find_tensor(b, name);
    if (old) {
        tensor_fini(&old->tensor);
        old->tensor = own;
        return STATUS_OK;
    }
    enum status s = add_tensor(b, name, &own, e);
    if (s != STATUS_OK)
        tensor_fini(&own);
    return s;
}

enum status bag_put(struct bag *b, const char *name, enum dtype type,
                    const struct shape *shape, const void *data, struct err *e)
{
    struct tensor t;
    TRY(tensor_init(&t, type, shape, e));
    if (tensor_bytes(&t) > 0)
        memcpy(t.data, data, tensor_bytes(&t));
    return bag_put_tensor(b, name, &t, e);
}

static enum status add_text(struct bag *b, const char *name, char *text,
                            struct err *e)
{
    void *p = room_for_one(b->texts, b->text_count, &b->text_room,
                           sizeof *b->texts);
    if (!p)
        return err_memory(e, name);
    b->texts = p;
    char *copy = arena_strdup(b->names, name);
    if (!copy)
        return err_memory(e, name);
    b->texts[b->text_count++] = (struct bag_text){
        .hash = hash_name(name), .name = copy, .text = text,
    };
    return STATUS_OK;
}

enum status bag_put_text(struct bag *b, const char *name, const char *text,
                         struct err *e)
{
    size_t n = strlen(text) + 1;
    char *copy = mem_alloc(1, n);
    if (!copy)
        return err_memory(e, name);
    memcpy(copy, text, n);
    struct bag_text *old = find_text(b, name);
    if (old) {
        mem_free(old->text);
        old->text = copy;
        return STATUS_OK;
    }
    enum status s = add_text(b, name, copy, e);
    if (s != STATUS_OK)
        mem_free(copy);
    return s;
}

const struct tensor *bag_get(const struct bag *b, const char *name)
{
    const struct bag_tensor *t = find_tensor(b, name);
    return t ? &t->tensor : NULL;
}

const char *bag_text(const struct bag *b, const char *name)
{
    const struct bag_text *t = find_text(b, name);
    return t ? t->text : NULL;
}

static enum status differs(const struct tensor *t, const char *name,
                           enum dtype type, const struct shape *shape,
                           struct err *e)
{
    struct str found = { 0 }, wanted = { 0 };
    shape_add(&found, &t->shape);
    shape_add(&wanted, shape);
    err_set(e, STATUS_FORMAT, "tensor '%.100s' is %s %s, wanted %s %s", name,
            dtype_table[t->type].name, str_text(&found),
            dtype_table[type].name, str_text(&wanted));
    str_fini(&found);
    str_fini(&wanted);
    return STATUS_FORMAT;
}

enum status bag_read(const struct bag *b, const char *name, enum dtype type,
                     const struct shape *shape, void *data, struct err *e)
{
    const struct tensor *t = bag_get(b, name);
    if (!t)
        return err_set(e, STATUS_FORMAT, "tensor '%.100s' is missing", name);
    if (t->type != type || !shape_equal(&t->shape, shape))
        return differs(t, name, type, shape, e);
    if (tensor_bytes(t) > 0)
        memcpy(data, t->data, tensor_bytes(t));
    return STATUS_OK;
}

size_t bag_count(const struct bag *b)
{
    return b->tensor_count;
}

const char *bag_name(const struct bag *b, size_t i)
{
    return i < b->tensor_count ? b->tensors[i].name : NULL;
}

const struct tensor *bag_at(const struct bag *b, size_t i)
{
    return i < b->tensor_count ? &b->tensors[i].tensor : NULL;
}

size_t bag_text_count(const struct bag *b)
{
    return b->text_count;
}

const char *bag_text_name(const struct bag *b, size_t i)
{
    return i < b->text_count ? b->texts[i].name : NULL;
}

const char *bag_text_at(const struct bag *b, size_t i)
{
    return i < b->text_count ? b->texts[i].text : NULL;
}

size_t bag_bytes(const struct bag *b)
{
    size_t n = arena_bytes(b->names);
    for (size_t i = 0; i < b->tensor_count; i++)
        n += tensor_bytes(&b->tensors[i].tensor) + sizeof *b->tensors;
    for (size_t i = 0; i < b->text_count; i++)
        n += strlen(b->texts[i].text) + 1 + sizeof *b->texts;
    return n;
}

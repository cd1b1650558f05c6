/* Bump allocator: many small things with one lifetime.
 *
 * Memory comes zeroed and 16-byte aligned; it is freed all at once. Blocks
 * are separated by red zones when built with ASan.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include <stdbool.h>
#include <stddef.h>

struct arena;

struct arena *arena_new(void);            /* NULL when memory is out */
void arena_free(struct arena *a);         /* NULL allowed */
void *arena_alloc(struct arena *a, size_t bytes);    /* zeroed, or NULL */
char *arena_strdup(struct arena *a, const char *s);
size_t arena_bytes(const struct arena *a);           /* handed out so far */

/* The one allocator under everything below lab/: 64-byte aligned, zeroed,
 * NULL on failure or when count * size overflows; freed by mem_free.
 * mem_fail_after(n) makes the n-th later call fail once (tests); 0 is off. */
void *mem_alloc(size_t count, size_t size);
void *mem_grow(void *old, size_t old_bytes, size_t new_bytes);
void mem_free(void *p);
void mem_fail_after(long n);
/* A block of many megabytes, 64-byte aligned, zeroed; a page costs memory and
 * time only when it is first written. NULL on failure; freed by mem_unmap. */
void *mem_map(size_t bytes);
void mem_unmap(void *p);   /* NULL allowed */
bool mem_fails_now(void);  /* counts a call; for other allocators of base/ */

/* For strings and small things of lab/ and ui/: never NULL; runs out through
 * the hook (which restores the terminal) and ends the program. */
void *xmalloc(size_t bytes);
void *xrealloc(void *p, size_t bytes);
char *xstrdup(const char *s);
extern void (*xmalloc_hook)(void);

#endif

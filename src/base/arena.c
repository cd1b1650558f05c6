/* Bump allocator, the heap allocator that everything below lab/ uses, and the
 * one of lab/ and ui/ that never returns NULL.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/arena.h"

#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ARENA_ASAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define ARENA_ASAN 1
#endif

#ifdef ARENA_ASAN
#include <sanitizer/asan_interface.h>
#define RED_ZONE 16
#define POISON(p, n) ASAN_POISON_MEMORY_REGION((p), (n))
#define UNPOISON(p, n) ASAN_UNPOISON_MEMORY_REGION((p), (n))
#else
#define RED_ZONE 0
#define POISON(p, n) ((void)(p), (void)(n))
#define UNPOISON(p, n) ((void)(p), (void)(n))
#endif

#define MEM_ALIGN 64
#define ARENA_ALIGN 16
#define LARGE_BLOCK ((size_t)4 << 20)
#define ARENA_BLOCK ((size_t)32 * 1024)

struct arena_block {
    struct arena_block *next;
    size_t size, used;          /* of the bytes that follow the header */
};

struct arena {
    struct arena_block *blocks; /* newest first; only the newest is filled */
    size_t handed_out;
};

/* Room for the header such that what follows stays aligned. */
#define BLOCK_HEADER ((sizeof(struct arena_block) + ARENA_ALIGN - 1) & \
                      ~(size_t)(ARENA_ALIGN - 1))

/* Calls until one fails; 0 = never. Kernels allocate in no thread but the
 * caller's, yet tests run under thread sanitizers too: hence atomic. */
static atomic_long mem_countdown;

static unsigned char *block_bytes(struct arena_block *b)
{
    return (unsigned char *)b + BLOCK_HEADER;
}

static struct arena_block *arena_add_block(struct arena *a, size_t need)
{
    size_t size = need > ARENA_BLOCK ? need : ARENA_BLOCK;
    if (size > SIZE_MAX - BLOCK_HEADER)
        return NULL;
    struct arena_block *b = mem_alloc(1, BLOCK_HEADER + size);
    if (!b)
        return NULL;
    b->size = size;
    b->next = a->blocks;
    a->blocks = b;
    POISON(block_bytes(b), size);
    return b;
}

struct arena *arena_new(void)
{
    return mem_alloc(1, sizeof(struct arena));
}

void arena_free(struct arena *a)
{
    if (!a)
        return;
    for (struct arena_block *b = a->blocks, *next; b; b = next) {
        next = b->next;
        UNPOISON(block_bytes(b), b->size);
        mem_free(b);
    }
    mem_free(a);
}

void *arena_alloc(struct arena *a, size_t bytes)
{
    if (bytes > SIZE_MAX - ARENA_ALIGN - RED_ZONE)
        return NULL;
    size_t need = ((bytes + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1)) +
                  RED_ZONE;
    if (need == 0)
        need = ARENA_ALIGN;
    struct arena_block *b = a->blocks;
    if (!b || b->size - b->used < need)
        b = arena_add_block(a, need);
    if (!b)
        return NULL;
    unsigned char *p = block_bytes(b) + b->used;
    b->used += need;
    a->handed_out += bytes;
    UNPOISON(p, bytes);
    return p;
}

char *arena_strdup(struct arena *a, const char *s)
{
    size_t n = strlen(s) + 1;
    char *p = arena_alloc(a, n);
    if (p)
        memcpy(p, s, n);
    return p;
}

size_t arena_bytes(const struct arena *a)
{
    return a->handed_out;
}

bool mem_fails_now(void)
{
    if (atomic_load_explicit(&mem_countdown, memory_order_relaxed) <= 0)
        return false;
    return atomic_fetch_sub(&mem_countdown, 1) == 1;
}

void mem_fail_after(long n)
{
    atomic_store(&mem_countdown, n);
}

void *mem_alloc(size_t count, size_t size)
{
    size_t bytes;
    if (mem_fails_now() || __builtin_mul_overflow(count, size, &bytes) ||
        bytes > (size_t)PTRDIFF_MAX - MEM_ALIGN)
        return NULL;
    /* aligned_alloc wants a multiple of the alignment; never zero bytes, so
     * that an empty tensor still has an address. */
    size_t rounded = (bytes + MEM_ALIGN - 1) & ~(size_t)(MEM_ALIGN - 1);
    if (rounded == 0)
        rounded = MEM_ALIGN;
    void *p = aligned_alloc(MEM_ALIGN, rounded);
    if (p)
        memset(p, 0, rounded);
    return p;
}

void *mem_grow(void *old, size_t old_bytes, size_t new_bytes)
{
    void *p = mem_alloc(1, new_bytes);
    if (!p)
        return NULL;
    if (old)
        memcpy(p, old, old_bytes < new_bytes ? old_bytes : new_bytes);
    mem_free(old);
    return p;
}

void mem_free(void *p)
{
    free(p);
}

#ifdef ARENA_ASAN
/* Where accesses beyond the end are to be found. */
void *mem_map(size_t bytes)
{
    return mem_alloc(1, bytes);
}

void mem_unmap(void *p)
{
    mem_free(p);
}
#else
/* Before the block stands the mapping's size; 0: it is of the heap. Large
 * pages where the system has them on request: faults for small ones cost more
 * than their use. */
static void *map_pages(size_t total)
{
    void *base = mmap(NULL, total, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED)
        return NULL;
#ifdef MADV_HUGEPAGE
    madvise(base, total, MADV_HUGEPAGE);
#endif
    memcpy(base, &total, sizeof total);
    return base;
}

void *mem_map(size_t bytes)
{
    if (bytes > (size_t)PTRDIFF_MAX - MEM_ALIGN)
        return NULL;
    size_t total = bytes + MEM_ALIGN;
    if (total >= LARGE_BLOCK && mem_fails_now())
        return NULL;
    char *base = total >= LARGE_BLOCK ? map_pages(total)
                                      : mem_alloc(1, total);
    return base ? base + MEM_ALIGN : NULL;
}

void mem_unmap(void *p)
{
    size_t total;
    if (!p)
        return;
    char *base = (char *)p - MEM_ALIGN;
    memcpy(&total, base, sizeof total);
    if (total > 0)
        munmap(base, total);
    else
        mem_free(base);
}
#endif

/* For lab/ and ui/: their strings are small, and a workbench that cannot get
 * a hundred bytes has nothing left to do but put the terminal back and end. */
void (*xmalloc_hook)(void);

static _Noreturn void out_of_memory(void)
{
    static const char text[] = "qatlab: out of memory\n";

    if (xmalloc_hook)
        xmalloc_hook();
    ssize_t ignored = write(STDERR_FILENO, text, sizeof text - 1);
    (void)ignored;
    _exit(1);
}

void *xmalloc(size_t bytes)
{
    void *p = calloc(1, bytes ? bytes : 1);
    if (!p)
        out_of_memory();
    return p;
}

void *xrealloc(void *p, size_t bytes)
{
    void *q = realloc(p, bytes ? bytes : 1);
    if (!q)
        out_of_memory();
    return q;
}

char *xstrdup(const char *s)
{
    size_t n = strlen(s) + 1;
    return memcpy(xmalloc(n), s, n);
}

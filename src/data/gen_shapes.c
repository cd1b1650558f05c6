/* Coloured shapes on coloured grounds: 3x32x32 bytes, 10 classes.
 *
 * Each shape is a signed distance in its own frame (negative inside, about
 * one unit across), so that edges are smooth at any size and angle. Colours,
 * ground, lighting, noise and a second, smaller blob carry no information.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>

#include "data/source.h"

#define SIDE 32
#define PI 3.14159265f

struct shape_kind {
    const char *name;
    float (*distance)(float x, float y);
    float turn;                   /* greatest angle: symmetry ends it */
};

static float min2(float a, float b)
{
    return a < b ? a : b;
}

static float max2(float a, float b)
{
    return a > b ? a : b;
}

static float box(float x, float y, float w, float h)
{
    return max2(fabsf(x) - w, fabsf(y) - h);
}

static float disc(float x, float y)
{
    return sqrtf(x * x + y * y) - 0.9f;
}

static float ring(float x, float y)
{
    return fabsf(sqrtf(x * x + y * y) - 0.7f) - 0.2f;
}

static float square(float x, float y)
{
    return box(x, y, 0.8f, 0.8f);
}

static float frame(float x, float y)
{
    return fabsf(box(x, y, 0.65f, 0.65f)) - 0.17f;
}

/* n half planes around the centre, `inner` away from it. */
static float polygon(float x, float y, int n, float inner)
{
    float angle = atan2f(x, -y), step = 2 * PI / (float)n;
    float folded = angle - step * floorf(angle / step + 0.5f);
    return sqrtf(x * x + y * y) * cosf(PI / (float)n - fabsf(folded)) -
           inner;
}

static float triangle(float x, float y)
{
    return polygon(x, y, 3, 0.5f);
}

static float hexagon(float x, float y)
{
    return polygon(x, y, 6, 0.8f);
}

static float cross(float x, float y)
{
    return min2(box(x, y, 0.95f, 0.28f), box(x, y, 0.28f, 0.95f));
}

static float bar(float x, float y)
{
    return box(x, y, 1.0f, 0.32f);
}

/* Five points: the edge runs between radius 1 and radius 0.42. */
static float star(float x, float y)
{
    float angle = atan2f(x, -y), step = 2 * PI / 5;
    float folded = fabsf(angle - step * floorf(angle / step + 0.5f));
    float radius = sqrtf(x * x + y * y);
    float u = radius * cosf(folded), v = radius * sinf(folded);
    /* The line from the tip (1, 0) to the notch at half a step. */
    float notch_u = 0.42f * cosf(step / 2), notch_v = 0.42f * sinf(step / 2);
    float du = notch_u - 1, dv = notch_v;
    float length = sqrtf(du * du + dv * dv);
    return ((u - 1) * -dv + v * du) / -length;
}

static float crescent(float x, float y)
{
    float hole = 0.72f - sqrtf((x - 0.45f) * (x - 0.45f) + y * y);
    return max2(disc(x, y), hole);
}

static const struct shape_kind kinds[] = {
    { "disc", disc, 0 },           { "ring", ring, 0 },
    { "square", square, 0.5f },    { "frame", frame, 0.5f },
    { "triangle", triangle, PI },  { "hexagon", hexagon, PI },
    { "cross", cross, 0.5f },      { "bar", bar, PI },
    { "star", star, PI },          { "crescent", crescent, PI },
};

static const char *const kind_names[] = {
    "disc", "ring", "square", "frame", "triangle",
    "hexagon", "cross", "bar", "star", "crescent",
};

#define KINDS ((int64_t)(sizeof kinds / sizeof kinds[0]))

/* Everything about one picture but its noise. */
struct scene {
    float ink[3], ground[3], slope[3][2];
    float cos, sin, size, wide, cx, cy, soft;
    float blob_x, blob_y, blob_r, blob[3];
};

static float uniform(struct rng *r, float low, float high)
{
    return low + (high - low) * (float)rng_uniform(r);
}

/* Ink is lighter than the ground: with either sign of contrast a small net
 * needs many epochs to learn anything. They differ by at least 0.45 in sum over
 * the channels. */
static void draw_colours(struct rng *r, struct scene *s)
{
    float apart;
    do {
        apart = 0;
        for (int c = 0; c < 3; c++) {
            s->ink[c] = uniform(r, 0.25f, 0.9f);
            s->ground[c] = uniform(r, 0, 0.6f);
            apart += s->ink[c] - s->ground[c];
        }
    } while (apart < 0.45f);
    for (int c = 0; c < 3; c++) {
        s->slope[c][0] = uniform(r, -0.01f, 0.01f);
        s->slope[c][1] = uniform(r, -0.01f, 0.01f);
        s->blob[c] = uniform(r, 0, 1);
    }
}

static void draw_scene(struct rng *r, const struct shape_kind *k,
                       struct scene *s)
{
    draw_colours(r, s);
    float turn = uniform(r, -k->turn, k->turn);
    s->cos = cosf(turn);
    s->sin = sinf(turn);
    s->size = uniform(r, 5.5f, 12.0f);
    s->wide = uniform(r, 0.85f, 1.18f);
    s->cx = 15.5f + uniform(r, -4, 4);
    s->cy = 15.5f + uniform(r, -4, 4);
    s->soft = uniform(r, 0.7f, 1.8f);
    s->blob_x = uniform(r, 0, SIDE);
    s->blob_y = uniform(r, 0, SIDE);
    s->blob_r = uniform(r, 0.5f, 3.5f);
}

/* How much of pixel (x, y) the shape covers, 0 .. 1. */
static float coverage(const struct scene *s, const struct shape_kind *k,
                      float x, float y)
{
    float u = (x - s->cx) / (s->size * s->wide), v = (y - s->cy) / s->size;
    float d = k->distance(s->cos * u + s->sin * v, s->cos * v - s->sin * u);
    return max2(0, min2(1, 0.5f - d * s->size / s->soft));
}

static void draw_shape(const struct generator *g, struct rng *r,
                       int64_t label, void *x, float *target)
{
    (void)g;
    (void)target;
    const struct shape_kind *k = &kinds[label];
    struct scene s;
    uint8_t *out = x;
    float noise[3 * SIDE * SIDE], strength = uniform(r, 0.1f, 0.7f);
    draw_scene(r, k, &s);
    rng_fill_uniform(r, noise, 3 * SIDE * SIDE);
    for (int i = 0; i < SIDE * SIDE; i++) {
        float px = (float)(i % SIDE), py = (float)(i / SIDE);
        float cover = coverage(&s, k, px, py);
        float bx = px - s.blob_x, by = py - s.blob_y;
        float blob = max2(0, min2(1, 0.5f + s.blob_r -
                                         sqrtf(bx * bx + by * by)));
        for (int c = 0; c < 3; c++) {
            float v = s.ground[c] + blob * (s.blob[c] - s.ground[c]);
            v += cover * (s.ink[c] - v);
            v += s.slope[c][0] * (px - 15.5f) + s.slope[c][1] * (py - 15.5f);
            v += strength * (noise[c * SIDE * SIDE + i] - 0.5f);
            v = max2(0, min2(1, v));
            out[c * SIDE * SIDE + i] = (uint8_t)(v * 255 + 0.5f);
        }
    }
}

static const struct generator shapes = {
    .sample = { 4, { 1, 3, SIDE, SIDE } },
    .type = DTYPE_U8,
    .classes = KINDS,
    .class_name = kind_names,
    .n_train = 10000,
    .n_test = 2000,
    .draw = draw_shape,
};

enum status load_shapes(struct dataset *d, const char *const *value,
                        const struct dataset_opts *o, struct err *e)
{
    (void)value;
    return generator_run(&shapes, o, d, e);
}

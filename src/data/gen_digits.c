/* Digits as people write them: strokes through a few points, bent by an
 * elastic field, turned, sheared and scaled, drawn with a pen of varying
 * width, smudged and speckled. 1x28x28 bytes, 10 classes.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <string.h>

#include "data/source.h"

#define SIDE 28
#define POINTS_MAX 13         /* of a stroke */
#define STROKES_MAX 3
#define SPANS 6               /* straight pieces between two points */
#define WAVES 3               /* of the elastic field, per direction */

/* Points in a frame of x from -0.6 to 0.6 and y from -1 (top) to 1. */
struct stroke {
    int n;
    float p[POINTS_MAX][2];
};

struct glyph {
    int digit;
    struct stroke stroke[STROKES_MAX];      /* n 0 ends */
};

/* clang-format off */
static const struct glyph glyphs[] = {
    { 0, { { 9, { {0,-1}, {-.42f,-.75f}, {-.58f,0}, {-.42f,.75f}, {0,1},
                  {.42f,.75f}, {.58f,0}, {.42f,-.75f}, {0,-1} } } } },
    { 0, { { 9, { {.2f,-.95f}, {-.3f,-.8f}, {-.52f,-.1f}, {-.4f,.7f}, {0,1},
                  {.42f,.7f}, {.5f,0}, {.3f,-.75f}, {-.1f,-.9f} } } } },
    { 1, { { 3, { {0,-1}, {.02f,0}, {0,1} } } } },
    { 1, { { 3, { {-.35f,-.5f}, {-.1f,-.78f}, {.06f,-1} } },
           { 3, { {.06f,-1}, {.04f,0}, {.05f,1} } } } },
    { 1, { { 3, { {-.35f,-.6f}, {-.1f,-.8f}, {.05f,-1} } },
           { 3, { {.05f,-1}, {.04f,0}, {.02f,1} } },
           { 2, { {-.4f,1}, {.42f,.98f} } } } },
    { 2, { { 7, { {-.5f,-.6f}, {-.25f,-.95f}, {.2f,-.98f}, {.48f,-.6f},
                  {.32f,-.1f}, {-.1f,.45f}, {-.55f,.98f} } },
           { 3, { {-.55f,.98f}, {0,.95f}, {.58f,1} } } } },
    { 2, { { 10, { {-.48f,-.65f}, {-.1f,-1}, {.4f,-.75f}, {.38f,-.2f},
                   {-.05f,.5f}, {-.42f,.88f}, {-.5f,.6f}, {-.2f,.55f},
                   {.15f,.88f}, {.6f,.85f} } } } },
    { 3, { { 5, { {-.48f,-.75f}, {-.08f,-1}, {.4f,-.72f}, {.32f,-.28f},
                  {-.1f,-.05f} } },
           { 6, { {-.1f,-.05f}, {.38f,.1f}, {.52f,.5f}, {.3f,.9f},
                  {-.15f,1}, {-.55f,.75f} } } } },
    { 3, { { 2, { {-.48f,-.98f}, {.42f,-1} } },
           { 2, { {.42f,-1}, {-.02f,-.22f} } },
           { 5, { {-.02f,-.22f}, {.42f,-.02f}, {.48f,.55f}, {.1f,.98f},
                  {-.52f,.8f} } } } },
    { 4, { { 3, { {-.15f,-1}, {-.38f,-.4f}, {-.55f,.2f} } },
           { 3, { {-.55f,.2f}, {0,.2f}, {.58f,.14f} } },
           { 3, { {.28f,-.75f}, {.22f,.2f}, {.18f,1} } } } },
    { 4, { { 3, { {.22f,-1}, {-.2f,-.35f}, {-.6f,.3f} } },
           { 2, { {-.6f,.3f}, {.58f,.28f} } },
           { 2, { {.22f,-1}, {.24f,1} } } } },
    { 5, { { 2, { {-.38f,-.98f}, {.5f,-1} } },
           { 2, { {-.38f,-.98f}, {-.45f,-.15f} } },
           { 6, { {-.45f,-.15f}, {0,-.3f}, {.42f,0}, {.48f,.5f},
                  {.15f,.95f}, {-.5f,.82f} } } } },
    { 5, { { 9, { {.48f,-.92f}, {0,-1}, {-.38f,-.8f}, {-.38f,-.32f},
                  {.1f,-.2f}, {.48f,.2f}, {.4f,.75f}, {0,1},
                  {-.5f,.8f} } } } },
    { 6, { { 9, { {.38f,-.95f}, {-.1f,-.62f}, {-.48f,.1f}, {-.4f,.78f},
                  {.05f,1}, {.44f,.7f}, {.38f,.22f}, {0,.06f},
                  {-.42f,.4f} } } } },
    { 6, { { 9, { {.12f,-1}, {-.28f,-.4f}, {-.48f,.3f}, {-.3f,.88f},
                  {.15f,.98f}, {.48f,.6f}, {.25f,.16f}, {-.18f,.22f},
                  {-.46f,.55f} } } } },
    { 7, { { 3, { {-.5f,-.92f}, {0,-.95f}, {.52f,-1} } },
           { 3, { {.52f,-1}, {.16f,-.2f}, {-.12f,1} } } } },
    { 7, { { 2, { {-.52f,-.95f}, {.5f,-.96f} } },
           { 3, { {.5f,-.96f}, {.2f,-.1f}, {.02f,1} } },
           { 2, { {-.22f,.02f}, {.46f,-.04f} } } } },
    { 7, { { 4, { {-.5f,-.6f}, {-.44f,-.92f}, {.1f,-.92f}, {.52f,-.96f} } },
           { 3, { {.52f,-.96f}, {.1f,-.1f}, {-.02f,1} } } } },
    { 8, { { 13, { {.36f,-.75f}, {0,-1}, {-.38f,-.75f}, {-.3f,-.32f},
                   {.1f,-.02f}, {.48f,.4f}, {.35f,.88f}, {0,1}, {-.44f,.85f},
                   {-.46f,.38f}, {0,0}, {.38f,-.4f}, {.36f,-.75f} } } } },
    { 8, { { 7, { {0,-1}, {-.38f,-.78f}, {-.34f,-.25f}, {0,-.08f},
                  {.34f,-.25f}, {.38f,-.78f}, {0,-1} } },
           { 7, { {0,-.08f}, {-.48f,.22f}, {-.46f,.78f}, {0,1},
                  {.46f,.78f}, {.48f,.22f}, {0,-.08f} } } } },
    { 9, { { 7, { {.4f,-.62f}, {.08f,-1}, {-.36f,-.85f}, {-.44f,-.4f},
                  {-.14f,-.1f}, {.26f,-.22f}, {.42f,-.66f} } },
           { 3, { {.42f,-.72f}, {.4f,.1f}, {.24f,1} } } } },
    { 9, { { 7, { {.42f,-.62f}, {.04f,-1}, {-.38f,-.82f}, {-.42f,-.34f},
                  {-.1f,-.08f}, {.3f,-.24f}, {.44f,-.66f} } },
           { 4, { {.44f,-.7f}, {.48f,.2f}, {.22f,.88f}, {-.32f,.94f} } } } },
};
/* clang-format on */

#define GLYPHS ((int)(sizeof glyphs / sizeof glyphs[0]))

/* One writer's hand: how a point of the frame lands on the paper. */
struct hand {
    float a[2][2], shift[2];          /* pixels */
    float freq[2][WAVES][2], phase[2][WAVES], amp[2][WAVES];
    float radius, soft, ink;          /* pen, in pixels; ink 0 .. 1 */
};

/* Squared distance to the nearest ink, and the pen's radius there. */
struct canvas {
    float ink[SIDE][SIDE];
};

static float uniform(struct rng *r, float low, float high)
{
    return low + (high - low) * (float)rng_uniform(r);
}

/* Normal, cut at two deviations: no sample is beyond reading. */
static float normal(struct rng *r, float mean, float deviation)
{
    float z = (float)rng_normal(r);
    z = z > 2 ? 2 : z < -2 ? -2 : z;
    return mean + deviation * z;
}

static void draw_hand(struct rng *r, struct hand *h)
{
    float turn = normal(r, 0, 0.10f), shear = normal(r, -0.08f, 0.12f);
    float size = normal(r, 8.6f, 0.7f), wide = normal(r, 1.05f, 0.11f);
    float c = cosf(turn), s = sinf(turn);
    h->a[0][0] = size * wide * c;
    h->a[0][1] = size * (shear * c - s);
    h->a[1][0] = size * wide * s;
    h->a[1][1] = size * (shear * s + c);
    for (int k = 0; k < 2; k++) {
        h->shift[k] = 13.5f + normal(r, 0, 0.7f);
        for (int w = 0; w < WAVES; w++) {
            /* Half a wave to about one wave over the glyph's height. */
            h->freq[k][w][0] = normal(r, 0, 1.9f);
            h->freq[k][w][1] = normal(r, 0, 1.9f);
            h->phase[k][w] = uniform(r, 0, 6.2831853f);
            h->amp[k][w] = normal(r, 0, 0.06f);
        }
    }
    h->radius = normal(r, 1.2f, 0.3f);
    h->soft = uniform(r, 0.8f, 1.3f);
    h->ink = expf(uniform(r, -1.4f, 0.0f));
}

/* Frame to paper: elastic field first, then the affine map. */
static void place(const struct hand *h, const float in[2], float out[2])
{
    float p[2];
    for (int k = 0; k < 2; k++) {
        p[k] = in[k];
        for (int w = 0; w < WAVES; w++)
            p[k] += h->amp[k][w] * sinf(h->freq[k][w][0] * in[0] +
                                        h->freq[k][w][1] * in[1] +
                                        h->phase[k][w]);
    }
    for (int k = 0; k < 2; k++)
        out[k] = h->a[k][0] * p[0] + h->a[k][1] * p[1] + h->shift[k];
}

/* Catmull-Rom: a smooth curve through b at t = 0 and c at t = 1. */
static float spline(float a, float b, float c, float d, float t)
{
    return b + 0.5f * t * (c - a + t * (2 * a - 5 * b + 4 * c - d +
                                        t * (3 * (b - c) + d - a)));
}

/* Lays ink along the straight piece p - q: full within the pen's radius,
 * fading over `soft`. Pieces overlap; the darkest counts. */
static void draw_piece(struct canvas *v, const struct hand *h,
                       const float p[2], const float q[2], float radius)
{
    float reach = radius + h->soft;
    float d[2] = { q[0] - p[0], q[1] - p[1] };
    float length2 = d[0] * d[0] + d[1] * d[1];
    int x0 = (int)floorf(fminf(p[0], q[0]) - reach);
    int x1 = (int)ceilf(fmaxf(p[0], q[0]) + reach);
    int y0 = (int)floorf(fminf(p[1], q[1]) - reach);
    int y1 = (int)ceilf(fmaxf(p[1], q[1]) + reach);
    x0 = x0 < 0 ? 0 : x0;
    y0 = y0 < 0 ? 0 : y0;
    x1 = x1 > SIDE - 1 ? SIDE - 1 : x1;
    y1 = y1 > SIDE - 1 ? SIDE - 1 : y1;
    for (int y = y0; y <= y1; y++) {
        for (int x = x0; x <= x1; x++) {
            float u = (float)x - p[0], w = (float)y - p[1];
            float t = length2 > 0 ? (u * d[0] + w * d[1]) / length2 : 0;
            t = t < 0 ? 0 : t > 1 ? 1 : t;
            u -= t * d[0];
            w -= t * d[1];
            float far = u * u + w * w;
            if (far >= reach * reach)
                continue;
            float ink = (reach - sqrtf(far)) / h->soft;
            ink = ink > 1 ? 1 : ink;
            v->ink[y][x] = ink > v->ink[y][x] ? ink : v->ink[y][x];
        }
    }
}

static void draw_stroke(struct canvas *v, const struct hand *h,
                        const struct stroke *s, struct rng *r)
{
    float p[POINTS_MAX][2], last[2], next[2], at[2];
    /* The hand does not hit the points exactly. */
    for (int i = 0; i < s->n; i++)
        for (int k = 0; k < 2; k++)
            p[i][k] = s->p[i][k] + normal(r, 0, 0.03f);
    float start = h->radius * uniform(r, 0.8f, 1.15f);
    float end = h->radius * uniform(r, 0.65f, 1.1f);
    place(h, p[0], last);
    for (int i = 0; i + 1 < s->n; i++) {
        const float *b = p[i], *c = p[i + 1];
        const float *a = i > 0 ? p[i - 1] : b;
        const float *d = i + 2 < s->n ? p[i + 2] : c;
        for (int k = 1; k <= SPANS; k++) {
            float t = (float)k / SPANS;
            float way = ((float)i + t) / (float)(s->n - 1);
            at[0] = spline(a[0], b[0], c[0], d[0], t);
            at[1] = spline(a[1], b[1], c[1], d[1], t);
            place(h, at, next);
            draw_piece(v, h, last, next, start + (end - start) * way);
            memcpy(last, next, sizeof last);
        }
    }
}

/* Paper is not clean, ink not even; some images have a stray mark. */
static void finish(const struct canvas *v, const struct hand *h,
                   struct rng *r, uint8_t *x)
{
    float paper = uniform(r, 0.0f, 0.06f) * h->ink;
    float noise[SIDE * SIDE];
    rng_fill_uniform(r, noise, SIDE * SIDE);
    for (int i = 0; i < SIDE * SIDE; i++) {
        float ink = v->ink[i / SIDE][i % SIDE];
        float grain = noise[i] - 0.5f;
        float value = h->ink * ink * (1 + 0.35f * grain) +
                      (1 - ink) * 2 * paper * noise[i];
        value = value < 0 ? 0 : value > 1 ? 1 : value;
        x[i] = (uint8_t)(value * 255 + 0.5f);
    }
}

static void stray_mark(struct canvas *v, const struct hand *h, struct rng *r)
{
    float p[2], q[2];
    for (int k = 0; k < 2; k++) {
        p[k] = uniform(r, 0, SIDE - 1);
        q[k] = p[k] + normal(r, 0, 2.0f);
    }
    draw_piece(v, h, p, q, uniform(r, 0.1f, 0.7f));
}

static void draw_digit(const struct generator *g, struct rng *r,
                       int64_t label, void *x, float *target)
{
    (void)g;
    (void)target;
    int forms[GLYPHS], n = 0;
    for (int i = 0; i < GLYPHS; i++)
        if (glyphs[i].digit == label)
            forms[n++] = i;
    const struct glyph *form = &glyphs[forms[rng_below(r, (uint64_t)n)]];
    struct hand h;
    struct canvas v = { 0 };
    draw_hand(r, &h);
    for (int i = 0; i < STROKES_MAX && form->stroke[i].n; i++)
        draw_stroke(&v, &h, &form->stroke[i], r);
    if (rng_uniform(r) < 0.2)
        stray_mark(&v, &h, r);
    finish(&v, &h, r, x);
}

static const struct generator digits = {
    .sample = { 4, { 1, 1, SIDE, SIDE } },
    .type = DTYPE_U8,
    .classes = 10,
    .n_train = 10000,
    .n_test = 2000,
    .draw = draw_digit,
};

enum status load_digits(struct dataset *d, const char *const *value,
                        const struct dataset_opts *o, struct err *e)
{
    (void)value;
    return generator_run(&digits, o, d, e);
}

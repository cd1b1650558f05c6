/* Convolution in plain loops: the oracle of every faster one.
 *
 * Each element of a result is summed by one thread in a fixed order, so the
 * number of threads does not show. Bounds are worked out per kernel tap, so
 * inner loops run over contiguous rows without tests.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "nn/op_conv.h"

static int64_t extent_of(const struct node *n, const char *attr,
                         int64_t other)
{
    return (int64_t)node_attr_or(n, attr, (double)other);
}

static int64_t output_extent(int64_t padded, int64_t kernel, int64_t stride,
                             int64_t dilation)
{
    int64_t room = padded - dilation * (kernel - 1) - 1;
    return room < 0 ? 0 : room / stride + 1;
}

static struct conv_geom dense_geom(const struct node *n,
                                   const struct shape *in)
{
    int64_t row = in->dim[in->rank - 1];
    return (struct conv_geom){
        .n = shape_count(in) / row, .ci = row,
        .co = n->shape.dim[n->shape.rank - 1], .h = 1, .w = 1, .oh = 1,
        .ow = 1, .kh = 1, .kw = 1, .sh = 1, .sw = 1, .dh = 1, .dw = 1,
        .groups = 1,
    };
}

struct conv_geom conv_geom_of(const struct node *n, const struct shape *in)
{
    if (n->op == &op_dense)
        return dense_geom(n, in);
    bool flat = in->rank == 3;
    struct conv_geom g = {
        .n = in->dim[0],
        .ci = in->dim[1],
        .h = flat ? 1 : in->dim[2],
        .w = in->dim[flat ? 2 : 3],
        .co = node_int(n, "out"),
        .kh = extent_of(n, "kernel_h", 1),
        .kw = node_int(n, "kernel_w"),
        .sh = extent_of(n, "stride_h", 1),
        .sw = node_int(n, "stride_w"),
        .pt = extent_of(n, "pad_top", 0),
        .pl = node_int(n, "pad_left"),
        .pb = extent_of(n, "pad_bottom", 0),
        .pr = node_int(n, "pad_right"),
        .dh = extent_of(n, "dilation_h", 1),
        .dw = node_int(n, "dilation_w"),
        .groups = node_int(n, "groups"),
    };
    g.oh = output_extent(g.h + g.pt + g.pb, g.kh, g.sh, g.dh);
    g.ow = output_extent(g.w + g.pl + g.pr, g.kw, g.sw, g.dw);
    return g;
}

bool conv_is_depthwise(const struct conv_geom *g)
{
    return g->groups > 1 && g->groups == g->ci;
}

static enum status check_groups(const struct conv_geom *g, struct err *e)
{
    if (g->ci % g->groups != 0)
        return err_set(e, STATUS_ARG, "%lld input channels do not divide "
                       "into %lld groups", (long long)g->ci,
                       (long long)g->groups);
    if (g->co % g->groups != 0)
        return err_set(e, STATUS_ARG, "%lld output channels do not divide "
                       "into %lld groups", (long long)g->co,
                       (long long)g->groups);
    return STATUS_OK;
}

enum status conv_infer(const struct node *n, const struct shape *const in[],
                       struct shape *out, struct err *e)
{
    bool flat = op_attr_index(n->op, "kernel_h") < 0;
    if (in[0]->rank != (flat ? 3 : 4))
        return shape_refuse(in[0], flat ? "channels x length"
                                        : "channels x height x width", e);
    struct conv_geom g = conv_geom_of(n, in[0]);
    TRY(check_groups(&g, e));
    if (g.oh < 1 || g.ow < 1)
        return err_set(e, STATUS_ARG, "the input with its pads, %lldx%lld, "
                       "is smaller than the dilated kernel, %lldx%lld",
                       (long long)(g.h + g.pt + g.pb),
                       (long long)(g.w + g.pl + g.pr),
                       (long long)(g.dh * (g.kh - 1) + 1),
                       (long long)(g.dw * (g.kw - 1) + 1));
    *out = flat ? shape_3(g.n, g.co, g.ow) : shape_4(g.n, g.co, g.oh, g.ow);
    return STATUS_OK;
}

enum status conv_param_shape(const struct node *n,
                             const struct shape *const in[], int param,
                             struct shape *out, struct err *e)
{
    (void)e;
    struct conv_geom g = conv_geom_of(n, in[0]);
    int64_t channels = g.ci / g.groups;
    if (param == 1)
        *out = shape_1(g.co);
    else if (in[0]->rank == 3)
        *out = shape_3(g.co, channels, g.kw);
    else
        *out = shape_4(g.co, channels, g.kh, g.kw);
    return STATUS_OK;
}

int64_t conv_macs(const struct node *n, const struct shape *const in[],
                  const struct shape *out)
{
    (void)out;
    struct conv_geom g = conv_geom_of(n, in[0]);
    return g.co * g.oh * g.ow * (g.ci / g.groups) * g.kh * g.kw;
}

/* One kernel tap: which outputs it reaches and from where. */
struct tap {
    struct span rows, cols;
    int64_t down, right;         /* offset of the input, may be negative */
};

static struct tap tap_of(const struct conv_geom *g, int64_t k, int64_t l)
{
    struct tap t = { .down = k * g->dh - g->pt, .right = l * g->dw - g->pl };
    t.rows = span_inside(g->oh, g->h, g->sh, t.down);
    t.cols = span_inside(g->ow, g->w, g->sw, t.right);
    return t;
}

/* y += w * x over one tap; x: (H,W), y: (OH,OW). */
static void tap_forward(const struct conv_geom *g, const struct tap *t,
                        real w, const real *x, real *y)
{
    for (int64_t i = t->rows.lo; i < t->rows.hi; i++) {
        const real *xi = x + (i * g->sh + t->down) * g->w;
        real *yi = y + i * g->ow;
        if (g->sw == 1) {
            for (int64_t j = t->cols.lo; j < t->cols.hi; j++)
                yi[j] += w * xi[j + t->right];
        } else {
            for (int64_t j = t->cols.lo; j < t->cols.hi; j++)
                yi[j] += w * xi[j * g->sw + t->right];
        }
    }
}

/* dx += w * dy over one tap. */
static void tap_backward(const struct conv_geom *g, const struct tap *t,
                         real w, const real *dy, real *dx)
{
    for (int64_t i = t->rows.lo; i < t->rows.hi; i++) {
        const real *dyi = dy + i * g->ow;
        real *dxi = dx + (i * g->sh + t->down) * g->w;
        if (g->sw == 1) {
            for (int64_t j = t->cols.lo; j < t->cols.hi; j++)
                dxi[j + t->right] += w * dyi[j];
        } else {
            for (int64_t j = t->cols.lo; j < t->cols.hi; j++)
                dxi[j * g->sw + t->right] += w * dyi[j];
        }
    }
}

/* Sum of x * dy over one tap. */
static double tap_product(const struct conv_geom *g, const struct tap *t,
                          const real *x, const real *dy)
{
    double sum = 0;
    int64_t lo = t->cols.lo, count = t->cols.hi - t->cols.lo;
    for (int64_t i = t->rows.lo; i < t->rows.hi; i++) {
        const real *xi = x + (i * g->sh + t->down) * g->w;
        const real *dyi = dy + i * g->ow;
        if (g->sw == 1) {
            sum += (double)dot_reals(xi + lo + t->right, dyi + lo, count);
        } else {
            for (int64_t j = lo; j < t->cols.hi; j++)
                sum += (double)(xi[j * g->sw + t->right] * dyi[j]);
        }
    }
    return sum;
}

/* One output plane: sample n, output channel o. */
static void forward_plane(const struct op_call *c, const struct conv_geom *g,
                          int64_t n, int64_t o)
{
    int64_t channels = g->ci / g->groups;
    int64_t first = o / (g->co / g->groups) * channels;
    const real *w = c->param[0] + o * channels * g->kh * g->kw;
    real *y = c->out + (n * g->co + o) * g->oh * g->ow;
    real bias = c->param[1] ? c->param[1][o] : 0;

    for (int64_t i = 0; i < g->oh * g->ow; i++)
        y[i] = bias;
    for (int64_t ch = 0; ch < channels; ch++) {
        const real *x = c->in[0] + (n * g->ci + first + ch) * g->h * g->w;
        for (int64_t k = 0; k < g->kh; k++) {
            for (int64_t l = 0; l < g->kw; l++) {
                struct tap t = tap_of(g, k, l);
                tap_forward(g, &t, *w++, x, y);
            }
        }
    }
}

enum status conv_forward(const struct op_call *c, struct err *e)
{
    (void)e;
    struct conv_geom g = conv_geom_of(c->node, c->in_shape[0]);
    int64_t planes = g.n * g.co;
    int64_t work = planes * g.oh * g.ow * (g.ci / g.groups) * g.kh * g.kw;
#pragma omp parallel for schedule(static) if (work > OP_PARALLEL_MIN)
    for (int64_t p = 0; p < planes; p++)
        forward_plane(c, &g, p / g.co, p % g.co);
    return STATUS_OK;
}

/* One plane of the input's gradient: sample n, input channel i. */
static void backward_plane(const struct op_call *c, const struct conv_geom *g,
                           int64_t n, int64_t i)
{
    int64_t channels = g->ci / g->groups, outs = g->co / g->groups;
    int64_t first = i / channels * outs;
    real *dx = c->din[0] + (n * g->ci + i) * g->h * g->w;

    for (int64_t o = first; o < first + outs; o++) {
        const real *dy = c->dout + (n * g->co + o) * g->oh * g->ow;
        const real *w = c->param[0] +
                        (o * channels + i % channels) * g->kh * g->kw;
        for (int64_t k = 0; k < g->kh; k++) {
            for (int64_t l = 0; l < g->kw; l++) {
                struct tap t = tap_of(g, k, l);
                tap_backward(g, &t, *w++, dy, dx);
            }
        }
    }
}

/* One kernel's gradient: output channel o, input channel ch of its group. */
static void backward_kernel(const struct op_call *c,
                            const struct conv_geom *g, int64_t o, int64_t ch)
{
    int64_t channels = g->ci / g->groups;
    int64_t i = o / (g->co / g->groups) * channels + ch;
    real *dw = c->dparam[0] + (o * channels + ch) * g->kh * g->kw;

    for (int64_t k = 0; k < g->kh; k++) {
        for (int64_t l = 0; l < g->kw; l++) {
            struct tap t = tap_of(g, k, l);
            double sum = 0;
            for (int64_t n = 0; n < g->n; n++)
                sum += tap_product(g, &t,
                                   c->in[0] + (n * g->ci + i) * g->h * g->w,
                                   c->dout +
                                   (n * g->co + o) * g->oh * g->ow);
            *dw++ += (real)sum;
        }
    }
}

static void backward_bias(const struct op_call *c, const struct conv_geom *g)
{
    int64_t plane = g->oh * g->ow;
    for (int64_t o = 0; o < g->co; o++) {
        double sum = 0;
        for (int64_t n = 0; n < g->n; n++) {
            const real *dy = c->dout + (n * g->co + o) * plane;
            for (int64_t i = 0; i < plane; i++)
                sum += (double)dy[i];
        }
        c->dparam[1][o] += (real)sum;
    }
}

enum status conv_backward(const struct op_call *c, struct err *e)
{
    (void)e;
    struct conv_geom g = conv_geom_of(c->node, c->in_shape[0]);
    int64_t channels = g.ci / g.groups;
    int64_t work = g.n * g.co * g.oh * g.ow * channels * g.kh * g.kw;
    if (c->din[0]) {
        int64_t planes = g.n * g.ci;
#pragma omp parallel for schedule(static) if (work > OP_PARALLEL_MIN)
        for (int64_t p = 0; p < planes; p++)
            backward_plane(c, &g, p / g.ci, p % g.ci);
    }
    if (c->dparam[0]) {
        int64_t kernels = g.co * channels;
#pragma omp parallel for schedule(static) if (work > OP_PARALLEL_MIN)
        for (int64_t p = 0; p < kernels; p++)
            backward_kernel(c, &g, p / channels, p % channels);
    }
    if (c->dparam[1])
        backward_bias(c, &g);
    return STATUS_OK;
}

const struct param_row conv_params[] = {
    { .name = "weight", .role = PARAM_WEIGHT },
    { .name = "bias", .role = PARAM_BIAS, .unless = "bias" },
    { .name = NULL }
};

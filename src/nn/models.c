/* Built-in models: the nets of the benchmarks, layer by layer.
 *
 * Residual nets repeat themselves too much to be written out: makers print
 * their text. Convolutions before a batch norm have no bias.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <string.h>

#include "nn/graph.h"

static const char lenet5_text[] =
    "model lenet5 loss=ce\n"
    "input  input 1x28x28\n"
    "conv1  conv2d out=6 kernel=5 pad=2\n"
    "relu1  relu\n"
    "pool1  max_pool kernel=2\n"
    "conv2  conv2d out=16 kernel=5\n"
    "relu2  relu\n"
    "pool2  max_pool kernel=2\n"
    "flat   flatten\n"
    "fc1    dense out=120\n"
    "relu3  relu\n"
    "fc2    dense out=84\n"
    "relu4  relu\n"
    "fc3    dense out=10\n";

static const char jet_text[] =
    "model jet loss=ce\n"
    "input  input 16\n"
    "fc0    dense out=64\n"
    "relu0  relu\n"
    "fc1    dense out=32\n"
    "relu1  relu\n"
    "fc2    dense out=32\n"
    "relu2  relu\n"
    "fc3    dense out=5\n";

static const char tfc_text[] =
    "model tfc loss=ce\n"
    "input  input 1x28x28\n"
    "flat   flatten\n"
    "fc0    dense out=64 bias=0\n"
    "bn0    batch_norm\n"
    "relu0  relu\n"
    "fc1    dense out=64 bias=0\n"
    "bn1    batch_norm\n"
    "relu1  relu\n"
    "fc2    dense out=64 bias=0\n"
    "bn2    batch_norm\n"
    "relu2  relu\n"
    "fc3    dense out=10\n";

static const char mlp_text[] =
    "model mlp loss=ce\n"
    "input  input 1x28x28\n"
    "flat   flatten\n"
    "fc0    dense out=128\n"
    "relu0  relu\n"
    "fc1    dense out=64\n"
    "relu1  relu\n"
    "fc2    dense out=10\n";

static enum status finish_text(struct str *text, struct graph **out,
                               struct err *e)
{
    enum status status = text->failed ? err_memory(e, "model text")
                                      : graph_parse(str_text(text), out, e);
    str_fini(text);
    return status;
}

/* Residual block NAME on `in`: conv3x3 bn relu conv3x3 bn, plus the shortcut,
 * relu. The shortcut is a 1x1 convolution where the shape changes. */
struct basic_block {
    const char *name, *in;
    int out, stride;
    bool project, shortcut_bn;
};

static void add_basic_block(struct str *t, const struct basic_block *b)
{
    const char *n = b->name;
    str_printf(t, "%s.conv1 conv2d out=%d kernel=3 stride=%d pad=1 bias=0 "
               "< %s\n", n, b->out, b->stride, b->in);
    str_printf(t, "%s.bn1 batch_norm\n%s.relu1 relu\n", n, n);
    str_printf(t, "%s.conv2 conv2d out=%d kernel=3 pad=1 bias=0\n", n,
               b->out);
    str_printf(t, "%s.bn2 batch_norm\n", n);
    if (b->project)
        str_printf(t, "%s.down conv2d out=%d kernel=1 stride=%d bias=%d < "
                   "%s\n", n, b->out, b->stride, !b->shortcut_bn, b->in);
    if (b->project && b->shortcut_bn)
        str_printf(t, "%s.downbn batch_norm\n", n);
    str_printf(t, "%s.add.add add < %s.bn2 ", n, n);
    if (b->project)
        str_printf(t, "%s.%s\n", n, b->shortcut_bn ? "downbn" : "down");
    else
        str_printf(t, "%s\n", b->in);
    str_printf(t, "%s.add.relu relu\n", n);
}

/* conv3x3 3-16 bn relu, blocks of widths 16, 32, 64, average pool, fc. */
static enum status make_resnet(const char *name, int blocks,
                               bool shortcut_bn, struct graph **out,
                               struct err *e)
{
    struct str t = { 0 };
    char in[16] = "relu", block[8];
    str_printf(&t, "model %s loss=ce\n", name);
    str_add(&t, "input input 3x32x32\n"
                "conv conv2d out=16 kernel=3 pad=1 bias=0\n"
                "bn batch_norm\n"
                "relu relu\n");
    for (int i = 0; i < 3 * blocks; i++) {
        int stage = i / blocks;
        bool wider = stage > 0 && i % blocks == 0;
        memcpy(block, (char[]){ 'b', (char)('0' + stage), '_',
                                (char)('0' + i % blocks), '\0' }, 5);
        add_basic_block(&t, &(struct basic_block){
            .name = block,
            .in = in,
            .out = 16 << stage,
            .stride = wider ? 2 : 1,
            .project = wider,
            .shortcut_bn = shortcut_bn,
        });
        memcpy(in, block, 4);
        memcpy(in + 4, ".add.relu", 10);
    }
    str_add(&t, "pool avg_pool kernel=8\nflat flatten\nfc dense out=10\n");
    return finish_text(&t, out, e);
}

/* MLPerf Tiny's ResNet-8, padded alike on both sides. */
static enum status make_resnet8(struct graph **out, struct err *e)
{
    return make_resnet("resnet8", 1, false, out, e);
}

static enum status make_resnet20(struct graph **out, struct err *e)
{
    return make_resnet("resnet20", 3, true, out, e);
}

/* Inverted residual NAME on `in` (Sandler et al. 2018, figure 4): [1x1 to
 * `wide` bn relu,] 3x3 depthwise bn relu, 1x1 to `out` bn, [+ input]. */
struct inverted {
    const char *name, *in;
    int wide, out, stride;
    bool expand, residual;
};

static void add_inverted(struct str *t, const struct inverted *b)
{
    const char *n = b->name;
    if (b->expand)
        str_printf(t, "%s.c0 conv2d out=%d kernel=1 bias=0 < %s\n"
                   "%s.n0 batch_norm\n%s.r0 relu\n", n, b->wide, b->in, n, n);
    str_printf(t, "%s.c1 conv2d out=%d kernel=3 stride=%d pad=1 groups=%d "
               "bias=0 < %s%s\n", n, b->wide, b->stride, b->wide,
               b->expand ? n : b->in, b->expand ? ".r0" : "");
    str_printf(t, "%s.n1 batch_norm\n%s.r1 relu\n", n, n);
    str_printf(t, "%s.c2 conv2d out=%d kernel=1 bias=0\n%s.n2 batch_norm\n",
               n, b->out, n);
    if (b->residual)
        str_printf(t, "%s.add add < %s %s.n2\n", n, b->in, n);
}

/* MobileNetV2 at half width for 32x32, relu in place of relu6. */
static enum status make_mobilenet(struct graph **out, struct err *e)
{
    static const struct { int expand, out, repeats, stride; } rows[] = {
        { .expand = 1, .out = 8, .repeats = 1, .stride = 1 },
        { .expand = 6, .out = 16, .repeats = 2, .stride = 1 },
        { .expand = 6, .out = 16, .repeats = 3, .stride = 2 },
        { .expand = 6, .out = 32, .repeats = 4, .stride = 2 },
        { .expand = 6, .out = 48, .repeats = 3, .stride = 1 },
        { .expand = 6, .out = 80, .repeats = 3, .stride = 2 },
        { .expand = 6, .out = 160, .repeats = 1, .stride = 1 },
    };
    struct str t = { 0 }, name = { 0 }, in = { 0 };
    int width = 16, number = 0;
    str_add(&in, "relu");
    str_add(&t, "model mobilenet loss=ce\n"
                "input input 3x32x32\n"
                "conv conv2d out=16 kernel=3 pad=1 bias=0\n"
                "bn batch_norm\n"
                "relu relu\n");
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        for (int i = 0; i < rows[r].repeats; i++) {
            struct inverted b = {
                .wide = width * rows[r].expand,
                .out = rows[r].out,
                .stride = i == 0 ? rows[r].stride : 1,
                .expand = rows[r].expand != 1,
            };
            str_clear(&name);
            str_printf(&name, "b%d", number++);
            b.residual = b.stride == 1 && b.out == width;
            b.name = str_text(&name);
            b.in = str_text(&in);
            add_inverted(&t, &b);
            str_clear(&in);
            str_printf(&in, "%s.%s", str_text(&name),
                       b.residual ? "add" : "n2");
            width = b.out;
        }
    }
    str_add(&t, "conv2 conv2d out=640 kernel=1 bias=0\nbn2 batch_norm\n"
                "relu2 relu\npool avg_pool kernel=4\nflat flatten\n"
                "fc dense out=10\n");
    t.failed = t.failed || name.failed || in.failed;
    str_fini(&name);
    str_fini(&in);
    return finish_text(&t, out, e);
}

/* MLPerf Tiny's keyword spotting: 49 frames of 10 coefficients. Strided
 * "same" padding as Keras has it, the odd row at the bottom. */
static enum status make_dscnn(struct graph **out, struct err *e)
{
    struct str t = { 0 };
    str_add(&t, "model dscnn loss=ce\n"
                "input input 1x49x10\n"
                "conv conv2d out=64 kernel_h=10 kernel_w=4 stride=2 "
                "pad_top=4 pad_left=1 pad_bottom=5 pad_right=1 bias=0\n"
                "bn batch_norm\n"
                "relu relu\n");
    for (int i = 1; i <= 4; i++)
        str_printf(&t, "dw%d conv2d out=64 kernel=3 pad=1 groups=64 bias=0\n"
                   "dwbn%d batch_norm\ndwrelu%d relu\n"
                   "pw%d conv2d out=64 kernel=1 bias=0\n"
                   "pwbn%d batch_norm\npwrelu%d relu\n", i, i, i, i, i, i);
    str_add(&t, "pool global_avg_pool\nflat flatten\nfc dense out=12\n");
    return finish_text(&t, out, e);
}

/* MLPerf Tiny's anomaly detection: 640-128x4-8-128x4-640. */
static enum status make_autoencoder(struct graph **out, struct err *e)
{
    struct str t = { 0 };
    str_add(&t, "model autoencoder loss=mse\ninput input 640\n");
    for (int i = 0; i < 9; i++)
        str_printf(&t, "fc%d dense out=%d bias=0\nbn%d batch_norm\n"
                   "relu%d relu\n", i, i == 4 ? 8 : 128, i, i);
    str_add(&t, "fc9 dense out=640\n");
    return finish_text(&t, out, e);
}

/* DeepSets on calorimeter clusters: a net per cell, the sum over the cells,
 * a net on the sum. */
static enum status make_ksum(struct graph **out, struct err *e)
{
    struct str t = { 0 };
    str_add(&t, "model ksum loss=mse\ninput input 128x4\n");
    for (int i = 0; i < 5; i++)
        str_printf(&t, "phi%d dense out=64\nphirelu%d relu\n", i, i);
    str_add(&t, "sum reduce_sum axes=1\n");
    for (int i = 0; i < 5; i++)
        str_printf(&t, "rho%d dense out=64\nrhorelu%d relu\n", i, i);
    str_add(&t, "out dense out=1\n");
    return finish_text(&t, out, e);
}

static const char *model_name_at(const void *ctx, int i)
{
    const struct model_row *table = ctx;
    return table[i].name;
}

static const struct model_row *model_find(const char *name, struct err *e)
{
    for (int i = 0; i < model_count; i++)
        if (strcmp(model_table[i].name, name) == 0)
            return &model_table[i];
    const char *near = str_nearest(name, model_count, model_name_at,
                                   model_table);
    if (near)
        err_set(e, STATUS_NOTFOUND, "no built-in model '%s'; did you mean "
                "'%s'?", name, near);
    else
        err_set(e, STATUS_NOTFOUND, "no built-in model '%s'", name);
    return NULL;
}

enum status model_make(const char *name, struct rng *rng, struct graph **out,
                       struct err *e)
{
    struct graph *g = NULL;
    *out = NULL;
    const struct model_row *row = model_find(name, e);
    if (!row)
        return STATUS_NOTFOUND;
    enum status status = row->make ? row->make(&g, e)
                                   : graph_parse(row->text, &g, e);
    if (status == STATUS_OK)
        status = graph_finish(g, rng, e);
    if (status == STATUS_OK)
        *out = g;
    else
        graph_free(g);
    return status;
}

const struct model_row model_table[] = {
    { .name = "mlp", .help = "784-128-64-10, relu",
      .text = mlp_text, .data = "digits", .optimizer = "adam", .lr = 1e-3 },
    { .name = "tfc", .help = "784-64-64-64-10 with batch norm (FINN's TFC)",
      .text = tfc_text, .data = "digits", .optimizer = "adam", .lr = 1e-3 },
    { .name = "jet", .help = "16-64-32-32-5, jet tagging (hls4ml)",
      .text = jet_text, .data = "jets", .optimizer = "adam", .lr = 1e-3 },
    { .name = "lenet5", .help = "LeNet-5 for 28x28 grey images",
      .text = lenet5_text, .data = "digits", .optimizer = "adam",
      .lr = 1e-3 },
    { .name = "dscnn", .help = "depthwise separable, keyword spotting "
                               "(MLPerf Tiny)",
      .make = make_dscnn, .data = "random", .optimizer = "adam",
      .lr = 1e-3 },
    { .name = "resnet8", .help = "ResNet-8 for 32x32 colour images (MLPerf "
                                 "Tiny)",
      .make = make_resnet8, .data = "shapes", .optimizer = "sgd",
      .lr = 1e-2 },
    { .name = "resnet20", .help = "ResNet-20 for 32x32 colour images",
      .make = make_resnet20, .data = "shapes", .optimizer = "sgd",
      .lr = 1e-2 },
    { .name = "mobilenet", .help = "MobileNetV2, half width, for 32x32 "
                                   "colour images",
      .make = make_mobilenet, .data = "shapes", .optimizer = "sgd",
      .lr = 1e-2 },
    { .name = "autoencoder", .help = "640-128x4-8-128x4-640, anomaly "
                                     "detection (MLPerf Tiny)",
      .make = make_autoencoder, .data = "random", .optimizer = "adam",
      .lr = 1e-3 },
    { .name = "ksum", .help = "DeepSets for clusters of 128 cells",
      .make = make_ksum, .data = "clusters", .optimizer = "adam",
      .lr = 1e-3 },
};

const int model_count = (int)(sizeof model_table / sizeof *model_table);

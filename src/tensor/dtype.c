/* Element types: one row each, and conversions through double.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "tensor/dtype.h"

#include <assert.h>
#include <math.h>
#include <string.h>

/* Bits of a binary format narrower than float, for encode and decode. */
struct narrow {
    int mantissa, emin, bias;
    double max;                 /* the largest finite value */
    uint16_t infinity;
};

static const struct narrow half = {
    .mantissa = 10, .emin = -14, .bias = 15, .max = 65504.0,
    .infinity = 0x7c00,
};

static const struct narrow brain = {
    .mantissa = 7, .emin = -126, .bias = 127, .max = 0x1.fep127,
    .infinity = 0x7f80,
};

static double narrow_decode(const struct narrow *f, uint16_t bits)
{
    double sign = bits & 0x8000 ? -1.0 : 1.0;
    int magnitude = bits & 0x7fff;
    int exponent = magnitude >> f->mantissa;
    int fraction = magnitude & ((1 << f->mantissa) - 1);
    if (magnitude > f->infinity)
        return NAN;
    if (magnitude == f->infinity)
        return sign * (double)INFINITY;
    if (exponent == 0)
        return sign * ldexp(fraction, f->emin - f->mantissa);
    return sign * ldexp(fraction + (1 << f->mantissa),
                        exponent - f->bias - f->mantissa);
}

/* Rounds to nearest, ties to even, once: going through float would round
 * twice. Values that round beyond the largest become infinite. */
static uint16_t narrow_encode(const struct narrow *f, double v)
{
    uint16_t sign = signbit(v) ? 0x8000 : 0;
    if (isnan(v))
        return (uint16_t)(sign | f->infinity | 1 << (f->mantissa - 1));
    double a = fabs(v);
    if (a == 0 || isinf(a))
        return (uint16_t)(sign | (a > 0 ? f->infinity : 0));
    int exponent = ilogb(a) < f->emin ? f->emin : ilogb(a);
    double units = rint(ldexp(a, f->mantissa - exponent));
    if (ldexp(units, exponent - f->mantissa) > f->max)
        return sign | f->infinity;
    /* A subnormal has no hidden bit and exponent field 0; adding the units
     * to the field carries a mantissa that rounded up into the exponent. */
    int field = exponent + f->bias - 1;
    return (uint16_t)(sign | ((field << f->mantissa) + (int)units));
}

#define READ(name, type)                              \
    static double read_##name(const void *p)          \
    {                                                 \
        type v;                                       \
        memcpy(&v, p, sizeof v);                      \
        return (double)v;                             \
    }

READ(f32, float)
READ(f64, double)
READ(i8, int8_t)
READ(u8, uint8_t)
READ(i16, int16_t)
READ(u16, uint16_t)
READ(i32, int32_t)
READ(u32, uint32_t)
READ(i64, int64_t)
READ(u64, uint64_t)
#undef READ

static double read_f16(const void *p)
{
    uint16_t bits;
    memcpy(&bits, p, sizeof bits);
    return narrow_decode(&half, bits);
}

static double read_bf16(const void *p)
{
    uint16_t bits;
    memcpy(&bits, p, sizeof bits);
    return narrow_decode(&brain, bits);
}

static double read_bool(const void *p)
{
    return *(const unsigned char *)p != 0;
}

/* Saturates; fractions are cut off as C and numpy do; NaN becomes 0. `top`
 * is one more than the largest value: a power of two, so exact. */
#define WRITE_INT(name, type, least, most, top)       \
    static void write_##name(void *p, double v)       \
    {                                                 \
        type x = isnan(v) ? 0                         \
                 : v <= (double)(least) ? (least)     \
                 : v >= (top) ? (most) : (type)v;     \
        memcpy(p, &x, sizeof x);                      \
    }

WRITE_INT(i8, int8_t, INT8_MIN, INT8_MAX, 0x1p7)
WRITE_INT(u8, uint8_t, 0, UINT8_MAX, 0x1p8)
WRITE_INT(i16, int16_t, INT16_MIN, INT16_MAX, 0x1p15)
WRITE_INT(u16, uint16_t, 0, UINT16_MAX, 0x1p16)
WRITE_INT(i32, int32_t, INT32_MIN, INT32_MAX, 0x1p31)
WRITE_INT(u32, uint32_t, 0, UINT32_MAX, 0x1p32)
WRITE_INT(i64, int64_t, INT64_MIN, INT64_MAX, 0x1p63)
WRITE_INT(u64, uint64_t, 0, UINT64_MAX, 0x1p64)
#undef WRITE_INT

static void write_f32(void *p, double v)
{
    float x = (float)v;
    memcpy(p, &x, sizeof x);
}

static void write_f64(void *p, double v)
{
    memcpy(p, &v, sizeof v);
}

static void write_f16(void *p, double v)
{
    uint16_t bits = narrow_encode(&half, v);
    memcpy(p, &bits, sizeof bits);
}

static void write_bf16(void *p, double v)
{
    uint16_t bits = narrow_encode(&brain, v);
    memcpy(p, &bits, sizeof bits);
}

static void write_bool(void *p, double v)
{
    unsigned char x = v != 0;
    memcpy(p, &x, sizeof x);
}

struct dtype_access {
    double (*read)(const void *p);
    void (*write)(void *p, double v);
};

static const struct dtype_access access_table[] = {
    [DTYPE_F32] = { .read = read_f32, .write = write_f32 },
    [DTYPE_F64] = { .read = read_f64, .write = write_f64 },
    [DTYPE_F16] = { .read = read_f16, .write = write_f16 },
    [DTYPE_BF16] = { .read = read_bf16, .write = write_bf16 },
    [DTYPE_I8] = { .read = read_i8, .write = write_i8 },
    [DTYPE_U8] = { .read = read_u8, .write = write_u8 },
    [DTYPE_I16] = { .read = read_i16, .write = write_i16 },
    [DTYPE_U16] = { .read = read_u16, .write = write_u16 },
    [DTYPE_I32] = { .read = read_i32, .write = write_i32 },
    [DTYPE_U32] = { .read = read_u32, .write = write_u32 },
    [DTYPE_I64] = { .read = read_i64, .write = write_i64 },
    [DTYPE_U64] = { .read = read_u64, .write = write_u64 },
    [DTYPE_BOOL] = { .read = read_bool, .write = write_bool },
};

static_assert(sizeof access_table / sizeof access_table[0] == DTYPE_COUNT,
              "every type can be read and written");

double dtype_read(enum dtype type, const void *p)
{
    return access_table[type].read(p);
}

void dtype_write(enum dtype type, void *p, double v)
{
    access_table[type].write(p, v);
}

enum dtype dtype_find(const char *name)
{
    int i = 0;
    while (i < DTYPE_COUNT && strcmp(dtype_table[i].name, name) != 0)
        i++;
    return (enum dtype)i;
}

/* clang-format off */
const struct dtype_row dtype_table[DTYPE_COUNT] = {
    [DTYPE_F32]  = { .name = "float32", .safetensors = "F32",
                     .numpy = "<f4", .size = 4,
                     .is_float = true, .is_signed = true },
    [DTYPE_F64]  = { .name = "float64", .safetensors = "F64",
                     .numpy = "<f8", .size = 8,
                     .is_float = true, .is_signed = true },
    [DTYPE_F16]  = { .name = "float16", .safetensors = "F16",
                     .numpy = "<f2", .size = 2,
                     .is_float = true, .is_signed = true },
    [DTYPE_BF16] = { .name = "bfloat16", .safetensors = "BF16",
                     .numpy = "<V2", .size = 2,
                     .is_float = true, .is_signed = true },
    [DTYPE_I8]   = { .name = "int8", .safetensors = "I8",
                     .numpy = "|i1", .size = 1, .is_signed = true },
    [DTYPE_U8]   = { .name = "uint8", .safetensors = "U8",
                     .numpy = "|u1", .size = 1 },
    [DTYPE_I16]  = { .name = "int16", .safetensors = "I16",
                     .numpy = "<i2", .size = 2, .is_signed = true },
    [DTYPE_U16]  = { .name = "uint16", .safetensors = "U16",
                     .numpy = "<u2", .size = 2 },
    [DTYPE_I32]  = { .name = "int32", .safetensors = "I32",
                     .numpy = "<i4", .size = 4, .is_signed = true },
    [DTYPE_U32]  = { .name = "uint32", .safetensors = "U32",
                     .numpy = "<u4", .size = 4 },
    [DTYPE_I64]  = { .name = "int64", .safetensors = "I64",
                     .numpy = "<i8", .size = 8, .is_signed = true },
    [DTYPE_U64]  = { .name = "uint64", .safetensors = "U64",
                     .numpy = "<u8", .size = 8 },
    [DTYPE_BOOL] = { .name = "bool", .safetensors = "BOOL",
                     .numpy = "|b1", .size = 1 },
};
/* clang-format on */

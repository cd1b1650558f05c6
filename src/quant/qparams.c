/* Rules that turn (min, max) into (scale, zero point), one per package.
 *
 * All arithmetic is in `real` (float32 in the packages) unless the package
 * uses double. SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <string.h>

#include "quant/quantizer.h"

struct codes {
    int64_t lo, hi;
    real steps;               /* hi - lo */
};

static struct codes spec_codes(const struct qspec *s)
{
    struct codes c;

    qspec_codes(s, &c.lo, &c.hi);
    c.steps = (real)(c.hi - c.lo);
    return c;
}

static real at_least(real a, real b)
{
    return a > b ? a : b;
}

static real clamp_code(double z, const struct codes *c)
{
    return z < (double)c->lo   ? (real)c->lo
           : z > (double)c->hi ? (real)c->hi
                               : (real)z;
}

/* Symmetric zero point of an unsigned type: the middle code. torch rounds the
 * middle of a range given by the caller down. */
static real middle_code(const struct qspec *s, const struct codes *c)
{
    if (s->is_signed)
        return 0;
    if (s->custom_codes)
        return (real)((c->lo + c->hi) / 2);
    return (real)((int64_t)1 << (s->bits - 1));
}

/* lo - rne(min / scale) in 32-bit integers: a quotient that does not fit
 * becomes INT32_MIN, and the difference wraps. */
static double zero_from_min(real min, real scale, const struct codes *c)
{
    double r = (double)real_rint(min / scale);
    uint32_t z;

    if (!(fabs(r) < 2147483648.0))
        r = -2147483648.0;
    z = (uint32_t)c->lo - (uint32_t)(int32_t)r;
    return (double)(int32_t)z;
}

/* torch.ao.quantization.observer._calculate_qparams */
static void compute_torch(const struct qspec *s, real lo, real hi,
                          real *scale, real *zero_point)
{
    struct codes c = spec_codes(s);
    real mn = lo < 0 ? lo : 0;
    real mx = hi > 0 ? hi : 0;
    real eps = (real)s->eps;

    if (s->symmetric) {
        *scale = at_least(at_least(-mn, mx) / (c.steps / 2), eps);
        *zero_point = middle_code(s, &c);
    } else {
        *scale = at_least((mx - mn) / c.steps, eps);
        *zero_point = clamp_code(zero_from_min(mn, *scale, &c), &c);
    }
}

/* FBGEMM's range of a symmetric grid: codes -(n/2 + 1) .. n/2 around 0. */
static void fused_symmetric(const struct codes *c, real *mn, real *mx)
{
    real below = (real)(-((c->hi - c->lo) / 2 + 1));
    real above = (real)((c->hi - c->lo) / 2);
    real a = at_least(real_fabs(*mn / below), real_fabs(*mx / above));

    *mn = a * below;
    *mx = a * above;
}

/* A scale below 6.1e-5 is raised to it, and the range with it. */
static void fused_floor(const struct codes *c, real *scale, real *mn,
                        real *mx)
{
    const real cut = REAL(6.1e-5);
    real old = *scale;

    if (old >= cut)
        return;
    *scale = cut;
    if (*mn == 0) {
        *mx = cut * c->steps;
    } else if (*mx == 0) {
        *mn = -cut * c->steps;
    } else {
        real amplifier = cut / old;

        *mn *= amplifier;
        *mx *= amplifier;
    }
}

/* FBGEMM ChooseQuantizationParams, as torch's fused observer calls it. */
static void compute_fused(const struct qspec *s, real lo, real hi,
                          real *scale, real *zero_point)
{
    struct codes c = spec_codes(s);
    real mn = lo > hi ? hi : lo;
    real mx = hi;
    bool two_sided = mn < 0 && mx > 0;
    double below, above, z;

    if (s->symmetric && two_sided)
        fused_symmetric(&c, &mn, &mx);
    mn = mn < 0 ? mn : 0;
    mx = mx > 0 ? mx : 0;
    *scale = (real)(((double)mx - (double)mn) / (double)(c.hi - c.lo));
    if (*scale == 0 || isinf(REAL(1.0) / *scale))
        *scale = REAL(0.1);
    fused_floor(&c, scale, &mn, &mx);

    below = (double)mn / (double)*scale;
    above = (double)mx / (double)*scale;
    z = fabs((double)c.lo) - fabs(below) < fabs((double)c.hi) - fabs(above)
            ? (double)c.lo - below
            : (double)c.hi - above;
    if (s->symmetric && two_sided)
        z = (double)(c.lo + c.hi) / 2;
    *zero_point = clamp_code(rint(z), &c);
}

/* torch's float_qparams: zero is not forced into the range. */
static void compute_float(const struct qspec *s, real lo, real hi,
                          real *scale, real *zero_point)
{
    struct codes c = spec_codes(s);
    real v = (hi - lo) / c.steps;

    *scale = v > (real)s->eps ? v : REAL(1.0);
    *zero_point = -lo / *scale;
}

/* AIMET's smallest scale for n steps. */
static real aimet_least(int64_t n)
{
    return (real)fmin(0x1p-23, 0.01 / (double)n);
}

/* AIMET's analyzers: zero joins the range, a range too small for the smallest
 * scale is widened, a symmetric one spans the whole grid. */
void qparams_aimet_range(const struct qspec *s, real *lo, real *hi)
{
    struct codes c = spec_codes(s);
    int64_t n = c.hi - c.lo;
    real least = aimet_least(n);
    real above = (real)(n / 2), below = (real)(n - n / 2);
    real delta;

    *lo = *lo < 0 ? *lo : 0;
    *hi = *hi > 0 ? *hi : 0;
    if ((*hi - *lo) / c.steps < least) {
        *lo -= s->symmetric ? least * below : 0;
        *hi += s->symmetric ? least * above : least * c.steps;
    }
    if (!s->symmetric)
        return;
    delta = at_least(*hi / (n == 3 ? above + 1 : at_least(above, 1)),
                     -*lo / below);
    *lo = -below * delta;
    *hi = above * delta;
}

/* AIMET 2: scale = |max - min| / N, offset = rne(min / scale) - lo. */
static void compute_aimet(const struct qspec *s, real lo, real hi,
                          real *scale, real *zero_point)
{
    struct codes c = spec_codes(s);

    qparams_aimet_range(s, &lo, &hi);
    *scale = at_least(real_fabs(hi - lo) / c.steps,
                      aimet_least(c.hi - c.lo));
    if (s->symmetric)
        *zero_point = real_rint((real)(c.lo + c.hi) / 2);
    else
        *zero_point = clamp_code(
            (double)(-(real_rint(lo / *scale) - (real)c.lo)), &c);
}

/* TensorFlow's FakeQuant kernels (Nudge): a zero point between codes goes to
 * the nearest one, half up, and the range follows. Symmetric (tfmot's
 * weights): both ends at the larger magnitude before. */
static void compute_tf(const struct qspec *s, real lo, real hi, real *scale,
                       real *zero_point)
{
    struct codes c = spec_codes(s);
    real mn = lo < 0 ? lo : 0;
    real mx = hi > 0 ? hi : 0;
    real z;

    if (s->symmetric) {
        mx = at_least(-mn, mx);
        mn = -mx;
    }
    *scale = at_least((mx - mn) / c.steps, (real)s->eps);
    z = (real)c.lo - mn / *scale;
    *zero_point = clamp_code(floor((double)z + 0.5), &c);
}

/* Brevitas: symmetric scale = max|x| / (largest code), or / 2^(b-1) signed
 * and not narrow; asymmetric scale = (max - min) / (hi - lo) with the minimum
 * on the lowest code. */
static void compute_brevitas(const struct qspec *s, real lo, real hi,
                             real *scale, real *zero_point)
{
    struct codes c = spec_codes(s);
    real mn = lo < 0 ? lo : 0;
    real mx = hi > 0 ? hi : 0;
    real top = c.lo < 0 && -c.lo > c.hi ? (real)-c.lo : (real)c.hi;

    if (s->symmetric) {
        *scale = at_least(at_least(-mn, mx) / top, (real)s->eps);
        *zero_point = 0;
        return;
    }
    *scale = at_least((mx - mn) / c.steps, (real)s->eps);
    *zero_point = clamp_code((double)((real)c.lo - real_rint(mn / *scale)),
                             &c);
}

/* max|x| / (largest code), TensorRT's and others' plain symmetric rule; the
 * asymmetric form is torch's with true division. */
static void compute_absmax(const struct qspec *s, real lo, real hi,
                           real *scale, real *zero_point)
{
    struct codes c = spec_codes(s);

    if (!s->symmetric) {
        compute_torch(s, lo, hi, scale, zero_point);
        return;
    }
    *scale = at_least(at_least(-lo, hi) / (real)(c.hi > 0 ? c.hi : 1),
                      (real)s->eps);
    *zero_point = s->is_signed ? 0 : middle_code(s, &c);
}

/* torchao SYMMETRIC_NO_CLIPPING_ERR: the side that needs more decides. */
static void compute_noclip(const struct qspec *s, real lo, real hi,
                           real *scale, real *zero_point)
{
    struct codes c = spec_codes(s);
    real mn = lo < 0 ? lo : 0;
    real mx = hi > 0 ? hi : 0;
    real below = c.lo < 0 ? mn / (real)c.lo : 0;

    if (!s->symmetric) {
        compute_torch(s, lo, hi, scale, zero_point);
        return;
    }
    *scale = at_least(at_least(below, mx / (real)c.hi), (real)s->eps);
    *zero_point = (real)((c.lo + c.hi + 1) / 2);
}

/* torchao's asymmetric groups in fake quantizers: codes signed, parameters of
 * the unsigned range, zero point a value truncated to an integer, or rounded
 * and clamped where it is learned. */
static void compute_torchao(const struct qspec *s, real lo, real hi,
                            real *scale, real *zero_point)
{
    struct codes c = spec_codes(s);
    real middle = (real)((c.hi - c.lo + 1) / 2);

    if (s->symmetric) {
        compute_torch(s, lo, hi, scale, zero_point);
        return;
    }
    *scale = at_least((hi - lo) / c.steps, REAL(1e-6));
    *zero_point = lo + *scale * middle;
    if (s->kind->learned)
        *zero_point = clamp_code(rint((double)*zero_point), &c);
    else
        *zero_point = real_trunc(*zero_point);
}

const struct qparams_rule qparams_table[] = {
    {.name = "torch",
     .help = "torch observers: max|x| / ((hi - lo) / 2), or affine",
     .compute = compute_torch},
    {.name = "fused",
     .help = "FBGEMM ChooseQuantizationParams (torch's fused observers)",
     .compute = compute_fused},
    {.name = "float",
     .help = "torch float_qparams: real zero point, 0 not forced in",
     .compute = compute_float,
     .real_zero = true},
    {.name = "aimet",
     .help = "AIMET 2: grid-wide range, scale = (max - min) / N",
     .compute = compute_aimet},
    {.name = "tf",
     .help = "TensorFlow FakeQuant: nudged zero point, half up",
     .compute = compute_tf},
    {.name = "brevitas",
     .help = "Brevitas: max|x| / largest code magnitude",
     .compute = compute_brevitas},
    {.name = "absmax",
     .help = "max|x| / highest code (TensorRT, ModelOpt)",
     .compute = compute_absmax},
    {.name = "noclip",
     .help = "torchao SYMMETRIC_NO_CLIPPING_ERR",
     .compute = compute_noclip},
    {.name = "torchao",
     .help = "torchao fake quantizers: asymmetric groups, truncated value",
     .compute = compute_torchao},
};
const int qparams_count =
    (int)(sizeof qparams_table / sizeof qparams_table[0]);

const struct qparams_rule *qparams_find(const char *name)
{
    for (int i = 0; i < qparams_count; i++)
        if (!strcmp(qparams_table[i].name, name))
            return &qparams_table[i];
    return NULL;
}

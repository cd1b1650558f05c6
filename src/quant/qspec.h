/* What a user asks of a quantizer: plain data that can be compared, printed
 * and parsed, and the rules that turn a range into a scale.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef QUANT_QSPEC_H
#define QUANT_QSPEC_H

#include "tensor/tensor.h"

struct observer_kind;
struct quantizer_kind;

enum rounding {           /* names in rounding_name[] */
    ROUND_HALF_EVEN, ROUND_HALF_AWAY, ROUND_HALF_UP, ROUND_FLOOR, ROUND_CEIL,
    ROUND_TO_ZERO, ROUND_STOCHASTIC, ROUND_COUNT
};
extern const char *const rounding_name[ROUND_COUNT];

enum granularity { GRAIN_TENSOR, GRAIN_CHANNEL, GRAIN_GROUP, GRAIN_COUNT };
extern const char *const grain_name[GRAIN_COUNT];

/* Gradient families of uniform quantizers. */
enum qgrad { QGRAD_MASKED, QGRAD_PASS, QGRAD_COUNT };
extern const char *const qgrad_name[QGRAD_COUNT];

/* How (min, max) becomes (scale, zero point): rows in qparams.c. */
struct qspec;
struct qparams_rule {
    const char *name, *help;  /* torch, fused, aimet, tf, brevitas, qonnx.. */
    void (*compute)(const struct qspec *s, real lo, real hi, real *scale,
                    real *zero_point);
    bool real_zero;           /* zero points are no codes: needs zp=float */
};
extern const struct qparams_rule qparams_table[];
extern const int qparams_count;
const struct qparams_rule *qparams_find(const char *name);
/* What AIMET's analyzers make of an observed range, before the scale. */
void qparams_aimet_range(const struct qspec *s, real *lo, real *hi);

#define QSPEC_PARAMS 12

struct qspec {
    const struct quantizer_kind *kind;
    int bits;
    bool is_signed;
    bool symmetric;           /* zero point fixed */
    bool narrow;              /* -127..127 instead of -128..127 */
    bool reduce_range;        /* half the codes: 0..127 */
    enum granularity grain;
    int group;                /* group size along the inner axis */
    enum rounding rounding;
    bool divide;              /* x / s; else x * (1/s) */
    bool zp_before;           /* zero point added before rounding */
    bool clamp_first;         /* clamp real values, then round */
    bool float_zp;
    enum qgrad grad;
    const struct qparams_rule *rule;
    const struct observer_kind *observer;
    double observer_param[4]; /* by the observer's rows */
    double eps;               /* smallest scale */
    bool custom_codes;        /* codes=LO..HI instead of bits and sign */
    int64_t lo_code, hi_code;
    double noise;             /* y = x + noise * (q(x) - x); 1: quantized */
    int64_t delay;            /* training forwards before it starts */
    double param[QSPEC_PARAMS];          /* by the kind's rows */
};

struct qrow {                 /* a setting or a learned parameter of a kind */
    const char *name;
    double def, lo, hi;
    const char *help;
};

/* Spec text: `KIND:BITS[,word or key=value ...]`, e.g. "affine:4,sym,channel",
 * "lsq:2,unsigned", "affine:8,asym,obs=ema,ema.c=0.01,rule=fused", a kind's
 * own string, "quantized_bits(6,0,alpha=1)", "fixed<16,6,RND,SAT>", or a bare
 * number (bits only). Words: signed unsigned sym asym narrow full tensor
 * channel group=N reduce noreduce codes=LO..HI divide reciprocal
 * zp=after|before|float clamp=last|first round=NAME grad=NAME rule=NAME
 * obs=NAME OBS.SETTING=X eps=X noise=X delay=N and the kind's settings.
 * What the text does not say comes from `base` (NULL: the defaults), then from
 * the kind where it is another than base's. qspec_print writes the shortest
 * text that parses back without a base. */
void qspec_default(struct qspec *s);
enum status qspec_parse(const char *text, const struct qspec *base,
                        struct qspec *out, struct err *e);
void qspec_print(const struct qspec *s, struct str *out);
bool qspec_equal(const struct qspec *a, const struct qspec *b);
enum status qspec_check(const struct qspec *s, struct err *e);
void qspec_codes(const struct qspec *s, int64_t *lo, int64_t *hi);
/* Other widths: custom codes go, below 8 bits reduce_range goes too. */
void qspec_set_bits(struct qspec *s, int bits);
/* Index of the kind's (or observer's) setting in param[]; -1: none. */
int qrow_find(const struct qrow *rows, const char *name);

#endif

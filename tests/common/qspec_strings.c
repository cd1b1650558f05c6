/* Quantizer strings in tests. SPDX-License-Identifier: GPL-3.0-or-later */
#include "common/qspec_strings.h"

#include <string.h>

#include "common/test_main.h"

struct qspec qspec_parsed(const char *text)
{
    struct qspec s;
    struct err e = {0};

    if (qspec_parse(text, NULL, &s, &e) != STATUS_OK)
        fail_msg("%s", e.text);
    return s;
}

void assert_printed(const char *text, const char *printed)
{
    struct qspec s = qspec_parsed(text), back;
    struct str out = {0};

    qspec_print(&s, &out);
    assert_string_equal(str_text(&out), printed);
    back = qspec_parsed(str_text(&out));
    assert_true(qspec_equal(&s, &back));
    str_fini(&out);
}

void assert_refused(const char *text, const char *part)
{
    struct qspec s, before;
    struct err e = {0};

    qspec_default(&s);
    before = s;
    assert_int_equal(qspec_parse(text, NULL, &s, &e), STATUS_ARG);
    if (!strstr(e.text, part))
        fail_msg("%s: \"%s\" lacks \"%s\"", text, e.text, part);
    assert_true(qspec_equal(&s, &before));
}

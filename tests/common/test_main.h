/* What every test program begins with: cmocka and a main that turns off
 * GSL's handler, which would abort. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef COMMON_TEST_MAIN_H
#define COMMON_TEST_MAIN_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <gsl/gsl_errno.h>

/* `tests` is an array of struct CMUnitTest in scope. */
#define TEST_MAIN(name, tests)                                       \
    int main(void)                                                   \
    {                                                                \
        gsl_set_error_handler_off();                                 \
        return cmocka_run_group_tests_name(name, tests, NULL, NULL); \
    }

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The same as unit tests: every one of them but `none` has to fail. */
#include "tests/sanitize/planted.h"

#include <criterion/criterion.h>

Test(planted, none)
{
	cr_assert(true);
}

Test(planted, leak)
{
	planted_leak();
}

Test(planted, undefined)
{
	planted_undefined();
}

Test(planted, overflow)
{
	planted_overflow();
}

Test(planted, after_free)
{
	planted_after_free();
}

// SPDX-License-Identifier: GPL-2.0-or-later
/* resolve GROUP: the same as the daemon's worker does it, without a process of its own. */
#include "resolver-internal.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
        _cleanup_resolver_request_ struct resolver_request request = {0};
        struct membership m = {0};
        int r = argc == 2 ? words_add(&request.groups, argv[1], NULL, 0) : -EINVAL;

        if (r >= 0)
                r = resolver_find_members(&request, &m);
        if (r < 0) {
                fprintf(stderr, "resolve: %s\n", strerror(-r));
                return 1;
        }
        printf("%zu ranges\n", m.subjects.uids.n);
        membership_clear(&m);
        return 0;
}

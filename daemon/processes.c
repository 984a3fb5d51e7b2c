// SPDX-License-Identifier: GPL-2.0-or-later
#include "processes.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

DEFINE_CLEANUP(DIR *, closedir)

int processes_read_uids(struct idset *ret)
{
        _cleanup_(closedirp) DIR *proc = opendir("/proc");
        const struct dirent *entry;
        uint32_t last = UINT32_MAX;
        struct stat st;
        int r = 0;

        if (!proc)
                return -errno;
        while (r >= 0 && (entry = readdir(proc))) {
                if (!isdigit((unsigned char)entry->d_name[0]) ||
                    fstatat(dirfd(proc), entry->d_name, &st, 0) < 0 || st.st_uid == last)
                        continue;
                last = st.st_uid;
                r = idset_append(ret, last, last);
        }
        if (r < 0)
                idset_clear(ret);
        else
                idset_normalize(ret);
        return r;
}

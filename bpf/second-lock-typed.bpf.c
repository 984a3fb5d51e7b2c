// SPDX-License-Identifier: GPL-2.0-or-later
/* The same for kernels (Linux 6.2 and later) whose verifier knows what a packet's pointers lead to: each step
 * is one instruction instead of a call. */
#define TYPED
#include "second-lock.bpf.c"

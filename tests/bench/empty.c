// SPDX-License-Identifier: GPL-2.0-or-later
/* Does nothing; the Makefile links it with the libraries of lockdownctl. */
int main(void)
{
        return 0;
}

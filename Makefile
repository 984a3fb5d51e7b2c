# SPDX-License-Identifier: GPL-2.0-or-later
# egress-lockdown: see README.md. `make help` lists the targets.

VERSION := 0.1
PREFIX ?= /usr/local
DESTDIR ?=
B ?= build

CC ?= gcc
PKGS := libnftnl libmnl libsystemd inih jansson smartcols
PKG_CFLAGS := $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
LIBS_DAEMON := -lnftnl -lmnl -lsystemd -linih -ljansson -lsubid
LIBS_CTL := -lsystemd -ljansson -lsmartcols

WARNINGS := -Wall -Wextra -Wshadow -Wconversion -Wno-sign-conversion -Wstrict-prototypes -Wmissing-prototypes \
            -Wformat=2 -Wundef -Wvla -Wwrite-strings -Werror
HARDENING := -fstack-protector-strong -D_FORTIFY_SOURCE=2 -fPIE
OPT ?= -O2 -g
CPPFLAGS += -D_GNU_SOURCE -DVERSION='"$(VERSION)"' -DPREFIX='"$(PREFIX)"' -Iinclude -Idaemon -Ictl $(PKG_CFLAGS)
CFLAGS_ALL := -std=gnu17 $(OPT) $(WARNINGS) $(HARDENING) $(SANITIZE) $(CFLAGS)
LDFLAGS_ALL := -pie -Wl,-z,relro,-z,now $(SANITIZE) $(LDFLAGS)

COMMON_SRC := $(wildcard common/*.c)
DAEMON_SRC := $(wildcard daemon/*.c)
CTL_SRC := $(wildcard ctl/*.c)
UNIT_SRC := $(wildcard tests/unit/test-*.c)

obj = $(patsubst %.c,$(B)/%.o,$(1))
COMMON_OBJ := $(call obj,$(COMMON_SRC))
DAEMON_OBJ := $(call obj,$(DAEMON_SRC))
CTL_OBJ := $(call obj,$(CTL_SRC))
# Unit tests link everything but the two main().
DAEMON_LIB_OBJ := $(filter-out $(B)/daemon/main.o,$(DAEMON_OBJ))
CTL_LIB_OBJ := $(filter-out $(B)/ctl/main.o,$(CTL_OBJ))
UNIT_BIN := $(patsubst tests/unit/%.c,$(B)/tests/unit/%,$(UNIT_SRC))

.PHONY: all
all: $(B)/lockdownd $(B)/lockdownctl

$(B)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS_ALL) -MMD -MP -c $< -o $@

$(B)/lockdownd: $(DAEMON_OBJ) $(COMMON_OBJ)
	$(CC) $(LDFLAGS_ALL) $^ $(LIBS_DAEMON) -o $@

$(B)/lockdownctl: $(CTL_OBJ) $(COMMON_OBJ)
	$(CC) $(LDFLAGS_ALL) $^ $(LIBS_CTL) -o $@

# A unit test names the functions it wraps in a comment "// wrap: name name".
$(B)/tests/unit/test-ctl-%: $(B)/tests/unit/test-ctl-%.o $(CTL_LIB_OBJ) $(COMMON_OBJ)
	$(CC) $(LDFLAGS_ALL) $^ $(LIBS_CTL) -lcmocka -o $@
$(B)/tests/unit/test-%: $(B)/tests/unit/test-%.o $(DAEMON_LIB_OBJ) $(COMMON_OBJ)
	$(CC) $(LDFLAGS_ALL) $(shell sed -n 's|^// wrap: ||p' tests/unit/test-$*.c | tr ' ' '\n' | sed 's/^/-Wl,--wrap=/') \
		$^ $(LIBS_DAEMON) -lcmocka -o $@

.PHONY: unit
unit: $(UNIT_BIN)
	@failed=0; for t in $(UNIT_BIN); do $$t || failed=1; done; exit $$failed

.PHONY: clean
clean:
	rm -rf $(B)

-include $(shell find $(B) -name '*.d' 2>/dev/null)

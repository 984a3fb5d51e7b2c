# SPDX-License-Identifier: GPL-2.0-or-later
# egress-lockdown: see README.md. `make help` lists the targets.

VERSION := 0.1
PREFIX ?= /usr/local
DESTDIR ?=
B ?= build

ifeq ($(origin CC),default)
CC := gcc
endif
# Missing on a machine where `make deps` has not run yet: empty then, and the targets that run deps first call
# make again.
PKGS := libnftnl libmnl libsystemd inih jansson smartcols
# BPF=no: without the second lock, and then without clang and libbpf.
BPF ?= yes
PKG_CFLAGS := $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
LIBS_DAEMON := -lnftnl -lmnl -lsystemd -linih -ljansson -lsubid
LIBS_CTL := -lsystemd -ljansson -lsmartcols

WARNINGS := -Wall -Wextra -Wshadow -Wconversion -Wno-sign-conversion -Wstrict-prototypes -Wmissing-prototypes \
            -Wformat=2 -Wundef -Wvla -Wwrite-strings -Werror
HARDENING := -fstack-protector-strong -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2 -fPIE
OPT ?= -O2 -g
CPPFLAGS += -D_GNU_SOURCE -DVERSION='"$(VERSION)"' -Iinclude -Idaemon -Ictl $(PKG_CFLAGS)
CFLAGS_ALL := -std=gnu17 $(OPT) $(WARNINGS) $(HARDENING) $(SANITIZE) $(CFLAGS)
LDFLAGS_ALL := -pie -Wl,-z,relro,-z,now $(SANITIZE) $(LDFLAGS)

COMMON_SRC := $(wildcard common/*.c)
DAEMON_SRC := $(wildcard daemon/*.c)
CTL_SRC := $(wildcard ctl/*.c)
UNIT_SRC := $(wildcard tests/unit/test-*.c)
FUZZ_SRC := $(wildcard tests/fuzz/fuzz-*.c)
BPF_SRC := $(wildcard bpf/*.c)
HEADERS := $(wildcard include/*.h common/*.h daemon/*.h ctl/*.h bpf/*.h tests/unit/*.h tests/fuzz/*.h)

# The second lock's programs are compiled for the kernel, and those objects become a part of lockdownd.
BPF_CLANG ?= clang
BPF_OBJECTS := $(patsubst %.c,$(B)/%.o,$(BPF_SRC))
BPF_FLAGS := -target bpf -mcpu=v3 -O2 -g -Wall -Wextra -Wno-unused-parameter -Werror \
             $(addprefix -idirafter ,$(wildcard /usr/include/*-linux-gnu*))
ifeq ($(BPF),no)
DAEMON_SRC := $(filter-out daemon/second-lock.c $(filter-out %-none.c,$(wildcard daemon/second-lock-*.c)),$(DAEMON_SRC))
UNIT_SRC := $(filter-out tests/unit/test-second-lock%,$(UNIT_SRC))
else
DAEMON_SRC := $(filter-out daemon/second-lock-none.c,$(DAEMON_SRC))
LIBS_DAEMON += -lbpf
endif

obj = $(patsubst %.c,$(B)/%.o,$(1))
COMMON_OBJ := $(call obj,$(COMMON_SRC))
DAEMON_OBJ := $(call obj,$(DAEMON_SRC))
CTL_OBJ := $(call obj,$(CTL_SRC))
UNIT_OBJ := $(call obj,$(UNIT_SRC))
# Unit tests link everything but the two main().
DAEMON_LIB_OBJ := $(filter-out $(B)/daemon/main.o,$(DAEMON_OBJ))
CTL_LIB_OBJ := $(filter-out $(B)/ctl/main.o,$(CTL_OBJ))
UNIT_BIN := $(patsubst tests/unit/%.c,$(B)/tests/unit/%,$(UNIT_SRC))
FUZZ_OBJ := $(call obj,$(FUZZ_SRC))
FUZZ_BIN := $(patsubst tests/fuzz/%.c,$(B)/tests/fuzz/%,$(FUZZ_SRC))

## Building
.PHONY: all
all: $(B)/lockdownd $(B)/lockdownctl ## build lockdownd and lockdownctl into build/ (B=DIR: elsewhere; BPF=no: no second lock)

# Objects made with other flags (another compiler, a sanitizer) are made again.
FLAGS := BPF=$(BPF) $(CC) $(CPPFLAGS) $(CFLAGS_ALL) $(LDFLAGS_ALL)
$(B)/.flags: FORCE
	@mkdir -p $(B)
	@printf '%s\n' '$(subst ','\'',$(FLAGS))' | cmp -s - $@ || printf '%s\n' '$(subst ','\'',$(FLAGS))' > $@
.PHONY: FORCE
FORCE:

# One short line for each step; V=1 shows the commands.
Q := $(if $(V),,@)
say = $(if $(V),,@echo '  $(1)')

$(B)/%.o: %.c $(B)/.flags
	@mkdir -p $(@D)
	$(call say,CC    $<)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS_ALL) -MMD -MP -c $< -o $@

$(BPF_OBJECTS): $(B)/%.o: %.c $(wildcard bpf/*.[ch])
	@mkdir -p $(@D)
	$(call say,BPF   $<)
	$(Q)$(BPF_CLANG) $(BPF_FLAGS) -c $< -o $@
# For this one alone: a build directory spelled in another way must not have everything made again.
$(B)/daemon/second-lock-kernel.o: CPPFLAGS += -DBPF_OBJECTS='"$(B)/bpf"'
$(B)/daemon/second-lock-kernel.o: $(BPF_OBJECTS)

$(B)/lockdownd: $(DAEMON_OBJ) $(COMMON_OBJ)
	$(call say,LINK  $@)
	$(Q)$(CC) $(LDFLAGS_ALL) $^ $(LIBS_DAEMON) -o $@

$(B)/lockdownctl: $(CTL_OBJ) $(COMMON_OBJ)
	$(call say,LINK  $@)
	$(Q)$(CC) $(LDFLAGS_ALL) $^ $(LIBS_CTL) -o $@

# For the system tests: as it is on kernels that know no owned tables.
$(B)/tests/nft-unowned.o: daemon/nft.c $(B)/.flags
	@mkdir -p $(@D)
	$(call say,CC    $< (no owned tables))
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS_ALL) -DOWNED_TABLES=0 -MMD -MP -c $< -o $@
$(B)/tests/lockdownd-unowned: $(B)/tests/nft-unowned.o $(filter-out $(B)/daemon/nft.o,$(DAEMON_OBJ)) $(COMMON_OBJ)
	$(call say,LINK  $@)
	$(Q)$(CC) $(LDFLAGS_ALL) $^ $(LIBS_DAEMON) -o $@

# … and where comparing finds nothing, so that only trying is left.
$(B)/tests/nft-blind.o: daemon/nft-verify.c $(B)/.flags
	@mkdir -p $(@D)
	$(call say,CC    $< (compares nothing))
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS_ALL) -DCOMPARE=0 -MMD -MP -c $< -o $@
$(B)/tests/lockdownd-blind: $(B)/tests/nft-blind.o $(B)/tests/nft-unowned.o \
		$(filter-out $(B)/daemon/nft.o $(B)/daemon/nft-verify.o,$(DAEMON_OBJ)) $(COMMON_OBJ)
	$(call say,LINK  $@)
	$(Q)$(CC) $(LDFLAGS_ALL) $^ $(LIBS_DAEMON) -o $@

# … and on those without the egress hook.
$(B)/tests/nft-no-frames.o: daemon/nft.c $(B)/.flags
	@mkdir -p $(@D)
	$(call say,CC    $< (no egress hook))
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS_ALL) -DFRAMES=0 -MMD -MP -c $< -o $@
$(B)/tests/lockdownd-no-frames: $(B)/tests/nft-no-frames.o $(filter-out $(B)/daemon/nft.o,$(DAEMON_OBJ)) $(COMMON_OBJ)
	$(call say,LINK  $@)
	$(Q)$(CC) $(LDFLAGS_ALL) $^ $(LIBS_DAEMON) -o $@

# What the measurements compare with, each as small as can be.
BENCH_BIN := $(patsubst tests/bench/%.c,$(B)/tests/bench/%,$(wildcard tests/bench/*.c))
$(B)/tests/bench/%: tests/bench/%.c $(B)/.flags
	@mkdir -p $(@D)
	$(call say,BENCH $<)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS_ALL) $(LDFLAGS_ALL) $< $(LIBS_BENCH) -o $@
$(B)/tests/bench/empty: LIBS_BENCH := -Wl,--no-as-needed $(LIBS_CTL)
$(B)/tests/bench/transaction $(B)/tests/bench/destroy: LIBS_BENCH := -lmnl

# These are made of the daemon's own modules.
$(B)/tests/bench/rules $(B)/tests/bench/resolve: $(B)/tests/bench/%: tests/bench/%.c $(DAEMON_LIB_OBJ) $(COMMON_OBJ)
	@mkdir -p $(@D)
	$(call say,BENCH $<)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS_ALL) $(LDFLAGS_ALL) $^ $(LIBS_DAEMON) -o $@

# What the daemon is played with that finds no memory, or hears something else from netlink. Not sanitized: it stands before
# the allocator itself.
$(B)/tests/faults/interpose.so: tests/faults/interpose.c $(B)/.flags
	@mkdir -p $(@D)
	$(call say,CC    $<)
	$(Q)$(CC) $(CPPFLAGS) -std=gnu17 $(OPT) $(WARNINGS) -fPIC -fno-builtin -shared $< -ldl -o $@

# For the virtual machine of tests/vm/power.
$(B)/tests/vm/sender: tests/vm/power/sender.c $(B)/.flags
	@mkdir -p $(@D)
	$(call say,CC    $<)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS_ALL) $(LDFLAGS_ALL) $< -o $@

# What stops the daemon at a system call of its own.
$(B)/tests/faults/syscall-names.h:
	@mkdir -p $(@D)
	$(Q){ echo 'static const struct { unsigned long number; const char *name; } syscall_names[] = {'; \
		echo '#include <asm/unistd.h>' | $(CC) -E -dM - | sed -n 's/^#define __NR_\([a-z0-9_]*\) [0-9].*/{__NR_\1, "\1"},/p'; \
		echo '};'; } > $@
$(B)/tests/faults/stop-at: tests/faults/stop-at.c $(B)/tests/faults/syscall-names.h $(B)/.flags
	$(call say,CC    $<)
	$(Q)$(CC) $(CPPFLAGS) -I$(B)/tests/faults $(CFLAGS_ALL) $(LDFLAGS_ALL) $< -o $@

# A unit test names the functions it wraps in a comment "// wrap: name name".
$(B)/tests/unit/test-ctl-%: $(B)/tests/unit/test-ctl-%.o $(CTL_LIB_OBJ) $(COMMON_OBJ)
	$(call say,LINK  $@)
	$(Q)$(CC) $(LDFLAGS_ALL) $(call wraps,unit/test-ctl-$*) $^ $(LIBS_CTL) -lcmocka -o $@
$(B)/tests/unit/test-%: $(B)/tests/unit/test-%.o $(DAEMON_LIB_OBJ) $(COMMON_OBJ)
	$(call say,LINK  $@)
	$(Q)$(CC) $(LDFLAGS_ALL) $(call wraps,unit/test-$*) $^ $(LIBS_DAEMON) -lcmocka -o $@
# Likewise what is fuzzed; see `make fuzz` for the compiler and its flags.
$(B)/tests/fuzz/fuzz-%: $(B)/tests/fuzz/fuzz-%.o $(DAEMON_LIB_OBJ) $(COMMON_OBJ)
	$(call say,LINK  $@)
	$(Q)$(CC) $(LDFLAGS_ALL) -fsanitize=fuzzer $(call wraps,fuzz/fuzz-$*) $^ $(LIBS_DAEMON) -o $@
$(B)/tests/fuzz/fuzz-ctl-%: $(B)/tests/fuzz/fuzz-ctl-%.o $(CTL_LIB_OBJ) $(COMMON_OBJ)
	$(call say,LINK  $@)
	$(Q)$(CC) $(LDFLAGS_ALL) -fsanitize=fuzzer $(call wraps,fuzz/fuzz-ctl-$*) $^ $(LIBS_CTL) -o $@
wraps = $(shell sed -n 's|^// wrap: ||p' tests/$(1).c | tr ' ' '\n' | sed 's/^/-Wl,--wrap=/')
.SECONDARY: $(UNIT_OBJ) $(FUZZ_OBJ)

-include $(patsubst %.o,%.d,$(COMMON_OBJ) $(DAEMON_OBJ) $(CTL_OBJ) $(UNIT_OBJ) $(FUZZ_OBJ))

.PHONY: clang
clang: ## the same with clang, unit tests included, into $(B)/clang
	$(MAKE) CC=clang B=$(B)/clang all unit-programs

## What a fresh machine needs (Debian, Ubuntu); DEPS=no skips it
.PHONY: deps deps-check deps-ci
deps: ## install what building and the demo need
	@$(if $(filter no,$(DEPS)),:,tools/deps build demo)
deps-check: ## … and what `make check` needs
	@$(if $(filter no,$(DEPS)),:,tools/deps build demo check)
deps-ci: ## … and what .ci/run needs
	@$(if $(filter no,$(DEPS)),:,tools/deps build demo check ci)

# LONG=1: tests that sample go through everything. SEED=N: what they choose, and in which order.
LONG ?=
SEED ?=
export LONG SEED

## The two to begin with
JOBS := $(shell nproc 2>/dev/null || echo 2)
.PHONY: demo
demo: deps ## as root: see a lockdown from beginning to end, in network namespaces of its own
	@$(MAKE) -j$(JOBS) --no-print-directory all
	@BUILD='$(abspath $(B))' tests/system/demo

# What goes beside all others: one row after another, or, where each takes an hour, two rows of about the same length.
BESIDE = --beside 'system-waiting faults interposed power'
ifneq ($(LONG),)
  BESIDE = --beside 'system-waiting power' --beside 'faults interposed'
endif
.PHONY: check
check: deps-check ## as root: every test there is, and one line with the sum
	@$(MAKE) -j$(JOBS) --no-print-directory all unit-programs
	@$(MAKE) -j$(JOBS) --no-print-directory sanitize-programs
	@$(MAKE) -j$(JOBS) --no-print-directory fuzz-programs
	@$(MAKE) -j$(JOBS) --no-print-directory $(SYSTEM_BUILDS)
	@tools/check --logs '$(B)/check' --idle fuzz $(BESIDE) unit sanitize system-others leaks bench-quick boot -- \
		$(MAKE) --no-print-directory B='$(B)' FUZZ_SECONDS='$(FUZZ_SECONDS)' FUZZ_SEED='$(or $(SEED),1)'

# Hours. SEED=N in its environment or on its command line repeats what another run did.
.PHONY: check-long
check-long: ## as root: the same with everything that `make check` only samples; hours
	@$(MAKE) --no-print-directory check LONG=1 FUZZ_SECONDS=600

## Single kinds of tests
.PHONY: unit-programs unit golden golden-update sanitize-programs sanitize fuzz-programs fuzz system faults leaks compare boot \
        interposed vm power bench bench-quick system-waiting system-others
unit-programs: $(UNIT_BIN)
unit: $(UNIT_BIN) ## unit tests, golden ones included
	@tools/unit-tests $(UNIT_BIN)
GOLDEN_BIN := $(patsubst tests/unit/%.c,$(B)/tests/unit/%,$(shell grep -l GOLDEN_UPDATE tests/unit/test-*.c))
golden: $(GOLDEN_BIN) ## golden tests alone: what rulesets and texts look like
	@tools/unit-tests $^
golden-update: $(GOLDEN_BIN) ## write what they expect anew; read the diff
	@GOLDEN_UPDATE=1 tools/unit-tests $^

SANITIZED := SANITIZE='-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer' OPT='-O1 -g' \
             HARDENING='-U_FORTIFY_SOURCE -fPIE' B='$(B)/sanitize'
sanitize-programs:
	@$(MAKE) --no-print-directory $(SANITIZED) all unit-programs
sanitize: ## unit tests under AddressSanitizer and UndefinedBehaviorSanitizer
	@$(MAKE) --no-print-directory $(SANITIZED) unit

# libFuzzer is clang's. FUZZ=NAME: that target alone (tests/fuzz/fuzz-NAME.c).
FUZZ_CC ?= clang
FUZZ_SECONDS ?= 60
# 0: another one each time.
FUZZ_SEED ?= 0
FUZZED := CC='$(FUZZ_CC)' OPT='-O1 -g' HARDENING='-U_FORTIFY_SOURCE -fPIE' B='$(B)/fuzz' \
          SANITIZE='-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer'
FUZZ_CHOSEN = $(if $(FUZZ),$(B)/tests/fuzz/fuzz-$(FUZZ),$(FUZZ_BIN))
has_libfuzzer = echo 'int LLVMFuzzerTestOneInput(void) { return 0; }' | \
                $(FUZZ_CC) -fsanitize=fuzzer,address,undefined -x c - -o /dev/null 2>/dev/null
.PHONY: fuzz-programs-there fuzz-run
fuzz-programs-there: $(FUZZ_CHOSEN)
fuzz-run: $(FUZZ_CHOSEN)
	@tools/fuzz --seconds '$(FUZZ_SECONDS)' --seed '$(FUZZ_SEED)' --directory '$(B)' $(FUZZ_CHOSEN)
fuzz-programs:
	@! $(has_libfuzzer) || $(MAKE) --no-print-directory $(FUZZED) fuzz-programs-there
fuzz: ## what reads bytes from elsewhere, with libFuzzer: FUZZ_SECONDS (60) each, FUZZ=NAME for one
	@if $(has_libfuzzer); then \
		$(MAKE) --no-print-directory $(FUZZED) fuzz-run; \
	else \
		echo 'skipped: $(FUZZ_CC) makes no libFuzzer programs here (make deps-check)'; \
		echo '0 passed, 0 failed, $(words $(FUZZ_SRC)) skipped'; \
	fi

SYSTEM_BUILDS := $(addprefix $(B)/tests/lockdownd-,unowned blind no-frames)
system: all $(SYSTEM_BUILDS) ## as root: the daemon and real packets in network namespaces
	@PYTEST_ADDOPTS=-rsfE BUILD='$(abspath $(B))' tests/system/run
# The same in two parts, which make check runs beside each other: what mostly waits for deadlines and attackers, and the rest.
WAITING := $(addprefix test_,$(addsuffix .py,clock endurance full_disk hostile hostile_directory longlife own_files record \
           tampering trial))
system-waiting system-others: all $(SYSTEM_BUILDS)
	@PYTEST_ADDOPTS=-rsfE BUILD='$(abspath $(B))' tests/system/run \
		$(if $(filter system-waiting,$@),$(WAITING),$(addprefix --ignore=,$(WAITING)))
faults: all $(B)/tests/lockdownd-unowned $(B)/tests/faults/stop-at ## as root: killed at its system calls, and with calls that fail
	@BUILD='$(abspath $(B))' tests/faults/run
interposed: all $(B)/tests/lockdownd-unowned $(B)/tests/faults/interpose.so ## as root: the daemon short of memory, and with bad answers of netlink's
	@BUILD='$(abspath $(B))' tests/faults/interposed
leaks: all $(B)/tests/lockdownd-unowned ## as root: every way out there is, played against the daemon, and a table of what arrived
	@BUILD='$(abspath $(B))' tests/leaks/run
compare: all $(B)/tests/lockdownd-unowned ## as root: the same, with other tools' locks beside it (those that are installed)
	@BUILD='$(abspath $(B))' tests/leaks/run --compare
boot: all ## as root: the units on a booted Debian tree (systemd-nspawn), driven with systemctl
	@BUILD='$(abspath $(B))' tests/boot/run
vm: unit-programs ## as root: the unit tests that speak to the kernel, under Debian's stock kernel in a virtual machine
	@BUILD='$(abspath $(B))' tests/vm/run || [ $$? -eq 77 ]
power: all $(B)/tests/vm/sender ## as root: boots and plug pulls of a virtual machine with Debian's stock kernel (PULLS=N, LONG=1)
	@BUILD='$(abspath $(B))' tests/vm/power/run
bench: all $(BENCH_BIN) $(B)/tests/lockdownd-no-frames ## as root: measurements, beside what else is installed; build/bench/bench.json
	@BUILD='$(abspath $(B))' tests/bench/run
bench-quick: all $(BENCH_BIN) ## as root: a few seconds of them; fails if a ratio with a wide margin breaks
	@BUILD='$(abspath $(B))' tests/bench/run --quick

## Looking after the source
.PHONY: format format-check analyze
C_FILES = $(sort $(COMMON_SRC) $(DAEMON_SRC) $(CTL_SRC) $(BPF_SRC) $(HEADERS) $(wildcard tests/*/*.c tests/vm/power/*.c))
format: ## rewrite every C file as .clang-format has it
	@$(call tool,clang-format) -i $(C_FILES)
format-check: ## … or say which files differ
	@$(call tool,clang-format) --dry-run --Werror $(C_FILES) && echo 'format: $(words $(C_FILES)) files as they should be'
# Another version formats differently; 14 is what Debian 12 calls clang-format, and Ubuntu 24.04 has it too.
tool = $(or $(shell command -v $(1)-14),$(1))

analyze: ## clang-tidy and cppcheck
	@JOBS=$(JOBS) CLANG_TIDY='$(call tool,clang-tidy)' tools/analyze $(COMMON_SRC) $(DAEMON_SRC) $(CTL_SRC) -- \
		$(filter-out -DVERSION=%,$(CPPFLAGS)) '-DVERSION="$(VERSION)"' '-DBPF_OBJECTS="x"' -std=gnu17

## Installing
# systemd, the journal's catalog and man look below /usr and /usr/local alike; the message bus reads policies only
# from /usr/share and /etc. Configuration is in /etc whatever the PREFIX (the units say ConfigurationDirectory=).
UNITDIR = $(PREFIX)/lib/systemd/system
CATALOGDIR = $(PREFIX)/lib/systemd/catalog
SYSUSERSDIR = $(PREFIX)/lib/sysusers.d
MANDIR = $(PREFIX)/share/man
BUSDIR = $(if $(filter /usr,$(PREFIX)),/usr/share,/etc)/dbus-1/system.d
CONFDIR = /etc/lockdownd
LIBEXECDIR = $(PREFIX)/libexec
UNITS := $(wildcard systemd/*.service systemd/*.socket)
MANPAGES := $(wildcard man/*.[1-8])
# Everything `make uninstall` removes, and `make install` puts there, besides the configuration.
INSTALLED = $(PREFIX)/sbin/lockdownd $(PREFIX)/bin/lockdownctl $(CATALOGDIR)/lockdownd.catalog \
            $(BUSDIR)/org.egresslockdown.Lockdown1.conf $(SYSUSERSDIR)/lockdownd.conf \
            $(LIBEXECDIR)/lockdownd-user $(addprefix $(UNITDIR)/,$(notdir $(UNITS))) \
            $(foreach m,$(MANPAGES),$(MANDIR)/man$(patsubst .%,%,$(suffix $(m)))/$(notdir $(m)))

.PHONY: install uninstall
install: all ## into DESTDIR, below PREFIX (default /usr/local); keeps a configuration that is there
	install -D -m 755 $(B)/lockdownd $(DESTDIR)$(PREFIX)/sbin/lockdownd
	install -D -m 755 $(B)/lockdownctl $(DESTDIR)$(PREFIX)/bin/lockdownctl
	install -D -m 755 systemd/lockdownd-user $(DESTDIR)$(LIBEXECDIR)/lockdownd-user
	@set -e; for u in $(UNITS); do \
		echo "install $$u -> $(DESTDIR)$(UNITDIR)"; \
		install -d $(DESTDIR)$(UNITDIR); \
		sed 's|@PREFIX@|$(PREFIX)|g' $$u > $(DESTDIR)$(UNITDIR)/$${u##*/}; \
		chmod 644 $(DESTDIR)$(UNITDIR)/$${u##*/}; \
	done
	@set -e; for m in $(MANPAGES); do \
		install -v -D -m 644 $$m $(DESTDIR)$(MANDIR)/man$${m##*.}/$${m##*/}; \
	done
	install -D -m 644 conf/lockdownd.catalog $(DESTDIR)$(CATALOGDIR)/lockdownd.catalog
	install -D -m 644 conf/lockdownd.sysusers $(DESTDIR)$(SYSUSERSDIR)/lockdownd.conf
	install -D -m 644 conf/org.egresslockdown.Lockdown1.conf $(DESTDIR)$(BUSDIR)/org.egresslockdown.Lockdown1.conf
	install -d -m 755 $(DESTDIR)$(CONFDIR) $(DESTDIR)$(CONFDIR)/lockdownd.conf.d
	@tools/install-conf conf/lockdownd.conf $(DESTDIR)$(CONFDIR)/lockdownd.conf
	@DESTDIR='$(DESTDIR)' SYSUSERS='$(SYSUSERSDIR)/lockdownd.conf' tools/after-install

uninstall: ## remove what install put there; keeps configuration, saved orders with their user, and the rules in force
	@DESTDIR='$(DESTDIR)' tools/before-uninstall
	rm -f $(addprefix $(DESTDIR),$(INSTALLED))
	@DESTDIR='$(DESTDIR)' tools/after-install

## The rest
.PHONY: clean help
clean: ## remove what was built
	rm -rf $(B)

help: ## this list
	@awk 'BEGIN { FS = ":[^#]*## " } \
		/^## / { printf "\n%s\n", substr($$0, 4) } \
		/^[a-z][a-z -]*:[^=#]*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# Building Bulkhead, for the scripts in tools/ that need its programs. Sourced after common.sh.

BH_BUILD_PACKAGES=(gcc libc6-dev meson ninja-build "pkgconf|pkg-config" python3 libevent-dev libprotobuf-c-dev
	protobuf-c-compiler libseccomp-dev liburing-dev libslirp-dev libjson-c-dev libcriterion-dev acpica-tools)

# bh_build DIR MESON-OPTION...: configures DIR if it is not yet, and builds everything. Says nothing unless it fails.
bh_build() {
	local dir=$1 log
	shift

	bh_ensure_packages "${BH_BUILD_PACKAGES[@]}"
	log=$(mktemp "$(bh_cache)/tmp/build.XXXXXX")
	if [ ! -e "$dir/build.ninja" ]; then
		bh_say "configuring ${dir#"$BH_ROOT"/}"
		if ! meson setup "$@" "$dir" "$BH_ROOT" >"$log" 2>&1; then
			cat "$log" >&2
			rm -f "$log"
			return 1
		fi
	fi
	bh_say "building in ${dir#"$BH_ROOT"/}"
	if ! ninja -C "$dir" >"$log" 2>&1; then
		grep -v '^\[[0-9]*/[0-9]*\] \(Compiling\|Linking\|Generating\)' "$log" >&2
		rm -f "$log"
		return 1
	fi
	rm -f "$log"
}

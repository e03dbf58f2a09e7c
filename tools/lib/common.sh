# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# Helpers shared by the scripts in tools/. Sourced, never run.
#
# Everything that a script downloads or builds lives under one cache folder (bh_cache). An artefact is a folder
# named NAME-KEY there, KEY being a hash of its recipe; it is built in a temporary folder under a lock and renamed
# when it is complete, so that a finished name always means a finished artefact, whoever was interrupted.

BH_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
BH_TOOLS=$BH_ROOT/tools
BH_SELF=${0##*/}
# Some of the programs used here (mke2fs, depmod, debugfs) live in sbin, which users have not always in their PATH.
PATH=$PATH:/usr/sbin:/sbin

bh_say() {
	printf '%s: %s\n' "$BH_SELF" "$*" >&2
}

bh_die() {
	bh_say "$*"
	exit 1
}

# Wrong usage: exit 2, as the programs of the project do.
bh_usage_error() {
	bh_say "$* (see $BH_SELF --help)"
	exit 2
}

# bh_need_value OPTION COUNT: an option that takes a value got one (COUNT is the caller's $#).
bh_need_value() {
	[ "$2" -ge 2 ] || bh_usage_error "$1 needs a value"
}

# Prints the cache folder, which exists afterwards.
bh_cache() {
	local dir=${BULKHEAD_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/bulkhead}

	mkdir -p "$dir/locks" "$dir/tmp" || bh_die "cannot make the cache folder $dir"
	(cd "$dir" && pwd)
}

# bh_key STRING... < RECIPE: prints a short hash of stdin and of the arguments.
bh_key() {
	{
		cat
		printf '%s\0' "$@"
	} | sha256sum | cut -c 1-12
}

# bh_artefact NAME KEY FUNCTION ARGUMENT...: prints the folder of artefact NAME-KEY. If it is not there yet,
# FUNCTION ARGUMENT... builds it in an empty folder that it finds in $BH_OUT; if that fails, nothing is left behind.
# Older versions of NAME that nobody used for a week are removed.
bh_artefact() {
	local name=$1 key=$2 cache dir lock old
	shift 2

	cache=$(bh_cache)
	dir=$cache/$name-$key
	if [ ! -d "$dir" ]; then
		mkdir -p "$(dirname "$dir")"
		exec {lock}>"$cache/locks/${name//\//_}.lock"
		if ! flock -n "$lock"; then
			bh_say "waiting for another run that makes $name"
			flock "$lock"
		fi
		if [ ! -d "$dir" ]; then
			# What killed runs left behind.
			find "$cache/tmp" -mindepth 1 -maxdepth 1 -mtime +2 -exec rm -rf {} +
			BH_OUT=$(mktemp -d "$cache/tmp/${name//\//_}.XXXXXX")
			chmod 755 "$BH_OUT"
			# A subshell of its own, not a condition: errexit must hold inside.
			local rc=0
			set +e
			(
				set -e
				exec >&2
				"$@"
			) {lock}>&-
			rc=$?
			set -e
			if [ "$rc" != 0 ]; then
				rm -rf "$BH_OUT"
				exec {lock}>&-
				bh_say "making $name failed"
				return 1
			fi
			mv -T "$BH_OUT" "$dir"
			for old in "$cache/$name"-????????????; do
				if [ "$old" != "$dir" ] && [ -n "$(find "$old" -maxdepth 0 -mtime +7)" ]; then
					rm -rf "$old"
				fi
			done
		fi
		exec {lock}>&-
	fi
	touch "$dir" 2>/dev/null || true
	printf '%s\n' "$dir"
}

# Runs a command as root: directly, or through sudo.
bh_as_root() {
	if [ "$(id -u)" = 0 ]; then
		"$@"
	elif command -v sudo >/dev/null; then
		sudo "$@"
	else
		bh_die "needs root for: $* (not root, and sudo is not installed)"
	fi
}

# True if the package is installed.
bh_installed() {
	[ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

bh_apt() {
	bh_as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=600 "$@" >&2
}

# Brings apt's package lists up to date, at most once in a run of a script.
bh_apt_update() {
	[ -z "${BH_APT_UPDATED:-}" ] || return 0
	bh_say "apt-get update"
	bh_apt update || return 1
	BH_APT_UPDATED=1
}

# bh_ensure_packages PACKAGE...: installs those that are missing. "a|b" is satisfied by either, and installs a
# unless only b exists in the configured sources.
bh_ensure_packages() {
	local want alt missing=() found lock names=()

	[ -e /etc/debian_version ] || bh_die "needs a Debian system (12 or newer)"
	for want in "$@"; do
		found=
		for alt in ${want//|/ }; do
			! bh_installed "$alt" || found=1
		done
		[ -n "$found" ] || missing+=("$want")
	done
	[ ${#missing[@]} -gt 0 ] || return 0

	bh_say "installing ${missing[*]}"
	exec {lock}>"$(bh_cache)/locks/apt.lock"
	flock "$lock"
	[ -n "$(apt-cache pkgnames base-files)" ] || bh_apt_update || bh_die "apt-get update failed"
	for want in "${missing[@]}"; do
		found=
		for alt in ${want//|/ }; do
			[ -n "$found" ] || ! apt-cache show "$alt" >/dev/null 2>&1 || found=$alt
		done
		names+=("${found:-${want%%|*}}")
	done
	# The first attempt may fail on old lists (a version that the archive no longer has).
	if ! bh_apt install --no-install-recommends "${names[@]}" {lock}>&-; then
		bh_apt_update || bh_die "apt-get update failed"
		bh_apt install --no-install-recommends "${names[@]}" {lock}>&- ||
			bh_die "cannot install ${names[*]}"
	fi
	exec {lock}>&-
}

# bh_help FILE: prints the head comment of a script, from the line after the licence to the first that is no comment.
bh_help() {
	sed -n '3,$ { /^#/!q; s/^# \{0,1\}//; p; }' "$1"
}

# bh_kernel NAME SERIES FLAVOUR: sets NAME_release, NAME_bzimage, NAME_vmlinux and NAME_modules from fetch-kernel.
bh_kernel() {
	local line answer

	answer=$("$BH_TOOLS/fetch-kernel" "$2" "$3") || return 1
	while IFS= read -r line; do
		printf -v "$1_${line%%=*}" '%s' "${line#*=}"
	done <<<"$answer"
}

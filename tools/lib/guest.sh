# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
#
# Shell functions for the init scripts of an initramfs that tools/make-initramfs made (busybox's shell).

# Mounts what every program expects.
mount_basics() {
	mount -t proc proc /proc
	mount -t sysfs sysfs /sys
	mount -t devtmpfs devtmpfs /dev
	mkdir -p /dev/pts /dev/shm
	mount -t devpts -o mode=620,ptmxmode=666 devpts /dev/pts
	mount -t tmpfs -o mode=1777 tmpfs /dev/shm
	mount -t tmpfs -o mode=755 tmpfs /run
}

# Loads the modules that the initramfs was made for, in their order. One that refuses is reported and passed over.
load_modules() {
	while read -r module; do
		insmod "$module" || echo "initramfs: cannot load $module"
	done </etc/modules.load
}

# kernel_argument NAME: prints the value of NAME= on the kernel's command line.
kernel_argument() {
	tr ' ' '\n' </proc/cmdline | while read -r word; do
		case $word in
		"$1="*) echo "${word#*=}" ;;
		esac
	done | tail -n 1
}

# has_kernel_argument WORD: true if WORD is on the kernel's command line.
has_kernel_argument() {
	tr ' ' '\n' </proc/cmdline | grep -qx "$1"
}

# wait_for_path PATH SECONDS: waits until something exists.
wait_for_path() {
	tenths=$(($2 * 10))
	until [ -e "$1" ]; do
		[ "$tenths" -gt 0 ] || return 1
		tenths=$((tenths - 1))
		sleep 0.1
	done
}

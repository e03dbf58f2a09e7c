# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# The first process of a test guest runs this; `test=NAME` on the command line says what it does.
# Every line that a test looks at starts with "guest: ".

# shellcheck source=/dev/null
. /lib/guest.sh # of the initramfs: kernel_argument

say() {
	echo "guest: $*"
}

# A counter in the first sector of /dev/vdb, so that a test can tell boots apart.
next_boot() {
	boot=$(($(dd if=/dev/vdb bs=512 count=1 2>/dev/null | tr -dc 0-9 | head -c 4) + 1))
	printf '%-512s' "$boot" | dd of=/dev/vdb bs=512 count=1 conv=fsync 2>/dev/null
	say "boot $boot"
}

mount_tools() {
	mkdir -p /tools
	grep -q ' /tools ' /proc/mounts || { mount -t ext4 -o ro "$tools" /tools && mount -o bind /dev /tools/dev; }
}

# in_tools PROGRAM ARGUMENT...: runs a program of the disk that linux/tools-disk made
in_tools() {
	mount_tools
	chroot /tools "$@"
}

verify() {
	# one job per CPU, so that every queue is used; block sizes are mixed and odd
	in_tools fio --name=verify --filename=/dev/vdb --rw=randwrite --bsrange=512-64k --blockalign=512 \
		--size="$1" --offset_increment="$1" --numjobs="$2" --cpus_allowed_policy=split \
		--cpus_allowed="0-$(($2 - 1))" --ioengine=libaio --iodepth=16 --direct=1 --thread \
		--fsync=64 --verify=crc32c --verify_fatal=1 --group_reporting >/tmp/fio 2>&1 ||
		{ cat /tmp/fio; return 1; }
}

# The rest is for disks whose processes die all the time; both loops go on until /stop exists.
# The number of a record is printed when it is on the disk.
keep_records() {
	n=1
	while [ ! -e /stop ]; do
		printf '%08d\n' "$n" | dd of="/tools/tmp/$1/records" oflag=append conv=notrunc,fsync 2>/dev/null ||
			{ say "failed: record $n of $1"; return; }
		say "record $1 $n"
		n=$((n + 1))
	done
}

keep_verifying() {
	n=1
	while [ ! -e /stop ]; do
		in_tools fio --name=chaos --filename="/tmp/$1/data" --rw=randwrite --bsrange=1k-64k --blockalign=1k \
			--size=4m --ioengine=libaio --iodepth=8 --direct=1 --thread --fsync=8 \
			--verify=crc32c --verify_fatal=1 >"/tmp/fio-$1" 2>&1 ||
			{ cat "/tmp/fio-$1"; say "failed: fio on $1"; return; }
		say "verified $1 $n"
		n=$((n + 1))
	done
}

kernel_errors() {
	dmesg | grep -E 'I/O error|critical .* error|EXT4-fs (error|warning)|JBD2.*rror|blocked for more than'
}

tools=$(kernel_argument tools)
cpus=$(grep -c ^processor /proc/cpuinfo)
case $(kernel_argument test) in
boot)
	say "kernel $(uname -r) cpus $cpus"
	say "disks $(echo /dev/vd?)"
	say "vda $(cat /sys/block/vda/ro) $(cat /sys/block/vda/size) $(head -c 8 /dev/vda)"
	say "vdb $(cat /sys/block/vdb/ro) $(cat /sys/block/vdb/size)"
	say "vdc $(cat /sys/block/vdc/ro) $(cat /sys/block/vdc/serial)"
	dd if=/dev/zero of=/dev/vdc bs=512 count=1 conv=fsync 2>/dev/null && say "vdc was written"
	case $(readlink -f /sys/block/vdb/device/..) in
	*pci*) say "bus pci" ;;
	*) say "bus mmio" ;;
	esac
	say "messages $(ls "$(readlink -f /sys/block/vdb/device/..)/msi_irqs" 2>/dev/null | wc -l)"
	say "queues $(find /sys/block/vdb/mq/* -maxdepth 0 | wc -l)"
	verify 3m "$cpus" && say "verified"
	;;
net)
	ip link set eth0 up
	say "mtu $(cat /sys/class/net/eth0/mtu)"
	say "pairs $(find /sys/class/net/eth0/queues/rx-* -maxdepth 0 | wc -l)"
	address=$(kernel_argument address)
	if [ -n "$address" ]; then
		ip addr add "$address" dev eth0
	else
		cat >/tmp/lease <<-'END'
			#!/bin/sh
			[ "$1" = bound ] || exit 0
			ip addr add "$ip/24" dev "$interface"
			ip route add default via "$router"
			echo "nameserver $dns" >/etc/resolv.conf
			echo "guest: lease $ip $router $dns"
		END
		chmod +x /tmp/lease
		udhcpc -i eth0 -n -q -s /tmp/lease >/dev/null 2>&1 && cat /etc/resolv.conf >/dev/null
		say "lease $(ip -4 addr show eth0 | sed -n 's/.*inet \([0-9.]*\).*/\1/p') $(ip route | sed -n 's/^default via \([0-9.]*\).*/\1/p') $(sed -n 's/^nameserver //p' /etc/resolv.conf)"
		say "name $(nslookup -type=a www.example 2>/dev/null | sed -n 's/^Address: //p' | tail -n 1)"
	fi
	fetched=none
	# not wget: a static one looks for the port of "http" in libraries that are not here
	printf 'GET / HTTP/1.0\r\n\r\n' | nc -w 20 "$(kernel_argument host)" "$(kernel_argument port)" >/tmp/reply
	[ -s /tmp/reply ] && fetched=$(tail -c "$(kernel_argument size)" /tmp/reply | sha256sum | cut -d' ' -f1)
	say "fetched $fetched"
	;;
shell)
	# Does what its standard input says, a line at a time.
	mount_tools
	mount -t tmpfs tmpfs /tools/tmp
	say "shell"
	n=0
	while read -r line; do
		n=$((n + 1))
		eval "$line" </dev/null
		say "done $n $?"
	done
	;;
discard)
	in_tools blkdiscard -o $((1 << 20)) -l $((1 << 20)) /dev/vdb && say "discarded"
	in_tools blkdiscard -z -o $((3 << 20)) -l $((1 << 20)) /dev/vdb && say "zeroed"
	;;
reboot)
	next_boot
	[ "$boot" -ge 3 ] || reboot -f
	;;
button)
	exec 3</dev/input/event0 # a press before this would be lost
	say "waiting for the button"
	dd bs=24 count=1 of=/dev/null 2>/dev/null <&3
	say "pressed"
	;;
memory)
	say "memory $(sed -n 's/MemTotal: *\([0-9]*\) kB/\1/p' /proc/meminfo)"
	say "end $(sed -n 's/ *spanned *//p' /proc/zoneinfo | tail -n 1)"
	;;
console)
	say "hwrng $(dd if=/dev/hwrng bs=64 count=4 2>/dev/null | wc -c) $(cat /sys/class/misc/hw_random/rng_current)"
	echo root::0:0:root:/:/bin/sh >/etc/passwd
	say "getty on hvc0"
	getty -L 115200 hvc0 vt100 &
	wait $!
	say "logged out"
	;;
wait)
	say "waiting"
	while read -r line; do
		say "read $line: $(dd if="$line" bs=4096 count=16 iflag=direct 2>&1 | tail -n 1)"
	done
	;;
vsock)
	# each line is a command of this shell
	modprobe vmw_vsock_virtio_transport
	mount_tools
	say "waiting"
	while read -r line; do
		eval "$line"
		say "status $?"
	done
	;;
chaos)
	mount_tools
	mount -t tmpfs tmpfs /tools/tmp
	for disk in a b; do
		mkdir "/tools/tmp/$disk"
		mount -t ext4 "/dev/vd$disk" "/tools/tmp/$disk" || say "failed: mount $disk"
		keep_records $disk &
		keep_verifying $disk &
	done
	while read -r line; do
		kernel_errors
		say "errors $(kernel_errors | wc -l)"
		[ "$line" != end ] || break
	done
	touch /stop
	wait
	for disk in a b; do
		umount "/tools/tmp/$disk" && say "unmounted $disk"
	done
	;;
esac

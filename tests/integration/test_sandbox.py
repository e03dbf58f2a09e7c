# SPDX-License-Identifier: Apache-2.0
"""Every property of every process, read from outside, and what ps says about it."""

import os
import subprocess
import sys

from harness import VM, Skip, expect, make_disk, scratch, status, wait_until

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../net"))
import peer  # noqa: E402

NAMESPACES = ["user", "mnt", "pid", "net", "ipc", "uts", "cgroup"]
OWN = ["user", "mnt", "pid", "ipc", "uts", "cgroup"]  # net: one empty one per VM


def a_tap():
    """Options of a NIC whose tap is in a network namespace of this test."""
    if os.geteuid() != 0:
        return ()
    peer.own_network()
    return ("--net", "tap=tap0")


def vm_with_devices(folder, *args, **kwargs):
    return VM(*a_tap(), "--disk", "path=" + make_disk(folder, "rw.img"),
              "--disk", "path=" + make_disk(folder, "ro.img") + ",readonly=on", "--rng",
              "--console", "pty",
              *args, **kwargs)


def each_child(check):
    with scratch() as folder, vm_with_devices(folder) as vm:
        vm.wait_for("probe: idle")
        for name, pid in vm.pids().items():
            check(vm, name, pid)


def test_status():
    def check(_, name, pid):
        for task in os.listdir(f"/proc/{pid}/task"):
            s = status(f"{pid}/task/{task}")
            expect(s["Seccomp"] == "2", f"{name}: Seccomp {s['Seccomp']}")
            expect(s["NoNewPrivs"] == "1", f"{name}: NoNewPrivs {s['NoNewPrivs']}")
            for caps in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
                expect(int(s[caps], 16) == 0, f"{name}: {caps} {s[caps]}")
            for ids in ("Uid", "Gid"):
                four = s[ids].split()
                expect(len(set(four)) == 1 and int(four[0]) >= 0x70000000, f"{name}: {ids} {four}")
            expect(s["Groups"] == "", f"{name}: Groups {s['Groups']}")
    each_child(check)


def test_threads():
    def check(_, name, pid):
        names = [open(f"/proc/{pid}/task/{t}/comm").read().strip()
                 for t in os.listdir(f"/proc/{pid}/task")]
        # KVM keeps a kernel thread of its own in the process that made the VM
        names = [n for n in names if not n.startswith("kvm-")]
        expect(len(names) == (2 if name == "core" else 1), f"{name}: {names}")
    each_child(check)


def test_namespaces():
    with scratch() as folder, vm_with_devices(folder) as vm:
        vm.wait_for("probe: idle")
        seen = {}
        everybody = {**vm.pids(), "warden": vm.process.pid}
        for name, pid in everybody.items():
            for ns in NAMESPACES:
                link = os.readlink(f"/proc/{pid}/ns/{ns}")
                if ns in OWN:
                    expect((ns, link) not in seen,
                           f"{name} shares its {ns} namespace with {seen.get((ns, link))}")
                    seen[(ns, link)] = name
                elif name != "warden":
                    expect(link != os.readlink(f"/proc/{vm.process.pid}/ns/{ns}"),
                           f"{name} is in the warden's {ns} namespace")


def test_setgroups_denied_and_single_id_maps():
    def check(_, name, pid):
        expect(open(f"/proc/{pid}/setgroups").read().strip() == "deny", f"{name}: setgroups")
        for ids in ("uid_map", "gid_map"):
            lines = open(f"/proc/{pid}/{ids}").read().split("\n")[:-1]
            expect(len(lines) == 1 and lines[0].split()[2] == "1", f"{name}: {ids} {lines}")
    each_child(check)


def test_net_namespace_is_empty():
    def check(_, name, pid):
        out = subprocess.run(["nsenter", "-t", str(pid), "-n", "cat", "/proc/net/dev"],
                             capture_output=True, text=True, check=True).stdout
        interfaces = [line.split(":")[0].strip() for line in out.split("\n")[2:] if line]
        # /proc/net of the caller's mount is of the entered namespace only through /proc/self
        inside = open(f"/proc/{pid}/net/dev").read().split("\n")[2:]
        names = [line.split(":")[0].strip() for line in inside if line]
        expect(names == ["lo"], f"{name}: {names} (and {interfaces})")
    each_child(check)


def test_empty_root():
    def check(_, name, pid):
        expect(os.listdir(f"/proc/{pid}/root/") == [], f"{name}: root is not empty")
        expect(os.readlink(f"/proc/{pid}/cwd") == "/", f"{name}: cwd")
        mounts = open(f"/proc/{pid}/mountinfo").read().split("\n")[:-1]
        expect(len(mounts) == 1, f"{name}: {mounts}")
        options = set(mounts[0].split()[5].split(","))
        expect({"ro", "nosuid", "nodev", "noexec"} <= options, f"{name}: {options}")
    each_child(check)


def fd_targets(pid):
    return sorted(os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd"))


def kind(target):
    for prefix in ("socket", "pipe", "anon_inode:", "/memfd", "/dev/null"):
        if target.startswith(prefix):
            return target.split(":[")[0] if prefix in ("socket", "pipe") else target
    return "disk" if target.endswith(".img") else target


def test_exact_fds_of_blk():
    # the pipe is libevent's own: both ends are in this process
    allowed = {"/dev/null", "socket", "anon_inode:[eventpoll]", "anon_inode:[eventfd]",
               "anon_inode:[io_uring]", "disk", "pipe"}

    def check(_, name, pid):
        if not name.startswith("blk"):
            return
        kinds = [kind(t) for t in fd_targets(pid)]
        expect(set(kinds) <= allowed, f"{name}: {kinds}")
        expect(kinds.count("socket") == 1, f"{name}: {kinds.count('socket')} sockets")
        expect(kinds.count("disk") == 1, f"{name}: {kinds.count('disk')} disks")
        for fd in os.listdir(f"/proc/{pid}/fd"):
            if os.readlink(f"/proc/{pid}/fd/{fd}").endswith("ro.img"):
                info = open(f"/proc/{pid}/fdinfo/{fd}").read()
                flags = int(next(ln for ln in info.split("\n") if ln.startswith("flags")).split()[1], 8)
                expect(flags & os.O_ACCMODE == os.O_RDONLY, f"{name}: read-only disk, flags {flags:o}")
    each_child(check)


def exact_fds(name, allowed, *args, **kwargs):
    """The device's fds are of these kinds; (kind, n): exactly n of them."""
    with scratch() as folder, VM(*[a.format(folder) for a in args], **kwargs) as vm:
        vm.wait_for("probe: idle")
        kinds = [kind(t) for t in fd_targets(vm.row(name)["pid"])]
        common = ["/dev/null", "socket", "anon_inode:[eventpoll]", "anon_inode:[eventfd]", "pipe"]
        expect(set(kinds) <= set(common) | set(dict(allowed)), f"{name}: {kinds}")
        for wanted, n in {"socket": 1, **dict(allowed)}.items():
            expect(kinds.count(wanted) == n, f"{name}: {kinds.count(wanted)} {wanted} of {kinds}")


def test_exact_fds_of_rng():
    exact_fds("rng", [], "--rng")
    exact_fds("rng", [("/dev/zero", 1)], "--rng", "src=/dev/zero")


def test_exact_fds_of_console():
    signal = ("anon_inode:[signalfd]", 1)
    exact_fds("console", [], "--console", "null")
    exact_fds("console", [("/dev/ptmx", 2), signal], "--console", "pty")
    exact_fds("console", [("disk", 1)], "--console", "file={}/out.img")
    exact_fds("console", [("socket", 2)], "--console", "socket={}/console")


def test_exact_fds_of_net():
    nic = a_tap()
    if not nic:
        raise Skip("a tap needs root")
    exact_fds("net0", [("/dev/net/tun", 1)], *nic)
    exact_fds("net0", [("/dev/net/tun", 2)], "--net", "tap=tap1,num_queues=4", cpus="boot=2")
    # no connection, no forwarded port: the channel is its only socket
    exact_fds("net0", [], "--net", "mode=user")


def test_exact_fds_of_iommu():
    exact_fds("iommu", [], "--rng", "iommu=on")
    exact_fds("rng", [], "--rng", "iommu=on")


def shared_maps(pid):
    """{name: modes} of the memory that this process shares with others."""
    maps = {}
    for line in open(f"/proc/{pid}/maps"):
        if "/memfd:bulkhead-iommu" in line:
            words = line.split()
            maps.setdefault(words[5].removeprefix("/memfd:"), []).append(words[1])
    return maps


def test_who_may_write_to_the_memory_of_the_iommu():
    with scratch() as folder:
        disks = [make_disk(folder, name) for name in ("a.img", "b.img")]
        os.chmod(folder, 0o755)  # bulkhead-vsock has a uid of its own
        with VM("--disk", f"path={disks[0]},iommu=on", "--disk", f"path={disks[1]}",
                "--rng", "iommu=on", "--console", "null,iommu=on", "--net", "mode=user,iommu=on",
                "--vsock", f"cid=3,socket={folder}/v.sock,iommu=on") as vm:
            vm.wait_for("probe: idle")
            pids = vm.pids()
            behind = ("blk0", "rng", "console", "net0", "vsock")
            for name in behind:
                expect(shared_maps(pids[name]) == {"bulkhead-iommu-table": ["r--s"],
                                                   "bulkhead-iommu-page": ["rw-s"]},
                       f"{name}: {shared_maps(pids[name])}")
            expect(shared_maps(pids["iommu"]) == {"bulkhead-iommu-table": ["rw-s"],
                                                  "bulkhead-iommu-page": ["r--s"] * len(behind)},
                   f"iommu: {shared_maps(pids['iommu'])}")
            for name in ("blk1", "core"):
                expect(shared_maps(pids[name]) == {}, f"{name}: {shared_maps(pids[name])}")
            # and none of them could change that: no fd of that memory is left open
            for name in ("blk0", "rng", "console", "net0", "iommu"):
                expect(not any("memfd" in t for t in fd_targets(pids[name])),
                       f"{name}: {fd_targets(pids[name])}")


def test_exact_fds_of_core():
    def check(_, name, pid):
        if name != "core":
            return
        for target in fd_targets(pid):
            ok = (target.startswith(("socket:", "anon_inode:[event", "anon_inode:[timerfd]",
                                     "anon_inode:kvm", "/memfd:", "pipe:", "/dev/null"))
                  or target.endswith(("/probe.elf", "/uids")))
            expect(ok, f"core holds {target}")
            expect(not target.endswith(".img"), f"core holds {target}")
    each_child(check)


def test_no_write_and_execute():
    def check(_, name, pid):
        for line in open(f"/proc/{pid}/maps"):
            mode = line.split()[1]
            expect(not ("w" in mode and "x" in mode), f"{name}: {line.strip()}")
            expect(not ("x" in mode and "s" in mode), f"{name}: {line.strip()}")
    each_child(check)


def test_not_dumpable():
    def check(_, name, pid):
        expect(os.stat(f"/proc/{pid}/mem").st_uid == 0, f"{name}: /proc/{pid}/mem is its own")
        limits = open(f"/proc/{pid}/limits").read()
        core = next(ln for ln in limits.split("\n") if ln.startswith("Max core"))
        expect(core.split()[4:6] == ["0", "0"], f"{name}: {core}")
    each_child(check)


def test_limits_of_blk():
    def check(_, name, pid):
        if not name.startswith("blk"):
            return
        limits = {ln[:25].strip(): ln[26:].split()[:2]
                  for ln in open(f"/proc/{pid}/limits").read().split("\n")[1:-1]}
        # seccomp allows no clone; the few are the kernel's own workers behind the ring
        expect(int(limits["Max processes"][1]) <= 9, f"{name}: {limits['Max processes']}")
        size = str(1 << 20)
        expect(limits["Max file size"][0] in (size, "0"), f"{name}: {limits['Max file size']}")
        expect(int(limits["Max open files"][0]) <= 256, f"{name}: {limits['Max open files']}")
    each_child(check)


def test_limits_of_rng_console_and_net():
    def check(_, name, pid):
        if name not in ("rng", "console", "net0"):
            return
        limits = {ln[:25].strip(): ln[26:].split()[:2]
                  for ln in open(f"/proc/{pid}/limits").read().split("\n")[1:-1]}
        for what, most in (("Max processes", 0), ("Max file size", 0), ("Max locked memory", 0),
                           ("Max open files", 40)):  # of net too, with one pair
            expect(int(limits[what][1]) <= most, f"{name}: {what} {limits[what]}")
    each_child(check)


def test_environment_is_empty():
    def check(_, name, pid):
        expect(open(f"/proc/{pid}/environ", "rb").read() == b"", f"{name}: environment")
    each_child(check)


def test_layout_differs():
    with scratch() as folder, vm_with_devices(folder) as vm:
        vm.wait_for("probe: idle")
        pids = vm.pids().values()
        bases = {open(f"/proc/{pid}/maps").readline().split("-")[0] for pid in pids}
        expect(len(bases) == len(pids), f"load addresses {bases}")


def test_guest_memory_is_sealed():
    def check(_, name, pid):
        if name != "core":
            return
        import fcntl
        for fd in os.listdir(f"/proc/{pid}/fd"):
            if os.readlink(f"/proc/{pid}/fd/{fd}").startswith("/memfd:"):
                with open(f"/proc/{pid}/fd/{fd}", "rb") as memfd:
                    seals = fcntl.fcntl(memfd, fcntl.F_GET_SEALS)
                expect(seals & 0x7 == 0x7, f"seals {seals:x}")
    each_child(check)


def untruth(rows):
    """What ps says and /proc does not; None when they agree."""
    for row in rows:
        s = status(row["pid"])
        if row["uid"] != int(s["Uid"].split()[0]) or row["gid"] != int(s["Gid"].split()[0]):
            return f"{row} but {s['Uid']} {s['Gid']}"
        if row["role"] != "warden" and row["seccomp"] != "filter":
            return f"{row} but {s['Seccomp']}"
        if row["fds"] != len(os.listdir(f"/proc/{row['pid']}/fd")):
            return f"{row} but {fd_targets(row['pid'])}"
    return None


def test_ps_tells_the_truth():
    with scratch() as folder, vm_with_devices(folder) as vm:
        vm.wait_for("probe: idle")
        rows = vm.ps()
        expect([r["role"] for r in rows].count("warden") == 1, str(rows))
        expect({r["name"] for r in rows} >= {"core", "blk0", "blk1", "rng"}, str(rows))
        for row in rows:
            for key in ("name", "role", "pid", "uid", "gid", "state", "restarts", "rss", "pss",
                        "seccomp", "caps", "namespaces", "fds"):
                expect(key in row, f"no {key} in {row}")
        # a file may be open for a moment in one of the two looks
        wait_until(lambda: untruth(vm.ps()) is None, f"agreement: {untruth(vm.ps())}", 20)


def test_sandbox_check_tool():
    with scratch() as folder, vm_with_devices(folder) as vm:
        vm.wait_for("probe: idle")
        tool = os.path.join(os.path.dirname(__file__), "../../tools/sandbox-check")
        done = subprocess.run([tool, "--name", vm.name], capture_output=True, text=True, timeout=60)
        expect(done.returncode == 0, done.stdout + done.stderr)

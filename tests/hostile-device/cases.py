# SPDX-License-Identifier: Apache-2.0
"""What the evil disk does, and what has to come of it.

START: the process misbehaves before the VM runs; the start fails, for a reason that matches.
CONDEMNED: it misbehaves while the VM runs, after the commands of probe=drive; it is killed, or has
died, for a reason that matches.
HARMLESS: it does something odd or vain; it lives on, and serves.
"""

import collections

Case = collections.namedtuple("Case", "mode reason commands smp ctl")

CLOSED = r"closed its channel|exit \d|SIGSEGV|SIGKILL"
NOT_PERMITTED = r"is not permitted now"
MALFORMED = r"malformed message"
LATE = r"did not answer in time"
NOT_READY = r"did not become ready in time"


def start(mode, reason):
    return Case(mode, reason, "", False, ())


def condemned(mode, reason, commands="s", smp=False, ctl=()):
    return Case(mode, reason, commands, smp, ctl)


def harmless(mode, commands="s", smp=False, ctl=()):
    return Case(mode, None, commands, smp, ctl)


# How each end shows in ps; the start reports whichever of its signs was seen first.
ENDS = {
    "exit0": "^exit 0", "exit1": "^exit 1", "segv": "^SIGSEGV", "orphans": "^exit 1",
    "close": "^SIGKILL: closed its channel", "half-close": "^SIGKILL: closed its channel",
}

# Forged messages of the core, the warden and bulkheadctl, and replies that nobody asked for.
FORGED = {
    "condemn": NOT_PERMITTED, "child-added": NOT_PERMITTED, "child-gone": NOT_PERMITTED,
    "vm-state": NOT_PERMITTED, "control-request": NOT_PERMITTED, "log": NOT_PERMITTED,
    "core-failed": NOT_PERMITTED, "core-start": MALFORMED, "setup": NOT_PERMITTED,
    "enable-queue": NOT_PERMITTED, "reset": NOT_PERMITTED, "pause": NOT_PERMITTED,
    "resume": NOT_PERMITTED, "ping": NOT_PERMITTED, "power-button": NOT_PERMITTED,
    "reboot": NOT_PERMITTED, "core-ready": NOT_PERMITTED, "set-features": NOT_PERMITTED,
    "disable-queue": NOT_PERMITTED, "get-counters": NOT_PERMITTED, "counters": NOT_PERMITTED,
    "config-written": NOT_PERMITTED, "child-offered": NOT_PERMITTED,
    "child-released": NOT_PERMITTED, "child-traced": NOT_PERMITTED, "drain": NOT_PERMITTED,
    "stalled": NOT_PERMITTED, "refused": NOT_PERMITTED, "revive": NOT_PERMITTED,
    "device-state": NOT_PERMITTED, "namespaces": NOT_PERMITTED, "adjust": NOT_PERMITTED,
    "endpoint": NOT_PERMITTED, "endpoint-stalled": NOT_PERMITTED, "vsock-connect": NOT_PERMITTED,
    "control-reply": NOT_PERMITTED,
}

FRAMES = {
    "unknown": MALFORMED, "no-body": MALFORMED, "two-bodies": MALFORMED,
    "oversized": "frame is too long", "longest": MALFORMED, "truncated": MALFORMED,
    "random": MALFORMED, "empty-frame": CLOSED,
    "fds-1": MALFORMED, "fds-16": MALFORMED, "fds-17": "too many descriptors",
    "fds-253": "too many descriptors|descriptors were lost",
    "fds-254": "too many descriptors|descriptors were lost",
    "fds-empty": "empty frame with descriptors",
    "generation": "of generation 2 instead of 1", "no-generation": "of generation 0",
}

START = (
    [start(f"{step}:{action}", CLOSED) for step in ("hello", "setup", "mapped") for action in ENDS]
    + [start(f"{step}:silence", NOT_READY) for step in ("hello", "setup", "mapped")]
    + [start(f"{step}:{action}", reason)
       for step in ("hello", "mapped")
       for action, reason in FRAMES.items()]
    + [start(f"setup:{action}", reason) for action, reason in FORGED.items()]
    + [
        start("hello:ready", NOT_PERMITTED),
        start("hello:protocol", "another protocol version"),
        start("hello:protocol-none", MALFORMED),
        start("hello:type-vsock", "another type of device"),
        start("hello:type-none", MALFORMED),
        start("hello:type-unknown", MALFORMED),
        start("hello:features-none", MALFORMED),
        start("hello:queues-none", MALFORMED),
        start("hello:queues-65", MALFORMED),
        start("hello:queues-huge", MALFORMED),
        start("hello:queues-wrap", MALFORMED),
        start("hello:size-none", MALFORMED),
        start("hello:size-3", MALFORMED),
        start("hello:size-2048", MALFORMED),
        start("hello:size-huge", MALFORMED),
        start("hello:config-257", MALFORMED),
        start("hello:config-60000", MALFORMED),
        start("hello:writable-257", MALFORMED),
        start("hello:writable-beyond", "config space out of range|" + MALFORMED),
        start("hello:twice", NOT_PERMITTED),
        start("mapped:again", NOT_PERMITTED),
        start("mapped:reply-unasked", NOT_PERMITTED),
        start("mapped:config-beyond", NOT_PERMITTED),
        start("hello:flood-config", NOT_PERMITTED),
        start("mapped:flood-reply", NOT_PERMITTED),
        start("mapped:flood-ping", NOT_PERMITTED),
        start("hello:failed", r"\?\[2Jbroken\?bulkhead: core: forged line"),
        start("mapped:failed", r"\?\[2Jbroken\?bulkhead: core: forged line"),
    ]
)

CONDEMNED = (
    [condemned(f"{step}:{action}", reason, "k") for step in ("features", "enable", "request")
     for action, reason in ENDS.items()]
    + [condemned(f"served:{action}", reason) for action, reason in ENDS.items()]
    + [condemned(f"reset:{action}", reason, "sr") for action, reason in ENDS.items()]
    + [condemned(f"{step}:silence", LATE, "s", smp=True) for step in ("features", "enable")]
    + [condemned(f"served:{action}", reason) for action, reason in FRAMES.items()]
    + [condemned(f"served:{action}", reason) for action, reason in FORGED.items()]
    + [
        # hung in every way that the driver can notice
        condemned("reset:silence", LATE, "sr", smp=True),
        condemned("request:silence", LATE, "kr", smp=True),
        condemned("served:silence", LATE, "sr", smp=True),
        condemned("config:silence", "does not read its messages", "sw", smp=True),
        condemned("served:silence", "does not read its messages", "sw", smp=True),
        condemned("reset:reply-late", LATE, "sr", smp=True),
        condemned("reset:reply-none", LATE, "sr", smp=True),
        condemned("reset:drip", LATE, "sr", smp=True),
        condemned("enable:reply-none", LATE, "s", smp=True),
        condemned("features:reply-late", LATE, "s", smp=True),
        condemned("pause:silence", LATE, "s", ctl=("pause", "resume")),
        condemned("pause:exit1", CLOSED, "s", ctl=("pause", "resume")),
        condemned("pause:reply-refuse", "refused PAUSE", "s", ctl=("pause", "resume")),
        # messages
        condemned("served:ready", NOT_PERMITTED),
        condemned("enable:ready", NOT_PERMITTED),
        condemned("served:again", NOT_PERMITTED),
        condemned("served:reply-unasked", "REPLY to nothing"),
        condemned("served:reply-negative", MALFORMED),
        condemned("reset:reply-wrong", "REPLY to nothing", "sr"),
        condemned("enable:reply-wrong", "REPLY to nothing"),
        condemned("reset:reply-twice", "REPLY to nothing", "sr"),
        condemned("features:reply-twice", "REPLY to nothing"),
        condemned("reset:reply-negative", MALFORMED, "sr"),
        condemned("reset:reply-huge", MALFORMED, "sr"),
        condemned("reset:reply-refuse", "refused RESET", "sr"),
        condemned("served:failed", r"\?\[2Jbroken\?bulkhead"),
        condemned("served:flood-config", "messages per second"),
        condemned("served:flood-needs-reset", "messages per second"),
        condemned("reset:flood-config", "messages per second", "sr"),
        condemned("served:flood-reply", "REPLY to nothing"),
        condemned("served:flood-ping", NOT_PERMITTED),
        condemned("served:config-beyond", "leaves config space"),
        condemned("served:config-wraps", MALFORMED),
        condemned("config:truncated", MALFORMED, "sw"),
    ]
)

HARMLESS = [
    harmless("hello:honest"),
    harmless("hello:features-all"),
    harmless("hello:ready-at-once"),
    harmless("reset:slow", "sr", smp=True),
    harmless("features:slow", smp=True),
    harmless("served:chatter"),
    harmless("served:needs-reset"),
    harmless("enable:reply-refuse"),
    harmless("features:reply-refuse"),
    harmless("served:page-ones"),
    harmless("served:page-zero"),
    harmless("served:page-log"),
    harmless("served:page-race"),
    harmless("served:page-file"),
    harmless("served:page-punch"),
    harmless("served:log-flood"),
    harmless("served:storm"),
    harmless("served:call-full"),
    harmless("enable:kick-full"),
    harmless("served:ram-file"),
    harmless("served:ram-punch"),
    harmless("mapped:ram-exec"),
]

# What evil-iommu writes into the table of mappings, in the order of its acts; a letter for each is
# the command that has it done. None: some reads may find what an honest table would say.
IOMMU = [Case(mode, result, chr(ord("A") + i), False, ()) for i, (mode, result) in enumerate([
    ("loop", "fails"), ("beyond", "fails"), ("outside-ram", "fails"), ("wrap", "fails"),
    ("inverted", "fails"), ("overlap", None), ("not-permitted", "fails"),
    ("backwards", "fails"), ("ones", "fails"), ("zero", "fails"), ("torn", None),
])]

# A process that is to continue where an honest one ended, or is made ready beside it.
START_AGAIN = [
    ("hello:exit1", CLOSED), ("hello:silence", NOT_READY), ("hello:truncated", MALFORMED),
    ("hello:oversized", "frame is too long"), ("hello:unknown", MALFORMED),
    ("hello:fds-16", MALFORMED), ("hello:no-generation", "of generation 0"),
    ("hello:type-vsock", "another type of device"), ("hello:features-all", "differs from what"),
    ("hello:ready", NOT_PERMITTED), ("hello:twice", NOT_PERMITTED),
    ("setup:child-released", NOT_PERMITTED), ("setup:needs-reset", NOT_PERMITTED),
    ("mapped:segv", CLOSED), ("mapped:reply-unasked", NOT_PERMITTED),
    ("mapped:failed", r"\?\[2Jbroken"),
]
SUCCESSOR = [condemned(mode, reason) for mode, reason in START_AGAIN] + [
    condemned("features:exit0", CLOSED),
    condemned("features:ready", NOT_PERMITTED),
    condemned("features:reply-refuse", "refused to take over"),
    condemned("features:reply-twice", "REPLY to nothing"),
    condemned("features:silence", NOT_READY),
    condemned("features:truncated", MALFORMED),
    condemned("enable:refused", NOT_PERMITTED),
    condemned("enable:reply-negative", MALFORMED),
    condemned("enable:reply-refuse", "refused to take over"),
    condemned("enable:reply-none", NOT_READY),
]
CANDIDATE = [condemned(mode, reason) for mode, reason in START_AGAIN if reason != NOT_READY]

REBOOT = [condemned("reset:silence", LATE), condemned("reset:reply-none", LATE),
          condemned("reset:exit1", "^exit 1")]

ENDED = [start(f"{step}:silence", "ended by SIGTERM") for step in ("hello", "setup", "mapped")]

# Ways to end the VM while a vCPU waits for the device.
POWERED_OFF = [condemned("reset:silence", None, "sr", smp=True),
               condemned("enable:silence", None, "s", smp=True)]

KILLED = [condemned("reset:silence", "killed by a second signal", "sr", smp=True),
          condemned("enable:silence", "killed by a second signal", "s", smp=True)]

ORPHANED = [condemned("reset:silence", None, "sr", smp=True),
            condemned("request:silence", None, "k", smp=True),
            condemned("served:orphans", None, "s"),
            condemned("served:page-race", None, "s")]

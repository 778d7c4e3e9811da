"""The system calls that are taken from a program, and why. Part of what the sandbox starts: standard library only."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

NEWEST_KNOWN = 462
"""A later kernel's calls have greater numbers and are refused unseen."""


class Rule:
    """A call that is refused: always, or unless an argument has one of some values, or where it has a value or bits.

    A hidden one is answered as by a kernel that lacks it, so that the C library takes another way.
    """

    def __init__(
        self,
        name: str,
        *,
        argument: int | None = None,
        only: tuple[int, ...] = (),
        never: tuple[int, ...] = (),
        bits: int = 0,
        hidden: bool = False,
    ) -> None:
        self.name = name
        self.argument = argument
        self.only = only
        self.never = never
        self.bits = bits
        self.hidden = hidden


_ALWAYS = {
    "the network, and sockets of other programs": "socket connect bind listen",
    "other processes' memory": "ptrace process_vm_readv process_vm_writev process_madvise pidfd_getfd kcmp",
    "other processes' pace and places": "setpriority ioprio_set migrate_pages move_pages process_mrelease",
    "its process group, which is killed whole": "setsid setpgid",
    "namespaces and mounts": (
        "unshare setns mount umount2 pivot_root chroot "
        "move_mount open_tree fsopen fsconfig fsmount fspick mount_setattr"
    ),
    "memory and messages that no limit counts": "memfd_create memfd_secret shmget shmat msgget semget mq_open",
    "ways round the check of a path": "open_by_handle_at name_to_handle_at",
    "what others do with their files": "inotify_add_watch fanotify_init",
    "doors into the kernel that were often broken": (
        "keyctl add_key request_key bpf userfaultfd io_uring_setup io_uring_enter io_uring_register perf_event_open "
        "personality modify_ldt lookup_dcookie"
    ),
    "the machine": (
        "kexec_load kexec_file_load init_module finit_module delete_module reboot swapon swapoff sethostname "
        "setdomainname settimeofday clock_settime clock_adjtime adjtimex acct quotactl quotactl_fd syslog iopl ioperm "
        "vhangup"
    ),
}
_OWNERS_RIGHTS = (
    "chmod fchmod fchmodat fchmodat2 chown fchown lchown fchownat utime utimes futimesat utimensat "
    "setxattr lsetxattr fsetxattr removexattr lremovexattr fremovexattr"
)
"""Landlock does not govern these: a program that runs as the user could do them to the user's files."""
_SIGNALS_TO_OTHERS = "tkill rt_sigqueueinfo rt_tgsigqueueinfo pidfd_send_signal"

_NEW_NAMESPACES = 0x7E02_0000
_UNIX, _STREAM, _CLOSE_ON_EXEC, _NONBLOCKING = 1, 1, 0x80000, 0x800
_SET_DEATH_SIGNAL, _SET_DUMPABLE = 1, 4
_SET_OWNER, _SET_OWNER_EX = 8, 15
_PUSH_INPUT, _LINUX_CONSOLE, _SET_FILE_OWNER, _SET_SOCKET_OWNER = 0x5412, 0x541C, 0x8901, 0x8902


def rules(*, shares_user: bool, shares_files: bool, landlock_version: int) -> Iterator[Rule]:
    """The rules for this process: stricter where it runs as the user whose processes, or also files, lie about."""
    for names in _ALWAYS.values():
        yield from map(Rule, names.split())
    yield Rule("clone", argument=0, bits=_NEW_NAMESPACES)
    yield Rule("clone3", hidden=True)  # its flags lie in memory, which a filter cannot read
    # A pair of streams is tied to itself; a datagram socket could still be sent from to any path.
    yield Rule("socketpair", argument=0, only=(_UNIX,))
    yield Rule(
        "socketpair",
        argument=1,
        only=tuple(_STREAM | flags for flags in (0, _CLOSE_ON_EXEC, _NONBLOCKING, _CLOSE_ON_EXEC | _NONBLOCKING)),
    )
    yield Rule("fallocate", argument=1, only=(0,))  # in other modes no limit on a file's size holds
    # Its own only, which is number 0: the limits and the scheduling of others are the user's.
    for name in ("prlimit64", "sched_setaffinity", "sched_setscheduler", "sched_setparam", "sched_setattr"):
        yield Rule(name, argument=0, only=(0,))
    yield Rule("prctl", argument=0, never=(_SET_DEATH_SIGNAL, _SET_DUMPABLE))
    # The owner of a file descriptor gets a signal, which may be any.
    yield Rule("fcntl", argument=1, never=(_SET_OWNER, _SET_OWNER_EX))
    yield Rule("ioctl", argument=1, never=(_PUSH_INPUT, _LINUX_CONSOLE, _SET_FILE_OWNER, _SET_SOCKET_OWNER))
    if shares_files:
        yield from map(Rule, _OWNERS_RIGHTS.split())
        if landlock_version < 3:
            yield Rule("truncate")
    if shares_user and landlock_version < 6:
        yield from map(Rule, _SIGNALS_TO_OTHERS.split())
        for name in ("kill", "tgkill"):
            yield Rule(name, argument=0, only=(os.getpid(),))  # as abort() does


_TABLE = """
socket 41 198, connect 42 203, bind 49 200, listen 50 201, ptrace 101 117, process_vm_readv 310 270,
process_vm_writev 311 271, process_madvise 440 440, pidfd_getfd 438 438, kcmp 312 272, setpriority 141 140,
ioprio_set 251 30, migrate_pages 256 238, move_pages 279 239, process_mrelease 448 448, setsid 112 157,
setpgid 109 154, unshare 272 97, setns 308 268, mount 165 40, umount2 166 39, pivot_root 155 41, chroot 161 51,
move_mount 429 429, open_tree 428 428, fsopen 430 430, fsconfig 431 431, fsmount 432 432, fspick 433 433,
mount_setattr 442 442, memfd_create 319 279, memfd_secret 447 447, shmget 29 194, shmat 30 196, msgget 68 186,
semget 64 190, mq_open 240 180, open_by_handle_at 304 265, name_to_handle_at 303 264, inotify_add_watch 254 27,
fanotify_init 300 262, keyctl 250 219, add_key 248 217, request_key 249 218, bpf 321 280, userfaultfd 323 282,
io_uring_setup 425 425, io_uring_enter 426 426, io_uring_register 427 427, perf_event_open 298 241,
personality 135 92, modify_ldt 154 -, lookup_dcookie 212 18, kexec_load 246 104, kexec_file_load 320 294,
init_module 175 105, finit_module 313 273, delete_module 176 106, reboot 169 142, swapon 167 224, swapoff 168 225,
sethostname 170 161, setdomainname 171 162, settimeofday 164 170, clock_settime 227 112, clock_adjtime 305 266,
adjtimex 159 171, acct 163 89, quotactl 179 60, quotactl_fd 443 443, syslog 103 116, iopl 172 -, ioperm 173 -,
vhangup 153 58, clone 56 220, clone3 435 435, socketpair 53 199, fallocate 285 47, prlimit64 302 261,
sched_setaffinity 203 122, sched_setscheduler 144 119, sched_setparam 142 118, sched_setattr 314 274, prctl 157 167,
fcntl 72 25, ioctl 16 29, chmod 90 -, fchmod 91 52, fchmodat 268 53, fchmodat2 452 452, chown 92 -, fchown 93 55,
lchown 94 -, fchownat 260 54, utime 132 -, utimes 235 -, futimesat 261 -, utimensat 280 88, setxattr 188 5,
lsetxattr 189 6, fsetxattr 190 7, removexattr 197 14, lremovexattr 198 15, fremovexattr 199 16, truncate 76 45,
kill 62 129, tkill 200 130, rt_sigqueueinfo 129 138, rt_tgsigqueueinfo 297 240, pidfd_send_signal 424 424,
tgkill 234 131
"""
NUMBERS: dict[str, tuple[int | None, int | None]] = {
    name: (None if x86_64 == "-" else int(x86_64), None if aarch64 == "-" else int(aarch64))
    for name, x86_64, aarch64 in map(str.split, _TABLE.split(","))
}
"""Each call's number on x86_64 and on aarch64, None where it has none."""

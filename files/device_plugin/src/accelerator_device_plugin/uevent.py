# SPDX-License-Identifier: Apache-2.0
"""The kernel's uevents: the news of drivers that do not notify their attributes.

They need no capability, but reach only network namespaces that belong to the first user namespace: a pod with
`hostUsers: false` hears none. So they come on top of inotify, and nothing depends on them.
"""

from __future__ import annotations

import errno
import fnmatch
import logging
import os
import socket

_log = logging.getLogger(__name__)
_NETLINK_KOBJECT_UEVENT = 15  # <linux/netlink.h>
_KERNEL = 1  # the multicast group of the kernel's own messages; udev's are in another
_BUFFER = 1 << 20  # bytes; a node that starts many containers makes many events at once


def listen() -> socket.socket | None:
    try:
        events = socket.socket(
            socket.AF_NETLINK, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, _NETLINK_KOBJECT_UEVENT
        )
    except OSError as error:
        _tell(error)
        return None
    try:
        events.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        events.bind((0, _KERNEL))
    except OSError as error:
        events.close()
        _tell(error)
        return None
    return events


def concerns(message: bytes, pattern: str) -> bool:
    """Whether a uevent is about a device node that `pattern` (an absolute path) names."""
    for field in message.split(b"\0"):
        key, _equals, value = field.partition(b"=")
        if key == b"DEVNAME":
            return fnmatch.fnmatchcase("/dev/" + os.fsdecode(value), pattern)
    return False


def news(events: socket.socket, pattern: str) -> bool:
    """Takes all that waits in the socket; whether any of it concerns us. What was lost counts as ours.

    Raises OSError when the socket is of no use.
    """
    found = False
    while True:
        try:
            found = concerns(events.recv(65536), pattern) or found
        except BlockingIOError:
            return found
        except OSError as error:
            if error.errno != errno.ENOBUFS:  # which is: there were more than the buffer holds
                raise
            found = True


def _tell(error: OSError) -> None:
    _log.info("no uevents: %s; devices are watched by inotify and at the interval", error.strerror)

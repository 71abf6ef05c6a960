// SPDX-License-Identifier: GPL-2.0-only
/* Compiles with every kernel: shows that the headers of the other probes are there. */
#include <linux/device.h>
#include <linux/fs.h>

struct class ptemplate_probe = {.name = "probe"};

// SPDX-License-Identifier: GPL-2.0-only
/* Does struct class.devnode take a const struct device? Mainline does since 6.2. */
#include <linux/device.h>

static char *probe_devnode(const struct device *dev, umode_t *mode)
{
	return NULL;
}

struct class ptemplate_probe = {.name = "probe", .devnode = probe_devnode};

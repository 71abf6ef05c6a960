// SPDX-License-Identifier: GPL-2.0-only
/*
 * The sysfs attributes of a device: health, reset and statistics/. A removal waits for whoever is
 * in one while it holds plug, so none of them waits.
 */
#include <linux/device.h>
#include <linux/kernel.h>
#include <linux/sysfs.h>

#include "ptemplate_driver.h"

static ssize_t health_show(struct device *node, struct device_attribute *attribute, char *text)
{
	const struct ptemplate_device *ptdev = dev_get_drvdata(node);

	return sysfs_emit(text, "%s\n", ptemplate_health_name(READ_ONCE(ptdev->fault)));
}
static DEVICE_ATTR_RO(health);

static ssize_t reset_store(struct device *node, struct device_attribute *attribute,
			   const char *text, size_t size)
{
	bool wanted;
	int err;

	err = kstrtobool(text, &wanted);
	if (err)
		return err;
	if (!wanted)
		return -EINVAL;
	err = ptemplate_reset_unused(dev_get_drvdata(node));
	return err ? err : size;
}
static DEVICE_ATTR_WO(reset);

struct counter_attribute {
	struct device_attribute attribute;
	enum ptemplate_counter counter;
};

static ssize_t counter_show(struct device *node, struct device_attribute *attribute, char *text)
{
	const struct ptemplate_device *ptdev = dev_get_drvdata(node);
	const struct counter_attribute *shown =
		container_of(attribute, struct counter_attribute, attribute);

	return sysfs_emit(text, "%lld\n", atomic64_read(&ptdev->counters[shown->counter]));
}

#define COUNTER(_name, _counter)                                                                   \
	static struct counter_attribute counter_##_name = {                                        \
		.attribute = __ATTR(_name, 0444, counter_show, NULL),                              \
		.counter = (_counter),                                                             \
	}

COUNTER(opens, PTEMPLATE_OPENS);
COUNTER(reads, PTEMPLATE_READS);
COUNTER(writes, PTEMPLATE_WRITES);
COUNTER(bytes_read, PTEMPLATE_BYTES_READ);
COUNTER(bytes_written, PTEMPLATE_BYTES_WRITTEN);
COUNTER(errors, PTEMPLATE_ERRORS);

static struct attribute *device_attributes[] = {
	&dev_attr_health.attr,
	&dev_attr_reset.attr,
	NULL,
};

static const struct attribute_group device_group = {
	.attrs = device_attributes,
};

static struct attribute *counter_attributes[] = {
	&counter_opens.attribute.attr,
	&counter_reads.attribute.attr,
	&counter_writes.attribute.attr,
	&counter_bytes_read.attribute.attr,
	&counter_bytes_written.attribute.attr,
	&counter_errors.attribute.attr,
	NULL,
};

static const struct attribute_group counter_group = {
	.name = "statistics",
	.attrs = counter_attributes,
};

const struct attribute_group *ptemplate_groups[] = {
	&device_group,
	&counter_group,
	NULL,
};

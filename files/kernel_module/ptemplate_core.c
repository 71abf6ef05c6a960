// SPDX-License-Identifier: GPL-2.0-only
/* See ptemplate_core.h. */
#include "ptemplate.h"
#include "ptemplate_core.h"

bool ptemplate_clamp(int *value, int min, int max)
{
	int wanted = *value;

	if (wanted < min)
		*value = min;
	else if (wanted > max)
		*value = max;
	return *value != wanted;
}

bool ptemplate_check_mode(unsigned int *mode)
{
	if (*mode && !(*mode & ~0666u))
		return false;
	*mode = PTEMPLATE_MODE_DEFAULT;
	return true;
}

static size_t room(size_t end, unsigned long long pos, size_t count)
{
	if (pos >= end)
		return 0;
	return count < end - pos ? count : end - pos;
}

size_t ptemplate_readable(const struct ptemplate_content *content, unsigned long long pos,
			  size_t count)
{
	return room(content->size, pos, count);
}

size_t ptemplate_writable(const struct ptemplate_content *content, unsigned long long pos,
			  size_t count)
{
	return room(content->capacity, pos, count);
}

void ptemplate_written(struct ptemplate_content *content, size_t pos, size_t count)
{
	if (!count)
		return;
	if (pos > content->size)
		memset(content->data + content->size, 0, pos - content->size);
	if (pos + count > content->size)
		content->size = pos + count;
}

void ptemplate_flip(struct ptemplate_content *content, size_t pos, size_t count)
{
	if (count)
		content->data[pos + count / 2] ^= 1;
}

static const struct {
	const char *name;
	const char *health;
	unsigned int code;
} faults[PTEMPLATE_FAULTS] = {
	[PTEMPLATE_FAULT_NONE] = {"none", "ok", PTEMPLATE_HEALTH_OK},
	[PTEMPLATE_FAULT_ERROR] = {"error", "failed", PTEMPLATE_HEALTH_FAILED},
	[PTEMPLATE_FAULT_HANG] = {"hang", "hung", PTEMPLATE_HEALTH_HUNG},
	[PTEMPLATE_FAULT_CORRUPT] = {"corrupt", "ok", PTEMPLATE_HEALTH_OK},
	[PTEMPLATE_FAULT_REMOVED] = {"removed", "removed", PTEMPLATE_HEALTH_FAILED},
};

const char *ptemplate_fault_name(enum ptemplate_fault fault)
{
	return faults[fault].name;
}

int ptemplate_parse_fault(const char *text)
{
	size_t length = strcspn(text, " \t\n");
	int i;

	if (text[length + strspn(text + length, " \t\n")])
		return -1;
	for (i = 0; i < PTEMPLATE_FAULTS; i++)
		if (strlen(faults[i].name) == length && !strncmp(faults[i].name, text, length))
			return i;
	return -1;
}

unsigned int ptemplate_health(enum ptemplate_fault fault)
{
	return faults[fault].code;
}

const char *ptemplate_health_name(enum ptemplate_fault fault)
{
	return faults[fault].health;
}

bool ptemplate_fill(struct ptemplate_content *content, const char *text)
{
	size_t length = strlen(text);

	content->size = length < content->capacity ? length : content->capacity;
	memcpy(content->data, text, content->size);
	return content->size < length;
}

// SPDX-License-Identifier: GPL-2.0-only
/* See ptemplate_core.h. */
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

bool ptemplate_fill(struct ptemplate_content *content, const char *text)
{
	size_t length = strlen(text);

	content->size = length < content->capacity ? length : content->capacity;
	memcpy(content->data, text, content->size);
	return content->size < length;
}

// SPDX-License-Identifier: GPL-2.0-only
/*
 * ptemplate_core.c by a line at a time, so that a model in another language can be compared with it
 * (test_core.py). Each line of standard input gets one line of answer. Numbers are decimal, data is
 * hexadecimal with an x before it.
 *
 *	new CAPACITY xTEXT	an empty buffer of that size, filled		cut (0 or 1)
 *	fill xTEXT		replaces the content				cut (0 or 1)
 *	truncate		as open with O_TRUNC				0
 *	read POS COUNT [flip]	as the driver's read, perhaps corrupted		xDATA
 *	write POS xDATA		as the driver's write				how many bytes
 *	append xDATA		as the same with O_APPEND			how many bytes
 *	content			all of it					xDATA
 *	clamp VALUE MIN MAX							VALUE MOVED
 *	mode MODE								MODE CHANGED
 *	fault xTEXT		its name and health, by the text		-1 or NUMBER NAME
 * HEALTH CODE
 */
#include <stdio.h>
#include <stdlib.h>

#include "ptemplate_core.h"

static struct ptemplate_content content;

static int digit(char text)
{
	return text <= '9' ? text - '0' : text - 'a' + 10;
}

/* The bytes of an xTEXT, on the heap and with a zero after them, so that the sanitizer sees one too
 * many. */
static unsigned char *bytes(const char *text, size_t *length)
{
	size_t count = strlen(text) / 2;
	unsigned char *data = calloc(count + 1, 1);

	for (size_t i = 0; i < count; i++)
		data[i] = digit(text[1 + 2 * i]) << 4 | digit(text[2 + 2 * i]);
	*length = count;
	return data;
}

static void print_bytes(const unsigned char *data, size_t count)
{
	putchar('x');
	for (size_t i = 0; i < count; i++)
		printf("%02x", data[i]);
	putchar('\n');
}

static void fill(const char *text)
{
	size_t length;
	unsigned char *data = bytes(text, &length);

	printf("%d\n", ptemplate_fill(&content, (char *)data));
	free(data);
}

static void new_content(size_t capacity, const char *text)
{
	free(content.data);
	content = (struct ptemplate_content){.data = malloc(capacity), .capacity = capacity};
	memset(content.data, 0xa5, capacity); /* what was there before must not be seen */
	fill(text);
}

static void do_read(unsigned long long pos, size_t wanted, bool flip)
{
	size_t count = ptemplate_readable(&content, pos, wanted);

	if (!count) {
		puts("x");
		return;
	}
	if (flip)
		ptemplate_flip(&content, pos, count);
	print_bytes(content.data + pos, count);
	if (flip)
		ptemplate_flip(&content, pos, count);
}

static void do_write(unsigned long long pos, const char *text)
{
	size_t length, count;
	unsigned char *data = bytes(text, &length);

	count = ptemplate_writable(&content, pos, length);
	if (count) {
		memcpy(content.data + pos, data, count);
		ptemplate_written(&content, pos, count);
	}
	printf("%zu\n", count);
	free(data);
}

static void do_fault(const char *text)
{
	size_t length;
	unsigned char *data = bytes(text, &length);
	int fault = ptemplate_parse_fault((char *)data);

	if (fault < 0)
		puts("-1");
	else
		printf("%d %s %s %u\n", fault, ptemplate_fault_name(fault),
		       ptemplate_health_name(fault), ptemplate_health(fault));
	free(data);
}

static void do_line(char *words[5], int count)
{
	const char *verb = words[0];
	unsigned long long number = count > 1 ? strtoull(words[1], NULL, 10) : 0;

	if (!strcmp(verb, "new")) {
		new_content(number, words[2]);
	} else if (!strcmp(verb, "fill")) {
		fill(words[1]);
	} else if (!strcmp(verb, "truncate")) {
		content.size = 0;
		puts("0");
	} else if (!strcmp(verb, "read")) {
		do_read(number, strtoull(words[2], NULL, 10), count > 3);
	} else if (!strcmp(verb, "write")) {
		do_write(number, words[2]);
	} else if (!strcmp(verb, "append")) {
		do_write(content.size, words[1]);
	} else if (!strcmp(verb, "content")) {
		print_bytes(content.data, content.size);
	} else if (!strcmp(verb, "clamp")) {
		int value = (int)strtol(words[1], NULL, 10);
		bool moved = ptemplate_clamp(&value, atoi(words[2]), atoi(words[3]));

		printf("%d %d\n", value, moved);
	} else if (!strcmp(verb, "mode")) {
		unsigned int mode = (unsigned int)number;
		bool changed = ptemplate_check_mode(&mode);

		printf("%u %d\n", mode, changed);
	} else if (!strcmp(verb, "fault")) {
		do_fault(words[1]);
	} else {
		fprintf(stderr, "core_driver: no such command: %s\n", verb);
		exit(2);
	}
}

int main(void)
{
	char *line = NULL, *words[5];
	size_t size = 0;
	int count;

	while (getline(&line, &size, stdin) > 0) {
		count = 0;
		for (char *word = strtok(line, " \n"); word && count < 5;
		     word = strtok(NULL, " \n"))
			words[count++] = word;
		if (count)
			do_line(words, count);
		fflush(stdout);
	}
	free(line);
	free(content.data);
	return 0;
}

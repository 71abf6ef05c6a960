// SPDX-License-Identifier: GPL-2.0-only
/* Tests of ptemplate_core.c in user space. Prints TAP; exit status 1 if a test failed. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "ptemplate_core.h"

static int number, failed;

static void ok(bool passed, const char *what, long detail)
{
	printf("%sok %d - %s", passed ? "" : "not ", ++number, what);
	if (!passed)
		printf(" (%ld)", detail);
	putchar('\n');
	failed += !passed;
}

static void test_clamp(void)
{
	static const struct {
		int value, clamped;
	} cases[] = {{INT32_MIN, 1}, {-1, 1},	   {0, 1},	 {1, 1},
		     {5, 5},	     {1024, 1024}, {1025, 1024}, {INT32_MAX, 1024}};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		int value = cases[i].value;
		bool moved = ptemplate_clamp(&value, 1, 1024);

		ok(value == cases[i].clamped && moved == (value != cases[i].value), "clamp",
		   cases[i].value);
	}
}

static void test_mode(void)
{
	static const struct {
		unsigned int mode, checked;
	} cases[] = {{0600, 0600}, {0660, 0660},  {0666, 0666}, {0, 0660},
		     {0777, 0660}, {04600, 0660}, {660, 0660}};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		unsigned int mode = cases[i].mode;
		bool changed = ptemplate_check_mode(&mode);

		ok(mode == cases[i].checked && changed == (mode != cases[i].mode), "mode",
		   cases[i].mode);
	}
}

static void test_bounds(void)
{
	unsigned char data[8] = "abc";
	struct ptemplate_content content = {.data = data, .capacity = 8, .size = 3};

	ok(ptemplate_readable(&content, 0, 100) == 3, "a read stops at the end of the data", 0);
	ok(ptemplate_readable(&content, 1, 1) == 1, "a read inside gets what it asks for", 0);
	ok(ptemplate_readable(&content, 3, 1) == 0, "a read at the end of the data gets nothing",
	   0);
	ok(ptemplate_readable(&content, INT64_MAX, SIZE_MAX) == 0, "a read far away gets nothing",
	   0);
	ok(ptemplate_writable(&content, 0, SIZE_MAX) == 8, "a write stops at the end of the buffer",
	   0);
	ok(ptemplate_writable(&content, 7, 2) == 1, "a write across the end is cut", 0);
	ok(ptemplate_writable(&content, 8, 1) == 0, "a write at the end has no room", 0);
	ok(ptemplate_writable(&content, INT64_MAX, 1) == 0, "a write far away has no room", 0);
}

static void test_hole(void)
{
	unsigned char data[8] = "secret!";
	struct ptemplate_content content = {.data = data, .capacity = 8, .size = 1};

	ptemplate_written(&content, 5, 0);
	ok(content.size == 1, "nothing written leaves the size as it was", (long)content.size);
	data[5] = 'X';
	ptemplate_written(&content, 5, 1);
	ok(content.size == 6 && !memcmp(data, "s\0\0\0\0X", 6), "a hole reads as zeros",
	   (long)content.size);
	ptemplate_written(&content, 0, 2);
	ok(content.size == 6, "a write inside leaves the size as it was", (long)content.size);
}

static void test_fill(void)
{
	unsigned char *data =
		malloc(4); /* on the heap, so that the sanitizer sees one byte too many */
	struct ptemplate_content content = {.data = data, .capacity = 4};

	ok(!ptemplate_fill(&content, "") && content.size == 0, "an empty text", (long)content.size);
	ok(!ptemplate_fill(&content, "1234") && content.size == 4, "a text that just fits",
	   (long)content.size);
	ok(ptemplate_fill(&content, "56789") && content.size == 4 && !memcmp(data, "5678", 4),
	   "a text that is cut", (long)content.size);
	free(data);
}

/* The same operations on the real thing and on the plainest model: an array that is zero after its
 * end. */
static void test_random(unsigned int seed)
{
	enum { CAPACITY = 64 };
	unsigned char model[CAPACITY] = {0}, *data = malloc(CAPACITY);
	struct ptemplate_content content = {.data = data, .capacity = CAPACITY};
	size_t model_size = 0;
	bool same = true;
	int step;

	srand(seed);
	for (step = 0; same && step < 20000; step++) {
		size_t pos = rand() % (CAPACITY + 8), count = rand() % (CAPACITY + 8), room, i;

		if (rand() % 16 == 0) {
			content.size = model_size = 0;
			memset(model, 0, sizeof(model));
			continue;
		}
		room = ptemplate_writable(&content, pos, count);
		for (i = 0; i < room; i++)
			data[pos + i] = model[pos + i] = (unsigned char)rand();
		ptemplate_written(&content, pos, room);
		if (room && pos + room > model_size)
			model_size = pos + room;
		same = content.size == model_size && !memcmp(data, model, model_size) &&
		       room == (pos >= CAPACITY		 ? 0
				: count < CAPACITY - pos ? count
							 : CAPACITY - pos);
	}
	ok(same, "20000 random operations agree with a model", step);
	free(data);
}

int main(void)
{
	test_clamp();
	test_mode();
	test_bounds();
	test_hole();
	test_fill();
	test_random(1);
	test_random(20260101);
	printf("1..%d\n", number);
	return failed != 0;
}

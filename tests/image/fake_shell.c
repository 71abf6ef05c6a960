// SPDX-License-Identifier: Apache-2.0
/*
 * Stands for the shell in images that hold nothing else: FROM scratch, COPY
 * this /bin/sh. Usage: sh -c "fail" | "sleep" | "size PATH" | "betray PATH" |
 * "environment NAME"
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int fail(void)
{
	int line;

	puts("cc -c device.c");
	fprintf(stderr, "device.c:3:5: error: implicit declaration of function 'class_create'\n");
	for (line = 0; line < 40; line++)
		printf("cc -c other%d.c\n", line);
	fprintf(stderr, "make: *** [Makefile:3: all] Error 2\n");
	return 2;
}

static int size(const char *path)
{
	struct stat found;

	if (stat(path, &found) || !found.st_size) {
		fprintf(stderr, "%s: error: nothing there\n", path);
		return 1;
	}
	return 0;
}

/* What a driver's build might do with a key: print it, and fail. */
static int betray(const char *path)
{
	char line[256];
	FILE *file = fopen(path, "r");

	if (!file) {
		fprintf(stderr, "%s: error: nothing there\n", path);
		return 1;
	}
	while (fgets(line, sizeof(line), file))
		fprintf(stderr, "error: %s", line);
	fclose(file);
	return 1;
}

static int environment(const char *name)
{
	const char *value = getenv(name);

	fprintf(stderr, "error: %s is %s\n", name, value ? value : "not set");
	return !value;
}

int main(int argc, char **argv)
{
	const char *command = argc > 2 ? argv[2] : "";

	if (!strcmp(command, "fail"))
		return fail();
	if (!strcmp(command, "sleep"))
		return sleep(60);
	if (!strncmp(command, "size ", 5))
		return size(command + 5);
	if (!strncmp(command, "betray ", 7))
		return betray(command + 7);
	if (!strncmp(command, "environment ", 12))
		return environment(command + 12);
	return 0;
}

// The size of an image that is made to fit into a box and keeps its proportions.
//
// A WASI command: input on stdin, output on stdout, so it runs as a native program too.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char input[64 * 1024];

// The number behind a key; it may be text: that is what a CSV file has.
static long side(const char *key) {
  const char *at = strstr(input, key);
  if (!at || !(at = strchr(at + strlen(key), ':'))) {
    fprintf(stderr, "the input has no %s\n", key);
    exit(2);
  }
  return strtol(at + 1 + strspn(at + 1, " \t\""), NULL, 10);
}

static long scaled(long side, long box, long longer) {
  long to = side * box / longer;
  return to > 1 ? to : 1;
}

int main(void) {
  fread(input, 1, sizeof input - 1, stdin);
  long width = side("\"width\""), height = side("\"height\""), box = side("\"box\"");
  if (width <= 0 || height <= 0) {
    fprintf(stderr, "EmptyImage: %ldx%ld\n", width, height);
    return 1;
  }
  long longer = width > height ? width : height;
  if (longer > box) {
    width = scaled(width, box, longer);
    height = scaled(height, box, longer);
  }
  printf("\"%ldx%ld\"\n", width, height);
  return 0;
}
